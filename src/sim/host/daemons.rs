//! Programs that stay: what systemd starts and watches, and whoever runs the machine brings to life. The machine knows of
//! such a program that it runs, and whether it has said that it is ready; what it does is somebody else's.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use super::exec::STUB;
use super::fs::Cred;
use super::machine::{Machine, UnitRun};
use super::tools::Unit;

/// The programs that can stay.
const KNOWN: &[&str] = &["k3s"];

/// What systemd waits before it starts a program again, in milliseconds, where a unit says nothing.
const RESTART_AFTER: u64 = 100;

/// Between a unit's name and a line of its journal.
const OF_UNIT: char = '\u{1f}';

/// A program that a unit runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its name: `k3s`.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// What the unit adds to its environment.
    pub env: BTreeMap<String, String>,
    /// Which run of any program on this machine it is.
    pub run: u64,
    /// Its number among the processes.
    pub pid: u32,
    /// Since when it runs, in milliseconds.
    pub since: u64,
    /// When it ended, if it has and is to be started again, in milliseconds.
    pub ended: Option<u64>,
    /// How long systemd waits until then, in milliseconds.
    pub pause: u64,
    /// How often it was started again by itself.
    pub restarts: u32,
}

impl Daemon {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.ended.is_none()
    }
}

/// Milliseconds since 1970, by the wall clock.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A span as systemd writes it, in milliseconds: `5`, `5s`, `100ms`, `1min`. `None` where it has no end.
pub fn span(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "" | "s" | "sec" => Some(number * 1000),
        "ms" => Some(number),
        "min" | "m" => Some(number * 60_000),
        _ => None,
    }
}

/// The program that a file stands for, where it is one of the simulator's own that have a version: name and version.
pub fn program_in(content: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(content).ok()?.strip_prefix(STUB)?;
    let (name, version) = text.trim().split_once(' ')?;
    KNOWN.contains(&name).then(|| (name.to_owned(), version.trim().to_owned()))
}

/// A moment as most programs write it: `2026-11-27T23:40:00Z`.
pub fn rfc3339(millis: u64) -> String {
    super::tools::clock::format(i64::try_from(millis / 1000).unwrap_or_default(), "%Y-%m-%dT%H:%M:%SZ")
}

/// The commit that a release is made of, as it is told.
pub fn commit(version: &str) -> String {
    crate::sim::chance::hex(&crate::sim::chance::sha256(version)[..4])
}

impl Machine {
    /// What a unit of somebody's own would run, if that is a program that stays; and how it is called.
    pub fn daemon_of(&self, unit: &Unit) -> Option<Daemon> {
        let command = unit.command()?;
        let (path, args) = command.split_first()?;
        let content = self.fs.read(&Cred::root(), path).ok()?;
        let executable = self.fs.stat(&Cred::root(), path, true).is_ok_and(|file| file.mode & 0o111 != 0);
        let (program, version) = program_in(&content).filter(|_| executable)?;
        Some(Daemon { program, version, args: args.to_vec(), env: self.environment_of(unit), ..Daemon::default() })
    }

    /// What a unit adds to the environment of its program.
    fn environment_of(&self, unit: &Unit) -> BTreeMap<String, String> {
        let name = unit.name.trim_end_matches(".service");
        let files = unit.values("EnvironmentFile").into_iter();
        let files = files.map(|path| path.trim_start_matches('-').replace("%N", name));
        let lines: Vec<String> = files.flat_map(|path| self.config_lines(&path)).collect();
        let own = unit.values("Environment").into_iter().flat_map(str::split_whitespace).map(str::to_owned);
        let quotes = |text: &str| text.trim_matches(['"', '\'']).to_owned();
        own.chain(lines)
            .filter_map(|line| line.trim_matches(['"', '\'']).split_once('=').map(|(k, v)| (k.to_owned(), quotes(v))))
            .collect()
    }

    /// Starts a program that stays. A unit of type `notify` is active once the program says so.
    pub fn start_daemon(&mut self, unit: &Unit, daemon: Daemon) {
        self.daemon_runs += 1;
        let run = self.daemon_runs;
        let pid = 600 + u32::try_from(run % 30_000).unwrap_or_default() * 3;
        let notifies = unit.value("Type") == "notify";
        let (active, sub) = if notifies { ("activating", "start") } else { ("active", "running") };
        self.log(format!("systemd[1]: Starting {} - {}...", unit.name, unit.value("Description")));
        let since = super::fs::now();
        let definition = unit.definition();
        let state = UnitRun { active: active.into(), sub: sub.into(), since, pid, definition };
        self.units.insert(unit.name.clone(), state);
        self.daemons.insert(unit.name.clone(), Daemon { run, pid, since: now(), ended: None, ..daemon });
        self.note_change();
    }

    /// A program says that it is ready.
    pub fn daemon_is_ready(&mut self, unit: &str) {
        let Some(state) = self.units.get_mut(unit).filter(|state| state.active == "activating") else { return };
        state.active = "active".into();
        state.sub = "running".into();
        state.since = super::fs::now();
        self.log(format!("systemd[1]: Started {unit}."));
        self.note_change();
    }

    /// A program ends by itself. systemd starts it again where the unit says so.
    pub fn daemon_ends(&mut self, unit: &str, status: i32, now: u64) {
        let Some(daemon) = self.daemons.get(unit).filter(|daemon| daemon.runs()).cloned() else { return };
        self.log(format!("systemd[1]: {unit}: Main process exited, code=exited, status={status}/FAILURE"));
        self.log(format!("systemd[1]: {unit}: Failed with result 'exit-code'."));
        let definition = self.run_state(unit).definition;
        let read = Unit { name: unit.to_owned(), text: definition.clone(), ..Unit::default() };
        let restarts = matches!(read.value("Restart"), "always" | "on-failure" | "on-abnormal");
        if self.run_state(unit).active == "activating" {
            self.log(format!("systemd[1]: Failed to start {unit} - {}.", read.value("Description")));
        }
        let ended = if restarts { ("activating", "auto-restart") } else { ("failed", "failed") };
        self.units.insert(unit.to_owned(), UnitRun { definition, ..UnitRun::ended(ended.0, ended.1) });
        if restarts {
            let pause = span(read.value("RestartSec")).unwrap_or(RESTART_AFTER);
            self.daemons.insert(unit.to_owned(), Daemon { ended: Some(now), pause, ..daemon });
        } else {
            self.daemons.remove(unit);
        }
        self.note_change();
    }

    /// Ends a program because its unit is stopped.
    pub fn stop_daemon(&mut self, unit: &str) {
        self.daemons.remove(unit);
    }

    /// Starts what has ended and is to be started again by now. A pause is a tenth of what the unit says, as everything here
    /// is quicker than on a real machine.
    pub fn restart_daemons(&mut self, now: u64, pace: f64) {
        let is_due = |daemon: &Daemon| {
            let pause = (daemon.pause as f64 / 10.0 * pace) as u64;
            daemon.ended.is_some_and(|ended| now >= ended + pause)
        };
        let due: Vec<String> =
            self.daemons.iter().filter(|(_, daemon)| is_due(daemon)).map(|(unit, _)| unit.clone()).collect();
        for name in due {
            let restarts = self.daemons.remove(&name).map_or(0, |daemon| daemon.restarts) + 1;
            let Some(unit) = self.loaded_unit(&name) else { continue };
            self.log(format!("systemd[1]: {name}: Scheduled restart job, restart counter is at {restarts}."));
            match self.daemon_of(&unit) {
                Some(daemon) => self.start_daemon(&unit, Daemon { restarts, ..daemon }),
                None => self.fail_to_execute(&unit),
            }
        }
    }

    /// A unit whose program cannot be run.
    pub fn fail_to_execute(&mut self, unit: &Unit) {
        let name = &unit.name;
        let path = unit.command().and_then(|words| words.first().cloned()).unwrap_or_default();
        self.log(format!("({path}): {name}: Failed to execute {path}: Exec format error"));
        self.log(format!("systemd[1]: {name}: Main process exited, code=exited, status=203/EXEC"));
        let run = UnitRun { definition: unit.definition(), ..UnitRun::ended("failed", "failed") };
        self.units.insert(name.clone(), run);
        self.note_change();
    }

    /// Adds a line to the journal of a unit.
    pub fn log_of(&mut self, unit: &str, line: &str) {
        self.log(format!("{unit}{OF_UNIT}{line}"));
    }
}

/// A line of the journal: the unit whose it is, and the line as people see it.
pub fn journal_line(line: &str) -> (Option<&str>, &str) {
    line.split_once(OF_UNIT).map_or((None, line), |(unit, line)| (Some(unit), line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_writes_them() {
        assert_eq!(["5", "5s", "100ms", "2min"].map(span), [Some(5000), Some(5000), Some(100), Some(120_000)]);
        assert_eq!(span("infinity"), None);
    }

    #[test]
    fn only_the_content_makes_a_file_a_program_that_stays() {
        let known = program_in(b"\x7fELF homelab-sim k3s v1.36.4+k3s1\n");
        assert_eq!(known, Some(("k3s".to_owned(), "v1.36.4+k3s1".to_owned())));
        assert_eq!(program_in(b"\x7fELF homelab-sim ls\n"), None);
        assert_eq!(program_in(b"\x7fELF something else"), None);
    }
}
