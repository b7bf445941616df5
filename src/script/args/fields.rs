//! Types for options that take more than plain data.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use rhai::{Array, Dynamic, FnPtr, Map};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::problem;
use super::source::{self, Source};
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::Value;

/// An option whose value may only be known in the real run.
#[derive(Debug, Clone, PartialEq)]
pub enum Maybe<T> {
    /// The value.
    Known(T),
    /// Where it will come from.
    Unknown(Unknown),
}

/// Text that may be secret.
#[derive(Debug, Clone, PartialEq)]
pub enum TextOrSecret {
    /// Text that may show.
    Text(String),
    /// Text that must not show.
    Secret(Secret),
}

/// A value as the script has it: a handle, for example.
#[derive(Debug, Clone)]
pub struct Opaque(pub Dynamic);

/// A closure.
#[derive(Debug, Clone)]
pub struct Closure(pub FnPtr);

impl<T> Maybe<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Maybe::Known(value) => Some(value),
            Maybe::Unknown(_) => None,
        }
    }

    /// Where it will come from, while that is all that is known.
    pub fn unknown(&self) -> Option<&Unknown> {
        match self {
            Maybe::Known(_) => None,
            Maybe::Unknown(unknown) => Some(unknown),
        }
    }

    /// As a value to compare and to show.
    pub fn into_value(self, value: impl FnOnce(T) -> Value) -> Value {
        match self {
            Maybe::Known(known) => value(known),
            Maybe::Unknown(unknown) => Value::Unknown(unknown),
        }
    }
}

impl TextOrSecret {
    /// As a value, still secret where it is.
    pub fn into_value(self) -> Value {
        match self {
            TextOrSecret::Text(text) => Value::Text(text),
            TextOrSecret::Secret(secret) => Value::Secret(secret),
        }
    }

    /// The text itself, to be handed to the other system and to nobody else.
    pub fn expose(&self) -> &str {
        match self {
            TextOrSecret::Text(text) => text,
            TextOrSecret::Secret(secret) => secret.expose(),
        }
    }
}

/// What a special field finds: the value that it asks for, or something to read in the usual way.
struct Special<T, S> {
    want: &'static str,
    special: S,
    result: PhantomData<T>,
}

/// Asks the deserializer for a special value. `special` takes one (or gives back what it cannot take), `plain` reads
/// plain data.
fn ask<'de, D, T, S>(deserializer: D, kind: &'static str, want: &'static str, special: S) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromPlain,
    S: Fn(&Dynamic) -> Option<T>,
{
    deserializer.deserialize_newtype_struct(kind, Special { want, special, result: PhantomData })
}

/// How a special field reads plain data.
trait FromPlain: Sized {
    fn from_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<'de, T: FromPlain, S: Fn(&Dynamic) -> Option<T>> Visitor<'de> for Special<T, S> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.want)
    }

    /// The value is in the slot.
    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        let value = source::take().ok_or_else(|| E::custom("no value was handed over"))?;
        (self.special)(&value).ok_or_else(|| {
            let got = problem::describe(&value);
            E::invalid_type(de::Unexpected::Other(&got), &self.want)
        })
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::from_plain(deserializer)
    }

    /// The value went through one of serde's buffers, or comes from JSON.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let value = Rebuilt::deserialize(deserializer)?.0;
        match (self.special)(&value) {
            Some(special) => Ok(special),
            None => T::from_plain(Source(&value)).map_err(de::Error::custom),
        }
    }
}

impl<T: for<'a> Deserialize<'a>> FromPlain for Maybe<T> {
    fn from_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Maybe::Known)
    }
}

impl FromPlain for TextOrSecret {
    fn from_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(TextOrSecret::Text)
    }
}

impl FromPlain for Opaque {
    fn from_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Rebuilt::deserialize(deserializer).map(|rebuilt| Opaque(rebuilt.0))
    }
}

impl FromPlain for Closure {
    fn from_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let plain = Rebuilt::deserialize(deserializer)?.0;
        let got = problem::describe(&plain);
        Err(de::Error::invalid_type(de::Unexpected::Other(&got), &"a closure"))
    }
}

impl FromPlain for Value {
    fn from_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainValue)
    }
}

impl<'de, T: for<'a> Deserialize<'a>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ask(deserializer, source::UNKNOWN, "a value", |value| {
            value.read_lock::<Unknown>().map(|unknown| Maybe::Unknown(unknown.clone()))
        })
    }
}

impl<'de> Deserialize<'de> for TextOrSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ask(deserializer, source::SECRET, "a text or a secret", |value| {
            value.read_lock::<Secret>().map(|secret| TextOrSecret::Secret(secret.clone()))
        })
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ask(deserializer, source::ANY, "a value", |value| Some(Opaque(value.clone())))
    }
}

impl<'de> Deserialize<'de> for Closure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ask(deserializer, source::SPECIAL, "a closure", |value| {
            value.read_lock::<FnPtr>().map(|closure| Closure(closure.clone()))
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ask(deserializer, source::SPECIAL, "plain data, a secret or an unknown", |value| {
            let unknown = value.read_lock::<Unknown>().map(|unknown| Value::Unknown(unknown.clone()));
            unknown.or_else(|| value.read_lock::<Secret>().map(|secret| Value::Secret(secret.clone())))
        })
    }
}

/// Reads plain data whose parts may be special.
struct PlainValue;

impl<'de> Visitor<'de> for PlainValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        let too_large = || E::invalid_value(de::Unexpected::Unsigned(number), &"an integer of at most 63 bits");
        i64::try_from(number).map(Value::Int).map_err(|_| too_large())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = crate::run::value::Map::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

/// A script value put together again from what a deserializer tells.
struct Rebuilt(Dynamic);

impl<'de> Deserialize<'de> for Rebuilt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Rebuild).map(Rebuilt)
    }
}

struct Rebuild;

impl<'de> Visitor<'de> for Rebuild {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Dynamic, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Dynamic, E> {
        Ok(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Dynamic, E> {
        i64::try_from(number).map(Dynamic::from).map_err(E::custom)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Dynamic, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Dynamic, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dynamic, A::Error> {
        let mut list = Array::new();
        while let Some(Rebuilt(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some((key, Rebuilt(value))) = entries.next_entry::<String, Rebuilt>()? {
            if key == source::TAG {
                let index = value.as_int().ok().and_then(|index| usize::try_from(index).ok());
                return index.and_then(source::buffered).ok_or_else(|| de::Error::custom("a value was lost"));
            }
            map.insert(key.into(), value);
        }
        Ok(map.into())
    }
}

impl<T: JsonSchema> JsonSchema for Maybe<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

macro_rules! schema {
    ($($type:ty, $name:literal, $schema:tt;)*) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

schema! {
    TextOrSecret, "TextOrSecret", { "type": "string", "x-words": "a text or a secret" };
    Opaque, "Opaque", { "x-words": "any value" };
    Closure, "Closure", { "x-words": "a closure", "x-closure": true };
    Value, "Value", { "x-words": "any data" };
}
