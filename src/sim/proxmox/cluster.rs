//! The simulated cluster as data: nodes, storages, volumes, machines, users, tasks. A node in no cluster is a cluster of
//! one without a name. Everything here lies in the world's file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::answer::Refusal;
use super::corosync::Corosync;
use super::mapping::Mapping;
use super::members::Life;
use super::node_config;
use super::outside::Outside;
use super::pools::Pools;
use super::shares::Shares;
use super::storage::Storage;
use super::tasks::Task;
use super::vm::Vm;
use super::volume::Volume;
use crate::sim::chance::Chance;
use crate::sim::guests::Machines;
use crate::sim::tls::Certificate;

/// A cluster, or a node alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// What makes it one; `None` for a node alone.
    pub(crate) corosync: Option<Corosync>,
    /// How much slower (or, below one, faster) than usual things take.
    pub(crate) pace: f64,
    pub(crate) search_domain: String,
    pub(crate) nodes: BTreeMap<String, Node>,
    /// What the file of storages has. Empty as long as nobody wrote it.
    pub(crate) storages: BTreeMap<String, Storage>,
    pub(crate) volumes: Vec<Volume>,
    #[serde(default)]
    pub(crate) outside: Outside,
    /// The state in which the disks of the nodes were last looked at.
    #[serde(skip)]
    pub(crate) looked: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(crate) shares: Shares,
    pub(crate) mappings: BTreeMap<String, Mapping>,
    pub(crate) vms: BTreeMap<u32, Vm>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) access: Access,
    pub(crate) pools: Pools,
    /// What runs inside nodes and guests.
    pub(crate) machines: Machines,
    pub(crate) chance: Chance,
}

/// One node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its number in the cluster, from 1.
    pub(crate) number: u32,
    pub(crate) ip: String,
    pub(crate) gateway: String,
    pub(crate) memory_mb: u64,
    pub(crate) cores: u32,
    /// Its network cards.
    pub(crate) cards: BTreeSet<String>,
    /// Its network interfaces that are up.
    pub(crate) links: BTreeSet<String>,
    /// The addresses of those.
    #[serde(default)]
    pub(crate) addresses: BTreeSet<String>,
    /// Whether its port of the switch falls silent once its bridge tells VLANs apart.
    #[serde(default)]
    pub(crate) dreads_vlans: bool,
    /// Whether what corosync says to it is lost on its way: once it is a member, it hears nobody.
    #[serde(default)]
    pub(crate) misses_corosync: bool,
    /// Whether nothing reaches it, nor the other way round.
    #[serde(default)]
    pub(crate) cut: bool,
    /// The options of its own.
    #[serde(default)]
    pub(crate) config: node_config::Options,
    /// What is on its PCI bus where its own system does not say it: in a recorded world.
    #[serde(default)]
    pub(crate) devices: Vec<PciDevice>,
    /// The certificates of its authority and of its own, in this order.
    pub(crate) certificates: Vec<Certificate>,
    /// When it was switched on, in milliseconds.
    pub(crate) booted: u64,
    #[serde(default)]
    pub(crate) life: Life,
    /// Since when it lives so, in milliseconds.
    #[serde(default)]
    pub(crate) since: u64,
    /// When it switches itself off, or on again, in milliseconds.
    #[serde(default)]
    pub(crate) switches: Option<u64>,
    /// Whether it comes back once it is off.
    #[serde(default)]
    pub(crate) reboots: bool,
    /// Its votes in the cluster.
    #[serde(default = "one")]
    pub(crate) votes: u32,
    /// Its addresses in the networks of the cluster, by their number.
    #[serde(default)]
    pub(crate) rings: BTreeMap<u32, String>,
    /// When its API was last started on its own, in milliseconds.
    #[serde(default)]
    pub(crate) api_since: u64,
    /// Its API as it is being started again.
    #[serde(default)]
    pub(crate) restart: Option<Restart>,
    /// How far its clock is ahead, in seconds.
    #[serde(default)]
    pub(crate) clock_ahead: u64,
    /// When the others hear its statistics for the first time, in milliseconds.
    #[serde(default)]
    pub(crate) heard_from: u64,
    /// Whether its guests are still to be started.
    #[serde(default)]
    pub(crate) starts_guests: bool,
    /// What ran on it when it went off, and for how many seconds.
    #[serde(default)]
    pub(crate) ran: BTreeMap<u32, u64>,
    /// The size of its root file system in bytes.
    #[serde(default = "root_size")]
    pub(crate) root_size: u64,
    /// Its ZFS datasets that can be storages, with their sizes in bytes.
    #[serde(default)]
    pub(crate) pools: BTreeMap<String, u64>,
    /// Its LVM thin pools, `pve/data`, with their sizes in bytes.
    #[serde(default)]
    pub(crate) thin_pools: BTreeMap<String, u64>,
}

/// The API of a node as it is being started again: until it stops it goes on with what it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restart {
    /// When it stops, in milliseconds.
    pub(crate) stops: u64,
    /// When it is there again, in milliseconds.
    pub(crate) starts: u64,
    /// Whether it has stopped.
    pub(crate) has_stopped: bool,
}

fn one() -> u32 {
    1
}

/// The size of a root file system of which nothing is known.
pub(crate) fn root_size() -> u64 {
    250 << 30
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
    /// None where the node has no IOMMU, or it is off.
    pub(crate) iommu_group: Option<u32>,
}

impl From<crate::sim::guests::PciDevice> for PciDevice {
    fn from(device: crate::sim::guests::PciDevice) -> Self {
        PciDevice {
            address: device.address,
            class: format!("0x{}", device.class),
            id: device.id,
            subsystem_id: device.subsystem_id,
            iommu_group: device.iommu_group,
        }
    }
}

impl Node {
    /// The SHA-256 of its certificate, upper case with colons.
    pub(crate) fn fingerprint(&self) -> &str {
        self.certificates.last().map(|own| own.fingerprint.as_str()).unwrap_or_default()
    }

    /// Whether its API takes connections, while it is on.
    pub(crate) fn has_api(&self) -> bool {
        self.restart.is_none_or(|restart| !restart.has_stopped)
    }
}

impl Cluster {
    /// What is on the PCI bus of a node.
    pub(crate) fn devices(&self, node: &str) -> Vec<PciDevice> {
        let recorded = self.nodes.get(node).map(|node| node.devices.clone()).unwrap_or_default();
        match self.machines.node(node).filter(|_| recorded.is_empty()) {
            Some(machine) => machine.pci().into_iter().map(PciDevice::from).collect(),
            None => recorded,
        }
    }

    /// A span of milliseconds at this cluster's pace.
    pub(crate) fn span(&self, milliseconds: u64) -> u64 {
        // Spans are a few seconds at most; no precision is lost.
        (milliseconds as f64 * self.pace).round() as u64
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
