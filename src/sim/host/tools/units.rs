//! systemd's units: their files, which of them start at boot, and what starting one does.

use crate::sim::host::fs::{Cred, now};
use crate::sim::host::machine::{Machine, UnitRun};

/// Where unit files are, the first one found counts.
const DIRS: &[&str] = &["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// A unit file.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    /// Its name with suffix.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its text.
    pub text: String,
    /// What the files beside it add.
    pub drop_ins: String,
}

impl Unit {
    /// The values of a key, in order. An empty one takes back those before it.
    pub fn values(&self, key: &str) -> Vec<&str> {
        let mut values: Vec<&str> = Vec::new();
        for line in self.text.lines().chain(self.drop_ins.lines()) {
            match line.trim().split_once('=') {
                Some((name, value)) if name.trim() == key && value.trim().is_empty() => values.clear(),
                Some((name, value)) if name.trim() == key => values.push(value.trim()),
                _ => {}
            }
        }
        values
    }

    /// The words of its command, which may go on over several lines.
    pub fn command(&self) -> Option<Vec<String>> {
        let whole = self.definition().replace("\\\n", " ");
        let mut last = None;
        for line in whole.lines() {
            if let Some(command) = line.trim().strip_prefix("ExecStart=") {
                last = Some(command.trim_start_matches(['-', '+', '!', '@', ':']).to_owned());
            }
        }
        let words: Vec<String> = last?
            .split_whitespace()
            .map(|word| word.trim_matches(['\'', '"']).to_owned())
            .filter(|word| !word.is_empty())
            .collect();
        (!words.is_empty()).then_some(words)
    }

    /// All that is said of it.
    pub fn definition(&self) -> String {
        format!("{}{}", self.text, self.drop_ins)
    }

    /// The value of a key; the last one counts.
    pub fn value(&self, key: &str) -> &str {
        self.values(key).last().copied().unwrap_or("")
    }

    /// Whether it came with the system: then the simulator stands for its program.
    pub fn is_stock(&self) -> bool {
        self.path.starts_with("/usr/lib/")
    }
}

impl Machine {
    /// The full name of a unit.
    pub fn unit_name(&self, name: &str) -> String {
        const SUFFIXES: &[&str] = &[".service", ".timer", ".target", ".socket", ".mount", ".path", ".slice", ".device"];
        if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) { name.to_owned() } else { format!("{name}.service") }
    }

    /// A unit's file. An alias leads to the unit it stands for.
    pub fn unit(&self, name: &str) -> Option<Unit> {
        let root = Cred::root();
        for dir in DIRS {
            let path = format!("{dir}/{name}");
            let Ok(spot) = self.fs.locate(&root, &path, true) else { continue };
            if spot.ino.is_none() {
                continue;
            }
            let real = self.fs.real_path(&spot);
            let name = real.rsplit('/').next().unwrap_or(name).to_owned();
            return Some(Unit { text: self.fs.text(&real), path: real, drop_ins: self.drop_ins(&name), name });
        }
        None
    }

    /// What the files beside a unit add, by their names.
    fn drop_ins(&self, name: &str) -> String {
        let mut files: Vec<String> =
            DIRS.iter().flat_map(|dir| self.files_in(&format!("{dir}/{name}.d"), ".conf")).collect();
        files.sort_by_key(|path| path.rsplit('/').next().unwrap_or_default().to_owned());
        files.iter().map(|path| self.fs.text(path)).collect()
    }

    /// A unit as systemd has read it: one that runs, or that a target refers to, goes on with what was read when it was
    /// started or enabled or when all were read again. Others are forgotten and read anew.
    pub fn loaded_unit(&self, name: &str) -> Option<Unit> {
        let unit = self.unit(name)?;
        Some(match self.units.get(&unit.name) {
            Some(run)
                if !run.definition.is_empty()
                    && (run.active == "active" || !self.wants_links(&unit.name).is_empty()) =>
            {
                Unit { text: run.definition.clone(), drop_ins: String::new(), ..unit }
            }
            _ => unit,
        })
    }

    /// Whether a unit's files are others than those that were read.
    pub fn needs_daemon_reload(&self, name: &str) -> bool {
        let both = self.unit(name).zip(self.loaded_unit(name));
        both.is_some_and(|(files, read)| files.definition() != read.definition())
    }

    /// Reads all units' files again.
    pub fn daemon_reload(&mut self) {
        for name in self.units.keys().cloned().collect::<Vec<_>>() {
            let Some(unit) = self.unit(&name) else { continue };
            if let Some(run) = self.units.get_mut(&name) {
                run.definition = unit.definition();
            }
        }
    }

    /// Whether it is linked to nothing, so that it cannot be started.
    pub fn is_masked(&self, name: &str) -> bool {
        let root = Cred::root();
        DIRS.iter()
            .any(|dir| self.fs.read_link(&root, &format!("{dir}/{name}")).is_ok_and(|target| target == "/dev/null"))
    }

    /// The links that make a unit start with others.
    pub fn wants_links(&self, name: &str) -> Vec<String> {
        let names = self.fs.list(&Cred::root(), DIRS[0]).unwrap_or_default();
        let dirs = names.into_iter().filter(|dir| dir.ends_with(".wants") || dir.ends_with(".requires"));
        let links = dirs.map(|dir| format!("{}/{dir}/{name}", DIRS[0]));
        links.filter(|path| self.fs.find(&Cred::root(), path, false).is_ok()).collect()
    }

    /// What `is-enabled` says.
    pub fn enabled_state(&self, name: &str) -> Option<&'static str> {
        if self.is_masked(name) {
            return Some("masked");
        }
        let unit = self.unit(name)?;
        Some(match () {
            () if !self.wants_links(name).is_empty() => "enabled",
            () if unit.name != name => "alias",
            () if unit.values("WantedBy").is_empty() && unit.values("RequiredBy").is_empty() => "static",
            () => "disabled",
        })
    }

    /// Makes a unit start at boot; false when it already does.
    pub fn enable(&mut self, unit: &Unit) -> Vec<(String, String)> {
        let root = Cred::root();
        let mut made = Vec::new();
        let wanted: Vec<(String, &str)> = ["WantedBy", "RequiredBy"]
            .iter()
            .zip(["wants", "requires"])
            .flat_map(|(key, kind)| {
                unit.values(key)
                    .into_iter()
                    .flat_map(str::split_whitespace)
                    .map(move |target| (target.to_owned(), kind))
            })
            .collect();
        for (target, kind) in wanted {
            let dir = format!("{}/{target}.{kind}", DIRS[0]);
            let link = format!("{dir}/{}", unit.name);
            if self.fs.find(&root, &link, false).is_ok() {
                continue;
            }
            let _there_already = self.fs.make_dir(&root, &dir, 0o755);
            if self.fs.symlink(&root, &unit.path, &link).is_ok() {
                made.push((link, unit.path.clone()));
            }
        }
        if !made.is_empty() && !self.units.contains_key(&unit.name) {
            let idle = self.run_state(&unit.name);
            self.units.insert(unit.name.clone(), idle);
        }
        if let Some(run) = self.units.get_mut(&unit.name).filter(|run| !made.is_empty() && run.definition.is_empty()) {
            run.definition = unit.definition();
        }
        made
    }

    /// The state of a unit, `inactive` when it never ran.
    pub fn run_state(&self, name: &str) -> UnitRun {
        let idle = UnitRun {
            active: "inactive".to_owned(),
            sub: "dead".to_owned(),
            since: 0,
            pid: 0,
            definition: String::new(),
        };
        self.units.get(name).cloned().unwrap_or(idle)
    }

    /// Marks a unit as running, or as done when it is one that ends.
    pub fn set_running(&mut self, unit: &Unit) {
        let oneshot = unit.value("Type") == "oneshot";
        let stays = !oneshot || unit.value("RemainAfterExit") == "yes";
        let sub = match unit.name.rsplit('.').next() {
            _ if oneshot && stays => "exited",
            _ if oneshot => "dead",
            Some("timer") => "waiting",
            Some("socket") => "listening",
            Some("target") => "active",
            _ => "running",
        };
        let pid = if sub == "running" { 400 + self.units.len() as u32 * 7 } else { 0 };
        let active = if stays { "active" } else { "inactive" };
        let run = UnitRun {
            active: active.to_owned(),
            sub: sub.to_owned(),
            since: now(),
            pid,
            definition: unit.definition(),
        };
        self.log(format!("systemd[1]: Started {} - {}.", unit.name, unit.value("Description")));
        self.units.insert(unit.name.clone(), run);
    }
}

/// Starts what is enabled, as a boot does. Units whose program is not simulated fail, as on a machine where the
/// program does not come up.
pub fn start_enabled(machine: &mut Machine) {
    machine.units.clear();
    machine.daemons.clear();
    // Started for the port of the hypervisor, which every virtual machine here has.
    if let Some(agent) = machine.unit("qemu-guest-agent.service").filter(|agent| !machine.is_masked(&agent.name)) {
        machine.set_running(&agent);
    }
    let root = Cred::root();
    let dirs = machine.fs.list(&root, DIRS[0]).unwrap_or_default();
    let dirs: Vec<String> =
        dirs.into_iter().filter(|dir| dir.ends_with(".wants") || dir.ends_with(".requires")).collect();
    for dir in dirs {
        for name in machine.fs.list(&root, &format!("{}/{dir}", DIRS[0])).unwrap_or_default() {
            let Some(unit) = machine.unit(&name).filter(|_| !machine.is_masked(&name)) else { continue };
            let is_service = name.ends_with(".service");
            if unit.is_stock() || !is_service || unit.value("ExecStart").contains("/sleep ") {
                machine.set_running(&unit);
            } else if let Some(daemon) = machine.daemon_of(&unit) {
                for module in unit.values("ExecStartPre").into_iter().filter_map(module_of) {
                    machine.load_module(module);
                }
                machine.start_daemon(&unit, daemon);
            } else {
                let run = UnitRun::ended("failed", "failed");
                machine.log(format!("systemd[1]: {name}: homelab sim: not simulated: {}", unit.value("ExecStart")));
                machine.units.insert(name, run);
            }
        }
    }
}

/// The kernel module that a command loads, if it is one that can be loaded.
fn module_of(command: &str) -> Option<&str> {
    let (program, module) = command.trim_start_matches('-').split_once(' ')?;
    let module = module.trim();
    (program.ends_with("/modprobe") && super::is_kernel_module(module)).then_some(module)
}
