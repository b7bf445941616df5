//! The ways to patch an object that know nothing of owners.

use serde_json::{Value, json};

use super::status::Refusal;

/// Takes out what is nothing. A text of a map that is nothing is empty.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map.iter_mut() {
                if matches!(name.as_str(), "data" | "labels" | "annotations") {
                    for text in
                        inner.as_object_mut().into_iter().flat_map(|map| map.values_mut()).filter(|text| text.is_null())
                    {
                        *text = json!("");
                    }
                }
                drop_nulls(inner);
            }
            map.retain(|_, inner| !inner.is_null());
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A merge patch: maps by their parts, nothing takes out, everything else as a whole.
pub(super) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        patch.clone_into(object);
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            if let Some(object) = object.as_object_mut() {
                object.shift_remove(name);
            }
        } else {
            merge(&mut object[name], value);
        }
    }
}

/// Puts a value at a pointer, with what it takes to get there.
pub(super) fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part];
    }
    *at = value;
}

/// A patch in steps.
pub(super) fn steps(object: &mut Value, body: &[u8]) -> Result<(), Refusal> {
    let steps = match super::bodies::decoded(body)? {
        Value::Array(steps) => steps,
        other => {
            return Err(Refusal::bad(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                super::schema::name_of(&other)
            )));
        }
    };
    for step in &steps {
        self::step(object, step).ok_or_else(Refusal::impossible_step)?;
    }
    Ok(())
}

/// Takes one step; nothing if it cannot be taken.
fn step(object: &mut Value, step: &Value) -> Option<()> {
    let path = step["path"].as_str()?;
    let from = || step["from"].as_str();
    match step["op"].as_str()? {
        "test" => (object.pointer(path)? == &step["value"]).then_some(()),
        "add" => add(object, path, step.get("value")?.clone()),
        "replace" => {
            *object.pointer_mut(path)? = step.get("value")?.clone();
            Some(())
        }
        "remove" => take(object, path).map(drop),
        "copy" => {
            let value = object.pointer(from()?)?.clone();
            add(object, path, value)
        }
        "move" => {
            let value = take(object, from()?)?;
            add(object, path, value)
        }
        _ => None,
    }
}

/// What holds the value at a pointer, and by which name.
fn holder<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    Some((object.pointer_mut(above)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    match holder(object, path)? {
        (Value::Object(map), name) => drop(map.insert(name, value)),
        (Value::Array(items), name) if name == "-" => items.push(value),
        (Value::Array(items), name) => {
            let at = name.parse::<usize>().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(object: &mut Value, path: &str) -> Option<Value> {
    match holder(object, path)? {
        (Value::Object(map), name) => map.shift_remove(&name),
        (Value::Array(items), name) => {
            let at = name.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}
