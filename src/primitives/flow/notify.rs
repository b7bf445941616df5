//! Doing something because something else changed, even if the run dies in between.

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use crate::error::{Class, Error};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::failure::fail;

/// Calls a closure where one of the outcomes changed something. What changed in an earlier run that died before it came
/// here counts too.
pub(super) fn on_change(call: &NativeCallContext<'_>, outcomes: Dynamic, closure: &FnPtr) -> RhaiResult<Dynamic> {
    let outcomes = if outcomes.is_array() { outcomes.cast::<Array>() } else { vec![outcomes] };
    let mut addresses = Vec::with_capacity(outcomes.len());
    let mut changed = false;
    for outcome in outcomes {
        let map = outcome.try_cast::<Map>().ok_or_else(not_an_outcome)?;
        let address =
            map.get("address").and_then(|address| address.clone().into_string().ok()).ok_or_else(not_an_outcome)?;
        let field = map.get("changed").ok_or_else(not_an_outcome)?;
        changed |= field.is::<Unknown>() || field.as_bool().unwrap_or(false);
        addresses.push(address);
    }
    let run = scope::run().map_err(fail)?;
    let key = format!("{} {}", run.step_book().playbook, addresses.join(" "));
    let owed = run.owed(&key, &addresses).map_err(fail)?;
    if !changed && !owed {
        return Ok(Dynamic::UNIT);
    }
    let answer = closure.call_within_context::<Dynamic>(call, ())?;
    if !scope::is_planning().map_err(fail)? {
        run.paid(&key).map_err(fail)?;
    }
    Ok(answer)
}

fn not_an_outcome() -> Box<rhai::EvalAltResult> {
    fail(
        Error::new(Class::Script, "`on_change`: wants outcomes, as `h.file(…)` gives them back")
            .help("`let conf = h.file(#{…}); on_change([conf], || h.run(…));`"),
    )
}
