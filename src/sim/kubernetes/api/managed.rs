//! Whose the fields of an object are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A field: names (`f:spec`), items by their keys (`k:{"name":"c"}`) or by themselves (`v:"x"`).
pub(crate) type Path = Vec<String>;

/// Some fields.
pub(crate) type Fields = BTreeSet<Path>;

/// How the items of a list are told apart.
enum List {
    Keyed(&'static [&'static str]),
    Set,
    /// They are not: it comes and goes as a whole.
    Atomic,
}

fn list(name: &str, items: &[Value]) -> List {
    match name {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets" => {
            List::Keyed(&["name"])
        }
        "ports" if items.iter().any(|item| !item["containerPort"].is_null()) => {
            List::Keyed(&["containerPort", "protocol"])
        }
        "ports" => List::Keyed(&["port", "protocol"]),
        "volumeMounts" => List::Keyed(&["mountPath"]),
        "conditions" | "addresses" => List::Keyed(&["type"]),
        "ownerReferences" => List::Keyed(&["uid"]),
        "podIPs" | "hostIPs" | "hostAliases" => List::Keyed(&["ip"]),
        "topologySpreadConstraints" => List::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        "finalizers" => List::Set,
        _ => List::Atomic,
    }
}

/// The key of an item.
fn key(item: &Value, keys: &[&str]) -> String {
    let mut own = Map::new();
    let mut names = keys.to_vec();
    names.sort_unstable();
    for name in names {
        let value = match (&item[name], name) {
            (Value::Null, "protocol") => json!("TCP"),
            (value, _) => value.clone(),
        };
        own.insert(name.to_owned(), value);
    }
    format!("k:{}", Value::Object(own))
}

fn step(path: &[String], more: String) -> Path {
    path.iter().cloned().chain([more]).collect()
}

/// The fields that stand in a configuration, without those that no one owns.
pub(crate) fn fields(object: &Value) -> Fields {
    let mut all = Fields::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let own = value.as_object().into_iter().flatten().filter(|(name, _)| !is_nobodys(name));
                for (name, value) in own {
                    collect(value, name, vec!["f:metadata".to_owned(), format!("f:{name}")], &mut all);
                }
            }
            _ => collect(value, name, vec![format!("f:{name}")], &mut all),
        }
    }
    all
}

/// Parts of the metadata that no one owns.
fn is_nobodys(name: &str) -> bool {
    matches!(
        name,
        "name"
            | "namespace"
            | "uid"
            | "resourceVersion"
            | "creationTimestamp"
            | "generation"
            | "managedFields"
            | "selfLink"
            | "deletionTimestamp"
            | "deletionGracePeriodSeconds"
    )
}

fn collect(value: &Value, name: &str, path: Path, all: &mut Fields) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                collect(value, name, step(&path, format!("f:{name}")), all);
            }
        }
        Value::Array(items) => match list(name, items) {
            List::Keyed(keys) if !items.is_empty() => {
                for item in items {
                    let own = step(&path, key(item, keys));
                    for (name, value) in item.as_object().into_iter().flatten() {
                        collect(value, name, step(&own, format!("f:{name}")), all);
                    }
                    all.insert(own);
                }
            }
            List::Set if !items.is_empty() => all.extend(items.iter().map(|item| step(&path, format!("v:{item}")))),
            _ => drop(all.insert(path)),
        },
        _ => drop(all.insert(path)),
    }
}

/// Fields as objects tell them.
pub(crate) fn written(fields: &Fields) -> Value {
    let mut tree = json!({});
    for path in fields {
        let mut at = &mut tree;
        for part in path {
            if at[part].is_null() {
                at[part] = json!({});
            }
            at = &mut at[part];
        }
    }
    // What is owned itself, and has parts that are.
    for path in fields {
        let mut at = &mut tree;
        for part in path {
            at = &mut at[part];
        }
        if let Some(map) = at.as_object_mut().filter(|map| !map.is_empty()) {
            map.shift_insert(0, ".".to_owned(), json!({}));
        }
    }
    tree
}

/// Fields as they were told.
pub(crate) fn read(tree: &Value) -> Fields {
    fn walk(tree: &Value, path: &Path, all: &mut Fields) {
        match tree.as_object() {
            Some(map) if !map.is_empty() => {
                for (name, value) in map {
                    if name == "." {
                        all.insert(path.clone());
                    } else {
                        walk(value, &step(path, name.clone()), all);
                    }
                }
            }
            _ => drop(all.insert(path.clone())),
        }
    }
    let mut all = Fields::new();
    for (name, value) in tree.as_object().into_iter().flatten() {
        walk(value, &vec![name.clone()], &mut all);
    }
    all
}

/// Finds an item of a list by its path's last part.
fn position(items: &[Value], part: &str) -> Option<usize> {
    if let Some(text) = part.strip_prefix("v:") {
        let wanted: Value = serde_json::from_str(text).ok()?;
        return items.iter().position(|item| *item == wanted);
    }
    let keys: Map<String, Value> = serde_json::from_str(part.strip_prefix("k:")?).ok()?;
    let names: Vec<&str> = keys.keys().map(String::as_str).collect();
    items.iter().position(|item| key(item, &names) == part)
}

/// What is at a field.
pub(crate) fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    let mut value = object;
    for part in path {
        value = match part.strip_prefix("f:") {
            Some(name) => value.get(name)?,
            None => value.as_array().and_then(|items| items.get(position(items, part)?))?,
        };
    }
    Some(value)
}

/// Takes a field out.
pub(crate) fn remove(object: &mut Value, path: &[String]) {
    let Some((last, above)) = path.split_last() else { return };
    let mut value = object;
    for part in above {
        let next = match part.strip_prefix("f:") {
            Some(name) => value.get_mut(name),
            None => value.as_array_mut().and_then(|items| {
                let at = position(items, part)?;
                items.get_mut(at)
            }),
        };
        match next {
            Some(next) => value = next,
            None => return,
        }
    }
    match (last.strip_prefix("f:"), value) {
        (Some(name), Value::Object(map)) => drop(map.shift_remove(name)),
        (None, Value::Array(items)) => {
            if let Some(at) = position(items, last) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

/// A field as people read it: `.spec.containers[name="c"].image`.
pub(crate) fn shown(path: &[String]) -> String {
    path.iter()
        .map(|part| match (part.strip_prefix("f:"), part.strip_prefix("k:")) {
            (Some(name), _) => format!(".{name}"),
            (_, Some(keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let each: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", each.join(","))
            }
            _ => format!("[={}]", part.trim_start_matches("v:")),
        })
        .collect()
}

/// Puts a configuration over an object: maps and lists with keys by their parts, everything else as a whole.
pub(crate) fn merge(live: &mut Value, applied: &Value, name: &str) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            for (name, value) in applied {
                match live.get_mut(name) {
                    Some(own) => merge(own, value, name),
                    None => drop(live.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) => match list(name, applied) {
            List::Keyed(keys) => {
                for item in applied {
                    match position(live, &key(item, keys)) {
                        Some(at) => merge(&mut live[at], item, ""),
                        None => live.push(item.clone()),
                    }
                }
            }
            List::Set => {
                for item in applied {
                    if !live.contains(item) {
                        live.push(item.clone());
                    }
                }
            }
            List::Atomic => live.clone_from(applied),
        },
        (live, applied) => live.clone_from(applied),
    }
}

/// An entry of who owns what.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) entry: Value,
    pub(crate) fields: Fields,
}

impl Owner {
    pub(crate) fn new(manager: &str, operation: &str, api_version: &str, part: Option<&str>, time: &str) -> Self {
        let mut entry = json!({
            "manager": manager, "operation": operation, "apiVersion": api_version, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {},
        });
        if let Some(part) = part {
            entry["subresource"] = json!(part);
        }
        Owner { entry, fields: Fields::new() }
    }

    /// Whether it is that of the same manager, operation, version and part.
    pub(crate) fn is_same(&self, other: &Owner) -> bool {
        ["manager", "operation", "apiVersion", "subresource"].iter().all(|name| self.entry[*name] == other.entry[*name])
    }

    pub(crate) fn applies(&self) -> bool {
        self.entry["operation"] == "Apply"
    }

    /// As others hear of it who want one of its fields to be something else.
    pub(crate) fn conflict(&self) -> String {
        let text = |name: &str| self.entry[name].as_str().unwrap_or_default();
        let mut message = format!("conflict with \"{}\"", text("manager"));
        if !text("subresource").is_empty() {
            message.push_str(&format!(" with subresource \"{}\"", text("subresource")));
        }
        if !self.applies() {
            message.push_str(&format!(" using {}", text("apiVersion")));
        }
        message
    }
}

/// Who owns what of an object.
pub(crate) fn owners(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries.map(|entry| Owner { entry: entry.clone(), fields: read(&entry["fieldsV1"]) }).collect()
}

/// Writes down who owns what: those who apply first.
pub(crate) fn write_owners(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.fields.is_empty());
    owners.sort_by_key(|owner| !owner.applies());
    let entry = |owner: &Owner| {
        let mut entry = owner.entry.clone();
        entry["fieldsV1"] = written(&owner.fields);
        entry
    };
    let entries: Vec<Value> = owners.iter().map(entry).collect();
    if entries.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.shift_remove("managedFields");
        }
    } else {
        object["metadata"]["managedFields"] = json!(entries);
    }
}

/// The fields in which two objects differ, as the newer has them; and those that it has no more.
pub(crate) fn differences(before: &Value, after: &Value) -> (Fields, Fields) {
    let (old, new) = (fields(before), fields(after));
    let changed = new.iter().filter(|path| at(before, path) != at(after, path)).cloned();
    // An item is not another only because one of its parts is.
    let changed =
        changed.filter(|path| !path.last().is_some_and(|last| last.starts_with("k:")) || at(before, path).is_none());
    (changed.collect(), old.difference(&new).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_and_read_alike() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "labels": { "x": "1" }, "finalizers": ["f"] },
            "spec": { "containers": [{ "name": "c", "image": "i", "ports": [{ "containerPort": 80 }] }], "list": [1, 2] },
        });
        let own = fields(&object);
        let text = written(&own);
        assert_eq!(read(&text), own);
        assert_eq!(text["f:metadata"], json!({ "f:finalizers": { "v:\"f\"": {} }, "f:labels": { "f:x": {} } }));
        let container = &text["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
        assert_eq!(container["."], json!({}));
        assert!(container["f:ports"].get("k:{\"containerPort\":80,\"protocol\":\"TCP\"}").is_some(), "{container}");
        assert_eq!(text["f:spec"]["f:list"], json!({}));
    }

    #[test]
    fn lists_with_keys_are_merged_by_item() {
        let mut live = json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b" }], "taints": [1] });
        merge(&mut live, &json!({ "containers": [{ "name": "a", "image": "2" }, { "name": "c" }], "taints": [2] }), "");
        assert_eq!(
            live,
            json!({ "containers": [{ "name": "a", "image": "2" }, { "name": "b" }, { "name": "c" }], "taints": [2] })
        );
    }
}
