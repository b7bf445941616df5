//! Whether objects that are sent have the form of their kind.

use serde_json::Value;

use super::kinds::Kind;
use super::status::Refusal;
use super::typed;
use super::types::Type;

/// Whether objects of a kind can be written here.
pub(crate) fn is_writable(kind: &Kind) -> bool {
    kind.verbs.contains(&"update") && kind.group != "events.k8s.io"
}

/// Refuses an object whose parts are not of the form that this API goes on to rely on.
pub(crate) fn check_form(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    // Of custom kinds their schemas say more, later on.
    let found = match (&kind.custom, object.get("metadata")) {
        (Some(_), Some(metadata)) => misplaced(&super::types::METADATA, metadata, ".metadata"),
        (Some(_), None) if object.is_object() => None,
        _ => misplaced(&kind.of, object, ""),
    };
    let Some((at, found, wanted)) = found else { return Ok(()) };
    let field = format!("{}{at}", kind.kind);
    Err(Refusal::bad(format!(
        "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {found} into Go struct field {field} of type {wanted}",
        kind.kind, kind.version, kind.kind
    )))
}

pub(super) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The first value of another form than its place wants: where, what it is, and what was wanted.
fn misplaced(of: &Type, value: &Value, at: &str) -> Option<(String, &'static str, &'static str)> {
    let wrong = |wanted: &'static str| Some((at.to_owned(), name_of(value), wanted));
    match (of.resolved(), value) {
        (Type::Map { .. }, Value::Object(map)) => map.iter().find_map(|(name, value)| {
            let (field, _) = of.field(name)?;
            misplaced(&field, value, &format!("{at}.{name}"))
        }),
        (Type::List(of, _), Value::Array(items)) => items.iter().find_map(|item| match (of.resolved(), item) {
            (Type::Map { .. }, Value::Null) => Some((at.to_owned(), "null", "object")),
            _ => misplaced(of, item, at),
        }),
        (Type::Map { .. }, Value::Null) if at.is_empty() => wrong("object"),
        (_, Value::Null) => None,
        (Type::Map { .. }, _) => wrong("object"),
        (Type::List(..), _) => wrong("[]object"),
        (Type::Text, Value::String(_)) | (Type::Number, Value::Number(_)) | (Type::Flag, Value::Bool(_)) => None,
        (Type::Text, _) => wrong("string"),
        (Type::Number, _) => wrong("int32"),
        (Type::Flag, _) => wrong("bool"),
        _ => None,
    }
}

/// The fields that objects of this kind do not have: `spec.replicaz`.
pub(crate) fn unknown(kind: &Kind, object: &Value) -> Vec<String> {
    let all = typed::faults(&kind.of, object).unwrap_or_default();
    let lines = all.lines().filter_map(|line| line.strip_suffix(": field not declared in schema"));
    lines.map(|line| numbered(object, line.trim().trim_start_matches('.'))).collect()
}

/// A field with the numbers of items in place of their keys: `spec.containers[0].imag`.
fn numbered(object: &Value, path: &str) -> String {
    let mut shown = String::new();
    let mut value = object;
    for part in pieces(path) {
        match part.strip_prefix('[').and_then(|key| key.strip_suffix(']')) {
            Some(key) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let is_told = |item: &Value, pair: &str| {
                    let (name, wanted) = pair.split_once('=').unwrap_or_default();
                    let own = item[name].to_string();
                    own == wanted
                };
                let fits = |item: &Value| key.split(',').all(|pair| is_told(item, pair));
                let at = key.parse().ok().or_else(|| items.iter().position(fits)).unwrap_or_default();
                shown.push_str(&format!("[{at}]"));
                value = items.get(at).unwrap_or(&Value::Null);
            }
            None => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(part);
                value = &value[part];
            }
        }
    }
    shown
}

/// The parts of a path: `a.b[name="c"].d` is `a`, `b`, `[name="c"]`, `d`.
fn pieces(path: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let end = match rest.strip_prefix('[') {
            Some(inner) => inner.find(']').map_or(rest.len(), |at| at + 2),
            None => rest.find(['.', '[']).unwrap_or(rest.len()),
        };
        all.push(&rest[..end]);
        rest = rest[end..].trim_start_matches('.');
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds;
    use super::*;

    #[test]
    fn a_field_that_a_kind_has_not_is_named() {
        let job = kinds::find("batch", "v1", "jobs").unwrap();
        let object = |container: Value| json!({ "metadata": { "name": "a" }, "spec": { "template": { "spec": { "containers": [container] } } } });
        assert!(unknown(job, &object(json!({ "name": "c", "image": "i" }))).is_empty());
        let wrong = object(json!({ "name": "c", "imag": "i" }));
        assert_eq!(unknown(job, &wrong), ["spec.template.spec.containers[0].imag"]);
        let node = kinds::find("", "v1", "nodes").unwrap();
        assert_eq!(unknown(node, &json!({ "spec": { "taintz": [] } })), ["spec.taintz"]);
        assert!(!is_writable(kinds::find("metrics.k8s.io", "v1beta1", "pods").unwrap()));
    }
}
