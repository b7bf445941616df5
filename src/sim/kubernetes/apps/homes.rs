//! What people use: n8n and Home Assistant, as far as they say that they are well.

use serde_json::json;

use super::{Answer, App, Ask, Site};

pub(super) const N8N: App = App { repository: "docker.io/n8nio/n8n", answer: n8n };
pub(super) const HOME_ASSISTANT: App =
    App { repository: "ghcr.io/home-assistant/home-assistant", answer: home_assistant };

fn not_simulated(what: &str, ask: &Ask) -> Answer {
    Answer::text(501, &format!("homelab sim: not simulated: {} {} of {what}\n", ask.method, ask.path))
}

/// n8n is alive as soon as it runs, and ready once it is in its database.
fn n8n(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/healthz") => Answer::json(200, &json!({ "status": "ok" })),
        ("GET", "/healthz/readiness") => {
            let told = site.cluster.environment(site.pod, site.container).unwrap_or_default();
            match site.cluster.has_its_database(&told) {
                true => Answer::json(200, &json!({ "status": "ok" })),
                false => Answer::json(503, &json!({ "status": "error" })),
            }
        }
        _ => not_simulated("n8n", ask),
    }
}

fn home_assistant(_site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/manifest.json") => Answer::json(
            200,
            &json!({
                "name": "Home Assistant", "short_name": "Home Assistant", "start_url": "/?homescreen=1",
                "display": "standalone", "lang": "en-US",
            }),
        ),
        _ => not_simulated("Home Assistant", ask),
    }
}
