//! Making and changing objects.

use serde_json::{Value, json};

use super::bodies::{decoded, unknown_fields};
use super::defaults;
use super::kinds::Kind;
use super::managed::{self, Owner};
use super::ownership::{put_over, taken_over};
use super::patching::{drop_nulls, merge, steps};
use super::schema;
use super::status::{Cause, Refusal};
use super::typed;
use super::usual;
use super::{Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, fresh_uid, timestamp};

/// Words of two refusals that come from several places.
pub(super) const STALE: &str =
    "the object has been modified; please apply your changes to the latest version and try again";
const OTHER_TYPE: &str = "invalid object type: ";

/// What becomes of a change.
pub(super) struct Change<'a> {
    pub(super) call: &'a Call,
    pub(super) place: Place<'a>,
    key: Key,
}

/// Who owns what after a change.
pub(super) enum Owners {
    Known(Vec<Owner>),
    /// Those before, and who changes it has what he changes.
    Changing(Vec<Owner>),
}

impl Cluster {
    /// Makes an object.
    pub(super) fn create(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let kind = place.kind;
        call.check_dry("CreateOptions")?;
        let mut object = call.object(kind)?;
        schema::check_form(kind, &object)?;
        let (told, version) = (object["kind"].as_str(), object["apiVersion"].as_str());
        if told.is_some_and(|told| told != kind.kind) || version.is_some_and(|version| version != kind.api_version()) {
            let (told, version) = (told.unwrap_or_default(), version.unwrap_or_default());
            return Err(Refusal::bad(format!(
                "{told} in version \"{version}\" cannot be handled as a {}: converting ({version}.{told}) to (core.{}): unknown conversion",
                kind.kind, kind.kind
            )));
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        check_namespace(&object, place)?;
        let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default().to_owned();
        if object["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
            if prefix.is_empty() {
                let message = "Required value: name or generateName is required".to_owned();
                let cause = Cause { reason: "FieldValueRequired", message, field: "metadata.name".into() };
                return Err(Refusal::invalid(&kind.group, &kind.kind, "", &[cause]));
            }
            object["metadata"]["name"] = json!(format!("{prefix}{}", &fresh_uid()[..5]));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.check_home(place)?;
        let key = Key::new(&kind.stored(), place.namespace.unwrap_or_default(), &name);
        if self.store.get(&key).is_some() {
            return Err(Refusal::already_exists(kind, &name));
        }
        let headers = unknown_fields(call, kind, &object)?;
        drop_unknown(kind, &mut object);
        let change = Change { call, place, key };
        let object = self.finish(&change, None, object, Owners::Changing(Vec::new()))?;
        let headers = [headers, self.warnings(place, None, &object)].concat();
        Ok(Reply { headers, ..Reply::json(201, self.shown(place, object, call.now)) })
    }

    /// Puts an object in the place of one that is there.
    pub(super) fn update(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        call.check_dry("UpdateOptions")?;
        let name = place.name.unwrap_or_default();
        let object = call.object(place.kind)?;
        match object["metadata"]["name"].as_str() {
            Some(other) if other != name => {
                let message = format!("the name of the object ({other}) does not match the name on the URL ({name})");
                return Err(Refusal::bad(message));
            }
            _ => {}
        }
        check_namespace(&object, place)?;
        let live = self.live(place)?;
        self.replace(call, place, live, object)
    }

    /// Changes an object in one of four ways.
    pub(super) fn patch(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let wrong = |reason: &'static str, message: &str, field: &str| {
            let cause = Cause { reason, message: message.into(), field: field.into() };
            Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[cause])
        };
        if call.query.get("fieldManager").is_some_and(|name| name.len() > 128) {
            return Err(wrong("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"));
        }
        if call.media() != super::APPLY && call.query.contains_key("force") {
            return Err(wrong("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force"));
        }
        match call.media() {
            super::APPLY => self.apply(call, place),
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                call.check_dry("PatchOptions")?;
                let live = self.live(place)?;
                let patch = decoded(&call.body)?;
                let mut object = live.clone();
                if call.media().contains("strategic") {
                    if place.kind.custom.is_some() {
                        return Err(Refusal::no_such_patch());
                    }
                    super::strategic::patch(&place.kind.of, &mut object, &patch)?;
                } else {
                    merge(&mut object, &patch);
                }
                self.replace(call, place, live, object)
            }
            "application/json-patch+json" => {
                call.check_dry("PatchOptions")?;
                let live = self.live(place)?;
                let mut object = live.clone();
                steps(&mut object, &call.body)?;
                self.replace(call, place, live, object)
            }
            _ => Err(Refusal::no_such_patch()),
        }
    }

    /// The object that a path leads to.
    pub(super) fn live(&self, place: Place<'_>) -> Result<Value, Refusal> {
        let name = place.name.unwrap_or_default();
        let key = Key::new(&place.kind.stored(), place.namespace.unwrap_or_default(), name);
        self.store.get(&key).cloned().ok_or_else(|| Refusal::not_found(place.kind, name))
    }

    pub(super) fn replace(&mut self, call: &Call, place: Place<'_>, live: Value, mut object: Value) -> Outcome {
        schema::check_form(place.kind, &object)?;
        let name = place.name.unwrap_or_default();
        if let Some(other) = object["metadata"]["name"].as_str().filter(|other| *other != name) {
            let message = format!("the name of the object ({other}) does not match the name on the URL ({name})");
            return Err(Refusal::bad(message));
        }
        let uid = &object["metadata"]["uid"];
        if uid.as_str().is_some_and(|uid| !uid.is_empty() && live["metadata"]["uid"] != uid) {
            return Err(other_uid(place, uid.as_str().unwrap_or_default()));
        }
        let (wanted, own) = (&object["metadata"]["resourceVersion"], &live["metadata"]["resourceVersion"]);
        if wanted.as_str().is_some_and(|wanted| Some(wanted) != own.as_str()) {
            return Err(Refusal::conflict(place.kind, name, STALE));
        }
        for part in ["uid", "creationTimestamp", "name", "namespace", "generation", "resourceVersion"] {
            if let Some(own) = live["metadata"].get(part) {
                object["metadata"][part] = own.clone();
            }
        }
        // Status and the rest are written apart.
        if place.part == Some("status") {
            let status = object["status"].clone();
            object = live.clone();
            object["status"] = status;
        } else if let Some(status) = live.get("status") {
            object["status"] = status.clone();
        }
        let headers = unknown_fields(call, place.kind, &object)?;
        drop_unknown(place.kind, &mut object);
        let key = Key::new(&place.kind.stored(), place.namespace.unwrap_or_default(), name);
        let change = Change { call, place, key };
        let owners = match object["metadata"]["managedFields"].as_array().map(Vec::as_slice) {
            // One entry that says nothing takes all of them away; none at all leaves them.
            Some([one]) if one.as_object().is_some_and(serde_json::Map::is_empty) => Owners::Known(Vec::new()),
            None | Some([]) => Owners::Changing(managed::owners(&live)),
            Some(_) => Owners::Changing(managed::owners(&object)),
        };
        let object = self.finish(&change, Some(live.clone()), object, owners)?;
        let headers = [headers, self.warnings(place, Some(&live), &object)].concat();
        Ok(Reply { headers, ..Reply::json(200, self.shown(place, object, call.now)) })
    }

    /// Applies a configuration.
    fn apply(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let kind = place.kind;
        call.check_dry("PatchOptions")?;
        let required = |message: &str| {
            let cause = Cause { reason: "FieldValueRequired", message: message.into(), field: "fieldManager".into() };
            Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[cause])
        };
        let manager = call.query.get("fieldManager").filter(|text| !text.is_empty());
        let manager = manager.ok_or_else(|| required("Required value: is required for apply patch"))?;
        let mut applied = call.yaml().map_err(|error| Refusal::bad(format!("error decoding YAML: {error}")))?;
        if !applied.is_object() {
            return Err(Refusal::bad("error decoding YAML: the body is no object"));
        }
        let text = |name: &str| applied[name].as_str().unwrap_or_default().to_owned();
        let (version, told) = (text("apiVersion"), text("kind"));
        if version != kind.api_version() || told != kind.kind {
            // The oldest group has no name.
            let version = if version.contains('/') || told.is_empty() && !version.is_empty() {
                version
            } else {
                format!("/{version}")
            };
            return Err(Refusal::bad(format!("{OTHER_TYPE}{version}, Kind={told}")));
        }
        if applied["metadata"].is_null() {
            applied["metadata"] = json!({ "name": place.name });
        }
        if applied["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(Refusal::bad("metadata.managedFields must be nil"));
        }
        let name = place.name.unwrap_or_default();
        if let Some(other) = applied["metadata"]["name"].as_str().filter(|other| *other != name) {
            let message = format!("the name of the object ({other}) does not match the name on the URL ({name})");
            return Err(Refusal::bad(message));
        }
        check_namespace(&applied, place)?;
        if let Some(fault) = typed::faults(&kind.of, &applied) {
            let version = if kind.group.is_empty() { format!("/{}", kind.version) } else { kind.api_version() };
            let namespace = applied["metadata"]["namespace"].as_str().unwrap_or_default();
            return Err(Refusal::internal(format!(
                "failed to create typed patch object ({namespace}/{name}; {version}, Kind={}): {fault}",
                kind.kind
            )));
        }
        drop_nulls(&mut applied);
        // Status and the rest are applied apart.
        if let Some(map) = applied.as_object_mut().filter(|_| kind.part("status").is_some()) {
            match place.part {
                None => drop(map.shift_remove("status")),
                Some("status") => {
                    map.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
                }
                Some(_) => {}
            }
        }
        let key = Key::new(&kind.stored(), place.namespace.unwrap_or_default(), name);
        let live = self.store.get(&key).cloned();
        let stale = |field: &str| {
            let wanted = applied["metadata"][field].as_str().filter(|text| !text.is_empty());
            let own = live.as_ref().and_then(|live| live["metadata"][field].as_str());
            wanted.filter(|wanted| Some(*wanted) != own).map(str::to_owned)
        };
        if let Some(uid) = stale("uid") {
            if live.is_some() {
                return Err(other_uid(place, &uid));
            }
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Refusal::conflict(kind, name, &why));
        }
        if live.is_some() && stale("resourceVersion").is_some() {
            return Err(Refusal::conflict(kind, name, STALE));
        }
        if live.is_none() {
            self.check_home(place)?;
        }
        let change = Change { call, place, key };
        let (object, owners) = put_over(&change, manager, live.as_ref(), &applied)?;
        let status = if live.is_some() { 200 } else { 201 };
        let object = self.finish(&change, live.clone(), object, Owners::Known(owners))?;
        let headers = self.warnings(place, live.as_ref(), &object);
        Ok(Reply { headers, ..Reply::json(status, self.shown(place, object, call.now)) })
    }

    /// What those who look at changes say of one that they let in.
    fn warnings(&self, place: Place<'_>, live: Option<&Value>, object: &Value) -> Vec<(&'static str, String)> {
        let all = match (place.kind.kind.as_str(), live) {
            _ if place.part.is_some() => Vec::new(),
            ("Namespace", Some(live)) => self.now_forbidden(live, object),
            // What has not become another pod is not judged again.
            ("Pod", Some(live)) if live["spec"] == object["spec"] => Vec::new(),
            _ => self.security_warnings(place.kind, place.namespace.unwrap_or_default(), object),
        };
        let warning = |text: &String| ("warning", format!("299 - \"{}\"", text.replace('"', "\\\"")));
        all.iter().map(warning).collect()
    }

    /// Refuses to make something in a namespace that is not there, or will not be for long.
    fn check_home(&self, place: Place<'_>) -> Result<(), Refusal> {
        let Some(name) = place.namespace else { return Ok(()) };
        match self.store.get(&Key::new("namespaces", "", name)) {
            None => Err(Refusal::no_namespace(name)),
            Some(namespace) if namespace["status"]["phase"] == "Terminating" => {
                Err(Refusal::terminating(place.kind, place.name.unwrap_or_default(), name))
            }
            Some(_) => Ok(()),
        }
    }

    /// Completes an object, looks whether it may be so, and puts it in its place, unless that is only tried.
    fn finish(
        &mut self,
        change: &Change<'_>,
        live: Option<Value>,
        mut object: Value,
        owners: Owners,
    ) -> Result<Value, Refusal> {
        let (kind, call) = (change.place.kind, change.call);
        if let Some(map) = object.as_object_mut() {
            map.shift_remove("kind");
            map.shift_remove("apiVersion");
        }
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(change.key.name);
        if kind.namespaced {
            metadata["namespace"] = json!(change.key.namespace);
        }
        if live.is_none() {
            metadata["uid"] = json!(fresh_uid());
            metadata["creationTimestamp"] = json!(timestamp(call.now));
        }
        if kind.custom.is_none() && !usual::normalize(&kind.of, &mut object) {
            let version = if kind.group.is_empty() { format!("/{}", kind.version) } else { kind.api_version() };
            return Err(Refusal::internal(format!(
                "failed to convert new object (/{}; {version}, Kind={}) to proper version: unable to convert unstructured object to {version}, Kind={}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                change.key.name, kind.kind, kind.kind
            )));
        }
        defaults::complete(kind, &mut object, live.as_ref());
        let owners = match owners {
            Owners::Known(owners) => owners,
            Owners::Changing(before) => {
                let none = json!({});
                let (live, object) = (live.as_ref().unwrap_or(&none), usual::told(kind, &object, live.as_ref()));
                taken_over(change, before, live, &object)
            }
        };
        if live.is_none() {
            self.admit_object(kind, &change.key, &mut object)?;
        }
        let causes = super::validation::faults(kind, &object, live.as_ref(), change.place.part);
        if !causes.is_empty() {
            return Err(Refusal::invalid(&kind.group, &kind.kind, &change.key.name, &causes));
        }
        if kind.kind == "Service" {
            if let Some((index, port)) = self.lent_already(&object) {
                let message = format!("Invalid value: {port}: provided port is already allocated");
                let field = format!("spec.ports[{index}].nodePort");
                let cause = Cause { reason: "FieldValueInvalid", message, field };
                return Err(Refusal::invalid("", "Service", &change.key.name, &[cause]));
            }
            self.lend(&mut object);
        }
        let Some(live) = live else {
            managed::write_owners(&mut object, owners);
            return Ok(if call.is_dry() { object } else { self.store.put(&change.key, object) });
        };
        let spec_changed = object.get("spec") != live.get("spec");
        if spec_changed && let Some(generation) = live["metadata"]["generation"].as_u64() {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let same_owners = |owners: &[Owner]| {
            let known = managed::owners(&live);
            owners.iter().all(|one| known.iter().any(|other| one.is_same(other) && one.fields == other.fields))
                && owners.len() == known.len()
        };
        let bare = |object: &Value| {
            let mut object = object.clone();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.shift_remove("managedFields");
            }
            object
        };
        let owners: Vec<Owner> = owners.into_iter().filter(|owner| !owner.fields.is_empty()).collect();
        if bare(&object) == bare(&live) && same_owners(&owners) {
            return Ok(live);
        }
        managed::write_owners(&mut object, owners);
        if call.is_dry() {
            return Ok(object);
        }
        // Who waited for the last finalizer to go has waited long enough.
        let gone = !object["metadata"]["deletionTimestamp"].is_null()
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if gone && kind.kind != "Pod" && kind.kind != "Namespace" && kind.kind != "Node" {
            self.store.remove(&change.key);
            return Ok(object);
        }
        Ok(self.store.put(&change.key, object))
    }
}

/// Takes out the fields that objects of a kind do not have.
fn drop_unknown(kind: &Kind, object: &mut Value) {
    typed::prune(&kind.of, object);
}

/// Refuses to make an object another one.
fn other_uid(place: Place<'_>, uid: &str) -> Refusal {
    let message = format!("Invalid value: \"{uid}\": field is immutable");
    let cause = Cause { reason: "FieldValueInvalid", message, field: "metadata.uid".into() };
    Refusal::invalid(&place.kind.group, &place.kind.kind, place.name.unwrap_or_default(), &[cause.clone(), cause])
}

fn check_namespace(object: &Value, place: Place<'_>) -> Result<(), Refusal> {
    match object["metadata"]["namespace"].as_str().filter(|text| !text.is_empty()) {
        Some(other) if Some(other) != place.namespace => {
            Err(Refusal::bad("the namespace of the provided object does not match the namespace sent on the request"))
        }
        _ => Ok(()),
    }
}
