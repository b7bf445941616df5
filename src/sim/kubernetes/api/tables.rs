//! Objects as rows of tables, as people read them.

use serde_json::{Value, json};

use super::columns;
use super::kinds::Kind;

/// What the API tells of columns that nearly every table has.
const OF_NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const OF_AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const OF_DATA: &str = "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.";

/// How long ago an object was made, in the way of people.
pub(super) fn age(object: &Value, now: u64) -> Value {
    let made = object["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let Some(made) = made else { return json!("<unknown>") };
    let made = u64::try_from(made.as_millisecond()).unwrap_or_default();
    json!(lasting(now.saturating_sub(made) / 1000))
}

/// A number of seconds in two of its parts at most: `3m20s`.
fn lasting(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |great: u64, unit: &str, small: u64, of: &str| match small {
        0 => format!("{great}{unit}"),
        small => format!("{great}{unit}{small}{of}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

/// What a path of a definition leads to: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let path = path.trim_start_matches('$');
    if path.is_empty() {
        return Some(value);
    }
    if let Some(inner) = path.strip_prefix('[') {
        let (key, rest) = inner.split_at(inner.find(']')?);
        let rest = &rest[1..];
        if let Some(wanted) = key.strip_prefix("?(@.").and_then(|key| key.strip_suffix(')')) {
            let (name, wanted) = wanted.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            let is_it = |item: &&Value| item[name.trim()].as_str() == Some(wanted);
            return at(value.as_array()?.iter().find(is_it)?, rest);
        }
        let found = match key {
            "*" => value.as_array()?.first()?,
            key => match key.parse::<usize>() {
                Ok(index) => value.get(index)?,
                Err(_) => value.get(key.trim_matches(['"', '\'']))?,
            },
        };
        return at(found, rest);
    }
    let path = path.trim_start_matches('.');
    // A dot behind a backslash belongs to the name.
    let mut end = 0;
    for (index, letter) in path.char_indices() {
        if letter == '[' || (letter == '.' && !path[..index].ends_with('\\')) {
            break;
        }
        end = index + letter.len_utf8();
    }
    at(value.get(path[..end].replace('\\', ""))?, &path[end..])
}

/// What a column of a definition shows of an object.
fn cell(column: &Value, object: &Value, now: u64) -> Value {
    let found = column["jsonPath"].as_str().and_then(|path| at(object, path));
    match (column["type"].as_str(), found) {
        (Some("date"), found) => age(&json!({ "metadata": { "creationTimestamp": found } }), now),
        (Some("string"), Some(Value::String(text))) => json!(text),
        (Some("string"), Some(Value::Null)) | (_, None) => Value::Null,
        (Some("string"), Some(other)) => json!(other.to_string()),
        (_, Some(found)) => found.clone(),
    }
}

/// What belongs to rows beside their cells.
fn beside(object: &Value, include: &str) -> Value {
    match include {
        "None" => Value::Null,
        "Object" => object.clone(),
        _ => partial(object),
    }
}

fn head(name: &str, kind: &str, format: &str, description: &str, priority: &Value) -> Value {
    json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority })
}

/// The columns that a definition of a custom kind tells, and what they show; its name and age where it tells none.
fn of_custom(version: &Value, objects: &[Value], now: u64) -> (Vec<Value>, Vec<Vec<Value>>) {
    let usual =
        json!([{ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": OF_AGE }]);
    let told = version["additionalPrinterColumns"].as_array().filter(|all| !all.is_empty());
    let told = told.or(usual.as_array()).map(Vec::as_slice).unwrap_or_default();
    let text = |column: &Value, name: &str| column[name].as_str().unwrap_or_default().to_owned();
    let mut heads = vec![head("Name", "string", "name", OF_NAME, &json!(0))];
    heads.extend(told.iter().map(|column| {
        let description = match text(column, "description") {
            none if none.is_empty() => {
                format!("Custom resource definition column (in JSONPath format): {}", text(column, "jsonPath"))
            }
            some => some,
        };
        let priority = column["priority"].as_u64().unwrap_or_default();
        head(&text(column, "name"), &text(column, "type"), &text(column, "format"), &description, &json!(priority))
    }));
    let row = |object: &Value| {
        let own = told.iter().map(|column| cell(column, object, now));
        std::iter::once(object["metadata"]["name"].clone()).chain(own).collect()
    };
    (heads, objects.iter().map(row).collect())
}

fn of_builtin(kind: &Kind, objects: &[Value], now: u64) -> (Vec<Value>, Vec<Vec<Value>>) {
    let own = columns::of(kind);
    let heads = own.iter().map(|column| {
        let (format, description) = match column.name {
            "Name" => ("name", OF_NAME),
            "Age" => ("", OF_AGE),
            "Data" if kind.kind == "ConfigMap" => ("", OF_DATA),
            _ => ("", ""),
        };
        head(column.name, "string", format, description, &json!(column.priority))
    });
    let row = |object: &Value| {
        let mut cells: Vec<Value> = own.iter().map(|column| (column.show)(object, now)).collect();
        if let (Some(first), Some(name)) = (cells.first_mut(), columns::named(kind, object)) {
            *first = name;
        }
        cells
    };
    (heads.collect(), objects.iter().map(row).collect())
}

/// Objects as a table; `metadata` is that of the list that they are from, and `include` what is to come with the rows.
pub(super) fn table(kind: &Kind, objects: &[Value], metadata: &Value, include: &str, now: u64) -> Value {
    let (heads, rows) = match &kind.custom {
        Some(version) => of_custom(version, objects, now),
        None => of_builtin(kind, objects, now),
    };
    let rows: Vec<Value> = rows
        .into_iter()
        .zip(objects)
        .map(|(cells, object)| json!({ "cells": cells, "object": beside(object, include) }))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": heads, "rows": rows,
    })
}

/// The metadata of an object alone.
pub(super) fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_parts_at_most() {
        for (seconds, told) in [
            (5, "5s"),
            (119, "119s"),
            (200, "3m20s"),
            (3600, "60m"),
            (11_100, "3h5m"),
            (86_400, "24h"),
            (700_000, "8d"),
        ] {
            assert_eq!(lasting(seconds), told);
        }
    }

    #[test]
    fn a_column_of_a_definition_finds_its_field() {
        let object = json!({
            "metadata": { "annotations": { "a.b/c": "x" } }, "spec": { "size": 3, "list": ["one", "two"] },
            "status": { "conditions": [{ "type": "Stalled", "status": "False" }, { "type": "Ready", "status": "True" }] },
        });
        for (path, found) in [
            (".spec.size", json!(3)),
            (".spec.list[1]", json!("two")),
            (".spec.list[*]", json!("one")),
            (".metadata.annotations.a\\.b/c", json!("x")),
            (".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
        ] {
            assert_eq!(at(&object, path), Some(&found), "{path}");
        }
        assert_eq!(at(&object, ".spec.none.deeper"), None);
        assert_eq!(at(&object, ".spec.list[?(@.type==\"Ready\")"), None);
    }
}
