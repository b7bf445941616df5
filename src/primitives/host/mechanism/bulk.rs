//! Files whose content is known by its hash alone: it is compared on the host, and brought there only where it differs.

use super::entry::{self, Entry};
use super::ownership::Ownership;
use crate::run::difference::Difference;
use crate::run::event::Action;
use crate::run::value::{Map, State, Value};

/// A content that is wanted.
pub struct Sum {
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
}

impl Sum {
    /// Whether a state has this content.
    fn is_that_of(&self, state: &Map) -> bool {
        match (state.get("sha256"), state.get("content")) {
            (Some(Value::Text(hash)), _) => *hash == self.sha256,
            (None, Some(Value::Text(text))) => entry::sha256(text.as_bytes()) == self.sha256,
            _ => false,
        }
    }

    /// What is wanted, given what is there.
    pub fn want(&self, have: &State, ownership: &Ownership) -> State {
        let mut want = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        if !self.is_that_of(&want) {
            want.remove("content");
            want.remove("size");
            want.insert("sha256".to_owned(), Value::from(self.sha256.as_str()));
            if let Some(size) = self.size {
                want.insert("size".to_owned(), Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
            }
        }
        ownership.put(&mut want);
        if *have == State::Absent {
            want.entry("mode".to_owned()).or_insert_with(|| Value::from("0644"));
        }
        State::Here(Value::Map(want))
    }
}

/// Whether a difference is more than one of permissions and owner.
pub fn is_about_content(difference: &Difference) -> bool {
    ["content", "sha256", "size", "kind"].iter().any(|key| difference.touches(key))
}

/// What is asked for, with the permissions that a new file gets where nobody asks.
pub fn effective(asked: &Ownership, difference: &Difference) -> Ownership {
    let mode = difference.wanted("mode").and_then(Value::as_text).filter(|_| difference.action == Action::Create);
    Ownership { mode: mode.map(str::to_owned).or_else(|| asked.mode.clone()), ..asked.clone() }
}

/// Where a file is and what is compared.
pub fn entry_of(
    host: &super::super::handle::Host,
    path: String,
    become_: Option<&super::super::connect::BecomeOption>,
    ownership: &Ownership,
) -> Entry {
    Entry {
        host: host.clone(),
        look: super::probe::Look { path, amount: super::probe::Amount::Compared, follow: false },
        become_: host.whom(become_),
        by_number: ownership.by_number(),
        needs_folder: true,
    }
}
