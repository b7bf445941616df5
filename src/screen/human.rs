//! What a person sees of a run: it reads like the plan. A step is printed as one block when it ends, so that steps that
//! run side by side never mix their lines; while it runs it is a line with a spinner, on a terminal.

mod block;
mod live;
pub(super) mod summary;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::io::Write;

use self::block::{Block, End};
use self::live::Live;
use super::change::{self, View};
use super::paint::{Paint, Tone};
use super::{unwritable, words};
use crate::error::Result;
use crate::run::event::{Change, Event, Level, Mark, Mode, Status, Subscriber, What};
use crate::run::journal::ChangeState;
use crate::run::steps::LEFT_OUT;

pub use self::live::Foot;

/// The first and the last line of a dry run.
pub const BANNER: &str = "DRY RUN: nothing is changed";

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// Failures and the summary.
    Quiet,
    /// Steps and changes.
    #[default]
    Normal,
    /// What was already as it should be too, all output of commands, and long texts whole.
    Verbose,
}

/// The screen for people.
pub struct Human<W> {
    out: W,
    view: View,
    detail: Detail,
    live: Option<Live>,
    run: Run,
}

/// What is known of the run so far.
#[derive(Default)]
struct Run {
    blocks: HashMap<String, Block>,
    /// Changes that began and have not ended, with their steps.
    changes: HashMap<u64, (Change, Option<String>)>,
    marks: BTreeSet<Mark>,
    done: usize,
    /// At the least: steps may come out of loops.
    total: usize,
}

impl<W: Write + Send> Human<W> {
    /// A screen that prints plain lines, in colour or without.
    pub fn new(out: W, paint: Paint, detail: Detail) -> Self {
        let view = View { paint, whole: detail == Detail::Verbose };
        Human { out, view, detail, live: None, run: Run::default() }
    }

    /// Shows what is running at the foot of the terminal. Only for a screen that prints to a terminal's standard output.
    #[must_use]
    pub fn with_spinners(mut self) -> Self {
        self.live = (self.detail != Detail::Quiet).then(|| Live::new(self.view.paint));
        self
    }

    /// What is running, where that is shown: a question to the user has to be asked with it out of the way.
    pub fn foot(&self) -> Option<Foot> {
        self.live.as_ref().map(Live::handle)
    }

    fn show(&mut self, event: &Event) -> Result<()> {
        match &event.what {
            What::RunStarted { .. } => self.run_started(event),
            What::PlaybookStarted { .. } | What::TaskStarted { .. } => Ok(()),
            What::PhaseStarted { id, title } => self.print_unless_quiet(&[
                String::new(),
                self.view.paint.tone(Tone::Strong, format!("Phase {id}: {title}")),
            ]),
            What::StepStarted { id, title, parent } => {
                self.step_started(id, title, parent.as_deref());
                Ok(())
            }
            What::StepFinished { .. } => self.step_finished(event),
            What::Unchanged { address, step } if self.detail == Detail::Verbose => {
                let line = format!("      {} {address}", self.view.paint.tone(Tone::Dim, "unchanged"));
                self.tell(step.as_deref(), vec![line])
            }
            What::Unchanged { .. } => Ok(()),
            What::ChangePlanned { change, step } => {
                self.run.marks.insert(change.mark);
                self.tell(step.as_deref(), self.view.lines(change, ChangeState::Planned, None))
            }
            What::ChangeStarted { change, step } => {
                self.run.changes.insert(change.id, (change.clone(), step.clone()));
                self.say(step.as_deref(), &format!("changing {}", change.address));
                Ok(())
            }
            What::ChangeFinished { .. } => self.change_finished(event),
            What::Notification { key, owed } => {
                let word = if *owed { "owes" } else { "paid" };
                let line = format!("      {} {key}", self.view.paint.tone(Tone::Dim, word));
                if self.detail == Detail::Verbose { self.tell(None, vec![line]) } else { Ok(()) }
            }
            What::Waiting { step, what, observed, milliseconds } => {
                self.say(step.as_deref(), &format!("waiting for {what} (now: {observed})"));
                if let Some(block) = self.block(step.as_deref()) {
                    block.wait(what, observed, *milliseconds);
                }
                Ok(())
            }
            What::Output { step, host, line } => self.output(step.as_deref(), host, line),
            What::Message { level, text, step } => self.message(*level, text, step.as_deref()),
            What::RunFinished { .. } => self.run_finished(event),
        }
    }

    fn run_started(&mut self, event: &Event) -> Result<()> {
        let What::RunStarted { run, playbooks, world, version, steps, .. } = &event.what else {
            return Ok(());
        };
        self.run = Run { total: *steps, ..Run::default() };
        if let Some(live) = &mut self.live {
            live.finish();
        }
        if event.mode == Mode::DryRun {
            self.print(&[self.view.paint.tone(Tone::Plan, BANNER)])?;
        }
        let place = if world == "live" { String::new() } else { format!(", {world}") };
        let line = format!("homelab {version}, run {run}: {}{place}", playbooks.join(" "));
        self.print_unless_quiet(&[self.view.paint.tone(Tone::Dim, line)])
    }

    fn step_started(&mut self, id: &str, title: &str, parent: Option<&str>) {
        self.run.blocks.insert(id.to_owned(), Block::new(title, parent));
        self.run.total = self.run.total.max(self.run.done + self.run.blocks.len());
        if let Some(live) = &mut self.live {
            live.start(id, title);
            live.count(self.run.done, self.run.total);
        }
    }

    fn step_finished(&mut self, event: &Event) -> Result<()> {
        let What::StepFinished { id, status, reason, milliseconds, error, .. } = &event.what else {
            return Ok(());
        };
        let doubtful = self.take_doubtful(id);
        let mut block = self.run.blocks.remove(id).unwrap_or_else(|| Block::new("", None));
        block.add(doubtful);
        self.run.done += 1;
        if let Some(live) = &mut self.live {
            live.end(id);
            live.count(self.run.done, self.run.total);
        }
        // Whoever asks for some steps sees those; how many more there are, the sum says.
        if reason.as_deref() == Some(LEFT_OUT) && self.detail != Detail::Verbose {
            return Ok(());
        }
        let end = End {
            word: words::status(*status),
            tone: words::tone(*status),
            reason: reason.as_deref(),
            milliseconds: *milliseconds,
            error: error.as_ref(),
            failed: matches!(status, Status::Failed | Status::Blocked),
        };
        self.close(id, block, &end)
    }

    /// Puts a finished block into the one it is nested in, or on the screen.
    fn close(&mut self, id: &str, block: Block, end: &End<'_>) -> Result<()> {
        let parent = block.parent.clone();
        let Some((lines, failed)) = block.close(self.view.paint, self.detail, id, end) else {
            return Ok(());
        };
        match self.block(parent.as_deref()) {
            Some(parent) => {
                parent.nest(lines, failed);
                Ok(())
            }
            None => self.print(&lines),
        }
    }

    fn change_finished(&mut self, event: &Event) -> Result<()> {
        let What::ChangeFinished { change, milliseconds, error } = &event.what else {
            return Ok(());
        };
        let Some((change, step)) = self.run.changes.remove(change) else {
            return Ok(());
        };
        let state = if error.is_none() { ChangeState::Done } else { ChangeState::Failed };
        let mut lines = self.view.lines(&change, state, Some(*milliseconds));
        if let Some(error) = error {
            lines.push(change::error_line(self.view.paint, &error.message));
        }
        self.tell(step.as_deref(), lines)
    }

    fn output(&mut self, step: Option<&str>, host: &str, line: &str) -> Result<()> {
        let line = console::strip_ansi_codes(line);
        let shown = format!("{host}| {}", line.trim_end());
        self.say(step, &shown);
        if self.detail == Detail::Verbose {
            return self.tell(step, vec![format!("      {}", self.view.paint.tone(Tone::Dim, shown))]);
        }
        if let Some(block) = self.block(step) {
            block.output(shown);
        }
        Ok(())
    }

    fn message(&mut self, level: Level, text: &str, step: Option<&str>) -> Result<()> {
        let paint = self.view.paint;
        let (wanted, word) = match level {
            Level::Debug => (Detail::Verbose, paint.tone(Tone::Dim, "debug:")),
            Level::Info => (Detail::Normal, paint.tone(Tone::Strong, "note:")),
            Level::Warn => (Detail::Normal, paint.tone(Tone::Change, "warning:")),
        };
        if wanted == Detail::Verbose && self.detail != Detail::Verbose {
            return Ok(());
        }
        let mut lines = words::indented(text, 8);
        let first = lines.next().unwrap_or_default();
        let told = std::iter::once(format!("      {word} {}", first.trim_start())).chain(lines).collect();
        self.tell(step, told)
    }

    fn run_finished(&mut self, event: &Event) -> Result<()> {
        if let Some(live) = &mut self.live {
            live.finish();
        }
        self.close_unfinished()?;
        let rest = std::mem::take(&mut self.run.changes);
        for (change, _) in rest.into_values() {
            self.print(&self.view.lines(&change, ChangeState::Started, None))?;
        }
        let lines = summary::lines(self.view.paint, event, &self.run.marks);
        self.print(&lines)
    }

    /// The run is over and some steps are not: Ctrl-C, or a failure beside them. The nested ones go first.
    fn close_unfinished(&mut self) -> Result<()> {
        while let Some(id) = self.innermost() {
            let doubtful = self.take_doubtful(&id);
            let Some(mut block) = self.run.blocks.remove(&id) else { break };
            let failed = !doubtful.is_empty();
            block.add(doubtful);
            let end = End { word: "stopped", tone: Tone::Bad, reason: None, milliseconds: 0, error: None, failed };
            self.close(&id, block, &end)?;
        }
        Ok(())
    }

    fn innermost(&self) -> Option<String> {
        let is_parent = |id: &String| self.run.blocks.values().any(|block| block.parent.as_ref() == Some(id));
        let mut open: Vec<_> = self.run.blocks.keys().filter(|id| !is_parent(id)).collect();
        open.sort();
        open.first().map(|id| (*id).clone())
    }

    /// The lines of a step's changes that began and did not end.
    fn take_doubtful(&mut self, step: &str) -> Vec<String> {
        let mut ids: Vec<u64> =
            self.run.changes.iter().filter(|(_, (_, of))| of.as_deref() == Some(step)).map(|it| *it.0).collect();
        ids.sort_unstable();
        let changes = ids.into_iter().filter_map(|id| self.run.changes.remove(&id));
        changes.flat_map(|(change, _)| self.view.lines(&change, ChangeState::Started, None)).collect()
    }

    fn block(&mut self, step: Option<&str>) -> Option<&mut Block> {
        self.run.blocks.get_mut(step?)
    }

    /// Adds lines to the block of a step, or prints them where there is none.
    fn tell(&mut self, step: Option<&str>, lines: Vec<String>) -> Result<()> {
        match self.block(step) {
            Some(block) => {
                block.add(lines);
                Ok(())
            }
            None => self.print_unless_quiet(&lines),
        }
    }

    /// Says what a running step is doing, at the foot of the terminal.
    fn say(&mut self, step: Option<&str>, text: &str) {
        if let (Some(live), Some(step)) = (&mut self.live, step) {
            live.say(step, text);
        }
    }

    fn print_unless_quiet(&mut self, lines: &[String]) -> Result<()> {
        if self.detail == Detail::Quiet { Ok(()) } else { self.print(lines) }
    }

    fn print(&mut self, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let text = lines.join("\n") + "\n";
        let text = self.view.paint.guard(&text);
        let out = &mut self.out;
        let mut write = move || out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let written = match &self.live {
            Some(live) => live.handle().aside(write),
            None => write(),
        };
        written.map_err(|error| unwritable(&error))
    }
}

impl<W: Write + Send> Subscriber for Human<W> {
    fn notice(&mut self, event: &Event) -> Result<()> {
        self.show(event)
    }
}
