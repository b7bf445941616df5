//! `.envrc.example`: the list of every variable, each explained by the comment above it.
//!
//! `export NAME=` is a variable that has to be set, `# export NAME=value` one that may be, with its default.

use std::ops::Range;
use std::path::Path;

use super::scan::Scanner;
use super::{Entry, refused};
use crate::error::{Label, Result};
use crate::inputs::text::Text;

/// What `.envrc.example` says about the variables.
#[derive(Debug, Clone)]
pub struct Example {
    text: Text,
    variables: Vec<Variable>,
}

/// One variable of `.envrc.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The comment above it, as one line of text.
    pub explanation: String,
    /// Whether it has to be set: its line is not commented out.
    pub required: bool,
    /// The value that the line shows, if any.
    pub default: Option<String>,
    /// The bytes of `NAME=value` in the file.
    pub span: Range<usize>,
}

impl Example {
    /// Reads `.envrc.example` of the project; without one, nothing is known about any variable.
    pub fn load(root: &Path) -> Result<Self> {
        const FILE: &str = ".envrc.example";
        let text = Text::load_optional(root, FILE)?;
        Example::parse(FILE, text.as_ref().map_or("", Text::text))
    }

    /// Parses the text of such a file.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut scanner = Scanner::new(text, Some("~"));
        let mut variables = Vec::new();
        let mut comment: Vec<&str> = Vec::new();
        while scanner.at < text.len() {
            let start = scanner.at;
            let line = text[start..].split_inclusive('\n').next().unwrap_or_default();
            let trimmed = line.trim();
            let prose = trimmed.trim_start_matches('#').trim();
            let required = !trimmed.starts_with('#');
            if trimmed.is_empty() || (!required && !is_commented_out(prose)) {
                match prose {
                    "" => comment.clear(),
                    _ => comment.push(prose),
                }
                scanner.at = start + line.len();
                continue;
            }
            scanner.at = start + line.find(|c: char| c != '#' && !c.is_whitespace()).unwrap_or(0);
            let mut entries = Vec::new();
            scanner.statement(&mut entries).map_err(|refusal| refused(file, text, &scanner, refusal))?;
            let explanation = std::mem::take(&mut comment).join(" ");
            variables.extend(entries.into_iter().map(|entry| variable(entry, &explanation, required)));
        }
        Ok(Example { text: Text::new(file, text), variables })
    }

    /// What the file says about a variable.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// All variables, in the order of the file.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// A label on the line of a variable.
    pub fn label(&self, name: &str, note: &str) -> Option<Label> {
        self.get(name).map(|variable| self.text.label(variable.span.clone(), note))
    }
}

fn is_commented_out(prose: &str) -> bool {
    prose.strip_prefix("export ").is_some_and(|rest| rest.contains('='))
}

fn variable(entry: Entry, explanation: &str, required: bool) -> Variable {
    let Entry { name, value, span } = entry;
    let default = Some(value).filter(|value| !value.is_empty());
    Variable { name, explanation: explanation.to_string(), required, default, span }
}
