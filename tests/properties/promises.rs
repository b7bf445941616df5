//! What is promised of every playbook, and how a case is held against it.

use std::collections::BTreeSet;

use homelab::error::Class;
use homelab::run::event::{Change, Mark, Status, What};

use crate::bench::Bench;
use crate::common::Told;
use crate::language::Playbook;
use crate::printer::Printed;
use crate::tally::Tally;

/// A promise that was broken, in words.
pub type Broken = String;

macro_rules! promise {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

/// Texts that only an unknown value has.
const TRACES: [&str; 4] = ["known after apply", "shown once", "‹", "unknown::Unknown"];

/// Holds a case against all promises.
pub fn hold(bench: &mut Bench, tree: &Playbook, case: &Printed, tally: &mut Tally) -> Result<(), Broken> {
    let planned = bench.plan();
    promise!(planned.sent.is_empty(), "the plan sent {:?}", planned.sent);
    sound(&planned)?;
    bench.forget();
    let again = bench.plan();
    promise!(story(&planned) == story(&again), "two plans differ:\n{:?}\n{:?}", story(&planned), story(&again));
    let done = bench.run();
    sound(&done)?;
    nothing_unknown_was_written(bench)?;
    let world = bench.world();
    let sent = bench.sent();
    tally.count(case, &planned, &done);
    if !ends_alike(&planned, &done, case)? {
        return Ok(());
    }
    comes_true(&planned, &done)?;
    if case.has.fight {
        return Ok(());
    }
    let second = nothing_is_left_to_do(bench, &done)?;
    promise!(bench.world() == world, "the second run changed the world");
    // A `catch` may swallow the error that names what was left out.
    if !case.playbook.contains("} catch {") && !case.module.as_ref().is_some_and(|text| text.contains("} catch {")) {
        steps_run_alone(bench, &second)?;
    }
    if !case.has.token && !sent.is_empty() {
        ends_in_the_same_world(bench, tree, case, (&world, &sent), tally)?;
    }
    Ok(())
}

fn error_of(told: &Told) -> String {
    told.error.as_ref().map_or_else(String::new, |error| error.message().to_owned())
}

/// Nothing panicked, and a failure names its place.
fn sound(told: &Told) -> Result<(), Broken> {
    let Some(error) = &told.error else { return Ok(()) };
    promise!(error.class() != Class::Bug, "a defect: {error}");
    if error.class() == Class::Interrupted {
        return Ok(());
    }
    let placed = told.events.iter().any(|event| match &event.what {
        What::RunFinished { error: Some(report), .. } | What::StepFinished { error: Some(report), .. } => {
            report.at.is_some() || report.message.contains(':')
        }
        _ => false,
    });
    promise!(placed || error.message().contains(':'), "the failure names no place: {error}");
    Ok(())
}

/// All that a plan says.
fn story(told: &Told) -> Vec<String> {
    let mut story: Vec<String> = told
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::ChangePlanned { change, step } => Some(format!("{step:?} {:?}", Change { id: 0, ..change.clone() })),
            What::StepFinished { id, status, reason, .. } => Some(format!("{id} {status:?} {reason:?}")),
            What::Message { text, .. } => Some(text.clone()),
            _ => None,
        })
        .collect();
    // Branches of `parallel` come in any order.
    story.sort();
    story.push(format!("{} {}", told.result, error_of(told)));
    story
}

fn is_open(planned: &Told) -> bool {
    planned.statuses().values().any(|status| *status == Status::Deferred)
        || planned.messages().iter().any(|text| text.starts_with("deferred: "))
        || planned.changes().iter().any(|change| change.mark != Mark::Sure)
}

/// What fails in a plan fails in the run, in the same words; what only the run finds was left open by the plan. Gives
/// whether both ended well.
fn ends_alike(planned: &Told, done: &Told, case: &Printed) -> Result<bool, Broken> {
    if planned.result == done.result && error_of(planned) == error_of(done) {
        promise!(
            !(case.has.fight && planned.result == "ok" && !is_open(planned)) || done.result == "ok",
            "unreachable"
        );
        return Ok(planned.result == "ok");
    }
    promise!(
        is_open(planned),
        "the plan ended {} ({}), the run {} ({})",
        planned.result,
        error_of(planned),
        done.result,
        error_of(done)
    );
    promise!(
        planned.result == "ok" || done.result != "ok",
        "the plan ended {} ({}), and the run well",
        planned.result,
        error_of(planned)
    );
    Ok(false)
}

/// Every sure change came, and what else came was left open; the score says the same.
fn comes_true(planned: &Told, done: &Told) -> Result<(), Broken> {
    let fidelity = done.fidelity();
    promise!(
        fidelity.misses.is_empty(),
        "misses: {:#?}\nplanned {:?}\ndone {:?}",
        fidelity.misses,
        planned.planned(),
        done.done()
    );
    promise!(fidelity.sure == fidelity.sure_met, "{fidelity:?}");
    let sure = |told: &Told| -> Vec<Change> {
        told.changes().into_iter().filter(|change| change.mark == Mark::Sure).collect()
    };
    let mut came = done.changes();
    for change in sure(planned) {
        let place = came.iter().position(|other| is_same(&change, other));
        promise!(place.is_some(), "planned and did not come: {change:?}\n{:?}", done.done());
        came.remove(place.unwrap_or_default());
    }
    promise!(is_open(planned) || came.is_empty(), "came unplanned: {came:?}");
    Ok(())
}

fn is_same(planned: &Change, done: &Change) -> bool {
    planned.address == done.address
        && planned.action == done.action
        && planned.diff.iter().all(|field| {
            field.unknown
                || done
                    .diff
                    .iter()
                    .any(|other| other.path == field.path && other.after == field.after && other.before == field.before)
        })
}

/// After a green run nothing is left: the next run sends nothing, the next plan is empty.
fn nothing_is_left_to_do(bench: &mut Bench, done: &Told) -> Result<Told, Broken> {
    let second = bench.run();
    sound(&second)?;
    promise!(second.result == done.result, "the second run ended {} ({})", second.result, error_of(&second));
    promise!(
        second.done().is_empty() && second.sent.is_empty(),
        "the second run did {:?} {:?}",
        second.done(),
        second.sent
    );
    let empty = bench.plan();
    promise!(empty.planned().is_empty(), "the second plan is not empty: {:?}", empty.planned());
    promise!(empty.result == done.result, "the second plan ended {} ({})", empty.result, error_of(&empty));
    Ok(second)
}

/// A step that is run by itself takes what the others gave back before, and finds everything done.
fn steps_run_alone(bench: &mut Bench, done: &Told) -> Result<(), Broken> {
    let outermost = |event: &homelab::run::event::Event| match &event.what {
        What::StepStarted { id, parent: None, .. } => Some(id.clone()),
        _ => None,
    };
    let Some(id) = done.events.iter().filter_map(outermost).next_back() else { return Ok(()) };
    let told = bench.run_step(&id);
    sound(&told)?;
    promise!(told.done().is_empty() && told.sent.is_empty(), "step {id} by itself did {:?}", told.done());
    if told.result != "ok" {
        let words = error_of(&told);
        promise!(words.contains("left-out"), "step {id} by itself ended {} ({words})", told.result);
    }
    Ok(())
}

/// A run that something befell, and one that goes on after it, end where a plain one ends.
fn ends_in_the_same_world(
    bench: &mut Bench,
    tree: &Playbook,
    case: &Printed,
    (world, sent): (&std::collections::BTreeMap<String, String>, &[String]),
    tally: &mut Tally,
) -> Result<(), Broken> {
    let kind = if case.has.caught_change { 2 } else { tree.fault };
    let at = usize::from(tree.fault_at) % sent.len();
    bench.reset(case);
    let befallen = bench.run_with_fault(at, kind);
    sound(&befallen)?;
    let resumed = if befallen.result == "ok" { bench.run() } else { bench.resume() };
    sound(&resumed)?;
    tally.resumed(&resumed);
    let why = format!("after fault {kind} at {at}, which ended {} ({})", befallen.result, error_of(&befallen));
    promise!(resumed.result == "ok", "{why}: the resumed run ended {} ({})", resumed.result, error_of(&resumed));
    let now = bench.world();
    promise!(now == *world, "{why}: the worlds differ\n{:?}", differences(world, &now));
    let restarts = |sent: &[String]| -> BTreeSet<String> {
        sent.iter().filter(|line| line.contains("$ restart")).cloned().collect()
    };
    let missed: Vec<String> = restarts(sent).difference(&restarts(&bench.sent())).cloned().collect();
    promise!(missed.is_empty(), "{why}: never told: {missed:?}");
    let last = bench.run();
    promise!(last.sent.is_empty(), "{why}: the run after the resumed one did {:?}", last.sent);
    Ok(())
}

fn differences(
    one: &std::collections::BTreeMap<String, String>,
    other: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    differ.map(|key| format!("{key}: {:?} and {:?}", one.get(key), other.get(key))).collect()
}

fn nothing_unknown_was_written(bench: &Bench) -> Result<(), Broken> {
    for (place, content) in bench.world() {
        let trace = TRACES.iter().find(|trace| content.contains(**trace) || place.contains(**trace));
        promise!(trace.is_none(), "{place} holds an unknown: {content}");
    }
    let sent = bench.sent();
    promise!(!sent.iter().any(|line| TRACES.iter().any(|trace| line.contains(trace))), "sent: {sent:?}");
    Ok(())
}
