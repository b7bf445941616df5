//! CoreDNS: whether it is well, and what it counts. Names it answers elsewhere: nobody asks for them over HTTP.

use super::{Answer, App, Ask, Site};
use crate::sim::kubernetes::controllers::text;

pub(super) const APP: App = App { repository: "docker.io/rancher/mirrored-coredns-coredns", answer, run: None };

/// The parts that the configuration of K3s switches on.
const PLUGINS: [&str; 11] = [
    "cache",
    "errors",
    "forward",
    "health",
    "hosts",
    "kubernetes",
    "loadbalance",
    "loop",
    "prometheus",
    "ready",
    "reload",
];

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.port, ask.path.as_str()) {
        (8080, "/health") | (8181, "/ready") => Answer::text(200, "OK"),
        (9153, "/metrics") => Answer::text(200, &metrics(text(site.container, "/image"))),
        (8080 | 8181 | 9153, _) => Answer::text(404, "404 page not found\n"),
        (port, _) => Answer::not_simulated_at("CoreDNS", port),
    }
}

/// What is known of it without having counted anything.
fn metrics(image: &str) -> String {
    let version = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
    let mut text = format!(
        "# HELP coredns_build_info A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.\n# TYPE coredns_build_info gauge\ncoredns_build_info{{version=\"{version}\"}} 1\n# HELP coredns_plugin_enabled A metric that indicates whether a plugin is enabled on per server and zone basis.\n# TYPE coredns_plugin_enabled gauge\n"
    );
    for name in PLUGINS {
        text.push_str(&format!("coredns_plugin_enabled{{name=\"{name}\",server=\"dns://:53\",zone=\".\"}} 1\n"));
    }
    text
}
