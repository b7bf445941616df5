//! What playbooks call to define what the cluster keeps: storages, who may do what, devices.

use rhai::plugin::*;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use crate::primitives::proxmox::object::settle;
    use crate::primitives::proxmox::{
        Proxmox, access, acl, bridge, cluster, hosts, mapping, node, storage, token, trial,
    };
    use crate::script::context::options;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Gives a storage this definition, and proves that every node that should have it can use it. What says where it is
    /// never changes: to define it anew takes `allow_destroy`. What lies on it stays in any case.
    ///
    /// ```rhai
    /// pve.storage(#{ id: "local-zfs", type: "zfspool", pool: "rpool/data", content: ["images", "rootdir"] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn storage(context: NativeCallContext, pve: &mut Proxmox, storage: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.storage", storage)?;
        storage::settle(pve, options).map_err(fail)
    }

    /// Gives a role exactly these privileges. `pve.acl` says who has it where.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.role(#{ id: "Watcher", privileges: ["Sys.Audit", "VM.Audit"] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn role(context: NativeCallContext, pve: &mut Proxmox, role: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.role", role)?;
        access::role(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a user these properties. A new one may do nothing until `pve.acl` says so.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.user(#{ id: "watcher@pve", comment: "looks and never touches" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn user(context: NativeCallContext, pve: &mut Proxmox, user: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.user", user)?;
        access::user(pve, options).and_then(settle).map_err(fail)
    }

    /// Sees to it that a group of users is there. Users say themselves which groups they belong to.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.group(#{ id: "watchers", comment: "look and never touch" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn group(context: NativeCallContext, pve: &mut Proxmox, group: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.group", group)?;
        access::group(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a user, a group or a token a role on a path. One row a call; what such rows come to, `pve.require` proves with
    /// `can`, asked by whoever is to have the rights.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.acl(#{ path: "/vms", role: "PVEAuditor", user: "automation@pve" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn acl(context: NativeCallContext, pve: &mut Proxmox, row: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.acl", row)?;
        acl::settle(pve, options).map_err(fail)
    }

    /// Sees to it that a user has an API token. Its secret is shown once, when the token is made: it goes into `secret_file`,
    /// for its owner alone, and is in `after.value`.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// let token = root.token(#{ id: "automation@pve!spare", secret_file: ".homelab/spare.token" });
    /// let pve = proxmox::connect(#{ token_id: "automation@pve!spare", token_secret: token.after.value });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn token(context: NativeCallContext, pve: &mut Proxmox, token: Map) -> RhaiResultOf<Map> {
        token::token(&context, pve, token)
    }

    /// Gives a device of a node a name that machines can ask for. The device is found by what it is, and the name follows it
    /// when its address or its IOMMU group has changed; the nodes say afterwards whether it is sound.
    ///
    /// ```rhai
    /// pve.pci_mapping(#{ id: "rtx4000ada", devices: [#{ node: "pve-01", id: "10de:27b2", address: "2f:00.0" }] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pci_mapping(context: NativeCallContext, pve: &mut Proxmox, mapping: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.pci_mapping", mapping)?;
        mapping::object(pve, options).and_then(settle).map_err(fail)
    }

    /// Sees to it that a pool is there.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.pool(#{ id: "lab", comment: "what may be broken" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pool(context: NativeCallContext, pve: &mut Proxmox, pool: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.pool", pool)?;
        node::pool(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a node these options.
    ///
    /// ```rhai
    /// pve.node_options(#{ node: "pve-01", startall_onboot_delay: 30 });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn node_options(context: NativeCallContext, pve: &mut Proxmox, node: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.node_options", node)?;
        node::options(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a node these name servers.
    ///
    /// ```rhai
    /// pve.dns(#{ node: "pve-01", search: "home.arpa", servers: ["10.20.11.1"] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn dns(context: NativeCallContext, pve: &mut Proxmox, dns: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.dns", dns)?;
        node::dns(pve, options).and_then(settle).map_err(fail)
    }

    /// Puts rows into `/etc/hosts` of a node. All other rows stay, and the node's own keeps its name.
    ///
    /// ```rhai
    /// pve.hosts(#{ node: "pve-01", rows: #{ "10.20.11.12": ["pve-02.home.arpa", "pve-02"] } });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn hosts(context: NativeCallContext, pve: &mut Proxmox, hosts: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.hosts", hosts)?;
        hosts::settle(pve, options).map_err(fail)
    }

    /// Stages a bridge of a node: all its settings stay but those that are said. It is in force once `pve.apply_network` has
    /// been called, which belongs under a safety net. Changes of somebody else that wait are never taken along.
    ///
    /// ```rhai
    /// pve.bridge(#{ node: "pve-02", name: "vmbr0", vlan_aware: true, vids: [10, 11, 12, 13] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bridge(context: NativeCallContext, pve: &mut Proxmox, bridge: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.bridge", bridge)?;
        bridge::settle(pve, options).map_err(fail)
    }

    /// Puts the staged network changes of a node in force, if there are any. This can cut access.
    ///
    /// ```rhai
    /// pve.apply_network("pve-02");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn apply_network(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Map> {
        bridge::apply(pve, node).map_err(fail)
    }

    /// Makes a cluster of the node that is asked, which must be in none or in this one. Neither name nor addresses can change
    /// later. For `root@pam` with a password.
    ///
    /// ```rhai
    /// let first = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// first.cluster(#{ name: "homelab-cluster", link0: "10.20.11.11" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn cluster(context: NativeCallContext, pve: &mut Proxmox, cluster: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.cluster", cluster)?;
        cluster::cluster(pve, options).map_err(fail)
    }

    /// Brings a node into the cluster of the one that is asked. What speaks against it is found first: guests, other versions,
    /// clocks that are apart. Judged by the cluster, for the node that joins changes its users and its certificate, which
    /// has to be accepted anew. `joiner` is that node, for `root@pam` with a password.
    ///
    /// ```rhai
    /// let password = secret("HOMELAB_PVE_ROOT_PASSWORD");
    /// let second = proxmox::connect(#{ url: "https://10.20.11.12:8006", username: "root@pam", password: password });
    /// pve.member(second, #{ node: "pve-02", link0: "10.20.11.12", password: password });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn member(context: NativeCallContext, pve: &mut Proxmox, joiner: Proxmox, member: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.member", member)?;
        cluster::member(pve, &joiner, options).map_err(fail)
    }
    /// Moves a virtual machine that nobody needs from node to node while it is off, and takes it away again: proof that they
    /// let each other in, and that what one keeps on a storage the next one can keep as well. It is carried out at each call,
    /// so that it belongs into `on_change`.
    ///
    /// ```rhai
    /// pve.migration_trial(#{ vmid: 9990, storage: "local-zfs", nodes: ["pve-01", "pve-02"] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn migration_trial(context: NativeCallContext, pve: &mut Proxmox, trial: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.migration_trial", trial)?;
        trial::carry_out(pve, options).map_err(fail)
    }
}
