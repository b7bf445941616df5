//! TOML. Its dates become texts; it has no null.

use serde_json::Value;

use super::{malformed, unwritable};
use crate::error::Result;

/// Parses a text.
pub fn parse(name: &str, text: &str) -> Result<Value> {
    let table: ::toml::Table =
        ::toml::from_str(text).map_err(|error| malformed(name, text, "TOML", error.message(), error.span()))?;
    Ok(json(::toml::Value::Table(table)))
}

/// Writes a map.
pub fn stringify(value: &Value) -> Result<String> {
    ::toml::to_string_pretty(value).map_err(|error| unwritable("TOML", error))
}

fn json(value: ::toml::Value) -> Value {
    match value {
        ::toml::Value::String(text) => text.into(),
        ::toml::Value::Integer(number) => number.into(),
        ::toml::Value::Float(number) => number.into(),
        ::toml::Value::Boolean(truth) => truth.into(),
        ::toml::Value::Datetime(date) => date.to_string().into(),
        ::toml::Value::Array(items) => items.into_iter().map(json).collect(),
        ::toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_arrays_and_dates_are_read() {
        let value = parse("x", "a = 1\nd = 2026-01-02\n[t]\nlist = [1.5, true, \"x\"]\n").unwrap();
        assert_eq!(value, json!({ "a": 1, "d": "2026-01-02", "t": { "list": [1.5, true, "x"] } }));
    }

    #[test]
    fn what_was_written_reads_back_unchanged() {
        let value = json!({ "a": 1, "list": [1, 2], "t": { "x": "y", "tables": [{ "k": "v" }] } });
        assert_eq!(parse("x", &stringify(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = parse("x.toml", "a = 1\na = 2\n").unwrap_err();
        let label = &error.labels()[0];
        assert_eq!((label.span.start, &label.text[label.span.clone()]), (6, "a"));
    }

    #[test]
    fn null_has_no_words_in_toml() {
        assert_eq!(stringify(&json!({ "a": [null] })).unwrap_err().message(), "a value cannot be written as TOML");
    }
}
