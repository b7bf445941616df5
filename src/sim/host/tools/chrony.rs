//! chronyc: whom the clock follows.

use std::net::Ipv4Addr;

use super::Options;
use crate::sim::host::fs::now;
use crate::sim::host::machine::Machine;
use crate::sim::host::outlook::NTP;
use crate::sim::host::process::{Exit, Process, not_simulated};

/// The stratum of whoever tells the time here, and so the clock's own is one more.
const STRATUM: u32 = 2;

/// A source of time: as it is called, its address where it has one, and whether it answers.
struct Source {
    name: String,
    address: Option<String>,
    answers: bool,
}

impl Machine {
    fn time_sources(&self) -> Vec<Source> {
        let mut files = vec!["/etc/chrony/chrony.conf".to_owned()];
        files.extend(self.files_in("/etc/chrony/conf.d", ".conf"));
        files.extend(self.files_in("/etc/chrony/sources.d", ".sources"));
        let lines = files.iter().flat_map(|file| self.config_lines(file));
        let named = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let is_source = matches!(words.next(), Some("server" | "pool" | "peer"));
            words.next().filter(|_| is_source).map(str::to_owned)
        });
        named
            .map(|name| {
                let address = self.lookup(&name);
                let found = address.as_ref().and_then(|text| text.parse::<Ipv4Addr>().ok());
                let answers = found.and_then(|at| self.neighbour(at)).is_some_and(|found| found.ports.contains(&NTP));
                Source { name, address, answers }
            })
            .collect()
    }

    /// Whether the clock follows somebody.
    pub fn is_synchronised(&self) -> bool {
        let runs = |name: &str| self.units.get(name).is_some_and(|run| run.active == "active");
        match self.fs.exists("/etc/chrony/chrony.conf") {
            true => runs("chrony.service") && self.time_sources().iter().any(|source| source.answers),
            false => runs("systemd-timesyncd.service") || runs("chrony.service"),
        }
    }
}

/// The client of chronyd.
pub fn chronyc(p: &Process) -> Exit {
    let options = Options::parse(p, "cnN", &[])?;
    let runs = |machine: &Machine| machine.units.get("chrony.service").is_some_and(|run| run.active == "active");
    if !p.session.with(|machine| runs(machine)) {
        p.line("506 Cannot talk to daemon")?;
        return Ok(1);
    }
    let sources = p.session.with(|machine| machine.time_sources());
    let used = sources.iter().find(|source| source.answers);
    let words: Vec<&str> = options.operands.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tracking"] if options.has('c') => {
            p.line(match used {
                Some(source) => {
                    let address = source.address.clone().unwrap_or_default();
                    let id: String = address.split('.').filter_map(|part| part.parse::<u8>().ok()).map(|part| format!("{part:02X}")).collect();
                    let shown = if options.has('n') { &address } else { &source.name };
                    format!("{id},{shown},{},{}.0,0.000021,-0.000003,0.000019,-8.412,0.001,0.032,0.000412,0.000190,64.4,Normal", STRATUM + 1, now() - 20)
                }
                None => "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,-8.412,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised".to_owned(),
            })?;
        }
        ["sources"] if options.has('c') => {
            for source in &sources {
                let is_used = used.is_some_and(|used| used.name == source.name);
                let shown =
                    if options.has('n') { source.address.as_ref().unwrap_or(&source.name) } else { &source.name };
                let (state, stratum, reach) = match (is_used, source.answers) {
                    (true, _) => ("*", STRATUM, 377),
                    (false, true) => ("+", STRATUM, 377),
                    (false, false) => ("?", 0, 0),
                };
                p.line(format!("^,{state},{shown},{stratum},6,{reach},20,0.000021,0.000024,0.000190"))?;
            }
        }
        ["reload", "sources"] => p.line("200 OK")?,
        _ => return not_simulated(format!("chronyc {}", p.operands().join(" "))),
    }
    Ok(0)
}
