//! Deleting objects.

use serde_json::{Value, json};

use super::status::Refusal;
use super::{Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};

impl Cluster {
    /// Deletes an object: at once, or marks it where somebody has to be asked first.
    pub(super) fn delete(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let name = place.name.unwrap_or_default();
        let key = Key::new(&place.kind.stored(), place.namespace.unwrap_or_default(), name);
        let object = self.store.get(&key).cloned().ok_or_else(|| Refusal::not_found(place.kind, name))?;
        let options: Value = match call.body.as_slice() {
            [] => Value::Null,
            body => serde_json::from_slice(body)
                .map_err(|error| Refusal::bad(format!("the object provided is unrecognized: {error}")))?,
        };
        for field in ["uid", "resourceVersion"] {
            let (wanted, own) = (&options["preconditions"][field], &object["metadata"][field]);
            if let Some(wanted) = wanted.as_str().filter(|wanted| Some(*wanted) != own.as_str()) {
                let label = if field == "uid" { "UID" } else { "ResourceVersion" };
                let own = own.as_str().unwrap_or_default();
                let why = format!("{label} in precondition: {wanted}, {label} in object meta: {own}");
                return Err(Refusal::conflict(place.kind, name, &format!("Precondition failed: {why}")));
            }
        }
        let is_dry = call.is_dry() || options["dryRun"].as_array().is_some_and(|all| all.contains(&json!("All")));
        let policy = options["propagationPolicy"].as_str().or(call.query.get("propagationPolicy").map(String::as_str));
        // What Jobs have made stays, unless somebody says otherwise.
        let orphans = policy.map_or(place.kind.kind == "Job", |policy| policy == "Orphan");
        if orphans && !is_dry {
            self.release(object["metadata"]["uid"].as_str().unwrap_or_default());
        }
        if place.kind.kind == "Pod" && !is_dry {
            if let Some(kept) = self.let_go(&key, &object, call.now) {
                return Ok(Reply::json(200, self.shown(place, kept, call.now)));
            }
            return Ok(Reply::json(200, self.shown(place, object, call.now)));
        }
        if policy == Some("Foreground") {
            return Err(Refusal::not_simulated("deleting in the foreground"));
        }
        if place.kind.kind == "Namespace" {
            if matches!(name, "default" | "kube-system" | "kube-public" | "kube-node-lease") {
                return Err(Refusal::forbidden_delete(name));
            }
            let mut marked = object;
            if marked["metadata"]["deletionTimestamp"].is_null() {
                marked["metadata"]["deletionTimestamp"] = json!(timestamp(call.now));
                marked["status"]["phase"] = json!("Terminating");
            }
            let kept = if is_dry { marked } else { self.store.put(&key, marked) };
            return Ok(Reply::json(200, self.shown(place, kept, call.now)));
        }
        let lingers = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if lingers {
            let mut marked = object;
            if marked["metadata"]["deletionTimestamp"].is_null() {
                marked["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                marked["metadata"]["deletionTimestamp"] = json!(timestamp(call.now));
            }
            let kept = if is_dry { marked } else { self.store.put(&key, marked) };
            return Ok(Reply::json(200, self.shown(place, kept, call.now)));
        }
        if !is_dry {
            self.store.remove(&key);
        }
        let mut details = json!({ "name": name });
        if !place.kind.group.is_empty() {
            details["group"] = json!(place.kind.group);
        }
        details["kind"] = json!(place.kind.resource);
        details["uid"] = object["metadata"]["uid"].clone();
        Ok(Reply::json(
            200,
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details }),
        ))
    }

    /// Lets those be who belonged to somebody.
    fn release(&mut self, uid: &str) {
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
