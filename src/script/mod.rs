//! How our values and errors look from a script. It knows the script language and no system.

pub mod closure;
pub mod convert;
pub mod failure;
pub mod secret;
pub mod stack;
pub mod text;
pub mod unknown;

/// What a function that scripts call gives back.
pub type RhaiResult<T> = Result<T, Box<rhai::EvalAltResult>>;

/// Teaches the engine our values.
pub fn register(engine: &mut rhai::Engine) {
    failure::register(engine);
    secret::register(engine);
    unknown::register(engine);
}
