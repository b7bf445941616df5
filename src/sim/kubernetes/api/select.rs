//! Choosing objects by their labels and fields.

use serde_json::Value;

use super::kinds::Kind;
use super::status::Refusal;

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    Is(String, Vec<String>),
    IsNot(String, Vec<String>),
    There(String),
    NotThere(String),
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    path: String,
    value: String,
    equal: bool,
}

/// What objects must be to be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    labels: Vec<Label>,
    fields: Vec<Field>,
}

/// Fields that can be chosen by, beside name and namespace.
fn fields_of(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => {
            &["regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "reason", "type"]
        }
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    }
}

impl Selection {
    /// Reads the two selectors of a request.
    pub(crate) fn parse(kind: &Kind, labels: Option<&str>, fields: Option<&str>) -> Result<Self, Refusal> {
        Ok(Selection {
            labels: labels.map(parse_labels).transpose()?.unwrap_or_default(),
            fields: fields.map(|text| parse_fields(kind, text)).transpose()?.unwrap_or_default(),
        })
    }

    /// Whether it leaves anything out.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is chosen.
    pub(crate) fn has(&self, object: &Value) -> bool {
        self.labels.iter().all(|label| label.fits(&object["metadata"]["labels"]))
            && self.fields.iter().all(|field| field.fits(object))
    }
}

impl Label {
    fn fits(&self, labels: &Value) -> bool {
        let value = |key: &String| labels[key.as_str()].as_str();
        let among = |key: &String, values: &[String]| value(key).is_some_and(|own| values.iter().any(|one| one == own));
        match self {
            Label::Is(key, values) => among(key, values),
            Label::IsNot(key, values) => !among(key, values),
            Label::There(key) => value(key).is_some(),
            Label::NotThere(key) => value(key).is_none(),
        }
    }
}

impl Field {
    fn fits(&self, object: &Value) -> bool {
        // Events have other names for the same in their newer form.
        let path = self.path.replace("regarding.", "involvedObject.");
        let found = path.split('.').fold(object, |value, part| &value[part]);
        let text = match found {
            Value::Null if self.path.ends_with("unschedulable") || self.path.ends_with("hostNetwork") => {
                "false".to_owned()
            }
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (text == self.value) == self.equal
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<Field>, Refusal> {
    let mut all = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (path, value, equal) = if let Some((path, value)) = term.split_once("!=") {
            (path, value, false)
        } else if let Some((path, value)) = term.split_once("==") {
            (path, value, true)
        } else if let Some((path, value)) = term.split_once('=') {
            (path, value, true)
        } else {
            return Err(Refusal::bad(format!("invalid selector: '{text}'; can't understand '{term}'")));
        };
        let more = fields_of(kind);
        if !matches!(path, "metadata.name" | "metadata.namespace") && !more.contains(&path) {
            let message = match more {
                [] => {
                    format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                }
                _ => format!("field label not supported: {path}"),
            };
            return Err(Refusal::bad(message));
        }
        all.push(Field { path: path.to_owned(), value: value.to_owned(), equal });
    }
    Ok(all)
}

fn parse_labels(text: &str) -> Result<Vec<Label>, Refusal> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (label, left) = parse_label(rest)?;
        all.push(label);
        rest = match left.trim_start().strip_prefix(',') {
            Some(more) if more.trim().is_empty() => {
                return Err(unparsed("found '', expected: identifier after ','"));
            }
            Some(more) => more.trim_start(),
            None if left.trim().is_empty() => "",
            None => return Err(unparsed(&format!("found '{}', expected: ',' or 'end of string'", left.trim()))),
        };
    }
    Ok(all)
}

fn unparsed(why: &str) -> Refusal {
    Refusal::bad(format!("unable to parse requirement: {why}"))
}

/// One requirement, and what comes after it.
fn parse_label(text: &str) -> Result<(Label, &str), Refusal> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let word = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    if let Some(rest) = text.strip_prefix('!') {
        let (key, rest) = rest.split_at(word(rest));
        return Ok((Label::NotThere(checked(key)?), rest));
    }
    let (key, rest) = text.split_at(word(text));
    let (key, rest) = (checked(key)?, rest.trim_start());
    for (operator, equal) in [("==", true), ("!=", false), ("=", true)] {
        if let Some(rest) = rest.strip_prefix(operator) {
            let rest = rest.trim_start();
            let (value, rest) = rest.split_at(word(rest));
            let values = vec![value.to_owned()];
            return Ok((if equal { Label::Is(key, values) } else { Label::IsNot(key, values) }, rest));
        }
    }
    for (operator, within) in [("in ", true), ("in(", true), ("notin ", false), ("notin(", false)] {
        if let Some(rest) =
            rest.strip_prefix(operator.trim_end_matches('(').trim_end()).filter(|_| rest.starts_with(operator))
        {
            let inner = rest.trim_start().strip_prefix('(').ok_or_else(|| unparsed("found '', expected: '('"))?;
            let Some((list, rest)) = inner.split_once(')') else {
                return Err(unparsed("found '', expected: ',' or ')'"));
            };
            let values = list.split(',').map(|value| value.trim().to_owned()).collect();
            return Ok((if within { Label::Is(key, values) } else { Label::IsNot(key, values) }, rest));
        }
    }
    Ok((Label::There(key), rest))
}

/// The key of a label, if it can be one.
fn checked(key: &str) -> Result<String, Refusal> {
    if key.matches('/').count() > 1 || key.is_empty() || key.starts_with('/') || key.ends_with('/') {
        return Err(unparsed(&format!(
            "<nil>: Invalid value: \"{key}\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        )));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds;
    use super::*;

    fn chosen(labels: &str) -> bool {
        let kind = kinds::find("", "v1", "configmaps").unwrap();
        let object = json!({ "metadata": { "name": "c1", "labels": { "n": "1", "even": "false" } } });
        Selection::parse(kind, Some(labels), None).unwrap().has(&object)
    }

    #[test]
    fn labels_are_chosen_by_value_set_and_presence() {
        let yes = ["n=1", "n==1,even", "n in (1,2)", "n notin (2),even=false", "!odd", "n!=2", "m!=1"];
        assert!(yes.iter().all(|text| chosen(text)), "{yes:?}");
        let no = ["n=2", "!even", "n in (3)", "m=1", "n notin (1)"];
        assert!(!no.iter().any(|text| chosen(text)), "{no:?}");
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        let kind = kinds::find("", "v1", "configmaps").unwrap();
        for (labels, fields) in
            [(Some("a in (b"), None), (Some("a/b/c=1"), None), (Some("a=1,"), None), (None, Some("data.a=1"))]
        {
            assert!(Selection::parse(kind, labels, fields).is_err(), "{labels:?} {fields:?}");
        }
    }
}
