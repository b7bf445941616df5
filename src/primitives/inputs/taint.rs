//! Functions that only compute: what comes out of a secret is secret, what comes out of an unknown is unknown.

use rhai::{Array, Dynamic, ImmutableString, Map};
use serde_json::Value as Json;

use crate::error::{Class, Error, Result};
use crate::run::scope;
use crate::run::secret::{Redactor, Secret};
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::convert::{Taint, from_dynamic, to_dynamic};
use crate::script::failure::fail;

/// Computes something from values. Where one of them is unknown nothing is computed and the result is unknown; where
/// one is secret, the texts of the result are.
pub(super) fn compute<T: Into<Dynamic>>(values: &[&Dynamic], work: impl FnOnce() -> Result<T>) -> RhaiResult<Dynamic> {
    let mut taint = Taint::default();
    values.iter().for_each(|value| taint.add(value));
    if let Some(unknown) = taint.unknown() {
        return Ok(Dynamic::from(unknown.without_template()));
    }
    let result =
        work().map_err(|error| if taint.secret { without_details(error) } else { error }).map_err(fail)?.into();
    if !taint.secret {
        return Ok(result);
    }
    Ok(veil(result, &scope::run().map_err(fail)?.redactor))
}

/// The labels and causes of an error about a secret text show parts of it.
fn without_details(error: Error) -> Error {
    let plain = Error::new(error.class(), "a secret text is not of the form it should be");
    match error.help_text() {
        Some(help) => plain.help(help),
        None => plain,
    }
}

fn veil(value: Dynamic, redactor: &Redactor) -> Dynamic {
    let value = value.flatten();
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Dynamic::from(redactor.secret(&text));
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| veil(item.clone(), redactor)).collect::<Array>().into();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.iter().map(|(key, item)| (key.clone(), veil(item.clone(), redactor))).collect::<Map>().into();
    }
    value
}

/// The text of an argument, secret or not.
pub(super) fn text(function: &str, value: &Dynamic) -> Result<String> {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(text.to_string());
    }
    if let Some(secret) = value.read_lock::<Secret>() {
        return Ok(secret.expose().to_owned());
    }
    let error = Error::new(Class::Script, format!("`{function}`: wants a text, got {}", shown_type(value)));
    Err(error.help("turn it into a text first: `value.to_string()`"))
}

/// An argument as JSON, its secrets in clear: only for what goes through [`compute`].
pub(super) fn json(value: &Dynamic) -> Result<Json> {
    let value = from_dynamic(value)?;
    value.to_json().ok_or_else(|| Error::new(Class::Bug, "homelab: an unknown value was to be written"))
}

/// JSON as a script sees it.
pub(super) fn from_json(json: Json) -> Dynamic {
    to_dynamic(&Value::from(json))
}

fn shown_type(value: &Dynamic) -> &'static str {
    match () {
        () if value.is_unit() => "()",
        () if value.is_bool() => "a truth value",
        () if value.is_int() || value.is_float() => "a number",
        () if value.is_array() => "a list",
        () if value.is_map() => "a map",
        () => "something else",
    }
}
