//! What is wrong with playbooks before anything is touched: a walk over the original ASTs of a playbook and of every
//! module that it imports.

mod allow;
mod calls;
mod closures;
mod inputs;
mod literals;
mod options;
mod steps;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use rhai::{Expr, ParseError, ParseErrorType, Position, Stmt};
use serde_json::json;

use super::reference::Schemas;
use super::reference::catalog::Catalog;
use super::report::{self, render};
use crate::error::{Class, Error, Label, Result};
use crate::run::secret::Redactor;
use crate::script::places::nodes::{self, Node};
use crate::script::places::{Places, Source};

pub use super::report::render::Severity;

/// Something that is wrong, or that is probably not meant.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Whether it keeps the playbook from running.
    pub severity: Severity,
    /// What kind of finding it is, in kebab-case. Codes do not change.
    pub code: &'static str,
    /// What is wrong, where, and what to do.
    pub error: Error,
}

/// The environment, as far as the check needs it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The variables that `.envrc.example` explains.
    pub documented: BTreeSet<String>,
    /// The variables that are set, in the environment or in `.envrc`.
    pub set: BTreeSet<String>,
}

/// The tables that playbooks read.
pub trait Facts {
    /// The names of the files with tables, as in `NETWORK.md`.
    fn files(&self) -> Vec<String>;
    /// The names of a file's tables.
    fn tables(&self, file: &str) -> Vec<String>;
    /// The keys of a table's rows.
    fn rows(&self, file: &str, table: &str) -> Vec<String>;
}

/// Finds what is wrong with playbooks.
pub struct Checker<'a> {
    /// The sources: playbooks and modules.
    pub places: &'a Places,
    /// What scripts can call.
    pub catalog: &'a Catalog,
    /// The options of functions.
    pub schemas: &'a Schemas,
    /// The environment.
    pub environment: &'a Environment,
    /// The tables.
    pub facts: &'a dyn Facts,
    /// The source name of what `import path` means in a source, or why it means nothing: `(importer, path)`.
    pub resolve: &'a dyn Fn(&str, &str) -> Result<String>,
}

impl Checker<'_> {
    /// Everything that is wrong with some playbooks and the modules they import, by file and place.
    pub fn check(&self, entries: &[&str]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for source in self.reachable(entries) {
            let mut sheet = Sheet {
                checker: self,
                source: &source,
                shown: literals::masked(&source.text),
                imports: self.imports(&source),
                variables: calls::variables(&source.ast),
                findings: Vec::new(),
            };
            sheet.check();
            findings.append(&mut sheet.findings);
        }
        sort(&mut findings);
        findings
    }

    /// A text that does not compile, as a finding. Names that are not declared are found by compiling, too.
    pub fn syntax(&self, source: &str, error: &ParseError) -> Finding {
        let code = match error.err_type() {
            ParseErrorType::VariableUndefined(_) => "undefined-variable",
            ParseErrorType::ModuleUndefined(_) => "unknown-module",
            _ => "syntax",
        };
        let error = report::syntax(error, source, self.places, self.catalog);
        Finding { severity: Severity::Error, code, error }
    }

    /// The playbooks and every module that they import, directly or not.
    fn reachable(&self, entries: &[&str]) -> Vec<Arc<Source>> {
        let mut found: BTreeMap<String, Arc<Source>> = BTreeMap::new();
        let mut waiting: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        while let Some(name) = waiting.pop() {
            let Some(source) = self.places.get(&name).filter(|_| !found.contains_key(&name)) else { continue };
            waiting.extend(self.imports(&source).into_values().flatten());
            found.insert(name, source);
        }
        found.into_values().collect()
    }

    /// The modules from one to another, both included, where its imports lead there.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = HashSet::new();
        let mut waiting = vec![vec![from.to_owned()]];
        while let Some(way) = waiting.pop() {
            let last = way.last()?;
            if last == to {
                return Some(way);
            }
            let Some(source) = self.places.get(last).filter(|_| seen.insert(last.clone())) else { continue };
            let next = self.imports(&source).into_values().flatten();
            waiting.extend(next.map(|next| way.iter().cloned().chain([next]).collect()));
        }
        None
    }

    /// The modules that a source imports by a literal path: alias and source name, `None` where there is no such module.
    fn imports(&self, source: &Source) -> BTreeMap<String, Option<String>> {
        let mut imports = BTreeMap::new();
        nodes::visit(&source.ast, &mut |node| {
            if let Node::Stmt(Stmt::Import(import, _)) = node {
                let target = match &import.0 {
                    Expr::StringConstant(path, _) => (self.resolve)(&source.name, path).ok(),
                    // Computed at run time: nothing can be said about it.
                    _ => Some(String::new()),
                };
                imports.insert(import.1.name.to_string(), target);
            }
        });
        imports
    }
}

/// The check of one source.
struct Sheet<'a> {
    checker: &'a Checker<'a>,
    source: &'a Source,
    /// The text as findings show it: without what looks like a secret.
    shown: Arc<str>,
    imports: BTreeMap<String, Option<String>>,
    /// The names of variables and parameters.
    variables: HashSet<&'a str>,
    findings: Vec<Finding>,
}

impl<'a> Sheet<'a> {
    fn check(&mut self) {
        walk::walk(self);
        steps::check_ids(self);
        allow::check_comments(self);
    }

    /// Notes something that is wrong at a position, unless a comment allows it.
    fn find(&mut self, code: &'static str, at: Position, note: &str, error: Error) {
        self.note(Severity::Error, code, at, note, error);
    }

    /// Notes something that is probably not meant, unless a comment allows it.
    fn warn(&mut self, code: &'static str, at: Position, note: &str, error: Error) {
        self.note(Severity::Warning, code, at, note, error);
    }

    fn note(&mut self, severity: Severity, code: &'static str, at: Position, note: &str, error: Error) {
        if allow::allowed(&self.source.text, at.line().unwrap_or(0), &[code]) {
            return;
        }
        let error = match self.source.span(at) {
            Some(span) => error.at(self.label(span, note)),
            None => error,
        };
        self.findings.push(Finding { severity, code, error });
    }

    fn label(&self, span: Range<usize>, note: &str) -> Label {
        Label { text: self.shown.clone(), ..self.source.label(span, note) }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(Class::Script, message)
    }
}

impl Finding {
    /// As `homelab check --format json` prints it.
    pub fn to_json(&self, redactor: &Redactor) -> serde_json::Value {
        let label = self.error.labels().first();
        let (line, column) = label.map(render::line_and_column).unzip();
        let end = label
            .map(|label| render::line_and_column(&Label { span: label.span.end..label.span.end, ..label.clone() }));
        let (end_line, end_column) = end.unzip();
        json!({
            "severity": severity_word(self.severity),
            "code": self.code,
            "message": redactor.clean(self.error.message()),
            "help": self.error.help_text().map(|help| redactor.clean(help)),
            "file": label.map(|label| &label.file),
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
        })
    }

    /// For a terminal.
    pub fn render(&self, redactor: &Redactor, width: usize, color: bool) -> String {
        render::render_finding(&self.error, self.severity, redactor, width, color)
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| {
        let first = finding.error.labels().first();
        (first.map(|label| label.file.clone()), first.map(|label| label.span.start), finding.code)
    });
}
