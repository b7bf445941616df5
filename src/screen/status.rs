//! `homelab status`: the whole plan, phase by phase, each step with what became of it last, and what a run that was
//! cut short left in flight.

use std::collections::BTreeMap;

use serde::Serialize;

use super::paint::{Paint, Tone};
use super::words;
use crate::run::event::{Action, Status};
use crate::run::journal::{InFlight, Owed, StepRecord};
use crate::run::lock::Holder;

/// A phase as its playbook on disk has it.
#[derive(Debug, Clone)]
pub struct Phase {
    /// The playbook, relative to the project.
    pub playbook: String,
    /// Its title.
    pub title: String,
    /// The steps' ids and titles, in order. An id that a loop makes up stands as it is written, as in `3.3.${m.name}`:
    /// it is the place of all recorded steps that fit it.
    pub steps: Vec<(String, String)>,
}

/// What the journal and the lock know of a world.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// `live` or `simulated`.
    pub world: String,
    /// By playbook, the steps as their last real runs left them.
    pub outcomes: BTreeMap<String, Vec<StepRecord>>,
    /// Changes without a known end.
    pub in_flight: Vec<InFlight>,
    /// Notifications not carried out.
    pub owed: Vec<Owed>,
    /// The run in progress.
    pub running: Option<Holder>,
}

/// The state of the whole plan.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    world: String,
    phases: Vec<PhaseReport>,
    in_flight: Vec<InFlight>,
    owed: Vec<Owed>,
    running: Option<Holder>,
}

#[derive(Debug, Clone, Serialize)]
struct PhaseReport {
    playbook: String,
    title: String,
    green: usize,
    steps: Vec<StepReport>,
}

#[derive(Debug, Clone, Serialize)]
struct StepReport {
    id: String,
    title: String,
    outcome: Outcome,
    reason: Option<String>,
    run: Option<i64>,
    at: Option<i64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// No real run has come by.
    Never,
    /// It runs at this moment.
    Running,
    /// It began, and its run did not live to see it end.
    Stopped,
    #[serde(untagged)]
    Ended(Status),
}

impl Report {
    /// Puts what is known beside what the playbooks on disk say. Recorded steps that no playbook has any more are left
    /// out.
    pub fn new(phases: &[Phase], known: Known) -> Report {
        let Known { world, outcomes, in_flight, owed, running } = known;
        let phases = phases
            .iter()
            .map(|phase| {
                let recorded = outcomes.get(&phase.playbook).map(Vec::as_slice).unwrap_or_default();
                let steps: Vec<_> =
                    phase.steps.iter().flat_map(|step| reports(step, phase, recorded, running.as_ref())).collect();
                let green = steps.iter().filter(|step| step.outcome.is_green()).count();
                PhaseReport { playbook: phase.playbook.clone(), title: phase.title.clone(), green, steps }
            })
            .collect();
        Report { world, phases, in_flight, owed, running }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        // Every part of a report has text keys, which is all that could go wrong.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// For people. `now` is in milliseconds since the Unix epoch.
    pub fn text(&self, paint: Paint, now: i64) -> String {
        let mut lines = Vec::new();
        if self.world != "live" {
            lines.extend([format!("in the {} world", self.world), String::new()]);
        }
        for phase in &self.phases {
            lines.extend(phase.lines(paint, now));
            lines.push(String::new());
        }
        lines.extend(self.now_lines(paint, now));
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        paint.guard(&(lines.join("\n") + "\n")).into_owned()
    }

    /// What runs, what is in flight, what is owed.
    fn now_lines(&self, paint: Paint, now: i64) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Holder { pid, playbook, since }) = &self.running {
            lines.push(format!("running: {playbook} (pid {pid}), begun {}", words::age(*since, now)));
        }
        if !self.in_flight.is_empty() {
            lines.push(match self.running {
                Some(_) => "in flight:".to_owned(),
                None => paint.tone(Tone::Bad, "in flight when its run was cut short:"),
            });
        }
        for change in &self.in_flight {
            lines.extend(in_flight_lines(change, now));
        }
        for owed in &self.owed {
            lines.push(format!("owed: {}, incurred {}", owed.key, words::age(owed.since, now)));
        }
        if let (None, Some(change)) = (&self.running, self.in_flight.last()) {
            let sim = if self.world == "live" { "" } else { "--sim " };
            let next = format!("homelab run {sim}--resume {}", change.playbook);
            lines.push(format!("next: {}, which looks at each of them first", paint.tone(Tone::Strong, next)));
        }
        lines
    }
}

impl PhaseReport {
    fn lines(&self, paint: Paint, now: i64) -> Vec<String> {
        let PhaseReport { playbook, title, green, steps } = self;
        let total = steps.len();
        let tone = if *green == total && total > 0 { Tone::Good } else { Tone::Dim };
        let score = paint.tone(tone, format!("{green}/{total} green"));
        let mut lines =
            vec![format!("{}  {}  {score}", paint.tone(Tone::Strong, title), paint.tone(Tone::Dim, playbook))];
        for step in steps {
            let (word, tone) = step.outcome.words();
            let mut line = words::step_line(paint, word, tone, &step.id, &step.title);
            if let Some(at) = step.at {
                line.push_str(&paint.tone(Tone::Dim, format!("  {}", words::age(at, now))));
            }
            lines.push(line);
            if let Some(reason) = &step.reason {
                lines.extend(words::indented(reason, 6));
            }
        }
        lines
    }
}

impl Outcome {
    fn is_green(self) -> bool {
        matches!(self, Outcome::Ended(Status::Ok | Status::Changed))
    }

    fn words(self) -> (&'static str, Tone) {
        match self {
            Outcome::Never => ("never", Tone::Dim),
            Outcome::Running => ("running", Tone::Plan),
            Outcome::Stopped => ("stopped", Tone::Bad),
            Outcome::Ended(status) => (words::status(status), words::tone(status)),
        }
    }
}

/// A step of a playbook with what is recorded of it: several where a loop makes up the id, one that never ran where
/// nothing is recorded.
fn reports(
    (id, title): &(String, String),
    phase: &Phase,
    recorded: &[StepRecord],
    running: Option<&Holder>,
) -> Vec<StepReport> {
    let own = recorded.iter().filter(|record| written_as(&record.id, phase) == Some(id));
    let reports: Vec<_> = own.map(|record| report(record, id, title, running)).collect();
    if !reports.is_empty() {
        return reports;
    }
    let (id, title) = (id.clone(), title.clone());
    vec![StepReport { id, title, outcome: Outcome::Never, reason: None, run: None, at: None }]
}

fn report(record: &StepRecord, id: &str, title: &str, running: Option<&Holder>) -> StepReport {
    // The title on disk is the newer one, but one that a loop makes up says more once it is made.
    let title = if record.id == id { title } else { &record.title };
    let outcome = match record.status {
        Some(status) => Outcome::Ended(status),
        None if running.is_some_and(|holder| holder.since <= record.started) => Outcome::Running,
        None => Outcome::Stopped,
    };
    StepReport {
        id: record.id.clone(),
        title: title.to_owned(),
        outcome,
        reason: record.reason.clone(),
        run: Some(record.run),
        at: Some(record.finished.unwrap_or(record.started)),
    }
}

/// The step of a phase that made an id: of those that it fits, the one that leaves the least to a loop. `3.3.web.ssh` fits
/// `3.3.${m.name}` too, but is `3.3.${m.name}.ssh`.
fn written_as<'p>(id: &str, phase: &'p Phase) -> Option<&'p String> {
    let written = phase.steps.iter().map(|(written, _)| written);
    written.filter(|written| fits(written, id)).max_by_key(|written| literal(written))
}

/// How many bytes of a written id stand for themselves.
fn literal(written: &str) -> usize {
    let Some((before, rest)) = written.split_once("${") else { return written.len() };
    rest.split_once('}').map_or(written.len(), |(_, after)| before.len() + literal(after))
}

/// Whether an id fits the text that it is written as, in which `${…}` stands for anything that is not nothing.
fn fits(written: &str, id: &str) -> bool {
    let Some((before, rest)) = written.split_once("${") else {
        return written == id;
    };
    let Some((_, after)) = rest.split_once('}') else {
        return written == id;
    };
    let Some(tail) = id.strip_prefix(before) else {
        return false;
    };
    // Every possible end of what the expression stood for, from one character on.
    tail.char_indices().map(|(at, character)| at + character.len_utf8()).any(|end| fits(after, &tail[end..]))
}

fn in_flight_lines(change: &InFlight, now: i64) -> Vec<String> {
    let InFlight { run, playbook, step, address, action, since, upid, .. } = change;
    let verb = match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
        Action::Run => "run",
    };
    let step = step.as_ref().map(|step| format!("step {step} of ")).unwrap_or_default();
    let mut lines =
        vec![format!("  {verb} {address}, begun {} in {step}{playbook} (run {run})", words::age(*since, now))];
    lines.extend(upid.iter().map(|upid| format!("      task {upid}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_780_000_000_000;
    const PLAYBOOK: &str = "playbooks/phase3.rhai";

    fn phase() -> Phase {
        let steps =
            [("3.1", "the table is sound"), ("3.3.${m.name}", "${m.name} runs"), ("3.4", "DNS"), ("3.5", "cards")];
        Phase {
            playbook: PLAYBOOK.into(),
            title: "Phase 3: Virtual machines".into(),
            steps: steps.map(|(id, title)| (id.to_owned(), title.to_owned())).into(),
        }
    }

    fn step(id: &str, title: &str, status: Option<Status>, minutes: i64) -> StepRecord {
        StepRecord {
            run: 12,
            playbook: PLAYBOOK.into(),
            phase: None,
            id: id.into(),
            title: title.into(),
            parent: None,
            status,
            reason: (status == Some(Status::Manual)).then(|| "Put the card into slot 2.".to_owned()),
            attempts: 1,
            started: NOW - minutes * 60_000,
            finished: status.map(|_| NOW - minutes * 60_000),
            milliseconds: None,
            error: None,
        }
    }

    fn known() -> Known {
        let steps = vec![
            step("3.1", "an old title", Some(Status::Ok), 120),
            step("3.3.web", "web runs", Some(Status::Changed), 5),
            step("3.3.db", "db runs", None, 4),
            step("3.5", "cards", Some(Status::Manual), 2),
            step("9.9", "no longer there", Some(Status::Failed), 1),
        ];
        let in_flight = InFlight {
            run: 12,
            change: 7,
            playbook: PLAYBOOK.into(),
            step: Some("3.3.db".into()),
            address: "proxmox:vm:112".into(),
            action: Action::Create,
            since: NOW - 240_000,
            upid: Some(crate::screen::sample::UPID.into()),
        };
        let owed = Owed { key: "web:service:k3s restart".into(), since: NOW - 300_000, run: Some(12) };
        Known {
            world: "live".into(),
            outcomes: [(PLAYBOOK.to_owned(), steps)].into(),
            in_flight: vec![in_flight],
            owed: vec![owed],
            running: None,
        }
    }

    #[test]
    fn the_whole_plan_shows_what_became_of_each_step_and_what_is_in_flight() {
        insta::assert_snapshot!(Report::new(&[phase()], known()).text(Paint::plain(), NOW));
    }

    #[test]
    fn while_a_run_is_in_progress_nothing_was_cut_short() {
        let running = Some(Holder { pid: 4711, playbook: PLAYBOOK.into(), since: NOW - 360_000 });
        let text = Report::new(&[phase()], Known { running, ..known() }).text(Paint::plain(), NOW);
        assert!(text.contains("running   3.3.db  db runs"), "{text}");
        assert!(text.contains("running: playbooks/phase3.rhai (pid 4711), begun 6 minutes ago"), "{text}");
        assert!(!text.contains("cut short") && !text.contains("--resume"), "{text}");
    }

    #[test]
    fn what_to_type_next_is_about_the_same_world() {
        let text = Report::new(&[phase()], Known { world: "simulated".into(), ..known() }).text(Paint::plain(), NOW);
        assert!(text.contains("next: homelab run --sim --resume playbooks/phase3.rhai"), "{text}");
    }

    #[test]
    fn programs_get_the_same_report() {
        let json = Report::new(&[phase()], known()).json();
        let steps = json["phases"][0]["steps"].as_array().expect("steps");
        let outcomes: Vec<_> = steps.iter().map(|step| step["outcome"].as_str().unwrap_or_default()).collect();
        assert_eq!(outcomes, ["ok", "changed", "stopped", "never", "manual"]);
        assert_eq!(
            (&json["phases"][0]["green"], &json["in_flight"][0]["address"]),
            (&2.into(), &"proxmox:vm:112".into())
        );
    }

    #[test]
    fn a_step_stands_in_one_place_only_where_several_loops_could_have_made_its_id() {
        let steps = ["3.3.${m.name}", "3.3.${m.name}.ssh", "3.3.gate", "3.3.gate.ssh"];
        let steps = steps.map(|id| (id.to_owned(), String::new())).into();
        let phase = Phase { steps, ..phase() };
        for (id, written) in [
            ("3.3.web", "3.3.${m.name}"),
            ("3.3.web.ssh", "3.3.${m.name}.ssh"),
            ("3.3.gate", "3.3.gate"),
            ("3.3.gate.ssh", "3.3.gate.ssh"),
        ] {
            assert_eq!(written_as(id, &phase).map(String::as_str), Some(written), "{id}");
        }
        let recorded = ["3.3.web", "3.3.web.ssh", "3.3.gate.ssh"].map(|id| step(id, id, Some(Status::Ok), 1));
        let known = Known { outcomes: [(PLAYBOOK.to_owned(), recorded.into())].into(), ..known() };
        let json = Report::new(&[phase], known).json();
        let steps = json["phases"][0]["steps"].as_array().expect("steps");
        let ids: Vec<_> = steps.iter().map(|step| step["id"].as_str().unwrap_or_default()).collect();
        assert_eq!(ids, ["3.3.web", "3.3.web.ssh", "3.3.gate", "3.3.gate.ssh"]);
    }

    #[test]
    fn an_id_that_a_loop_makes_up_fits_what_the_loop_can_make() {
        for (written, id, expected) in [
            ("3.1", "3.1", true),
            ("3.1", "3.10", false),
            ("3.3.${m.name}", "3.3.web", true),
            ("3.3.${m.name}", "3.3.", false),
            ("3.3.${m.name}.ssh", "3.3.web.ssh", true),
            ("3.3.${m.name}.ssh", "3.3.web", false),
            ("${a}.${b}", "x.y", true),
            ("3.${odd", "3.${odd", true),
        ] {
            assert_eq!(fits(written, id), expected, "{written} {id}");
        }
    }
}
