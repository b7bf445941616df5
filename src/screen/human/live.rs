//! The foot of the terminal: a line for each step that runs, and how many are done.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::screen::paint::{Paint, Tone};

const TICK: Duration = Duration::from_millis(120);

/// The lines at the foot of the terminal.
pub(super) struct Live {
    lines: MultiProgress,
    steps: HashMap<String, Step>,
    /// There from the first count of a run to its end.
    foot: Option<ProgressBar>,
    paint: Paint,
}

/// The foot of the terminal, for whoever has to put something in its place for a while.
#[derive(Clone)]
pub struct Foot(MultiProgress);

impl Foot {
    /// Does something with the foot out of the way: prints lines above it, or asks a question and waits for the answer.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.suspend(work)
    }
}

struct Step {
    title: String,
    line: ProgressBar,
}

impl Live {
    pub(super) fn new(paint: Paint) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Live { lines, steps: HashMap::new(), foot: None, paint }
    }

    pub(super) fn start(&mut self, id: &str, title: &str) {
        let foot = self.foot();
        let line = self.lines.insert_before(&foot, ProgressBar::new_spinner());
        // Only a message is cut to the terminal's width; a line that wrapped could not be taken back.
        line.set_style(style("  {spinner} {wide_msg} {elapsed:>5}"));
        let title = self.one_line(title);
        line.set_message(format!("{id}  {title}"));
        line.enable_steady_tick(TICK);
        self.steps.insert(id.to_owned(), Step { title, line });
    }

    /// What a step is doing at the moment.
    pub(super) fn say(&mut self, id: &str, text: &str) {
        if let Some(Step { title, line }) = self.steps.get(id) {
            line.set_message(format!("{id}  {title}: {}", self.one_line(text)));
        }
    }

    fn one_line(&self, text: &str) -> String {
        let first = text.lines().next().unwrap_or_default().replace('\t', " ");
        self.paint.guard(&first).into_owned()
    }

    pub(super) fn end(&mut self, id: &str) {
        if let Some(Step { line, .. }) = self.steps.remove(id) {
            line.finish_and_clear();
            self.lines.remove(&line);
        }
    }

    pub(super) fn count(&mut self, done: usize, total: usize) {
        self.foot().set_message(self.paint.tone(Tone::Dim, format!("{done}/{total} steps")));
    }

    pub(super) fn handle(&self) -> Foot {
        Foot(self.lines.clone())
    }

    /// The run is over.
    pub(super) fn finish(&mut self) {
        for line in self.steps.drain().map(|(_, step)| step.line).chain(self.foot.take()) {
            line.finish_and_clear();
            self.lines.remove(&line);
        }
    }

    fn foot(&mut self) -> ProgressBar {
        let foot = self.foot.get_or_insert_with(|| {
            // A line is handed over before it is filled: until then it would draw itself wherever the cursor is.
            let foot = self.lines.add(ProgressBar::new_spinner());
            foot.set_style(style("  {wide_msg} {elapsed:>5}"));
            foot.enable_steady_tick(TICK);
            foot
        });
        foot.clone()
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; a mistake in one shows the standard spinner instead.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
