//! Errors as a terminal shows them, and as events carry them.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, ThemeCharacters,
    ThemeStyles,
};

use crate::error::{Error, Label};
use crate::run::event::ErrorReport;
use crate::run::secret::Redactor;

/// How loud a diagnostic is.
pub use miette::Severity;

/// The width of a diagnostic where nobody says how wide the screen is.
pub const PLAIN_WIDTH: usize = 100;

/// An error for a terminal, without the secrets in it.
pub fn render(error: &Error, redactor: &Redactor, width: usize, color: bool, unicode: bool) -> String {
    render_as(&redactor.clean_error(error), Severity::Error, width, color, unicode)
}

/// Lays out a warning or an error whose secrets were taken out already.
fn render_as(error: &Error, severity: Severity, width: usize, color: bool, unicode: bool) -> String {
    let theme = GraphicalTheme {
        characters: if unicode { ThemeCharacters::unicode() } else { ThemeCharacters::ascii() },
        styles: if color { ThemeStyles::ansi() } else { ThemeStyles::none() },
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(1)
        .with_wrap_lines(true)
        .with_break_words(false)
        .without_syntax_highlighting()
        .with_cause_chain();
    let mut text = String::new();
    match handler.render_report(&mut text, &Shown::new(error, severity)) {
        Ok(()) => text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_start_matches('\n').to_owned(),
        // A span that miette cannot place must not hide the error itself.
        Err(_) => error.to_string(),
    }
}

/// A warning or an error for a terminal, without the secrets in it.
pub fn render_finding(error: &Error, severity: Severity, redactor: &Redactor, width: usize, color: bool) -> String {
    render_as(&redactor.clean_error(error), severity, width, color, true)
}

/// An error as events carry it, without the secrets in it.
pub fn to_event(error: &Error, redactor: &Redactor) -> ErrorReport {
    let error = &redactor.clean_error(error);
    ErrorReport {
        class: error.class(),
        message: error.message().to_owned(),
        causes: error.causes().to_vec(),
        help: error.help_text().map(str::to_owned),
        at: error.labels().first().map(place),
        rendered: render_as(error, Severity::Error, PLAIN_WIDTH, false, true),
    }
}

/// Where a label stands, as `playbooks/phase3.rhai:12:5`.
pub fn place(label: &Label) -> String {
    let (line, column) = line_and_column(label);
    format!("{}:{line}:{column}", label.file)
}

/// The line and the character column of a label, from 1.
pub fn line_and_column(label: &Label) -> (usize, usize) {
    let start = label.span.start.min(label.text.len());
    let before = label.text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// An error in miette's eyes: the labels of the first file, and a related diagnostic for each further file.
#[derive(Debug)]
struct Shown {
    message: String,
    class: String,
    severity: Severity,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    cause: Option<Box<Cause>>,
    related: Vec<Shown>,
}

#[derive(Debug)]
struct Cause {
    message: String,
    next: Option<Box<Cause>>,
}

impl Shown {
    fn new(error: &Error, severity: Severity) -> Self {
        let mut files: Vec<Vec<&Label>> = Vec::new();
        for label in error.labels() {
            match files.iter_mut().find(|labels| labels[0].file == label.file) {
                Some(labels) => labels.push(label),
                None => files.push(vec![label]),
            }
        }
        let mut files = files.into_iter();
        let first = files.next().unwrap_or_default();
        let causes = error.causes().iter().rev();
        let cause = causes.fold(None, |next, message| Some(Box::new(Cause { message: message.clone(), next })));
        Shown {
            message: error.message().to_owned(),
            class: error.class().to_string(),
            severity,
            help: error.help_text().map(str::to_owned),
            source: named(&first),
            labels: spans(&first, true),
            cause,
            related: files.map(|labels| Shown::elsewhere(&labels)).collect(),
        }
    }

    /// What another file has to do with it.
    fn elsewhere(labels: &[&Label]) -> Self {
        Shown {
            message: labels[0].note.clone(),
            class: String::new(),
            severity: Severity::Advice,
            help: None,
            source: named(labels),
            labels: spans(labels, false),
            cause: None,
            related: Vec::new(),
        }
    }
}

fn named(labels: &[&Label]) -> Option<NamedSource<String>> {
    let first = labels.first()?;
    Some(NamedSource::new(&first.file, first.text.to_string()))
}

fn spans(labels: &[&Label], primary: bool) -> Vec<LabeledSpan> {
    let span = |(index, label): (usize, &&Label)| {
        let note = (!label.note.is_empty()).then(|| label.note.clone());
        let length = label.text.len();
        let start = label.span.start.min(length);
        let range = start..label.span.end.clamp(start, length);
        match index {
            0 if primary => LabeledSpan::new_primary_with_span(note, range),
            _ => LabeledSpan::new_with_span(note, range),
        }
    };
    labels.iter().enumerate().map(span).collect()
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|cause| cause as _)
    }
}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.class.is_empty()).then(|| Box::new(&self.class) as _)
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        (!self.related.is_empty()).then(|| Box::new(self.related.iter().map(|shown| shown as &dyn Diagnostic)) as _)
    }
}
