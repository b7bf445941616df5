//! Data formats, all over `serde_json::Value`. `name` is what errors call the text: its file, or where it came from.

pub mod base64;
pub mod hash;
pub mod json;
pub mod keys;
pub mod semver;
pub mod toml;
pub mod yaml;

use std::fmt;
use std::ops::Range;

use crate::error::{Class, Error};
use crate::inputs::text::Text;

/// A text that is not of its format: says why and points at the place, where the parser knows it.
fn malformed(name: &str, text: &str, format: &str, why: impl fmt::Display, span: Option<Range<usize>>) -> Error {
    let error = Error::new(Class::InputMissing, format!("{name}: not valid {format}"))
        .cause(why)
        .help(format!("correct it at this place, or what wrote it, so that it is {format}"));
    match span {
        Some(span) => error.at(Text::new(name, text).label(span, "here")),
        None => error,
    }
}

/// A value that a format has no words for.
fn unwritable(format: &str, why: impl fmt::Display) -> Error {
    Error::new(Class::InputMissing, format!("a value cannot be written as {format}")).cause(why)
}
