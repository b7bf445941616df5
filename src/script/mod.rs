//! How our values and errors look from a script, and the only Rhai glue that primitives need. It knows no system.

pub mod args;
pub mod assigned;
pub mod closure;
pub mod context;
pub mod convert;
pub mod failure;
pub mod places;
pub mod secret;
pub mod stack;
pub mod text;
pub mod unknown;

/// What a function that scripts call gives back.
pub type RhaiResult<T> = Result<T, Box<rhai::EvalAltResult>>;

/// What was found out, as scripts have it.
pub fn answer(value: crate::error::Result<crate::run::value::Value>) -> RhaiResult<rhai::Dynamic> {
    value.map(|value| convert::to_dynamic(&value)).map_err(failure::fail)
}

/// Teaches the engine our values.
pub fn register(engine: &mut rhai::Engine) {
    failure::register(engine);
    secret::register(engine);
    unknown::register(engine);
}
