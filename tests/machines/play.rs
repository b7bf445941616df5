//! Playbooks against a machine, run by the program.

use std::process::Output;

use serde_json::Value;

use super::debian::Debian;
use crate::project::Project;

/// What a run told.
pub struct Told {
    events: Vec<Value>,
    output: Output,
}

impl Debian {
    /// Plans, runs, runs again, plans again: the run must do what the plan said and score so, the second run and the second
    /// plan nothing. Gives the changes: action and address.
    pub fn converge(&self, script: &str) -> Vec<String> {
        let project = self.project(script);
        let plan = self.told(&project, "plan");
        plan.ended_well();
        let run = self.told(&project, "run");
        run.ended_well();
        assert_eq!(plan.changes("change-planned"), run.changes("change-started"), "the run does what the plan said");
        let fidelity = run.last("run-finished")["fidelity"].clone();
        assert_eq!(fidelity["misses"], Value::Array(Vec::new()), "{fidelity}");
        for mode in ["run", "plan"] {
            let again = self.told(&project, mode);
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

    fn project(&self, script: &str) -> Project {
        Project::with(&format!("{}step(\"1\", \"it is so\", || {{\n{script}\n}});\n", self.prelude()))
    }

    fn told(&self, project: &Project, mode: &str) -> Told {
        let output = project.homelab(&[mode, "--output", "json", "playbooks/first.rhai"]).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let events = text.lines().map(|line| serde_json::from_str(line).expect("an event is JSON")).collect();
        Told { events, output }
    }
}

impl Told {
    fn ended_well(&self) {
        let errors = String::from_utf8_lossy(&self.output.stderr);
        assert_eq!(self.output.status.code(), Some(0), "{}{errors}", self.error());
    }

    /// All that was told of errors.
    fn error(&self) -> String {
        self.events.iter().filter_map(|told| told["error"]["rendered"].as_str()).collect()
    }

    fn changes(&self, event: &str) -> Vec<String> {
        let changes = self.events.iter().filter(|told| told["event"] == event).map(|told| &told["change"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        changes.map(|change| format!("{} {}", text(&change["action"]), text(&change["address"]))).collect()
    }

    fn last(&self, event: &str) -> &Value {
        self.events.iter().rfind(|told| told["event"] == event).expect("it is told")
    }
}
