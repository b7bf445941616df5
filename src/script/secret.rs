//! How a secret behaves in a script: what is built from it is secret too, and it prints as dots. Where a function wants
//! text it is refused, because a text would show.

use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext};

use super::text::concatenate;
use crate::run::secret::{DOTS, Secret};

/// Teaches the engine about secrets.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Secret>("Secret");
    register_equality(engine);
    engine
        .register_fn("+", |context: NativeCallContext, left: Secret, right: Secret| {
            concatenate(&context, &Dynamic::from(left), &Dynamic::from(right))
        })
        .register_fn("+", |context: NativeCallContext, left: Secret, right: Dynamic| {
            concatenate(&context, &Dynamic::from(left), &right)
        })
        .register_fn("+", |context: NativeCallContext, left: Dynamic, right: Secret| {
            concatenate(&context, &left, &Dynamic::from(right))
        });
    engine
        .register_fn("len", length)
        .register_fn("is_empty", |secret: &mut Secret| secret.expose().is_empty())
        .register_fn("to_string", |secret: &mut Secret| secret.clone())
        .register_fn("to_debug", |secret: &mut Secret| secret.clone())
        .register_fn("print", |_: &mut Secret| DOTS.to_owned())
        .register_fn("debug", |_: &mut Secret| DOTS.to_owned());
    engine.register_get("len", length);
}

fn length(secret: &mut Secret) -> i64 {
    i64::try_from(secret.expose().chars().count()).unwrap_or(i64::MAX)
}

fn register_equality(engine: &mut Engine) {
    engine
        .register_fn("==", |left: Secret, right: Secret| left == right)
        .register_fn("==", |left: Secret, right: ImmutableString| left.expose() == right.as_str())
        .register_fn("==", |left: ImmutableString, right: Secret| left.as_str() == right.expose())
        .register_fn("!=", |left: Secret, right: Secret| left != right)
        .register_fn("!=", |left: Secret, right: ImmutableString| left.expose() != right.as_str())
        .register_fn("!=", |left: ImmutableString, right: Secret| left.as_str() != right.expose());
}
