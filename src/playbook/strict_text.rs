//! The language's functions that turn anything into text, made honest: over an unknown or a secret the built-in ones
//! would write the name of a Rust type, or the secret in clear.

use std::any::TypeId;

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, Position};

use crate::error::{Class, Error};
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::convert::{Taint, from_dynamic};
use crate::script::failure::fail;
use crate::script::text::{Style, Text, concatenate, plain};

/// Replaces them.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("+", |context: NativeCallContext, left: ImmutableString, right: Dynamic| {
            concatenate(&context, &Dynamic::from(left), &right)
        })
        .register_fn("+", |context: NativeCallContext, left: Dynamic, right: ImmutableString| {
            concatenate(&context, &left, &Dynamic::from(right))
        });
    let text_and_any = [TypeId::of::<ImmutableString>(), TypeId::of::<Dynamic>()];
    engine.register_raw_fn("+=", text_and_any, add_in_place);
    engine.register_raw_fn("append", text_and_any, append);
    for name in ["print", "debug"] {
        engine
            .register_fn(name, |context: NativeCallContext, items: &mut Array| {
                written(&context, items.clone().into()).into_shown()
            })
            .register_fn(name, |context: NativeCallContext, map: &mut Map| {
                written(&context, map.clone().into()).into_shown()
            });
    }
    for name in ["to_string", "to_debug"] {
        engine
            .register_fn(name, |context: NativeCallContext, items: &mut Array| {
                written(&context, items.clone().into()).into_dynamic()
            })
            .register_fn(name, |context: NativeCallContext, map: &mut Map| {
                written(&context, map.clone().into()).into_dynamic()
            });
    }
    engine.register_fn("to_json", to_json);
}

fn written(mut context: &NativeCallContext, container: Dynamic) -> Text {
    let mut text = Text::default();
    text.push_value(&container, Style::Debug, &mut context);
    text
}

/// `text += value`. The text cannot become an unknown in place, but where there is no such operator the language asks
/// for `text = text + value` instead, and there it can.
fn add_in_place(context: NativeCallContext, arguments: &mut [&mut Dynamic]) -> RhaiResult<()> {
    if !Taint::of(arguments[1]).is_clean() {
        let missing = EvalAltResult::ErrorFunctionNotFound("+= (text, value)".to_owned(), Position::NONE);
        return Err(Box::new(missing));
    }
    add_plain(&context, arguments);
    Ok(())
}

fn append(context: NativeCallContext, arguments: &mut [&mut Dynamic]) -> RhaiResult<()> {
    if arguments[0].is_read_only() {
        let error = EvalAltResult::ErrorNonPureMethodCallOnConstant("append".to_owned(), Position::NONE);
        return Err(Box::new(error));
    }
    if Taint::of(arguments[1]).is_clean() {
        add_plain(&context, arguments);
    } else {
        *arguments[0] = concatenate(&context, arguments[0], arguments[1]);
    }
    Ok(())
}

fn add_plain(mut context: &NativeCallContext, arguments: &mut [&mut Dynamic]) {
    let added = plain(arguments[1], Style::Plain, &mut context);
    if let Some(mut text) = arguments[0].write_lock::<ImmutableString>() {
        *text += added;
    }
}

fn to_json(map: &mut Map) -> RhaiResult<Dynamic> {
    let whole = Dynamic::from(map.clone());
    let taint = Taint::of(&whole);
    if taint.is_clean() {
        let json = serde_json::to_string(map);
        let json = json.map_err(|error| fail(Error::new(Class::Script, "to_json: not plain data").cause(error)))?;
        return Ok(json.into());
    }
    let value =
        from_dynamic(&whole).map_err(|refused| fail(Error::from(refused).context("to_json: not plain data")))?;
    Ok(match value.to_json() {
        Some(json) => Dynamic::from(Secret::new(json.to_string())),
        None => Dynamic::from(Unknown::join(&taint.unknowns).with_template(template(&value))),
    })
}

/// The JSON with `‹origin›` where an unknown will stand.
fn template(value: &Value) -> String {
    fn marked(value: &Value) -> Value {
        match value {
            Value::Unknown(unknown) => Value::Text(unknown.template()),
            Value::List(items) => Value::List(items.iter().map(marked).collect()),
            Value::Map(map) => Value::Map(map.iter().map(|(key, item)| (key.clone(), marked(item))).collect()),
            other => other.clone(),
        }
    }
    marked(value).to_display_json().to_string()
}
