//! What is made of files, such as boot entries and the initramfs: current until one of the files is edited.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::run::ensure::{Changed, Outcome};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// Whether the files were, or would be, edited just now, and nothing made of them yet.
pub struct Edits(std::result::Result<AtomicBool, Unknown>);

impl Edits {
    /// After these changes of the files.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let maybe = outcomes.iter().filter_map(|outcome| match &outcome.changed {
            Changed::Maybe(unknown) => Some(unknown),
            _ => None,
        });
        let maybe: Vec<&Unknown> = maybe.collect();
        let surely = outcomes.iter().any(|outcome| outcome.changed == Changed::Yes);
        Edits(match surely || maybe.is_empty() {
            true => Ok(AtomicBool::new(surely)),
            false => Err(Unknown::join(maybe)),
        })
    }

    /// What is there, as far as the files were not edited since.
    pub fn state(&self, is_current: bool) -> State {
        match &self.0 {
            Ok(edited) => current(is_current && !edited.load(Ordering::SeqCst)),
            Err(unknown) => State::Unknown(unknown.clone()),
        }
    }

    /// Something is made of them.
    pub fn settle(&self) {
        if let Ok(edited) = &self.0 {
            edited.store(false, Ordering::SeqCst);
        }
    }
}

/// What is wanted, and what is there where it is so.
pub fn current(is_current: bool) -> State {
    State::Here(Value::Map(Map::from([("current".to_owned(), Value::Bool(is_current))])))
}
