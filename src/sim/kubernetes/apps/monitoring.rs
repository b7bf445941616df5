//! What looks after the cluster: Prometheus, Alertmanager, Grafana and Loki.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Answer, App, Ask, Site};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::{is_ready, items, selects, text};
use crate::sim::kubernetes::nodes::readiness;
use crate::sim::kubernetes::store::{Key, timestamp};

pub(super) const PROMETHEUS: App = App { repository: "quay.io/prometheus/prometheus", answer: prometheus, run: None };
pub(super) const ALERTMANAGER: App =
    App { repository: "quay.io/prometheus/alertmanager", answer: alertmanager, run: None };
pub(super) const GRAFANA: App = App { repository: "docker.io/grafana/grafana", answer: grafana, run: None };
pub(super) const LOKI: App = App { repository: "docker.io/grafana/loki", answer: loki, run: None };

const MONITORS: &str = "servicemonitors.monitoring.coreos.com";
const RULES: &str = "prometheusrules.monitoring.coreos.com";

fn success(data: &Value) -> Answer {
    Answer::json(200, &json!({ "status": "success", "data": data }))
}

/// What Prometheus looks at: each address behind the services that a monitor means, and whether it answers.
fn targets(cluster: &Cluster) -> Vec<Value> {
    let mut all = Vec::new();
    for monitor in cluster.store.list(MONITORS, None) {
        let (home, any) = (text(monitor, "/metadata/namespace"), monitor["spec"]["namespaceSelector"]["any"] == true);
        let named = items(monitor, "/spec/namespaceSelector/matchNames");
        let meant = |service: &&Value| {
            let namespace = text(service, "/metadata/namespace");
            let there = any || named.iter().any(|name| name == namespace) || (named.is_empty() && namespace == home);
            there && selects(&monitor["spec"]["selector"], &service["metadata"]["labels"])
        };
        for service in cluster.store.list("services", None).filter(meant) {
            let port = text(monitor, "/spec/endpoints/0/port");
            let pool = format!("serviceMonitor/{home}/{}/0", text(monitor, "/metadata/name"));
            all.extend(addresses(cluster, service, port).into_iter().map(|(instance, trouble)| {
                json!({
                    "labels": { "instance": instance, "job": service["metadata"]["name"], "namespace": service["metadata"]["namespace"] },
                    "scrapePool": pool, "scrapeUrl": format!("http://{instance}/metrics"),
                    "health": if trouble.is_empty() { "up" } else { "down" }, "lastError": trouble,
                })
            }));
        }
    }
    all
}

/// The addresses behind a service, each with why it does not answer; empty where it does.
fn addresses(cluster: &Cluster, service: &Value, port: &str) -> Vec<(String, String)> {
    if service["spec"]["selector"].is_object() {
        let Some(port) = Cluster::port_of(service, port) else { return Vec::new() };
        let pods = cluster.behind(service, &port).into_iter();
        return pods.map(|(pod, port)| (format!("{}:{port}", text(&pod, "/status/podIP")), String::new())).collect();
    }
    let key = Key::new("endpoints", text(service, "/metadata/namespace"), text(service, "/metadata/name"));
    let Some(endpoints) = cluster.store.get(&key) else { return Vec::new() };
    let mut all = Vec::new();
    for subset in items(endpoints, "/subsets") {
        let own = subset["ports"][0]["port"].as_u64().unwrap_or_default();
        for address in items(subset, "/addresses").iter().map(|one| text(one, "/ip")) {
            let node = cluster
                .store
                .list("nodes", None)
                .find(|node| items(node, "/status/addresses").iter().any(|one| one["address"] == address));
            let is_up = node.is_some_and(|node| readiness(node) == "True");
            let trouble = if is_up {
                String::new()
            } else {
                format!("Get \"http://{address}:{own}/metrics\": dial tcp {address}:{own}: connect: no route to host")
            };
            all.push((format!("{address}:{own}"), trouble));
        }
    }
    all
}

/// The nodes of which somebody measures the graphics card, and is looked at: whoever does sees one by its runtime alone.
fn measured_cards(cluster: &Cluster) -> Vec<String> {
    let looked_at: Vec<String> =
        targets(cluster).iter().map(|target| text(target, "/labels/instance").to_owned()).collect();
    let measures = |pod: &&Value| {
        let image = text(pod, "/spec/containers/0/image");
        let instance = format!("{}:9400", text(pod, "/status/podIP"));
        image.starts_with("nvcr.io/nvidia/k8s/dcgm-exporter:")
            && is_ready(pod)
            && text(pod, "/spec/runtimeClassName") == "nvidia"
            && looked_at.contains(&instance)
    };
    let nodes = cluster.store.list("pods", None).filter(measures).map(|pod| text(pod, "/spec/nodeName").to_owned());
    nodes.filter(|node| cluster.around.cards.get(node).is_some_and(|card| card.has_driver)).collect()
}

/// The groups of rules, as Prometheus has read them.
fn groups(cluster: &Cluster) -> Vec<Value> {
    let rules = cluster.store.list(RULES, None).flat_map(|object| items(object, "/spec/groups"));
    let one = |rule: &Value| {
        let mut shown = json!({
            "name": if rule["alert"].is_string() { &rule["alert"] } else { &rule["record"] }, "query": rule["expr"],
            "health": "ok", "type": if rule["alert"].is_string() { "alerting" } else { "recording" },
        });
        if rule["alert"].is_string() {
            shown["state"] = json!(if is_firing(rule) { "firing" } else { "inactive" });
        }
        shown
    };
    rules
        .map(|group| {
            let all: Vec<Value> = items(group, "/rules").iter().map(one).collect();
            json!({ "name": group["name"], "file": group["name"], "rules": all })
        })
        .collect()
}

/// Whether an alert is one that always fires.
fn is_firing(rule: &Value) -> bool {
    rule["alert"].is_string() && rule["expr"] == "vector(1)"
}

fn prometheus(site: &mut Site<'_>, ask: &Ask) -> Answer {
    let vector = |result: Vec<Value>| success(&json!({ "resultType": "vector", "result": result }));
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/-/ready" | "/-/healthy") => Answer::text(200, "Prometheus Server is Ready.\n"),
        ("GET", "/api/v1/targets") => success(&json!({ "activeTargets": targets(site.cluster), "droppedTargets": [] })),
        ("GET", "/api/v1/rules") => success(&json!({ "groups": groups(site.cluster) })),
        ("GET" | "POST", "/api/v1/query") => {
            let seconds = ask.now / 1000;
            match ask.query.get("query").map(String::as_str) {
                Some("up") => vector(
                    targets(site.cluster)
                        .into_iter()
                        .map(|target| {
                            let value = if target["health"] == "up" { "1" } else { "0" };
                            json!({ "metric": target["labels"], "value": [seconds, value] })
                        })
                        .collect(),
                ),
                Some("DCGM_FI_DEV_GPU_TEMP") => vector(
                    measured_cards(site.cluster)
                        .into_iter()
                        .map(|node| json!({ "metric": { "__name__": "DCGM_FI_DEV_GPU_TEMP", "Hostname": node, "gpu": "0" }, "value": [seconds, "38"] }))
                        .collect(),
                ),
                Some("vector(1)") => vector(vec![json!({ "metric": {}, "value": [seconds, "1"] })]),
                _ => Answer::not_simulated("Prometheus with this question", ask),
            }
        }
        _ => Answer::not_simulated("Prometheus", ask),
    }
}

fn alertmanager(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/-/ready" | "/-/healthy") => Answer::text(200, "OK"),
        ("GET", "/api/v2/alerts") => {
            // Who tells of alerts is Prometheus.
            let namespace = text(site.pod, "/metadata/namespace").to_owned();
            let tells = site.cluster.store.list("pods", Some(&namespace)).any(|pod| {
                text(pod, "/spec/containers/0/image").starts_with("quay.io/prometheus/prometheus:") && is_ready(pod)
            });
            let since = text(site.pod, "/status/startTime");
            let rules = site.cluster.store.list(RULES, None).flat_map(|object| items(object, "/spec/groups"));
            let firing = rules.flat_map(|group| items(group, "/rules")).filter(|rule| tells && is_firing(rule));
            let all: Vec<Value> = firing
                .map(|rule| {
                    json!({
                        "labels": { "alertname": rule["alert"], "severity": rule["labels"]["severity"] }, "annotations": {},
                        "startsAt": since, "updatedAt": timestamp(ask.now), "status": { "state": "active", "silencedBy": [], "inhibitedBy": [] },
                    })
                })
                .collect();
            Answer::json(200, &json!(all))
        }
        _ => Answer::not_simulated("Alertmanager", ask),
    }
}

/// Grafana keeps the password that it began with: another one in the Secret changes nothing.
fn grafana(site: &mut Site<'_>, ask: &Ask) -> Answer {
    if site.state["password"].is_null() {
        let told = site.cluster.environment(site.pod, site.container).unwrap_or_default();
        let get = |name: &str, usual: &str| told.get(name).cloned().unwrap_or_else(|| usual.to_owned());
        *site.state = json!({
            "user": get("GF_SECURITY_ADMIN_USER", "admin"), "password": get("GF_SECURITY_ADMIN_PASSWORD", "admin"),
        });
    }
    let known = format!("{}:{}", text(site.state, "/user"), text(site.state, "/password"));
    let is_admin = ask.authorization.as_deref() == Some(format!("Basic {}", BASE64_STANDARD.encode(known)).as_str());
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/api/health") => {
            Answer::json(200, &json!({ "database": "ok", "version": "13.0.1", "commit": "0000000" }))
        }
        ("GET", "/") => Answer::moved(302, "/login".into()),
        ("GET", "/login") => Answer::text(200, "Grafana\n"),
        (_, path) if path.starts_with("/api/") && !is_admin => Answer::json(
            401,
            &json!({ "message": "Invalid username or password", "messageId": "password-auth.failed", "statusCode": 401 }),
        ),
        ("GET", "/api/org") => Answer::json(200, &json!({ "id": 1, "name": "Main Org." })),
        _ => Answer::not_simulated("Grafana", ask),
    }
}

/// Loki has the lines that somebody brings: where nobody does, it has none.
fn loki(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/ready") => Answer::text(200, "ready\n"),
        ("GET", "/loki/api/v1/query") => {
            let asked = ask.query.get("query").cloned().unwrap_or_default();
            let namespace = asked
                .split_once("namespace=\"")
                .and_then(|(_, rest)| rest.split_once('"'))
                .map(|(name, _)| name.to_owned());
            let Some(namespace) = namespace.filter(|_| asked.starts_with("sum(count_over_time(")) else {
                return Answer::not_simulated("Loki with this question", ask);
            };
            let brings = |node: &str| {
                site.cluster.store.list("pods", None).any(|pod| {
                    let image = text(pod, "/spec/containers/0/image");
                    image.contains("grafana/alloy:") && text(pod, "/spec/nodeName") == node && is_ready(pod)
                })
            };
            let pods = site.cluster.store.list("pods", Some(&namespace));
            let lines = pods.filter(|pod| is_ready(pod) && brings(text(pod, "/spec/nodeName"))).count();
            let result = match lines {
                0 => json!([]),
                lines => json!([{ "metric": {}, "value": [ask.now / 1000, lines.to_string()] }]),
            };
            success(&json!({ "resultType": "vector", "result": result }))
        }
        _ => Answer::not_simulated("Loki", ask),
    }
}
