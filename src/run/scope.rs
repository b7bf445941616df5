//! Where a script is: its run, its branch of `parallel`, its step, and what it may do there. One thread is one branch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use super::deferral;
use super::event::{Change, Level, Mode, What};
use super::interrupt::Urgency;
use super::overlay::Overlay;
use super::precaution::Precautions;
use super::resource::Cell;
use super::session::{Done, Run};
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
    /// A condition is waited for.
    Wait,
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
            Phase::Wait => "`wait_until`",
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
    /// What a part of it needs to know that could not be decided, though its body went on.
    pub open: Option<String>,
    /// Whether a handle was made inside, so that nobody can tell from its captures what it reaches.
    pub made_handle: bool,
}

/// One branch of a run.
pub struct Branch {
    /// The run it belongs to.
    pub run: Arc<Run>,
    /// The items of `parallel` that it works on, and the notifications that it carries out, outermost first. Unlike their
    /// order, these are the same in each run.
    pub items: Vec<String>,
    /// What a dry run believes in this branch.
    pub overlay: Overlay,
    /// The steps it is in, outermost first.
    pub frames: Vec<Frame>,
    /// What the gate is doing.
    pub phase: Phase,
    /// What the script of this branch saw since the fork, and in which step.
    pub seen: BTreeMap<Cell, String>,
    /// What this branch planned since the fork, by whom.
    pub written: BTreeMap<Cell, Written>,
    /// The change that is being carried out.
    pub change: Option<u64>,
    /// What the read that is under way has met.
    pub notes: Notes,
    /// The mutation that a rehearsed change has made up so far: what it reads afterwards is not what is there now.
    pub rehearsed: Option<Unknown>,
    /// The line of a playbook, or of a module on its way in, that is being carried out: `site.rhai:3:1`.
    pub line: Option<String>,
    /// Why it is not certain that this part of the script runs at all.
    pub doubt: Option<Unknown>,
    /// Whether a handle was made here.
    pub made_handle: bool,
    /// Whether everything is asked anew: a change is about to rest on it.
    pub anew: bool,
    /// What has to be ready before anything is changed here.
    pub precautions: Precautions,
    after_failure: Option<String>,
}

/// What a read met on its way.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// The API paths that it asked for.
    pub touched: Vec<String>,
    /// The cells that it read on its way.
    pub cells: Vec<Cell>,
    /// The fog that it looked past.
    pub fog: Option<Unknown>,
    /// Whether an answer was taken that had been asked for in advance.
    pub earlier: bool,
}

/// What a branch wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Who, by address.
    pub by: String,
    /// What is there now, or will be.
    pub state: State,
}

impl Branch {
    fn root(run: Arc<Run>) -> Branch {
        Branch {
            run,
            items: Vec::new(),
            overlay: Overlay::default(),
            frames: Vec::new(),
            phase: Phase::Script,
            seen: BTreeMap::new(),
            written: BTreeMap::new(),
            change: None,
            notes: Notes::default(),
            rehearsed: None,
            line: None,
            doubt: None,
            made_handle: false,
            anew: false,
            precautions: Precautions::default(),
            after_failure: None,
        }
    }

    /// A new branch that starts from where this one stands.
    pub fn fork(&self) -> Branch {
        Branch {
            items: self.items.clone(),
            overlay: self.overlay.clone(),
            frames: self.frames.clone(),
            phase: self.phase,
            change: self.change,
            rehearsed: self.rehearsed.clone(),
            line: self.line.clone(),
            doubt: self.doubt.clone(),
            precautions: self.precautions.clone(),
            after_failure: self.after_failure.clone(),
            ..Branch::root(Arc::clone(&self.run))
        }
    }

    /// The ids of the steps it is in, outermost first.
    pub fn steps(&self) -> Vec<String> {
        self.frames.iter().map(|frame| frame.id.clone()).collect()
    }

    /// Notes that a change failed. Should the script catch that, no plan can know what it does then.
    pub fn note_failure(&mut self, address: &str) {
        self.frames.iter_mut().for_each(|frame| frame.after_failure = Some(address.to_owned()));
        if self.frames.is_empty() {
            self.after_failure = Some(address.to_owned());
        }
    }

    /// The change that failed and was caught in this step, or outside any.
    pub fn after_failure(&self) -> Option<&str> {
        self.frames.iter().find_map(|frame| frame.after_failure.as_deref()).or(self.after_failure.as_deref())
    }

    /// Notes a change, made or planned.
    pub fn note_written(&mut self, cell: &Cell, by: &str, state: &State) {
        self.written.insert(cell.clone(), Written { by: by.to_owned(), state: state.clone() });
        self.frames.iter_mut().for_each(|frame| frame.changed = true);
    }

    /// Why what is read here is not what will be there: something made up by the rehearsal, or something planned.
    fn rehearsed(&self) -> Option<Unknown> {
        self.rehearsed.clone().filter(|_| self.phase == Phase::Rehearse)
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
    adopt(Branch::root(run))
}

/// Makes this thread work in a branch.
pub(super) fn adopt(branch: Branch) -> Entered {
    deferral::take();
    Entered { outer: BRANCH.with_borrow_mut(|slot| slot.replace(branch)) }
}

/// Takes the branch away from this thread.
pub(super) fn leave() -> Option<Branch> {
    BRANCH.with_borrow_mut(Option::take)
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

/// A text without the secrets of this run.
pub fn clean(text: &str) -> String {
    run().map_or_else(|_| text.to_owned(), |run| run.redactor.clean(text))
}

/// Notes that a handle was made here: a step that makes its own may reach anything.
pub fn note_handle() {
    let _ = with(|branch| {
        branch.made_handle = true;
        branch.frames.iter_mut().for_each(|frame| frame.made_handle = true);
    });
}

/// Carries out a line at the top of a script.
pub fn at_line<T>(line: String, work: impl FnOnce() -> T) -> T {
    let outer = with(|branch| branch.line.replace(line));
    let value = work();
    let _ = with(|branch| branch.line = outer.ok().flatten());
    value
}

/// A change, with where in the playbook it was made.
pub fn placed(change: Change) -> Result<Done> {
    with(|branch| Done { change, steps: branch.steps(), line: branch.line.clone() })
}

/// Runs something in another phase.
pub fn in_phase<T>(phase: Phase, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = with(|branch| std::mem::replace(&mut branch.phase, phase))?;
    let result = work();
    with(|branch| branch.phase = before)?;
    result
}

/// Reads with nothing but fresh answers.
pub fn anew<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = with(|branch| std::mem::replace(&mut branch.anew, true))?;
    let result = work();
    with(|branch| branch.anew = before)?;
    result
}

/// Back to the script, after a panic left whatever was under way.
pub fn recover() {
    let _ = with(|branch| {
        branch.phase = Phase::Script;
        branch.change = None;
        branch.anew = false;
        branch.notes = Notes::default();
        branch.rehearsed = None;
        branch.doubt = None;
        branch.precautions = Precautions::default();
    });
}

/// Whether a script may be ended right here when the run is asked to end: a change in flight is finished first, unless
/// that is asked twice.
pub fn may_end_here() -> bool {
    with(|branch| branch.change.is_none() || branch.run.interrupt.urgency() == Urgency::Now).unwrap_or(true)
}

/// Runs a part of the script that the real run may leave out. What it plans is believed inside, and unknown afterwards.
pub fn in_doubt<T>(cause: &Unknown, work: impl FnOnce() -> T) -> Result<T> {
    let (doubt, written) = with(|branch| (branch.doubt.replace(cause.clone()), std::mem::take(&mut branch.written)))?;
    let value = work();
    with(|branch| {
        branch.doubt = doubt;
        let inside = std::mem::replace(&mut branch.written, written);
        let cells: Vec<Cell> = inside.keys().cloned().collect();
        branch.overlay.spread_over_cells(&cells, cause);
        branch.written.extend(inside);
    })?;
    Ok(value)
}

/// Works on something inside of which notifications are counted by themselves.
pub fn within<T>(item: &str, work: impl FnOnce() -> T) -> Result<T> {
    with(|branch| branch.items.push(item.to_owned()))?;
    let value = work();
    with(|branch| branch.items.pop())?;
    Ok(value)
}

/// Refuses what does not belong into the current phase, by name.
pub fn require(allowed: &[Phase], doing: &str) -> Result<()> {
    let phase = with(|branch| branch.phase)?;
    if allowed.contains(&phase) {
        return Ok(());
    }
    let help = match phase {
        Phase::Read => "`read` may only read: move the change into `create`, `update` or `delete`",
        Phase::Wait => "`wait_until` only looks, as often as it takes: change things before it",
        Phase::Want => "`want` is pure: read what it needs before, and hand it in",
        _ => "a change may only make raw calls: call this before or after it, where a plan can see it",
    };
    Err(Error::new(Class::Script, format!("{doing} is not allowed inside {}", phase.name())).help(help))
}

/// Waits for an answer. A read ends at the first Ctrl-C, a change in flight only at the second.
pub fn wait<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    let (run, least) = with(|branch| {
        let least = if branch.change.is_some() { Urgency::Now } else { Urgency::Finish };
        (Arc::clone(&branch.run), least)
    })?;
    run.runtime.block_on(async {
        tokio::select! {
            biased;
            () = run.interrupt.reached(least) => Err(run.interrupted()),
            answer = answer => answer,
        }
    })
}

/// Waits a little, because something may change meanwhile. Ctrl-C ends it.
pub fn pause(time: std::time::Duration) -> Result<()> {
    run()?.waited();
    wait(async {
        tokio::time::sleep(time).await;
        Ok(())
    })
}

/// Why what a command in this realm would see is not what it will see, in a dry run.
pub fn stale_realm(realm: &str) -> Result<Option<Unknown>> {
    with(|branch| {
        if branch.phase == Phase::Read {
            branch.notes.fog = branch.notes.fog.take().or_else(|| branch.overlay.fog_over_realm(realm).cloned());
        }
        let planned = branch.overlay.change_in(realm).cloned();
        branch.rehearsed().or(planned)
    })
}

/// The same where only a change of certain cells counts: others cannot bring what is asked about.
pub fn stale_cells(realm: &str, counts: impl Fn(&Cell) -> bool) -> Result<Option<Unknown>> {
    with(|branch| {
        if branch.phase == Phase::Read {
            branch.notes.fog = branch.notes.fog.take().or_else(|| branch.overlay.fog_over_realm(realm).cloned());
        }
        let planned = branch.overlay.change_among(realm, counts);
        branch.rehearsed().or(planned)
    })
}

/// Why the answer to a raw API read is not what it will be, in a dry run. Every raw read asks this first, so this also
/// notes what the read of a resource depends on. Such a read looks past fog, and its change is marked for it.
pub fn stale_path(path: &str) -> Result<Option<Unknown>> {
    with(|branch| {
        let fog = branch.overlay.fog_over_paths().cloned();
        let stale = branch.rehearsed().or_else(|| branch.overlay.staleness_of(path).cloned());
        if branch.phase != Phase::Read {
            return stale.or(fog);
        }
        branch.notes.touched.push(path.to_owned());
        branch.notes.fog = branch.notes.fog.take().or(fog);
        stale
    })
    .map(|stale| stale.map(Unknown::maybe_absent))
}

/// The machine behind a name or address, where this dry run has only planned it. An error where it planned its end.
pub fn planned_machine(name: &str) -> Result<Option<(super::resource::Machine, Unknown)>> {
    with(|branch| match branch.overlay.gone(name) {
        Some(by) => Err(Error::new(Class::Script, format!("{name}: it does not exist any more after {by} is deleted"))
            .help("use it before the step that deletes it, or do not delete it")),
        None => Ok(branch.overlay.machine(name).cloned()),
    })?
}
