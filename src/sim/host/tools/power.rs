//! reboot, poweroff, shutdown.

use super::Options;
use crate::sim::host::machine::PowerRequest;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

fn request(p: &Process, what: PowerRequest) -> Exit {
    if !p.cred.is_root() {
        return fail("Call to Reboot failed: Interactive authentication required.");
    }
    p.session.with(|machine| {
        machine.request_power(what);
        machine.note_change();
    });
    Ok(0)
}

/// Restarts the machine.
pub fn reboot(p: &Process) -> Exit {
    request(p, PowerRequest::Reboot)
}

/// Switches the machine off.
pub fn poweroff(p: &Process) -> Exit {
    request(p, PowerRequest::Off)
}

/// Either of them, now; a later time is not simulated.
pub fn shutdown(p: &Process) -> Exit {
    let options = Options::parse(p, "rhPc", &[("reboot", 'r'), ("poweroff", 'P')])?;
    match options.operands.first().map(String::as_str) {
        Some("now" | "+0") => {}
        other => return not_simulated(format!("shutdown {}", other.unwrap_or("in a minute"))),
    }
    request(p, if options.has('r') { PowerRequest::Reboot } else { PowerRequest::Off })
}
