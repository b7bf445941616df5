//! Objects by their types: whether they are of them, which fields they have, and putting one over another.

use serde_json::{Map, Value};

use super::managed::{Fields, Path};
use super::types::{Items, Type};

/// What is wrong with an object by its type, as the merge of applied configurations tells it; nothing if it is right.
pub(crate) fn faults(of: &Type, object: &Value) -> Option<String> {
    let mut all = Vec::new();
    look(of, object, "", &mut all);
    match all.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("errors:\n  {}", several.join("\n  "))),
    }
}

/// A value as Go shows it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(_) => "string".to_owned(),
        other => format!("&value.valueUnstructured{{Value:{}}}", plain(other)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let each: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            format!("map[{}]", each.join(" "))
        }
        other => other.to_string(),
    }
}

fn look(of: &Type, value: &Value, at: &str, all: &mut Vec<String>) {
    let wrong = |wanted: &str| {
        let found = match (wanted, value) {
            ("numeric (int or float)", Value::String(_)) => "string".to_owned(),
            _ => go(value),
        };
        format!("{at}: expected {wanted}, got {found}")
    };
    match (of.resolved(), value) {
        (_, Value::Null) | (Type::Any | Type::Free | Type::Quantity, _) => {}
        (Type::Text, Value::String(_)) | (Type::Number, Value::Number(_)) | (Type::Flag, Value::Bool(_)) => {}
        (Type::Text, _) => all.push(wrong("string")),
        (Type::Number, _) => all.push(wrong("numeric (int or float)")),
        (Type::Flag, _) => all.push(wrong("boolean")),
        (Type::Map { .. }, Value::Object(map)) => {
            for (name, value) in map {
                let here = format!("{at}.{name}");
                match of.field(name) {
                    Some((field, _)) => look(&field, value, &here, all),
                    None => all.push(format!("{here}: field not declared in schema")),
                }
            }
        }
        (Type::Map { .. }, _) => all.push(wrong("map")),
        (Type::List(of_item, items), Value::Array(values)) => {
            let mut seen = Vec::new();
            for (index, value) in values.iter().enumerate() {
                let Some(part) = item(of_item, items, value) else {
                    if *items != Items::Whole {
                        all.push(format!("{at}: element {index}: {}", keyless(items, value)));
                    }
                    look(of_item, value, &format!("{at}[{index}]"), all);
                    continue;
                };
                let shown = super::managed::shown(std::slice::from_ref(&part));
                if seen.contains(&part) {
                    all.push(format!("{at}: duplicate entries for key {shown}"));
                }
                look(of_item, value, &format!("{at}{shown}"), all);
                seen.push(part);
            }
        }
        (Type::List(..), _) => all.push(wrong("list")),
        // Names are resolved.
        (Type::Named(_), _) => {}
    }
}

fn keyless(items: &Items, value: &Value) -> String {
    match items {
        Items::Keyed(keys) if value.is_object() => {
            let missing: Vec<&str> = keys.iter().map(String::as_str).filter(|key| value[*key].is_null()).collect();
            format!(
                "associative list with keys has an element that omits key field {:?} (and doesn't have default value)",
                missing.first().copied().unwrap_or_default()
            )
        }
        _ => "associative list with keys may not have non-map elements".to_owned(),
    }
}

/// By what an item of a list is told from the others: `k:{"name":"c"}`, `v:"x"`. Nothing where items are not told apart, or
/// where it lacks what it would be by.
pub(crate) fn item(of: &Type, items: &Items, value: &Value) -> Option<String> {
    match items {
        Items::Whole => None,
        Items::Set => Some(format!("v:{value}")),
        Items::Keyed(keys) => {
            let mut own = Map::new();
            let mut names = keys.clone();
            names.sort_unstable();
            for name in names {
                match (value.get(&name).filter(|value| !value.is_null()), of.usual(&name)) {
                    (Some(told), _) => drop(own.insert(name, told.clone())),
                    (None, Some(usual)) => drop(own.insert(name, usual.clone())),
                    (None, None) => {}
                }
            }
            (!own.is_empty()).then(|| format!("k:{}", Value::Object(own)))
        }
    }
}

fn step(path: &[String], more: String) -> Path {
    path.iter().cloned().chain([more]).collect()
}

/// The fields that stand in a configuration, without those that nobody owns.
pub(crate) fn fields(of: &Type, object: &Value) -> Fields {
    let mut all = Fields::new();
    collect(of, object, &Path::new(), false, &mut all);
    all
}

/// The same with all that holds others.
fn everything(of: &Type, object: &Value) -> Fields {
    let mut all = Fields::new();
    collect(of, object, &Path::new(), true, &mut all);
    all
}

/// What of an object nobody owns.
fn is_nobodys(path: &[String], name: &str) -> bool {
    match path {
        [] => matches!(name, "apiVersion" | "kind"),
        [top] if top == "f:metadata" => matches!(
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
        ),
        _ => false,
    }
}

fn collect(of: &Type, value: &Value, path: &Path, with_holders: bool, all: &mut Fields) {
    match value {
        Value::Object(map) if !of.is_whole() && (!map.is_empty() || path.is_empty()) => {
            for (name, value) in map.iter().filter(|(name, _)| !is_nobodys(path, name)) {
                let own = step(path, format!("f:{name}"));
                let (field, declared) =
                    of.field(name).map_or((Type::Free, false), |(of, known)| (of.into_owned(), known));
                collect(&field, value, &own, with_holders, all);
                // Who makes an entry of a map has it, beside what is in it.
                if with_holders || !declared {
                    all.insert(own);
                }
            }
        }
        Value::Array(values) if !of.is_whole() && !values.is_empty() && !matches!(of.resolved(), Type::Free) => {
            let (item_of, items) = of.items();
            for value in values {
                let Some(part) = item(item_of, items, value) else { continue };
                let own = step(path, part);
                if *items != Items::Set {
                    collect(item_of, value, &own, with_holders, all);
                }
                all.insert(own);
            }
        }
        _ if path.is_empty() => {}
        // An item of a list that has nothing in it, and everything that has no parts.
        _ => drop(all.insert(path.clone())),
    }
}

/// Whether a field that is told is to become another. What has parts only does where it is not there.
pub(crate) fn differ(of: &Type, path: &[String], now: Option<&Value>, told: Option<&Value>) -> bool {
    let has_parts = |value: Option<&Value>| value.is_some_and(|value| value.is_object() || value.is_array());
    if has_parts(told) && !type_at(of, path).is_whole() {
        // Nobody owns what is not there, and its parts are looked at by themselves.
        return now.is_some() && !has_parts(now);
    }
    now.is_some() && now != told
}

/// Takes out what its type does not know.
pub(crate) fn prune(of: &Type, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| of.field(name).is_some() || of.is_open());
            for (name, value) in map.iter_mut() {
                if let Some((field, _)) = of.field(name) {
                    prune(&field, value);
                }
            }
        }
        Value::Array(items) => {
            let item_of = of.items().0.clone();
            items.iter_mut().for_each(|item| prune(&item_of, item));
        }
        _ => {}
    }
}

/// What a part of a value is.
fn child<'a>(of: &Type, value: &'a Value, part: &str) -> Option<(Type, &'a Value)> {
    if let Some(name) = part.strip_prefix("f:") {
        let field = of.field(name).map_or(Type::Free, |(of, _)| of.into_owned());
        return Some((field, value.get(name)?));
    }
    let (item_of, _) = of.items();
    let at = position(of, value.as_array()?, part)?;
    Some((item_of.clone(), value.get(at)?))
}

/// Where an item is in a list.
fn position(of: &Type, values: &[Value], part: &str) -> Option<usize> {
    let (item_of, items) = of.items();
    values.iter().position(|value| item(item_of, items, value).as_deref() == Some(part))
}

/// What is at a field.
pub(crate) fn at<'a>(of: &Type, object: &'a Value, path: &[String]) -> Option<&'a Value> {
    let (mut of, mut value) = (of.clone(), object);
    for part in path {
        (of, value) = child(&of, value, part)?;
    }
    Some(value)
}

/// Takes a field out.
pub(crate) fn remove(of: &Type, object: &mut Value, path: &[String]) {
    let Some((part, below)) = path.split_first() else { return };
    match (part.strip_prefix("f:"), &mut *object) {
        (Some(name), Value::Object(map)) if below.is_empty() => drop(map.shift_remove(name)),
        (Some(name), Value::Object(map)) => {
            if let Some(value) = map.get_mut(name) {
                let field = of.field(name).map_or(Type::Free, |(of, _)| of.into_owned());
                remove(&field, value, below);
                // What held nothing else goes with it.
                let is_empty =
                    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
                if is_empty {
                    map.shift_remove(name);
                }
            }
        }
        (None, Value::Array(values)) => {
            let Some(at) = position(of, values, part) else { return };
            if below.is_empty() {
                values.remove(at);
            } else if let Some(value) = values.get_mut(at) {
                remove(of.items().0, value, below);
            }
        }
        _ => {}
    }
}

/// Puts a configuration over an object: what has parts by its parts, everything else as a whole. Items keep the order of the
/// configuration, and those that it does not tell stay where they were.
pub(crate) fn merge(of: &Type, live: &mut Value, applied: &Value) {
    if of.is_whole() {
        live.clone_from(applied);
        return;
    }
    match (&mut *live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            for (name, value) in applied {
                let field = of.field(name).map_or(Type::Free, |(of, _)| of.into_owned());
                match live.get_mut(name) {
                    Some(own) => merge(&field, own, value),
                    None => drop(live.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) if !matches!(of.resolved(), Type::Free) => {
            *live = merged_items(of, live, applied);
        }
        (live, applied) => live.clone_from(applied),
    }
}

/// The items of two lists: those that are told in their new order, each after what stood before it.
fn merged_items(of: &Type, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let (item_of, items) = of.items();
    let part = |value: &Value| item(item_of, items, value);
    let told: Vec<Option<String>> = applied.iter().map(part).collect();
    let known: Vec<Option<String>> = live.iter().map(part).collect();
    let mut all = Vec::new();
    let mut from = 0;
    for (value, own) in applied.iter().zip(&told) {
        let before = known.iter().position(|known| known == own);
        if let Some(before) = before.filter(|before| *before >= from) {
            // Others that stood before it stay before it.
            for at in from..before {
                if !told.contains(&known[at]) {
                    all.push(live[at].clone());
                }
            }
            from = before + 1;
        }
        match before {
            Some(before) => {
                let mut merged = live[before].clone();
                merge(item_of, &mut merged, value);
                all.push(merged);
            }
            None => all.push(value.clone()),
        }
    }
    let rest = live.iter().zip(&known).skip(from).filter(|(_, known)| !told.contains(known));
    all.extend(rest.map(|(value, _)| value.clone()));
    all
}

/// Parts that are there in objects that nobody has filled yet, so that nobody gets to own them as a whole.
const ALWAYS: [&str; 15] = [
    "f:metadata",
    "f:spec",
    "f:status",
    "f:template",
    "f:jobTemplate",
    "f:strategy",
    "f:updateStrategy",
    "f:containers",
    "f:resources",
    "f:loadBalancer",
    "f:scaleTargetRef",
    "f:names",
    "f:acceptedNames",
    "f:versions",
    "f:nodeInfo",
];

/// The fields in which two objects differ, as the newer has them; and those that it has no more.
pub(crate) fn differences(of: &Type, before: &Value, after: &Value) -> (Fields, Fields) {
    let custom = !matches!(of, Type::Named(_));
    let (old, new) = (everything(of, before), everything(of, after));
    let is_always = |path: &Path| {
        path.last().is_some_and(|last| {
            if custom { path.len() == 1 && last == "f:metadata" } else { ALWAYS.contains(&last.as_str()) }
        })
    };
    let has_parts = |path: &Path| match at(of, after, path) {
        Some(Value::Object(map)) => !map.is_empty() && !type_at(of, path).is_whole(),
        Some(Value::Array(items)) => !items.is_empty() && !type_at(of, path).is_whole(),
        _ => false,
    };
    let changed = new
        .iter()
        .filter(|path| {
            let is_new = !old.contains(*path);
            let (then, now) = (at(of, before, path), at(of, after, path));
            // What has lost all of its parts is what it was.
            let is_emptied = !type_at(of, path).is_whole()
                && matches!(
                    (then, now),
                    (Some(Value::Object(_)), Some(Value::Object(_))) | (Some(Value::Array(_)), Some(Value::Array(_)))
                );
            let differs = then != now && !is_emptied;
            if has_parts(path) { is_new && at(of, before, path).is_none() && !is_always(path) } else { differs }
        })
        .cloned();
    (changed.collect(), old.difference(&new).cloned().collect())
}

fn type_at(of: &Type, path: &[String]) -> Type {
    path.iter().fold(of.clone(), |of, part| match part.strip_prefix("f:") {
        Some(name) => of.field(name).map_or(Type::Free, |(of, _)| of.into_owned()),
        None => of.items().0.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::managed::{read, written};
    use super::super::types;
    use super::*;

    #[test]
    fn fields_are_written_and_read_alike() {
        let pod = types::of("", "v1", "Pod").unwrap();
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "labels": { "x": "1" }, "finalizers": ["f"] },
            "spec": { "containers": [{ "name": "c", "image": "i", "args": ["a", "b"], "ports": [{ "containerPort": 80 }] }] },
        });
        assert_eq!(faults(&pod, &object), None);
        let own = fields(&pod, &object);
        let text = written(&own);
        assert_eq!(read(&text), own);
        assert_eq!(text["f:metadata"], json!({ "f:finalizers": { "v:\"f\"": {} }, "f:labels": { "f:x": {} } }));
        let container = &text["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
        assert_eq!((&container["."], &container["f:args"]), (&json!({}), &json!({})));
        assert!(container["f:ports"].get("k:{\"containerPort\":80,\"protocol\":\"TCP\"}").is_some(), "{container}");
    }

    #[test]
    fn lists_with_keys_are_merged_by_item() {
        let pod = types::of("", "v1", "Pod").unwrap();
        let spec = |containers: Value| json!({ "spec": { "containers": containers, "tolerations": [{ "key": "a" }] } });
        let mut live = spec(json!([{ "name": "a", "image": "1" }, { "name": "b" }]));
        merge(&pod, &mut live, &spec(json!([{ "name": "a", "image": "2" }, { "name": "c" }])));
        assert_eq!(live, spec(json!([{ "name": "a", "image": "2" }, { "name": "c" }, { "name": "b" }])));
    }

    #[test]
    fn what_is_wrong_with_an_object_is_told_by_its_place() {
        let deployment = types::of("apps", "v1", "Deployment").unwrap();
        let pod = |container: Value| json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
        let cases = [
            (json!({ "spec": { "replicaz": 1 } }), ".spec.replicaz: field not declared in schema"),
            (json!({ "spec": { "replicas": "1" } }), ".spec.replicas: expected numeric (int or float), got string"),
            (
                pod(json!({ "name": "c", "env": [{ "name": "A" }, { "name": "A" }] })),
                ".spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]",
            ),
            (
                pod(json!({ "name": "c", "imag": "x" })),
                ".spec.template.spec.containers[name=\"c\"].imag: field not declared in schema",
            ),
        ];
        for (object, wanted) in cases {
            assert_eq!(faults(&deployment, &object).as_deref(), Some(wanted));
        }
    }
}
