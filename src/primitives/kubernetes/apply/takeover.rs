//! Objects that `kubectl apply` has made: its fields become ours, so that those which we leave out go away. It says whose they are
//! in `metadata.managedFields`; nothing but a change of that list passes them on.

use serde_json::{Map, Value as Json, json};

use super::super::reads::text;

/// The manager under which `kubectl apply` sets fields.
const KUBECTL: &str = "kubectl-client-side-apply";
/// What it keeps of the last manifest, as a field of the list.
const NOTE: &str = "/fieldsV1/f:metadata/f:annotations/f:kubectl.kubernetes.io~1last-applied-configuration";

/// Whether `kubectl apply` has set fields of an object.
pub(super) fn is_of_kubectl(live: &Json) -> bool {
    entries(live).any(is_kubectls)
}

fn entries(live: &Json) -> impl Iterator<Item = &Json> {
    live.pointer("/metadata/managedFields").and_then(Json::as_array).into_iter().flatten()
}

fn is_kubectls(entry: &Json) -> bool {
    let is_whole = text(entry, "/operation") == "Update" && text(entry, "/subresource").is_empty();
    is_whole && (text(entry, "/manager") == KUBECTL || entry.pointer(NOTE).is_some())
}

fn is_ours(entry: &Json, manager: &str) -> bool {
    text(entry, "/operation") == "Apply" && text(entry, "/manager") == manager && text(entry, "/subresource").is_empty()
}

/// An object without what `kubectl apply` has set, is not asked for, and nobody else has set as well.
pub(super) fn without_left_out(object: &Json, live: &Json, asked: &Json, manager: &str) -> Json {
    let others = |entry: &&Json| !is_kubectls(entry) && !is_ours(entry, manager);
    let others: Vec<&Json> = entries(live).filter(others).filter_map(|entry| entry.get("fieldsV1")).collect();
    let mut left = object.clone();
    for fields in entries(live).filter(|entry| is_kubectls(entry)).filter_map(|entry| entry.get("fieldsV1")) {
        take_out(&mut left, fields, Some(asked), &others);
    }
    if let Some(metadata) = left.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("managedFields");
    }
    left
}

/// An object without what we have set and do not ask for any more.
pub(super) fn without_ours(live: &Json, asked: &Json, manager: &str) -> Json {
    let mut left = live.clone();
    for fields in entries(live).filter(|entry| is_ours(entry, manager)).filter_map(|entry| entry.get("fieldsV1")) {
        take_out(&mut left, fields, Some(asked), &[]);
    }
    left
}

/// The steps of a patch that makes the fields of `kubectl apply` ours. `None` where it has none.
pub(super) fn handed_over(live: &Json, manager: &str) -> Option<Json> {
    let mut fields = json!({});
    let given: Vec<&Json> = entries(live).filter(|entry| is_kubectls(entry) || is_ours(entry, manager)).collect();
    given.iter().filter_map(|entry| entry.get("fieldsV1")).for_each(|more| join(&mut fields, more));
    let first = given.iter().find(|entry| is_kubectls(entry))?;
    let ours = json!({
        "manager": manager, "operation": "Apply", "apiVersion": text(first, "/apiVersion"), "time": text(first, "/time"),
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    let others = entries(live).filter(|entry| !is_kubectls(entry) && !is_ours(entry, manager)).cloned();
    let list: Vec<Json> = std::iter::once(ours).chain(others).collect();
    Some(json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": list },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion") },
    ]))
}

/// One set of fields and another.
fn join(fields: &mut Json, more: &Json) {
    let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) else { return };
    for (name, more) in more {
        join(fields.entry(name.clone()).or_insert_with(|| json!({})), more);
    }
}

/// Takes fields out of a value: those that are not asked for, and that no others have.
fn take_out(value: &mut Json, fields: &Json, asked: Option<&Json>, others: &[&Json]) {
    for (name, inner) in fields.as_object().into_iter().flatten() {
        let others: Vec<&Json> = others.iter().filter_map(|other| other.get(name)).collect();
        match name.split_once(':') {
            Some(("f", field)) => {
                let asked = asked.and_then(|asked| asked.get(field));
                let Some(map) = value.as_object_mut() else { continue };
                if map.get_mut(field).is_some_and(|value| goes(value, inner, asked, &others)) {
                    map.shift_remove(field);
                }
            }
            Some((kind @ ("k" | "v"), what)) => {
                let Ok(what) = serde_json::from_str::<Json>(what) else { continue };
                let is_it = |item: &Json| if kind == "v" { *item == what } else { has(item, &what) };
                let asked = asked.and_then(Json::as_array).and_then(|all| all.iter().find(|item| is_it(item)));
                let Some(items) = value.as_array_mut() else { continue };
                if let Some(place) = items.iter().position(is_it)
                    && goes(&mut items[place], inner, asked, &others)
                {
                    items.remove(place);
                }
            }
            _ => {}
        }
    }
}

/// Whether a value goes as a whole; else what of it goes is taken out.
fn goes(value: &mut Json, fields: &Json, asked: Option<&Json>, others: &[&Json]) -> bool {
    let parts = fields.as_object().is_some_and(|fields| fields.keys().any(|name| name != "."));
    if !parts {
        return asked.is_none() && others.is_empty();
    }
    take_out(value, fields, asked, others);
    let is_item = fields.get(".").is_some() && value.as_object().is_some_and(|map| !map.is_empty());
    let is_empty = value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
    asked.is_none() && others.is_empty() && (is_empty || is_item)
}

/// Whether an item of a list has these keys.
fn has(item: &Json, keys: &Json) -> bool {
    keys.as_object().is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Json) -> Json {
        json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "time": "t", "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    fn map() -> Json {
        let data = json!({ "f:data": { ".": {}, "f:a": {}, "f:b": {}, "f:c": {} } });
        json!({
            "metadata": { "name": "app", "resourceVersion": "7", "managedFields": [
                entry("homelab", "Apply", &json!({ "f:data": { "f:a": {} } })),
                entry(KUBECTL, "Update", &data),
                entry("other", "Update", &json!({ "f:data": { "f:c": {} } })),
            ] },
            "data": { "a": "1", "b": "1", "c": "1" },
        })
    }

    #[test]
    fn what_kubectl_has_set_and_is_left_out_goes_unless_others_have_it_too() {
        let left = without_left_out(&map(), &map(), &json!({ "data": { "a": "1" } }), "homelab");
        assert_eq!(left["data"], json!({ "a": "1", "c": "1" }));
        let none = without_left_out(&map(), &map(), &json!({}), "homelab");
        assert_eq!(none["data"], json!({ "c": "1" }));
    }

    #[test]
    fn items_of_lists_go_by_their_keys() {
        let fields = json!({ "f:spec": { "f:ports": {
            "k:{\"port\":80}": { ".": {}, "f:port": {}, "f:name": {} }, "k:{\"port\":443}": { ".": {}, "f:port": {}, "f:name": {} },
        }, "f:finalizers": { "v:\"x\"": {}, "v:\"y\"": {} } } });
        let live = json!({
            "metadata": { "managedFields": [entry(KUBECTL, "Update", &fields)] },
            "spec": { "ports": [{ "port": 80, "name": "a" }, { "port": 443, "name": "b" }], "finalizers": ["x", "y"] },
        });
        let asked = json!({ "spec": { "ports": [{ "port": 80 }], "finalizers": ["y"] } });
        let left = without_left_out(&live, &live, &asked, "homelab");
        assert_eq!(left["spec"], json!({ "ports": [{ "port": 80 }], "finalizers": ["y"] }));
    }

    #[test]
    fn its_entry_becomes_ours_and_a_stale_object_is_a_conflict() {
        let steps = handed_over(&map(), "homelab").unwrap();
        let list = steps[0]["value"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0]["manager"], "homelab");
        assert_eq!(list[0]["operation"], "Apply");
        assert_eq!(list[0]["fieldsV1"], json!({ "f:data": { "f:a": {}, ".": {}, "f:b": {}, "f:c": {} } }));
        assert_eq!(steps[1], json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": "7" }));
        let theirs = json!({ "metadata": { "managedFields": [entry("flux", "Apply", &json!({}))] } });
        assert_eq!(handed_over(&theirs, "homelab"), None);
    }
}
