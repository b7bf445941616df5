//! Doing the same for many items at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rhai::{Array, Dynamic, FnPtr, NativeCallContext};

use crate::error::{Class, Error};
use crate::run::branches;
use crate::run::deferral;
use crate::run::event::Level;
use crate::run::overlay::Spread;
use crate::run::report::defect;
use crate::run::scope::{self, Branch};
use crate::run::session::lock;
use crate::run::steps;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::closure::detach;
use crate::script::context::Context;
use crate::script::convert::{from_dynamic, to_dynamic};
use crate::script::failure::fail;
use crate::script::stack;

type Slot = Mutex<Option<(RhaiResult<Dynamic>, Branch)>>;

/// Calls a closure for every item, several at once, and gives back what it returned, in order. Each call gets its own
/// copy of what the closure captured. All branches run to their end; then the first error, if any, goes on.
pub(super) fn parallel(call: &NativeCallContext<'_>, items: Array, body: &FnPtr) -> RhaiResult<Dynamic> {
    let jobs = scope::run().map_err(fail)?.settings.jobs.max(1).min(items.len().max(1));
    let forks = items.iter().enumerate().map(|(index, item)| branches::fork(name(index, item)));
    let forks = forks.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let work: Vec<Mutex<Option<(Dynamic, Branch)>>> =
        items.into_iter().zip(forks).map(|(item, branch)| Mutex::new(Some((item, branch)))).collect();
    let slots: Vec<Slot> = work.iter().map(|_| Mutex::new(None)).collect();
    let context = Context::of(call);
    let spread = |item: &Dynamic| {
        let given = [Dynamic::from(body.clone()), item.clone()];
        context.as_ref().map_or(Spread::Everywhere, |context| context.spread_over(&given))
    };
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(place) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|place| *place < work.len()) {
            let Some((item, branch)) = lock(&work[place]).take() else { continue };
            *lock(&slots[place]) = Some(run_one(call, body, item, branch, &spread));
        }
    };
    thread::scope(|threads| {
        for _ in 0..jobs {
            // Where no thread can be had, this one does the work.
            if stack::spawn(threads, "parallel", worker).is_err() {
                worker();
            }
        }
    });
    gather(slots)
}

/// What an item is called: its data where it is data, for the place in a list may change between runs.
fn name(index: usize, item: &Dynamic) -> String {
    let data = from_dynamic(item).ok().filter(|value| !value.holds_secret()).and_then(|value| value.to_json());
    data.map_or_else(|| format!("#{index}"), |data| data.to_string())
}

fn run_one(
    call: &NativeCallContext<'_>,
    body: &FnPtr,
    item: Dynamic,
    branch: Branch,
    spread: &dyn Fn(&Dynamic) -> Spread,
) -> (RhaiResult<Dynamic>, Branch) {
    let body = detach(body);
    let spread = spread(&item);
    let spare = branch.fork();
    let ran = branches::run_branch(branch, || {
        // A panic must not take the other branches along.
        let called = catch_unwind(AssertUnwindSafe(|| body.call_within_context::<Dynamic>(call, (item,))));
        let result = called.unwrap_or_else(|panic| Err(fail(defect(&*panic))));
        match deferral::take() {
            Some(deferral) => {
                let made_handle = scope::with(|branch| branch.made_handle).unwrap_or(true);
                let spread = if made_handle { &Spread::Everywhere } else { &spread };
                steps::defer_here(&deferral.needs, "a deferred branch of parallel", spread).map_err(fail)?;
                let text = format!("deferred: a branch of parallel needs {}", deferral.needs.origin());
                scope::say(Level::Warn, text).map_err(fail)?;
                Ok(to_dynamic(&Value::Unknown(deferral.needs)))
            }
            None => result,
        }
    });
    ran.unwrap_or_else(|error| (Err(fail(error)), spare))
}

fn gather(slots: Vec<Slot>) -> RhaiResult<Dynamic> {
    let mut values = Array::with_capacity(slots.len());
    let mut branches = Vec::with_capacity(slots.len());
    let mut failure = None;
    for slot in slots {
        let Some((result, branch)) = slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) else {
            let error = Error::new(Class::Bug, "parallel: a branch ended without a result");
            failure.get_or_insert_with(|| fail(error));
            continue;
        };
        branches.push(branch);
        match result {
            Ok(value) => values.push(value),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    let joined = branches::join(branches).map_err(fail);
    match failure {
        Some(error) => Err(error),
        None => joined.map(|()| Dynamic::from(values)),
    }
}
