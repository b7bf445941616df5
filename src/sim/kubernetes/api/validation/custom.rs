//! What objects of custom kinds may not be by their schemas, and what their definitions may not be. Expressions are not looked
//! at.

use regex::Regex;
use serde_json::{Value, json};

use super::{Faults, Looked, items, text};

/// What is said beside faults that hide others.
const HIDDEN: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// Looks at an object by the schema of its kind; `part` is what is written below it.
pub(super) fn look(schema: &Value, object: &Value, part: Option<&str>, all: &mut Faults) {
    let before = all.0.len();
    let mut walk = Walk { all, inside: part.map_or(String::new(), |part| format!("{part}.")) };
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let is_own = part.map_or(name != "metadata", |part| name == part);
        if let Some(value) = object.get(name).filter(|value| !value.is_null() && is_own) {
            walk.value(schema, value, name);
        }
    }
    for name in items(schema, "/required").iter().filter_map(Value::as_str) {
        if object.get(name).is_none_or(Value::is_null) && part.is_none() {
            walk.all.required(name, "");
        }
    }
    let hides = |reason: &str| {
        [
            "FieldValueNotSupported",
            "FieldValueRequired",
            "FieldValueTooLong",
            "FieldValueTooMany",
            "FieldValueTypeInvalid",
        ]
        .contains(&reason)
    };
    if has_rules(schema) && all.0[before..].iter().any(|cause| hides(cause.reason)) {
        all.invalid("<nil>", &Value::Null, HIDDEN);
    }
}

/// Whether there are expressions anywhere in a schema.
fn has_rules(schema: &Value) -> bool {
    let own = schema["x-kubernetes-validations"].as_array().is_some_and(|rules| !rules.is_empty());
    own || schema["properties"].as_object().into_iter().flatten().any(|(_, schema)| has_rules(schema))
        || schema.get("items").is_some_and(has_rules)
        || schema.get("additionalProperties").is_some_and(has_rules)
}

/// What a value is called.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Walk<'a> {
    all: &'a mut Faults,
    /// Where what is looked at begins, which is left out of messages.
    inside: String,
}

impl Walk<'_> {
    /// A sentence about a place.
    fn says(&mut self, at: &str, value: &Value, what: &str) {
        let place = at.strip_prefix(&self.inside).filter(|_| !self.inside.is_empty()).unwrap_or(at).to_owned();
        self.all.invalid(at, value, &format!("{place} in body {what}"));
    }

    fn value(&mut self, schema: &Value, value: &Value, at: &str) {
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        let either = schema["x-kubernetes-int-or-string"] == true;
        if let Some(wanted) = schema["type"].as_str().filter(|_| !either) {
            let own = kind_of(value);
            let fits = own == wanted || (wanted == "number" && own == "integer");
            if !fits {
                let place = at.strip_prefix(&self.inside).filter(|_| !self.inside.is_empty()).unwrap_or(at).to_owned();
                let message = format!("Invalid value: \"{own}\": {place} in body must be of type {wanted}: \"{own}\"");
                self.all.add("FieldValueTypeInvalid", at, message);
                return;
            }
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.contains(value)
        {
            let known: Vec<String> = known.iter().map(Value::to_string).collect();
            let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
            self.all.add("FieldValueNotSupported", at, message);
        }
        match value {
            Value::String(text) => self.text(schema, text, at),
            Value::Number(_) => self.number(schema, value, at),
            Value::Array(list) => self.list(schema, list, at),
            Value::Object(_) => self.map(schema, value, at),
            _ => {}
        }
    }

    fn text(&mut self, schema: &Value, own: &str, at: &str) {
        let length = own.chars().count() as u64;
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            self.all.too_long(at, usize::try_from(most).unwrap_or(usize::MAX));
        }
        if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
            self.says(at, &json!(own), &format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(own))
        {
            self.says(at, &json!(own), &format!("should match '{pattern}'"));
        }
    }

    fn number(&mut self, schema: &Value, own: &Value, at: &str) {
        let number = own.as_f64().unwrap_or_default();
        let strict = |name: &str| schema[name] == true;
        if let Some(least) = schema["minimum"].as_f64() {
            let (bad, words) = match strict("exclusiveMinimum") {
                true => (number <= least, "should be greater than"),
                false => (number < least, "should be greater than or equal to"),
            };
            if bad {
                self.says(at, own, &format!("{words} {}", schema["minimum"]));
            }
        }
        if let Some(most) = schema["maximum"].as_f64() {
            let (bad, words) = match strict("exclusiveMaximum") {
                true => (number >= most, "should be less than"),
                false => (number > most, "should be less than or equal to"),
            };
            if bad {
                self.says(at, own, &format!("{words} {}", schema["maximum"]));
            }
        }
        if let Some(part) = schema["multipleOf"].as_f64().filter(|part| *part > 0.0 && number % part != 0.0) {
            self.says(at, own, &format!("should be a multiple of {part}"));
        }
    }

    fn list(&mut self, schema: &Value, list: &[Value], at: &str) {
        let count = list.len() as u64;
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
            let message = format!("Too many: {count}: must have at most {most} items");
            self.all.add("FieldValueTooMany", at, message);
        }
        if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
            self.says(at, &json!(count), &format!("should have at least {least} items"));
        }
        for (index, item) in list.iter().enumerate() {
            self.value(&schema["items"], item, &format!("{at}[{index}]"));
        }
    }

    fn map(&mut self, schema: &Value, own: &Value, at: &str) {
        for name in items(schema, "/required").iter().filter_map(Value::as_str) {
            if own.get(name).is_none() {
                self.all.required(format!("{at}.{name}"), "");
            }
        }
        let count = own.as_object().map_or(0, serde_json::Map::len) as u64;
        if let Some(most) = schema["maxProperties"].as_u64().filter(|most| count > *most) {
            let message = format!("Too many: {count}: must have at most {most} items");
            self.all.add("FieldValueTooMany", at, message);
        }
        if let Some(least) = schema["minProperties"].as_u64().filter(|least| count < *least) {
            self.says(at, &json!(count), &format!("should have at least {least} properties"));
        }
        // In the order of the schema, in which the API looks, too.
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = own.get(name) {
                self.value(schema, value, &format!("{at}.{name}"));
            }
        }
        if schema["additionalProperties"].is_object() {
            let declared = &schema["properties"];
            for (name, value) in own.as_object().into_iter().flatten() {
                if declared.get(name).is_none() {
                    self.value(&schema["additionalProperties"], value, &format!("{at}.{name}"));
                }
            }
        }
    }
}

/// Looks at a definition.
pub(super) fn definition(looked: &Looked<'_>, all: &mut Faults) {
    let object = looked.object;
    let versions = items(object, "/spec/versions");
    let (plural, group) = (text(object, "/spec/names/plural"), text(object, "/spec/group"));
    if text(object, "/metadata/name") != format!("{plural}.{group}") {
        let name = &object["metadata"]["name"];
        all.invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group");
    }
    let stored = versions.iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        let shown = Value::Array(versions.iter().map(|version| version["name"].clone()).collect());
        all.invalid("spec.versions", &shown, "must have exactly one version marked as storage version");
    }
    all.one_of("spec.scope", &object["spec"]["scope"], &["Cluster", "Namespaced"]);
    for (index, version) in versions.iter().enumerate() {
        let at = match versions.len() {
            1 => "spec.validation.openAPIV3Schema".to_owned(),
            _ => format!("spec.versions[{index}].schema.openAPIV3Schema"),
        };
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            all.required(format!("spec.versions[{index}].schema.openAPIV3Schema"), "schemas are required");
        } else {
            structural(schema, &at, all);
        }
    }
    let Some(live) = looked.live else { return };
    let is_established =
        items(live, "/status/conditions").iter().any(|one| one["type"] == "Established" && one["status"] == "True");
    if is_established {
        for field in ["/spec/scope", "/spec/group", "/spec/names/plural", "/spec/names/kind"] {
            all.unchanged(looked, field);
        }
    }
    for (index, name) in items(live, "/status/storedVersions").iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let plain = name.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {plain} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {plain} and removes {plain} from status.storedVersions"
            );
            all.invalid(format!("status.storedVersions[{index}]"), name, &why);
        }
    }
}

/// Each field of a schema tells its type.
fn structural(schema: &Value, at: &str, all: &mut Faults) {
    let is_open =
        schema["x-kubernetes-preserve-unknown-fields"] == true || schema["x-kubernetes-int-or-string"] == true;
    if schema["type"].is_null() && !is_open {
        let what = if at.ends_with(".items") { "array items" } else { "object fields" };
        all.required(format!("{at}.type"), &format!("must not be empty for specified {what}"));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        structural(schema, &format!("{at}.properties[{name}]"), all);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        structural(items, &format!("{at}.items"), all);
    }
    if let Some(more) = schema.get("additionalProperties").filter(|more| more.is_object()) {
        structural(more, &format!("{at}.additionalProperties"), all);
    }
}
