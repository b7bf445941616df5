//! Whose the fields of an object are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A field: names (`f:spec`), items by their keys (`k:{"name":"c"}`) or by themselves (`v:"x"`).
pub(crate) type Path = Vec<String>;

/// Some fields.
pub(crate) type Fields = BTreeSet<Path>;

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

fn step(path: &[String], more: String) -> Path {
    path.iter().cloned().chain([more]).collect()
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

/// Whether a field is one of those by which an item of a list is told from others.
pub(crate) fn is_key(path: &[String]) -> bool {
    let [.., item, field] = path else { return false };
    let Some(keys) = item.strip_prefix("k:") else { return false };
    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
    field.strip_prefix("f:").is_some_and(|name| keys.contains_key(name))
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

/// Writes down who owns what: those who apply first, and each sort by time and name.
pub(crate) fn write_owners(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.fields.is_empty());
    let order = |owner: &Owner| {
        ["operation", "time", "manager", "apiVersion", "subresource"]
            .map(|name| owner.entry[name].as_str().unwrap_or_default().to_owned())
    };
    owners.sort_by_cached_key(order);
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
