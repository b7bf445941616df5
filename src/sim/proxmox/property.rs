//! Property strings: `virtio=BC:24:11:…,bridge=vmbr0,tag=20`. Read against a format, checked, and printed the way the
//! API stores them.

use std::collections::BTreeMap;

use super::definition::{Fields, Property};
use super::verify;

/// The keys and values of a property string, aliases resolved.
pub(crate) type Keys = BTreeMap<String, String>;

/// Reads a property string and checks it. `path` is the parameter's name, for the error texts, which are the API's own
/// and end in a newline as its do.
pub(crate) fn read(fields: &Fields, path: &str, text: &str) -> Result<Keys, String> {
    let keys = split(fields, text)?;
    let mut errors = BTreeMap::new();
    for (key, value) in &keys {
        let at = format!("{path}.{key}");
        match fields.get(key.as_str()).filter(|property| property.alias.is_none()) {
            Some(property) => check_key(property, &at, path, value, &keys, &mut errors),
            None => {
                errors.entry(at).or_insert(verify::UNKNOWN.to_string());
            }
        }
    }
    for (key, property) in fields {
        if !property.is_optional && property.alias.is_none() && !keys.contains_key(*key) {
            errors.entry(format!("{path}.{key}")).or_insert(verify::MISSING.to_string());
        }
    }
    if errors.is_empty() {
        return Ok(keys);
    }
    let lines: String = errors.iter().map(|(at, text)| format!("{at}: {text}\n")).collect();
    Err(format!("format error\n{lines}"))
}

fn check_key(
    property: &Property,
    at: &str,
    path: &str,
    value: &str,
    keys: &Keys,
    errors: &mut BTreeMap<String, String>,
) {
    if let Err(text) = verify::check_text(property, at, value) {
        errors.entry(at.to_string()).or_insert(text);
    }
    if let Some(needed) = property.needs.filter(|needed| !keys.contains_key(*needed)) {
        errors.entry(format!("{path}.{needed}")).or_insert(format!("missing property required by '{at}'"));
    }
}

fn split(fields: &Fields, text: &str) -> Result<Keys, String> {
    let default_key = fields.iter().find(|(_, property)| property.is_first).map(|(key, _)| *key);
    let mut keys = Keys::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => insert(fields, &mut keys, key, value)?,
            Some(_) => return Err("missing key in comma-separated list property\n".into()),
            None => {
                let key = default_key.ok_or("value without key, but schema does not define a default key\n")?;
                insert(fields, &mut keys, key, part)?;
            }
        }
    }
    Ok(keys)
}

fn insert(fields: &Fields, keys: &mut Keys, key: &str, value: &str) -> Result<(), String> {
    let property = fields.get(key);
    let mut name = key;
    if let Some(alias) = property.and_then(|property| property.alias) {
        if let Some(other) = property.and_then(|property| property.names)
            && keys.insert(other.to_string(), key.to_string()).is_some()
        {
            return Err(format!("key alias '{other}' is already defined\n"));
        }
        name = alias;
    }
    let is_boolean = fields.get(name).is_some_and(|property| property.kind == "boolean");
    let value = if is_boolean { boolean(value) } else { value };
    if keys.insert(name.to_string(), value.to_string()).is_some() {
        return Err(format!("duplicate key in comma-separated list property: {name}\n"));
    }
    Ok(())
}

/// Inside property strings booleans may be words; outside they may not.
fn boolean(value: &str) -> &str {
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => "1",
        "0" | "off" | "no" | "false" => "0",
        _ => value,
    }
}

/// Splits a property string without a format: keys to values, a value without key under the empty name. For options
/// that are stored as they were sent.
pub(crate) fn loose(text: &str) -> Keys {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or(("", part))).map(|(k, v)| (k.into(), v.into())).collect()
}

/// Prints keys as the API stores a device: the leading value first, then the others by name.
pub(crate) fn print(lead: &str, keys: &Keys, leading_keys: &[&str]) -> String {
    let rest = keys.iter().filter(|(key, _)| !leading_keys.contains(&key.as_str()));
    rest.fold(lead.to_string(), |text, (key, value)| format!("{text},{key}={value}"))
}

#[cfg(test)]
mod tests {
    use super::super::definition::api;
    use super::*;

    fn fields(option: &str) -> &'static Fields {
        api().vm_option_keys(option).unwrap()
    }

    #[test]
    fn a_model_with_its_address_is_two_keys() {
        let keys = read(fields("net0"), "net0", "virtio=bc:24:11:00:00:aa,bridge=vmbr0,tag=20").unwrap();
        assert_eq!(keys["model"], "virtio");
        assert_eq!(keys["macaddr"], "bc:24:11:00:00:aa");
    }

    #[test]
    fn errors_name_the_key_and_are_closed_by_newlines() {
        let error = read(fields("net0"), "net0", "virtio,bridge=vmbr0,tag=5000").unwrap_err();
        assert_eq!(error, "format error\nnet0.tag: value must have a maximum value of 4094\n");
        let error = read(fields("net0"), "net0", "bogus=BC:24:11:00:00:AA,bridge=vmbr0").unwrap_err();
        let unknown = "property is not defined in schema and the schema does not allow additional properties";
        let missing = "property is missing and it is not optional";
        assert_eq!(error, format!("format error\nnet0.bogus: {unknown}\nnet0.model: {missing}\n"));
    }

    #[test]
    fn booleans_inside_may_be_words() {
        assert_eq!(read(fields("agent"), "agent", "yes").unwrap()["enabled"], "1");
        let error = read(fields("agent"), "agent", "maybe").unwrap_err();
        assert_eq!(error, "format error\nagent.enabled: type check ('boolean') failed - got 'maybe'\n");
    }
}
