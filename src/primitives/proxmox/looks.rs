//! What playbooks call to look at nodes and the cluster. Nothing here changes anything.

use rhai::plugin::*;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult};

    use crate::primitives::proxmox::{Proxmox, inventory};
    use crate::script::answer;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// The disks of a node, each a map with `devpath`, `model`, `serial`, `size`, `health`, `wearout` (what is left, in percent) and
    /// more.
    ///
    /// ```rhai
    /// let worn = pve.disks("pve-01").filter(|disk| disk.health != "PASSED");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn disks(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::disks(pve, node))
    }

    /// The ZFS pools of a node, each a map with `name`, `health`, `size` and more.
    ///
    /// ```rhai
    /// let ill = pve.zfs_pools("pve-01").filter(|pool| pool.health != "ONLINE");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn zfs_pools(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::zfs_pools(pve, node))
    }

    /// All PCI devices of a node, each a map with `id` (its address), `class`, `vendor`, `device`, `iommugroup` (-1 where it is in
    /// none) and more.
    ///
    /// ```rhai
    /// let cards = pve.pci_devices("pve-01").filter(|device| device.vendor == "0x10de");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pci_devices(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::pci_devices(pve, node))
    }

    /// The package sources of a node: `files`, `errors`, and those that Proxmox offers in `standard-repos`, with `status` where one
    /// is set up.
    ///
    /// ```rhai
    /// let broken = pve.repositories("pve-01").errors;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn repositories(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::repositories(pve, node))
    }

    /// The certificates of a node, each a map with `filename`, `fingerprint`, `notafter` and more.
    ///
    /// ```rhai
    /// let shown = pve.certificates("pve-01").map(|certificate| certificate.fingerprint);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn certificates(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::certificates(pve, node))
    }

    /// What a node sees of a storage: `active`, `enabled`, `total` and more.
    ///
    /// ```rhai
    /// if pve.storage_status("pve-01", "local").active != 1 { warn("local is not active") }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn storage_status(pve: &mut Proxmox, node: &str, id: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::storage_status(pve, node, id))
    }

    /// The directories that an NFS server exports to a node, each a map with `path` and `options`. One that speaks NFS 4 alone
    /// lists none.
    ///
    /// ```rhai
    /// let paths = pve.nfs_exports("pve-01", "10.20.10.20").map(|row| row.path);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn nfs_exports(pve: &mut Proxmox, node: &str, server: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::nfs_exports(pve, node, server))
    }

    /// The cluster as the node that is asked sees it: its `name` (`()` where the node is in none), whether it is `quorate`, and its
    /// `nodes`.
    ///
    /// ```rhai
    /// let offline = pve.cluster_status().nodes.filter(|node| node.online != 1);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn cluster_status(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(inventory::cluster_status(pve))
    }

    /// The members of the cluster as corosync knows them, each a map with `name`, `nodeid`, `ring0_addr`, `quorum_votes`; none where
    /// there is no cluster.
    ///
    /// ```rhai
    /// let addresses = pve.members().map(|member| member.ring0_addr);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn members(pve: &mut Proxmox) -> RhaiResultOf<Dynamic> {
        answer(inventory::members(pve))
    }

    /// How far the clock of a node is ahead of that of this machine, in whole seconds.
    ///
    /// ```rhai
    /// if abs(pve.clock_offset("pve-01")) > 1 { warn("the clock of pve-01 is off") }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn clock_offset(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::clock_offset(pve, node))
    }

    /// The rows of `/etc/hosts` of a node: lists of names by address.
    ///
    /// ```rhai
    /// let names = pve.hosts_of("pve-01")["10.20.11.11"];
    /// ```
    #[rhai_fn(return_raw)]
    pub fn hosts_of(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::hosts_of(pve, node))
    }

    /// The name servers of a node: `search`, `dns1`, `dns2`, `dns3`.
    ///
    /// ```rhai
    /// let first = pve.name_servers("pve-01").dns1;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn name_servers(pve: &mut Proxmox, node: &str) -> RhaiResultOf<Dynamic> {
        answer(inventory::name_servers(pve, node))
    }
}
