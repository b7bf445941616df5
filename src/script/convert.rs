//! Between the script's values and plain data.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use rhai::{Array, Dynamic, ImmutableString};

use crate::error::{Class, Error};
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::Value;

/// Turns a value of a type that stands for plain data (an outcome, a version) into that data.
pub type PlainHook = fn(&Dynamic) -> Option<Value>;

static HOOKS: RwLock<Vec<PlainHook>> = RwLock::new(Vec::new());

/// Makes values of one more type count as plain data. Saying it twice changes nothing.
pub fn register_plain(hook: PlainHook) {
    let mut hooks = HOOKS.write().unwrap_or_else(PoisonError::into_inner);
    if !hooks.iter().any(|known| std::ptr::fn_addr_eq(*known, hook)) {
        hooks.push(hook);
    }
}

/// Something in a value is not plain data: a closure, a handle, a range.
#[derive(Debug, Clone, PartialEq)]
pub struct NotPlain {
    /// Where in the value, as in `disks[1].size`; empty for the whole.
    pub path: String,
    /// What stands there.
    pub type_name: String,
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{} is not plain data", self.type_name),
            path => write!(f, "{path}: {} is not plain data", self.type_name),
        }
    }
}

impl From<NotPlain> for Error {
    fn from(refused: NotPlain) -> Self {
        Error::new(Class::Script, refused.to_string()).help("use texts, numbers, truth values, lists and maps of these")
    }
}

/// Plain data as a script sees it.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => Dynamic::from_array(items.iter().map(to_dynamic).collect()),
        Value::Map(map) => {
            Dynamic::from_map(map.iter().map(|(key, item)| (key.as_str().into(), to_dynamic(item))).collect())
        }
        Value::Secret(secret) => Dynamic::from(secret.clone()),
        Value::Unknown(unknown) => Dynamic::from(unknown.clone()),
    }
}

/// A script's value as plain data.
pub fn from_dynamic(value: &Dynamic) -> Result<Value, NotPlain> {
    convert(value, &mut String::new())
}

fn convert(value: &Dynamic, path: &mut String) -> Result<Value, NotPlain> {
    if let Some(items) = value.read_lock::<Array>() {
        let items = items.iter().enumerate();
        let items = items.map(|(index, item)| within(path, &format!("[{index}]"), |path| convert(item, path)));
        return items.collect::<Result<_, _>>().map(Value::List);
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        let entries = map.iter().map(|(key, item)| {
            let step = if path.is_empty() { key.to_string() } else { format!(".{key}") };
            Ok((key.to_string(), within(path, &step, |path| convert(item, path))?))
        });
        return entries.collect::<Result<_, _>>().map(Value::Map);
    }
    convert_single(value).ok_or_else(|| NotPlain { path: path.clone(), type_name: describe(value) })
}

fn convert_single(value: &Dynamic) -> Option<Value> {
    if value.is_unit() {
        return Some(Value::Null);
    }
    if let Ok(truth) = value.as_bool() {
        return Some(Value::Bool(truth));
    }
    if let Ok(number) = value.as_int() {
        return Some(Value::Int(number));
    }
    if let Ok(number) = value.as_float() {
        return Some(Value::Float(number));
    }
    if let Ok(character) = value.as_char() {
        return Some(Value::Text(character.to_string()));
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Some(Value::Text(text.to_string()));
    }
    if let Some(secret) = value.read_lock::<Secret>() {
        return Some(Value::Secret(secret.clone()));
    }
    if let Some(unknown) = value.read_lock::<Unknown>() {
        return Some(Value::Unknown(unknown.clone()));
    }
    let hooks = HOOKS.read().unwrap_or_else(PoisonError::into_inner).clone();
    hooks.iter().find_map(|hook| hook(value))
}

/// Runs with one more step on the path, and takes it off again.
fn within<T>(path: &mut String, step: &str, run: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    path.push_str(step);
    let result = run(path);
    path.truncate(length);
    result
}

fn describe(value: &Dynamic) -> String {
    if value.is_fnptr() {
        return "a closure".to_owned();
    }
    let full = value.type_name();
    let short = full.rsplit("::").next().unwrap_or(full);
    format!("a value of type `{short}`")
}

/// The unknowns somewhere inside a value, and whether a secret is.
#[derive(Debug, Default)]
pub struct Taint {
    /// The unknowns, in order.
    pub unknowns: Vec<Unknown>,
    /// Whether a secret is inside.
    pub secret: bool,
}

impl Taint {
    /// Looks through a value.
    pub fn of(value: &Dynamic) -> Self {
        let mut taint = Taint::default();
        taint.add(value);
        taint
    }

    /// Looks through one more value.
    pub fn add(&mut self, value: &Dynamic) {
        if let Some(unknown) = value.read_lock::<Unknown>() {
            self.unknowns.push(unknown.clone());
        } else if value.is::<Secret>() {
            self.secret = true;
        } else if let Some(items) = value.read_lock::<Array>() {
            items.iter().for_each(|item| self.add(item));
        } else if let Some(map) = value.read_lock::<rhai::Map>() {
            map.values().for_each(|item| self.add(item));
        }
    }

    /// Whether there is neither.
    pub fn is_clean(&self) -> bool {
        self.unknowns.is_empty() && !self.secret
    }

    /// One unknown made of all, if there is any.
    pub fn unknown(&self) -> Option<Unknown> {
        match self.unknowns.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            all => Some(Unknown::join(all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_data_survives_the_way_there_and_back() {
        let value = Value::from(serde_json::json!({ "a": [1, 2.5, "x", null, true], "b": { "c": {} } }));
        assert_eq!(from_dynamic(&to_dynamic(&value)), Ok(value));
    }

    #[test]
    fn secrets_and_unknowns_stay_what_they_are() {
        let value = Value::List(vec![
            Value::Secret(Secret::new("s3cret")),
            Value::Unknown(Unknown::from_origin("pve:vm:100.mac")),
        ]);
        assert_eq!(from_dynamic(&to_dynamic(&value)), Ok(value));
    }

    #[test]
    fn a_closure_inside_is_refused_with_its_place() {
        let value = rhai::Engine::new().eval::<Dynamic>("#{ disks: [1, #{ f: || 1 }] }").unwrap();
        let refused = from_dynamic(&value).unwrap_err();
        assert_eq!(refused.to_string(), "disks[1].f: a closure is not plain data");
    }

    #[test]
    fn a_type_can_be_declared_to_stand_for_plain_data() {
        #[derive(Clone)]
        struct Outcome;
        let value = Dynamic::from(Outcome);
        assert_eq!(from_dynamic(&value).unwrap_err().type_name, "a value of type `Outcome`");
        register_plain(|value| value.is::<Outcome>().then(|| Value::from("an outcome")));
        assert_eq!(from_dynamic(&value), Ok(Value::from("an outcome")));
    }

    #[test]
    fn a_shared_value_is_what_it_holds() {
        let engine = rhai::Engine::new();
        let value = engine.eval::<Dynamic>("let x = [1]; let f = || x; #{ x: x, y: [x] }").unwrap();
        assert_eq!(from_dynamic(&value), Ok(Value::from(serde_json::json!({ "x": [1], "y": [[1]] }))));
    }
}
