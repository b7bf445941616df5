//! Patches that know the types of what they change: lists of built-in kinds are merged item by item, and directives say more.

use serde_json::{Map, Value, json};

use super::status::Refusal;
use super::types::{Items, Type};

/// Lists that come and go as a whole when somebody applies, and have a key all the same when somebody patches.
const BY_KEY: [(&str, &str); 1] = [("taints", "key")];

/// What a directive is about: `$setElementOrder/containers`.
const ORDER: &str = "$setElementOrder/";
const TAKE_OUT: &str = "$deleteFromPrimitiveList/";

/// By which field the items of a list are told apart; nothing where it is replaced.
fn key_of(of: &Type, name: &str) -> Option<String> {
    match of.items().1 {
        Items::Keyed(keys) => keys.first().cloned(),
        _ => BY_KEY.iter().find(|(list, _)| *list == name).map(|(_, key)| (*key).to_owned()),
    }
}

/// Puts a patch over an object.
pub(super) fn patch(of: &Type, object: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let Value::Object(patch) = patch else {
        return Err(Refusal::bad("cannot unmarshal array into Go value of type map"));
    };
    over(of, object, patch)
}

fn over(of: &Type, object: &mut Value, patch: &Map<String, Value>) -> Result<(), Refusal> {
    match patch.get("$patch").and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            let rest = patch.iter().filter(|(name, _)| *name != "$patch");
            *object = Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect());
            return Ok(());
        }
        Some("delete") => {
            *object = json!({});
            return Ok(());
        }
        Some(other) => return Err(Refusal::bad(format!("unknown patch type: {other}"))),
    }
    if !object.is_object() {
        *object = json!({});
    }
    let Some(map) = object.as_object_mut() else { return Ok(()) };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|name, _| kept.iter().any(|one| one == name));
    }
    for (name, gone) in patch.iter().filter_map(|(name, gone)| Some((name.strip_prefix(TAKE_OUT)?, gone))) {
        let gone = gone.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(Value::Array(items)) = map.get_mut(name) {
            items.retain(|item| !gone.contains(item));
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let field = of.field(name).map_or(Type::Free, |(of, _)| of.into_owned());
        one(&field, map, name, value)?;
    }
    for (name, order) in patch.iter().filter_map(|(name, order)| Some((name.strip_prefix(ORDER)?, order))) {
        let field = of.field(name).map_or(Type::Free, |(of, _)| of.into_owned());
        if let (Some(Value::Array(items)), Some(order)) = (map.get_mut(name), order.as_array()) {
            sort(items, order, key_of(&field, name).as_deref());
        }
    }
    map.retain(|name, _| !name.starts_with('$'));
    Ok(())
}

/// Puts one field of a patch in its place.
fn one(of: &Type, map: &mut Map<String, Value>, name: &str, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null => drop(map.shift_remove(name)),
        Value::Object(patch) if patch.get("$patch").is_some_and(|how| how == "delete") => drop(map.shift_remove(name)),
        Value::Object(patch) => over(of, map.entry(name.to_owned()).or_insert_with(|| json!({})), patch)?,
        Value::Array(patch) => {
            let own = map.entry(name.to_owned()).or_insert_with(|| json!([]));
            if !own.is_array() {
                *own = json!([]);
            }
            let Some(own) = own.as_array_mut() else { return Ok(()) };
            items(of, own, patch, key_of(of, name).as_deref())?;
        }
        other => drop(map.insert(name.to_owned(), other.clone())),
    }
    Ok(())
}

fn items(of: &Type, own: &mut Vec<Value>, patch: &[Value], key: Option<&str>) -> Result<(), Refusal> {
    let replaces = patch.iter().any(|item| item["$patch"] == "replace");
    let Some(key) = key.filter(|_| !replaces) else {
        let plain = |item: &&Value| item["$patch"] != "replace";
        if *of.items().1 == Items::Set && !replaces {
            let new: Vec<Value> = patch.iter().filter(|item| !own.contains(item)).cloned().collect();
            own.extend(new);
        } else {
            *own = patch.iter().filter(plain).cloned().collect();
        }
        return Ok(());
    };
    // What is new stands before what is there, in its own order.
    let mut fresh = Vec::new();
    for item in patch {
        let Some(told) = item.get(key) else {
            return Err(Refusal::bad(format!("map: {item} does not contain declared merge key: {key}")));
        };
        let at = own.iter().position(|one| one.get(key) == Some(told));
        match (item["$patch"].as_str(), at) {
            (Some("delete"), Some(_)) => own.retain(|one| one.get(key) != Some(told)),
            (Some("delete"), None) => {}
            (_, Some(at)) => {
                if let Value::Object(patch) = item {
                    over(of.items().0, &mut own[at], patch)?;
                }
            }
            (_, None) => {
                let mut new = json!({});
                if let Value::Object(patch) = item {
                    over(of.items().0, &mut new, patch)?;
                }
                fresh.push(new);
            }
        }
    }
    own.splice(0..0, fresh);
    Ok(())
}

/// Brings items into the order that is told. Those that it does not tell stay behind the one that they stood behind.
fn sort(items: &mut Vec<Value>, order: &[Value], key: Option<&str>) {
    let place = |item: &Value| {
        let own = key.map_or(Some(item), |key| item.get(key));
        order.iter().position(|one| key.map_or(Some(one), |key| one.get(key)) == own)
    };
    let mut last = 0;
    let mut placed: Vec<(usize, bool, Value)> = Vec::new();
    for item in items.drain(..) {
        let told = place(&item);
        last = told.unwrap_or(last);
        placed.push((last, told.is_none(), item));
    }
    placed.sort_by_key(|(place, is_other, _)| (*place, *is_other));
    items.extend(placed.into_iter().map(|(_, _, item)| item));
}

#[cfg(test)]
mod tests {
    use super::super::types;
    use super::*;

    fn patched(spec: Value, change: Value) -> Value {
        let of = types::of("", "v1", "Pod").unwrap();
        let mut object = json!({ "spec": spec });
        patch(&of, &mut object, &json!({ "spec": change })).unwrap();
        object["spec"].take()
    }

    #[test]
    fn items_are_changed_added_taken_out_and_put_in_order() {
        let before = || json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "1" }] });
        let change = json!({
            "$setElementOrder/containers": [{ "name": "c" }, { "name": "a" }],
            "containers": [{ "name": "c" }, { "name": "a", "image": "2" }, { "name": "b", "$patch": "delete" }],
        });
        assert_eq!(
            patched(before(), change),
            json!({ "containers": [{ "name": "c" }, { "name": "a", "image": "2" }] })
        );
        let replace = json!({ "containers": [{ "$patch": "replace" }, { "name": "z" }] });
        assert_eq!(patched(before(), replace), json!({ "containers": [{ "name": "z" }] }));
    }

    #[test]
    fn a_map_keeps_only_what_is_told_where_that_is_told() {
        let before = json!({ "volumes": [{ "name": "v", "emptyDir": {} }], "nodeSelector": { "a": "1" } });
        let change = json!({
            "volumes": [{ "name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": { "path": "/x" } }],
            "nodeSelector": { "b": "2", "a": null },
        });
        let after = json!({ "volumes": [{ "name": "v", "hostPath": { "path": "/x" } }], "nodeSelector": { "b": "2" } });
        assert_eq!(patched(before, change), after);
    }

    #[test]
    fn finalizers_are_added_and_taken_out_one_by_one() {
        let of = types::of("", "v1", "Pod").unwrap();
        let mut object = json!({ "metadata": { "finalizers": ["a/x", "b/x"] } });
        let change = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a/x"], "finalizers": ["c/x"] } });
        patch(&of, &mut object, &change).unwrap();
        assert_eq!(object["metadata"]["finalizers"], json!(["b/x", "c/x"]));
        let broken = patch(&of, &mut object, &json!({ "spec": { "containers": [{ "image": "x" }] } }));
        assert!(broken.is_err_and(|refusal| refusal.message().contains("merge key: name")));
    }
}
