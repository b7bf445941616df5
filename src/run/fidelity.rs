//! How well the last plan foretold a run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{Change, Fidelity, FieldDiff, Mark};

/// What a plan foretold, kept for the run that follows it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Foretold {
    /// The planned changes, each with its step.
    pub changes: Vec<(Change, Option<String>)>,
    /// The steps that the plan could not decide.
    pub deferred: BTreeSet<String>,
    /// Digest of the first read of each cell.
    pub digests: BTreeMap<String, String>,
}

/// Scores a run against its plan. `done` are the changes it made, each with its step.
pub fn score(plan: &Foretold, done: &[(Change, Option<String>)], digests: &BTreeMap<String, String>) -> Fidelity {
    let mut left: Vec<&(Change, Option<String>)> = done.iter().collect();
    let mut fidelity = Fidelity::default();
    for (planned, _) in &plan.changes {
        let met = left.iter().position(|(change, _)| is_same(planned, change));
        if let Some(place) = met {
            left.remove(place);
        }
        count(&mut fidelity, planned, met.is_some());
    }
    let cause = cause_of_misses(&plan.digests, digests);
    for (planned, _) in plan.changes.iter().filter(|(planned, _)| planned.mark == Mark::Sure) {
        if !done.iter().any(|(change, _)| is_same(planned, change)) {
            fidelity.misses.push(format!("{} was planned and did not come so: {cause}", planned.address));
        }
    }
    for (change, step) in left {
        let undecided = change.mark == Mark::Fog || step.as_ref().is_some_and(|step| plan.deferred.contains(step));
        if undecided {
            fidelity.fog += 1;
            fidelity.fog_met += 1;
        } else {
            fidelity.misses.push(format!("{} came and was not planned so: {cause}", change.address));
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
    let fits = |field: &FieldDiff, other: Option<&FieldDiff>| match other {
        Some(other) => field.unknown || (field.before == other.before && field.after == other.after),
        None => field.unknown,
    };
    planned.values().all(|field| fits(field, done.get(&field.path)))
        && done.keys().all(|path| planned.contains_key(path))
}
