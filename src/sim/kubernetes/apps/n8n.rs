//! n8n, as far as it says that it is well: alive as soon as it runs, ready once it is in its database.

use serde_json::json;

use super::{Answer, App, Ask, Site};

pub(super) const APP: App = App { repository: "docker.io/n8nio/n8n", answer, run: None };

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/healthz") => Answer::json(200, &json!({ "status": "ok" })),
        ("GET", "/healthz/readiness") => {
            let told = site.cluster.environment(site.pod, site.container).unwrap_or_default();
            match site.cluster.has_its_database(&told) {
                true => Answer::json(200, &json!({ "status": "ok" })),
                false => Answer::json(503, &json!({ "status": "error" })),
            }
        }
        _ => Answer::not_simulated("n8n", ask),
    }
}
