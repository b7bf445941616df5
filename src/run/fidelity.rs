//! How well the last plan foretold a run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{Change, Fidelity, FieldDiff, Mark};
use super::secret::Redactor;

/// A change, made or planned, with the steps that it belongs to, outermost first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// The change.
    pub change: Change,
    /// The ids of the steps.
    pub steps: Vec<String>,
    /// The line of the playbook, or of a module on its way in, that was being carried out.
    #[serde(default)]
    pub line: Option<String>,
}

/// What a plan foretold, kept for the run that follows it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Foretold {
    /// The planned changes.
    pub changes: Vec<Done>,
    /// The steps that the plan met.
    pub steps: BTreeSet<String>,
    /// The steps that the plan could not decide, and the lines outside any step.
    pub deferred: BTreeSet<String>,
    /// What it found as it should be, through fog.
    pub in_fog: BTreeSet<String>,
    /// Digest of the first read of each cell.
    pub digests: BTreeMap<String, String>,
}

/// What a run did.
#[derive(Debug, Clone, Copy)]
pub struct Came<'a> {
    /// The changes it made.
    pub changes: &'a [Done],
    /// What it failed to change.
    pub failed: &'a BTreeSet<String>,
    /// Digest of the first read of each cell.
    pub digests: &'a BTreeMap<String, String>,
}

impl Foretold {
    /// The same with the secrets taken out, as the journal may keep it.
    #[must_use]
    pub fn cleaned(self, redactor: &Redactor) -> Self {
        let texts = |texts: BTreeSet<String>| texts.iter().map(|text| redactor.clean(text)).collect();
        let change = |mut done: Done| {
            done.change.clean(redactor);
            done.steps.iter_mut().for_each(|step| *step = redactor.clean(step));
            done
        };
        Foretold {
            changes: self.changes.into_iter().map(change).collect(),
            steps: texts(self.steps),
            deferred: texts(self.deferred),
            in_fog: texts(self.in_fog),
            digests: self.digests.into_iter().map(|(cell, digest)| (redactor.clean(&cell), digest)).collect(),
        }
    }

    /// Whether the plan said that it could not foretell such a change.
    fn left_open(&self, done: &Done) -> bool {
        if self.in_fog.contains(&done.change.address) || done.steps.iter().any(|step| self.deferred.contains(step)) {
            return true;
        }
        // A deferred line may hold steps that the plan never met.
        let in_deferred_line = done.line.as_ref().is_some_and(|line| self.deferred.contains(line));
        in_deferred_line && done.steps.first().is_none_or(|step| !self.steps.contains(step))
    }
}

/// Scores a run against its plan.
pub fn score(plan: &Foretold, came: Came<'_>) -> Fidelity {
    let mut left: Vec<&Done> = came.changes.iter().collect();
    let mut fidelity = Fidelity::default();
    let cause = cause_of_misses(&plan.digests, came.digests);
    for Done { change: planned, .. } in &plan.changes {
        let met = left.iter().position(|done| is_same(planned, &done.change));
        if let Some(place) = met {
            left.remove(place);
        }
        count(&mut fidelity, planned, met.is_some());
        if met.is_none() && planned.mark == Mark::Sure {
            let cause = if came.failed.contains(&planned.address) { "it failed" } else { &cause };
            fidelity.misses.push(format!("{} was planned and did not come so: {cause}", planned.address));
        }
    }
    // What follows a failure that the playbook caught is nothing that a plan could know of.
    for done in left.into_iter().filter(|done| done.change.mark == Mark::Sure) {
        if plan.left_open(done) {
            fidelity.fog += 1;
            fidelity.fog_met += 1;
        } else {
            fidelity.misses.push(format!("{} came and was not planned so: {cause}", done.change.address));
        }
    }
    fidelity
}

fn count(fidelity: &mut Fidelity, planned: &Change, met: bool) {
    let (all, good) = match planned.mark {
        Mark::Sure => (&mut fidelity.sure, &mut fidelity.sure_met),
        Mark::Maybe => (&mut fidelity.maybe, &mut fidelity.maybe_done),
        Mark::Fog => (&mut fidelity.fog, &mut fidelity.fog_met),
    };
    *all += 1;
    *good += usize::from(met);
}

fn cause_of_misses(planned: &BTreeMap<String, String>, seen: &BTreeMap<String, String>) -> String {
    let changed = planned.iter().find(|(cell, digest)| seen.get(*cell).is_some_and(|now| now != *digest));
    match changed {
        Some((cell, _)) => format!("the world changed in between: {cell}"),
        None => "nothing that was read had changed, so this is a defect of homelab: please report it".to_owned(),
    }
}

/// A sure change is matched on address, action and diff, where an unknown fits anything; any other on what it touches.
fn is_same(planned: &Change, done: &Change) -> bool {
    if planned.address != done.address {
        return false;
    }
    if planned.mark != Mark::Sure {
        return true;
    }
    planned.action == done.action && has_same_fields(&planned.diff, &done.diff)
}

fn has_same_fields(planned: &[FieldDiff], done: &[FieldDiff]) -> bool {
    let by_path = |fields: &[FieldDiff]| -> BTreeMap<String, FieldDiff> {
        fields.iter().map(|field| (field.path.clone(), field.clone())).collect()
    };
    let (planned, done) = (by_path(planned), by_path(done));
    let comes = |field: &FieldDiff| {
        field.unknown
            || done.get(&field.path).is_some_and(|other| field.before == other.before && field.after == other.after)
    };
    // What was unknown as a whole may turn out to be a map, which is told field by field.
    let foretold = |path: &str| {
        planned.contains_key(path) || planned.values().any(|field| field.unknown && is_inside(path, &field.path))
    };
    planned.values().all(comes) && done.keys().all(|path| foretold(path))
}

fn is_inside(path: &str, outer: &str) -> bool {
    outer.is_empty() || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}
