//! What only a person can do.

use rhai::{Dynamic, FnPtr, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::step::{Ended, run_step};
use crate::error::{Class, Error};
use crate::run::deferral;
use crate::run::event::Level;
use crate::run::scope;
use crate::run::steps::Spec;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::args::Closure;
use crate::script::context::options;
use crate::script::failure::{defer, fail};

/// Work for a person.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualOptions {
    /// What to do, as one would tell a friend.
    pub instructions: String,
    /// Tells whether it is done. Where it answers true, nobody is asked. Default: nobody can tell, so a person says so.
    #[serde(default)]
    pub verify: Option<Closure>,
    /// The host it is about, for `--limit`. Default: none.
    #[serde(default)]
    pub host: Option<String>,
}

/// A step that a person does. `verify` is asked first, and again once the person says that it is done.
pub(super) fn manual(call: &NativeCallContext<'_>, id: &str, title: &str, map: Map) -> RhaiResult<Dynamic> {
    let options: ManualOptions = options(call, "manual", map)?;
    let spec =
        Spec { id: id.to_owned(), title: title.to_owned(), approve: None, host: options.host.clone(), assigns: false };
    let nothing = FnPtr::new("manual")?;
    let body = options.verify.as_ref().map_or(nothing, |verify| verify.0.clone());
    run_step(call, spec, &body, |call, _| {
        if is_done(call, &options)? {
            return Ok(Ended::Value(Dynamic::from(true)));
        }
        if deferral::pending().is_some() || scope::is_planning().map_err(fail)? {
            return Ok(Ended::Manual(options.instructions.clone()));
        }
        ask(call, &options)
    })
}

fn is_done(call: &NativeCallContext<'_>, options: &ManualOptions) -> RhaiResult<bool> {
    match &options.verify {
        None => Ok(false),
        Some(verify) => {
            let answer = verify.0.call_within_context::<Dynamic>(call, ())?;
            if let Some(unknown) = answer.read_lock::<Unknown>() {
                return Err(defer(&unknown, "verify"));
            }
            answer.as_bool().map_err(|given| {
                fail(Error::new(Class::Script, format!("manual: `verify` answers {given}, not true or false")))
            })
        }
    }
}

/// Asks whoever can be asked: the person at the terminal, or the simulator.
fn ask(call: &NativeCallContext<'_>, options: &ManualOptions) -> RhaiResult<Ended> {
    let run = scope::run().map_err(fail)?;
    let by = if run.settings.simulated && run.settings.answer_manual {
        "the simulator".to_owned()
    } else if run.ask(&format!("{}\nIs it done?", options.instructions)) == Some(true) {
        std::env::var("USER").unwrap_or_else(|_| "a person".to_owned())
    } else {
        return Ok(Ended::Manual(options.instructions.clone()));
    };
    // Somebody has done something.
    run.waited();
    if options.verify.is_some() && !is_done(call, options)? {
        let text = format!("{by} says that it is done, but the check does not see it");
        scope::say(Level::Warn, text).map_err(fail)?;
        return Ok(Ended::Manual(options.instructions.clone()));
    }
    scope::say(Level::Info, format!("confirmed by {by}")).map_err(fail)?;
    Ok(Ended::Value(Dynamic::from(true)))
}
