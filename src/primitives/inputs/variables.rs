//! The environment.

use rhai::{Dynamic, NativeCallContext};

use super::Inputs;
use crate::error::{Class, Error};
use crate::run::scope;
use crate::run::secret::{SHORTEST, Secret, is_long_enough};
use crate::script::RhaiResult;
use crate::script::context::Context;
use crate::script::failure::fail;

/// A variable that has to be set.
pub(super) fn env(call: &NativeCallContext<'_>, name: &str) -> RhaiResult<String> {
    Context::service::<Inputs>(call)?.environment().require(name).map_err(fail)
}

/// A variable, or what is meant where it is not set.
pub(super) fn env_or(call: &NativeCallContext<'_>, name: &str, default: Dynamic) -> RhaiResult<Dynamic> {
    let inputs = Context::service::<Inputs>(call)?;
    Ok(inputs.environment().get(name).map_or(default, |(value, _)| value.into()))
}

/// A variable that must not show.
pub(super) fn secret(call: &NativeCallContext<'_>, name: &str) -> RhaiResult<Secret> {
    let value = Context::service::<Inputs>(call)?.environment().require(name).map_err(fail)?;
    if !is_long_enough(&value) {
        return Err(fail(
            Error::new(Class::InputMissing, format!("{name}: too short for a secret"))
                .cause(format!(
                    "a secret has at least {SHORTEST} characters: a shorter text cannot be kept out of sight"
                ))
                .help(format!("choose a longer one; if it is no secret, read it with env(\"{name}\")")),
        ));
    }
    Ok(scope::run().map_err(fail)?.redactor.secret(&value))
}
