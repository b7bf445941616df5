//! What services, ingresses and policies of the network may not be.

use serde_json::{Value, json};

use super::{Faults, Looked, SUBDOMAIN, is_subdomain, items, text};

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

pub(super) fn service(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    let kind = text(spec, "/type");
    let ports = items(spec, "/ports");
    let is_headless = text(spec, "/clusterIP") == "None";
    if ports.is_empty() && !is_headless && kind != "ExternalName" {
        all.required("spec.ports", "");
    }
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        if ports.len() > 1 && text(port, "/name").is_empty() {
            all.required(format!("{at}.name"), "");
        }
        for field in ["port", "targetPort"] {
            if port[field].as_i64().is_some_and(|number| !(1..=65_535).contains(&number)) {
                all.invalid(format!("{at}.{field}"), &port[field], "must be between 1 and 65535, inclusive");
            }
        }
        all.one_of(format!("{at}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
    all.one_of("spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"]);
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    all.one_of("spec.type", &spec["type"], &known);
    if kind == "ExternalName" && text(spec, "/externalName").is_empty() {
        all.required("spec.externalName", "");
    }
    let (now, before) = (text(spec, "/clusterIP"), looked.live.map_or("", |live| text(live, "/spec/clusterIP")));
    if !before.is_empty() && !now.is_empty() && now != before && kind != "ExternalName" {
        all.invalid("spec.clusterIPs[0]", &json!([now]), "may not change once set");
    }
}

pub(super) fn ingress(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    let rules = items(spec, "/rules");
    if rules.is_empty() && !spec["defaultBackend"].is_object() {
        all.invalid("spec", &Value::Null, "either `defaultBackend` or `rules` must be specified");
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        if let Some(host) = rule["host"].as_str().filter(|host| !host.is_empty()) {
            let (fits, why) = match host.contains('*') {
                true => (host.strip_prefix("*.").is_some_and(is_subdomain), WILDCARD),
                false => (is_subdomain(host), SUBDOMAIN),
            };
            if !fits {
                all.invalid(format!("{at}.host"), &rule["host"], why);
            }
        }
        let paths = items(rule, "/http/paths");
        if rule["http"].is_object() && paths.is_empty() {
            all.required(format!("{at}.http.paths"), "");
        }
        for (index, path) in paths.iter().enumerate() {
            self::path(path, &format!("{at}.http.paths[{index}]"), all);
        }
    }
}

fn path(path: &Value, at: &str, all: &mut Faults) {
    let (own, kind) = (text(path, "/path"), &path["pathType"]);
    match kind.as_str() {
        None => all.required(format!("{at}.pathType"), "pathType must be specified"),
        Some("Exact" | "Prefix") if !own.starts_with('/') => {
            all.invalid(format!("{at}.path"), &json!(own), "must be an absolute path");
        }
        Some("ImplementationSpecific") if !own.is_empty() && !own.starts_with('/') => {
            all.invalid(format!("{at}.path"), &json!(own), "must be an absolute path");
        }
        Some(_) => all.one_of(format!("{at}.pathType"), kind, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    let service = &path["backend"]["service"];
    if service.is_object() {
        if text(service, "/name").is_empty() {
            all.required(format!("{at}.backend.service.name"), "");
        }
        if text(service, "/port/name").is_empty() && service["port"]["number"].as_u64().unwrap_or_default() == 0 {
            all.required(format!("{at}.backend.service.port"), "port name or number is required");
        }
    }
}

/// Whether a text is a network with the length of its prefix.
fn is_network(text: &str) -> bool {
    text.parse::<ipnet::IpNet>().is_ok()
}

pub(super) fn policy(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    for (side, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(spec, &format!("/{side}")).iter().enumerate() {
            for (number, peer) in items(rule, &format!("/{peers}")).iter().enumerate() {
                let at = format!("spec.{side}[{index}].{peers}[{number}].ipBlock");
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                match peer["ipBlock"]["cidr"].as_str() {
                    Some("") => all.required(format!("{at}.cidr"), ""),
                    Some(text) if !is_network(text) => all.invalid(format!("{at}.cidr"), &json!(text), why),
                    _ => {}
                }
            }
            for (number, port) in items(rule, "/ports").iter().enumerate() {
                let at = format!("spec.{side}[{index}].ports[{number}]");
                all.one_of(format!("{at}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
                if port["port"].as_i64().is_some_and(|number| !(1..=65_535).contains(&number)) {
                    all.invalid(format!("{at}.port"), &port["port"], "must be between 1 and 65535, inclusive");
                }
            }
        }
    }
    for (index, kind) in items(spec, "/policyTypes").iter().enumerate() {
        all.one_of(format!("spec.policyTypes[{index}]"), kind, &["Ingress", "Egress"]);
    }
}
