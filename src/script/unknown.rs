//! How an unknown behaves in a script: it goes through text and arithmetic, and defers what would decide on it.

use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext};

use super::RhaiResult;
use super::convert::{Taint, from_dynamic, to_dynamic};
use super::failure::{defer, fail};
use super::text::concatenate;
use crate::error::Error;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;

const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
// `+` joins texts too and is registered apart.
const ARITHMETIC: [&str; 10] = ["-", "*", "/", "%", "**", "&", "|", "^", "<<", ">>"];

/// Teaches the engine about unknowns.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Unknown>("Unknown");
    COMPARISONS.into_iter().for_each(|operator| register_comparison(engine, operator));
    ARITHMETIC.into_iter().for_each(|operator| register_arithmetic(engine, operator));
    register_plus(engine);
    register_unary(engine);
    register_access(engine);
    engine
        .register_fn("to_string", |unknown: &mut Unknown| unknown.clone())
        .register_fn("to_debug", |unknown: &mut Unknown| unknown.clone())
        .register_fn("print", |unknown: &mut Unknown| unknown.to_string())
        .register_fn("debug", |unknown: &mut Unknown| unknown.to_string());
}

/// All pairs of types are named: where one is missing, the script language answers "not equal" by itself.
fn register_comparison(engine: &mut Engine, operator: &'static str) {
    engine
        .register_fn(operator, move |left: Unknown, right: Unknown| -> RhaiResult<bool> {
            Err(defer(&Unknown::join([&left, &right]), operator))
        })
        .register_fn(operator, move |left: Unknown, right: Dynamic| compare(&left, &right, operator))
        .register_fn(operator, move |left: Dynamic, right: Unknown| compare(&right, &left, operator));
}

fn compare(unknown: &Unknown, other: &Dynamic, operator: &str) -> RhaiResult<bool> {
    // What is certain to be there is not `()`, whatever it is.
    if other.is_unit() && !unknown.is_maybe_absent() {
        match operator {
            "==" => return Ok(false),
            "!=" => return Ok(true),
            _ => {}
        }
    }
    Err(defer(unknown, operator))
}

fn register_arithmetic(engine: &mut Engine, operator: &'static str) {
    engine
        .register_fn(operator, |left: Unknown, right: Unknown| Unknown::join([&left, &right]))
        .register_fn(operator, |left: Unknown, right: Dynamic| join(&[Dynamic::from(left), right]))
        .register_fn(operator, |left: Dynamic, right: Unknown| join(&[left, Dynamic::from(right)]));
}

fn register_plus(engine: &mut Engine) {
    engine
        .register_fn("+", |context: NativeCallContext, left: Unknown, right: Unknown| {
            add(&context, &Dynamic::from(left), &Dynamic::from(right))
        })
        .register_fn("+", |context: NativeCallContext, left: Unknown, right: Dynamic| {
            add(&context, &Dynamic::from(left), &right)
        })
        .register_fn("+", |context: NativeCallContext, left: Dynamic, right: Unknown| {
            add(&context, &left, &Dynamic::from(right))
        });
}

/// With a text beside it the sum is a text, and can be shown with its known part.
fn add(context: &NativeCallContext, left: &Dynamic, right: &Dynamic) -> Dynamic {
    let is_text = |value: &Dynamic| value.is_string() || value.is_char() || value.is::<Secret>();
    if !is_text(left) && !is_text(right) {
        return Dynamic::from(join(&[left.clone(), right.clone()]));
    }
    concatenate(context, left, right)
}

fn register_unary(engine: &mut Engine) {
    engine
        .register_fn("-", |unknown: Unknown| Unknown::join([&unknown]))
        .register_fn("+", |unknown: Unknown| Unknown::join([&unknown]))
        .register_fn("!", |unknown: Unknown| -> RhaiResult<bool> { Err(defer(&unknown, "!")) });
}

fn register_access(engine: &mut Engine) {
    // `unknown.name` comes here too: the script language asks the index where no getter is registered.
    engine.register_indexer_get(|unknown: &mut Unknown, key: Dynamic| part(unknown, &key));
    engine.register_indexer_set(|unknown: &mut Unknown, key: Dynamic, value: Dynamic| -> RhaiResult<()> {
        let Some(name) = key.read_lock::<ImmutableString>() else {
            return Err(defer(unknown, "[…] ="));
        };
        let mut fields = unknown.fields().clone();
        fields.insert(name.to_string(), from_dynamic(&value).map_err(|refused| fail(Error::from(refused)))?);
        *unknown = unknown.clone().with_fields(fields);
        Ok(())
    });
}

fn part(unknown: &Unknown, key: &Dynamic) -> Dynamic {
    if let Some(name) = key.read_lock::<ImmutableString>() {
        let known = unknown.fields().get(name.as_str()).map(to_dynamic);
        return known.unwrap_or_else(|| Dynamic::from(unknown.part(&name)));
    }
    match key.as_int() {
        Ok(index) => Dynamic::from(unknown.part(&index.to_string())),
        Err(_) => Dynamic::from(join(&[Dynamic::from(unknown.clone()), key.clone()])),
    }
}

/// One unknown made of all that are in these values.
pub fn join(values: &[Dynamic]) -> Unknown {
    let mut taint = Taint::default();
    values.iter().for_each(|value| taint.add(value));
    Unknown::join(&taint.unknowns)
}
