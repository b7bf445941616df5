//! Starting and stopping units.

use std::time::{Duration, Instant};

use super::units::Unit;
use crate::sim::host::daemons;
use crate::sim::host::exec;
use crate::sim::host::fs::Errno;
use crate::sim::host::machine::UnitRun;
use crate::sim::host::process::{Process, Stop, fail, not_simulated};

/// Stops a unit.
pub fn stop(p: &Process, name: &str) {
    p.session.with(|machine| {
        if machine.run_state(name).active != "inactive" {
            let definition = machine.run_state(name).definition;
            let run = UnitRun { definition, ..UnitRun::ended("inactive", "dead") };
            machine.stop_daemon(name);
            machine.units.insert(name.to_owned(), run);
            machine.log(format!("systemd[1]: Stopped {name}."));
            machine.note_change();
        }
    });
}

/// Restarts a unit as systemd has read it.
pub fn restart(p: &Process, unit: &Unit, waits: bool) -> Result<(), Stop> {
    let read = p.session.with(|machine| machine.loaded_unit(&unit.name)).unwrap_or_default();
    stop(p, &unit.name);
    start(p, &read, waits)
}

/// Starts a unit. What came with the system runs; a unit of somebody's own runs when it is a script that ends, or
/// sleeps, or stays and is known; any other program is not simulated.
pub fn start(p: &Process, unit: &Unit, waits: bool) -> Result<(), Stop> {
    let state = p.session.with(|machine| machine.run_state(&unit.name));
    if state.active == "active" {
        return Ok(());
    }
    if state.sub == "start" {
        return if waits { await_daemon(p, unit) } else { Ok(()) };
    }
    if !unit.is_stock()
        && let Some(daemon) = p.session.with(|machine| machine.daemon_of(unit))
    {
        run_all(p, unit, "ExecStartPre")?;
        p.session.with(|machine| machine.start_daemon(unit, daemon));
        return if waits { await_daemon(p, unit) } else { Ok(()) };
    }
    let command = unit.value("ExecStart");
    let ends = unit.value("Type") == "oneshot";
    let is_service = unit.name.ends_with(".service");
    if is_service && command.is_empty() {
        return fail(format!("Failed to start {}: Unit {} has a bad unit file setting.", unit.name, unit.name));
    }
    if is_service && !unit.is_stock() && !ends && !command.contains("/sleep ") {
        return not_simulated(format!("{} running {command}", unit.name));
    }
    if is_service && !unit.is_stock() && ends {
        run_all(p, unit, "ExecStart")?;
    }
    p.session.with(|machine| {
        machine.set_running(unit);
        machine.note_change();
    });
    Ok(())
}

/// Runs the commands of a unit that end, in order; one that may fail begins with a dash.
fn run_all(p: &Process, unit: &Unit, key: &str) -> Result<(), Stop> {
    for command in unit.values(key) {
        let user = Some(unit.value("User")).filter(|user| !user.is_empty()).unwrap_or("root");
        let script = command.trim_start_matches(['-', '+', '!', '@']).to_owned();
        let streams = ["", "", ""].map(crate::sim::host::stream::Stream::text);
        let args = vec!["sh".to_owned(), "-c".to_owned(), script];
        let Some(mut child) = exec::login(p.session.clone(), user, args, streams) else {
            return fail(format!("Failed to start {}: no user {user}", unit.name));
        };
        // Errors belong to the journal, which nobody reads here; the caller hears of them all the same.
        child.fds.insert(1, p.fds.get(&2).cloned().ok_or(Errno::BadDescriptor)?);
        child.fds.insert(2, p.fds.get(&2).cloned().ok_or(Errno::BadDescriptor)?);
        child.depth = p.depth + 1;
        child.cwd = "/".to_owned();
        let status = exec::run(child);
        if status != 0 && !command.starts_with('-') {
            let run = UnitRun::ended("failed", "failed");
            p.session.with(|machine| machine.units.insert(unit.name.clone(), run));
            return failed(p, &unit.name);
        }
    }
    Ok(())
}

/// What is said of a unit that did not start.
fn failed(p: &Process, name: &str) -> Result<(), Stop> {
    p.err(format!(
        "Job for {name} failed because the control process exited with error code.\nSee \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details.\n",
    ));
    Err(Stop::Exit(1))
}

/// How often is looked whether a program is ready.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until the program of a unit says that it is ready, or ends, or takes too long.
fn await_daemon(p: &Process, unit: &Unit) -> Result<(), Stop> {
    let name = &unit.name;
    // Without a limit of its own a unit has ninety seconds; zero is no limit.
    let limit = match unit.value("TimeoutStartSec") {
        "" => Some(Duration::from_secs(90)),
        "0" => None,
        text => daemons::span(text).map(Duration::from_millis),
    };
    let began = Instant::now();
    loop {
        let (state, alone) = p.session.with(|machine| (machine.run_state(name), machine.errands.is_alone()));
        match (state.active.as_str(), state.sub.as_str()) {
            ("active", _) => return Ok(()),
            ("activating", "start") => {}
            ("inactive", _) => {
                return fail(format!("Job for {name} canceled."));
            }
            _ => return failed(p, name),
        }
        if alone {
            return not_simulated(format!("starting {name} through the guest agent"));
        }
        if limit.is_some_and(|limit| began.elapsed() > limit) {
            p.session.with(|machine| machine.daemon_ends(name, 143, daemons::now()));
            p.err(format!("Job for {name} failed because a timeout was exceeded.\nSee \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details.\n"));
            return Err(Stop::Exit(1));
        }
        p.session.life.sleep(LOOK)?;
    }
}
