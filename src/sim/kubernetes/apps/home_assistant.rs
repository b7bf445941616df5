//! Home Assistant, as far as it says what it is.

use serde_json::json;

use super::{Answer, App, Ask, Site};

pub(super) const APP: App = App { repository: "ghcr.io/home-assistant/home-assistant", answer, run: None };

fn answer(_site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/manifest.json") => Answer::json(
            200,
            &json!({
                "name": "Home Assistant", "short_name": "Home Assistant", "start_url": "/?homescreen=1",
                "display": "standalone", "lang": "en-US",
            }),
        ),
        _ => Answer::not_simulated("Home Assistant", ask),
    }
}
