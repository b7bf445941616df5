//! Errors as a terminal shows them, and as events carry them.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, ThemeCharacters,
    ThemeStyles,
};

use textwrap::{WordSeparator, WordSplitter};

use super::excerpt::Excerpt;
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
        // Commands and paths are copied from the screen: they are broken at spaces alone.
        .with_word_separator(WordSeparator::AsciiSpace)
        .with_word_splitter(WordSplitter::NoHyphenation)
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

/// How many lines apart two labels of a file may be to be shown together, with all that is between them.
const TOGETHER: usize = 8;

fn is_near(label: &Label, other: &Label) -> bool {
    label.file == other.file && line_and_column(label).0.abs_diff(line_and_column(other).0) <= TOGETHER
}

/// An error in miette's eyes: the labels around the first, and a related diagnostic for each further place.
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
        let mut places: Vec<Vec<&Label>> = Vec::new();
        for label in error.labels() {
            match places.iter_mut().find(|labels| labels.iter().any(|other| is_near(label, other))) {
                Some(labels) => labels.push(label),
                None => places.push(vec![label]),
            }
        }
        let mut places = places.into_iter().map(|labels| Excerpt::of(&labels));
        let first = places.next();
        let causes = error.causes().iter().rev();
        let cause = causes.fold(None, |next, message| Some(Box::new(Cause { message: message.clone(), next })));
        Shown {
            message: error.message().to_owned(),
            class: error.class().to_string(),
            severity,
            help: error.help_text().map(str::to_owned),
            labels: first.as_ref().map(|first| first.spans(true)).unwrap_or_default(),
            source: first.map(Excerpt::named),
            cause,
            related: places.map(Shown::elsewhere).collect(),
        }
    }

    /// What another place has to do with it.
    fn elsewhere(excerpt: Excerpt) -> Self {
        Shown {
            message: excerpt.labels.first().map(|label| label.note.clone()).unwrap_or_default(),
            class: String::new(),
            severity: Severity::Advice,
            help: None,
            labels: excerpt.spans(false),
            source: Some(excerpt.named()),
            cause: None,
            related: Vec::new(),
        }
    }
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
