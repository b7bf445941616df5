//! What a playbook says, asks, and gives up on.

use rhai::{Dynamic, EvalAltResult};

use crate::error::{Class, Error};
use crate::run::event::Level;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::convert::from_dynamic;
use crate::script::failure::fail as raise;

pub(super) fn say(level: Level, text: &str) -> RhaiResult<()> {
    scope::say(level, text).map_err(raise)
}

/// A value as it is said: what is not known yet by where it will come from, what is secret as dots.
pub(super) fn shown(value: &Dynamic) -> String {
    match from_dynamic(value) {
        Ok(Value::Text(text)) => text,
        Ok(Value::Secret(secret)) => secret.to_string(),
        Ok(Value::Unknown(unknown)) => unknown.to_string(),
        Ok(value) => value.to_display_json().to_string(),
        Err(_) => value.to_string(),
    }
}

pub(super) fn fail(message: &str) -> Box<EvalAltResult> {
    raise(Error::new(Class::Failed, message))
}

pub(super) fn block(reason: &str) -> Box<EvalAltResult> {
    raise(Error::new(Class::Blocked, reason).help("put that right, then run the same command again"))
}

/// Asks for a yes. A dry run assumes nothing: it says that it would ask, and the answer is unknown.
pub(super) fn confirm(question: &str) -> RhaiResult<Dynamic> {
    let run = scope::run().map_err(raise)?;
    if run.settings.simulated && run.settings.answer_manual {
        say(Level::Info, &format!("the simulator says yes: {question}"))?;
        return Ok(Dynamic::TRUE);
    }
    if scope::is_planning().map_err(raise)? {
        say(Level::Info, &format!("would ask: {question}"))?;
        return Ok(Dynamic::from(Unknown::from_origin(format!("the answer to \"{question}\""))));
    }
    match run.ask(question) {
        Some(answer) => Ok(answer.into()),
        None => Err(raise(
            Error::new(Class::Blocked, format!("nobody is there to answer: {question}"))
                .help("run it on a terminal, or decide it in the docs tables"),
        )),
    }
}
