//! Every script that a run read: for reports that show its lines, for checks, and for noticing that one changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{AST, Position};
use sha2::{Digest, Sha256};

use crate::script::places::Places;

/// A script as it was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in reports and positions: the path within the project, or `std/x` for an embedded one.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
    /// What it says, as written: not rewritten.
    pub ast: Arc<AST>,
    /// The file it was read from.
    pub path: Option<PathBuf>,
    /// Whether it comes with the program.
    pub embedded: bool,
}

/// The scripts of a run. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    known: Arc<Mutex<Known>>,
    places: Places,
}

#[derive(Debug, Default)]
struct Known {
    scripts: BTreeMap<String, Source>,
    looked_for: BTreeSet<PathBuf>,
}

impl Sources {
    /// Remembers a script that was read.
    pub fn record(&self, source: Source) {
        self.places.insert(source.name.clone(), Arc::clone(&source.text), AST::clone(&source.ast));
        let mut known = self.lock();
        known.looked_for.extend(source.path.clone());
        known.scripts.insert(source.name.clone(), source);
    }

    /// Remembers where a script was looked for, whether or not it was there: it may come to be.
    pub fn looked_for(&self, path: PathBuf) {
        self.lock().looked_for.insert(path);
    }

    /// A script by its name.
    pub fn get(&self, name: &str) -> Option<Source> {
        self.lock().scripts.get(name).cloned()
    }

    /// All scripts, sorted by name.
    pub fn all(&self) -> Vec<Source> {
        self.lock().scripts.values().cloned().collect()
    }

    /// The files to watch: those that were read, and those that would have been had they existed.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().looked_for.iter().cloned().collect()
    }

    /// One hash over names and texts: the same exactly as long as nothing was edited.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for source in self.lock().scripts.values() {
            for part in [source.name.as_bytes(), source.text.as_bytes()] {
                hasher.update(part.len().to_le_bytes());
                hasher.update(part);
            }
        }
        hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Where things stand in them, for reports and for options that are wrong.
    pub fn places(&self) -> &Places {
        &self.places
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes that a position means: from there to the end of the word. Positions count lines and characters from one.
pub fn span(text: &str, position: Position) -> Range<usize> {
    let Some(line) = position.line() else { return 0..0 };
    let start_of_line = match line {
        0 | 1 => 0,
        _ => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(newline, _)| newline + 1),
    };
    let rest = &text[start_of_line..];
    let column = position.position().unwrap_or(1).saturating_sub(1);
    let offset = rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset);
    let start = start_of_line + offset;
    let word = text[start..].find(|character: char| !character.is_alphanumeric() && character != '_');
    let length = match word {
        None => text.len() - start,
        Some(0) => text[start..].chars().next().map_or(0, char::len_utf8),
        Some(length) => length,
    };
    start..start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.into(), text: text.into(), ast: Arc::new(AST::empty()), path: None, embedded: true }
    }

    #[test]
    fn the_hash_changes_with_any_text_and_not_with_the_order_of_reading() {
        let (one, other, edited) = (Sources::default(), Sources::default(), Sources::default());
        for (sources, names) in [(&one, ["a", "b"]), (&other, ["b", "a"])] {
            names.iter().for_each(|name| sources.record(source(name, "let x = 1;")));
        }
        edited.record(source("a", "let x = 1;"));
        edited.record(source("b", "let x = 2;"));
        assert_eq!(one.hash(), other.hash());
        assert_ne!(one.hash(), edited.hash());
    }

    #[test]
    fn a_file_that_was_looked_for_is_watched_too() {
        let sources = Sources::default();
        sources.looked_for("/project/stdlib/k3s.rhai".into());
        assert_eq!(sources.files(), [PathBuf::from("/project/stdlib/k3s.rhai")]);
    }

    #[test]
    fn a_position_means_the_word_that_begins_there() {
        let text = "let ä = 1;\nfoo(\"ß\", bar_2);\n";
        assert_eq!(&text[span(text, Position::new(2, 10))], "bar_2");
        assert_eq!(&text[span(text, Position::new(1, 7))], "=");
        assert_eq!(span(text, Position::new(9, 1)), text.len()..text.len());
    }
}
