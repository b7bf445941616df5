//! `.envrc`, the file that direnv runs. Here it is data: `export NAME=value` lines are understood with the quoting of
//! a shell, and everything that would have to be executed is refused, with its place.

mod ansi;
mod example;
mod scan;

use std::fmt;
use std::ops::Range;
use std::path::Path;

pub use example::{Example, Variable};

use crate::error::{Error, Label, Result};
use crate::inputs::text::Text;
use scan::{Refusal, Scanner};

/// The entries of a `.envrc`, in the order of the file. `Debug` and labels never show a value.
#[derive(Clone)]
pub struct Envrc {
    /// The text with every value masked: labels show the lines around an error, and those lines hold secrets.
    masked: Text,
    entries: Vec<Entry>,
}

/// One assignment. `Debug` does not show its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of the variable.
    pub name: String,
    /// Its value, quotes and references resolved.
    pub value: String,
    /// The bytes of `NAME=value` in the file.
    pub span: Range<usize>,
}

impl Envrc {
    /// Parses a file's text. `$NAME` and `${NAME}` mean what an earlier line set; `$HOME` and a leading `~` mean
    /// `home`. Nothing is executed.
    pub fn parse(file: &str, text: &str, home: Option<&str>) -> Result<Self> {
        let mut scanner = Scanner::new(text, home);
        let mut entries = Vec::new();
        while scanner.skip_to_statement() {
            if let Err(refusal) = scanner.statement(&mut entries) {
                return Err(refused(file, text, &scanner, refusal));
            }
        }
        let masked = Text::new(file, &scanner.masked(None));
        Ok(Envrc { masked, entries })
    }

    /// Reads a file of the project, if it is there.
    pub fn load(root: &Path, file: &str, home: Option<&str>) -> Result<Option<Self>> {
        match Text::load_optional(root, file)? {
            Some(text) => Envrc::parse(file, text.text(), home).map(Some),
            None => Ok(None),
        }
    }

    /// The value of a variable; of several lines for it the last holds, as in a shell.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|entry| entry.value.as_str())
    }

    /// All assignments, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The name of the file, as errors show it.
    pub fn file(&self) -> &str {
        self.masked.file()
    }

    /// A label on the line that sets a variable, its value masked.
    pub fn label(&self, name: &str, note: &str) -> Option<Label> {
        self.entry(name).map(|entry| self.masked.label(entry.span.clone(), note))
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.name == name)
    }
}

impl fmt::Debug for Envrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envrc").field("file", &self.file()).field("entries", &self.entries).finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// A file's text with another value for a variable: in the line that sets it last, else in a line of its own.
pub fn with(file: &str, text: &str, home: Option<&str>, name: &str, value: &str) -> Result<String> {
    let known = Envrc::parse(file, text, home)?;
    let assignment = format!("{name}={}", quote(value));
    if let Some(entry) = known.entry(name) {
        return Ok(format!("{}{assignment}{}", &text[..entry.span.start], &text[entry.span.end..]));
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{text}{gap}{}\n", line(name, value)))
}

/// The line that gives a variable a value, quoted so that a shell and [`Envrc::parse`] read it back unchanged.
pub fn line(name: &str, value: &str) -> String {
    format!("export {name}={}", quote(value))
}

fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,-".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_string();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn refused(file: &str, text: &str, scanner: &Scanner<'_>, refusal: Refusal) -> Error {
    let line = text[..refusal.span.start].matches('\n').count() + 1;
    let shown = refusal.shown.then_some(&refusal.span);
    let label = Text::new(file, &scanner.masked(shown)).label(refusal.span.clone(), refusal.note);
    Error::new(crate::error::Class::InputMissing, format!("{file} line {line}: {}", refusal.message))
        .help(refusal.help)
        .at(label)
}

#[cfg(test)]
mod tests;
