//! Values in parentheses: proposals that a person has yet to confirm.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether proposals are accepted, and which ones were. Clones share their notes.
#[derive(Debug, Clone, Default)]
pub struct Proposals {
    taken: Option<Arc<Mutex<Vec<Note>>>>,
}

/// A proposal that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it stands: `docs/NETWORK.md settings.mgmt_mode.value`.
    pub place: String,
    /// The value that was taken.
    pub value: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is a proposal", self.place, self.value)
    }
}

impl Proposals {
    /// A proposal that is needed is an error: it asks a person to confirm it.
    pub fn refused() -> Self {
        Proposals::default()
    }

    /// Proposals count as facts (the simulator's world is made of them); each one taken is noted.
    pub fn accepted() -> Self {
        Proposals { taken: Some(Arc::default()) }
    }

    /// The proposals taken so far, each once, in the order in which they were needed.
    pub fn notes(&self) -> Vec<Note> {
        let Some(taken) = &self.taken else { return Vec::new() };
        taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a proposal, if proposals are accepted.
    pub(super) fn take(&self, place: String, value: &str) -> bool {
        let Some(taken) = &self.taken else { return false };
        let note = Note { place, value: value.to_string() };
        let mut notes = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
        true
    }
}
