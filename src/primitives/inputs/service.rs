//! What the primitives of this folder share: the project's folder, its environment, and a note of what was read.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::notes::Notes;
use crate::error::{Class, Error, Result};
use crate::inputs::environment::Environment;
use crate::inputs::tables::Proposals;
use crate::run::event::Level;
use crate::run::scope;
use crate::run::session::lock;

/// The inputs of a project.
#[derive(Debug)]
pub struct Inputs {
    root: PathBuf,
    environment: Environment,
    proposals: Proposals,
    read: Mutex<BTreeSet<PathBuf>>,
    /// How many of the proposals taken were told of.
    told: Mutex<usize>,
    /// Where what is written down is kept instead of the tables.
    notes: Option<Notes>,
    /// Held while a row is written: several branches may write rows of one file.
    writing: Mutex<()>,
}

impl Inputs {
    /// The inputs of the project in a folder.
    pub fn new(root: impl Into<PathBuf>, environment: Environment, proposals: Proposals) -> Self {
        Inputs {
            root: root.into(),
            environment,
            proposals,
            read: Mutex::default(),
            told: Mutex::default(),
            notes: None,
            writing: Mutex::default(),
        }
    }

    /// The same, with what playbooks write down kept in a file of its own: the tables stay as they are.
    #[must_use]
    pub fn with_notes(self, path: impl Into<PathBuf>) -> Self {
        Inputs { notes: Some(Notes::at(path)), ..self }
    }

    /// What is kept instead of the tables.
    pub(super) fn notes(&self) -> Option<&Notes> {
        self.notes.as_ref()
    }

    /// The text of a file of tables, with what was written down beside it.
    pub(super) fn with_what_was_noted(&self, file: &str, text: &str) -> Result<String> {
        match &self.notes {
            Some(notes) => {
                self.note_read(notes.path());
                notes.applied(file, text)
            }
            None => Ok(text.to_owned()),
        }
    }

    /// The folder of the project.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The variables.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether values in parentheses count.
    pub fn proposals(&self) -> &Proposals {
        &self.proposals
    }

    /// Notes that a file was read, whether it exists or not.
    pub fn note_read(&self, path: impl Into<PathBuf>) {
        lock(&self.read).insert(path.into());
    }

    /// Every file that was read: what `--watch` looks after, and what a plan depends on.
    pub fn files_read(&self) -> Vec<PathBuf> {
        lock(&self.read).iter().cloned().collect()
    }

    /// Keeps other branches from writing a row.
    pub(super) fn hold_writing(&self) -> MutexGuard<'_, ()> {
        lock(&self.writing)
    }

    /// The file that a script means: relative to the project and inside of it, or absolute, or `~/…`.
    pub fn path(&self, text: &str) -> Result<PathBuf> {
        let refused = |what: &str, help: &str| Err(Error::new(Class::Script, format!("{text}: {what}")).help(help));
        let home = text.strip_prefix("~/").map(|rest| (rest, self.environment.get("HOME")));
        let path = match home {
            Some((rest, Some((home, _)))) => Path::new(&home).join(rest),
            Some((_, None)) => return refused("HOME is not set, so `~` means nothing", "write an absolute path"),
            None => PathBuf::from(text),
        };
        if text.is_empty() || text.contains('\0') {
            return refused("is no path", "name a file by its path below the project");
        }
        let mut clean = PathBuf::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if !clean.pop() => {
                    return refused("leads out of the project", "name it by its path below the project, or absolutely");
                }
                Component::ParentDir => {}
                part => clean.push(part),
            }
        }
        Ok(if clean.is_absolute() { clean } else { self.root.join(clean) })
    }

    /// How people know a file: by its path below the project where it is inside.
    pub fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Says which proposals were taken since the last time.
    pub(super) fn tell_of_proposals(&self) -> Result<()> {
        let notes = self.proposals.notes();
        let new = {
            let mut told = lock(&self.told);
            let new = notes.get(*told..).unwrap_or_default();
            *told = notes.len();
            new.to_vec()
        };
        let Some((first, more)) = new.split_first() else { return Ok(()) };
        let places: Vec<String> = std::iter::once(first).chain(more).map(|note| note.place.clone()).collect();
        scope::say(Level::Info, format!("taken as proposed, to be confirmed: {}", places.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::inputs::envrc::Example;

    fn inputs() -> Inputs {
        let process = BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]);
        let example = Example::parse(".envrc.example", "").unwrap();
        Inputs::new("/lab", Environment::new(process, None, None, example), Proposals::refused())
    }

    #[test]
    fn a_relative_path_stays_inside_the_project() {
        let path = |text: &str| inputs().path(text).map(|path| path.display().to_string());
        assert_eq!(path("./docs/../NETWORK.md").unwrap(), "/lab/NETWORK.md");
        assert_eq!(path("/etc/hosts").unwrap(), "/etc/hosts");
        assert_eq!(path("~/.kube/config").unwrap(), "/home/me/.kube/config");
        assert_eq!(path("docs/../../x").unwrap_err().message(), "docs/../../x: leads out of the project");
        assert!(path("").is_err());
    }

    #[test]
    fn people_know_a_file_by_its_path_below_the_project() {
        assert_eq!(inputs().name(Path::new("/lab/docs/NETWORK.md")), "docs/NETWORK.md");
        assert_eq!(inputs().name(Path::new("/etc/hosts")), "/etc/hosts");
    }
}
