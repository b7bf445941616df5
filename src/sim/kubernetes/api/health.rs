//! Version and health: what is told about the server itself.

use serde_json::json;

use super::status::Refusal;
use super::{Body, Call, Outcome, Reply};
use crate::sim::kubernetes::cluster::Cluster;

/// What a server looks at, in its order.
const CHECKS: &[&str] = &[
    "ping",
    "log",
    "loopback-serving-certificate",
    "etcd",
    "etcd-readiness",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/storage-readiness",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];

/// The checks of one path alone.
const OF_READINESS: &[&str] = &["etcd-readiness", "informer-sync", "shutdown"];

/// Answers what is asked about the server, if that is asked.
pub(super) fn answer(cluster: &Cluster, call: &Call, version: &str) -> Option<Outcome> {
    let (first, rest) =
        call.path.trim_start_matches('/').split_once('/').unwrap_or((call.path.trim_start_matches('/'), ""));
    match (first, rest) {
        ("version", "") if call.method == "GET" => Some(Ok(told(version))),
        ("version", "") => Some(Err(Refusal::no_such_method())),
        ("readyz" | "livez" | "healthz", check) => Some(Ok(health(cluster, call, first, check))),
        _ => None,
    }
}

fn told(version: &str) -> Reply {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    let before = minor.parse::<u32>().unwrap_or_default().saturating_sub(1).to_string();
    Reply::json(
        200,
        json!({
            "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
            "minCompatibilityMajor": major, "minCompatibilityMinor": before, "gitVersion": version,
            "gitCommit": crate::sim::host::daemons::commit(version), "gitTreeState": "clean",
            "buildDate": "2026-08-21T00:00:00Z", "goVersion": "go1.26.6", "compiler": "gc", "platform": "linux/amd64",
        }),
    )
}

fn health(cluster: &Cluster, call: &Call, path: &str, check: &str) -> Reply {
    let has_data = cluster.has_quorum();
    let is_well = |name: &str| has_data || !name.starts_with("etcd");
    let applies = |name: &&&str| path != "livez" || !OF_READINESS.contains(*name);
    if !check.is_empty() {
        return match CHECKS.iter().filter(applies).find(|name| **name == check) {
            Some(name) if is_well(name) => Reply::text(200, "ok"),
            Some(name) => Reply::text(500, format!("internal server error: {name} is not well\n")),
            None => Reply::no_page(),
        };
    }
    let excluded: Vec<&str> = call.query.get("exclude").map(|text| text.split(',').collect()).unwrap_or_default();
    let mut lines = String::new();
    let mut all_well = true;
    for name in CHECKS.iter().filter(applies) {
        if excluded.contains(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if is_well(name) {
            lines.push_str(&format!("[+]{name} ok\n"));
        } else {
            all_well = false;
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    if path == "readyz" {
        lines.push_str("[+]shutdown ok\n");
    }
    match (all_well, call.query.contains_key("verbose")) {
        (true, false) => Reply::text(200, "ok"),
        (true, true) => Reply::text(200, format!("{lines}{path} check passed\n")),
        (false, _) => {
            Reply { status: 500, headers: Vec::new(), body: Body::Text(format!("{lines}{path} check failed\n")) }
        }
    }
}
