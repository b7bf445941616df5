//! YAML 1.2: `yes` and `on` are words, only `true` and `false` are truth values. One thing is as kubectl has it:
//! `0644` is octal, because manifests give file modes so.

use serde_json::Value;

use super::{malformed, unwritable};
use crate::error::{Error, Result};

/// Parses a text with one document. An empty text is null.
pub fn parse(name: &str, text: &str) -> Result<Value> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| refused(name, text, &error))
}

/// Parses all documents of a text.
pub fn parse_all(name: &str, text: &str) -> Result<Vec<Value>> {
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| refused(name, text, &error))
}

/// Writes a value as one document.
pub fn stringify(value: &Value) -> Result<String> {
    serde_saphyr::to_string(value).map_err(|error| unwritable("YAML", error))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn refused(name: &str, text: &str, error: &serde_saphyr::Error) -> Error {
    let span = error.location().map(|location| span(text, &location));
    match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            malformed(name, text, "YAML", "there is a second document", span)
        }
        error => malformed(name, text, "YAML", error, span),
    }
}

/// The bytes of a place that is given as line and character, both from 1.
fn span(text: &str, location: &serde_saphyr::Location) -> std::ops::Range<usize> {
    let before = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let line_start: usize = text.split_inclusive('\n').take(before(location.line())).map(str::len).sum();
    let start =
        line_start + text[line_start..].chars().take(before(location.column())).map(char::len_utf8).sum::<usize>();
    let length = usize::try_from(location.span().byte_len().unwrap_or(1)).unwrap_or(1);
    start..start + length.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::inputs::formats::json::tests::values;

    #[test]
    fn words_stay_words_and_order_is_kept() {
        let value = parse("x", "b: yes\na: [1, 1.5, true, null, \"2\", ~]\nm: {k: 'v'}\n").unwrap();
        assert_eq!(value, json!({ "b": "yes", "a": [1, 1.5, true, null, "2", null], "m": { "k": "v" } }));
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a", "m"]);
    }

    #[test]
    fn numbers_are_numbers_only_where_kubectl_agrees() {
        let value = parse("x", "mode: 0644\nhex: 0x1f\nwide: 1_000\ntime: 12:30\nday: 2026-01-01\n1: key\n").unwrap();
        let expected = json!({
            "mode": 420, "hex": 31, "wide": "1_000", "time": "12:30", "day": "2026-01-01", "1": "key",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_second_document_is_refused_where_one_is_expected() {
        let error = parse("x", "a: 1\n---\nb: 2\n").unwrap_err();
        assert_eq!(error.causes(), ["there is a second document"]);
    }

    #[test]
    fn a_text_may_hold_several_documents() {
        assert_eq!(parse_all("x", "a: 1\n---\nb: 2\n").unwrap(), [json!({ "a": 1 }), json!({ "b": 2 })]);
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = parse("values.yaml", "a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert_eq!(error.message(), "values.yaml: not valid YAML");
        let label = &error.labels()[0];
        assert!(label.span.start > 5, "{label:?}");
        let twice = parse("values.yaml", "a: 1\na: 2\n").unwrap_err();
        let label = &twice.labels()[0];
        assert_eq!((label.span.start, &label.text[label.span.clone()]), (5, "a"));
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_unchanged(value in values()) {
            let text = stringify(&value).unwrap();
            prop_assert_eq!(parse("x", &text).unwrap(), value, "{}", text);
        }
    }
}
