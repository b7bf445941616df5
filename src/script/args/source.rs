//! Reads Rhai values for serde. Unlike Rhai's own deserializer it keeps what serde says apart from its sentence, and
//! lets values through that are no plain data: unknowns, secrets, closures, handles.
//!
//! A field that takes such a value asks for a newtype of one of the names below. Where the value is of the kind it asks
//! for, the value is put into [`take`]'s slot and the field sees a unit; else it sees `Some` of the plain value. serde
//! buffers flattened and untagged values as plain data first: there, a tagged map stands for the value.

use std::cell::RefCell;

use rhai::{Array, Dynamic, Map};
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

use super::problem::Problem;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;

/// Asks for an unknown.
pub const UNKNOWN: &str = "\u{1}unknown";
/// Asks for a secret.
pub const SECRET: &str = "\u{1}secret";
/// Asks for anything that is no plain data.
pub const SPECIAL: &str = "\u{1}special";
/// Asks for the value itself, whatever it is.
pub const ANY: &str = "\u{1}any";
/// Asks for plain data of whatever type, where serde's `deserialize_any` would also take what is none.
pub const PLAIN: &str = "\u{1}plain";
/// The key of the map that stands for a value in serde's buffers.
pub const TAG: &str = "\u{1}value";

thread_local! {
    static SLOT: RefCell<Option<Dynamic>> = const { RefCell::new(None) };
    // Values that went through a buffer; their index is in the tagged map. One parse fills and clears it.
    static BUFFERED: RefCell<Vec<Dynamic>> = const { RefCell::new(Vec::new()) };
}

/// The value that the deserializer just handed over.
pub fn take() -> Option<Dynamic> {
    SLOT.with_borrow_mut(Option::take)
}

/// The value that a tagged map stands for.
pub fn buffered(index: usize) -> Option<Dynamic> {
    BUFFERED.with_borrow(|values| values.get(index).cloned())
}

/// Runs a parse, with a buffer of its own: an option's own deserializer may parse again.
pub fn with_buffer<R>(parse: impl FnOnce() -> R) -> R {
    let outer = BUFFERED.take();
    let result = parse();
    BUFFERED.set(outer);
    result
}

/// A value without shared parts: captured variables are behind a lock.
pub fn unshared(value: Dynamic) -> Dynamic {
    let value = value.flatten();
    if value.is_map() {
        let map: Map = value.cast();
        return map.into_iter().map(|(key, value)| (key, unshared(value))).collect::<Map>().into();
    }
    if value.is_array() {
        let items: Array = value.cast();
        return items.into_iter().map(unshared).collect::<Array>().into();
    }
    value
}

/// A deserializer over a value that has no shared parts.
#[derive(Clone, Copy)]
pub struct Source<'a>(pub &'a Dynamic);

impl IntoDeserializer<'_, Problem> for Source<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Source<'_> {
    fn is_plain(self) -> bool {
        let value = self.0;
        value.is_unit()
            || value.is_bool()
            || value.is_int()
            || value.is_float()
            || value.is_char()
            || value.is_string()
            || value.is_array()
            || value.is_map()
            || value.is_blob()
    }

    fn is_asked_for(self, name: &str) -> bool {
        match name {
            UNKNOWN => self.0.is::<Unknown>(),
            SECRET => self.0.is::<Secret>(),
            SPECIAL => !self.is_plain(),
            _ => name == ANY,
        }
    }

    /// Plain data, each as what it is.
    fn plain<'de, V: Visitor<'de>>(self, want: &str, visitor: V) -> Result<V::Value, Problem> {
        let value = self.0;
        if value.is_unit() {
            return visitor.visit_unit();
        }
        if let Ok(truth) = value.as_bool() {
            return visitor.visit_bool(truth);
        }
        if let Ok(number) = value.as_int() {
            return visitor.visit_i64(number);
        }
        if let Ok(number) = value.as_float() {
            return visitor.visit_f64(number);
        }
        if let Ok(character) = value.as_char() {
            return visitor.visit_char(character);
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return visitor.visit_str(&text);
        }
        if let Ok(items) = value.as_array_ref() {
            return visitor.visit_seq(SeqDeserializer::new(items.iter().map(Source)));
        }
        if let Ok(map) = value.as_map_ref() {
            return visitor.visit_map(entries(&map));
        }
        if let Ok(bytes) = value.as_blob_ref() {
            return visitor.visit_bytes(&bytes);
        }
        Err(Problem::of_handle(value, want))
    }
}

type Entries<'de, I> = MapDeserializer<'de, I, Problem>;

fn entries<'de, 'a>(map: &'a Map) -> Entries<'de, impl Iterator<Item = (&'a str, Source<'a>)>> {
    MapDeserializer::new(map.iter().map(|(key, value)| (key.as_str(), Source(value))))
}

macro_rules! plain {
    ($($method:ident: $want:literal),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            self.plain($want, visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Source<'_> {
    type Error = Problem;

    plain! {
        deserialize_bool: "true or false",
        deserialize_i8: "an integer", deserialize_i16: "an integer", deserialize_i32: "an integer",
        deserialize_i64: "an integer", deserialize_i128: "an integer",
        deserialize_u8: "an integer", deserialize_u16: "an integer", deserialize_u32: "an integer",
        deserialize_u64: "an integer", deserialize_u128: "an integer",
        deserialize_f32: "a number", deserialize_f64: "a number",
        deserialize_char: "a character", deserialize_str: "a text", deserialize_string: "a text",
        deserialize_bytes: "bytes", deserialize_byte_buf: "bytes",
        deserialize_unit: "()", deserialize_seq: "a list", deserialize_map: "a map",
        deserialize_identifier: "a text",
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.is_plain() {
            return self.plain("plain data", visitor);
        }
        let index = BUFFERED.with_borrow_mut(|values| {
            values.push(self.0.clone());
            values.len() - 1
        });
        visitor.visit_map(MapDeserializer::new(std::iter::once((TAG, index))))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.0.is_unit() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        self.plain("()", visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        if !name.starts_with('\u{1}') {
            return visitor.visit_newtype_struct(self);
        }
        if name == PLAIN {
            return self.plain("plain data", visitor);
        }
        if !self.is_asked_for(name) {
            return visitor.visit_some(self);
        }
        SLOT.set(Some(self.0.clone()));
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.plain("a list", visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.plain("a list", visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.plain("a map", visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if let Ok(word) = self.0.as_immutable_string_ref() {
            return visitor.visit_enum(de::value::StrDeserializer::<Problem>::new(&word));
        }
        if let Ok(map) = self.0.as_map_ref() {
            return visitor.visit_enum(MapAccessDeserializer::new(entries(&map)));
        }
        self.plain("a text", visitor)
    }
}
