//! Phases and steps.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Class, Error};
use crate::run::event::What;
use crate::run::overlay::Spread;
use crate::run::report::{self, defect};
use crate::run::scope;
use crate::run::steps::{self, End, Entry, Spec};
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::context::{Context, options};
use crate::script::convert::{from_dynamic, to_dynamic};
use crate::script::failure::fail;

/// What a step may say beyond its id and title.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepOptions {
    /// What a person must approve before the first change, as in `"reboots pve-01"`: on a terminal it asks, elsewhere
    /// it needs `--approve ID`. Default: nothing.
    #[serde(default)]
    pub approve: Option<String>,
    /// The host that the step is about, for `--limit`. Default: none, so that `--limit` does not leave it out.
    #[serde(default)]
    pub host: Option<String>,
}

/// Says what the following steps are about.
pub(super) fn phase(id: &str, title: &str) -> RhaiResult<()> {
    scope::emit(What::PhaseStarted { id: id.to_owned(), title: title.to_owned() }).map_err(fail)
}

/// Runs a step.
pub(super) fn step(call: &NativeCallContext<'_>, id: &str, title: &str, map: Map, body: &FnPtr) -> RhaiResult<Dynamic> {
    let options: StepOptions = options(call, "step", map)?;
    let (id, title) = (id.to_owned(), title.to_owned());
    let spec = Spec { id, title, approve: options.approve, host: options.host, assigns: false };
    run_step(call, spec, body, |call, body| body.call_within_context::<Dynamic>(call, ()).map(Ended::Value))
}

/// How a step's work ended, short of an error.
pub(super) enum Ended {
    /// With a value.
    Value(Dynamic),
    /// It is a person's turn; what to do.
    Manual(String),
}

/// Runs the work of a step between its beginning and its end.
pub(super) fn run_step(
    call: &NativeCallContext<'_>,
    mut spec: Spec,
    body: &FnPtr,
    work: impl FnOnce(&NativeCallContext<'_>, &FnPtr) -> RhaiResult<Ended>,
) -> RhaiResult<Dynamic> {
    let context = Context::of(call);
    let code = Dynamic::from(body.clone());
    spec.assigns = context.as_ref().is_some_and(|context| context.assigns(&code));
    let left_out = Unknown::from_origin(format!("a variable that left-out step {} assigns", spec.id)).left_out();
    let entered = match steps::begin(spec).map_err(fail)? {
        Entry::Run(entered) => entered,
        Entry::Skip(value) => {
            if let Some(context) = &context {
                context.forget(&code, &left_out);
            }
            return Ok(to_dynamic(&value));
        }
    };
    let captured = context.as_ref().map_or(Spread::Everywhere, |context| context.spread_of(body));
    // A panic ends this step in order; what it was changing is left in flight.
    let result = catch_unwind(AssertUnwindSafe(|| work(call, body))).unwrap_or_else(|panic| {
        scope::recover();
        Err(fail(defect(&*panic)))
    });
    let end = match &result {
        Ok(Ended::Value(value)) => End::Done(from_dynamic(value).ok()),
        Ok(Ended::Manual(instructions)) => End::Manual(instructions.clone()),
        Err(error) => End::Failed(Box::new(explain(context.as_ref(), error, call.call_source()))),
    };
    match steps::finish(entered, end, &captured).map_err(fail)? {
        Some(value) => {
            if let (Some(context), Value::Unknown(unknown)) = (&context, &value) {
                context.forget(&code, unknown);
            }
            Ok(to_dynamic(&value))
        }
        None => result.map(|ended| match ended {
            Ended::Value(value) => value,
            Ended::Manual(_) => to_dynamic(&Value::Null),
        }),
    }
}

/// The report of an error. One that an inner step has shown is not shown again.
fn explain(context: Option<&Context>, error: &EvalAltResult, source: Option<&str>) -> crate::run::event::ErrorReport {
    let mut report = match context {
        Some(context) => (context.explain)(error, source),
        None => report::plain(&Error::new(Class::Script, error.to_string())),
    };
    let new = scope::run().is_ok_and(|run| run.record().shown.insert(report.message.clone()));
    if !new {
        report.rendered = String::new();
    }
    report
}
