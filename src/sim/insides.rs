//! What is inside the simulated machines: a POSIX system each, with a shell, files and an SSH server.

use std::sync::{Arc, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use super::guests::{
    CloudInit, Connection, Execution, Firmware, Hardware, Link, Machine, NodeSpec, Outlook, PciDevice, PlainFile,
    SharedMachine, StandsFor, Surroundings, Tree, TreeChanges, Workshop,
};
use super::host;
use crate::error::{Class, Error, Result};

/// Makes POSIX machines.
pub(crate) struct Posix;

/// A machine behind its lock.
struct Inside(host::SharedMachine);

impl Inside {
    fn shared(machine: host::Machine) -> SharedMachine {
        Arc::new(Inside(Arc::new(std::sync::Mutex::new(machine))))
    }

    /// Looks at the machine. One whose command panicked is as good as any other that was switched off in the middle.
    fn with<T>(&self, look: impl FnOnce(&mut host::Machine) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn settings_of(settings: &CloudInit) -> host::CloudInit {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    host::CloudInit {
        hostname: settings.hostname.clone(),
        user: settings.user.clone(),
        ssh_keys: settings.ssh_keys.clone(),
        address: some(&settings.address),
        gateway: some(&settings.gateway),
        nameserver: some(&settings.nameserver),
        searchdomain: some(&settings.searchdomain),
        upgrade: settings.upgrade,
        vendor: settings.vendor.clone(),
    }
}

fn hardware_of(hardware: &Hardware) -> host::Hardware {
    let Hardware { processors, memory_kib, disk_bytes, mac, devices } = hardware.clone();
    host::Hardware { processors, memory_kib, disk_bytes, mac, devices }
}

impl Workshop for Posix {
    fn guest(&self, settings: &CloudInit, hardware: &Hardware, published: bool) -> SharedMachine {
        let (settings, hardware) = (settings_of(settings), hardware_of(hardware));
        let machine = match published {
            true => host::Machine::published(settings.clone(), &hardware),
            false => host::Machine::guest(settings.clone(), &hardware),
        };
        let inside = Arc::new(std::sync::Mutex::new(machine));
        host::finish_cloud_init(&inside, &settings);
        Arc::new(Inside(inside))
    }

    fn node(&self, spec: &NodeSpec) -> SharedMachine {
        Inside::shared(host::Machine::pve_node(host::NodeSpec {
            name: spec.name.clone(),
            fqdn: spec.fqdn.clone(),
            address_cidr: spec.address_cidr.clone(),
            gateway: spec.gateway.clone(),
            interfaces: spec.interfaces(),
            pending: spec.pending(),
            authorized_keys: spec.authorized_keys.clone(),
            setup: spec.setup.clone(),
        }))
    }

    fn load(&self, saved: &str) -> Result<SharedMachine> {
        let machine = serde_json::from_str(saved).map_err(|error| {
            Error::new(Class::Failed, "no machine is in it").cause(error).help("start over with `homelab sim reset`")
        })?;
        Ok(Inside::shared(machine))
    }
}

impl Machine for Inside {
    fn reboot(&self) {
        self.with(host::Machine::reboot);
    }

    fn switch_off(&self) {
        self.with(host::Machine::switch_off);
    }

    fn fit(&self, hardware: &Hardware) {
        self.with(|machine| machine.fit(&hardware_of(hardware)));
    }

    fn apply(&self, settings: &CloudInit) {
        let settings = settings_of(settings);
        self.with(|machine| machine.reconfigure(&settings));
        host::finish_cloud_init(&self.0, &settings);
    }

    fn is_set_up(&self) -> bool {
        self.with(|machine| machine.is_set_up())
    }

    fn runs(&self, unit: &str) -> bool {
        self.with(|machine| machine.run_state(unit).active == "active")
    }

    fn pci(&self) -> Vec<PciDevice> {
        self.with(|machine| machine.pci.clone())
    }

    fn firmware(&self) -> Firmware {
        self.with(|machine| machine.board.firmware.clone())
    }

    fn give_to_guest(&self, slot: &str) {
        self.with(|machine| machine.give_to_vfio(slot));
    }

    fn make_directory(&self, path: &str) {
        self.with(|machine| machine.make_directory(path));
    }

    fn note_mount(&self, source: &str, directory: &str, kind_and_options: &str) {
        self.with(|machine| machine.note_mount(source, directory, kind_and_options));
    }

    fn has_directory(&self, path: &str) -> bool {
        self.with(|machine| machine.has_directory(path))
    }

    fn files(&self, directory: &str) -> Vec<PlainFile> {
        self.with(|machine| {
            let files = machine.plain_files(directory).into_iter();
            let large = |name: &str| machine.stands_for(&format!("{directory}/{name}"));
            files.map(|(name, bytes, changed)| PlainFile { stands_for: large(&name), name, bytes, changed }).collect()
        })
    }

    fn read_file(&self, path: &str) -> Option<PlainFile> {
        let name = path.rsplit('/').next().unwrap_or_default().to_string();
        self.with(|machine| {
            let (bytes, changed) = machine.plain_file(path)?;
            Some(PlainFile { name, bytes, changed, stands_for: machine.stands_for(path) })
        })
    }

    fn write_file(&self, path: &str, text: &str) {
        self.with(|machine| machine.write_file(path, text));
    }

    fn write_large(&self, path: &str, stand_in: &str, large: StandsFor) {
        self.with(|machine| machine.write_large(path, stand_in, large));
    }

    fn remove_file(&self, path: &str) {
        self.with(|machine| machine.remove_file(path));
    }

    fn tree(&self, directory: &str) -> Tree {
        self.with(|machine| machine.tree(directory))
    }

    fn put_tree(&self, directory: &str, changes: &TreeChanges) {
        self.with(|machine| machine.put_tree(directory, changes));
    }

    fn set_links(&self, links: Vec<Link>) {
        let gateway = links.iter().find_map(|link| link.gateway.clone()).unwrap_or_default();
        let nic =
            |Link { name, addresses, mtu, bridge, .. }| host::Nic { name, mac: String::new(), addresses, mtu, bridge };
        let links = links.into_iter().map(nic).collect();
        self.with(|machine| machine.set_links(links, gateway));
    }

    fn see(&self, outlook: &Arc<Outlook>) {
        self.with(|machine| {
            if machine.outlook != *outlook {
                machine.outlook = Arc::clone(outlook);
            }
        });
    }

    fn wants_reload(&self) -> bool {
        self.with(|machine| machine.reload == host::outlook::Reload::Wanted)
    }

    fn reloaded(&self, complaint: Option<String>) {
        self.with(|machine| machine.reload = host::outlook::Reload::Done(complaint));
    }

    fn is_due(&self) -> bool {
        self.with(|machine| machine.is_due())
    }

    fn run_due(&self) {
        host::run_due_timers(&self.0);
    }

    fn posix(&self) -> Option<host::SharedMachine> {
        Some(Arc::clone(&self.0))
    }

    fn agent_exec(&self, command: &[String]) -> Execution {
        // Whoever asks the agent holds the world meanwhile.
        self.with(|machine| machine.errands.set_alone(true));
        let host::ExecResult { exit, stdout, stderr } = host::run_shared(&self.0, "root", command, &[]);
        self.with(|machine| machine.errands.set_alone(false));
        Execution { exit, stdout, stderr }
    }

    fn interfaces(&self) -> Value {
        self.with(|machine| machine.interfaces())
    }

    fn host_keys(&self) -> Vec<String> {
        let keys = self.with(|machine| machine.host_keys());
        keys.iter().filter_map(|key| key.public_key().to_openssh().ok()).collect()
    }

    fn save(&self) -> String {
        // Machines are plain data with text keys, which is all that could go wrong.
        self.with(|machine| serde_json::to_string(machine).unwrap_or_default())
    }

    fn changes(&self) -> u64 {
        // A boot is no change of its disk, and neither is a power button; both must outlast the process.
        self.with(|machine| {
            let power = u64::from(machine.power_request().is_some());
            machine.mutations() ^ (machine.boots << 40) ^ (power << 63)
        })
    }

    fn serve_ssh(self: Arc<Self>, stream: Box<dyn Connection>, surroundings: Surroundings) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Surroundings { observer, network, passwords, commands } = surroundings;
            let options = host::SshOptions {
                forwarder: Some(network),
                passwords: Some(passwords),
                commands,
                ..host::SshOptions::default()
            };
            // A connection that breaks off is the client's to notice.
            let _ended = host::serve_ssh_with(stream, Arc::clone(&self.0), observer, options).await;
        })
    }
}
