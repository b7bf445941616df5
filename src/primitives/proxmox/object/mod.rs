//! What the API keeps as named settings behind one path: a storage, a role, the options of a node. One mechanism reads,
//! compares and writes them all; what differs from kind to kind is a table.

mod change;
mod form;
mod resource;
#[cfg(test)]
mod tests;

pub(super) use form::{Setting, blanks, flag, number, pairs, rows, set, set_of, switch, text};
pub(super) use resource::{Look, Object, Wanted, settle};

use serde_json::Value as Json;

/// How a setting that should not be there is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clears {
    /// By its name in `delete`.
    Deleted,
    /// By an empty text.
    Emptied,
    /// By leaving it out: each write replaces all settings.
    LeftOut,
}

/// One kind of object.
pub(super) struct Kind {
    /// What it is called in addresses, as in `storage`.
    pub noun: &'static str,
    /// The settings that playbooks know, in the order in which they are sent.
    pub settings: &'static [Setting],
    /// Those that every write must have, changed or not.
    pub always: &'static [&'static str],
    /// Those that only making it anew can change.
    pub fixed: &'static [&'static str],
    /// Those that Proxmox fills in where nobody says them.
    pub filled: &'static [&'static str],
    /// What an answer has beside the settings: names, digests, what others say about it.
    pub aside: &'static [&'static str],
    /// How a setting is taken away.
    pub clears: Clears,
    /// Brings the answer to a read into the form of settings by name.
    pub shape: fn(Json) -> Json,
    /// What is lost when it is taken away.
    pub loss: &'static str,
}

impl Kind {
    /// The setting that a playbook calls so.
    fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// An answer that has the form of settings already.
pub(super) fn as_it_is(answer: Json) -> Json {
    answer
}
