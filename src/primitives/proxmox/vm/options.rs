//! What a playbook says about a virtual machine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::script::args::Size;

/// A virtual machine as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VmOptions {
    /// The number of the VM, 100 to 999999999, unique in the cluster.
    #[schemars(range(min = 100, max = 999_999_999))]
    pub vmid: i64,
    /// Its name, a DNS label; also the host name that cloud-init gives the guest.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// The number of the template that it is cloned from when it does not exist. Without it, a missing VM is an error.
    #[serde(default)]
    pub clone: Option<i64>,
    /// Where the disks of a clone go. Default: where the template has them.
    #[serde(default)]
    pub storage: Option<String>,
    /// Whether a clone is a full copy. A linked clone needs its template for ever. Default: true.
    #[serde(default = "yes")]
    pub full: bool,
    /// Whether a stopped VM on another node may be moved to `node`. Default: false. A VM that was just cloned is always
    /// moved to its node.
    #[serde(default)]
    pub migrate: bool,
    /// Cores a socket.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub cores: Option<i64>,
    /// Sockets.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub sockets: Option<i64>,
    /// Memory in MiB, or text with a unit: `"8GiB"`.
    #[serde(default)]
    pub memory: Option<Size>,
    /// The least memory of a VM that balloons, in MiB or with a unit; 0 switches ballooning off, which a VM with a
    /// passed-through device needs.
    #[serde(default)]
    pub balloon: Option<Size>,
    /// The CPU type, as in `host`.
    #[serde(default)]
    pub cpu: Option<String>,
    /// NUMA.
    #[serde(default)]
    pub numa: Option<bool>,
    /// The machine type, as in `q35`.
    #[serde(default)]
    pub machine: Option<String>,
    /// The firmware: `seabios` or `ovmf`.
    #[serde(default)]
    pub bios: Option<String>,
    /// The display, as in `serial0`.
    #[serde(default)]
    pub vga: Option<String>,
    /// Whether Proxmox talks to the guest agent.
    #[serde(default)]
    pub agent: Option<bool>,
    /// Whether it starts with its node.
    #[serde(default)]
    pub onboot: Option<bool>,
    /// Order and delay of its start, as in `order=2,up=30`. Needs `Sys.Modify` on `/`.
    #[serde(default)]
    pub startup: Option<String>,
    /// Tags. Proxmox lower-cases and sorts them.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Notes.
    #[serde(default)]
    pub description: Option<String>,
    /// Disks and their sizes, as in `#{ scsi0: "50G" }`. A disk grows to its size and never shrinks.
    #[serde(default)]
    pub disks: BTreeMap<String, Size>,
    /// The first network device.
    #[serde(default)]
    pub net0: Option<Nic>,
    /// The second network device.
    #[serde(default)]
    pub net1: Option<Nic>,
    /// What cloud-init does at the first boot.
    #[serde(default)]
    pub cloud_init: Option<CloudInit>,
    /// A passed-through PCI device.
    #[serde(default)]
    pub hostpci0: Option<HostPci>,
    /// Whether it runs. Default: left as it is; a VM that is made anew stays off.
    #[serde(default)]
    pub started: Option<bool>,
    /// Whether the guest is restarted where a change only takes effect then. Without it the step ends `pending`.
    /// Default: false.
    #[serde(default)]
    pub reboot: bool,
    /// Config keys that should not be there, as in `["hostpci0"]`.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Whether the VM should not exist. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be destroyed; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

/// A network device.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// The bridge on the node, as in `vmbr0`.
    pub bridge: String,
    /// The card that the guest sees. Default: `virtio`.
    #[serde(default = "virtio")]
    pub model: String,
    /// The VLAN tag. Default: none.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4094))]
    pub tag: Option<i64>,
    /// Whether the Proxmox firewall looks at its traffic. Default: false.
    #[serde(default)]
    pub firewall: bool,
    /// Its address. Default: the one it has, or a new one from Proxmox.
    #[serde(default)]
    pub macaddr: Option<String>,
}

/// Cloud-init settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudInit {
    /// The user that is made.
    pub user: String,
    /// The public keys that may log in as that user.
    pub ssh_keys: Vec<String>,
    /// The address with its prefix length, as in `192.0.2.31/24`, or `dhcp`.
    pub ip: String,
    /// The gateway. Default: none.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The DNS server. Default: the node's.
    #[serde(default)]
    pub nameserver: Option<String>,
    /// The search domain. Default: the node's.
    #[serde(default)]
    pub search_domain: Option<String>,
    /// Whether packages are upgraded at the first boot. Default: false.
    #[serde(default)]
    pub upgrade: bool,
    /// The drive it comes on. Default: `ide2`.
    #[serde(default = "ide2")]
    pub drive: String,
    /// The storage of that drive.
    pub storage: String,
}

/// A PCI device of the node, by the name of its mapping.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPci {
    /// The mapping's name. Raw addresses are for `root@pam` alone and change at will, so they are not offered.
    pub mapping: String,
    /// Whether it is a PCI Express device, which wants `machine: "q35"`. Default: true.
    #[serde(default = "yes")]
    pub pcie: bool,
}

fn yes() -> bool {
    true
}

fn virtio() -> String {
    "virtio".to_owned()
}

fn ide2() -> String {
    "ide2".to_owned()
}
