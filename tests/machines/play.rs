//! Playbooks against a machine, run by the program.

use std::process::Output;

use serde_json::Value;

use super::machine::Machine;
use crate::project::Project;

/// What a run told.
pub struct Told {
    events: Vec<Value>,
    output: Output,
}

impl Machine {
    /// Plans, runs, runs again, plans again: the run must do what the plan said and score so, the second run and the second
    /// plan nothing. Gives the changes: action and address.
    pub fn converge(&self, script: &str) -> Vec<String> {
        self.converge_in(&self.project(script))
    }

    /// The same in a project that is there already.
    pub fn converge_in(&self, project: &Project) -> Vec<String> {
        let plan = self.told(project, "plan");
        plan.ended_well();
        let run = self.told(project, "run");
        run.ended_well();
        assert_eq!(plan.changes("change-planned"), run.changes("change-started"), "the run does what the plan said");
        let fidelity = run.last("run-finished")["fidelity"].clone();
        assert_eq!(fidelity["misses"], Value::Array(Vec::new()), "{fidelity}");
        assert_eq!(fidelity["sure"], fidelity["sure_met"], "{fidelity}");
        for mode in ["run", "plan"] {
            let again = self.told(project, mode);
            again.ended_well();
            let changes = [again.changes("change-planned"), again.changes("change-started")].concat();
            assert!(changes.is_empty(), "a second {mode} changes nothing: {changes:?}");
        }
        run.changes("change-started")
    }

    /// A run that must fail: what is told of the error.
    pub fn fails(&self, script: &str) -> String {
        let told = self.told(&self.project(script), "run");
        assert_ne!(told.output.status.code(), Some(0), "it must fail");
        told.error()
    }

    /// A plan that must end well.
    pub fn plans(&self, script: &str) {
        self.told(&self.project(script), "plan").ended_well();
    }

    /// A plan that must fail: what is told of the error.
    pub fn refuses(&self, script: &str) -> String {
        self.refuses_in(&self.project(script))
    }

    /// The same in a project that is there already.
    pub fn refuses_in(&self, project: &Project) -> String {
        let told = self.told(project, "plan");
        assert_ne!(told.output.status.code(), Some(0), "it must fail");
        told.error()
    }

    /// A project with this as the only step of its only playbook.
    pub fn project(&self, script: &str) -> Project {
        Project::with(&self.playbook(script))
    }

    /// A playbook with this as its only step.
    pub fn playbook(&self, script: &str) -> String {
        format!("{}step(\"1\", \"it is so\", || {{\n{script}\n}});\n", self.prelude())
    }

    fn told(&self, project: &Project, mode: &str) -> Told {
        self.told_with(project, mode, &[])
    }

    /// What a plan or a run tells, with these options.
    pub fn told_with(&self, project: &Project, mode: &str, options: &[String]) -> Told {
        let mut arguments = vec![mode, "--output", "json", "playbooks/first.rhai"];
        arguments.extend(options.iter().map(String::as_str));
        let output = project.homelab(&arguments).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let events = text.lines().map(|line| serde_json::from_str(line).expect("an event is JSON")).collect();
        Told { events, output }
    }
}

impl Told {
    fn ended_well(&self) {
        let errors = String::from_utf8_lossy(&self.output.stderr);
        assert!(self.is_well(), "{}{errors}", self.error());
    }

    /// Whether it ended well.
    pub fn is_well(&self) -> bool {
        self.output.status.code() == Some(0)
    }

    /// What was told of errors and complaints.
    pub fn everything(&self) -> String {
        format!("{}{}", self.error(), String::from_utf8_lossy(&self.output.stderr))
    }

    /// The sentence of the error that ended it; empty where there is none.
    pub fn error_message(&self) -> String {
        let told = self.events.iter().rev().find_map(|told| told["error"]["message"].as_str());
        told.unwrap_or_default().to_owned()
    }

    /// All that was told of errors.
    fn error(&self) -> String {
        self.events.iter().filter_map(|told| told["error"]["rendered"].as_str()).collect()
    }

    /// The changes: action and address.
    pub fn changes(&self, event: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let changes = self.told_changes(event).into_iter();
        changes.map(|change| format!("{} {}", text(&change["action"]), text(&change["address"]))).collect()
    }

    /// The changes as they were told.
    pub fn told_changes(&self, event: &str) -> Vec<Value> {
        self.events.iter().filter(|told| told["event"] == event).map(|told| told["change"].clone()).collect()
    }

    /// The same as text, one a line.
    pub fn diffs(&self, event: &str) -> String {
        self.told_changes(event).iter().map(|change| format!("{change}\n")).collect()
    }

    /// The last event of a kind.
    pub fn last(&self, event: &str) -> &Value {
        self.events.iter().rfind(|told| told["event"] == event).expect("it is told")
    }
}
