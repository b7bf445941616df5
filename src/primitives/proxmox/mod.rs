//! Proxmox VE.

mod access;
mod acl;
mod agent;
mod bridge;
mod cluster;
mod connect;
mod download;
pub mod handle;
mod hosts;
mod inventory;
mod keeper;
mod looks;
mod mapping;
mod node;
mod object;
mod objects;
mod preflight;
mod raw;
mod reads;
mod require;
mod storage;
mod template;
#[cfg(test)]
mod tests;
mod token;
mod trial;
pub mod vm;
mod witness;

pub use access::{GroupOptions, RoleOptions, UserOptions};
pub use acl::AclOptions;
pub use bridge::BridgeOptions;
pub use cluster::{ClusterOptions, MemberOptions};
pub use connect::{Api, ConnectOptions, Connections, Variables};
pub use download::StorageDownloadOptions;
pub use handle::Proxmox;
pub use hosts::HostsOptions;
pub use mapping::PciMappingOptions;
pub use node::{DnsOptions, NodeOptions, PoolOptions};
pub use require::RequireOptions;
pub use storage::StorageOptions;
pub use template::TemplateOptions;
pub use token::TokenOptions;
pub use trial::TrialOptions;

use rhai::plugin::*;

/// Teaches the engine these primitives. They find the run's connections, an [`Api`], among the services of the engine's
/// context.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Proxmox>("Proxmox");
    engine.register_static_module("proxmox", rhai::exported_module!(module).into());
    engine.register_global_module(rhai::exported_module!(methods).into());
    objects::register(engine);
    looks::register(engine);
}

/// What a handle reaches.
pub fn realm_of(value: &rhai::Dynamic) -> Option<String> {
    value.is::<Proxmox>().then(|| handle::REALM.to_owned())
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod module {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use super::Proxmox;
    use crate::primitives::host::Host;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Proxmox VE, as the environment describes it: `HOMELAB_PVE_URL`, `HOMELAB_PVE_TOKEN_ID`,
    /// `HOMELAB_PVE_TOKEN_SECRET`, and the certificate by `HOMELAB_PVE_FINGERPRINT` or `HOMELAB_PVE_CA_FILE`. Nothing is
    /// sent before the first call.
    ///
    /// ```rhai
    /// let pve = proxmox::connect();
    /// ```
    #[rhai_fn(return_raw)]
    pub fn connect(context: NativeCallContext) -> RhaiResultOf<Proxmox> {
        super::connect::connect(&context, None, Map::new())
    }

    /// Proxmox VE with settings of its own; what is not said comes from the environment.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// ```
    #[rhai_fn(name = "connect", return_raw)]
    pub fn connect_with(context: NativeCallContext, options: Map) -> RhaiResultOf<Proxmox> {
        super::connect::connect(&context, None, options)
    }

    /// The API of a host that is a node of Proxmox VE. Its certificate is the one that lies there, read over SSH as root, and
    /// read anew when the API shows another one: a node that joins a cluster gets a new one.
    ///
    /// ```rhai
    /// let node = ssh::host(#{ name: "pve-01", address: "10.20.11.11", user: "root" });
    /// let root = proxmox::connect(node, #{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// ```
    #[rhai_fn(name = "connect", return_raw)]
    pub fn connect_to(context: NativeCallContext, host: Host, options: Map) -> RhaiResultOf<Proxmox> {
        super::connect::connect(&context, Some(&host), options)
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use std::sync::Arc;

    use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};

    use super::raw::Method;
    use super::vm::options::VmOptions;
    use super::vm::resource::Vm;
    use super::{Proxmox, raw, reads};
    use crate::primitives::flow::outcome;
    use crate::primitives::host::Host;
    use crate::run::ensure::ensure;
    use crate::script::answer;
    use crate::script::context::options;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Gives a virtual machine these settings: cloned from a template where it does not exist, adopted where it does,
    /// never made anew to change it.
    ///
    /// ```rhai
    /// pve.vm(#{
    ///     vmid: 111, name: "k3s-cp-01", node: "pve-01", clone: 9000,
    ///     cores: 2, memory: "4GiB", disks: #{ scsi0: "30GiB" }, net0: #{ bridge: "vmbr0" }, started: true,
    /// });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn vm(context: NativeCallContext, pve: &mut Proxmox, vm: Map) -> RhaiResultOf<Map> {
        let options: VmOptions = options(&context, "pve.vm", vm)?;
        let outcome = ensure(&Arc::new(Vm::new(pve.clone(), options))).map_err(fail)?;
        Ok(outcome::to_map(outcome))
    }

    /// Ends the step where something is missing that the playbook relies on, and names all of it: privileges, version,
    /// nodes, template, storages, bridges, PCI mappings, numbers and names of virtual machines.
    ///
    /// ```rhai
    /// pve.require(#{ version: ">=9.1", nodes: ["pve-01"], template: 9000, can: #{ "/vms": ["VM.Clone"] } });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn require(context: NativeCallContext, pve: &mut Proxmox, needs: Map) -> RhaiResultOf<()> {
        super::require::require(&context, pve, needs)
    }

    /// The version of Proxmox VE: `version`, `release`, `repoid`.
    ///
    /// ```rhai
    /// info(`Proxmox VE ${pve.version().version}`);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn version(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(reads::version(pve))
    }

    /// The nodes of the cluster, each a map with `node`, `status` and more.
    ///
    /// ```rhai
    /// let online = pve.nodes().filter(|node| node.status == "online");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn nodes(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(reads::nodes(pve))
    }

    /// The state of a node: memory, kernel, boot mode and more.
    ///
    /// ```rhai
    /// let memory = pve.node("pve-01").memory.total;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn node(pve: &mut Proxmox, name: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::node(pve, name))
    }

    /// Whether the cluster has quorum. A node in no cluster is its own majority.
    ///
    /// ```rhai
    /// if !pve.quorum() { block("the cluster has no quorum") }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn quorum(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(reads::quorum(pve))
    }

    /// All guests that the token may see, each a map with `vmid`, `name`, `node`, `status` and more.
    ///
    /// ```rhai
    /// let names = pve.vms().map(|guest| guest.name);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn vms(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(reads::vms(pve))
    }

    /// A VM's settings and status in their normal form, with `pending` where something waits for a restart; `()` where
    /// there is none. In a dry run, as it will be.
    ///
    /// ```rhai
    /// let cores = pve.vm_status(9000).cores;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn vm_status(pve: &mut Proxmox, vmid: i64) -> RhaiResultOf<Dynamic> {
        answer(reads::vm_status(pve, vmid))
    }

    /// What the guest agent of a VM says: `running`, and the `addresses` of the guest.
    ///
    /// ```rhai
    /// let addresses = pve.agent(111).addresses;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn agent(pve: &mut Proxmox, vmid: i64) -> RhaiResultOf<Dynamic> {
        answer(super::agent::agent(pve, vmid))
    }

    /// The public SSH host key of a VM, read through its guest agent over the authenticated API. A guest that has just
    /// started is waited for, 5 minutes at the most.
    ///
    /// ```rhai
    /// let key = pve.host_key(111);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn host_key(pve: &mut Proxmox, vmid: i64) -> RhaiResultOf<Dynamic> {
        answer(super::agent::host_key(pve, vmid))
    }

    /// The first IPv4 address of a VM, as its guest agent tells it. A guest that has just started is waited for, 5 minutes at
    /// the most.
    ///
    /// ```rhai
    /// let address = pve.address(111);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn address(pve: &mut Proxmox, vmid: i64) -> RhaiResultOf<Dynamic> {
        answer(super::agent::address(pve, vmid))
    }

    /// Sees to it that a template is there that is built by this recipe: from the image of a disk, in a machine that runs while
    /// the closure is at work, and that is nobody's when it becomes the template. One that was built by this very recipe is
    /// left alone; a build that was cut short goes on where it was.
    ///
    /// ```rhai
    /// pve.template(#{
    ///     vmid: 9000, name: "ubuntu", node: "pve-01", storage: "local-zfs",
    ///     image: "nas-vmstorage:import/noble.qcow2", image_sha256: hash::sha256("noble"),
    ///     net0: #{ bridge: "vmbr0" }, rebuild: true,
    ///     cloud_init: #{ user: "ubuntu", ssh_keys: [env("HOMELAB_SSH_PUBKEY")], ip: "dhcp", storage: "local-zfs" },
    /// }, || info("what is done inside"));
    /// ```
    #[rhai_fn(return_raw)]
    pub fn template(
        context: NativeCallContext,
        pve: &mut Proxmox,
        template: Map,
        provision: FnPtr,
    ) -> RhaiResultOf<Map> {
        super::template::template(&context, pve, template, &provision)
    }

    /// Clones a template to try it: makes the machine as `pve.vm` does, calls the closure, and takes the machine away again,
    /// also where the closure fails. One that an earlier trial left behind goes first.
    ///
    /// ```rhai
    /// pve.trial_clone(#{ vmid: 9990, name: "trial", node: "pve-01", clone: 9000, storage: "local-zfs" },
    ///     || info("it was cloned"));
    /// ```
    #[rhai_fn(return_raw)]
    pub fn trial_clone(context: NativeCallContext, pve: &mut Proxmox, vm: Map, check: FnPtr) -> RhaiResultOf<Map> {
        super::template::trial_clone(&context, pve, vm, &check)
    }

    /// Fetches a file of the web into a storage, where it is not there yet, and sees that it has its checksum. What is there is
    /// read over SSH on the node that fetches it: the API does not tell what a file holds.
    ///
    /// ```rhai
    /// let node = ssh::host(#{ name: "pve-01", user: "root" });
    /// pve.download(node, #{
    ///     storage: "local", content: "iso", filename: "rescue.iso", url: "https://example.org/rescue.iso",
    ///     sha256: hash::sha256("rescue"),
    /// });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn download(context: NativeCallContext, pve: &mut Proxmox, node: Host, file: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "Proxmox.download", file)?;
        super::download::settle(pve, &node, options).map_err(fail)
    }

    /// The storages of a node, each a map with `storage`, `type`, `active` and more.
    ///
    /// ```rhai
    /// let active = pve.storages("pve-01").filter(|storage| storage.active == 1);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn storages(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::storages(pve, node))
    }

    /// The network interfaces of a node, each a map with `iface`, `type` and more.
    ///
    /// ```rhai
    /// let bridges = pve.interfaces("pve-01").filter(|port| port.type == "bridge");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn interfaces(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::interfaces(pve, node))
    }

    /// The PCI mappings, each with what is wrong with it on a node in `checks`.
    ///
    /// ```rhai
    /// let unsound = pve.pci_mappings("pve-01").filter(|mapping| !mapping.checks.is_empty());
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pci_mappings(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::pci_mappings(pve, node))
    }

    /// What the token may do on a path: privileges by path, true where they propagate.
    ///
    /// ```rhai
    /// let privileges = pve.permissions("/vms");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn permissions(pve: &mut Proxmox, path: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::permissions(pve, path))
    }

    /// The next free number of a guest.
    ///
    /// ```rhai
    /// let free = pve.next_vmid();
    /// ```
    #[rhai_fn(return_raw)]
    pub fn next_vmid(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(reads::next_vmid(pve))
    }

    /// The last tasks of a node.
    ///
    /// ```rhai
    /// let failed = pve.tasks("pve-01").filter(|task| "status" in task && task.status != "OK");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn tasks(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::tasks(pve, node))
    }

    /// A raw read: `data` of the answer to `GET path`. In a dry run that planned a change which the path may show, the
    /// answer is not known.
    ///
    /// ```rhai
    /// let options = pve.get("/cluster/options");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn get(pve: &mut Proxmox, path: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::raw(pve, path, &Default::default()))
    }

    /// A raw read with parameters.
    ///
    /// ```rhai
    /// let machines = pve.get("/cluster/resources", #{ type: "vm" });
    /// ```
    #[rhai_fn(name = "get", return_raw)]
    pub fn get_with(pve: &mut Proxmox, path: &str, parameters: Map) -> RhaiResultOf<Dynamic> {
        let parameters = raw::params(&parameters).map_err(fail)?;
        answer(reads::raw(pve, path, &parameters))
    }

    /// A raw `POST`, planned like an unguarded command. A task that it starts is waited for.
    ///
    /// ```rhai
    /// pve.post("/nodes/pve-01/qemu", #{ vmid: 900, name: "scratch", memory: 512 });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn post(pve: &mut Proxmox, path: &str, parameters: Map) -> RhaiResultOf<Dynamic> {
        answer(raw::send(pve, Method::Post, path, &parameters))
    }

    /// A raw `PUT`, planned like an unguarded command.
    ///
    /// ```rhai
    /// pve.put("/nodes/pve-01/qemu/900/config", #{ description: "may go" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn put(pve: &mut Proxmox, path: &str, parameters: Map) -> RhaiResultOf<Dynamic> {
        answer(raw::send(pve, Method::Put, path, &parameters))
    }

    /// A raw `DELETE`, planned like an unguarded command.
    ///
    /// ```rhai
    /// pve.delete("/nodes/pve-01/qemu/900", #{});
    /// ```
    #[rhai_fn(return_raw)]
    pub fn delete(pve: &mut Proxmox, path: &str, parameters: Map) -> RhaiResultOf<Dynamic> {
        answer(raw::send(pve, Method::Delete, path, &parameters))
    }
}
