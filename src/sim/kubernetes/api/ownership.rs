//! Who owns what of an object after a change, and what an applied configuration makes of it.

use serde_json::{Value, json};

use super::managed::{self, Owner};
use super::status::{Cause, Refusal};
use super::types::Type;
use super::write::Change;
use super::{kinds, typed};
use crate::sim::kubernetes::store::{Hand, timestamp};

/// Who owns what after somebody has changed an object without applying: he has what he changed, and nobody else has.
pub(super) fn taken_over(change: &Change<'_>, owners: Vec<Owner>, live: &Value, object: &Value) -> Vec<Owner> {
    // Where nobody owned anything of an object that is there already, that stays so until somebody applies.
    if owners.is_empty() && !live["metadata"]["uid"].is_null() {
        return owners;
    }
    let call = change.call;
    let version = change.place.kind.api_version();
    let mut own = Owner::new(&call.manager(), "Update", &version, change.place.part, &timestamp(call.now));
    // Of who scales the API does not note when he did.
    if change.place.part == Some("scale")
        && let Some(entry) = own.entry.as_object_mut()
    {
        entry.shift_remove("time");
    }
    with_changes(&change.place.kind.of, own, owners, live, object)
}

/// Puts what somebody has changed into his entry, and takes it out of all others.
fn with_changes(of: &Type, mut own: Owner, mut owners: Vec<Owner>, live: &Value, object: &Value) -> Vec<Owner> {
    let (changed, gone) = typed::differences(of, live, object);
    if changed.is_empty() && gone.is_empty() {
        return owners;
    }
    for owner in &mut owners {
        owner.fields.retain(|path| !changed.contains(path) && !gone.contains(path));
    }
    own.fields = changed;
    match owners.iter_mut().find(|owner| owner.is_same(&own)) {
        Some(known) => {
            known.fields.extend(own.fields);
            if let Some(time) = own.entry.get("time") {
                known.entry["time"] = time.clone();
            }
        }
        None => owners.push(own),
    }
    owners
}

/// Notes what a part of the cluster has changed of an object, or that it has made it: its status is written apart, unless it
/// writes all at once. Custom objects are left to those who define them.
pub(in crate::sim::kubernetes) fn sign(hand: &Hand, resource: &str, before: Option<&Value>, after: &mut Value) {
    let Some(kind) = kinds::stored(resource).filter(|kind| kind.custom.is_none()) else { return };
    let none = json!({});
    let live = before.unwrap_or(&none);
    let mut owners = managed::owners(after);
    if before.is_some() && owners.is_empty() {
        return;
    }
    let own = |part| Owner::new(hand.name, "Update", &kind.api_version(), part, &timestamp(hand.now));
    let status = Some("status");
    let parts = match (before, hand.with_status) {
        // What is new has no status yet that anybody would have written.
        (None, _) => vec![(None, picked(live, after, |name| name != "status"))],
        (Some(_), true) => vec![(status, picked(live, after, |_| true))],
        (Some(_), false) if kind.kind == "Event" => vec![(None, picked(live, after, |_| true))],
        (Some(_), false) => vec![
            (None, picked(live, after, |name| name != "status")),
            (status, picked(live, after, |name| name == "status")),
        ],
    };
    for (part, (old, new)) in parts {
        if old != new {
            owners = with_changes(&kind.of, own(part), owners, &old, &new);
        }
    }
    managed::write_owners(after, owners);
}

/// Has a controller that applies own a field, which is whole and was anybody's.
pub(in crate::sim::kubernetes) fn own_field(object: &mut Value, manager: &str, resource: &str, field: &str, now: u64) {
    let Some(kind) = kinds::stored(resource) else { return };
    let mut own = Owner::new(manager, "Apply", &kind.api_version(), None, &timestamp(now));
    let path = vec![field.to_owned()];
    let mut owners = managed::owners(object);
    owners.retain(|owner| !owner.is_same(&own));
    for owner in &mut owners {
        owner.fields.remove(&path);
    }
    own.fields.insert(path);
    owners.push(own);
    managed::write_owners(object, owners);
}

/// Those parts of an object before and after a change that are others now, of those that are wanted.
fn picked(before: &Value, after: &Value, wanted: impl Fn(&str) -> bool) -> (Value, Value) {
    let part = |of: &Value, other: &Value| -> Value {
        let all = of.as_object().into_iter().flatten();
        let own = all.filter(|(name, value)| wanted(name) && other.get(name.as_str()) != Some(*value));
        Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    (part(before, after), part(after, before))
}

/// Puts an applied configuration over an object: what it had and has no more is taken out, unless somebody else has it too.
pub(super) fn put_over(
    change: &Change<'_>,
    manager: &str,
    live: Option<&Value>,
    applied: &Value,
) -> Result<(Value, Vec<Owner>), Refusal> {
    let call = change.call;
    let mut own =
        Owner::new(manager, "Apply", &change.place.kind.api_version(), change.place.part, &timestamp(call.now));
    own.fields = typed::fields(&change.place.kind.of, applied);
    let Some(live) = live else { return Ok((applied.clone(), vec![own])) };
    let of = &change.place.kind.of;
    let mut owners = managed::owners(live);
    if owners.is_empty() {
        owners.extend(earlier(change, live));
    }
    let before = owners.iter().position(|owner| owner.is_same(&own)).map(|at| owners.remove(at));
    let forced = call.query.get("force").is_some_and(|text| text == "true");
    let mut causes = Vec::new();
    for owner in &mut owners {
        let differs = |path: &&managed::Path| {
            // What has parts is contested by its parts.
            let (now, told) = (typed::at(of, live, path), typed::at(of, applied, path));
            told.is_some() && own.fields.contains(*path) && typed::differ(of, path, now, told)
        };
        let contested: Vec<managed::Path> = owner.fields.iter().filter(differs).cloned().collect();
        for path in contested {
            if forced {
                owner.fields.remove(&path);
            } else {
                let message = owner.conflict();
                causes.push(Cause { reason: "FieldManagerConflict", message, field: managed::shown(&path) });
            }
        }
    }
    if !causes.is_empty() {
        return Err(Refusal::owned_by_others(&causes));
    }
    let mut object = live.clone();
    // In order: what holds others goes before them, with all that is in it. What an item is told by stays as long as it does.
    for path in before.iter().flat_map(|before| before.fields.difference(&own.fields)) {
        let is_kept = |fields: &managed::Fields| fields.iter().any(|other| other.starts_with(path));
        if managed::is_key(path) {
            continue;
        }
        if !owners.iter().any(|owner| is_kept(&owner.fields)) && !is_kept(&own.fields) {
            typed::remove(of, &mut object, path);
        }
    }
    let mut wanted = applied.clone();
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        for part in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.shift_remove(part);
        }
    }
    typed::merge(of, &mut object, &wanted);
    if object == without_type(live, &object) {
        // Who has changed nothing keeps the time at which he last did, if he ever did.
        let time = before.and_then(|before| before.entry.get("time").cloned());
        match (time, own.entry.as_object_mut()) {
            (Some(time), Some(entry)) => drop(entry.insert("time".to_owned(), time)),
            (None, Some(entry)) => drop(entry.shift_remove("time")),
            (_, None) => {}
        }
    }
    owners.push(own);
    Ok((object, owners))
}

/// Whoever has made an object of which nobody knows that.
fn earlier(change: &Change<'_>, live: &Value) -> Option<Owner> {
    let kind = change.place.kind;
    let time = timestamp(change.call.now);
    let own = Owner::new("before-first-apply", "Update", &kind.api_version(), change.place.part, &time);
    with_changes(&kind.of, own, Vec::new(), &json!({}), live).pop()
}

/// An object with the kind and version of another.
fn without_type(live: &Value, other: &Value) -> Value {
    let mut live = live.clone();
    for name in ["apiVersion", "kind"] {
        if let Some(value) = other.get(name) {
            live[name] = value.clone();
        }
    }
    live
}
