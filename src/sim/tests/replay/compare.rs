//! Compares an answer with the recorded one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::lab::Reply;
use super::recording::{Exchange, Request, pairs};

/// What came of an exchange.
pub(super) enum Verdict {
    Same,
    /// The simulator says that it does not simulate this.
    NotServed,
    /// It cannot be asked again, and why.
    LeftOut(String),
    Differs(String),
}

/// Compares status, reason and body.
pub(super) fn compare(exchange: &Exchange, reply: &Reply, as_recorded: &dyn Fn(&str) -> String) -> Verdict {
    if reply.reason.starts_with("not simulated") {
        return Verdict::NotServed;
    }
    let (request, response) = (&exchange.request, &exchange.response);
    let ended_here = response.data()["status"] == "running" && reply.body["data"]["status"] == "stopped";
    if ended_here && request.path.contains("/tasks/") {
        return Verdict::Same;
    }
    if reply.status != response.status || as_recorded(&reply.reason) != response.reason {
        let (status, reason, body) = (response.status, &response.reason, &reply.body);
        return Verdict::Differs(format!("   {status} {reason}\n   {} {} {body}", reply.status, reply.reason));
    }
    let (wanted, got) = (normal(&response.body, request), normal(&reply.body, request));
    let keys: std::collections::BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
    let differs = |key: &&&String| wanted.get(**key) != got.get(**key);
    let lines: Vec<String> = keys
        .iter()
        .filter(differs)
        .map(|key| format!("   {key}: {:?} here {:?}", wanted.get(*key), got.get(*key)))
        .collect();
    if lines.is_empty() { Verdict::Same } else { Verdict::Differs(lines.join("\n")) }
}

/// A body without what differs from one run to the next, key by key: of failures the texts, of configurations the options,
/// of tasks their ends.
fn normal(body: &Value, request: &Request) -> BTreeMap<String, String> {
    let path = request.path.as_str();
    let mut parts = BTreeMap::new();
    for key in ["message", "errors"].into_iter().filter(|key| !body[*key].is_null()) {
        parts.insert(key.to_string(), steady(&body[key]));
    }
    let data = &body["data"];
    if path.ends_with("/config") && data.is_object() {
        parts.extend(pairs(data).into_iter().map(|(name, value)| (name, steady(&Value::String(value)))));
    }
    if path.ends_with("/pending") || path.ends_with("/cloudinit") {
        let rows = data.as_array().into_iter().flatten();
        parts.extend(rows.map(|row| (row["key"].to_string(), steady(row))));
    }
    if path.starts_with("/access") || path.starts_with("/cluster/mapping") || path.starts_with("/pools") {
        parts.insert("data".into(), steady(data));
    }
    // A task that was still running when it was recorded may have ended here.
    if data["status"] == "stopped" && path.contains("/tasks/") {
        parts.insert("exit".into(), data["exitstatus"].to_string());
    }
    parts.remove("digest");
    parts.remove("\"digest\"");
    parts
}

fn steady(value: &Value) -> String {
    static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
        let kinds = [
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "[0-9a-f]{40}",
            "BC:24:11:[0-9A-F:]{8}",
            "ctime=[0-9]+",
            "UPID:[^\"]+",
            r#"(?:"value":")[^"]*""#,
        ];
        Regex::new(&kinds.join("|")).unwrap()
    });
    VOLATILE.replace_all(&sorted(value).to_string(), "~").into_owned()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            serde_json::to_value(ordered).unwrap()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            items.into()
        }
        other => other.clone(),
    }
}
