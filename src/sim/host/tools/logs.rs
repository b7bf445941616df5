//! journalctl, logger, ps: what a machine tells about itself.

use super::Options;
use crate::sim::host::daemons::journal_line;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// The journal.
pub fn journalctl(p: &Process) -> Exit {
    let long = [
        ("unit", 'u'),
        ("lines", 'n'),
        ("no-pager", 'P'),
        ("output", 'o'),
        ("boot", 'b'),
        ("quiet", 'q'),
        ("identifier", 't'),
        ("since", 'S'),
        ("dmesg", 'k'),
    ];
    let options = Options::parse(p, "u:n:Po:bqt:S:xek", &long)?;
    if let Some(letter) = options.last_of("tSk") {
        return not_simulated(format!("journalctl -{letter}"));
    }
    let units = options.values('u');
    let lines: Vec<String> = p.session.with(|machine| {
        let units: Vec<String> = units.iter().map(|unit| machine.unit_name(unit)).collect();
        let fits = |(of, line): &(Option<&str>, &str)| match of {
            _ if units.is_empty() => true,
            Some(of) => units.iter().any(|unit| unit == of),
            None => units.iter().any(|unit| line.contains(unit.trim_end_matches(".service"))),
        };
        let lines = machine.journal.iter().map(|line| journal_line(line));
        lines.filter(fits).map(|(_, line)| line.to_owned()).collect()
    });
    let most = options.value('n').and_then(|text| text.parse().ok()).unwrap_or(lines.len());
    if lines.is_empty() && !options.has('q') {
        p.line("-- No entries --")?;
    }
    for line in &lines[lines.len().saturating_sub(most)..] {
        p.line(if options.value('o') == Some("cat") {
            line.split_once(": ").map_or(line.as_str(), |(_, text)| text)
        } else {
            line
        })?;
    }
    Ok(0)
}

/// Adds to the journal.
pub fn logger(p: &Process) -> Exit {
    let options = Options::parse(p, "t:p:i", &[("tag", 't'), ("priority", 'p')])?;
    let text = match options.operands.is_empty() {
        true => String::from_utf8_lossy(&p.read_all()?).into_owned(),
        false => options.operands.join(" "),
    };
    let user = p.session.with(|machine| machine.user_name(p.cred.uid));
    let tag = options.value('t').unwrap_or(&user).to_owned();
    for line in text.lines() {
        p.session.with(|machine| machine.log(format!("{tag}: {line}")));
    }
    Ok(0)
}

/// A command line as `ps` prints it.
fn printable(line: &str) -> String {
    line.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// The name of the program of a command line, as the kernel keeps it.
fn name_of(line: &str) -> String {
    let program = line.split(' ').next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or_default().chars().take(15).collect()
}

/// Processes: those of running units, and those of commands with their arguments.
pub fn ps(p: &Process) -> Exit {
    let words: Vec<&str> = p.operands().iter().map(String::as_str).collect();
    let running = p.session.with(|machine| {
        let alive = machine.units.iter().filter(|(_, run)| run.pid != 0);
        let name = |unit: &str| unit.trim_end_matches(".service").to_owned();
        let mut all = vec![(1, "systemd".to_owned())];
        all.extend(alive.map(|(unit, run)| (run.pid, name(unit))));
        all.extend(machine.processes.iter().map(|(pid, args)| (*pid, printable(&args.join(" ")))));
        all
    });
    match words.as_slice() {
        ["-p", pid, "-o", format] if matches!(*format, "comm=" | "pid=") => {
            match running.iter().find(|(known, _)| known.to_string() == *pid) {
                Some((pid, line)) => p.line(if *format == "pid=" { pid.to_string() } else { name_of(line) })?,
                None => return Ok(1),
            }
            Ok(0)
        }
        ["-e"] | ["-A"] => {
            p.line("    PID TTY          TIME CMD")?;
            for (pid, line) in running {
                p.line(format!("{pid:>7} ?        00:00:00 {}", name_of(&line)))?;
            }
            Ok(0)
        }
        ["-ef"] | ["aux"] | ["ax"] => {
            p.line("    PID TTY          TIME CMD")?;
            for (pid, line) in running {
                p.line(format!("{pid:>7} ?        00:00:00 {line}"))?;
            }
            Ok(0)
        }
        ["-C", name, ..] => {
            let hits: Vec<_> = running.iter().filter(|(_, line)| name_of(line) == *name).collect();
            for (pid, name) in &hits {
                p.line(format!("{pid:>7} ?        00:00:00 {}", name_of(name)))?;
            }
            if hits.is_empty() { Ok(1) } else { Ok(0) }
        }
        [] => fail("a terminal is needed to list the processes of one"),
        other => not_simulated(format!("ps {}", other.join(" "))),
    }
}
