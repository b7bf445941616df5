//! systemctl.

use super::Options;
use super::start::{restart, start, stop};
use super::units::Unit;
use crate::sim::host::fs::Cred;
use crate::sim::host::machine::UnitRun;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Looks at and steers units.
pub fn systemctl(p: &Process) -> Exit {
    let long = [
        ("quiet", 'q'),
        ("now", 'N'),
        ("property", 'p'),
        ("value", 'v'),
        ("no-pager", 'P'),
        ("full", 'l'),
        ("no-block", 'B'),
        ("force", 'f'),
        ("no-legend", 'L'),
        ("plain", 'X'),
        ("failed", 'F'),
        ("state", 'S'),
        ("type", 't'),
        ("all", 'a'),
        ("system", 'Y'),
        ("wait", 'W'),
        ("no-ask-password", 'A'),
    ];
    let options = Options::parse(p, "qNp:vPlBfLXFS:t:aYWA", &long)?;
    let (verb, names) =
        options.operands.split_first().map_or(("list-units", &[][..]), |(verb, rest)| (verb.as_str(), rest));
    let names: Vec<String> = p.session.with(|machine| names.iter().map(|name| machine.unit_name(name)).collect());
    match verb {
        "is-active" => states(p, &options, &names, |machine, name| {
            let run = machine.run_state(&real_name(machine, name));
            (run.active.clone(), if run.active == "active" { 0 } else { 3 })
        }),
        "is-failed" => states(p, &options, &names, |machine, name| {
            let run = machine.run_state(&real_name(machine, name));
            (run.active.clone(), i32::from(run.active != "failed"))
        }),
        "is-enabled" => {
            let mut status = 0;
            for name in &names {
                match p.session.with(|machine| machine.enabled_state(name)) {
                    Some(state) => {
                        if !options.has('q') {
                            p.line(state)?;
                        }
                        status = status.max(i32::from(!matches!(state, "enabled" | "static" | "alias")));
                    }
                    None => {
                        p.line("not-found")?;
                        status = 4;
                    }
                }
            }
            Ok(status)
        }
        "is-system-running" => {
            let failed = p.session.with(|machine| machine.units.values().any(|run| run.active == "failed"));
            if !options.has('q') {
                p.line(if failed { "degraded" } else { "running" })?;
            }
            Ok(i32::from(failed))
        }
        "show" => show(p, &options, &names),
        "status" => status(p, &names),
        "cat" => cat(p, &names),
        "list-units" | "list-unit-files" => list(p, &options, verb),
        "daemon-reload" | "daemon-reexec" | "reset-failed" | "start" | "stop" | "restart" | "reload"
        | "try-restart" | "reload-or-restart" | "enable" | "disable" | "mask" | "unmask" | "reboot" | "poweroff" => {
            if !p.cred.is_root() {
                return fail(
                    format!("Failed to {verb} {}: Interactive authentication required.", names.join(" "))
                        .replace(" : ", ": "),
                );
            }
            change(p, &options, verb, &names)
        }
        other => not_simulated(format!("systemctl {other}")),
    }
}

fn real_name(machine: &crate::sim::host::machine::Machine, name: &str) -> String {
    machine.unit(name).map_or_else(|| name.to_owned(), |unit| unit.name)
}

fn states(
    p: &Process,
    options: &Options,
    names: &[String],
    state: impl Fn(&crate::sim::host::machine::Machine, &str) -> (String, i32),
) -> Exit {
    let mut best = if names.is_empty() { 1 } else { i32::MAX };
    for name in names {
        let (text, status) = p.session.with(|machine| state(machine, name));
        if !options.has('q') {
            p.line(text)?;
        }
        // One unit in the wanted state is enough.
        best = best.min(status);
    }
    Ok(best)
}

fn find(p: &Process, name: &str) -> Result<Unit, Stop> {
    p.session.with(|machine| machine.unit(name)).ok_or_else(|| Stop::Fail(5, format!("Unit {name} not found.")))
}

fn change(p: &Process, options: &Options, verb: &str, names: &[String]) -> Exit {
    match verb {
        "daemon-reload" | "daemon-reexec" => {
            p.session.with(crate::sim::host::machine::Machine::daemon_reload);
            return Ok(0);
        }
        "reboot" => return super::power::reboot(p),
        "poweroff" => return super::power::poweroff(p),
        "reset-failed" => {
            p.session.with(|machine| {
                machine.units.retain(|name, run| run.active != "failed" || !(names.is_empty() || names.contains(name)))
            });
            return Ok(0);
        }
        _ => {}
    }
    for name in names {
        if verb == "mask" || verb == "unmask" {
            mask(p, name, verb == "mask")?;
            if options.has('N') && verb == "mask" {
                stop(p, name);
            }
            continue;
        }
        if p.session.with(|machine| machine.is_masked(name)) && !matches!(verb, "stop" | "disable") {
            return fail(match verb {
                "enable" => format!("Failed to enable unit: Unit file /etc/systemd/system/{name} is masked."),
                _ => format!("Failed to {verb} {name}: Unit {name} is masked."),
            });
        }
        let unit = match (find(p, name), verb) {
            (Ok(unit), _) => unit,
            (Err(_), "enable" | "disable") => {
                return fail(format!("Failed to {verb} unit: Unit file {name} does not exist."));
            }
            (Err(_), "try-restart") => continue,
            (Err(_), _) => return Err(Stop::Fail(5, format!("Failed to {verb} {name}: Unit {name} not found."))),
        };
        match verb {
            "start" => start(p, &unit, !options.has('B'))?,
            "stop" => stop(p, &unit.name),
            "restart" | "reload-or-restart" => restart(p, &unit, !options.has('B'))?,
            "try-restart" if p.session.with(|machine| machine.run_state(&unit.name).active == "active") => {
                restart(p, &unit, !options.has('B'))?;
            }
            "reload" if p.session.with(|machine| machine.run_state(&unit.name).active != "active") => {
                return fail(format!("{name} is not active, cannot reload."));
            }
            "reload" => p.session.with(|machine| machine.note_change()),
            "enable" => {
                if unit.values("WantedBy").is_empty() && unit.values("RequiredBy").is_empty() {
                    p.err("The unit files have no installation config (WantedBy=, RequiredBy=, UpheldBy=,\nAlso=, or Alias= settings in the [Install] section, and DefaultInstance= for\ntemplate units). This means they are not meant to be enabled or disabled using systemctl.\n");
                }
                for (link, path) in p.session.with(|machine| machine.enable(&unit)) {
                    p.err(format!("Created symlink {link} \u{2192} {path}.\n"));
                }
                if options.has('N') {
                    start(p, &unit, !options.has('B'))?;
                }
            }
            "disable" => {
                for link in p.session.with(|machine| machine.wants_links(&unit.name)) {
                    p.fs(|fs, cred| fs.unlink(cred, &link))?;
                    p.err(format!("Removed \"{link}\".\n"));
                }
                if options.has('N') {
                    stop(p, &unit.name);
                }
            }
            _ => {}
        }
    }
    Ok(0)
}

fn mask(p: &Process, name: &str, on: bool) -> Result<(), Stop> {
    let path = format!("/etc/systemd/system/{name}");
    if p.session.with(|machine| machine.is_masked(name)) == on {
        return Ok(());
    }
    if on {
        if p.fs(|fs, cred| fs.find(cred, &path, false).is_ok()) {
            return fail(format!("Failed to mask unit: File '{path}' already exists."));
        }
        p.fs(|fs, cred| fs.symlink(cred, "/dev/null", &path))?;
        p.err(format!("Created symlink {path} \u{2192} /dev/null.\n"));
    } else {
        p.fs(|fs, cred| fs.unlink(cred, &path))?;
        p.err(format!("Removed \"{path}\".\n"));
    }
    Ok(())
}

fn show(p: &Process, options: &Options, names: &[String]) -> Exit {
    let wanted: Vec<&str> = options.values('p').into_iter().flat_map(|list| list.split(',')).collect();
    for (index, name) in names.iter().enumerate() {
        let all = p.session.with(|machine| {
            let unit = machine.loaded_unit(name);
            let stale = machine.needs_daemon_reload(name);
            let masked = machine.is_masked(name);
            let run = machine.run_state(&real_name(machine, name));
            let load = match (&unit, masked) {
                (_, true) => "masked",
                (Some(_), _) => "loaded",
                (None, _) => "not-found",
            };
            let unit = unit.unwrap_or_default();
            [
                ("Id", if unit.name.is_empty() { name.clone() } else { unit.name.clone() }),
                ("Description", unit.value("Description").to_owned()),
                ("LoadState", load.to_owned()),
                ("ActiveState", run.active),
                ("SubState", run.sub.clone()),
                ("UnitFileState", machine.enabled_state(name).unwrap_or("").to_owned()),
                ("FragmentPath", unit.path.clone()),
                ("MainPID", run.pid.to_string()),
                ("ExecMainStatus", i32::from(run.sub == "failed").to_string()),
                ("Result", if run.sub == "failed" { "exit-code" } else { "success" }.to_owned()),
                ("NRestarts", machine.daemons.get(&unit.name).map_or(0, |daemon| daemon.restarts).to_string()),
                ("NeedDaemonReload", if stale { "yes" } else { "no" }.to_owned()),
                ("RemainAfterExit", if unit.value("RemainAfterExit") == "yes" { "yes" } else { "no" }.to_owned()),
                ("Type", unit.value("Type").to_owned()),
                ("User", unit.value("User").to_owned()),
                (
                    "ActiveEnterTimestamp",
                    if run.since == 0 {
                        String::new()
                    } else {
                        super::clock::format(run.since, "%a %Y-%m-%d %H:%M:%S UTC")
                    },
                ),
                ("ExecStart", unit.value("ExecStart").to_owned()),
            ]
        });
        if let Some(unknown) = wanted.iter().find(|wanted| !all.iter().any(|(name, _)| name == *wanted)) {
            return not_simulated(format!("systemctl show -p {unknown}"));
        }
        if index > 0 && !options.has('v') {
            p.line("")?;
        }
        for (name, value) in all.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
            p.line(if options.has('v') { value.clone() } else { format!("{name}={value}") })?;
        }
    }
    Ok(0)
}

fn status(p: &Process, names: &[String]) -> Exit {
    let mut worst = 0;
    for name in names {
        let Ok(unit) = find(p, name) else {
            p.err(format!("Unit {name} could not be found.\n"));
            worst = 4;
            continue;
        };
        let (run, enabled) =
            p.session.with(|machine| (machine.run_state(&unit.name), machine.enabled_state(name).unwrap_or("")));
        p.line(format!(
            "\u{25cf} {} - {}\n     Loaded: loaded ({}; {enabled})\n     Active: {} ({})",
            unit.name,
            unit.value("Description"),
            unit.path,
            run.active,
            run.sub
        ))?;
        if run.active != "active" {
            worst = worst.max(3);
        }
    }
    Ok(worst)
}

fn cat(p: &Process, names: &[String]) -> Exit {
    for name in names {
        let Ok(unit) = find(p, name) else { return fail(format!("No files found for {name}.")) };
        p.line(format!("# {}", unit.path))?;
        p.out(&unit.text)?;
        let drop_ins =
            p.session.with(|machine| machine.files_in(&format!("/etc/systemd/system/{}.d", unit.name), ".conf"));
        for path in drop_ins {
            p.line(format!("\n# {path}"))?;
            p.out(p.fs(|fs, _| fs.read(&Cred::root(), &path))?)?;
        }
    }
    Ok(0)
}

fn list(p: &Process, options: &Options, verb: &str) -> Exit {
    let rows = p.session.with(|machine| {
        let units: Vec<(String, UnitRun)> =
            machine.units.iter().map(|(name, run)| (name.clone(), run.clone())).collect();
        let row = |(name, run): (String, UnitRun)| {
            let unit = machine.unit(&name).unwrap_or_default();
            let enabled = machine.enabled_state(&name).unwrap_or("");
            (name, run, unit.value("Description").to_owned(), enabled)
        };
        units.into_iter().map(row).collect::<Vec<_>>()
    });
    if !options.has('L') {
        p.line(if verb == "list-units" { "UNIT LOAD ACTIVE SUB DESCRIPTION" } else { "UNIT FILE STATE" })?;
    }
    for (name, run, description, enabled) in rows {
        let state = if options.has('F') { Some("failed") } else { options.value('S') };
        if state.is_some_and(|state| state != run.active && state != run.sub)
            || options.value('t').is_some_and(|kind| !name.ends_with(&format!(".{kind}")))
        {
            continue;
        }
        if verb == "list-units" {
            p.line(format!("{name} loaded {} {} {description}", run.active, run.sub))?;
        } else {
            p.line(format!("{name} {enabled}"))?;
        }
    }
    Ok(0)
}
