//! Watching objects: what becomes of them, event by event.

use serde_json::{Value, json};

use super::read::{Form, formed};
use super::select::Selection;
use super::status::Refusal;
use super::{Body, Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;

/// How long a watch goes on where nobody says so, in seconds.
const LONG: u64 = 1800;

/// A watch, and how far it has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    path: String,
    selection: Selection,
    form: Form,
    /// The number of the last change that was told.
    seen: u64,
    /// Events that are to be told first.
    first: Vec<Value>,
    /// For how long, in milliseconds.
    pub(crate) lasts: u64,
    /// Whether there is nothing more to tell.
    pub(crate) is_over: bool,
}

impl Cluster {
    /// Begins a watch.
    pub(super) fn watch(&self, call: &Call, place: Place<'_>, form: Form) -> Outcome {
        let text = |name: &str| call.query.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let selection = Selection::parse(place.kind, text("labelSelector"), text("fieldSelector"))?;
        let seconds = text("timeoutSeconds").and_then(|text| text.parse::<u64>().ok()).filter(|seconds| *seconds > 0);
        let initial = text("sendInitialEvents").is_some_and(|text| text == "true");
        if initial && text("resourceVersionMatch") != Some("NotOlderThan") {
            let message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(super::read::forbidden_option("resourceVersionMatch", message));
        }
        let from = text("resourceVersion").unwrap_or("0");
        let from: u64 = from.parse().map_err(|_| {
            Refusal::internal(format!(
                "resourceVersion: Invalid value: \"{from}\": strconv.ParseUint: parsing \"{from}\": invalid syntax"
            ))
        })?;
        let mut watch = Watch {
            path: call.path.clone(),
            selection,
            form,
            seen: self.store.version(),
            first: Vec::new(),
            lasts: seconds.unwrap_or(LONG) * 1000,
            is_over: false,
        };
        if from == 0 || initial {
            let stored = place.kind.stored();
            let own = self.store.list(&stored, place.namespace);
            for object in own.filter(|object| watch.selection.has(object)) {
                watch.first.push(event("ADDED", &self.shown(place, object.clone(), call.now), form, place));
            }
            if initial && text("allowWatchBookmarks").is_some_and(|text| text == "true") {
                let mark = json!({
                    "kind": place.kind.kind, "apiVersion": place.kind.api_version(),
                    "metadata": {
                        "resourceVersion": watch.seen.to_string(),
                        "annotations": { "k8s.io/initial-events-end": "true" },
                    },
                });
                watch.first.push(event("BOOKMARK", &mark, form, place));
            }
        } else if !self.store.remembers(from) {
            let message = format!("too old resource version: {from} ({})", self.store.oldest());
            let status = Refusal::expired(message).reply();
            if let Body::Json(status) = status.body {
                watch.first.push(json!({ "type": "ERROR", "object": status }));
            }
            watch.is_over = true;
        } else {
            watch.seen = from;
        }
        Ok(Reply { status: 200, headers: Vec::new(), body: Body::Events(Box::new(watch)) })
    }

    /// What a watch has to tell now.
    pub(crate) fn tell(&self, watch: &mut Watch, now: u64) -> Vec<Value> {
        let mut all = std::mem::take(&mut watch.first);
        if watch.is_over {
            return all;
        }
        let super::Route::Objects { kind, namespace, name, part: None } = super::route(self, &watch.path) else {
            // The kind is not served any more.
            watch.is_over = true;
            return all;
        };
        let place = Place { kind: &kind, namespace, name, part: None };
        let stored = kind.stored();
        for change in self.store.changes_since(watch.seen) {
            let is_own =
                change.key.resource == stored && namespace.is_none_or(|namespace| change.key.namespace == namespace);
            if !is_own {
                continue;
            }
            let has = |object: Option<&Value>| object.is_some_and(|object| watch.selection.has(object));
            let kind = match (has(change.before.as_ref()), has(change.after.as_ref())) {
                (true, true) => "MODIFIED",
                (false, true) => "ADDED",
                (true, false) => "DELETED",
                (false, false) => continue,
            };
            let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { continue };
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = json!(change.version.to_string());
            all.push(event(kind, &self.shown(place, object, now), watch.form, place));
        }
        watch.seen = self.store.version();
        all
    }
}

fn event(kind: &str, object: &Value, form: Form, place: Place<'_>) -> Value {
    json!({ "type": kind, "object": formed(object, form, place) })
}
