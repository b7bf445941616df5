//! Our errors and deferrals on their way through a script. They travel whole inside the script language's own error,
//! so that the call frames and positions are filled in on the way and `catch` works.

use rhai::{Dynamic, Engine, EvalAltResult, Position};

use crate::error::Error;
use crate::run::deferral::{self, Deferral};
use crate::run::event::Mode;
use crate::run::unknown::Unknown;

/// Turns an error into one that a script can carry. The position of the call is filled in on the way.
pub fn fail(error: Error) -> Box<EvalAltResult> {
    fail_at(error, Position::NONE)
}

/// The same at a place that is known already.
pub fn fail_at(error: Error, position: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(error), position))
}

/// Refuses to decide on an unknown. A dry run notes that this branch cannot go on; a real run has nothing to wait for,
/// so there it is an ordinary error.
pub fn defer(unknown: &Unknown, doing: &str) -> Box<EvalAltResult> {
    defer_at(unknown, doing, Position::NONE)
}

/// The same at a place that is known already.
pub fn defer_at(unknown: &Unknown, doing: &str, position: Position) -> Box<EvalAltResult> {
    match deferral::mode() {
        Mode::DryRun => {
            let deferral = Deferral { needs: unknown.clone(), doing: doing.to_owned() };
            deferral::raise(deferral.clone());
            carry(deferral, position)
        }
        Mode::Run => fail_at(unknown.needed(&format!("`{doing}`")), position),
    }
}

/// A deferral as a script's error, without noting it: it was noted where it arose.
pub fn carry(deferral: Deferral, position: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(deferral), position))
}

/// Our error inside a script's error, however deep.
pub fn as_error(error: &EvalAltResult) -> Option<Error> {
    carried(error)
}

/// The deferral inside a script's error, however deep.
pub fn as_deferral(error: &EvalAltResult) -> Option<Deferral> {
    carried(error)
}

fn carried<T: Clone + 'static>(error: &EvalAltResult) -> Option<T> {
    match origin_of(error, None).error {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => {
            value.read_lock::<T>().map(|inner| inner.clone())
        }
        _ => None,
    }
}

/// Where an error began: below all calls and imports it came through.
pub struct Origin<'a> {
    /// The error itself.
    pub error: &'a EvalAltResult,
    /// The script it happened in, by its name.
    pub source: Option<String>,
    /// Where in that script.
    pub position: Position,
}

/// Finds where an error began. `source` is the script that was running outermost.
pub fn origin_of<'a>(error: &'a EvalAltResult, source: Option<&str>) -> Origin<'a> {
    let mut source = source.map(str::to_owned);
    let mut error = error;
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(_, place, inner, _) => {
                if !place.is_empty() {
                    source = Some(place.clone());
                }
                error = inner;
            }
            EvalAltResult::ErrorInModule(name, inner, _) => {
                source = Some(name.clone());
                error = inner;
            }
            root => return Origin { error: root, source, position: root.position() },
        }
    }
}

/// Teaches the engine what `catch (e)` can ask of our errors.
pub fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Error>("Error")
        .register_get("message", |error: &mut Error| error.message().to_owned())
        .register_get("class", |error: &mut Error| error.class().to_string())
        .register_get("help", |error: &mut Error| {
            error.help_text().map_or(Dynamic::UNIT, |help| help.to_owned().into())
        })
        .register_fn("to_string", |error: &mut Error| error.to_string())
        .register_fn("to_debug", |error: &mut Error| error.to_string());
    engine
        .register_type_with_name::<Deferral>("Deferral")
        .register_fn("to_string", |deferral: &mut Deferral| format!("deferred: needs {}", deferral.needs.origin()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn a_dry_run_defers_and_remembers_it() {
        deferral::set_mode(Mode::DryRun);
        let error = defer(&Unknown::from_origin("pve:token:ci.secret"), "==");
        assert_eq!(as_deferral(&error).map(|deferral| deferral.needs.origin()).as_deref(), Some("pve:token:ci.secret"));
        assert_eq!(deferral::take().map(|deferral| deferral.doing).as_deref(), Some("=="));
    }

    #[test]
    fn a_real_run_says_that_the_value_is_gone() {
        deferral::set_mode(Mode::Run);
        let error = defer(&Unknown::from_origin("pve:token:ci.secret").spent(), "==");
        let error = as_error(&error).unwrap();
        assert_eq!(error.class(), Class::InputMissing);
        assert!(error.to_string().contains("pve:token:ci.secret"), "{error}");
        assert!(error.to_string().contains("shown once and cannot be read again"), "{error}");
        assert_eq!(deferral::take(), None);
    }

    #[test]
    fn an_error_is_found_below_the_calls_it_came_through() {
        let inner = fail_at(Error::new(Class::Failed, "pve1: no"), Position::new(3, 4));
        let outer = EvalAltResult::ErrorInFunctionCall("f".into(), "lib.rhai".into(), inner, Position::new(1, 1));
        assert_eq!(as_error(&outer).unwrap().message(), "pve1: no");
        let origin = origin_of(&outer, Some("main.rhai"));
        assert_eq!((origin.source.as_deref(), origin.position), (Some("lib.rhai"), Position::new(3, 4)));
    }
}
