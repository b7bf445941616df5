//! The simulated cluster as data: nodes, storages, volumes, machines, users, tasks. A node in no cluster is a cluster of
//! one without a name. Everything here lies in the world's file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::answer::Refusal;
use super::mapping::Mapping;
use super::tasks::Task;
use super::vm::Vm;
use crate::sim::chance::Chance;
use crate::sim::guests::Machines;

/// A cluster, or a node alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Its name; `None` for a node alone.
    pub(crate) name: Option<String>,
    /// How much slower (or, below one, faster) than usual things take.
    pub(crate) pace: f64,
    pub(crate) search_domain: String,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) storages: BTreeMap<String, Storage>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) mappings: BTreeMap<String, Mapping>,
    pub(crate) vms: BTreeMap<u32, Vm>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) access: Access,
    /// What runs inside nodes and guests.
    pub(crate) machines: Machines,
    pub(crate) chance: Chance,
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its number in the cluster, from 1.
    pub(crate) number: u32,
    pub(crate) ip: String,
    pub(crate) gateway: String,
    pub(crate) memory_mb: u64,
    pub(crate) cores: u32,
    pub(crate) bridges: Vec<String>,
    pub(crate) devices: Vec<PciDevice>,
    /// The SHA-256 of its certificate, upper case with colons.
    pub(crate) fingerprint: String,
    /// When it was switched on, in milliseconds.
    pub(crate) booted: u64,
}

/// A PCI function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PciDevice {
    /// `0000:2f:00.0`.
    pub(crate) address: String,
    /// `0x030000`.
    pub(crate) class: String,
    /// `10de:27b2`.
    pub(crate) id: String,
    pub(crate) subsystem_id: String,
    pub(crate) iommu_group: u32,
}

/// One storage definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Storage {
    /// `dir`, `zfspool` or `nfs`.
    pub(crate) kind: String,
    pub(crate) content: Vec<String>,
    pub(crate) shared: bool,
    pub(crate) size: u64,
    /// Its other settings, as they read back.
    pub(crate) settings: BTreeMap<String, String>,
}

impl Storage {
    /// Whether its volumes are files, which have formats and folders.
    pub(crate) fn has_files(&self) -> bool {
        self.kind != "zfspool"
    }
}

/// One volume on a storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// `local-zfs:vm-101-disk-0`.
    pub(crate) id: String,
    /// The node it lies on; `None` on a shared storage.
    pub(crate) node: Option<String>,
    pub(crate) size: u64,
    /// `raw`, `qcow2`, `subvol`, `snippet`, `iso`.
    pub(crate) format: String,
    /// `images`, `import`, `iso`, `snippets`.
    pub(crate) content: String,
    /// The machine it belongs to.
    pub(crate) vmid: Option<u32>,
    /// When it was made, in seconds.
    pub(crate) ctime: u64,
    /// The operating system on it, by the user its image makes.
    pub(crate) system: Option<String>,
}

impl Volume {
    /// The storage it lies on.
    pub(crate) fn storage(&self) -> &str {
        self.id.split(':').next().unwrap_or_default()
    }

    /// Its name on the storage, without the base it is a clone of.
    pub(crate) fn name(&self) -> &str {
        self.id.rsplit([':', '/']).next().unwrap_or_default()
    }
}

impl Cluster {
    /// A span of milliseconds at this cluster's pace.
    pub(crate) fn span(&self, milliseconds: u64) -> u64 {
        // Spans are a few seconds at most; no precision is lost.
        (milliseconds as f64 * self.pace).round() as u64
    }

    /// A storage by its id, or the API's complaint.
    pub(crate) fn storage(&self, id: &str) -> Result<&Storage, Refusal> {
        self.storages.get(id).ok_or_else(|| Refusal::failed(format!("storage '{id}' does not exist")))
    }

    /// The volumes that a node sees on a storage.
    pub(crate) fn volumes_on<'c>(&'c self, node: &'c str, storage: &'c str) -> impl Iterator<Item = &'c Volume> {
        let mine = move |volume: &&Volume| volume.node.as_deref().is_none_or(|home| home == node);
        self.volumes.iter().filter(move |volume| volume.storage() == storage).filter(mine)
    }

    /// A volume by its id, as a node sees it.
    pub(crate) fn volume(&self, node: &str, id: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.id == id && volume.node.as_deref().is_none_or(|home| home == node))
    }

    /// The same, to change it.
    pub(crate) fn volume_mut(&mut self, node: &str, id: &str) -> Option<&mut Volume> {
        let mine = |volume: &&mut Volume| volume.id == id && volume.node.as_deref().is_none_or(|home| home == node);
        self.volumes.iter_mut().find(mine)
    }

    /// Removes a volume.
    pub(crate) fn free(&mut self, node: &str, id: &str) {
        self.volumes.retain(|volume| volume.id != id || volume.node.as_deref().is_some_and(|home| home != node));
    }

    /// A virtual machine on a node, or the complaint that its file is not there.
    pub(crate) fn vm(&self, node: &str, vmid: u32) -> Result<&Vm, Refusal> {
        self.vms.get(&vmid).filter(|vm| vm.node == node).ok_or_else(|| Refusal::failed(no_config(node, vmid)))
    }

    /// The same, to change it.
    pub(crate) fn vm_mut(&mut self, node: &str, vmid: u32) -> Result<&mut Vm, Refusal> {
        self.vms.get_mut(&vmid).filter(|vm| vm.node == node).ok_or_else(|| Refusal::failed(no_config(node, vmid)))
    }
}

/// The complaint about a machine that is not on the node.
pub(crate) fn no_config(node: &str, vmid: u32) -> String {
    format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
}

/// Another wording of the same, from calls that look the machine up first.
pub(crate) fn not_found(node: &str, vmid: u32) -> String {
    format!("unable to find configuration file for VM {vmid} on node '{node}'")
}

/// A digest over the text of a file. Opaque to clients; the digest of an empty file is the one they may know.
pub(crate) fn digest(text: &str) -> String {
    if text.is_empty() {
        return "da39a3ee5e6b4b0d3255bfef95601890afd80709".into();
    }
    crate::sim::chance::hex(&crate::sim::chance::sha256(text)[..20])
}
