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

/// A patch in steps.
pub(super) fn steps(object: &mut Value, body: &[u8]) -> Result<(), Refusal> {
    let steps: Vec<Value> =
        serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("error decoding patch: {error}")))?;
    for step in steps {
        let (operation, path) = (step["op"].as_str().unwrap_or_default(), step["path"].as_str().unwrap_or_default());
        let failed = || {
            Refusal::internal(format!(
                "the server rejected our request due to an error in our request: {operation} {path}"
            ))
        };
        let (above, last) = path.rsplit_once('/').ok_or_else(failed)?;
        let last = last.replace("~1", "/").replace("~0", "~");
        let parent = object.pointer_mut(above).ok_or_else(failed)?;
        match (operation, parent) {
            ("test", parent) => {
                let found = match parent {
                    Value::Array(items) => last.parse::<usize>().ok().and_then(|at| items.get(at)),
                    other => other.get(&last),
                };
                if found != Some(&step["value"]) {
                    return Err(failed());
                }
            }
            ("add" | "replace", Value::Object(map)) => {
                if operation == "replace" && !map.contains_key(&last) {
                    return Err(failed());
                }
                map.insert(last, step["value"].clone());
            }
            ("add", Value::Array(items)) => match last.parse::<usize>() {
                _ if last == "-" => items.push(step["value"].clone()),
                Ok(at) if at <= items.len() => items.insert(at, step["value"].clone()),
                _ => return Err(failed()),
            },
            ("replace", Value::Array(items)) => {
                *last.parse::<usize>().ok().and_then(|at| items.get_mut(at)).ok_or_else(failed)? =
                    step["value"].clone();
            }
            ("remove", Value::Object(map)) => drop(map.shift_remove(&last).ok_or_else(failed)?),
            ("remove", Value::Array(items)) => match last.parse::<usize>() {
                Ok(at) if at < items.len() => drop(items.remove(at)),
                _ => return Err(failed()),
            },
            _ => return Err(Refusal::not_simulated(&format!("{operation} in a JSON patch"))),
        }
    }
    Ok(())
}
