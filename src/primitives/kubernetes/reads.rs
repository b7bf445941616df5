//! What can be read from a cluster, each as a fact with its own cell.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::apply::shape::seen;
use super::find::planned_at;
use super::handle::{Asked, Kubernetes, REALM, planned_on_hosts};
use super::kinds::planned_bringer;
use crate::clients::kubernetes::{Resource, segment};
use crate::error::{Class, Error, Result};
use crate::run::ensure::read;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// How an answer is read.
type Parse<'a> = &'a (dyn Fn(&Json) -> Option<Value> + Sync);

/// One GET whose answer is the fact.
struct Answered<'a> {
    k: &'a Kubernetes,
    cell: String,
    paths: Vec<String>,
    parse: Parse<'a>,
}

impl Fact for Answered<'_> {
    fn address(&self) -> String {
        format!("{REALM}:{}", self.cell)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, self.cell.clone())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let mut all = Vec::new();
        for path in &self.paths {
            match self.k.ask(reader, path)? {
                Asked::Answered(json) => {
                    all.push((self.parse)(&json).ok_or_else(|| {
                        Error::new(
                            Class::Failed,
                            format!("{}: GET {path} was not answered as Kubernetes answers", self.address()),
                        )
                        .help("is that the address of a Kubernetes API?")
                    })?);
                }
                Asked::Absent => return Ok(State::Absent),
                Asked::NotYet(unknown) => return Ok(State::Unknown(unknown)),
            }
        }
        Ok(State::Here(joined(all)))
    }
}

/// One answer as it is; several lists as one.
fn joined(mut all: Vec<Value>) -> Value {
    if all.len() == 1 {
        return all.remove(0);
    }
    let items = all.into_iter().flat_map(|one| if let Value::List(items) = one { items } else { vec![one] });
    Value::List(items.collect())
}

/// Reads on behalf of a script. After planned changes nobody knows what the cluster will say; only what a resource reads for
/// itself is what it changes, whatever else is planned.
pub(super) fn answered(k: &Kubernetes, cell: impl Into<String>, paths: Vec<String>, parse: Parse<'_>) -> Result<Value> {
    let cell = cell.into();
    if let Some(cause) = stale(&paths)? {
        return Ok(Value::Unknown(cause.part(&cell)));
    }
    Ok(read(&Answered { k, cell, paths, parse })?.into_value())
}

/// Why what these paths answer is not what they will answer.
fn stale(paths: &[String]) -> Result<Option<Unknown>> {
    let for_a_resource = scope::with(|branch| branch.phase)? == Phase::Read;
    for path in paths {
        let on_hosts = if for_a_resource { None } else { planned_on_hosts()? };
        if let Some(cause) = scope::stale_path(path)?.or(on_hosts) {
            return Ok(Some(cause));
        }
    }
    Ok(None)
}

/// Why what runs in the cluster will say something else than now: whatever is planned there may be the cause.
pub(super) fn opaque() -> Result<Option<Unknown>> {
    match scope::with(|branch| branch.phase)? {
        Phase::Script | Phase::Wait => Ok(scope::stale_realm(REALM)?.or(planned_on_hosts()?)),
        _ => scope::stale_realm(REALM).map(|_| None),
    }
}

/// Why objects may be there that are not there now: a chart that is planned brings some.
fn brought() -> Result<Option<Unknown>> {
    match scope::with(|branch| branch.phase)? {
        Phase::Script | Phase::Wait if scope::is_planning()? => planned_bringer(),
        _ => Ok(None),
    }
}

/// An object, `()` where there is none.
pub(super) fn object(k: &Kubernetes, path: &str) -> Result<Value> {
    if let Some(cause) = brought()? {
        return Ok(Value::Unknown(cause.part(path).maybe_absent()));
    }
    answered(k, format!("GET {path}"), vec![path.to_owned()], &|json| Some(seen(json)))
}

/// A list that comes in pages.
struct Pages<'a> {
    k: &'a Kubernetes,
    path: &'a str,
    resource: &'a Resource,
}

impl Fact for Pages<'_> {
    fn address(&self) -> String {
        format!("{REALM}:GET {}", self.path)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("GET {}", self.path))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let mut all = Vec::new();
        let mut next = String::new();
        loop {
            let page = if next.is_empty() { String::new() } else { format!("&continue={}", segment(&next)) };
            let list = match self.k.ask(reader, &format!("{}{page}", self.path))? {
                Asked::Answered(list) => list,
                Asked::Absent => return Ok(State::Absent),
                Asked::NotYet(unknown) => return Ok(State::Unknown(unknown)),
            };
            let items = list.get("items").and_then(Json::as_array).ok_or_else(|| {
                Error::new(Class::Failed, format!("{}: it was not answered with a list", self.address()))
                    .help("is that the address of a Kubernetes API?")
            })?;
            all.extend(items.iter().map(|item| self.item(item)));
            next = text(&list, "/metadata/continue");
            if next.is_empty() {
                return Ok(State::Here(Value::List(all)));
            }
        }
    }
}

impl Pages<'_> {
    /// The items of a list do not say what they are.
    fn item(&self, item: &Json) -> Value {
        let mut item = item.clone();
        if let Some(map) = item.as_object_mut() {
            map.insert("apiVersion".to_owned(), Json::String(self.resource.api_version()));
            map.insert("kind".to_owned(), Json::String(self.resource.kind.clone()));
        }
        seen(&item)
    }
}

/// All objects behind the path of a list, which names the size of a page.
pub(super) fn pages(k: &Kubernetes, path: &str, resource: &Resource) -> Result<Value> {
    match brought()?.map_or_else(|| stale(&[path.to_owned()]), |cause| Ok(Some(cause)))? {
        Some(cause) => Ok(Value::Unknown(cause.part(&resource.kind))),
        None => Ok(read(&Pages { k, path, resource })?.into_value()),
    }
}

/// A path as it answers: JSON as data, all else as text.
pub(super) fn get(k: &Kubernetes, path: &str) -> Result<Value> {
    check_path(path)?;
    match planned_at(k, path)? {
        Some(planned) => Ok(planned),
        None => object(k, path),
    }
}

/// Refuses what is no path of the API.
pub(super) fn check_path(path: &str) -> Result<()> {
    check_path_of("the API", path, "/api/v1/nodes")
}

/// Refuses what is no path of somebody who answers, or may lead elsewhere; `example` is one.
pub(super) fn check_path_of(whose: &str, path: &str, example: &str) -> Result<()> {
    if path.starts_with('/') && !path.contains('#') && !path.split(['/', '?']).any(|part| part == "..") {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`{path}` is not a path of {whose}"))
        .help(format!("write it from the root, as in `{example}`")))
}

/// The version: `gitVersion` and more.
pub(super) fn version(k: &Kubernetes) -> Result<Value> {
    answered(k, "version", vec!["/version".to_owned()], &|json| json.is_object().then(|| Value::from(json.clone())))
}

/// Whether the API is ready, and each of its checks.
pub(super) fn ready(k: &Kubernetes) -> Result<Value> {
    answered(k, "readyz", vec!["/readyz?verbose".to_owned()], &|json| json.as_str().map(checks))
}

/// `[+]etcd ok` is a check that passed; `[-]etcd failed: …` one that did not.
fn checks(text: &str) -> Value {
    let lines = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once(']'));
    let check = |(sign, rest): (&str, &str)| {
        (rest.split_whitespace().next().unwrap_or_default().to_owned(), Value::Bool(sign == "+"))
    };
    let passed = text.lines().any(|line| line.trim() == "readyz check passed");
    Value::Map(Map::from([
        ("ready".to_owned(), Value::Bool(passed)),
        ("checks".to_owned(), Value::Map(lines.map(check).collect())),
    ]))
}

/// The nodes of the cluster.
pub(super) fn nodes(k: &Kubernetes) -> Result<Value> {
    answered(k, "nodes", vec!["/api/v1/nodes".to_owned()], &|json| items(json, node))
}

/// The workloads of a namespace, of all namespaces where it is empty.
pub(super) fn workloads(k: &Kubernetes, namespace: &str) -> Result<Value> {
    if let Some(cause) = brought()? {
        return Ok(Value::Unknown(cause.part("workloads")));
    }
    let within = if namespace.is_empty() { String::new() } else { format!("namespaces/{}/", segment(namespace)) };
    let kinds = ["apps/v1/{}deployments", "apps/v1/{}daemonsets", "apps/v1/{}statefulsets", "batch/v1/{}jobs"];
    let paths = kinds.iter().map(|kind| format!("/apis/{}", kind.replace("{}", &within))).collect();
    answered(k, format!("workloads:{namespace}"), paths, &|json| items(json, super::ready::workload))
}

/// Whom the kubeconfig names, and until when: `subject`, `not_after` (Unix time).
pub(super) fn certificate(k: &Kubernetes) -> Result<Value> {
    Ok(match k.client()? {
        Err(unknown) => Value::Unknown(unknown.part("certificate")),
        Ok(client) => {
            let identity = client.identity();
            Value::Map(Map::from([
                ("subject".to_owned(), Value::text(&identity.subject)),
                ("not_after".to_owned(), identity.not_after.map_or(Value::Null, Value::Int)),
            ]))
        }
    })
}

fn items(list: &Json, parse: fn(&Json, &str) -> Value) -> Option<Value> {
    // The items of a list do not say their kind; the list does.
    let kind = list.get("kind")?.as_str()?.trim_end_matches("List");
    let items = list.get("items")?.as_array()?;
    Some(Value::List(items.iter().map(|item| parse(item, kind)).collect()))
}

pub(super) fn text(json: &Json, pointer: &str) -> String {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn texts(json: Option<&Json>) -> BTreeMap<String, Value> {
    let map = json.and_then(Json::as_object).into_iter().flatten();
    map.map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect()
}

/// A taint as people write it: `key=value:Effect`.
fn taint(json: &Json) -> Value {
    let value = text(json, "/value");
    let value = if value.is_empty() { value } else { format!("={value}") };
    Value::Text(format!("{}{value}:{}", text(json, "/key"), text(json, "/effect")))
}

/// What a script sees of a node.
fn node(json: &Json, _: &str) -> Value {
    let list = |pointer: &str| json.pointer(pointer).and_then(Json::as_array).cloned().unwrap_or_default();
    let conditions: Map = list("/status/conditions")
        .iter()
        .map(|condition| (text(condition, "/type"), Value::Text(text(condition, "/status"))))
        .collect();
    let ready = conditions.get("Ready").and_then(Value::as_text) == Some("True");
    let labels = texts(json.pointer("/metadata/labels"));
    let roles = labels.keys().filter_map(|key| key.strip_prefix("node-role.kubernetes.io/")).map(Value::text).collect();
    let addresses = list("/status/addresses");
    let internal = addresses.iter().find(|address| text(address, "/type") == "InternalIP");
    Value::Map(Map::from([
        ("name".to_owned(), Value::Text(text(json, "/metadata/name"))),
        ("ready".to_owned(), Value::Bool(ready)),
        ("conditions".to_owned(), Value::Map(conditions)),
        ("roles".to_owned(), Value::List(roles)),
        ("version".to_owned(), Value::Text(text(json, "/status/nodeInfo/kubeletVersion"))),
        ("address".to_owned(), internal.map_or(Value::Null, |address| Value::Text(text(address, "/address")))),
        (
            "unschedulable".to_owned(),
            Value::Bool(json.pointer("/spec/unschedulable").and_then(Json::as_bool) == Some(true)),
        ),
        ("taints".to_owned(), Value::List(list("/spec/taints").iter().map(taint).collect())),
        ("annotations".to_owned(), Value::Map(texts(json.pointer("/metadata/annotations")))),
        ("labels".to_owned(), Value::Map(labels)),
    ]))
}

/// Why what a node will be cannot be known yet: it is to be made by something that is planned on the host of its name.
pub(super) fn awaited(node: &str) -> Result<Option<Unknown>> {
    if !scope::is_planning()? {
        return Ok(None);
    }
    scope::with(|branch| branch.overlay.change_in(&format!("host:{node}")).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in ["health", "/../../../secrets", "/a#b", "/a/.."] {
            let told = check_path_of("a Service", path, "/health").expect_err("refused");
            assert_eq!(told.message(), format!("`{path}` is not a path of a Service"));
        }
        assert!(check_path_of("a Service", "/api/v1/query?query=a..b", "/health").is_ok());
    }

    #[test]
    fn the_checks_of_readyz_are_told_one_by_one() {
        let said = checks("[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n");
        assert_eq!(said.to_display_json(), json!({ "ready": false, "checks": { "ping": true, "etcd": false } }));
        let said = checks("[+]ping ok\n[+]etcd ok\nreadyz check passed\n");
        assert_eq!(said.get("ready"), Some(&Value::Bool(true)));
    }

    #[test]
    fn a_node_is_told_by_what_people_ask_of_it() {
        let seen = node(
            &json!({
                "metadata": { "name": "a", "labels": { "node-role.kubernetes.io/etcd": "true" } },
                "spec": { "unschedulable": true, "taints": [{ "key": "gpu", "value": "yes", "effect": "NoSchedule" }] },
                "status": {
                    "conditions": [{ "type": "Ready", "status": "Unknown" }, { "type": "DiskPressure", "status": "False" }],
                    "addresses": [{ "type": "InternalIP", "address": "192.0.2.31" }, { "type": "Hostname", "address": "a" }],
                    "nodeInfo": { "kubeletVersion": "v1.36.4+k3s1" },
                },
            }),
            "Node",
        );
        let seen = seen.to_display_json();
        assert_eq!(seen["ready"], json!(false), "a node that is not heard of is not ready");
        assert_eq!(seen["roles"], json!(["etcd"]));
        assert_eq!(seen["taints"], json!(["gpu=yes:NoSchedule"]));
        assert_eq!(seen["address"], json!("192.0.2.31"));
        assert_eq!(seen["unschedulable"], json!(true));
    }
}
