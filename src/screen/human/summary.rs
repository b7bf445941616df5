//! The end of the story: how it went, in numbers, and what to type next.

use std::collections::{BTreeMap, BTreeSet};

use super::BANNER;
use crate::run::event::{Event, Fidelity, Mark, Mode, What};
use crate::screen::paint::{Paint, Tone};
use crate::screen::{change, words};

/// The order in which statuses are counted out: the good first, what needs a look last.
const ORDER: [&str; 9] = ["ok", "changed", "planned", "deferred", "pending", "manual", "blocked", "skipped", "failed"];

pub(super) fn lines(paint: Paint, event: &Event, marks: &BTreeSet<Mark>) -> Vec<String> {
    let What::RunFinished { result, steps, changes, fidelity, milliseconds, next, error } = &event.what else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some(error) = error {
        lines.push(String::new());
        lines.extend(words::indented(&error.rendered, 0));
    }
    lines.push(String::new());
    lines.extend(marks.iter().filter_map(|mark| change::legend(*mark)).map(|text| paint.tone(Tone::Dim, text)));
    let tone = if result == "ok" { Tone::Good } else { Tone::Bad };
    let total = steps.values().sum();
    let counted = counted(steps);
    let counted = if counted.is_empty() { counted } else { format!(": {counted}") };
    lines.push(format!("{}, {}{counted}", paint.tone(tone, result), words::count(total, "step")));
    lines.push(changed(*changes, event.mode));
    if let Some(fidelity) = fidelity {
        lines.extend(score(paint, fidelity));
    }
    lines.push(format!("took {}", words::duration(*milliseconds)));
    if let Some(next) = next {
        lines.push(format!("next: {}", paint.tone(Tone::Strong, next)));
    }
    if event.mode == Mode::DryRun {
        lines.push(paint.tone(Tone::Plan, BANNER));
    }
    lines
}

fn counted(steps: &BTreeMap<String, usize>) -> String {
    let known = ORDER.iter().filter_map(|word| steps.get_key_value(*word));
    let others = steps.iter().filter(|(word, _)| !ORDER.contains(&word.as_str()));
    let counts = known.chain(others).filter(|(_, number)| **number > 0);
    counts.map(|(word, number)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
}

/// How many changes there were, or would be.
pub(in crate::screen) fn changed(changes: usize, mode: Mode) -> String {
    let count = words::count(changes, "change");
    if mode == Mode::DryRun && changes > 0 { format!("{count} planned") } else { count }
}

/// How well the plan foretold the run, and where it did not.
pub(in crate::screen) fn score(paint: Paint, fidelity: &Fidelity) -> Vec<String> {
    let Fidelity { sure, sure_met, maybe, maybe_done, fog, fog_met, misses } = fidelity;
    let sure = format!("sure {sure_met}/{sure}");
    let mut lines =
        vec![format!("plan fidelity: {sure}, maybe {maybe} ({maybe_done} done), after deferral {fog_met}/{fog}")];
    lines.extend(misses.iter().map(|miss| format!("  {} {miss}", paint.tone(Tone::Bad, "missed:"))));
    lines
}
