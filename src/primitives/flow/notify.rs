//! Doing something because something else changed, even if the run dies in between.

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use crate::error::{Class, Error};
use crate::run::event::Mode;
use crate::run::scope::{self, Phase};
use crate::run::session::Run;
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::context::Context;
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// Calls a closure where one of the outcomes changed something. What changed in an earlier run that died before it came
/// here counts too.
pub(super) fn on_change(call: &NativeCallContext<'_>, outcomes: Dynamic, closure: &FnPtr) -> RhaiResult<Dynamic> {
    match told(outcomes, "on_change", || closure.call_within_context::<Dynamic>(call, ()))? {
        Told::Called(answer) => Ok(answer),
        Told::Not => Ok(Dynamic::UNIT),
        // Whether it is called is not known, so neither is what it gives back, nor what it assigns.
        Told::Maybe(cause) => {
            let unknown = cause.maybe_absent();
            if let Some(context) = Context::of(call) {
                context.forget(&Dynamic::from(closure.clone()), &unknown);
            }
            Ok(to_dynamic(&Value::Unknown(unknown)))
        }
    }
}

/// What became of a notification.
pub(crate) enum Told<T> {
    /// Something changed, and this is what came of telling.
    Called(T),
    /// Whether something changes only the run will know. A dry run went through it in doubt.
    Maybe(Unknown),
    /// Nothing changed.
    Not,
}

/// Acts where one of the outcomes changed something: `who` wants to be told. What changed in an earlier run that died
/// before it came here counts too.
pub(crate) fn told<T>(outcomes: Dynamic, who: &str, act: impl FnOnce() -> RhaiResult<T>) -> RhaiResult<Told<T>> {
    let outcomes = single(outcomes);
    let run = scope::run().map_err(fail)?;
    scope::require(&[Phase::Script], who).map_err(fail)?;
    let mut addresses = Vec::with_capacity(outcomes.len());
    let (mut changed, mut maybe) = (false, Vec::new());
    for outcome in outcomes {
        if let Some(unknown) = outcome.read_lock::<Unknown>() {
            // A step that is left out changes nothing; what is still owed, a run of all steps tells.
            if !unknown.is_left_out() {
                maybe.push(unknown.clone());
            }
            continue;
        }
        let map = outcome.try_cast::<Map>().ok_or_else(|| not_an_outcome(who))?;
        let address = map
            .get("address")
            .and_then(|address| address.clone().into_string().ok())
            .ok_or_else(|| not_an_outcome(who))?;
        let field = map.get("changed").ok_or_else(|| not_an_outcome(who))?;
        maybe.extend(field.read_lock::<Unknown>().map(|unknown| unknown.clone()).filter(|it| !it.is_left_out()));
        // An outcome that a step recorded in an earlier run tells of that run: whether its notification is still owed
        // is in the journal.
        changed |= field.as_bool().unwrap_or(false) && is_of_this_run(&run, &address);
        addresses.push(address);
    }
    let key = key(&run, &addresses);
    if changed || run.owed(&key, &addresses).map_err(fail)? {
        // What is told inside is counted there: a later run may not come to it.
        let answer = scope::within(&key, act).map_err(fail)??;
        if run.mode == Mode::Run {
            run.paid(&key).map_err(fail)?;
        }
        return Ok(Told::Called(answer));
    }
    if maybe.is_empty() {
        return Ok(Told::Not);
    }
    let cause = Unknown::join(&maybe);
    let _answer = scope::in_doubt(&cause, act).map_err(fail)??;
    Ok(Told::Maybe(cause))
}

/// Outcomes one by one: a list of them, and those of many things together.
fn single(outcomes: Dynamic) -> Vec<Dynamic> {
    if outcomes.is_array() {
        return outcomes.cast::<Array>().into_iter().flat_map(single).collect();
    }
    let each = outcomes.read_lock::<Map>().and_then(|map| map.get("outcomes").cloned());
    match each.filter(Dynamic::is_array) {
        Some(each) => single(each),
        None => vec![outcomes],
    }
}

fn is_of_this_run(run: &Run, address: &str) -> bool {
    run.record().changes.iter().any(|done| done.change.address == address)
}

/// The same changes may be told to several: which of them it is, in its step and its branch of `parallel`, belongs to
/// the name.
fn key(run: &Run, addresses: &[String]) -> String {
    let step = scope::step().unwrap_or_default();
    let branch = scope::with(|branch| branch.items.iter().map(|item| format!("[{item}]")).collect::<String>());
    let branch = branch.unwrap_or_default();
    let place = format!("{} {step}{branch} {}", run.step_book().playbook, addresses.join(" "));
    let mut record = run.record();
    let count = record.notified.entry(place.clone()).or_default();
    *count += 1;
    format!("{place} #{count}")
}

fn not_an_outcome(who: &str) -> Box<rhai::EvalAltResult> {
    fail(
        Error::new(Class::Script, format!("`{who}`: wants outcomes, as `h.file(…)` gives them back"))
            .help("`let conf = h.file(#{…}); on_change([conf], || h.run(…));`"),
    )
}
