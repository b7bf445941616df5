//! Where a script is: its run, its branch of `parallel`, its step, and what it may do there. One thread is one branch.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use super::deferral;
use super::event::{Level, Mode, What};
use super::interrupt::Urgency;
use super::overlay::Overlay;
use super::resource::Cell;
use super::session::{Run, interrupted};
use super::unknown::Unknown;
use super::value::State;
use crate::error::{Class, Error, Result};

/// What the gate is doing on behalf of this branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The script runs.
    Script,
    /// A resource reads what is there.
    Read,
    /// A resource says what is wanted: pure.
    Want,
    /// A change is carried out.
    Change,
    /// A dry run goes through the change without making it.
    Rehearse,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Script => "the script",
            Phase::Read => "`read`",
            Phase::Want => "`want`",
            Phase::Change => "a change",
            Phase::Rehearse => "a rehearsed change",
        }
    }
}

/// The step a branch is in, as far as the gate needs to know it.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Its id.
    pub id: String,
    /// What must be approved before its first change.
    pub approve: Option<String>,
    /// Whether it changed something, or would.
    pub changed: bool,
    /// What takes effect only after a restart.
    pub pending: Option<String>,
    /// The address of a change that failed and was caught: what follows is not the plan's to foretell.
    pub after_failure: Option<String>,
    /// Whether a handle was made inside, so that nobody can tell from its captures what it reaches.
    pub made_handle: bool,
}

/// One branch of a run.
pub struct Branch {
    /// The run it belongs to.
    pub run: Arc<Run>,
    /// What a dry run believes in this branch.
    pub overlay: Overlay,
    /// The steps it is in, outermost first.
    pub frames: Vec<Frame>,
    /// What the gate is doing.
    pub phase: Phase,
    /// What the script of this branch saw since the fork, and in which step.
    pub seen: BTreeMap<Cell, String>,
    /// What this branch planned since the fork, by whom.
    pub written: BTreeMap<Cell, String>,
    /// The change that is being carried out.
    pub change: Option<u64>,
}

impl Branch {
    /// A new branch that starts from where this one stands.
    pub fn fork(&self) -> Branch {
        Branch {
            run: Arc::clone(&self.run),
            overlay: self.overlay.clone(),
            frames: self.frames.clone(),
            phase: self.phase,
            seen: BTreeMap::new(),
            written: BTreeMap::new(),
            change: None,
        }
    }
}

thread_local! {
    static BRANCH: RefCell<Option<Branch>> = const { RefCell::new(None) };
}

/// Leaves the branch when dropped.
pub struct Entered {
    outer: Option<Branch>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        deferral::take();
        BRANCH.with_borrow_mut(|branch| *branch = self.outer.take());
    }
}

/// Begins the root branch of a run on this thread.
pub fn enter(run: Arc<Run>) -> Entered {
    deferral::set_mode(run.mode);
    adopt(Branch {
        run,
        overlay: Overlay::default(),
        frames: Vec::new(),
        phase: Phase::Script,
        seen: BTreeMap::new(),
        written: BTreeMap::new(),
        change: None,
    })
}

fn adopt(branch: Branch) -> Entered {
    deferral::take();
    Entered { outer: BRANCH.with_borrow_mut(|slot| slot.replace(branch)) }
}

/// Looks at or edits the current branch. No other function of this module may be called inside.
pub fn with<T>(look: impl FnOnce(&mut Branch) -> T) -> Result<T> {
    BRANCH.with_borrow_mut(|branch| match branch {
        Some(branch) => Ok(look(branch)),
        None => Err(Error::new(Class::Bug, "homelab: a primitive was called outside a run")),
    })
}

/// The current run.
pub fn run() -> Result<Arc<Run>> {
    with(|branch| Arc::clone(&branch.run))
}

/// The id of the innermost step.
pub fn step() -> Option<String> {
    with(|branch| branch.frames.last().map(|frame| frame.id.clone())).ok().flatten()
}

/// Whether this is a dry run.
pub fn is_planning() -> Result<bool> {
    with(|branch| branch.run.mode == Mode::DryRun)
}

/// Tells the run's subscribers.
pub fn emit(what: What) -> Result<()> {
    run()?.emit(what)
}

/// Says something, in the current step. A rehearsed change is silent: nothing of it happens.
pub fn say(level: Level, text: impl Into<String>) -> Result<()> {
    if with(|branch| branch.phase)? == Phase::Rehearse {
        return Ok(());
    }
    emit(What::Message { level, text: text.into(), step: step() })
}

/// Notes that a handle was made here: a step that makes its own may reach anything.
pub fn note_handle() {
    let _ = with(|branch| branch.frames.iter_mut().for_each(|frame| frame.made_handle = true));
}

/// Runs something in another phase.
pub fn in_phase<T>(phase: Phase, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = with(|branch| std::mem::replace(&mut branch.phase, phase))?;
    let result = work();
    with(|branch| branch.phase = before)?;
    result
}

/// Refuses what does not belong into the current phase, by name.
pub fn require(allowed: &[Phase], doing: &str) -> Result<()> {
    let phase = with(|branch| branch.phase)?;
    if allowed.contains(&phase) {
        return Ok(());
    }
    let help = match phase {
        Phase::Read => "`read` may only read: move the change into `create`, `update` or `delete`",
        Phase::Want => "`want` is pure: read what it needs before, and hand it in",
        _ => "a change may only make raw calls: call this before or after it, where a plan can see it",
    };
    Err(Error::new(Class::Script, format!("{doing} is not allowed inside {}", phase.name())).help(help))
}

/// Waits for an answer. A read ends at the first Ctrl-C, a change in flight only at the second.
pub fn wait<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    let (run, least) = with(|branch| {
        let least = if branch.phase == Phase::Change { Urgency::Now } else { Urgency::Finish };
        (Arc::clone(&branch.run), least)
    })?;
    run.runtime.block_on(async {
        tokio::select! {
            biased;
            () = run.interrupt.reached(least) => Err(interrupted()),
            answer = answer => answer,
        }
    })
}

/// Why what a command in this realm would see is not what it will see, in a dry run.
pub fn stale_realm(realm: &str) -> Result<Option<Unknown>> {
    with(|branch| branch.overlay.change_in(realm).cloned())
}

/// Why the answer to a raw API read is not what it will be, in a dry run.
pub fn stale_path(path: &str) -> Result<Option<Unknown>> {
    with(|branch| branch.overlay.staleness_of(path).cloned())
}

/// The machine behind a name or address, where this dry run has only planned it. An error where it planned its end.
pub fn planned_machine(name: &str) -> Result<Option<(super::resource::Machine, Unknown)>> {
    with(|branch| match branch.overlay.gone(name) {
        Some(by) => Err(Error::new(Class::Script, format!("{name}: it does not exist any more after {by} is deleted"))
            .help("use it before the step that deletes it, or do not delete it")),
        None => Ok(branch.overlay.machine(name).cloned()),
    })?
}

/// Starts a branch of `parallel` from where this one stands.
pub fn fork() -> Result<Branch> {
    with(|branch| branch.fork())
}

/// Runs something on this thread as a branch, and gives the branch back.
pub fn run_branch<T>(branch: Branch, work: impl FnOnce() -> T) -> Result<(T, Branch)> {
    deferral::set_mode(branch.run.mode);
    let entered = adopt(branch);
    let value = work();
    let branch = BRANCH.with_borrow_mut(Option::take);
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
    with(|base| {
        for branch in branches {
            for (base_frame, frame) in base.frames.iter_mut().zip(&branch.frames) {
                base_frame.changed |= frame.changed;
                base_frame.made_handle |= frame.made_handle;
                base_frame.pending = base_frame.pending.take().or_else(|| frame.pending.clone());
            }
            base.seen.extend(branch.seen);
            base.overlay.absorb(branch.overlay, branch.written.keys().cloned());
            base.written.extend(branch.written);
        }
    })
}

fn conflicts_between(branch: &Branch, other: &Branch, first_time: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (cell, by) in &branch.written {
        let state = |branch: &Branch| branch.overlay.cell(cell).map(|planned| planned.state.clone());
        if let Some(other_by) = other.written.get(cell).filter(|_| first_time)
            && !same_plan(state(branch), state(other))
        {
            found.push(format!("{cell}: two branches of parallel want different things of it: {by} and {other_by}"));
        }
        if let Some(reader) = other.seen.get(cell).filter(|_| !other.written.contains_key(cell)) {
            found.push(format!("{cell}: one branch of parallel reads ({reader}) what another writes ({by})"));
        }
    }
    found
}

fn same_plan(left: Option<State>, right: Option<State>) -> bool {
    left == right
}
