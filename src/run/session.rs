//! One run: how it works, what it has seen and done so far, and whom it tells.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::event::{Event, Mode, SCHEMA_VERSION, Subscriber, What};
use super::interrupt::Interrupt;
use super::resource::{Cell, Wish};
use super::secret::Redactor;
use super::steps::StepBook;
use super::value::State;
use crate::error::{Class, Error, Result};

/// Asks a person: the question, and whether the answer was yes.
pub type Ask = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a run works, from the command line.
#[derive(Clone, Default)]
pub struct Settings {
    /// Step ids to run (globs); all when empty.
    pub steps: Vec<glob::Pattern>,
    /// The first step to run.
    pub from: Option<String>,
    /// Step ids to leave out (globs).
    pub skip: Vec<glob::Pattern>,
    /// Only the steps of these hosts.
    pub limit: Vec<String>,
    /// Steps whose approval is given (globs).
    pub approve: Vec<glob::Pattern>,
    /// Addresses that may be destroyed.
    pub allow_destroy: Vec<String>,
    /// The simulator answers manual steps and approvals.
    pub answer_manual: bool,
    /// Whether this is the simulated world.
    pub simulated: bool,
    /// How many branches of `parallel` run at once.
    pub jobs: usize,
    /// How to ask a person, where there is one.
    pub ask: Option<Ask>,
    /// Whether all that commands print is told, at once; else only what those print that take their time.
    pub shows_output: bool,
}

/// What the journal and the screens call a world: the simulated one or the real one.
pub fn world(simulated: bool) -> &'static str {
    if simulated { "simulated" } else { "live" }
}

/// One run.
pub struct Run {
    /// Whether it changes things.
    pub mode: Mode,
    /// How it works.
    pub settings: Settings,
    /// Where its waiting is done.
    pub runtime: tokio::runtime::Handle,
    /// How it is asked to end.
    pub interrupt: Interrupt,
    /// What must not show.
    pub redactor: Redactor,
    /// Its steps.
    pub steps: Mutex<StepBook>,
    /// When it began.
    pub began: Instant,
    subscribers: Mutex<Vec<Box<dyn Subscriber>>>,
    sequence: AtomicU64,
    change_ids: AtomicU64,
    moment: Counted,
    record: Mutex<Record>,
    busy_cells: (Mutex<HashSet<Cell>>, Condvar),
    ends_early: AtomicBool,
}

pub use super::fidelity::Done;

/// What a [`Moment`] is told by.
#[derive(Default)]
struct Counted {
    changes: AtomicU64,
    reaching: AtomicU64,
    waits: AtomicU64,
}

/// A point of a run between two things that make old answers useless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// How many changes have begun or ended.
    pub changes: u64,
    /// How many of them may have altered more than one thing that is known.
    pub reaching: u64,
    /// How often something was waited for.
    pub waits: u64,
}

/// What a run remembers for its end.
#[derive(Default)]
pub struct Record {
    /// Everything that was wanted, in order.
    pub wishes: Vec<Wish>,
    /// The last proven state of each cell (in a real run).
    pub proven: HashMap<Cell, (State, String)>,
    /// The changes made or planned.
    pub changes: Vec<Done>,
    /// The things whose change failed.
    pub failed: BTreeSet<String>,
    /// The things that a plan found as they should be, through fog.
    pub in_fog: BTreeSet<String>,
    /// How often something was notified of the same changes in the same step.
    pub notified: HashMap<String, usize>,
    /// The API paths that scripted resources read, each with the address of the first.
    pub scripted_reads: BTreeMap<String, String>,
    /// Digest of the first read of each cell.
    pub digests: BTreeMap<String, String>,
    /// Errors that a step has shown already.
    pub shown: HashSet<String>,
}

impl Run {
    /// A run with its subscribers. The journal comes first among them, so that a change is on disk before it begins.
    #[allow(clippy::too_many_arguments, reason = "called in one place, with a name for each")]
    pub fn new(
        mode: Mode,
        settings: Settings,
        runtime: tokio::runtime::Handle,
        interrupt: Interrupt,
        redactor: Redactor,
        steps: StepBook,
        subscribers: Vec<Box<dyn Subscriber>>,
    ) -> Arc<Self> {
        Arc::new(Run {
            mode,
            settings,
            runtime,
            interrupt,
            redactor,
            steps: Mutex::new(steps),
            began: Instant::now(),
            subscribers: Mutex::new(subscribers),
            sequence: AtomicU64::new(0),
            change_ids: AtomicU64::new(0),
            moment: Default::default(),
            record: Mutex::default(),
            busy_cells: Default::default(),
            ends_early: AtomicBool::default(),
        })
    }

    /// Tells everybody.
    pub fn emit(&self, what: What) -> Result<()> {
        self.emit_all(vec![what])
    }

    /// Tells everybody several things at once. This is where secrets are taken out of what leaves the program.
    pub fn emit_all(&self, mut all: Vec<What>) -> Result<()> {
        all.iter_mut().for_each(|what| what.clean(&self.redactor));
        let mut subscribers = lock(&self.subscribers);
        let event = |what| Event {
            schema: SCHEMA_VERSION,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            at: jiff::Timestamp::now().as_millisecond(),
            mode: self.mode,
            what,
        };
        let events: Vec<Event> = all.into_iter().map(event).collect();
        subscribers.iter_mut().try_for_each(|subscriber| subscriber.notice_all(&events))
    }

    /// A number for the next change.
    pub fn next_change(&self) -> u64 {
        self.change_ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that a change begins or has ended; a confined one alters nothing but what it is about.
    pub fn stir(&self, confined: bool) {
        self.moment.changes.fetch_add(1, Ordering::SeqCst);
        if !confined {
            self.moment.reaching.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Notes that something was waited for: what was read before is older than that.
    pub fn waited(&self) {
        self.moment.waits.fetch_add(1, Ordering::SeqCst);
    }

    /// As long as this is the same, this run has neither changed anything nor waited for anything.
    pub fn moment(&self) -> Moment {
        let Counted { changes, reaching, waits } = &self.moment;
        let [changes, reaching, waits] = [changes, reaching, waits].map(|count| count.load(Ordering::SeqCst));
        Moment { changes, reaching, waits }
    }

    /// What the run remembers.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// Its steps.
    pub fn step_book(&self) -> MutexGuard<'_, StepBook> {
        lock(&self.steps)
    }

    /// Holds a cell from read to proof, so that two branches never edit the same thing at once.
    pub fn hold(self: &Arc<Self>, cell: &Cell) -> Held {
        let (busy, freed) = &self.busy_cells;
        let mut busy = lock(busy);
        while busy.contains(cell) {
            busy = freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        busy.insert(cell.clone());
        Held { run: Arc::clone(self), cell: cell.clone() }
    }

    /// Asks a person, where there is one.
    pub fn ask(&self, question: &str) -> Option<bool> {
        self.settings.ask.as_ref().map(|ask| ask(&self.redactor.clean(question)))
    }

    /// Whether a notification is owed from an earlier run. The journal knows keys and addresses as events carried them.
    pub fn owed(&self, key: &str, addresses: &[String]) -> Result<bool> {
        let key = self.redactor.clean(key);
        let addresses: Vec<String> = addresses.iter().map(|address| self.redactor.clean(address)).collect();
        self.step_book().notifications.as_ref().map_or(Ok(false), |notifications| notifications.owed(&key, &addresses))
    }

    /// What an earlier run left in flight at an address: the tasks that it is known to have started there.
    pub fn left_in_flight(&self, address: &str) -> Result<Option<Vec<String>>> {
        self.step_book().doubts.as_ref().map_or(Ok(None), |doubts| doubts.left_in_flight(address))
    }

    /// Notes that a notification was carried out.
    pub fn paid(&self, key: &str) -> Result<()> {
        let key = self.redactor.clean(key);
        self.step_book().notifications.as_ref().map_or(Ok(()), |notifications| notifications.paid(&key))
    }

    /// An error where the run was asked to end.
    pub fn check_interrupt(&self) -> Result<()> {
        match self.interrupt.urgency() {
            super::interrupt::Urgency::None => Ok(()),
            _ => Err(self.interrupted()),
        }
    }

    /// The error of a run that was asked to end. Whoever has it leaves something undone, even if the script catches it.
    pub fn interrupted(&self) -> Error {
        self.ends_early.store(true, Ordering::Relaxed);
        interrupted()
    }

    /// The same where something was left undone, whatever became of the error since.
    pub fn check_ends_early(&self) -> Result<()> {
        if self.ends_early.load(Ordering::Relaxed) { Err(self.interrupted()) } else { Ok(()) }
    }
}

/// The error of a script that was asked to end.
pub fn interrupted() -> Error {
    Error::new(Class::Interrupted, "interrupted").help("continue with the same command and --resume")
}

/// A cell that is held.
pub struct Held {
    run: Arc<Run>,
    cell: Cell,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (busy, freed) = &self.run.busy_cells;
        lock(busy).remove(&self.cell);
        freed.notify_all();
    }
}

/// A lock whose holder panicked still holds usable data here: every update is a single insertion.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
