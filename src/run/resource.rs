//! What can be read and what can be wanted, as plain descriptions.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::capability::Writer;
use super::difference::Difference;
use super::event::Action;
use super::value::{Map, State};
use crate::error::Result;

/// The smallest thing that is read as a whole: a file, one VM's config, one Kubernetes object. Several resources may
/// want parts of one cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// What it belongs to, as in `host:pve-01` or `proxmox`: as far as a command or a deferred step can reach.
    pub realm: String,
    /// Which one it is there.
    pub path: String,
}

impl Cell {
    /// A cell of a realm.
    pub fn new(realm: impl Into<String>, path: impl Into<String>) -> Self {
        Cell { realm: realm.into(), path: path.into() }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.realm.strip_prefix("host:").unwrap_or(&self.realm), self.path)
    }
}

/// What a read is given: the way to wait for an answer, and a note of the paths that it asked for.
#[derive(Debug, Default)]
pub struct Reader {
    touched: RefCell<Vec<String>>,
    takes_earlier: bool,
    took_earlier: std::cell::Cell<bool>,
}

impl Reader {
    /// One that may take an answer which was asked for in advance. The default asks anew.
    pub fn taking_earlier_answers(takes_earlier: bool) -> Self {
        Reader { takes_earlier, ..Reader::default() }
    }

    /// Whether an answer will do that was asked for in advance.
    pub fn takes_earlier_answers(&self) -> bool {
        self.takes_earlier
    }

    /// Notes that such an answer was taken: no change may rest on it.
    pub fn note_earlier_answer(&self) {
        self.took_earlier.set(true);
    }

    /// Whether one was taken.
    pub fn took_earlier_answer(&self) -> bool {
        self.took_earlier.get()
    }

    /// Waits for an answer. Ctrl-C ends the wait.
    pub fn wait<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        super::scope::wait(answer)
    }

    /// Notes that an API path was read, so that a later raw read of the same is known to be stale after a change.
    pub fn touch(&self, path: impl Into<String>) {
        self.touched.borrow_mut().push(path.into());
    }

    /// The API paths that were read.
    pub fn into_touched(self) -> Vec<String> {
        self.touched.into_inner()
    }
}

/// Something that can be read.
pub trait Fact: Send + Sync {
    /// What people call it, as in `k3s-cp-01:file:/etc/motd`.
    fn address(&self) -> String;

    /// Where the truth is.
    fn cell(&self) -> Cell;

    /// Reads it. Only reads: nothing changes.
    fn read(&self, reader: &Reader) -> Result<State>;

    /// The network address that must answer for this to be read. A dry run knows which of them it has only planned.
    fn stands_on(&self) -> Option<&str> {
        None
    }

    /// Whether a change of something else may alter it. Default: yes.
    fn is_alterable(&self) -> bool {
        true
    }

    /// What is there on a new machine of the usual image: absent, or unknown where the image may bring it.
    fn imagined(&self) -> State {
        State::Absent
    }
}

/// A machine that a change brings about, or takes away.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The names and network addresses that it answers to.
    pub names: Vec<String>,
    /// Whether it is made anew. One that only starts has a past that cannot be read yet.
    pub new: bool,
}

/// How far beyond its own cell a change reaches.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Reach {
    /// Its own cell and no more.
    #[default]
    Cell,
    /// Whatever its realm holds: a command that nobody can look into.
    Realm,
    /// These cells: what the author says that a command brings about.
    Cells(Vec<Cell>),
}

/// Something that can also be wanted and changed.
pub trait Resource: Fact {
    /// What is wanted, given what is there. Pure: the same answer for the same state, always. Where the state is
    /// unknown, what would be wanted if it could be read.
    fn want(&self, have: &State) -> Result<State>;

    /// Carries out the difference. Gives back what the other system showed only this once, by field.
    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map>;

    /// The fields that the other system fills in by itself when the thing is created.
    fn fills(&self) -> Vec<String> {
        Vec::new()
    }

    /// What will be there after the change, where that is more than what is wanted: a dry run believes it.
    fn expect(&self, difference: &Difference) -> State {
        difference.want.clone()
    }

    /// What the change is called, where the difference alone does not tell (a command runs).
    fn action(&self, difference: &Difference) -> Action {
        difference.action
    }

    /// The name of the host that a change of this may cut off, where it is none of that host's own.
    fn endangers(&self) -> Option<&str> {
        None
    }

    /// Why this difference destroys something, or `None`.
    fn destroys(&self, _difference: &Difference) -> Option<String> {
        None
    }

    /// Whether the playbook itself allows that (`allow_destroy: true`).
    fn may_destroy(&self) -> bool {
        false
    }

    /// Goes through the change without making it, so that a mistake in a script shows in the plan.
    fn rehearse(&self, _difference: &Difference) -> Result<()> {
        Ok(())
    }

    /// How far the change reaches.
    fn reach(&self) -> Reach {
        Reach::Cell
    }

    /// The cells of other facts that its change alters as well: a dry run does not know them afterwards.
    fn stirs(&self) -> Vec<Cell> {
        Vec::new()
    }

    /// Whether its change alters nothing else that anybody could have asked about in advance.
    fn is_confined(&self) -> bool {
        false
    }

    /// Whether its change looks once more itself, and fails where what it rests on is no longer so: then it may rest on
    /// what was seen earlier.
    fn looks_again(&self, _difference: &Difference) -> bool {
        false
    }

    /// The machine that answers once the wanted state is there.
    fn brings(&self, _difference: &Difference) -> Option<Machine> {
        None
    }

    /// Whether it owns its cell: a command does not, and is neither proven nor replayed.
    fn owns_cell(&self) -> bool {
        true
    }
}

/// What a resource wants of a state, kept for the replay at the end of the run.
pub type Want = Arc<dyn Fn(&State) -> Result<State> + Send + Sync>;

/// What was wanted, and of which cell.
#[derive(Clone)]
pub struct Wish {
    /// What people call it.
    pub address: String,
    /// Where the truth is.
    pub cell: Cell,
    /// Pure: the same answer for the same state.
    pub want: Want,
}

impl Wish {
    /// The wish of a resource that lives on.
    pub fn of<R: Resource + 'static>(resource: &Arc<R>) -> Self {
        let kept = Arc::clone(resource);
        Wish { address: resource.address(), cell: resource.cell(), want: Arc::new(move |have| kept.want(have)) }
    }
}
