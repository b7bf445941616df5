//! Waiting and trying again.

use std::time::{Duration, Instant};

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Class, Error};
use crate::run::deferral;
use crate::run::event::{Level, What};
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::args::Duration as Span;
use crate::script::context::{Context, options};
use crate::script::convert::to_dynamic;
use crate::script::failure::{as_error, defer, fail, origin_of};

/// What is waited for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitOptions {
    /// What is waited for, in words: `"k3s-cp-01 answers"`.
    pub what: String,
    /// How long at the most. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub timeout: Span,
    /// The pause between two looks. Default: 2 seconds.
    #[serde(default = "two_seconds")]
    pub every: Span,
}

/// How something is tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryOptions {
    /// How often it is tried in all. Default: 3.
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    pub times: u32,
    /// The pause before the second try. Default: 2 seconds.
    #[serde(default = "two_seconds")]
    pub delay: Span,
    /// What the pause is multiplied with each time. Default: 2.
    #[serde(default = "double")]
    pub backoff: f64,
}

fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}

fn two_seconds() -> Span {
    Span(Duration::from_secs(2))
}

fn three() -> u32 {
    3
}

fn double() -> f64 {
    2.0
}

/// What ends a wait, and what is said where it does not.
struct Goal {
    /// What is waited for, in words.
    what: String,
    reached: fn(&Dynamic) -> bool,
    missed: fn(&WaitOptions, &Dynamic) -> Error,
}

/// Calls a closure until it answers something else than `false` or `()`. A dry run looks once: what it does not see
/// yet, the run will wait for.
pub(super) fn wait_until(call: &NativeCallContext<'_>, map: Map, closure: &FnPtr) -> RhaiResult<Dynamic> {
    let options: WaitOptions = options(call, "wait_until", map)?;
    let missed = |options: &WaitOptions, seen: &Dynamic| {
        Error::new(Class::Timeout, format!("{}: not within {}", options.what, options.timeout))
            .cause(format!("last seen: {seen}"))
            .help("look at why, or give it more time with `timeout:`")
    };
    wait(call, &options, closure, &Goal { what: options.what.clone(), reached: holds, missed })
}

/// Calls a closure until it finds nothing wrong any more. A dry run looks once, as with `wait_until`.
pub(super) fn wait_until_clear(call: &NativeCallContext<'_>, map: Map, closure: &FnPtr) -> RhaiResult<()> {
    let options: WaitOptions = options(call, "wait_until_clear", map)?;
    let missed = |options: &WaitOptions, seen: &Dynamic| {
        let complaints: Vec<String> = seen
            .read_lock::<Array>()
            .into_iter()
            .flat_map(|all| all.iter().map(Dynamic::to_string).collect::<Vec<_>>())
            .collect();
        Error::new(Class::Blocked, format!("{}: {}", options.what, complaints.join("; ")))
            .help(format!("that is what was seen after {}: put it right, then run again", options.timeout))
    };
    let what = format!("nothing is wrong with {}", options.what);
    wait(call, &options, closure, &Goal { what, reached: is_clear, missed }).map(drop)
}

fn wait(call: &NativeCallContext<'_>, options: &WaitOptions, closure: &FnPtr, goal: &Goal) -> RhaiResult<Dynamic> {
    let began = Instant::now();
    let planning = scope::is_planning().map_err(fail)?;
    loop {
        let answer = look(call, closure);
        if planning {
            return plan_wait(call, closure, answer, goal);
        }
        let answer = answer?;
        if let Some(unknown) = answer.read_lock::<Unknown>() {
            return Err(defer(&unknown, "wait_until"));
        }
        if (goal.reached)(&answer) {
            scope::run().map_err(fail)?.waited();
            return Ok(answer);
        }
        let waited = began.elapsed();
        if waited >= options.timeout.0 {
            return Err(fail((goal.missed)(options, &answer)));
        }
        scope::emit(What::Waiting {
            step: scope::step(),
            what: goal.what.clone(),
            observed: answer.to_string(),
            milliseconds: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        })
        .map_err(fail)?;
        scope::pause(options.every.0).map_err(fail)?;
    }
}

/// Asks the closure, which only looks: how often it will be asked, nobody knows.
fn look(call: &NativeCallContext<'_>, closure: &FnPtr) -> RhaiResult<Dynamic> {
    let phase = scope::with(|branch| branch.phase).map_err(fail)?;
    let looking = if phase == Phase::Script { Phase::Wait } else { phase };
    let mut answer = Ok(Dynamic::UNIT);
    scope::in_phase(looking, || {
        answer = closure.call_within_context::<Dynamic>(call, ());
        Ok(())
    })
    .map_err(fail)?;
    answer
}

fn plan_wait(
    call: &NativeCallContext<'_>,
    closure: &FnPtr,
    answer: RhaiResult<Dynamic>,
    goal: &Goal,
) -> RhaiResult<Dynamic> {
    let deferred = deferral::take().is_some();
    match answer {
        Ok(answer) if !deferred && (goal.reached)(&answer) => Ok(answer),
        Err(error) if !deferred => Err(error),
        _ => {
            scope::say(Level::Info, format!("would wait until {}", goal.what)).map_err(fail)?;
            let unknown = Unknown::from_origin(&goal.what);
            if let Some(context) = Context::of(call) {
                context.forget(&Dynamic::from(closure.clone()), &unknown);
            }
            Ok(to_dynamic(&Value::Unknown(unknown)))
        }
    }
}

/// An answer that is no list is something wrong, too: nobody knows what it means.
fn is_clear(answer: &Dynamic) -> bool {
    answer.read_lock::<Array>().is_some_and(|complaints| complaints.is_empty())
}

fn holds(answer: &Dynamic) -> bool {
    !answer.is_unit() && answer.as_bool().unwrap_or(true)
}

/// Calls a closure until it does not fail.
pub(super) fn retry(call: &NativeCallContext<'_>, map: Map, closure: &FnPtr) -> RhaiResult<Dynamic> {
    let options: RetryOptions = options(call, "retry", map)?;
    let times = if scope::is_planning().map_err(fail)? { 1 } else { options.times };
    let mut delay = options.delay.0;
    let mut tried = 1;
    loop {
        let error = match closure.call_within_context::<Dynamic>(call, ()) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if tried >= times || is_hopeless(&error) || deferral::pending().is_some() {
            return Err(error);
        }
        let why = as_error(&error).map_or_else(|| error.to_string(), |error| error.to_string());
        scope::say(Level::Warn, format!("try {tried} of {times} failed: {why}")).map_err(fail)?;
        scope::pause(delay).map_err(fail)?;
        delay = delay.mul_f64(options.backoff.max(1.0));
        tried += 1;
    }
}

/// Whether trying again cannot help: it was asked to end, or the script itself is wrong.
fn is_hopeless(error: &EvalAltResult) -> bool {
    match as_error(error) {
        Some(error) => matches!(error.class(), Class::Interrupted | Class::Blocked | Class::Script | Class::Bug),
        // What a script throws is a failure; all else is the language's word for a mistake.
        None => !matches!(origin_of(error, None).error, EvalAltResult::ErrorRuntime(..)),
    }
}
