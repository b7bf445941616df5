//! Sizes and times as people write them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::source;

/// An amount of memory or disk: an integer is MiB, a text has a unit (`"8GiB"`, `"512M"`, `"1TiB"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    mib: u64,
}

/// A span of time: an integer is seconds, a text has units (`"5m"`, `"90s"`, `"1h30m"`, `"500ms"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

impl Size {
    /// So many MiB.
    pub fn from_mib(mib: u64) -> Self {
        Size { mib }
    }

    /// In MiB.
    pub fn mib(self) -> u64 {
        self.mib
    }

    /// In whole GiB, where it is a whole number of them.
    pub fn gib(self) -> Option<u64> {
        self.mib.is_multiple_of(1024).then_some(self.mib / 1024)
    }

    /// Reads a text: a number and a unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text.trim());
        let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is no size"))?;
        let unit = unit.trim();
        let mib = match unit {
            "M" | "MiB" | "Mi" => Some(number),
            "G" | "GiB" | "Gi" => number.checked_mul(1024),
            "T" | "TiB" | "Ti" => number.checked_mul(1024 * 1024),
            "K" | "KiB" | "Ki" if number.is_multiple_of(1024) => Some(number / 1024),
            "K" | "KiB" | "Ki" => return Err(format!("\"{text}\" is no whole number of MiB")),
            "MB" | "GB" | "TB" | "kB" => {
                return Err(format!(
                    "\"{text}\" counts in thousands; sizes here count in 1024s: write \"{number}{}iB\"",
                    &unit[..1]
                ));
            }
            "" => return Err(format!("\"{text}\" has no unit; write \"{text}MiB\" or \"{text}GiB\"")),
            unit => return Err(format!("`{unit}` is no unit of size; there are MiB, GiB and TiB")),
        };
        mib.map(Size::from_mib).ok_or_else(|| format!("\"{text}\" is too large"))
    }
}

impl Duration {
    /// So many seconds.
    pub fn from_secs(seconds: u64) -> Self {
        Duration(std::time::Duration::from_secs(seconds))
    }

    /// Reads a text: numbers with units, the largest first.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut total = std::time::Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err("an empty text is no time".into());
        }
        while !rest.is_empty() {
            let (number, after) = split_number(rest);
            let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is no time"))?;
            let unit_end = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
            let milliseconds = match after[..unit_end].trim() {
                "ms" => Some(1),
                "s" => Some(1000),
                "m" | "min" => Some(60 * 1000),
                "h" => Some(60 * 60 * 1000),
                "d" => Some(24 * 60 * 60 * 1000),
                "" => return Err(format!("\"{text}\" has no unit; write \"{text}s\" or \"{text}m\"")),
                unit => return Err(format!("`{unit}` is no unit of time; there are ms, s, m, h and d")),
            };
            let part = milliseconds.and_then(|unit| number.checked_mul(unit)).map(std::time::Duration::from_millis);
            total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| format!("\"{text}\" is too long"))?;
            rest = after[unit_end..].trim_start();
        }
        Ok(Duration(total))
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gib() {
            Some(gib) => write!(f, "{gib}GiB"),
            None => write!(f, "{}MiB", self.mib),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match milliseconds {
            _ if !milliseconds.is_multiple_of(1000) => write!(f, "{milliseconds}ms"),
            _ if milliseconds == 0 || !milliseconds.is_multiple_of(60_000) => write!(f, "{}s", milliseconds / 1000),
            _ if !milliseconds.is_multiple_of(3_600_000) => write!(f, "{}m", milliseconds / 60_000),
            _ => write!(f, "{}h", milliseconds / 3_600_000),
        }
    }
}

/// As people write it: the reference shows defaults so.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As people write it: the reference shows defaults so.
impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads an integer in the base unit, or a text.
struct Quantity<T> {
    words: &'static str,
    integer: fn(u64) -> T,
    text: fn(&str) -> Result<T, String>,
}

impl<'de, T> Visitor<'de> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => Ok((self.integer)(number)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Ok((self.integer)(number))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }
}

const SIZE_WORDS: &str = "a size: MiB, or a text such as \"8GiB\"";
const DURATION_WORDS: &str = "a time: seconds, or a text such as \"5m\"";

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(
            source::PLAIN,
            Quantity { words: SIZE_WORDS, integer: Size::from_mib, text: Size::parse },
        )
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(
            source::PLAIN,
            Quantity { words: DURATION_WORDS, integer: Duration::from_secs, text: Duration::parse },
        )
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "x-words": SIZE_WORDS, "x-short": "size" })
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "x-words": DURATION_WORDS, "x-short": "time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_mib_or_a_number_with_a_unit() {
        assert_eq!(Size::parse("8GiB"), Ok(Size::from_mib(8192)));
        assert_eq!(Size::parse("512M"), Ok(Size::from_mib(512)));
        assert_eq!(Size::parse("2048KiB"), Ok(Size::from_mib(2)));
        assert_eq!(Size::from_mib(8192).to_string(), "8GiB");
        assert_eq!(Size::from_mib(1000).to_string(), "1000MiB");
    }

    #[test]
    fn a_size_that_could_be_misread_is_refused_with_what_to_write() {
        insta::assert_snapshot!(Size::parse("8GB").unwrap_err(), @r#""8GB" counts in thousands; sizes here count in 1024s: write "8GiB""#);
        insta::assert_snapshot!(Size::parse("8 GB").unwrap_err(), @r#""8 GB" counts in thousands; sizes here count in 1024s: write "8GiB""#);
        insta::assert_snapshot!(Size::parse("8").unwrap_err(), @r#""8" has no unit; write "8MiB" or "8GiB""#);
        insta::assert_snapshot!(Size::parse("99999999999999999T").unwrap_err(), @r#""99999999999999999T" is too large"#);
    }

    #[test]
    fn a_duration_adds_its_parts() {
        assert_eq!(Duration::parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(Duration::from_secs(90).to_string(), "90s");
        assert_eq!(Duration::from_secs(5400).to_string(), "90m");
        assert_eq!(Duration::parse("500ms"), Ok(Duration(std::time::Duration::from_millis(500))));
        insta::assert_snapshot!(Duration::parse("5").unwrap_err(), @r#""5" has no unit; write "5s" or "5m""#);
        insta::assert_snapshot!(Duration::parse("5 parsecs").unwrap_err(), @"`parsecs` is no unit of time; there are ms, s, m, h and d");
    }
}
