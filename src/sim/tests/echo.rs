//! Machines without an inside.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::error::Result;
use crate::sim::guests::{
    CloudInit, Connection, Execution, Firmware, Hardware, Link, Machine, NodeSpec, Outlook, PciDevice, PlainFile,
    SharedMachine, StandsFor, Surroundings, Tree, TreeChanges, Workshop,
};

/// A machine that only echoes, and knows its directories and files: enough to see what the cluster does with it.
struct Echo {
    settings: Mutex<CloudInit>,
    directories: Mutex<BTreeSet<String>>,
    files: Mutex<BTreeMap<String, String>>,
    large: Mutex<BTreeMap<String, StandsFor>>,
    pci: Vec<PciDevice>,
}

impl Echo {
    fn shared(settings: CloudInit) -> SharedMachine {
        Echo::with_files(settings, BTreeMap::new(), Vec::new())
    }

    fn with_files(settings: CloudInit, files: BTreeMap<String, String>, pci: Vec<PciDevice>) -> SharedMachine {
        Arc::new(Echo {
            settings: Mutex::new(settings),
            directories: Mutex::default(),
            files: Mutex::new(files),
            large: Mutex::default(),
            pci,
        })
    }

    fn settings(&self) -> MutexGuard<'_, CloudInit> {
        self.settings.lock().unwrap()
    }
}

impl Machine for Echo {
    fn host_keys(&self) -> Vec<String> {
        Vec::new()
    }

    fn switch_off(&self) {}

    fn reboot(&self) {}

    fn fit(&self, _: &Hardware) {}

    fn apply(&self, settings: &CloudInit) {
        self.settings().clone_from(settings);
    }

    fn is_set_up(&self) -> bool {
        true
    }

    fn runs(&self, _: &str) -> bool {
        true
    }

    fn write_large(&self, path: &str, stand_in: &str, large: StandsFor) {
        self.write_file(path, stand_in);
        self.large.lock().unwrap().insert(path.into(), large);
    }

    fn pci(&self) -> Vec<PciDevice> {
        self.pci.clone()
    }

    fn firmware(&self) -> Firmware {
        Firmware { uefi: true, ..Firmware::default() }
    }

    fn give_to_guest(&self, _: &str) {}

    fn make_directory(&self, path: &str) {
        self.directories.lock().unwrap().insert(path.into());
    }

    fn note_mount(&self, _: &str, _: &str, _: &str) {}

    fn has_directory(&self, path: &str) -> bool {
        self.directories.lock().unwrap().iter().any(|one| one == path || one.starts_with(&format!("{path}/")))
    }

    fn files(&self, directory: &str) -> Vec<PlainFile> {
        let large = self.large.lock().unwrap();
        let file = |(path, large): (&String, &StandsFor)| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?.to_owned();
            Some(PlainFile { name, stands_for: Some(large.clone()), ..PlainFile::default() })
        };
        large.iter().filter_map(file).collect()
    }

    fn read_file(&self, path: &str) -> Option<PlainFile> {
        let bytes = self.files.lock().unwrap().get(path)?.clone().into_bytes();
        Some(PlainFile { name: path.into(), bytes, changed: 1_700_000_000, stands_for: None })
    }

    fn write_file(&self, path: &str, text: &str) {
        self.files.lock().unwrap().insert(path.into(), text.into());
    }

    fn remove_file(&self, path: &str) {
        self.large.lock().unwrap().remove(path);
        self.files.lock().unwrap().remove(path);
    }

    fn set_links(&self, _: Vec<Link>) {}

    fn see(&self, _: &Arc<Outlook>) {}

    fn wants_reload(&self) -> bool {
        false
    }

    fn reloaded(&self, _: Option<String>) {}

    fn is_due(&self) -> bool {
        false
    }

    fn run_due(&self) {}

    fn tree(&self, _: &str) -> Tree {
        Tree::new()
    }

    fn put_tree(&self, _: &str, _: &TreeChanges) {}

    fn agent_exec(&self, command: &[String]) -> Execution {
        Execution { exit: 0, stdout: format!("{}\n", command.join(" ")).into_bytes(), stderr: Vec::new() }
    }

    fn interfaces(&self) -> Value {
        let address = self.settings().address.clone();
        let (address, prefix) = address.split_once('/').unwrap_or_default();
        json!([{ "name": "eth0", "hardware-address": "bc:24:11:00:00:01", "ip-addresses": [
            { "ip-address-type": "ipv4", "ip-address": address, "prefix": prefix.parse::<u8>().unwrap_or_default() },
        ] }])
    }

    fn save(&self) -> String {
        json!([*self.settings(), *self.files.lock().unwrap()]).to_string()
    }

    fn changes(&self) -> u64 {
        // Its settings and files are all that can change.
        let mut hasher = DefaultHasher::new();
        self.save().hash(&mut hasher);
        hasher.finish()
    }

    /// Says who it is and hangs up.
    fn serve_ssh(
        self: Arc<Self>,
        mut stream: Box<dyn Connection>,
        surroundings: Surroundings,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let name = self.settings().hostname.clone();
            surroundings.observer.command(&name, "root", "greet", 0, false);
            stream.write_all(format!("{name}\n").as_bytes()).await.unwrap();
        })
    }
}

/// Makes echoing machines.
pub(super) struct Echoes;

impl Workshop for Echoes {
    fn guest(&self, settings: &CloudInit, _: &Hardware, _: bool) -> SharedMachine {
        Echo::shared(settings.clone())
    }

    fn node(&self, spec: &NodeSpec) -> SharedMachine {
        let files = [
            ("/etc/network/interfaces", spec.interfaces()),
            ("/etc/hosts", format!("127.0.0.1 localhost\n{} {}\n", spec.fqdn, spec.name)),
            ("/etc/resolv.conf", format!("nameserver {}\n", spec.gateway)),
        ];
        let settings = CloudInit { hostname: spec.name.clone(), ..CloudInit::default() };
        let files = files.map(|(path, text)| (path.to_string(), text)).into();
        Echo::with_files(settings, files, spec.setup.board.everything())
    }

    fn load(&self, saved: &str) -> Result<SharedMachine> {
        let (settings, files) = serde_json::from_str(saved).unwrap();
        Ok(Echo::with_files(settings, files, Vec::new()))
    }
}
