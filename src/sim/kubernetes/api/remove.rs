//! Deleting objects.

use serde_json::{Value, json};

use super::read::Form;
use super::select::Selection;
use super::status::{Cause, Refusal};
use super::{Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};

/// What keeps an object until what belongs to it has been let be, or has gone.
pub(in crate::sim::kubernetes) const ORPHAN: &str = "orphan";
pub(in crate::sim::kubernetes) const FOREGROUND: &str = "foregroundDeletion";

/// Kinds of which the last state is told where one has gone, and not only that it has.
const RETURNED: [&str; 6] =
    ["Pod", "ServiceAccount", "PersistentVolumeClaim", "PersistentVolume", "ResourceQuota", "PodTemplate"];

/// How something is to be deleted.
struct Options {
    preconditions: Value,
    /// Which finalizer comes of it.
    holds: Option<&'static str>,
    grace: Option<u64>,
    is_dry: bool,
}

impl Options {
    fn of(call: &Call, place: Place<'_>) -> Result<Self, Refusal> {
        let told: Value = match call.body.as_slice() {
            [] => Value::Null,
            body if call.media() == super::protobuf::MEDIA => super::protobuf::object(body)?,
            body => serde_json::from_slice(body)
                .map_err(|error| Refusal::bad(format!("the object provided is unrecognized: {error}")))?,
        };
        call.check_dry("DeleteOptions")?;
        let asked = |name: &str| call.query.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let policy = told["propagationPolicy"].as_str().or(asked("propagationPolicy"));
        let orphans = told["orphanDependents"].as_bool().or(asked("orphanDependents").map(|text| text == "true"));
        let holds = match (policy, orphans) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
            (Some("Foreground"), _) => Some(FOREGROUND),
            (Some("Background"), _) | (None, Some(false)) => None,
            // What Jobs have made stays, unless somebody says otherwise.
            (None, None) => (place.kind.kind == "Job").then_some(ORPHAN),
            (Some(other), _) => {
                let known = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
                let message = format!("Unsupported value: \"{other}\": {known}");
                let cause = Cause { reason: "FieldValueNotSupported", message, field: "propagationPolicy".into() };
                return Err(Refusal::invalid("meta.k8s.io", "DeleteOptions", "", &[cause]));
            }
        };
        let grace = told["gracePeriodSeconds"]
            .as_u64()
            .or_else(|| asked("gracePeriodSeconds").and_then(|text| text.parse::<u64>().ok()));
        let is_dry = call.is_dry() || told["dryRun"].as_array().is_some_and(|all| all.contains(&json!("All")));
        Ok(Options { preconditions: told["preconditions"].clone(), holds, grace, is_dry })
    }

    /// Refuses to delete another object than was meant.
    fn check(&self, place: Place<'_>, object: &Value) -> Result<(), Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        for (field, label, why) in [
            ("uid", "UID", "The object might have been deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "The object might have been modified"),
        ] {
            let own = object["metadata"][field].as_str().unwrap_or_default();
            if let Some(wanted) = self.preconditions[field].as_str().filter(|wanted| *wanted != own) {
                let why = format!(
                    "the {label} in the precondition ({wanted}) does not match the {label} in record ({own}). {why}"
                );
                return Err(Refusal::stale_kind(place.kind, name, &why));
            }
        }
        Ok(())
    }
}

/// Marks an object as one that is to go.
pub(in crate::sim::kubernetes) fn mark(object: &mut Value, grace: u64, now: u64) {
    let metadata = &mut object["metadata"];
    if metadata["deletionTimestamp"].is_null() {
        if let Some(generation) = metadata["generation"].as_u64() {
            metadata["generation"] = json!(generation.saturating_add(1));
        }
        metadata["deletionGracePeriodSeconds"] = json!(grace);
        metadata["deletionTimestamp"] = json!(timestamp(now.saturating_add(grace.saturating_mul(1000))));
    }
}

/// The finalizers of an object.
fn finalizers(object: &Value) -> Vec<Value> {
    object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

/// What becomes of an object that is deleted.
enum Fate {
    /// It is there still, so.
    Lingers(Value),
    /// It has gone; this it was.
    Gone(Value),
}

impl Cluster {
    /// Deletes an object: at once, or marks it where somebody has to be asked first.
    pub(super) fn delete(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let object = self.live(place)?;
        let options = Options::of(call, place)?;
        options.check(place, &object)?;
        let name = place.name.unwrap_or_default();
        let headers = match (place.kind.kind.as_str(), call.body.as_slice(), call.query.get("propagationPolicy")) {
            ("Job", [], None) => {
                let text = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
                vec![("warning", format!("299 - \"{text}\""))]
            }
            _ => Vec::new(),
        };
        let shown = |cluster: &Self, object| {
            Ok(Reply { headers: headers.clone(), ..Reply::json(200, cluster.shown(place, object, call.now)) })
        };
        match self.end(call, place, &options, object)? {
            Fate::Lingers(object) => shown(self, object),
            Fate::Gone(object) if RETURNED.contains(&place.kind.kind.as_str()) => shown(self, object),
            Fate::Gone(object) => {
                let mut details = json!({ "name": name });
                if !place.kind.group.is_empty() {
                    details["group"] = json!(place.kind.group);
                }
                details["kind"] = json!(place.kind.resource);
                details["uid"] = object["metadata"]["uid"].clone();
                let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
                Ok(Reply { headers, ..Reply::json(200, status) })
            }
        }
    }

    /// Deletes the objects of a kind that are chosen, and tells which they were.
    pub(super) fn delete_all(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let options = Options::of(call, place)?;
        let text = |name: &str| call.query.get(name).map(String::as_str);
        let selection = Selection::parse(place.kind, text("labelSelector"), text("fieldSelector"))?;
        let chosen: Vec<Value> = self
            .store
            .list(&place.kind.stored(), place.namespace)
            .filter(|object| selection.has(object))
            .cloned()
            .collect();
        let mut items = Vec::new();
        for object in chosen {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
            let own = Place { name: Some(&name), namespace: namespace.as_deref(), ..place };
            options.check(own, &object)?;
            let (Fate::Lingers(object) | Fate::Gone(object)) = self.end(call, own, &options, object)?;
            items.push(object);
        }
        Ok(Reply::json(200, self.list_of(place, items, Form::Plain, json!({}), call.now)))
    }

    /// Ends one object.
    fn end(&mut self, call: &Call, place: Place<'_>, options: &Options, object: Value) -> Result<Fate, Refusal> {
        let name = place.name.unwrap_or_default();
        let key = Key::new(&place.kind.stored(), place.namespace.unwrap_or_default(), name);
        if place.kind.kind == "Namespace" {
            if matches!(name, "default" | "kube-system" | "kube-public" | "kube-node-lease") {
                return Err(Refusal::forbidden_delete(name));
            }
            let mut marked = object;
            if marked["metadata"]["deletionTimestamp"].is_null() {
                marked["metadata"]["deletionTimestamp"] = json!(timestamp(call.now));
                marked["status"]["phase"] = json!("Terminating");
            }
            return Ok(Fate::Lingers(if options.is_dry { marked } else { self.store.put(&key, marked) }));
        }
        let mut marked = object.clone();
        let mut all = finalizers(&object);
        all.retain(|one| one != ORPHAN && one != FOREGROUND);
        all.extend(options.holds.map(|own| json!(own)));
        if place.kind.kind == "CustomResourceDefinition" {
            super::custom::end(&mut marked, call.now);
            if !all.iter().any(|one| one == super::custom::CLEANUP) {
                all.push(json!(super::custom::CLEANUP));
            }
        }
        if place.kind.kind == "Pod" && all.is_empty() {
            return Ok(self.end_pod(&key, object, options, call.now));
        }
        if all.is_empty() {
            if !options.is_dry {
                self.store.remove(&key);
            }
            return Ok(Fate::Gone(object));
        }
        marked["metadata"]["finalizers"] = json!(all);
        if place.kind.kind == "CustomResourceDefinition" {
            if marked["metadata"]["deletionTimestamp"].is_null() {
                marked["metadata"]["deletionTimestamp"] = json!(timestamp(call.now));
            }
        } else {
            mark(&mut marked, 0, call.now);
        }
        let is_same = marked == object;
        Ok(Fate::Lingers(if options.is_dry || is_same { marked } else { self.store.put(&key, marked) }))
    }

    fn end_pod(&mut self, key: &Key, pod: Value, options: &Options, now: u64) -> Fate {
        if options.is_dry {
            return Fate::Lingers(pod);
        }
        match self.let_go_within(key, &pod, options.grace, now) {
            Some(kept) => Fate::Lingers(kept),
            None => {
                let mut gone = pod;
                mark(&mut gone, 0, now);
                Fate::Gone(gone)
            }
        }
    }

    /// Lets those be who belonged to somebody.
    pub(in crate::sim::kubernetes) fn release(&mut self, uid: &str) {
        let is_of = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.into_iter().any(|owner| owner["uid"] == uid)
        };
        let own: Vec<Key> = self.store.everything().filter(|(_, object)| is_of(object)).map(|(key, _)| key).collect();
        for key in own {
            self.store.change(&key, |object| {
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.shift_remove("ownerReferences");
                }
            });
        }
    }
}
