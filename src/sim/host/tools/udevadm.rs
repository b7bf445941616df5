//! udevadm: rules are read again, and devices told of.

use super::Options;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// Talks to udev.
pub fn udevadm(p: &Process) -> Exit {
    let Some((verb, rest)) = p.operands().split_first() else { return fail("Unknown command verb") };
    let mut own = p.clone();
    own.args = std::iter::once("udevadm".to_owned()).chain(rest.iter().cloned()).collect();
    if !p.cred.is_root() && verb != "settle" {
        return fail("Failed to send request: Permission denied");
    }
    match verb.as_str() {
        // Rules are read whenever something happens.
        "control" => {
            let options = Options::parse(&own, "R", &[("reload", 'R'), ("reload-rules", 'R')])?;
            if options.has('R') { Ok(0) } else { not_simulated("udevadm control but to reload") }
        }
        "settle" => Ok(0),
        "trigger" => {
            let long = [("subsystem-match", 's'), ("action", 'c'), ("settle", 'w')];
            let options = Options::parse(&own, "s:c:w", &long)?;
            let action = options.value('c').unwrap_or("change").to_owned();
            if options.value('s').is_none_or(|subsystem| subsystem == "thunderbolt") {
                p.session.with(|machine| {
                    let before = machine.pci.len();
                    let modprobe = machine.modprobe_now();
                    machine.trigger_thunderbolt(&action, &modprobe);
                    if machine.pci.len() != before {
                        machine.note_change();
                    }
                });
            }
            Ok(0)
        }
        other => not_simulated(format!("udevadm {other}")),
    }
}
