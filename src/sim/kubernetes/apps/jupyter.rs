//! Jupyter: what it says of itself to everybody, what it keeps for who knows the password, and Python as far as it looks for a card.

use serde_json::json;

use super::{Answer, App, Ask, Site};
use crate::sim::host::ExecResult;
use crate::sim::kubernetes::store::timestamp;

pub(super) const APP: App = App { repository: "quay.io/jupyter/pytorch-notebook", answer, run: Some(run) };

/// What its configuration is called, in the directories where it looks.
const CONFIGURATION: &str = "etc/jupyter/jupyter_server_config.py";

/// What asks whether there is a card.
const LOOK: &str = "import torch; print(torch.cuda.is_available())";

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/api") => Answer::json(200, &json!({ "version": "2.17.0" })),
        ("GET", "/login") => Answer::text(200, "Password:"),
        ("GET", "/" | "/lab" | "/tree") if !is_open(site) => Answer::moved(302, format!("/login?next={}", ask.path)),
        // Nobody is told a password here, so nobody has logged in.
        (_, path) if path.starts_with("/api/") && !is_open(site) => {
            Answer::json(403, &json!({ "message": "Forbidden", "reason": null }))
        }
        ("GET", "/api/status") => {
            let now = timestamp(ask.now);
            Answer::json(200, &json!({ "connections": 0, "kernels": 0, "last_activity": now, "started": now }))
        }
        _ => Answer::not_simulated("Jupyter", ask),
    }
}

/// Whether its configuration lets everybody in: where it names no password, it makes up a token, unless it is told to have none.
fn is_open(site: &Site<'_>) -> bool {
    let files = site.cluster.mounted(site.pod, site.container);
    let own = files.iter().filter(|(path, _)| path.ends_with(CONFIGURATION));
    let told: Vec<&str> =
        own.flat_map(|(_, text)| text.lines()).map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let has_password = told.iter().any(|line| line.contains("hashed_password ="));
    !has_password && told.iter().any(|line| line.ends_with("IdentityProvider.token = \"\""))
}

/// What a command in its container says; nothing where it is none of its own.
fn run(command: &[String], has_card: bool) -> Option<ExecResult> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let ended =
        |exit: i32, stdout: &str, stderr: &str| Some(ExecResult { exit, stdout: stdout.into(), stderr: stderr.into() });
    match words.as_slice() {
        ["python3" | "python", "-c", script] if script.trim() == LOOK => {
            ended(0, if has_card { "True\n" } else { "False\n" }, "")
        }
        ["python3" | "python", ..] => {
            ended(1, "", &format!("homelab sim: not simulated: what Python makes of anything but {LOOK:?}\n"))
        }
        _ => None,
    }
}
