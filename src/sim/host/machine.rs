//! One simulated machine: its file system, and the little state that is not in files.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::daemons::Daemon;
use super::errands::Errands;
use super::fs::{Computed, Cred, Fs, Ino, Kind, StandsFor, Sys, now};
use super::hardware::{Board, PciDevice};
use super::links::Nic;
use super::outlook::{Outlook, Reload};
use super::process::Life;
use super::random;

/// A machine that several connections use at once.
pub type SharedMachine = Arc<Mutex<Machine>>;

/// What the machine was told to do with its power, by a command that ran on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerRequest {
    /// `reboot`
    Reboot,
    /// `poweroff`
    Off,
}

/// What the firmware of a machine says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Maker {
    /// Who made it.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// The firmware's own version.
    pub version: String,
}

impl Default for Maker {
    /// A virtual machine.
    fn default() -> Self {
        Maker {
            vendor: "QEMU".to_owned(),
            product: "Standard PC (Q35 + ICH9, 2009)".to_owned(),
            version: "4.2025.02-4".to_owned(),
        }
    }
}

/// How a unit runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRun {
    /// `active`, `inactive` or `failed`.
    pub active: String,
    /// `running`, `exited`, `dead`, `failed`.
    pub sub: String,
    /// Since when, seconds.
    pub since: i64,
    /// The main process, 0 without one.
    pub pid: u32,
    /// Its files as they were read.
    #[serde(default)]
    pub definition: String,
}

impl UnitRun {
    /// One that does not run since now.
    pub fn ended(active: &str, sub: &str) -> Self {
        UnitRun { active: active.to_owned(), sub: sub.to_owned(), since: now(), pid: 0, definition: String::new() }
    }
}

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecResult {
    /// Its exit status.
    pub exit: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// The first process number of what is no service.
const FIRST_PID: u32 = 20_001;

/// A simulated machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// What is odd about its graphics card.
    #[serde(default)]
    pub card: super::CardState,
    /// Its file system. Users, packages, enabled units and most settings are in its files, as on a real one.
    pub fs: Fs,
    /// The kernel's host name.
    pub hostname: String,
    /// What `uname -r` says.
    pub kernel: String,
    /// What `uname -v` says.
    pub kernel_build: String,
    /// Its network interfaces without the loopback.
    pub nics: Vec<Nic>,
    /// Its default gateway.
    pub gateway: String,
    /// What it finds around it.
    #[serde(skip)]
    pub outlook: Arc<Outlook>,
    /// Whether somebody waits for its interfaces to be brought up anew.
    #[serde(skip)]
    pub reload: Reload,
    /// What its firmware says of it.
    #[serde(default)]
    pub maker: Maker,
    /// Memory, KiB.
    pub memory_kib: u64,
    /// Processors.
    pub processors: u32,
    /// Bytes of the root disk.
    pub disk_bytes: u64,
    /// Loaded kernel modules.
    pub modules: Vec<String>,
    /// Units that are or were running.
    pub units: BTreeMap<String, UnitRun>,
    /// The programs that units run.
    #[serde(default)]
    pub daemons: BTreeMap<String, Daemon>,
    /// How often any was started.
    #[serde(default)]
    pub(super) daemon_runs: u64,
    /// What its programs want of the world outside.
    #[serde(skip)]
    pub errands: Errands,
    /// What it is made of.
    #[serde(default)]
    pub board: Board,
    /// What is on its PCI bus now.
    pub pci: Vec<PciDevice>,
    /// The devices that `vfio-pci` was told to take when it was loaded.
    #[serde(default)]
    pub(super) vfio_ids: Vec<String>,
    /// What `journalctl` shows, newest last.
    pub journal: VecDeque<String>,
    /// When it booted, seconds.
    pub booted: i64,
    /// How often it booted.
    pub boots: u64,
    /// Changes of what is not in files.
    pub(super) changes: u64,
    /// The programs that commands run at this moment, by process number.
    #[serde(skip)]
    pub(super) processes: BTreeMap<u32, Vec<String>>,
    pub(super) power: Option<PowerRequest>,
    /// Ends when it is switched off, and everything that runs with it.
    #[serde(skip)]
    pub(super) power_supply: Arc<Life>,
}

impl Machine {
    /// A counter that grows with every lasting change: what is written to disk, services, settings of the kernel.
    pub fn mutations(&self) -> u64 {
        self.changes + self.fs.changes()
    }

    /// Counts a change that is not one of the file system.
    pub fn note_change(&mut self) {
        self.changes += 1;
    }

    /// Puts a program into the list of processes. Gives its number there.
    pub(super) fn start_process(&mut self, args: &[String]) -> u32 {
        let pid = self.processes.last_key_value().map_or(FIRST_PID, |(last, _)| last + 1);
        self.processes.insert(pid, args.to_vec());
        pid
    }

    /// Takes it out again.
    pub(super) fn end_process(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// Adds a line to the journal, which keeps the newest thousand.
    pub fn log(&mut self, line: impl Into<String>) {
        let mut line: String = line.into();
        // As journald does, which splits longer ones.
        line.truncate(line.floor_char_boundary(48 << 10));
        self.journal.push_back(line);
        if self.journal.len() > 1000 {
            self.journal.pop_front();
        }
    }

    /// Asks whoever runs the machine for a reboot or to switch it off.
    pub fn request_power(&mut self, request: PowerRequest) {
        self.power = Some(request);
    }

    /// What the machine was asked to do with its power, once.
    pub fn take_power_request(&mut self) -> Option<PowerRequest> {
        self.power.take()
    }

    /// What the machine was asked to do with its power and nobody did yet.
    pub fn power_request(&self) -> Option<PowerRequest> {
        self.power
    }

    /// Switches it off: whatever runs ends where it stands.
    pub fn switch_off(&mut self) {
        self.power_supply.end();
    }

    /// Restarts it: memory file systems are emptied, the kernel starts afresh, enabled units run.
    pub fn reboot(&mut self) {
        self.switch_off();
        self.power_supply = Arc::default();
        self.power = None;
        super::seed::boot(self);
    }

    /// Reads from an open object; kernel files are made up at this moment.
    pub fn read_at(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> Sys<usize> {
        let Kind::Computed(what) = self.fs.inode(ino)?.kind else { return self.fs.read_at(ino, offset, buffer) };
        // A second read of the same open file must not start over with other content.
        let goes_on = matches!(what, Computed::Authorized(_) | Computed::Hostname);
        let text = if offset == 0 || goes_on { self.compute(what) } else { String::new() };
        let rest = text.as_bytes().get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let length = buffer.len().min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    /// Writes to an open object.
    pub fn write_at(&mut self, ino: Ino, offset: Option<u64>, data: &[u8]) -> Sys<u64> {
        match self.fs.inode(ino)?.kind {
            Kind::Computed(Computed::Hostname) => {
                self.hostname = String::from_utf8_lossy(data).trim().to_owned();
                self.note_change();
            }
            Kind::Computed(Computed::Authorized(index)) => self.authorize(index, data)?,
            Kind::Computed(Computed::Rescan) => self.rescan(data)?,
            _ => return self.fs.write_at(ino, offset, data),
        }
        Ok(data.len() as u64)
    }

    fn compute(&self, what: Computed) -> String {
        match what {
            Computed::Uptime => {
                let up = self.uptime() as f64;
                format!("{up:.2} {:.2}\n", up * f64::from(self.processors.max(1)) * 0.97)
            }
            Computed::Load => "0.00 0.01 0.00 1/128 1000\n".to_owned(),
            Computed::Uuid => format!("{}\n", random::uuid()),
            Computed::Hostname => format!("{}\n", self.hostname),
            Computed::Authorized(index) => self.authorization(index),
            Computed::Rescan => String::new(),
            Computed::Modules => {
                self.modules.iter().map(|name| format!("{name} 16384 0 - Live 0x0000000000000000\n")).collect()
            }
        }
    }

    /// Seconds since the boot.
    pub fn uptime(&self) -> i64 {
        (now() - self.booted).max(0)
    }

    /// A file's lines without comments and blanks.
    pub fn config_lines(&self, path: &str) -> Vec<String> {
        let text = self.fs.text(path);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        lines.map(str::to_owned).collect()
    }

    /// Makes a directory and those above it, as root. What is in the way stays.
    pub fn make_directory(&mut self, path: &str) {
        let ends = path.char_indices().skip(1).filter(|(_, next)| *next == '/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            // Most are there already; what could not be made shows when somebody looks for it.
            let _made = self.fs.make_dir(&Cred::root(), &path[..end], 0o755);
        }
    }

    /// Whether a directory is there.
    pub fn has_directory(&self, path: &str) -> bool {
        self.fs.list(&Cred::root(), path).is_ok()
    }

    /// The plain files in a directory: name, content, seconds of the last change.
    pub fn plain_files(&self, dir: &str) -> Vec<(String, Vec<u8>, u64)> {
        let root = Cred::root();
        let names = self.fs.list(&root, dir).unwrap_or_default();
        let read = |name: String| {
            let (bytes, changed) = self.plain_file(&format!("{dir}/{name}"))?;
            Some((name, bytes, changed))
        };
        names.into_iter().filter_map(read).collect()
    }

    /// A plain file: its bytes, and when it last changed in seconds.
    pub fn plain_file(&self, path: &str) -> Option<(Vec<u8>, u64)> {
        let root = Cred::root();
        let inode = self.fs.stat(&root, path, true).ok().filter(|inode| inode.is_file())?;
        let changed = u64::try_from(inode.mtime).unwrap_or_default();
        Some((self.fs.read(&root, path).ok()?, changed))
    }

    /// The larger file that a file stands for.
    pub fn stands_for(&self, path: &str) -> Option<StandsFor> {
        self.fs.stat(&Cred::root(), path, true).ok()?.stands_for.clone()
    }

    /// Writes a file that is too large to be kept, as root. Its directory is made.
    pub fn write_large(&mut self, path: &str, stand_in: &str, large: StandsFor) {
        self.make_directory(path.rsplit_once('/').map_or("/", |(folder, _)| folder));
        self.write_file(path, stand_in);
        if let Ok(ino) = self.fs.find(&Cred::root(), path, true) {
            // It has just been found.
            let _marked = self.fs.set_stand_in(ino, Some(large));
        }
    }

    /// Writes a file, as root. What is in the way stays.
    pub fn write_file(&mut self, path: &str, text: &str) {
        // Only a directory of this name could be in the way, and it shows to whoever reads the file.
        let _written = self.fs.write(&Cred::root(), path, text.as_bytes(), 0o644);
    }

    /// Removes a file, if it is there.
    pub fn remove_file(&mut self, path: &str) {
        // One that is not there is as good as removed.
        let _gone = self.fs.unlink(&Cred::root(), path);
    }

    /// The files of a directory that end in `suffix`, as paths, sorted.
    pub fn files_in(&self, dir: &str, suffix: &str) -> Vec<String> {
        let names = self.fs.list(&Cred::root(), dir).unwrap_or_default();
        names.into_iter().filter(|name| name.ends_with(suffix)).map(|name| format!("{dir}/{name}")).collect()
    }

    /// The interfaces as the guest agent's `network-get-interfaces` reports them.
    pub fn interfaces(&self) -> Value {
        let address = |text: &str| {
            let (ip, prefix) = text.split_once('/').unwrap_or((text, "32"));
            let kind = if ip.contains(':') { "ipv6" } else { "ipv4" };
            json!({"ip-address": ip, "ip-address-type": kind, "prefix": prefix.parse::<u32>().unwrap_or(32)})
        };
        let statistics = json!({
            "rx-bytes": 0, "rx-dropped": 0, "rx-errs": 0, "rx-packets": 0,
            "tx-bytes": 0, "tx-dropped": 0, "tx-errs": 0, "tx-packets": 0,
        });
        let mut all = vec![json!({
            "name": "lo", "hardware-address": "00:00:00:00:00:00",
            "ip-addresses": [address("127.0.0.1/8"), address("::1/128")], "statistics": statistics.clone(),
        })];
        all.extend(self.nics.iter().map(|nic| {
            json!({
                "name": nic.name, "hardware-address": nic.mac,
                "ip-addresses": nic.addresses.iter().map(|text| address(text)).collect::<Vec<_>>(),
                "statistics": statistics.clone(),
            })
        }));
        Value::Array(all)
    }
}
