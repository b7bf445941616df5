//! `homelab history` and `homelab show RUN`: what happened before, from the journal.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::change::{self, View};
use super::human::summary;
use super::paint::{Paint, Tone};
use super::words;
use crate::run::event::{ErrorReport, Mode};
use crate::run::journal::{ChangeRecord, ChangeState, RunRecord, StepRecord};
use crate::run::lock::Holder;

/// The newest runs, for people: one a line. `running` tells a run in progress from one that was cut short.
pub fn text(runs: &[RunRecord], running: Option<&Holder>, paint: Paint, zone: &TimeZone) -> String {
    if runs.is_empty() {
        return "no run yet; the first one: homelab run PLAYBOOK\n".to_owned();
    }
    let head = format!("{:>5}  {:<19}  {:<12}  {:>7}  {:>8}  what", "run", "began", "result", "changes", "took");
    let mut lines = vec![paint.tone(Tone::Dim, head)];
    for run in runs {
        let (word, tone) = result(run, running);
        let began = words::time(run.started, zone);
        let took = took(run).unwrap_or_default();
        let word = paint.tone(tone, format!("{word:<12}"));
        let line = format!("{:>5}  {began}  {word}  {:>7}  {took:>8}  {}", run.run, run.changes, what(run));
        lines.push(line);
    }
    paint.guard(&(lines.join("\n") + "\n")).into_owned()
}

/// The newest runs, for programs.
pub fn json(runs: &[RunRecord]) -> serde_json::Value {
    serde_json::to_value(runs).unwrap_or_default()
}

/// All that the journal has of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// The run.
    pub run: RunRecord,
    /// Its steps, in the order in which they began.
    pub steps: Vec<StepRecord>,
    /// Its changes, in the order in which they were found.
    pub changes: Vec<ChangeRecord>,
}

impl Story {
    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// For people: the run as it was seen, with every diff whole.
    pub fn text(&self, running: Option<&Holder>, paint: Paint, zone: &TimeZone) -> String {
        let mut lines = self.head(running, paint, zone);
        let is_outermost = |step: &&StepRecord| {
            !self.steps.iter().any(|other| other.playbook == step.playbook && Some(&other.id) == step.parent.as_ref())
        };
        let mut phase = None;
        for step in self.steps.iter().filter(is_outermost) {
            let heading = (&step.playbook, step.phase.as_deref());
            if phase.replace(heading) != Some(heading) {
                let (playbook, title) = heading;
                lines.extend([String::new(), paint.tone(Tone::Strong, title.unwrap_or(playbook))]);
            }
            self.step(step, 0, paint, &mut lines);
        }
        let loose: Vec<_> = self.changes.iter().filter(|change| change.step.is_none()).collect();
        if !loose.is_empty() {
            lines.extend([String::new(), paint.tone(Tone::Strong, "outside any step")]);
            loose.into_iter().for_each(|change| push_change(change, 0, paint, &mut lines));
        }
        if let Some(error) = &self.run.error {
            lines.push(String::new());
            push_error(error, 0, &mut lines);
        }
        lines.extend(self.foot(paint));
        paint.guard(&(lines.join("\n") + "\n")).into_owned()
    }

    fn head(&self, running: Option<&Holder>, paint: Paint, zone: &TimeZone) -> Vec<String> {
        let run = &self.run;
        let (word, tone) = result(run, running);
        let took = took(run).map(|took| format!(", took {took}")).unwrap_or_default();
        vec![
            format!("run {}: {}, {}", run.run, paint.tone(tone, word), what(run)),
            format!("began {}{took}, homelab {}", words::time(run.started, zone), run.version),
            paint.tone(Tone::Dim, format!("homelab {}", run.info.arguments.join(" "))),
        ]
    }

    fn foot(&self, paint: Paint) -> Vec<String> {
        let run = &self.run;
        let mut lines = vec![String::new(), summary::changed(run.changes, run.info.mode)];
        lines.extend(run.fidelity.iter().flat_map(|fidelity| summary::score(paint, fidelity)));
        lines.extend(run.next.iter().map(|next| format!("next: {}", paint.tone(Tone::Strong, next))));
        lines
    }

    fn step(&self, step: &StepRecord, depth: usize, paint: Paint, lines: &mut Vec<String>) {
        let (word, tone) = match step.status {
            Some(status) => (words::status(status), words::tone(status)),
            None => ("stopped", Tone::Bad),
        };
        let margin = depth * 4;
        let mut head = words::step_line(paint, word, tone, &step.id, &step.title);
        if let Some(taken) = step.milliseconds.filter(|taken| *taken >= 1000) {
            head.push_str(&paint.tone(Tone::Dim, format!("  {}", words::duration(taken))));
        }
        if step.attempts > 1 {
            head.push_str(&paint.tone(Tone::Dim, format!("  attempt {}", step.attempts)));
        }
        lines.push(format!("{:margin$}{head}", ""));
        lines.extend(step.reason.iter().flat_map(|reason| words::indented(reason, margin + 6)));
        let is_ours = |playbook: &str, id: Option<&String>| playbook == step.playbook && id == Some(&step.id);
        for change in self.changes.iter().filter(|change| is_ours(&change.playbook, change.step.as_ref())) {
            push_change(change, margin, paint, lines);
        }
        for nested in self.steps.iter().filter(|nested| is_ours(&nested.playbook, nested.parent.as_ref())) {
            // A step cannot be its own parent; a record that says so must not send this round and round.
            if nested.id != step.id && depth < 20 {
                self.step(nested, depth + 1, paint, lines);
            }
        }
        if let Some(error) = &step.error {
            push_error(error, margin + 6, lines);
        }
    }
}

fn push_change(record: &ChangeRecord, margin: usize, paint: Paint, lines: &mut Vec<String>) {
    let view = View { paint, whole: true };
    let mut shown = view.lines(&record.change, record.state, record.milliseconds);
    shown.extend(record.error.iter().map(|error| change::error_line(paint, &error.message)));
    // A task is worth a look where its change did not go the usual way.
    if record.state != ChangeState::Done {
        shown.extend(record.tasks.iter().map(|upid| format!("          task {upid}")));
    }
    lines.extend(shown.into_iter().map(|line| format!("{:margin$}{line}", "")));
}

fn push_error(error: &ErrorReport, margin: usize, lines: &mut Vec<String>) {
    lines.extend(words::indented(&error.rendered, margin));
}

fn result(run: &RunRecord, running: Option<&Holder>) -> (String, Tone) {
    match &run.result {
        Some(result) if result == "ok" => (result.clone(), Tone::Good),
        Some(result) => (result.clone(), Tone::Bad),
        None if running.is_some_and(|holder| holder.pid == run.pid) => ("running".to_owned(), Tone::Plan),
        None => ("cut short".to_owned(), Tone::Bad),
    }
}

fn what(run: &RunRecord) -> String {
    let mut what = run.info.playbooks.join(" ");
    if run.info.mode == Mode::DryRun {
        what.push_str(", dry run");
    }
    if run.info.world != "live" {
        what.push_str(", ");
        what.push_str(&run.info.world);
    }
    if !run.info.selection.is_empty() {
        what.push_str(", only ");
        what.push_str(&run.info.selection);
    }
    what
}

fn took(run: &RunRecord) -> Option<String> {
    let taken = run.finished?.checked_sub(run.started)?;
    Some(words::duration(u64::try_from(taken).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Event, Subscriber};
    use crate::run::journal::{Journal, RunInfo};
    use crate::screen::sample;

    /// A journal that has seen runs; it lasts as long as the folder.
    fn journal(runs: &[(Mode, Vec<Event>)]) -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(&folder.path().join(".homelab/journal.db")).expect("a journal");
        for (mode, events) in runs {
            let info = RunInfo {
                playbooks: vec![sample::PLAYBOOK.into()],
                sources_hash: "abc".into(),
                arguments: vec!["run".into(), sample::PLAYBOOK.into()],
                world: "live".into(),
                mode: *mode,
                selection: String::new(),
            };
            journal.begin_run(info).expect("begun");
            events.iter().try_for_each(|event| journal.notice(event)).expect("noted");
        }
        (folder, journal)
    }

    fn story(mode: Mode, events: Vec<Event>) -> Story {
        let (_folder, journal) = journal(&[(mode, events)]);
        Story {
            run: journal.run(1).expect("readable").expect("there"),
            steps: journal.steps(1).expect("readable"),
            changes: journal.changes(1).expect("readable"),
        }
    }

    #[test]
    fn a_run_can_be_told_again_from_the_journal() {
        insta::assert_snapshot!(story(Mode::Run, sample::real_run()).text(None, Paint::plain(), &TimeZone::UTC));
    }

    #[test]
    fn a_dry_run_told_again_still_says_would() {
        let text = story(Mode::DryRun, sample::dry_run()).text(None, Paint::plain(), &TimeZone::UTC);
        assert!(text.contains("would create proxmox:vm:111") && text.contains("4 changes planned"), "{text}");
    }

    #[test]
    fn history_tells_runs_in_progress_from_those_cut_short() {
        let killed = sample::real_run()[..6].to_vec();
        let runs = [(Mode::Run, sample::real_run()), (Mode::DryRun, sample::dry_run()), (Mode::Run, killed)];
        let (_folder, journal) = journal(&runs);
        let runs = journal.runs(10).expect("readable");
        insta::assert_snapshot!(text(&runs, None, Paint::plain(), &TimeZone::UTC));

        let running = Holder::this_process(sample::PLAYBOOK);
        let shown = text(&runs, Some(&running), Paint::plain(), &TimeZone::UTC);
        assert!(shown.contains("running") && !shown.contains("cut short"), "{shown}");
    }

    #[test]
    fn programs_get_the_same_story() {
        let json = story(Mode::Run, sample::real_run()).json();
        assert_eq!((&json["run"]["result"], &json["run"]["world"]), (&"failed".into(), &"live".into()));
        assert_eq!(json["steps"].as_array().map(Vec::len), Some(5));
        let change = &json["changes"][1];
        assert_eq!((&change["address"], &change["state"]), (&"proxmox:vm:112".into(), &"failed".into()));
        assert_eq!(change["tasks"], serde_json::json!([sample::UPID]));
    }

    #[test]
    fn without_any_run_history_says_how_to_begin() {
        assert!(text(&[], None, Paint::plain(), &TimeZone::UTC).contains("homelab run"));
    }
}
