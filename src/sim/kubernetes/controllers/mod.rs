//! Controllers: what is to be made of objects that others are made for.

mod balancer;
mod budgets;
mod certificates;
mod cron;
mod cron_jobs;
mod daemon_sets;
mod databases;
mod deployments;
mod flux;
mod garbage;
mod gpu;
mod helm;
mod jobs;
mod metallb;
mod namespaces;
mod quotas;
mod replica_sets;
mod roles;
mod services;
mod stateful_sets;
mod volumes;
mod zone;

pub(crate) use certificates::Outside;
pub(super) use helm::LABEL;
pub(crate) use metallb::Announced;
pub(super) use volumes::NODE;

use serde_json::{Map, Value, json};

use super::api::defaults::complete_pod;
use super::cluster::Cluster;
use super::store::{Hand, Key, fresh_uid, timestamp};
use crate::sim::chance::{hex, sha256};

/// How long controllers do without looking, in milliseconds.
const LOOK: u64 = 1000;

/// Under which name the controllers of Kubernetes itself change objects.
pub(super) const MANAGER: &str = "kube-controller-manager";

/// The letters that names are made up of: none of them makes a word.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A text in an object; empty where there is none.
pub(in crate::sim::kubernetes) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number in an object.
pub(in crate::sim::kubernetes) fn number(object: &Value, pointer: &str) -> Option<u64> {
    object.pointer(pointer).and_then(Value::as_u64)
}

/// The items of a list in an object.
pub(in crate::sim::kubernetes) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The key that an object of a resource is found by.
pub(in crate::sim::kubernetes) fn key_of(resource: &str, object: &Value) -> Key {
    Key::new(resource, text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

/// Whether somebody has asked for an object to go.
pub(in crate::sim::kubernetes) fn leaves(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Which generation of its specification an object is.
pub(in crate::sim::kubernetes) fn generation(object: &Value) -> u64 {
    number(object, "/metadata/generation").unwrap_or(1)
}

/// Whether an object belongs to the one with this uid.
pub(in crate::sim::kubernetes) fn is_of(object: &Value, uid: &str) -> bool {
    items(object, "/metadata/ownerReferences").iter().any(|owner| owner["uid"] == uid)
}

/// A reference to whom an object belongs.
pub(in crate::sim::kubernetes) fn reference(owner: &Value, version: &str, kind: &str) -> Value {
    json!([{
        "apiVersion": version, "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Whether a pod does what it is for.
pub(in crate::sim::kubernetes) fn is_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && !leaves(pod) && has_condition(pod, "Ready", "True")
}

/// Whether a pod is there to stay: it has neither ended nor been asked to.
fn is_alive(pod: &Value) -> bool {
    !leaves(pod) && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
}

/// Whether an object has a condition with this status.
pub(in crate::sim::kubernetes) fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    items(object, "/status/conditions").iter().any(|one| one["type"] == kind && one["status"] == status)
}

/// Whether labels are those that a selector asks for. One that asks for nothing selects everything.
pub(in crate::sim::kubernetes) fn selects(selector: &Value, labels: &Value) -> bool {
    let plain = selector["matchLabels"].as_object().into_iter().flatten();
    let rules = selector["matchExpressions"].as_array().into_iter().flatten();
    plain.into_iter().all(|(name, value)| labels.get(name) == Some(value))
        && rules.into_iter().all(|rule| follows(rule, labels))
}

/// Whether labels follow one rule of a selector.
pub(in crate::sim::kubernetes) fn follows(rule: &Value, labels: &Value) -> bool {
    let own = labels.get(text(rule, "/key")).filter(|value| !value.is_null());
    let among = || own.is_some_and(|own| items(rule, "/values").contains(own));
    match text(rule, "/operator") {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => own.is_some(),
        "DoesNotExist" => own.is_none(),
        _ => false,
    }
}

/// Puts a count into a status. One of nothing is not told.
fn count(status: &mut Value, field: &str, number: u64) {
    if number > 0 {
        status[field] = json!(number);
    } else if let Some(map) = status.as_object_mut() {
        map.shift_remove(field);
    }
}

/// Puts a condition into a status, or takes over what is new about it: it passes from one state to another only with its
/// status. `extra` is what else the condition of this kind of object tells.
pub(in crate::sim::kubernetes) fn set_condition(status: &mut Value, condition: Value, now: u64) {
    let Some(mut wanted) = condition.as_object().cloned() else { return };
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(all) = status["conditions"].as_array_mut() else { return };
    let known = all.iter().position(|one| one["type"] == wanted["type"]);
    let before = known.and_then(|at| all.get(at)).cloned().unwrap_or_default();
    let is_same = wanted.iter().all(|(name, value)| before.get(name) == Some(value));
    if known.is_some() && is_same {
        return;
    }
    let passed = before["status"] != wanted["status"];
    let time = if passed { json!(timestamp(now)) } else { before["lastTransitionTime"].clone() };
    wanted.insert("lastTransitionTime".into(), time);
    match known.and_then(|at| all.get_mut(at)) {
        Some(known) => *known = Value::Object(wanted),
        None => all.push(Value::Object(wanted)),
    }
}

/// Takes a condition out of a status.
fn drop_condition(status: &mut Value, kind: &str) {
    if let Some(all) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        all.retain(|one| one["type"] != kind);
    }
}

/// Letters that tell objects of one owner apart.
fn letters() -> String {
    spelt(fresh_uid().as_bytes(), 5)
}

/// So many letters that stand for a text.
fn spelt(text: &[u8], length: usize) -> String {
    let digest = sha256(text);
    digest.iter().take(length).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

/// Letters that stand for a template: another one has others.
fn template_hash(template: &Value) -> String {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.shift_remove("pod-template-hash");
    }
    spelt(template.to_string().as_bytes(), 10)
}

/// A number of pods out of so many, told as a number or in percent.
fn share(value: &Value, all: u64, up: bool) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => {
            let percent = text.strip_suffix('%')?.parse::<u64>().ok()?;
            let part = all.saturating_mul(percent);
            Some(if up { part.div_ceil(100) } else { part / 100 })
        }
        _ => None,
    }
}

/// A pod made after a template.
fn pod_of(template: &Value, owners: Value, prefix: &str) -> Value {
    let mut spec = template["spec"].clone();
    complete_pod(&mut spec);
    spec["enableServiceLinks"] = json!(true);
    let mut metadata = Map::new();
    metadata.insert("generateName".into(), json!(prefix));
    for part in ["labels", "annotations"] {
        if template["metadata"][part].is_object() {
            metadata.insert(part.into(), template["metadata"][part].clone());
        }
    }
    metadata.insert("ownerReferences".into(), owners);
    metadata.insert("generation".into(), json!(1));
    json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec,
        "status": { "phase": "Pending", "qosClass": super::api::defaults::quality(&template["spec"]) },
    })
}

/// Something to be reported about an object.
pub(in crate::sim::kubernetes) struct Report<'a> {
    pub(in crate::sim::kubernetes) kind: &'a str,
    pub(in crate::sim::kubernetes) version: &'a str,
    pub(in crate::sim::kubernetes) reason: &'a str,
    pub(in crate::sim::kubernetes) message: &'a str,
    /// Which part of the cluster tells it.
    pub(in crate::sim::kubernetes) by: &'a str,
    pub(in crate::sim::kubernetes) warns: bool,
}

impl Cluster {
    /// Whether there is anything for controllers to do: something has changed, or may have come to an end.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let (version, at) = self.looked;
        version != self.store.version() || !self.runs.is_empty() || self.has_restless_pods() || now >= at + LOOK
    }

    /// Lets all controllers look, one after the other.
    pub(super) fn run_controllers(&mut self, now: u64) {
        self.work_as(MANAGER, now);
        self.keep_namespaces(now);
        self.collect_orphans(now);
        self.rest_hand();
        self.run_charts(now);
        self.run_databases(now);
        self.run_services(now);
        self.balance(now);
        self.run_metallb(now);
        self.keep_definitions(now);
        self.work_as(MANAGER, now);
        self.run_volumes(now);
        self.run_deployments(now);
        self.run_replica_sets(now);
        self.run_stateful_sets(now);
        self.run_daemon_sets(now);
        self.rest_hand();
        self.offer_cards();
        self.work_as(MANAGER, now);
        self.run_cron_jobs(now);
        self.run_jobs(now);
        self.watch_budgets(now);
        self.rest_hand();
        self.gather_roles(now);
        self.count_quotas(now);
    }

    /// Has a part of the cluster be at work, which gets to own what it changes from now on.
    pub(super) fn work_as(&mut self, name: &'static str, now: u64) {
        self.store.work_as(Hand::new(name, now));
    }

    /// Has nobody be at work any more.
    pub(super) fn rest_hand(&mut self) {
        self.store.work_as(None);
    }

    /// The objects of a resource that nobody has asked to go, with their keys.
    fn all(&self, resource: &str) -> Vec<(Key, Value)> {
        self.store.list(resource, None).map(|object| (key_of(resource, object), object.clone())).collect()
    }

    /// The objects of a resource in a namespace that belong to the one with this uid.
    fn owned(&self, resource: &str, namespace: &str, uid: &str) -> Vec<(Key, Value)> {
        let own = self.store.list(resource, Some(namespace)).filter(|object| is_of(object, uid));
        own.map(|object| (key_of(resource, object), object.clone())).collect()
    }

    /// Makes a pod for somebody, or tells why it is not let in.
    fn make_pod(&mut self, namespace: &str, name: &str, mut pod: Value, now: u64) -> Result<(), String> {
        let key = Key::new("pods", namespace, name);
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["namespace"] = json!(namespace);
        self.store.sign(&key, &mut pod);
        self.admit_made("Pod", &key, &mut pod)?;
        self.store.make(&key, pod, now);
        Ok(())
    }

    /// Makes a pod with a name that is made up.
    fn make_any_pod(&mut self, namespace: &str, prefix: &str, pod: Value, now: u64) -> Result<String, String> {
        let name = format!("{prefix}{}", letters());
        // Why one is not let in is told of the name that all of them begin with.
        self.make_pod(namespace, &name, pod, now).map_err(|why| why.replace(&name, prefix))?;
        Ok(name)
    }

    /// Writes down an event about an object, or counts it once more where it was told before.
    pub(super) fn report_on(&mut self, about: &Value, report: &Report<'_>, now: u64) {
        let name = text(about, "/metadata/name");
        let tag = hex(&sha256(format!("{}{}{}", report.kind, report.reason, report.message))[..8]);
        let uid = text(about, "/metadata/uid");
        let namespace = match text(about, "/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        let key = Key::new("events", namespace, &format!("{name}.{tag}"));
        if self.store.get(&key).is_some_and(|event| event["involvedObject"]["uid"] == uid) {
            return;
        }
        self.store.remove(&key);
        let mut involved = json!({ "kind": report.kind, "name": name, "uid": uid, "apiVersion": report.version });
        if !text(about, "/metadata/namespace").is_empty() {
            involved["namespace"] = json!(namespace);
        }
        let event = json!({
            "kind": "Event", "apiVersion": "v1", "metadata": {}, "involvedObject": involved,
            "reason": report.reason, "message": report.message, "source": { "component": report.by },
            "firstTimestamp": timestamp(now), "lastTimestamp": timestamp(now), "count": 1,
            "type": if report.warns { "Warning" } else { "Normal" }, "reportingComponent": report.by, "reportingInstance": "",
        });
        self.store.make(&key, event, now);
    }

    /// Writes down an event about a pod.
    pub(super) fn report(&mut self, about: &Value, reason: &str, message: &str, by: &str, now: u64) {
        let warns = reason.starts_with("Failed") || reason == "BackOff" || reason == "Failed";
        self.report_on(about, &Report { kind: "Pod", version: "v1", reason, message, by, warns }, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_with_rules_follows_each_of_them() {
        let labels = json!({ "app": "web", "tier": "front" });
        let rule = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }] });
        assert!(selects(&json!({}), &labels));
        assert!(selects(&rule("In", json!(["front", "back"])), &labels));
        assert!(!selects(&rule("NotIn", json!(["front"])), &labels));
        assert!(selects(&rule("Exists", json!(null)), &labels));
        assert!(!selects(&json!({ "matchLabels": { "app": "web", "x": "y" } }), &labels));
    }

    #[test]
    fn a_share_is_rounded_as_it_is_asked_to() {
        assert_eq!(share(&json!("25%"), 3, true), Some(1));
        assert_eq!(share(&json!("25%"), 3, false), Some(0));
        assert_eq!(share(&json!(2), 3, false), Some(2));
        assert_eq!(share(&json!("x"), 3, false), None);
    }

    #[test]
    fn a_condition_passes_only_when_its_status_does() {
        let mut status = json!({});
        set_condition(&mut status, json!({ "type": "Ready", "status": "False", "reason": "A" }), 1000);
        let first = status["conditions"][0]["lastTransitionTime"].clone();
        set_condition(&mut status, json!({ "type": "Ready", "status": "False", "reason": "B" }), 60_000);
        assert_eq!(status["conditions"][0]["lastTransitionTime"], first);
        assert_eq!(status["conditions"][0]["reason"], "B");
        set_condition(&mut status, json!({ "type": "Ready", "status": "True", "reason": "C" }), 60_000);
        assert_ne!(status["conditions"][0]["lastTransitionTime"], first);
        assert_eq!(status["conditions"].as_array().unwrap().len(), 1);
    }
}
