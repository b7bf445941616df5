//! One step's lines, kept together until it ends.

use std::collections::VecDeque;

use super::Detail;
use crate::run::event::ErrorReport;
use crate::screen::paint::{Paint, Tone};
use crate::screen::{change, words};

/// How many lines of a command's output are kept, for the case that the step fails.
const OUTPUT: usize = 20;

/// A step that runs.
pub(super) struct Block {
    title: String,
    pub(super) parent: Option<String>,
    lines: Vec<String>,
    waits: Vec<Wait>,
    output: VecDeque<String>,
    /// Whether a step inside it failed.
    holds_failure: bool,
}

/// What was waited for, as it was last seen.
struct Wait {
    what: String,
    observed: String,
    milliseconds: u64,
    /// Where among the lines it belongs.
    at: usize,
}

/// How a step ended.
pub(super) struct End<'a> {
    pub(super) word: &'static str,
    pub(super) tone: Tone,
    pub(super) reason: Option<&'a str>,
    pub(super) milliseconds: u64,
    pub(super) error: Option<&'a ErrorReport>,
    pub(super) failed: bool,
}

impl Block {
    pub(super) fn new(title: &str, parent: Option<&str>) -> Self {
        Block {
            title: title.to_owned(),
            parent: parent.map(str::to_owned),
            lines: Vec::new(),
            waits: Vec::new(),
            output: VecDeque::new(),
            holds_failure: false,
        }
    }

    pub(super) fn add(&mut self, lines: Vec<String>) {
        self.lines.extend(lines);
    }

    /// Takes in the block of a step that is nested in this one.
    pub(super) fn nest(&mut self, lines: Vec<String>, failed: bool) {
        self.holds_failure |= failed;
        self.lines.extend(lines.into_iter().map(|line| if line.is_empty() { line } else { format!("    {line}") }));
    }

    /// One line a thing waited for, however often it was looked at.
    pub(super) fn wait(&mut self, what: &str, observed: &str, milliseconds: u64) {
        let at = self.lines.len();
        match self.waits.iter_mut().find(|wait| wait.what == what && wait.milliseconds <= milliseconds) {
            Some(wait) => {
                observed.clone_into(&mut wait.observed);
                wait.milliseconds = milliseconds;
            }
            None => {
                let (what, observed) = (what.to_owned(), observed.to_owned());
                self.waits.push(Wait { what, observed, milliseconds, at });
            }
        }
    }

    pub(super) fn output(&mut self, line: String) {
        if self.output.len() == OUTPUT {
            self.output.pop_front();
        }
        self.output.push_back(line);
    }

    /// The lines of the whole block and whether it tells of a failure; nothing where nobody wants to see it.
    pub(super) fn close(self, paint: Paint, detail: Detail, id: &str, end: &End<'_>) -> Option<(Vec<String>, bool)> {
        let failed = end.failed || self.holds_failure;
        if detail == Detail::Quiet && !failed {
            return None;
        }
        let mut head = words::step_line(paint, end.word, end.tone, id, &self.title);
        if end.milliseconds >= 1000 {
            head.push_str(&paint.tone(Tone::Dim, format!("  {}", words::duration(end.milliseconds))));
        }
        let mut lines = vec![head];
        if let Some(reason) = end.reason {
            lines.extend(words::indented(reason, 6));
        }
        let output = if end.failed { self.output.iter().cloned().collect() } else { Vec::new() };
        let said_at_length = end.error.map(|error| change::error_line(paint, &error.message));
        lines.extend(self.body(paint).into_iter().filter(|line| Some(line) != said_at_length.as_ref()));
        if !output.is_empty() {
            lines.push(format!("      {}", paint.tone(Tone::Dim, "the last output:")));
            lines.extend(output.iter().map(|line| format!("        {}", paint.tone(Tone::Dim, line))));
        }
        if let Some(error) = end.error {
            lines.extend(words::indented(&error.rendered, 6));
        }
        Some((lines, failed))
    }

    fn body(self, paint: Paint) -> Vec<String> {
        let mut body = Vec::with_capacity(self.lines.len() + self.waits.len());
        // A wait that nobody could have noticed is not told of.
        let mut waits = self.waits.into_iter().filter(|wait| wait.milliseconds >= 1000).peekable();
        for (at, line) in self.lines.into_iter().enumerate() {
            while let Some(wait) = waits.next_if(|wait| wait.at <= at) {
                body.push(wait.line(paint));
            }
            body.push(line);
        }
        body.extend(waits.map(|wait| wait.line(paint)));
        body
    }
}

impl Wait {
    fn line(&self, paint: Paint) -> String {
        let Wait { what, observed, milliseconds, .. } = self;
        let waited = paint.tone(Tone::Dim, format!("waited {} for", words::duration(*milliseconds)));
        format!("      {waited} {what} {}", paint.tone(Tone::Dim, format!("(last seen: {observed})")))
    }
}
