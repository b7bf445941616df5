//! Who owns what of an object after a change, and what an applied configuration makes of it.

use serde_json::Value;

use super::managed::{self, Owner};
use super::status::{Cause, Refusal};
use super::typed;
use super::write::Change;
use crate::sim::kubernetes::store::timestamp;

/// Who owns what after somebody has changed an object without applying: he has what he changed, and nobody else has.
pub(super) fn taken_over(change: &Change<'_>, mut owners: Vec<Owner>, live: &Value, object: &Value) -> Vec<Owner> {
    let (changed, gone) = typed::differences(&change.place.kind.of, live, object);
    if changed.is_empty() && gone.is_empty() {
        return owners;
    }
    for owner in &mut owners {
        owner.fields.retain(|path| !changed.contains(path) && !gone.contains(path));
    }
    let call = change.call;
    let version = change.place.kind.api_version();
    let mut own = Owner::new(&call.manager(), "Update", &version, change.place.part, &timestamp(call.now));
    own.fields = changed;
    match owners.iter_mut().find(|owner| owner.is_same(&own)) {
        Some(known) => {
            known.fields.extend(own.fields);
            known.entry["time"] = own.entry["time"].clone();
        }
        None => owners.push(own),
    }
    owners
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
    if before.as_ref().is_some_and(|before| before.fields == own.fields) && object == without_type(live, &object) {
        // The time of an entry that says what it said before stays.
        own.entry["time"] = before.map(|before| before.entry["time"].clone()).unwrap_or_default();
    }
    owners.push(own);
    Ok((object, owners))
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
