//! What can be wrong with options, kept apart so that it can be said well.

use std::fmt;

use rhai::Dynamic;
use serde::de::{self, Expected, Unexpected};

use crate::run::secret::Secret;
use crate::run::unknown::Unknown;

/// Why an option map does not become the struct it should.
#[derive(Debug, Clone)]
pub enum Problem {
    /// There is no such option.
    UnknownOption {
        /// What was written.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An option is not given that must be.
    Missing(String),
    /// A value of the wrong type.
    WrongType {
        /// What is there, in words: `the text "8GB"`.
        got: String,
        /// What serde wants to see, where the schema does not say it better.
        want: String,
    },
    /// The right type, but not a value that is possible.
    WrongValue {
        /// What is there, in words.
        got: String,
        /// What serde wants to see.
        want: String,
    },
    /// A word that is none of the possible ones.
    UnknownWord {
        /// What was written.
        word: String,
        /// The possible ones.
        known: Vec<String>,
    },
    /// A value that only the real run will know, where it must be known.
    NotKnown(Unknown),
    /// A secret where it would show.
    IsSecret,
    /// Anything else, in a sentence.
    Other(String),
}

impl Problem {
    /// The problem with a value that is no plain data and stands where plain data must stand.
    pub fn of_handle(value: &Dynamic, want: &str) -> Self {
        if let Some(unknown) = value.read_lock::<Unknown>() {
            return Problem::NotKnown(unknown.clone());
        }
        if value.is::<Secret>() {
            return Problem::IsSecret;
        }
        Problem::WrongType { got: describe(value), want: want.to_owned() }
    }
}

/// What a value is, in words that a playbook's author uses.
pub fn describe(value: &Dynamic) -> String {
    if value.is_fnptr() {
        return "a closure".into();
    }
    if value.is_map() {
        return "a map".into();
    }
    if value.is_array() {
        return "a list".into();
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return in_words(Unexpected::Str(&text));
    }
    if value.is_int() || value.is_bool() || value.is_float() {
        return value.to_string();
    }
    let name = value.type_name();
    let name = name.rsplit("::").next().unwrap_or(name);
    format!("a {}", name.to_lowercase())
}

fn in_words(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(truth) => format!("{truth}"),
        Unexpected::Unsigned(number) => format!("{number}"),
        Unexpected::Signed(number) => format!("{number}"),
        Unexpected::Float(number) => format!("{number}"),
        Unexpected::Char(character) => format!("the text \"{character}\""),
        Unexpected::Str(text) => format!("the text {}", shortened(text)),
        Unexpected::Bytes(_) => "bytes".into(),
        Unexpected::Unit | Unexpected::Option => "()".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Problem::Other(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Problem::WrongType { got: in_words(unexpected), want: expected.to_string() }
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Problem::WrongValue { got: in_words(unexpected), want: expected.to_string() }
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Problem::WrongValue { got: format!("{length} of them"), want: expected.to_string() }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Problem::UnknownWord { word: word.to_owned(), known: known.iter().map(|word| (*word).to_owned()).collect() }
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Problem::UnknownOption { name: name.to_owned(), known: known.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn missing_field(name: &'static str) -> Self {
        Problem::Missing(name.to_owned())
    }

    fn duplicate_field(name: &'static str) -> Self {
        Problem::Other(format!("`{name}` is given twice"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::UnknownOption { name, .. } => write!(f, "unknown option `{name}`"),
            Problem::Missing(name) => write!(f, "`{name}` is missing"),
            Problem::WrongType { got, want } | Problem::WrongValue { got, want } => {
                write!(f, "wants {want}, got {got}")
            }
            Problem::UnknownWord { word, .. } => write!(f, "`{word}` is not one of the possible values"),
            Problem::NotKnown(unknown) => write!(f, "needs {}", unknown.origin()),
            Problem::IsSecret => f.write_str("does not take a secret"),
            Problem::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Problem {}
