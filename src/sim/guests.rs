//! The machines inside the cluster: the nodes' own systems, and the guests' once they have booted. The cluster knows
//! them by little; what they are inside is somebody else's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::contacts::Contact;
pub(crate) use super::host::outlook::{ClusterView, Member, Neighbour, Outlook};
pub(crate) use super::host::{
    Board, Bridge, Enclosure, Esp, Firmware, Forwarder, Function, Observer, Passwords, PciDevice, Setup, StandsFor,
    Thunderbolt, Tree, TreeChanges, tree_changes,
};
use crate::error::{Error, Result};

/// What cloud-init tells a guest at its first boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloudInit {
    pub(crate) hostname: String,
    pub(crate) user: String,
    pub(crate) ssh_keys: Vec<String>,
    /// With its prefix length: `10.20.11.31/24`.
    pub(crate) address: String,
    pub(crate) gateway: String,
    pub(crate) nameserver: String,
    pub(crate) searchdomain: String,
    /// Whether packages are brought up to date.
    #[serde(default)]
    pub(crate) upgrade: bool,
    /// What whoever makes machines adds to it; empty for nothing.
    #[serde(default)]
    pub(crate) vendor: String,
}

impl CloudInit {
    /// Whether a guest that was told the one takes the other for the same instance. Vendor data does not count.
    fn is_same_instance(&self, other: &CloudInit) -> bool {
        let plain = |one: &CloudInit| CloudInit { vendor: String::new(), ..one.clone() };
        plain(self) == plain(other)
    }
}

/// What a guest finds itself running on, anew at each start: its disk keeps nothing of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hardware {
    pub(crate) processors: u32,
    pub(crate) memory_kib: u64,
    /// The size of the disk that it boots from.
    pub(crate) disk_bytes: u64,
    /// The hardware address of its first network device.
    pub(crate) mac: Option<String>,
    /// The devices of the node that it has for itself.
    pub(crate) devices: Vec<Function>,
}

/// The network card of a node.
pub(crate) const CARD: &str = "eno1";

/// What makes a node's system the one of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    pub(crate) fqdn: String,
    pub(crate) address_cidr: String,
    pub(crate) gateway: String,
    /// Its bridges. The first has its card and its address.
    pub(crate) bridges: Vec<String>,
    /// Whether somebody has changed its network without applying that.
    pub(crate) has_pending: bool,
    pub(crate) authorized_keys: Vec<String>,
    pub(crate) setup: Setup,
}

impl NodeSpec {
    /// Its `/etc/network/interfaces`, as the installer writes it.
    pub(crate) fn interfaces(&self) -> String {
        let mut text = format!("auto lo\niface lo inet loopback\n\niface {CARD} inet manual\n\n");
        for (index, bridge) in self.bridges.iter().enumerate() {
            let address = format!("static\n\taddress {}\n\tgateway {}", self.address_cidr, self.gateway);
            let (method, ports) = if index == 0 { (address.as_str(), CARD) } else { ("manual", "none") };
            text.push_str(&format!(
                "auto {bridge}\niface {bridge} inet {method}\n\tbridge-ports {ports}\n\tbridge-stp off\n\tbridge-fd 0\n\n"
            ));
        }
        text + "source /etc/network/interfaces.d/*\n"
    }

    /// What somebody has made of it and not applied: larger packets on its first bridge. Empty where nobody has.
    pub(crate) fn pending(&self) -> String {
        let larger = self.interfaces().replacen("\tbridge-fd 0\n", "\tbridge-fd 0\n\tmtu 9000\n", 1);
        if self.has_pending { larger } else { String::new() }
    }
}

/// A network interface of a machine that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// With their prefix lengths.
    pub(crate) addresses: Vec<String>,
    /// The default gateway, if it lies behind this one.
    pub(crate) gateway: Option<String>,
    /// Its largest packet.
    pub(crate) mtu: u32,
    /// What it connects, where it is a bridge.
    pub(crate) bridge: Option<Bridge>,
}

/// A file on a machine's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlainFile {
    /// Its name in its directory.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// When it last changed, in seconds.
    pub(crate) changed: u64,
    /// The larger file that it stands for.
    pub(crate) stands_for: Option<StandsFor>,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) exit: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// What is around a machine whose SSH server has a connection.
pub(crate) struct Surroundings {
    /// Who hears of what is run on it.
    pub(crate) observer: Arc<dyn Observer>,
    /// Its network, as seen from it.
    pub(crate) network: Forwarder,
    /// Who of its users may come in with which password.
    pub(crate) passwords: Passwords,
    /// How many commands are taken before the connection breaks; without it as many as come.
    pub(crate) commands: Option<u32>,
}

/// The inside of one machine, which connections and the cluster share.
pub(crate) trait Machine: Send + Sync {
    /// Is switched off: whatever runs on it ends.
    fn switch_off(&self);
    /// Boots again, on what it had.
    fn reboot(&self);
    /// Is put on other hardware, which the next boot finds.
    fn fit(&self, hardware: &Hardware);
    /// Has cloud-init set it up as a new instance, as a guest does that boots with another drive than before.
    fn apply(&self, settings: &CloudInit);
    /// Whether cloud-init has set it up.
    fn is_set_up(&self) -> bool;
    /// Whether a service runs on it.
    fn runs(&self, unit: &str) -> bool;
    /// What its kernel has on the PCI bus.
    fn pci(&self) -> Vec<PciDevice>;
    /// How its firmware boots it.
    fn firmware(&self) -> Firmware;
    /// Gives a device, all functions of it, to a guest.
    fn give_to_guest(&self, slot: &str);
    /// Makes a directory and those above it, as far as they are not there.
    fn make_directory(&self, path: &str);
    /// Lists something as mounted: a source, a directory, and kind and options as the kernel tells them.
    fn note_mount(&self, source: &str, directory: &str, kind_and_options: &str);
    /// Whether a directory is there.
    fn has_directory(&self, path: &str) -> bool;
    /// The plain files in a directory; none when it is not there.
    fn files(&self, directory: &str) -> Vec<PlainFile>;
    /// A file; nothing when there is none.
    fn read_file(&self, path: &str) -> Option<PlainFile>;
    /// Writes a file of root's. What is in the way of it stays.
    fn write_file(&self, path: &str, text: &str);
    /// Writes a file of root's that is too large to be kept, with what stands in its place.
    fn write_large(&self, path: &str, stand_in: &str, large: StandsFor);
    /// Removes a file, if it is there.
    fn remove_file(&self, path: &str);
    /// All that lies below a directory; nothing when it is not there.
    fn tree(&self, directory: &str) -> Tree;
    /// Makes paths below a directory what they are elsewhere, where some are gone.
    fn put_tree(&self, directory: &str, changes: &TreeChanges);
    /// Brings exactly these interfaces up, beside the loopback.
    fn set_links(&self, links: Vec<Link>);
    /// Hears what is around it.
    fn see(&self, outlook: &Arc<Outlook>);
    /// Whether somebody on it waits for its interfaces to be brought up anew.
    fn wants_reload(&self) -> bool;
    /// Hears that they were, or what went wrong.
    fn reloaded(&self, complaint: Option<String>);
    /// Whether one of its timers has run out.
    fn is_due(&self) -> bool;
    /// Does what its timers that have run out are for.
    fn run_due(&self);
    /// Runs a command as root.
    fn agent_exec(&self, command: &[String]) -> Execution;
    /// Its network interfaces, in the guest agent's form.
    fn interfaces(&self) -> Value;
    /// Its public SSH host keys, as lines of `*.pub` files.
    fn host_keys(&self) -> Vec<String>;
    /// Itself as text, for its file.
    fn save(&self) -> String;
    /// A number that is another one whenever something has changed that must outlast the simulator's process.
    fn changes(&self) -> u64;
    /// Itself as a system that programs run on, where there is one.
    fn posix(&self) -> Option<super::host::SharedMachine> {
        None
    }
    /// Serves one connection to port 22.
    fn serve_ssh(self: Arc<Self>, stream: Box<dyn Connection>, surroundings: Surroundings) -> BoxFuture<'static, ()>;
}

/// A machine that connections and the cluster share.
pub(crate) type SharedMachine = Arc<dyn Machine>;

/// A connection to serve.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// Makes machines.
pub(crate) trait Workshop: Send + Sync {
    /// A guest that boots for the first time: from an image as it is published, or from one that was prepared.
    fn guest(&self, settings: &CloudInit, hardware: &Hardware, published: bool) -> SharedMachine;
    /// The system of a node.
    fn node(&self, spec: &NodeSpec) -> SharedMachine;
    /// A machine from its file.
    fn load(&self, saved: &str) -> Result<SharedMachine>;
}

/// A machine by the name of its file.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Slot {
    /// No two machines of a world ever have the same, not even one after the other.
    file: String,
    #[serde(skip)]
    live: Option<SharedMachine>,
}

/// A guest: its settings, and its inside.
#[derive(Clone, Serialize, Deserialize)]
struct Guest {
    settings: CloudInit,
    machine: Slot,
}

/// All machines of a cluster.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Machines {
    guests: BTreeMap<u32, Guest>,
    nodes: BTreeMap<String, Slot>,
    /// What the names of its guests' files begin with; no other cluster has the same.
    home: String,
    /// How many guests there have ever been.
    made: u64,
    #[serde(skip)]
    workshop: Option<Arc<dyn Workshop>>,
}

impl std::fmt::Debug for Machines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Machines({} nodes, {} guests)", self.nodes.len(), self.guests.len())
    }
}

impl Machines {
    /// Brings all machines to life from what `saved` has under the names of their files, the nodes' by their specs when
    /// they are new. Without a workshop there is no inside: every port is closed and no agent answers.
    pub(crate) fn attach(
        &mut self,
        workshop: Option<Arc<dyn Workshop>>,
        nodes: &[NodeSpec],
        saved: &dyn Fn(&str) -> Result<String>,
    ) -> Result<()> {
        self.workshop = workshop;
        let Some(workshop) = &self.workshop else { return Ok(()) };
        if let Some(first) = nodes.first().filter(|_| self.home.is_empty()) {
            self.home.clone_from(&first.name);
        }
        for slot in self.guests.values_mut().map(|guest| &mut guest.machine).chain(self.nodes.values_mut()) {
            let unusable =
                |error: Error| error.context(format!("simulator: machines/{}.json: cannot be read", slot.file));
            slot.live = Some(workshop.load(&saved(&slot.file)?).map_err(unusable)?);
        }
        for spec in nodes.iter().filter(|spec| !self.nodes.contains_key(&spec.name)).collect::<Vec<_>>() {
            let slot = Slot { file: spec.name.clone(), live: Some(workshop.node(spec)) };
            self.nodes.insert(spec.name.clone(), slot);
        }
        Ok(())
    }

    /// All machines that live, by the names of their files.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, SharedMachine)> {
        let slots = self.guests.values().map(|guest| &guest.machine).chain(self.nodes.values());
        slots.filter_map(|slot| Some((slot.file.clone(), slot.live.clone()?)))
    }

    /// Boots a guest. The first time it is made; later its disk has kept its state, and it reads the drive again.
    pub(crate) fn boot_guest(
        &mut self,
        vmid: u32,
        settings: CloudInit,
        hardware: &Hardware,
        has_drive: bool,
        published: bool,
    ) {
        match self.guests.get_mut(&vmid) {
            Some(guest) => {
                if let Some(machine) = &guest.machine.live {
                    machine.fit(hardware);
                    machine.reboot();
                    let is_known = machine.is_set_up() && guest.settings.is_same_instance(&settings);
                    if has_drive && !is_known {
                        machine.apply(&settings);
                    }
                }
                if has_drive {
                    guest.settings = settings;
                }
            }
            None => {
                let live = self.workshop.as_ref().map(|workshop| workshop.guest(&settings, hardware, published));
                let file = self.new_file(vmid);
                self.guests.insert(vmid, Guest { settings, machine: Slot { file, live } });
            }
        }
    }

    fn new_file(&mut self, vmid: u32) -> String {
        self.made += 1;
        format!("{}-guest-{vmid}-{}", self.home, self.made)
    }

    /// Copies what is inside of a guest to another one, as its disk is copied. It has no address before it boots.
    pub(crate) fn copy_guest(&mut self, from: u32, to: u32) -> Result<()> {
        let (Some(source), Some(workshop)) = (self.guest(from), self.workshop.clone()) else { return Ok(()) };
        let live = Some(workshop.load(&source.save())?);
        let file = self.new_file(to);
        self.guests.insert(to, Guest { settings: CloudInit::default(), machine: Slot { file, live } });
        Ok(())
    }

    /// Takes a guest for what it is that will not boot again: nobody has its address.
    pub(crate) fn retire_guest(&mut self, vmid: u32) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.settings = CloudInit::default();
        }
    }

    /// Whether a service runs inside a guest.
    pub(crate) fn guest_runs(&self, vmid: u32, unit: &str) -> bool {
        self.guest(vmid).is_some_and(|machine| machine.runs(unit))
    }

    /// Boots a guest again without looking at its drive.
    pub(crate) fn reboot_guest(&self, vmid: u32) {
        if let Some(machine) = self.guest(vmid) {
            machine.reboot();
        }
    }

    /// Switches a guest off.
    pub(crate) fn switch_off_guest(&self, vmid: u32) {
        if let Some(machine) = self.guest(vmid) {
            machine.switch_off();
        }
    }

    /// Removes a guest for good.
    pub(crate) fn remove_guest(&mut self, vmid: u32) {
        self.guests.remove(&vmid);
    }

    /// A guest's inside.
    pub(crate) fn guest(&self, vmid: u32) -> Option<SharedMachine> {
        self.guests.get(&vmid)?.machine.live.clone()
    }

    /// The name of a guest's file.
    pub(crate) fn file_of(&self, vmid: u32) -> Option<String> {
        Some(self.guests.get(&vmid)?.machine.file.clone())
    }

    /// A node's inside.
    pub(crate) fn node(&self, name: &str) -> Option<SharedMachine> {
        self.nodes.get(name)?.live.clone()
    }

    /// Takes over a node's inside.
    pub(crate) fn take_node(&mut self, name: &str, from: &mut Machines) {
        if let Some(slot) = from.nodes.remove(name) {
            self.nodes.insert(name.into(), slot);
        }
    }

    /// The guests that have an address.
    pub(crate) fn guests_at(&self, address: Ipv4Addr) -> impl Iterator<Item = u32> {
        let is_there = move |guest: &Guest| {
            let own = guest.settings.address.split('/').next().unwrap_or_default();
            own.parse::<Ipv4Addr>().is_ok_and(|own| own == address)
        };
        self.guests.iter().filter(move |(_, guest)| is_there(guest)).map(|(vmid, _)| *vmid)
    }

    /// The address that a guest was given.
    pub(crate) fn address_of(&self, vmid: u32) -> Option<String> {
        let address = self.guests.get(&vmid)?.settings.address.split('/').next()?.to_owned();
        (!address.is_empty()).then_some(address)
    }

    /// The guests that have an address.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = (Contact, SharedMachine)> {
        self.guests.values().filter_map(|Guest { settings, machine }| {
            let address = settings.address.split('/').next().filter(|address| !address.is_empty())?;
            let contact = Contact {
                file: machine.file.clone(),
                hostname: settings.hostname.clone(),
                user: settings.user.clone(),
                address: address.to_owned(),
            };
            Some((contact, machine.live.clone()?))
        })
    }

    /// Runs a command through a guest's agent.
    pub(crate) fn execute(&self, vmid: u32, command: &[String]) -> Execution {
        self.guest(vmid).map(|machine| machine.agent_exec(command)).unwrap_or_default()
    }

    /// A guest's interfaces.
    pub(crate) fn interfaces(&self, vmid: u32) -> Value {
        self.guest(vmid).map_or(json!([]), |machine| machine.interfaces())
    }
}
