//! What happened, as one stream. Screen, journal and JUnit read it; working code never prints.

use serde::{Deserialize, Serialize};

use super::secret::Redactor;
use crate::error::Class;

/// The version of the events' JSON form. It grows by one when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Whether a run changes things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Changes are carried out.
    Run,
    /// Changes are only planned.
    DryRun,
}

/// One event, as `--output json` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Counts from 1 within the run.
    pub sequence: u64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// Whether the run changes things.
    pub mode: Mode,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Already so, proven.
    Ok,
    /// Was not so, now proven.
    Changed,
    /// Dry run: it would change something.
    Planned,
    /// Dry run: it cannot be decided before the real run.
    Deferred,
    /// Written, takes effect after a restart that was not approved.
    Pending,
    /// A person's turn.
    Manual,
    /// A precondition is false.
    Blocked,
    /// Left out by selection, or resumed with its recorded value.
    Skipped,
    /// It failed.
    Failed,
}

/// What a change does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It was not there.
    Create,
    /// It is there and changes.
    Update,
    /// It goes away.
    Delete,
    /// A command is run.
    Run,
}

/// How sure a planned change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It will happen, exactly so.
    Sure,
    /// `?`: it may turn out unnecessary.
    Maybe,
    /// `~`: planned after something deferred or opaque that could touch it.
    Fog,
}

/// One field of a diff. A side that is `None` is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// The field, as in `net0.bridge`; empty for the whole.
    pub path: String,
    /// What is there.
    pub before: Option<serde_json::Value>,
    /// What is wanted.
    pub after: Option<serde_json::Value>,
    /// Whether one side holds something that only the real run will know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// A difference that was found, and what becomes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// Counts from 1 within the run.
    pub id: u64,
    /// The thing, for people: `proxmox:vm:111`.
    pub address: String,
    /// What happens to it.
    pub action: Action,
    /// How sure that is. Always [`Mark::Sure`] in a real run.
    pub mark: Mark,
    /// Field by field.
    pub diff: Vec<FieldDiff>,
    /// Why the mark is not [`Mark::Sure`], as in `after the deferred step 3.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Whether it destroys something: shown in red, refused unless named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroys: bool,
}

/// An error as events carry it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What kind of trouble.
    pub class: Class,
    /// The sentence, place first.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub help: Option<String>,
    /// Where in the playbook, as `playbooks/phase3.rhai:12:5`.
    pub at: Option<String>,
    /// The whole diagnostic as a terminal without colour shows it.
    pub rendered: String,
}

/// How well the last plan foretold this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Sure changes that were planned.
    pub sure: usize,
    /// Those of them that came true exactly.
    pub sure_met: usize,
    /// Changes that might turn out unnecessary.
    pub maybe: usize,
    /// Those of them that were needed.
    pub maybe_done: usize,
    /// Changes planned after something deferred or opaque.
    pub fog: usize,
    /// Those of them that came true.
    pub fog_met: usize,
    /// What was planned for sure and did not come, or came unplanned; each with its cause.
    pub misses: Vec<String>,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The first event.
    RunStarted {
        /// The run's number in the journal.
        run: i64,
        /// The playbooks, relative to the project.
        playbooks: Vec<String>,
        /// `live` or `simulated`.
        world: String,
        /// The version of homelab.
        version: String,
        /// The arguments of the command, secrets removed.
        arguments: Vec<String>,
        /// How many steps the playbooks are known to have at the least, from reading them.
        steps: usize,
    },
    /// A playbook begins: the steps and changes that follow are its own, until the next one begins. Playbooks run one
    /// after the other; a run of a single one may leave this out.
    PlaybookStarted {
        /// Relative to the project, one of those that the run started with.
        playbook: String,
    },
    /// A playbook says what it is about.
    PhaseStarted {
        /// The plan's number, as in `3`.
        id: String,
        /// Its title.
        title: String,
    },
    /// A step begins.
    StepStarted {
        /// Unique in its playbook.
        id: String,
        /// For people.
        title: String,
        /// The step it is nested in.
        parent: Option<String>,
    },
    /// A step ended.
    StepFinished {
        /// Unique in its playbook.
        id: String,
        /// How.
        status: Status,
        /// Why, where the status alone does not say: `needs proxmox:vm:111.ip`, `needs approval`, instructions.
        reason: Option<String>,
        /// What its body returned, where that is plain data without secrets.
        value: Option<serde_json::Value>,
        /// How long it took.
        milliseconds: u64,
        /// What went wrong.
        error: Option<ErrorReport>,
    },
    /// Something is as it should be.
    Unchanged {
        /// The thing.
        address: String,
        /// The step.
        step: Option<String>,
    },
    /// Dry run: this would change.
    ChangePlanned {
        /// What.
        change: Change,
        /// The step.
        step: Option<String>,
    },
    /// This is about to change. Subscribers that must not lose it have it on disk when the call returns.
    ChangeStarted {
        /// What.
        change: Change,
        /// The step.
        step: Option<String>,
    },
    /// A Proxmox task carries it out.
    TaskStarted {
        /// The change, by its id.
        change: u64,
        /// The task.
        upid: String,
    },
    /// The change was carried out and proven, or failed.
    ChangeFinished {
        /// By its id.
        change: u64,
        /// How long it took.
        milliseconds: u64,
        /// What went wrong.
        error: Option<ErrorReport>,
    },
    /// A notification is owed, journalled before the change that causes it; or paid.
    Notification {
        /// What is owed, as in `k3s-cp-01:service:k3s restart`.
        key: String,
        /// False when it was carried out.
        owed: bool,
    },
    /// Something is being waited for.
    Waiting {
        /// The step.
        step: Option<String>,
        /// The predicate.
        what: String,
        /// The last observed value.
        observed: String,
        /// How long it has been.
        milliseconds: u64,
    },
    /// A line that a long command printed.
    Output {
        /// The step.
        step: Option<String>,
        /// Where.
        host: String,
        /// The line.
        line: String,
    },
    /// The playbook or homelab says something.
    Message {
        /// How loud.
        level: Level,
        /// What.
        text: String,
        /// The step.
        step: Option<String>,
    },
    /// The last event.
    RunFinished {
        /// How the run ended: `ok`, `failed`, `blocked`, `interrupted`.
        result: String,
        /// Steps by status.
        steps: std::collections::BTreeMap<String, usize>,
        /// Changes made, or planned in a dry run.
        changes: usize,
        /// The score against the last plan, where there was one over the same sources and selection.
        fidelity: Option<Fidelity>,
        /// How long it took.
        milliseconds: u64,
        /// What to type next.
        next: Option<String>,
        /// What ended it, where that was outside any step.
        error: Option<ErrorReport>,
    },
}

impl What {
    /// Takes the secrets out of everything that is text. Only the words that homelab itself gives (statuses, worlds,
    /// classes) are left alone.
    pub fn clean(&mut self, redactor: &Redactor) {
        let text = |text: &mut String| *text = redactor.clean(text);
        let maybe = |text: &mut Option<String>| {
            if let Some(text) = text {
                *text = redactor.clean(text);
            }
        };
        match self {
            What::RunStarted { playbooks, arguments, .. } => playbooks.iter_mut().chain(arguments).for_each(text),
            What::PlaybookStarted { playbook } => text(playbook),
            What::PhaseStarted { id, title } => [id, title].into_iter().for_each(text),
            What::StepStarted { id, title, parent } => {
                [id, title].into_iter().for_each(text);
                maybe(parent);
            }
            What::StepFinished { id, reason, value, error, .. } => {
                text(id);
                maybe(reason);
                if let Some(value) = value {
                    redactor.clean_json(value);
                }
                clean_error(error, redactor);
            }
            What::Unchanged { address, step } => {
                text(address);
                maybe(step);
            }
            What::ChangePlanned { change, step } | What::ChangeStarted { change, step } => {
                change.clean(redactor);
                maybe(step);
            }
            What::TaskStarted { upid, .. } => text(upid),
            What::ChangeFinished { error, .. } => clean_error(error, redactor),
            What::Notification { key, .. } => text(key),
            What::Waiting { step, what, observed, .. } => {
                [what, observed].into_iter().for_each(text);
                maybe(step);
            }
            What::Output { step, host, line } => {
                [host, line].into_iter().for_each(text);
                maybe(step);
            }
            What::Message { text: message, step, .. } => {
                text(message);
                maybe(step);
            }
            What::RunFinished { fidelity, next, error, .. } => {
                if let Some(fidelity) = fidelity {
                    fidelity.misses.iter_mut().for_each(text);
                }
                maybe(next);
                clean_error(error, redactor);
            }
        }
    }
}

impl Change {
    /// Takes the secrets out of it.
    pub fn clean(&mut self, redactor: &Redactor) {
        self.address = redactor.clean(&self.address);
        self.because = self.because.as_ref().map(|because| redactor.clean(because));
        for field in &mut self.diff {
            field.path = redactor.clean(&field.path);
            [&mut field.before, &mut field.after].into_iter().flatten().for_each(|side| redactor.clean_json(side));
        }
    }
}

fn clean_error(error: &mut Option<ErrorReport>, redactor: &Redactor) {
    let Some(error) = error else { return };
    let texts = [&mut error.message, &mut error.rendered];
    for text in texts.into_iter().chain(&mut error.causes).chain(&mut error.help).chain(&mut error.at) {
        *text = redactor.clean(text);
    }
}

/// How loud a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For whoever asked for detail.
    Debug,
    /// Good to know.
    Info,
    /// Mind this.
    Warn,
}

/// Reads the stream.
pub trait Subscriber: Send {
    /// Takes note of an event. Secrets are already removed. An error stops the run before the change it announces.
    fn notice(&mut self, event: &Event) -> crate::error::Result<()>;

    /// The same for events that come at once.
    fn notice_all(&mut self, events: &[Event]) -> crate::error::Result<()> {
        events.iter().try_for_each(|event| self.notice(event))
    }
}
