//! What the journal remembers, as it gives it back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run::event::{Action, Change, ErrorReport, Fidelity, Mode, Status};
use crate::run::fidelity::Foretold;

/// What a run is, when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunInfo {
    /// The playbooks, relative to the project.
    pub playbooks: Vec<String>,
    /// A hash over their sources and all they import.
    pub sources_hash: String,
    /// The arguments of the command, secrets removed.
    pub arguments: Vec<String>,
    /// `live` or `simulated`.
    pub world: String,
    /// Whether it changes things.
    pub mode: Mode,
    /// What `--step`, `--from`, `--skip` and `--limit` chose, in one text; empty for all.
    pub selection: String,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRecord {
    /// Its number.
    pub run: i64,
    /// What it was.
    #[serde(flatten)]
    pub info: RunInfo,
    /// Its process.
    pub pid: u32,
    /// The version of homelab.
    pub version: String,
    /// When it began, in milliseconds since the Unix epoch, as all times here.
    pub started: i64,
    /// When it ended. `None`: it runs still, or was cut short.
    pub finished: Option<i64>,
    /// How it ended: `ok`, `failed`, `blocked`, `interrupted`.
    pub result: Option<String>,
    /// Steps by status, once it ended.
    pub steps: BTreeMap<String, usize>,
    /// Changes made, or planned in a dry run: as counted at its end, else those that the journal has.
    pub changes: usize,
    /// How well the last plan foretold it.
    pub fidelity: Option<Fidelity>,
    /// What to type next.
    pub next: Option<String>,
    /// What ended it, where that was outside any step.
    pub error: Option<ErrorReport>,
}

/// A step of a run.
#[derive(Debug, Clone, Serialize)]
pub struct StepRecord {
    /// The run.
    pub run: i64,
    /// The playbook.
    pub playbook: String,
    /// The phase, as `Phase 3: Virtual machines`, where one was announced.
    pub phase: Option<String>,
    /// Unique in its playbook.
    pub id: String,
    /// For people.
    pub title: String,
    /// The step it is nested in.
    pub parent: Option<String>,
    /// How it ended. `None`: it runs still, or was cut short.
    pub status: Option<Status>,
    /// Why, where the status alone does not say.
    pub reason: Option<String>,
    /// How often it began in this run.
    pub attempts: u32,
    /// When it (last) began.
    pub started: i64,
    /// When it ended.
    pub finished: Option<i64>,
    /// How long it took.
    pub milliseconds: Option<u64>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

/// How far a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeState {
    /// A dry run found it.
    Planned,
    /// It began, and nothing says that it ended.
    Started,
    /// Carried out and proven.
    Done,
    /// It failed.
    Failed,
    /// Its end was never seen, but a later run has read that thing back.
    Settled,
}

/// A change of a run.
#[derive(Debug, Clone, Serialize)]
pub struct ChangeRecord {
    /// The run.
    pub run: i64,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
    /// The playbook.
    pub playbook: String,
    /// The step.
    pub step: Option<String>,
    /// How far it came.
    pub state: ChangeState,
    /// When it began, or was planned.
    pub started: i64,
    /// How long it took.
    pub milliseconds: Option<u64>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
    /// The Proxmox tasks that carried it out.
    pub tasks: Vec<String>,
}

/// A change that began and has no known end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// The run.
    pub run: i64,
    /// The change, by its id in that run.
    pub change: u64,
    /// The playbook.
    pub playbook: String,
    /// The step.
    pub step: Option<String>,
    /// The thing.
    pub address: String,
    /// What was happening to it.
    pub action: Action,
    /// When that began.
    pub since: i64,
    /// The Proxmox task that was last started for it.
    pub upid: Option<String>,
}

/// What a step gave back when it last went well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recorded {
    /// The value. `None` where it cannot be used again: it held something secret, or was no plain data.
    pub value: Option<serde_json::Value>,
    /// The hash of the sources it came from.
    pub sources_hash: String,
    /// How the step ended.
    pub status: Status,
    /// When it ended.
    pub at: i64,
}

/// What a plan is about. Two plans of the same subject replace each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanKey {
    /// The playbooks, in order.
    pub playbooks: Vec<String>,
    /// `live` or `simulated`.
    pub world: String,
    /// As in [`RunInfo::selection`].
    pub selection: String,
}

/// What a dry run foretold.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The hash of the sources it was made from.
    pub sources_hash: String,
    /// When.
    pub at: i64,
    /// What it foretold.
    pub foretold: Foretold,
}

/// A notification that was journalled before its change and not carried out since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owed {
    /// What is owed, as in `k3s-cp-01:service:k3s restart`.
    pub key: String,
    /// Since when.
    pub since: i64,
    /// The run that incurred it.
    pub run: Option<i64>,
}
