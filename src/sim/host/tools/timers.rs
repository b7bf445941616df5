//! systemd's timers. Whoever runs the machine starts what is due; what was due while nobody ran it is made up for before
//! anything else happens there.

use crate::sim::host::exec;
use crate::sim::host::fs::now;
use crate::sim::host::machine::{Machine, SharedMachine};
use crate::sim::host::process::Session;
use crate::sim::host::stream::Stream;

/// Starts what the timers that have run out are for.
pub fn run_due(machine: &SharedMachine) {
    loop {
        let session = Session::new(machine.clone());
        let Some(service) = session.with(Machine::take_due) else { return };
        let args = ["systemctl", "start", &service].map(str::to_owned).to_vec();
        let streams = [Stream::text(""), Stream::sink().0, Stream::sink().0];
        let Some(process) = exec::login(session, "root", args, streams) else { return };
        // What it says is in the journal; nobody waits for it.
        let _status = exec::on_own_stack(move || exec::run(process));
    }
}

impl Machine {
    /// Whether a timer has run out whose service was not started yet.
    pub fn is_due(&self) -> bool {
        self.next_due().is_some()
    }

    /// The service of a timer that has run out, which is counted as run out from now on.
    fn take_due(&mut self) -> Option<String> {
        let (name, service) = self.next_due()?;
        self.units.get_mut(&name)?.sub = "elapsed".to_owned();
        self.log(format!("systemd[1]: {name} has run out."));
        Some(service)
    }

    /// A timer that has run out, and its service.
    fn next_due(&self) -> Option<(String, String)> {
        let waiting = self.units.iter().filter(|(name, run)| name.ends_with(".timer") && run.sub == "waiting");
        let due = waiting.filter_map(|(name, run)| {
            let unit = self.loaded_unit(name)?;
            let seconds: i64 = unit.value("OnActiveSec").trim_end_matches('s').parse().ok()?;
            let service = Some(unit.value("Unit")).filter(|named| !named.is_empty()).map(str::to_owned);
            let service = service.unwrap_or_else(|| name.replace(".timer", ".service"));
            (run.since + seconds <= now()).then(|| (name.clone(), service))
        });
        due.min()
    }
}
