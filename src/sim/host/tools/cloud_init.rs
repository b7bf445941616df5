//! cloud-init: what it tells of what it did, and how it forgets.

use serde_json::{Value, json};

use super::{Options, clock};
use crate::sim::host::cloud_config::RESULT;
use crate::sim::host::fs::now;
use crate::sim::host::process::{Exit, Process, not_simulated};

const SOURCE: &str = "DataSourceNoCloud [seed=/dev/sr0]";

/// Tells how far it is, or cleans up after itself.
pub fn cloud_init(p: &Process) -> Exit {
    let long = [
        ("wait", 'w'),
        ("format", 'f'),
        ("long", 'l'),
        ("logs", 'L'),
        ("machine-id", 'm'),
        ("seed", 's'),
        ("reboot", 'r'),
    ];
    let options = Options::parse(p, "wf:lLmsr", &long)?;
    let words: Vec<&str> = options.operands.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["status"] => status(p, &options),
        ["clean"] => clean(p, &options),
        words => not_simulated(format!("cloud-init {}", words.join(" "))),
    }
}

fn status(p: &Process, options: &Options) -> Exit {
    let is_done = p.fs(|fs, _| fs.exists("/var/lib/cloud/instance/boot-finished"));
    let result: Value = p.fs(|fs, _| serde_json::from_str(&fs.text(RESULT)).unwrap_or_default());
    let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
    let (errors, warnings) = (list("errors"), list("warnings"));
    let (status, code) = match (is_done, errors.is_empty(), warnings.is_empty()) {
        (false, ..) => ("not started", 0),
        (_, false, _) => ("error", 1),
        (_, _, false) => ("done", 2),
        _ => ("done", 0),
    };
    let recoverable = if warnings.is_empty() { json!({}) } else { json!({ "WARNING": warnings }) };
    match options.value('f') {
        Some("json") => p.line(
            serde_json::to_string_pretty(&json!({
                "boot_status_code": "enabled-by-generator",
                "datasource": "nocloud",
                "detail": SOURCE,
                "errors": errors,
                "extended_status": if code == 2 { "degraded done" } else { status },
                "init": {"errors": [], "recoverable_errors": {}},
                "init-local": {"errors": [], "recoverable_errors": {}},
                "last_update": clock::format(now(), "%a, %d %b %Y %H:%M:%S +0000"),
                "modules-config": {"errors": [], "recoverable_errors": {}},
                "modules-final": {"errors": errors, "recoverable_errors": recoverable},
                "recoverable_errors": recoverable,
                "stage": null,
                "status": status,
            }))
            .unwrap_or_default(),
        )?,
        Some(other) => return not_simulated(format!("cloud-init status --format={other}")),
        None if options.has('w') && is_done => p.line(format!("\nstatus: {status}"))?,
        None => p.line(format!("status: {status}"))?,
    }
    Ok(code)
}

/// Forgets the instance, so that the next boot is the first one.
fn clean(p: &Process, options: &Options) -> Exit {
    if options.has('r') {
        return not_simulated("cloud-init clean --reboot");
    }
    if !p.cred.is_root() {
        p.err("ERROR: Could not remove /var/lib/cloud/instance: [Errno 13] Permission denied: '/var/lib/cloud/instance'\n");
        return Ok(1);
    }
    p.session.with(|machine| {
        for name in ["instance", "instances", "data", "sem"] {
            machine.fs.wipe(&format!("/var/lib/cloud/{name}"));
            machine.remove_file(&format!("/var/lib/cloud/{name}"));
        }
        if options.has('s') {
            machine.fs.wipe("/var/lib/cloud/seed");
        }
        if options.has('L') {
            for log in ["cloud-init.log", "cloud-init-output.log"] {
                machine.remove_file(&format!("/var/log/{log}"));
            }
        }
        if options.has('m') {
            machine.write_file("/etc/machine-id", "uninitialized\n");
        }
        machine.note_change();
    });
    Ok(0)
}
