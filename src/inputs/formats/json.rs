//! JSON.

use serde_json::Value;

use super::{malformed, unwritable};
use crate::error::Result;

/// Parses a text.
pub fn parse(name: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        // serde_json counts lines from 1, and in a line the bytes it has read.
        let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let start = line_start + error.column().saturating_sub(1);
        malformed(name, text, "JSON", error, Some(start..start + 1))
    })
}

/// Writes a value on one line.
pub fn stringify(value: &Value) -> Result<String> {
    serde_json::to_string(value).map_err(|error| unwritable("JSON", error))
}

/// Writes a value on indented lines.
pub fn stringify_pretty(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| unwritable("JSON", error))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Any value: the tests of the other formats use it too.
    pub(in crate::inputs::formats) fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\n\t]{0,20}".prop_map(Value::from),
            "(yes|null|~|1|0x1f|1e3|- a|a: b|#|true|2026-01-01|=|<<|'|\")".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,8}", inner, 0..5).prop_map(Value::from_iter),
            ]
        })
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = parse("x.json", "{\n  \"a\": 1,\n  \"b\": é\n}").unwrap_err();
        assert_eq!(error.message(), "x.json: not valid JSON");
        let label = &error.labels()[0];
        assert_eq!(&label.text[label.span.clone()], "é");
    }

    #[test]
    fn the_order_of_keys_is_kept() {
        let value = parse("x", r#"{"b": 1, "a": [2]}"#).unwrap();
        assert_eq!(stringify(&value).unwrap(), r#"{"b":1,"a":[2]}"#);
        assert_eq!(stringify_pretty(&json!([1])).unwrap(), "[\n  1\n]");
    }
}
