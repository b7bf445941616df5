//! Request parameters as the API reads them: forms that split on `&` and `;` alike, JSON bodies, repeated keys.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::answer::Refusal;

/// What came under one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    /// One value.
    One(String),
    /// A key that came several times, or a JSON array.
    Many(Vec<String>),
    /// A JSON object or null, which no parameter takes.
    Odd(&'static str),
}

/// Parameters before they are checked.
pub(crate) type Form = BTreeMap<String, Given>;

/// Reads a query string or a form body.
pub(crate) fn decode(text: &str) -> Form {
    let mut form = Form::new();
    for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        add(&mut form, plain(key), plain(value));
    }
    form
}

fn add(form: &mut Form, key: String, value: String) {
    match form.get_mut(&key) {
        Some(Given::Many(values)) => values.push(value),
        Some(Given::One(first)) => {
            let both = vec![std::mem::take(first), value];
            form.insert(key, Given::Many(both));
        }
        _ => {
            form.insert(key, Given::One(value));
        }
    }
}

/// Undoes the form encoding of one key or value.
fn plain(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Reads a JSON body.
pub(crate) fn decode_json(text: &str) -> Result<Form, Refusal> {
    if text.trim().is_empty() {
        return Ok(Form::new());
    }
    let broken = || {
        let text = format!(
            "malformed JSON string, neither tag, array, object, number, string or atom, at character offset {} \
             (before \"(end of string)\") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.\n",
            text.chars().count()
        );
        Refusal::text(500, text)
    };
    let Ok(Value::Object(map)) = serde_json::from_str(text) else { return Err(broken()) };
    Ok(map.into_iter().map(|(key, value)| (key, given(value))).collect())
}

fn given(value: Value) -> Given {
    match value {
        Value::Array(items) => Given::Many(items.into_iter().map(scalar).collect()),
        Value::Object(_) => Given::Odd("HASH"),
        Value::Null => Given::Odd("undef"),
        other => Given::One(scalar(other)),
    }
}

fn scalar(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Bool(yes) => i32::from(yes).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Given {
        Given::One(text.into())
    }

    #[test]
    fn a_raw_semicolon_starts_a_new_parameter_as_an_ampersand_does() {
        let form = decode("poolid=p3&comment=a=b;c");
        assert_eq!(form["comment"], one("a=b"));
        assert_eq!(form["c"], one(""));
    }

    #[test]
    fn encoded_separators_survive_and_plus_is_a_blank() {
        let form = decode("comment=a%3Db%3Bc+d%2B");
        assert_eq!(form["comment"], one("a=b;c d+"));
    }

    #[test]
    fn a_repeated_key_is_an_array() {
        assert_eq!(decode("map=a&map=b")["map"], Given::Many(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn json_true_counts_as_one() {
        assert_eq!(decode_json(r#"{"enable":true,"n":7}"#).unwrap()["enable"], one("1"));
    }
}
