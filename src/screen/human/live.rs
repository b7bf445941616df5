//! The foot of the terminal: a line for each step that runs, and how many are done.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::screen::paint::Paint;

const TICK: Duration = Duration::from_millis(120);

/// The lines at the foot of the terminal.
pub(super) struct Live {
    lines: MultiProgress,
    steps: HashMap<String, ProgressBar>,
    foot: Option<ProgressBar>,
    paint: Paint,
}

impl Live {
    pub(super) fn new(paint: Paint) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Live { lines, steps: HashMap::new(), foot: None, paint }
    }

    pub(super) fn start(&mut self, id: &str, title: &str) {
        let line = ProgressBar::new_spinner().with_style(style("  {spinner} {prefix} {wide_msg} {elapsed:>5}"));
        line.set_prefix(format!("{id}  {title}"));
        let line = match &self.foot {
            Some(foot) => self.lines.insert_before(foot, line),
            None => self.lines.add(line),
        };
        line.enable_steady_tick(TICK);
        self.steps.insert(id.to_owned(), line);
    }

    /// What a step is doing at the moment.
    pub(super) fn say(&mut self, id: &str, text: &str) {
        if let Some(line) = self.steps.get(id) {
            line.set_message(text.to_owned());
        }
    }

    pub(super) fn end(&mut self, id: &str) {
        if let Some(line) = self.steps.remove(id) {
            line.finish_and_clear();
            self.lines.remove(&line);
        }
    }

    pub(super) fn count(&mut self, done: usize, total: usize) {
        let foot = self.foot.get_or_insert_with(|| {
            let foot = ProgressBar::new_spinner().with_style(style("  {wide_msg} {elapsed:>5}"));
            let foot = self.lines.add(foot);
            foot.enable_steady_tick(TICK);
            foot
        });
        foot.set_message(self.paint.tone(crate::screen::paint::Tone::Dim, format!("{done}/{total} steps")));
    }

    /// Does something with the foot out of the way: printing lines above it.
    pub(super) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.lines.suspend(work)
    }

    pub(super) fn finish(self) {
        for line in self.steps.into_values().chain(self.foot) {
            line.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; a mistake in one shows the standard spinner instead.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
