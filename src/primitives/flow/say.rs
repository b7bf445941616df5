//! What a playbook says, asks, and gives up on.

use rhai::EvalAltResult;

use crate::error::{Class, Error};
use crate::run::event::Level;
use crate::run::scope;
use crate::script::RhaiResult;
use crate::script::failure::fail as raise;

pub(super) fn say(level: Level, text: &str) -> RhaiResult<()> {
    scope::say(level, text).map_err(raise)
}

pub(super) fn fail(message: &str) -> Box<EvalAltResult> {
    raise(Error::new(Class::Failed, message))
}

pub(super) fn block(reason: &str) -> Box<EvalAltResult> {
    raise(Error::new(Class::Blocked, reason))
}

/// Asks for a yes. A dry run assumes nothing: it says that it would ask, and goes on as if the answer were yes.
pub(super) fn confirm(question: &str) -> RhaiResult<bool> {
    let run = scope::run().map_err(raise)?;
    if scope::is_planning().map_err(raise)? {
        say(Level::Info, &format!("would ask: {question}"))?;
        return Ok(true);
    }
    if run.settings.simulated && run.settings.answer_manual {
        say(Level::Info, &format!("the simulator says yes: {question}"))?;
        return Ok(true);
    }
    match &run.settings.ask {
        Some(ask) => Ok(ask(question)),
        None => Err(raise(
            Error::new(Class::Blocked, format!("nobody is there to answer: {question}"))
                .help("run it on a terminal, or decide it in the docs tables"),
        )),
    }
}
