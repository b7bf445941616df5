//! What objects of smaller kinds may not be.

use serde_json::{Value, json};

use super::super::kinds::Kind;
use super::super::quantity::nanos;
use super::{Faults, Looked, QUALIFIED, entries, has_words, items, text};

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// What quotas can be of, beside what is asked for by name: `requests.cpu`, `count/jobs.batch`.
const QUOTAS: [&str; 15] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
    "requests",
    "limits",
];

pub(super) fn look(kind: &Kind, looked: &Looked<'_>, all: &mut Faults) {
    match kind.full_name().as_str() {
        "configmaps" => config_map(looked, all),
        "secrets" => secret(looked, all),
        "namespaces" => namespace(looked, all),
        "nodes" => node(looked, all),
        "resourcequotas" => quota(looked, all),
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => rules(looked, all),
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            binding(looked, all);
        }
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
        | "mutatingwebhookconfigurations.admissionregistration.k8s.io" => {
            for (index, webhook) in items(looked.object, "/webhooks").iter().enumerate() {
                let field = format!("webhooks[{index}].sideEffects");
                all.one_of(field, &webhook["sideEffects"], &["None", "NoneOnDryRun"]);
            }
        }
        _ => {}
    }
}

/// The names of entries.
fn keys(object: &Value, map: &str, all: &mut Faults) {
    for (key, _) in entries(object, &format!("/{map}")) {
        let is_fine = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_fine {
            all.invalid(format!("{map}[{key}]"), &json!(key), KEY);
        }
    }
}

/// What stays once it is said to.
fn frozen(looked: &Looked<'_>, maps: &[&str], all: &mut Faults) {
    let Some(live) = looked.live.filter(|live| live["immutable"] == true) else { return };
    let why = "field is immutable when `immutable` is set";
    if looked.object["immutable"] != true {
        all.forbidden("immutable", why);
    }
    for map in maps {
        if live.get(*map) != looked.object.get(*map) {
            all.forbidden(*map, why);
        }
    }
}

fn config_map(looked: &Looked<'_>, all: &mut Faults) {
    let object = looked.object;
    keys(object, "data", all);
    for (key, _) in entries(object, "/data") {
        if object["binaryData"].get(key).is_some() {
            all.invalid(format!("data[{key}]"), &json!(key), "duplicate of key present in binaryData");
        }
    }
    keys(object, "binaryData", all);
    frozen(looked, &["data", "binaryData"], all);
}

fn secret(looked: &Looked<'_>, all: &mut Faults) {
    let object = looked.object;
    keys(object, "data", all);
    let has = |key: &str| object["data"].get(key).is_some();
    let needed: &[&str] = match text(object, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => &["username", "password"],
        _ => &[],
    };
    for key in needed.iter().filter(|key| !has(key)) {
        all.required(format!("data[{key}]"), "");
    }
    for key in needed.iter().filter(|key| key.starts_with(".docker") && has(key)) {
        use base64::Engine as _;
        let bytes = base64::prelude::BASE64_STANDARD.decode(text(object, &format!("/data/{key}"))).unwrap_or_default();
        if serde_json::from_slice::<Value>(&bytes).is_err() {
            let hidden = json!("<secret contents redacted>");
            all.invalid(format!("data[{key}]"), &hidden, &broken(&bytes));
        }
    }
    all.unchanged(looked, "/type");
    frozen(looked, &["data"], all);
}

/// What Go says of a text that is no JSON, for its first letters.
fn broken(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start();
    for (word, name) in [("null", "null"), ("true", "true"), ("false", "false")] {
        if text.starts_with(&word[..1]) {
            let at = text.chars().zip(word.chars()).position(|(own, wanted)| own != wanted);
            if let Some(at) = at.filter(|at| *at > 0) {
                let own = text.chars().nth(at).unwrap_or_default();
                let wanted = word.chars().nth(at).unwrap_or_default();
                return format!("invalid character '{own}' in literal {name} (expecting '{wanted}')");
            }
        }
    }
    match text.chars().next() {
        None => "unexpected end of JSON input".to_owned(),
        Some('{' | '[' | '"') => "unexpected end of JSON input".to_owned(),
        Some(first) => format!("invalid character '{first}' looking for beginning of value"),
    }
}

fn namespace(looked: &Looked<'_>, all: &mut Faults) {
    for (key, value) in entries(looked.object, "/metadata/labels") {
        let Some(own) = key.strip_prefix("pod-security.kubernetes.io/") else { continue };
        let (field, told) = (format!("metadata.labels[{key}]"), value.as_str().unwrap_or_default());
        if matches!(own, "enforce" | "warn" | "audit") {
            if !matches!(told, "privileged" | "baseline" | "restricted") {
                all.invalid(field, value, "must be one of privileged, baseline, restricted");
            }
        } else if own.ends_with("-version") {
            let is_version = told.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u32>().is_ok());
            if told != "latest" && !is_version {
                all.invalid(field, value, "must be \"latest\" or \"v1.x\"");
            }
        }
    }
}

fn node(looked: &Looked<'_>, all: &mut Faults) {
    for (index, taint) in items(looked.object, "/spec/taints").iter().enumerate() {
        let known = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
        let effect = if taint["effect"].is_null() { json!("") } else { taint["effect"].clone() };
        all.one_of(format!("metadata.taints[{index}].effect"), &effect, &known);
    }
}

fn quota(looked: &Looked<'_>, all: &mut Faults) {
    for (name, amount) in entries(looked.object, "/spec/hard") {
        let field = format!("spec.hard[{name}]");
        if !has_words(name.rsplit('/').next().unwrap_or_default()) {
            all.invalid(&field, &json!(name), QUALIFIED);
        }
        let first = name.split('.').next().unwrap_or_default();
        if !name.contains('/') && !QUOTAS.contains(&name.as_str()) && !QUOTAS.contains(&first) {
            all.invalid(&field, &json!(name), "must be a standard resource for quota");
        }
        if nanos(amount).is_some_and(|amount| amount < 0) {
            all.invalid(&field, amount, "must be greater than or equal to 0");
        }
    }
}

fn rules(looked: &Looked<'_>, all: &mut Faults) {
    for (index, rule) in items(looked.object, "/rules").iter().enumerate() {
        let at = format!("rules[{index}]");
        if items(rule, "/verbs").is_empty() {
            all.required(format!("{at}.verbs"), "verbs must contain at least one value");
        }
        if !items(rule, "/nonResourceURLs").is_empty() {
            continue;
        }
        if items(rule, "/apiGroups").is_empty() {
            all.required(format!("{at}.apiGroups"), "resource rules must supply at least one api group");
        }
        if items(rule, "/resources").is_empty() {
            all.required(format!("{at}.resources"), "resource rules must supply at least one resource");
        }
    }
}

fn binding(looked: &Looked<'_>, all: &mut Faults) {
    let role = &looked.object["roleRef"];
    if text(role, "/name").is_empty() {
        all.required("roleRef.name", "");
    }
    for (index, subject) in items(looked.object, "/subjects").iter().enumerate() {
        if text(subject, "/name").is_empty() {
            all.required(format!("subjects[{index}].name"), "");
        }
        if text(subject, "/kind") == "ServiceAccount" && text(subject, "/namespace").is_empty() {
            all.required(format!("subjects[{index}].namespace"), "");
        }
    }
    if looked.live.is_some_and(|live| live["roleRef"] != *role) {
        let shown = json!({ "APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"] });
        all.invalid("roleRef", &shown, "cannot change roleRef");
    }
}
