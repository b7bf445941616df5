//! Steps: which of them run, how they end, what they give back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::deferral::{self, Deferral};
use super::event::{ErrorReport, Mode, Status, What};
use super::overlay::Spread;
use super::report;
use super::scope::{self, Frame, Phase};
use super::session::{Run, Settings};
use super::unknown::Unknown;
use super::value::Value;
use crate::error::{Class, Error, Result};
use crate::suggest;

/// Why a step was skipped that was not asked for.
pub const LEFT_OUT: &str = "left out";

/// Why a step was skipped that an interrupted run had finished.
pub const RESUMED: &str = "done before, resumed";

/// Looks up what a step returned the last time it was done: playbook and id in, the value out.
pub type Memory = Arc<dyn Fn(&str, &str) -> Result<Option<Value>> + Send + Sync>;

/// Remembers across runs what was notified of which change.
pub trait Notifications: Send + Sync {
    /// Whether something at one of the addresses has changed since the notification was last paid.
    fn owed(&self, key: &str, addresses: &[String]) -> Result<bool>;
    /// Notes that all changes so far are paid for.
    fn paid(&self, key: &str) -> Result<()>;
}

/// Remembers across runs what was left in flight.
pub trait Doubts: Send + Sync {
    /// Whether an earlier run began a change of the thing at an address and did not see its end; the tasks that it is known
    /// to have started for it.
    fn left_in_flight(&self, address: &str) -> Result<Option<Vec<String>>>;
}

/// The steps of a run.
#[derive(Default)]
pub struct StepBook {
    /// The playbook that is running.
    pub playbook: String,
    /// What steps returned in earlier runs.
    pub memory: Option<Memory>,
    /// What is owed from earlier runs, where there is a journal.
    pub notifications: Option<Box<dyn Notifications>>,
    /// What earlier runs left in flight, where there is a journal.
    pub doubts: Option<Box<dyn Doubts>>,
    /// The finished steps of the run that is being resumed, with what they returned.
    pub finished: BTreeMap<(String, String), Value>,
    /// How many steps ended in which way.
    pub counts: BTreeMap<Status, usize>,
    /// Steps that this plan could not decide, and lines outside any step.
    pub deferred: BTreeSet<String>,
    seen: BTreeSet<(String, String)>,
    reached_first: bool,
    selected: usize,
}

impl StepBook {
    /// The ids that were met, for a suggestion where a selection met none.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(|(_, id)| id.as_str())
    }

    /// The ids that were met in the playbook that is running, and in those before it.
    pub fn met(&self) -> BTreeSet<String> {
        self.ids().map(str::to_owned).collect()
    }

    /// A step that failed may be tried again under its id.
    fn release(&mut self, id: &str) {
        self.seen.remove(&(self.playbook.clone(), id.to_owned()));
    }

    /// An error where a selection was made and no step was in it.
    pub fn check_selection(&self, settings: &Settings) -> Result<()> {
        let wanted: Vec<&str> =
            settings.steps.iter().map(glob::Pattern::as_str).chain(settings.from.as_deref()).collect();
        if wanted.is_empty() || self.selected > 0 {
            return Ok(());
        }
        let ids: Vec<&str> = self.ids().collect();
        let error = Error::new(Class::Usage, format!("no step is selected by {}", wanted.join(", ")));
        Err(error.help(match suggest::nearest(wanted[0], ids.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? `homelab status` lists the steps of all playbooks"),
            None if ids.is_empty() => "the playbook has no steps".to_owned(),
            None => format!("its steps are {}", suggest::listed(&ids)),
        }))
    }

    fn claim(&mut self, id: &str) -> Result<()> {
        if self.seen.insert((self.playbook.clone(), id.to_owned())) {
            return Ok(());
        }
        Err(Error::new(Class::Script, format!("step {id}: this id was used before in {}", self.playbook))
            .help("ids are unique in a playbook: put what differs into the id, as in `3.3.${m.name}`"))
    }

    fn selects(&mut self, spec: &Spec, outer: Option<&str>, settings: &Settings) -> bool {
        let inside_selected = outer.is_some();
        let matches = |glob: &glob::Pattern| glob.matches(&spec.id);
        if settings.skip.iter().any(matches) {
            return false;
        }
        if let Some(host) = spec.host.as_ref().filter(|_| !settings.limit.is_empty())
            && !settings.limit.contains(host)
        {
            return false;
        }
        let surrounds = |inner: &str| inner.starts_with(&format!("{}.", spec.id));
        if let Some(from) = &settings.from {
            self.reached_first |= *from == spec.id;
            if !self.reached_first {
                return surrounds(from);
            }
        }
        let named = settings.steps.is_empty()
            || inside_selected
            || settings.steps.iter().any(|glob| glob.matches(&spec.id) || surrounds(glob.as_str()));
        self.selected += usize::from(named);
        named
    }
}

/// A step, as the playbook describes it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Unique in its playbook.
    pub id: String,
    /// For people.
    pub title: String,
    /// What must be approved before its first change, as in `reboots pve-01`.
    pub approve: Option<String>,
    /// The host it is about, for `--limit`.
    pub host: Option<String>,
    /// Whether its body assigns variables around it. What those became is recorded nowhere.
    pub assigns: bool,
}

/// A step that was entered.
pub struct Entered {
    spec: Spec,
    began: Instant,
}

/// Whether a step's body is to run.
pub enum Entry {
    /// It is.
    Run(Entered),
    /// It is not: this is what it gave back the last time.
    Skip(Value),
}

/// How a body ended.
pub enum End {
    /// With a value; or with one that is not plain data and so cannot be recorded.
    Done(Option<Value>),
    /// It is a person's turn.
    Manual(String),
    /// With an error.
    Failed(Box<ErrorReport>),
}

/// Begins a step: checks its id, whether it is selected, and tells everybody.
pub fn begin(spec: Spec) -> Result<Entry> {
    if spec.id.trim().is_empty() {
        return Err(Error::new(Class::Script, "a step needs an id")
            .help("number it as the plan does, for example \"3.1\": `--step` and `status` go by it"));
    }
    scope::require(&[Phase::Script], &format!("step {}", spec.id))?;
    let run = scope::run()?;
    run.check_interrupt()?;
    let parent = scope::step();
    let mut book = run.step_book();
    book.claim(&spec.id)?;
    // A step that assigns runs again: it finds everything done.
    let finished = book.finished.get(&(book.playbook.clone(), spec.id.clone()));
    let resumed = finished.filter(|_| !spec.assigns).cloned();
    let selected = book.selects(&spec, selected_parent(&run, parent.as_deref()), &run.settings);
    if selected && resumed.is_none() {
        drop(book);
        run.emit(What::StepStarted { id: spec.id.clone(), title: spec.title.clone(), parent })?;
        scope::with(|branch| {
            branch.frames.push(Frame { id: spec.id.clone(), approve: spec.approve.clone(), ..Frame::default() });
        })?;
        return Ok(Entry::Run(Entered { spec, began: Instant::now() }));
    }
    let (reason, value) = match resumed {
        Some(value) => (RESUMED.to_owned(), value),
        None => (LEFT_OUT.to_owned(), left_out(&book, &spec.id)?),
    };
    *book.counts.entry(Status::Skipped).or_default() += 1;
    drop(book);
    run.emit(What::StepStarted { id: spec.id.clone(), title: spec.title, parent })?;
    run.emit(What::StepFinished {
        id: spec.id,
        status: Status::Skipped,
        reason: Some(reason),
        value: None,
        milliseconds: 0,
        error: None,
    })?;
    Ok(Entry::Skip(value))
}

/// A step inside a selected one is selected too; one inside a step that only surrounds a selected one is not.
fn selected_parent<'a>(run: &Run, parent: Option<&'a str>) -> Option<&'a str> {
    parent.filter(|parent| run.settings.steps.is_empty() || run.settings.steps.iter().any(|glob| glob.matches(parent)))
}

/// What a step gave back when it last ran. One that never did gives a value that cannot be used, and says so.
fn left_out(book: &StepBook, id: &str) -> Result<Value> {
    let recorded = match &book.memory {
        Some(memory) => memory(&book.playbook, id)?,
        None => None,
    };
    Ok(recorded.unwrap_or_else(|| Value::Unknown(Unknown::from_origin(format!("left-out step {id}")).left_out())))
}

/// Ends a step: decides its status and tells everybody. A step that could not be decided gives back the unknown that
/// the script gets instead of a value.
pub fn finish(entered: Entered, end: End, captured: &Spread) -> Result<Option<Value>> {
    let run = scope::run()?;
    let deferral = deferral::take().filter(|_| run.mode == Mode::DryRun);
    let Some(frame) = scope::with(|branch| branch.frames.pop())? else {
        return Err(Error::new(Class::Bug, format!("step {}: ended twice", entered.spec.id)));
    };
    let id = entered.spec.id.clone();
    let mut instead = None;
    let end = match (end, run.check_ends_early()) {
        // The script caught the interruption: the step is not done, and runs again.
        (End::Done(_), Err(error)) => End::Failed(Box::new(report::plain(&error))),
        (end, _) => end,
    };
    let (status, reason, value, error) = match (deferral, end) {
        (Some(deferral), _) => {
            let value = defer(&run, &id, &frame, &deferral, captured)?;
            instead = Some(value.clone());
            (Status::Deferred, Some(format!("needs {}", deferral.needs.origin())), Some(value), None)
        }
        (None, End::Failed(error)) => {
            let status = if error.class == Class::Blocked { Status::Blocked } else { Status::Failed };
            let reason = (status == Status::Blocked).then(|| error.message.clone());
            run.step_book().release(&id);
            (status, reason, None, Some(error))
        }
        (None, End::Manual(instructions)) => (Status::Manual, Some(instructions), None, None),
        (None, End::Done(value)) => {
            let status = status_of(&run, &frame);
            (status, frame.open.clone().or(frame.pending.clone()), value, None)
        }
    };
    *run.step_book().counts.entry(status).or_default() += 1;
    // A step whose value cannot be recorded runs again where the value is needed.
    let recorded = value.as_ref().filter(|value| !value.holds_secret()).and_then(Value::to_json);
    run.emit(What::StepFinished {
        id,
        status,
        reason,
        value: recorded,
        milliseconds: u64::try_from(entered.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        error: error.map(|error| *error),
    })?;
    Ok(instead)
}

fn status_of(run: &Run, frame: &Frame) -> Status {
    if frame.open.is_some() {
        return Status::Deferred;
    }
    match (frame.changed, &frame.pending, run.mode) {
        (_, Some(_), Mode::Run) => Status::Pending,
        (true, _, Mode::DryRun) => Status::Planned,
        (true, _, Mode::Run) => Status::Changed,
        (false, ..) => Status::Ok,
    }
}

/// Notes that something between steps could not be decided: a line of the playbook or a branch of `parallel`. Whatever
/// it reaches lies in fog from here on.
pub fn defer_here(needs: &Unknown, cause: &str, spread: &Spread) -> Result<()> {
    let run = scope::run()?;
    let place = scope::with(|branch| {
        branch.overlay.spread(spread, &Unknown::from_origin(cause));
        let Some(frame) = branch.frames.last_mut() else { return branch.line.clone() };
        frame.open.get_or_insert_with(|| format!("{cause} needs {}", needs.origin()));
        Some(frame.id.clone())
    })?;
    run.step_book().deferred.insert(place.unwrap_or_default());
    Ok(())
}

/// A step that cannot be decided in a dry run: what its handles reach lies in fog from here on.
fn defer(run: &Run, id: &str, frame: &Frame, deferral: &Deferral, captured: &Spread) -> Result<Value> {
    run.step_book().deferred.insert(id.to_owned());
    let cause = Unknown::from_origin(format!("the deferred step {id}"));
    let spread = if frame.made_handle { &Spread::Everywhere } else { captured };
    scope::with(|branch| branch.overlay.spread(spread, &cause))?;
    // A body may give back nothing.
    Ok(Value::Unknown(Unknown::join([&Unknown::from_origin(format!("step {id}")), &deferral.needs]).maybe_absent()))
}
