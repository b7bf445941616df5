//! The branches of `parallel`: each starts from where the script stands, and they are brought together again.

use std::collections::BTreeSet;

use super::deferral;
use super::scope::{self, Branch};
use crate::error::{Class, Error, Result};

/// Starts a branch from where this one stands, for an item by its name.
pub fn fork(item: String) -> Result<Branch> {
    scope::with(|branch| {
        let mut fork = branch.fork();
        fork.items.push(item);
        fork
    })
}

/// Runs something on this thread as a branch, and gives the branch back.
pub fn run_branch<T>(branch: Branch, work: impl FnOnce() -> T) -> Result<(T, Branch)> {
    deferral::set_mode(branch.run.mode);
    let entered = scope::adopt(branch);
    let value = work();
    let branch = scope::leave();
    drop(entered);
    branch.map(|branch| (value, branch)).ok_or_else(|| Error::new(Class::Bug, "homelab: a branch of parallel was lost"))
}

/// Brings branches together again. Two that write different things to one cell, or one that saw what another writes,
/// depend on their order: an error that names both.
pub fn join(branches: Vec<Branch>) -> Result<()> {
    let mut conflicts = BTreeSet::new();
    for (index, branch) in branches.iter().enumerate() {
        for (other_index, other) in branches.iter().enumerate().filter(|(other, _)| *other != index) {
            conflicts.extend(conflicts_between(branch, other, other_index > index));
        }
    }
    if let Some(conflict) = conflicts.into_iter().next() {
        return Err(Error::new(Class::Script, conflict)
            .help("branches of parallel run in any order: put what belongs together into one branch"));
    }
    scope::with(|base| {
        let start = base.overlay.clone();
        for branch in branches {
            base.made_handle |= branch.made_handle;
            for (base_frame, frame) in base.frames.iter_mut().zip(&branch.frames) {
                base_frame.changed |= frame.changed;
                base_frame.made_handle |= frame.made_handle;
                base_frame.open = base_frame.open.take().or_else(|| frame.open.clone());
                base_frame.pending = base_frame.pending.take().or_else(|| frame.pending.clone());
                base_frame.after_failure = base_frame.after_failure.take().or_else(|| frame.after_failure.clone());
            }
            if let (true, Some(failure)) = (base.frames.is_empty(), branch.after_failure()) {
                base.note_failure(failure);
            }
            base.seen.extend(branch.seen);
            base.overlay.absorb(&start, branch.overlay, branch.written.keys().cloned());
            base.written.extend(branch.written);
        }
    })
}

fn conflicts_between(branch: &Branch, other: &Branch, first_time: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (cell, written) in &branch.written {
        let by = &written.by;
        if let Some(others) = other.written.get(cell).filter(|_| first_time)
            && others.state != written.state
        {
            found.push(format!("{cell}: two branches of parallel want different things of it: {by} and {}", others.by));
        }
        if let Some(reader) = other.seen.get(cell).filter(|_| !other.written.contains_key(cell)) {
            found.push(format!("{cell}: one branch of parallel reads ({reader}) what another writes ({by})"));
        }
    }
    found
}
