//! Plain data: what facts read, what resources want, what steps give back.

use std::collections::BTreeMap;

use super::secret::Secret;
use super::unknown::Unknown;

/// A map of values, sorted by key.
pub type Map = BTreeMap<String, Value>;

/// Plain data, with the two things that plain data usually cannot say: that a text is secret, and that a value is not
/// known yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: `()` in a script, `null` in JSON.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Map),
    /// Text that must not show.
    Secret(Secret),
    /// A value that only the real run will know.
    Unknown(Unknown),
}

impl Value {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    /// The text, where it is plain text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, where it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The map, where it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The field of a map.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// All unknowns inside, in order.
    pub fn unknowns(&self) -> Vec<&Unknown> {
        let mut found = Vec::new();
        self.collect_unknowns(&mut found);
        found
    }

    fn collect_unknowns<'a>(&'a self, found: &mut Vec<&'a Unknown>) {
        match self {
            Value::Unknown(unknown) => found.push(unknown),
            Value::List(items) => items.iter().for_each(|item| item.collect_unknowns(found)),
            Value::Map(map) => map.values().for_each(|item| item.collect_unknowns(found)),
            _ => {}
        }
    }

    /// As JSON for screens and journals: secrets as dots, unknowns as `(known after apply: …)`.
    pub fn to_display_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(truth) => Json::Bool(*truth),
            Value::Int(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Value::to_display_json).collect()),
            Value::Map(map) => {
                Json::Object(map.iter().map(|(key, item)| (key.clone(), item.to_display_json())).collect())
            }
            Value::Secret(secret) => Json::String(secret.to_string()),
            Value::Unknown(unknown) => Json::String(unknown.to_string()),
        }
    }

    /// As JSON to be used, secrets in clear. `None` when something in it is unknown.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match self {
            Value::List(items) => Json::Array(items.iter().map(Value::to_json).collect::<Option<_>>()?),
            Value::Map(map) => {
                Json::Object(map.iter().map(|(key, item)| Some((key.clone(), item.to_json()?))).collect::<Option<_>>()?)
            }
            Value::Secret(secret) => Json::String(secret.expose().to_owned()),
            Value::Unknown(_) => return None,
            plain => plain.to_display_json(),
        })
    }

    /// Whether a text or key somewhere inside contains these words; secrets are looked into.
    pub fn mentions(&self, words: &str) -> bool {
        match self {
            Value::Text(text) => text.contains(words),
            Value::Secret(secret) => secret.expose().contains(words),
            Value::List(items) => items.iter().any(|item| item.mentions(words)),
            Value::Map(map) => map.iter().any(|(key, item)| key.contains(words) || item.mentions(words)),
            _ => false,
        }
    }

    fn with_secrets_of(self, wanted: &Value) -> Self {
        match (self, wanted) {
            (Value::Text(text), Value::Secret(secret)) if secret.expose() == text => Value::Secret(secret.clone()),
            (Value::List(items), Value::List(wanted)) if items.len() == wanted.len() => {
                let pairs = items.into_iter().zip(wanted);
                Value::List(pairs.map(|(item, wanted)| item.with_secrets_of(wanted)).collect())
            }
            (Value::Map(map), Value::Map(wanted)) => {
                let keep = |(key, item): (String, Value)| match wanted.get(&key) {
                    Some(wanted) => (key, item.with_secrets_of(wanted)),
                    None => (key, item),
                };
                Value::Map(map.into_iter().map(keep).collect())
            }
            (value, _) => value,
        }
    }

    /// Whether a secret is somewhere inside.
    pub fn holds_secret(&self) -> bool {
        match self {
            Value::Secret(_) => true,
            Value::List(items) => items.iter().any(Value::holds_secret),
            Value::Map(map) => map.values().any(Value::holds_secret),
            _ => false,
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(truth) => Value::Bool(truth),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int)
            }
            Json::String(text) => Value::Text(text),
            Json::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            Json::Object(map) => Value::Map(map.into_iter().map(|(key, item)| (key, Value::from(item))).collect()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Value::Map(map)
    }
}

/// What stands in a cell: nothing, something, or something that is not known yet.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is not there.
    Absent,
    /// It is there and reads so.
    Here(Value),
    /// Whether and how it is there will only be known in the real run.
    Unknown(Unknown),
}

impl State {
    /// The value, where it is there and known.
    pub fn here(&self) -> Option<&Value> {
        match self {
            State::Here(value) => Some(value),
            _ => None,
        }
    }

    /// The same, where what was written as a secret is secret still, although it was read back as plain text.
    #[must_use]
    pub fn with_secrets_of(self, wanted: &State) -> Self {
        match (self, wanted) {
            (State::Here(found), State::Here(wanted)) => State::Here(found.with_secrets_of(wanted)),
            (state, _) => state,
        }
    }

    /// As a script sees it: `()` when absent, and where that is not known, an unknown that may be `()`.
    pub fn into_value(self) -> Value {
        match self {
            State::Absent => Value::Null,
            State::Here(value) => value,
            State::Unknown(unknown) => Value::Unknown(unknown.maybe_absent()),
        }
    }
}

impl From<Value> for State {
    /// `()` is absent, an unknown is unknown, all else is there.
    fn from(value: Value) -> Self {
        match value {
            Value::Null => State::Absent,
            Value::Unknown(unknown) => State::Unknown(unknown),
            value => State::Here(value),
        }
    }
}
