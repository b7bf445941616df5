//! A machine as what runs on it sees it: its files, its programs, its addresses.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::sim::host::errands::{Errand, Told};
use crate::sim::host::{self, Cred};

/// A machine that runs.
pub(crate) struct Host {
    /// The name of its file, which no other has.
    pub(crate) file: String,
    pub(crate) machine: host::SharedMachine,
    /// Whether others reach it.
    pub(crate) connected: bool,
}

impl Host {
    /// Looks at the machine.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut host::Machine) -> T) -> T {
        look(&mut self.machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A file as text.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        self.with(|machine| machine.fs.read(&Cred::root(), path).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a file and the directories above it, unless it is so already.
    pub(super) fn write(&self, path: &str, mode: u32, text: &str) {
        self.with(|machine| {
            let root = Cred::root();
            let same = machine.fs.read(&root, path).is_ok_and(|known| known == text.as_bytes())
                && machine.fs.stat(&root, path, true).is_ok_and(|file| file.mode == mode);
            if same {
                return;
            }
            if let Some((folder, _)) = path.rsplit_once('/') {
                machine.make_directory(folder);
            }
            // What is in the way shows to whoever reads it.
            let written = machine.fs.write(&root, path, text.as_bytes(), mode);
            if let (Ok(()), Ok(ino)) = (written, machine.fs.find(&root, path, true)) {
                let _set = machine.fs.set_mode(&root, ino, mode);
            }
        });
    }

    /// Has something odd about its graphics card.
    pub(crate) fn twist_card(&self, card: host::CardState) {
        self.with(|machine| machine.card = card);
    }

    /// Whether a program is installed.
    pub(super) fn has_program(&self, name: &str) -> bool {
        self.with(|machine| machine.fs.exists(&format!("/usr/bin/{name}")))
    }

    /// What its name server knows outside of clusters; nothing where none answers.
    pub(super) fn far(&self) -> BTreeMap<String, String> {
        self.with(|machine| {
            let names = machine.outlook.names.clone();
            let answers = names.keys().next().is_some_and(|name| machine.lookup(name).is_some());
            if answers { names } else { BTreeMap::new() }
        })
    }

    /// The name of its system.
    pub(super) fn os(&self) -> String {
        let lines = self.with(|machine| machine.config_lines("/etc/os-release"));
        let name = lines.iter().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
    }

    /// What its programs wait for.
    pub(crate) fn errands(&self) -> BTreeMap<u64, Errand> {
        self.with(|machine| machine.errands.take())
    }

    /// Tells a program what it waits for.
    pub(crate) fn tell(&self, number: u64, told: Told) {
        self.with(|machine| machine.errands.answer(number, told));
    }

    /// Its first address.
    pub(super) fn address(&self) -> String {
        self.with(|machine| machine.first_address()).unwrap_or_default()
    }

    /// Whether an address is one of its own.
    pub(crate) fn has(&self, address: &str) -> bool {
        address.parse().is_ok_and(|address| self.with(|machine| machine.is_own(address)))
    }
}
