//! The forms of settings: how the API writes them, and the one form in which they are compared.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::clients::proxmox::Params;
use crate::primitives::proxmox::handle::integer;
use crate::run::value::{Map, Value};

/// The form of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Form {
    /// Text.
    Text,
    /// `1` or `0`.
    Flag,
    /// `1`, or not there.
    Switch,
    /// An integer.
    Number,
    /// Words whose order does not matter, with commas between them.
    Set,
    /// The same with blanks between them.
    Words,
    /// `key=value`, with commas between them.
    Pairs,
    /// Several texts of `key=value`, each a parameter of its own.
    Rows,
}

/// A setting: how playbooks and the API call it, and its form.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Setting {
    /// Its name in playbooks and diffs.
    pub name: &'static str,
    /// Its name on the wire.
    pub wire: &'static str,
    /// Its form.
    pub form: Form,
}

macro_rules! constructors {
    ($($name:ident $form:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        pub(in super::super) const fn $name(name: &'static str, wire: &'static str) -> Setting {
            Setting { name, wire, form: Form::$form }
        }
    )*};
}
constructors! {
    text Text "A setting that is text.";
    flag Flag "A setting that is on or off.";
    switch Switch "A setting that is on or not there.";
    number Number "A setting that is an integer.";
    set Set "A setting that is a set of words.";
    blanks Words "A set of words with blanks between them.";
    pairs Pairs "A setting that is keys with values.";
    rows Rows "A setting that is several rows of keys with values.";
}

impl Setting {
    /// What the API says, in the form in which it is compared. `None` where that is nothing.
    pub(super) fn normal(&self, json: &Json) -> Option<Value> {
        let value = match self.form {
            Form::Text => Value::Text(plain(json)?.trim_end_matches('\n').to_owned()),
            Form::Flag | Form::Switch => Value::Bool(integer(json)? != 0),
            Form::Number => Value::Int(integer(json)?),
            Form::Set | Form::Words => words(json),
            Form::Pairs => Value::Map(keys(json)),
            Form::Rows => Value::List(json.as_array()?.iter().map(|row| Value::Map(keys(row))).collect()),
        };
        (!self.is_nothing(&value)).then_some(value)
    }

    /// Whether a value is the same as none: Proxmox keeps neither.
    pub(super) fn is_nothing(&self, value: &Value) -> bool {
        match value {
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Bool(on) => self.form == Form::Switch && !on,
            _ => false,
        }
    }

    /// Adds the setting to the parameters of a write.
    pub(super) fn write(&self, value: &Value, params: &mut Params) {
        match value {
            Value::List(items) if self.form == Form::Rows => {
                items.iter().for_each(|row| params.push(self.wire, written(row)));
            }
            value if self.form == Form::Words => params.push(self.wire, written(value).replace(',', " ")),
            value => params.push(self.wire, written(value)),
        }
    }
}

/// A set of words, each once and in order.
pub(in super::super) fn set_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    let words: BTreeSet<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    Value::List(words.into_iter().map(Value::text).collect())
}

fn plain(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

/// The API gives sets as text here, as lists there, and privileges as a map to ones.
fn words(json: &Json) -> Value {
    match json {
        Json::Array(items) => set_of(items.iter().filter_map(Json::as_str)),
        Json::Object(map) => set_of(map.iter().filter(|(_, on)| integer(on) == Some(1)).map(|(word, _)| word.as_str())),
        Json::String(text) => set_of(text.split([',', ';', ' '])),
        _ => set_of([]),
    }
}

fn keys(json: &Json) -> Map {
    match json {
        Json::Object(map) => {
            map.iter().filter_map(|(key, value)| Some((key.clone(), scalar(&plain(value)?)))).collect()
        }
        Json::String(text) => {
            let parts = text.split(',').filter_map(|part| part.split_once('='));
            parts.map(|(key, value)| (key.trim().to_owned(), scalar(value.trim()))).collect()
        }
        _ => Map::new(),
    }
}

/// Numbers are numbers, so that a playbook may write them so; all else is text.
fn scalar(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::Int(number),
        _ => Value::text(text),
    }
}

/// A value as the API takes it.
fn written(value: &Value) -> String {
    match value {
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Secret(secret) => secret.expose().to_owned(),
        Value::List(items) => items.iter().map(written).collect::<Vec<_>>().join(","),
        Value::Map(map) => {
            map.iter().map(|(key, value)| format!("{key}={}", written(value))).collect::<Vec<_>>().join(",")
        }
        Value::Null | Value::Float(_) | Value::Unknown(_) => String::new(),
    }
}
