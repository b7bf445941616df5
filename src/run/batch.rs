//! Many resources of one kind at once: what they read is asked for together, and their changes are made side by side. What is
//! told of them keeps their order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::branches;
use super::ensure::{Due, Outcome, Prepared, during, plan, prepare};
use super::event::Mode;
use super::resource::{Cell, Resource, Wish};
use super::scope::{self, Phase};
use super::session::{Run, lock};
use super::value::Map;
use crate::error::{Class, Error, Result};

/// How a group of resources asks, in few requests, for what each of them then reads.
pub type Gather<'a, R> = &'a dyn Fn(&[Arc<R>]) -> Result<()>;

type Slot = Mutex<Option<Result<Map>>>;

/// Brings resources to their wanted states, each with a cell of its own. Where changes fail, the others are made all the same,
/// and the first failure goes on.
pub fn ensure_all<R: Resource + 'static>(resources: &[Arc<R>], gather: Gather<'_, R>) -> Result<Vec<Outcome>> {
    let Some(first) = resources.first() else { return Ok(Vec::new()) };
    scope::require(&[Phase::Script], &format!("changing {}", first.address()))?;
    let run = scope::run()?;
    run.check_interrupt()?;
    let cells = distinct(resources)?;
    if run.mode == Mode::DryRun {
        scope::in_phase(Phase::Read, || gather(resources))?;
        return resources.iter().map(|resource| plan(&run, &**resource, Wish::of(resource))).collect();
    }
    // In the order of their names, so that two that hold the same ones never wait for each other.
    let _held: Vec<_> = cells.iter().map(|cell| run.hold(cell)).collect();
    scope::in_phase(Phase::Read, || gather(resources))?;
    let prepared: Vec<Prepared<'_>> =
        resources.iter().map(|resource| prepare(&run, &**resource, Wish::of(resource))).collect::<Result<_>>()?;
    carry_out(&run, resources, prepared, gather)
}

fn distinct<R: Resource>(resources: &[Arc<R>]) -> Result<BTreeSet<Cell>> {
    let mut cells = BTreeSet::new();
    for resource in resources {
        if !cells.insert(resource.cell()) {
            let twice = Error::new(Class::Script, format!("{}: it stands there twice", resource.address()));
            return Err(twice.help("say the whole wanted state in one place"));
        }
    }
    Ok(cells)
}

fn carry_out<R: Resource + 'static>(
    run: &Arc<Run>,
    resources: &[Arc<R>],
    prepared: Vec<Prepared<'_>>,
    gather: Gather<'_, R>,
) -> Result<Vec<Outcome>> {
    let due = || prepared.iter().filter_map(|one| if let Prepared::Due(due) = one { Some(&**due) } else { None });
    let all: Vec<&Due<'_>> = due().collect();
    Due::begin_all(&all, run)?;
    let mut changed = change_all(run, &all)?.into_iter();
    let stirred: Vec<Arc<R>> =
        resources.iter().zip(&prepared).filter_map(|(resource, one)| is_due(one, resource)).collect();
    let asked = match all.first() {
        Some(first) => during(first.id(), || scope::in_phase(Phase::Read, || gather(&stirred)))?,
        None => Ok(()),
    };
    let mut outcomes = Vec::with_capacity(prepared.len());
    let mut failure = None;
    for one in prepared {
        let due = match one {
            Prepared::Settled(outcome) => {
                outcomes.push(*outcome);
                continue;
            }
            Prepared::Due(due) => due,
        };
        let made = changed.next().unwrap_or_else(|| Err(unfinished())).and_then(|made| asked.clone().map(|()| made));
        let result = during(due.id(), || made.and_then(|revealed| due.prove(run, revealed)))?;
        match due.end(run, result) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    failure.map_or(Ok(outcomes), Err)
}

fn is_due<R>(one: &Prepared<'_>, resource: &Arc<R>) -> Option<Arc<R>> {
    matches!(one, Prepared::Due(_)).then(|| Arc::clone(resource))
}

/// Makes the changes, several at once, and gives what came of each.
fn change_all(run: &Arc<Run>, due: &[&Due<'_>]) -> Result<Vec<Result<Map>>> {
    let jobs = run.settings.jobs.clamp(1, due.len().max(1));
    let slots: Vec<Slot> = due.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let change = |place: usize| {
        let made = during(due[place].id(), || due[place].change()).and_then(|made| made);
        *lock(&slots[place]) = Some(made);
    };
    let work = || {
        while let Some(place) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|place| *place < due.len()) {
            change(place);
        }
    };
    let forks = (1..jobs).map(|_| scope::with(|branch| branch.fork())).collect::<Result<Vec<_>>>()?;
    thread::scope(|threads| {
        for fork in forks {
            threads.spawn(|| branches::run_branch(fork, work).map(drop));
        }
        work();
    });
    Ok(slots.into_iter().map(|slot| slot.into_inner().ok().flatten().unwrap_or_else(|| Err(unfinished()))).collect())
}

fn unfinished() -> Error {
    Error::new(Class::Bug, "homelab: a change ended without a result")
}
