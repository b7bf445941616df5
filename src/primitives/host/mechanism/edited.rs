//! Text files of which only a part is wanted: the rest stays as it is. Lines, blocks, tables of mounts and settings of the
//! kernel are edits of this kind.

use std::sync::Arc;

use rhai::Map as ScriptMap;

use super::super::connect::BecomeOption;
use super::super::handle::Host;
use super::entry::{self, Entry, Stands};
use super::ownership::Ownership;
use super::probe::{self, Amount, Look};
use super::replace::{self, Replace};
use crate::clients::ssh::Command;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{Outcome, ensure};
use crate::run::event::Action;
use crate::run::resource::{Fact, Resource};
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// The new text for the one that is there. Pure, and made again it changes nothing.
pub type Edit = Box<dyn Fn(&str) -> Result<String> + Send + Sync>;

/// What is edited and how.
pub struct Edited {
    entry: Entry,
    ownership: Ownership,
    validate: Option<String>,
    backup: bool,
    lax: bool,
    what: What,
    address: String,
}

/// The part that is wanted.
pub struct What {
    /// What kind of thing, as in `web:line:/etc/hosts (192.0.2.1 nas)`.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// How the file gets it; unknown where that depends on what only the real run will know.
    pub edit: std::result::Result<Edit, Unknown>,
    /// Whether the content must not show.
    pub secret: bool,
    /// What happens where there is no file.
    pub missing: Missing,
    /// Whether a file that has nothing left in it is removed.
    pub prune: bool,
}

/// What happens where there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is made.
    Create,
    /// That is an error.
    Refuse,
    /// There is nothing to do.
    Fine,
}

impl Missing {
    /// What is absent needs no file, and what is wanted may make one.
    pub fn of(absent: bool, create: bool) -> Self {
        match (absent, create) {
            (true, _) => Missing::Fine,
            (false, true) => Missing::Create,
            (false, false) => Missing::Refuse,
        }
    }
}

/// The file.
#[derive(Default)]
pub struct Place {
    /// Its path.
    pub path: String,
    /// Its permissions.
    pub mode: Option<String>,
    /// Its owner.
    pub owner: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// A command that checks the new content.
    pub validate: Option<String>,
    /// Whether what was there is kept.
    pub backup: bool,
    /// Whether a link is followed.
    pub follow: bool,
    /// Whether permissions and owner are those of a new file only.
    pub lax: bool,
    /// As whom.
    pub become_: Option<BecomeOption>,
}

impl Edited {
    /// A part of a file.
    pub fn new(host: &Host, place: Place, what: What) -> Result<Self> {
        let path = probe::normal_path("path", &place.path)?;
        replace::check_validate(what.kind, place.validate.as_deref())?;
        let ownership = Ownership::parse(place.mode.as_deref(), place.owner, place.group)?;
        Ok(Edited {
            address: format!("{}:{}:{}", host.name(), what.kind, what.name),
            entry: Entry {
                host: host.clone(),
                look: Look { path, amount: Amount::Whole, follow: place.follow },
                become_: host.whom(place.become_.as_ref()),
                by_number: ownership.by_number(),
                needs_folder: what.missing != Missing::Fine,
            },
            ownership,
            validate: place.validate,
            backup: place.backup,
            lax: place.lax,
            what,
        })
    }

    /// Brings it about.
    pub fn ensure(self) -> Result<Outcome> {
        ensure(&Arc::new(self))
    }

    /// Brings it about, for a script.
    pub fn ensure_for_script(self) -> Result<ScriptMap> {
        self.ensure().map(outcome::to_map)
    }

    /// The content after the edit of what is there.
    fn edited(&self, have: Option<&Value>) -> Result<Value> {
        let unknown = |of: &Unknown| Value::Unknown(Unknown::join([of, &Unknown::from_origin(&self.address)]));
        let (edit, text) = match (&self.what.edit, have) {
            // Shown once and gone: whatever is there was made of it.
            (Err(unknown), Some(known)) if unknown.is_spent() => return Ok(known.clone()),
            (Err(unknown), _) => return Ok(Value::Unknown(unknown.clone())),
            (Ok(_), Some(Value::Unknown(of))) => return Ok(unknown(of)),
            (Ok(edit), Some(Value::Text(text))) => (edit, text.as_str()),
            (Ok(edit), Some(Value::Secret(secret))) => (edit, secret.expose()),
            // A dry run keeps only the hash of a large content that it has planned.
            (Ok(_), Some(_)) => return Ok(unknown(&Unknown::from_origin(Fact::address(&self.entry)))),
            (Ok(edit), None) => (edit, ""),
        };
        let new = edit(text).map_err(|error| error.context(self.address.clone()))?;
        Ok(match have {
            Some(Value::Secret(_)) => Value::Secret(Secret::new(new)),
            _ if self.what.secret => Value::Secret(Secret::new(new)),
            _ => Value::Text(new),
        })
    }

    fn is_pruned(&self, content: &Value) -> bool {
        let text = match content {
            Value::Text(text) => text,
            Value::Secret(secret) => secret.expose(),
            _ => return false,
        };
        self.what.prune && text.trim().is_empty()
    }

    fn missing(&self) -> Result<State> {
        match self.what.missing {
            Missing::Fine => return Ok(State::Absent),
            Missing::Refuse => {
                return Err(Error::new(Class::Blocked, format!("{}: the file is not there", self.address))
                    .help("say `create: true` where it should be made"));
            }
            Missing::Create => {}
        }
        let content = self.edited(None)?;
        let mode = if self.what.secret { "0600" } else { "0644" };
        let mut want = Map::from([("mode".to_owned(), Value::from(mode)), ("content".to_owned(), content)]);
        self.ownership.put(&mut want);
        Ok(State::Here(Value::Map(want)))
    }

    fn is_about_content(difference: &Difference) -> bool {
        ["content", "sha256", "size", "kind"].iter().any(|key| difference.touches(key))
    }

    /// The permissions that a new file gets where nobody asks.
    fn effective(&self, difference: &Difference) -> Ownership {
        let mode = difference.wanted("mode").and_then(Value::as_text).filter(|_| difference.action == Action::Create);
        Ownership { mode: mode.map(str::to_owned).or_else(|| self.ownership.mode.clone()), ..self.ownership.clone() }
    }
}

/// A content that is known, in clear.
fn clear(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::Text(text) => Some(text),
        Value::Secret(secret) => Some(secret.expose()),
        _ => None,
    }
}

impl Stands for Edited {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn seen(&self, mut state: State) -> Result<State> {
        if let State::Here(Value::Map(map)) = &mut state {
            entry::check_file(&self.address, map)?;
            // What a secret is put into probably holds others, too.
            if let (true, Some(Value::Text(text))) = (self.what.secret, map.get("content")) {
                let hidden = Value::Secret(Secret::new(text.as_str()));
                map.insert("content".to_owned(), hidden);
            }
        }
        Ok(state)
    }
}

impl Resource for Edited {
    fn want(&self, have: &State) -> Result<State> {
        let map = match have {
            State::Absent => return self.missing(),
            State::Unknown(unknown) => {
                return Ok(State::Unknown(Unknown::join([unknown, &Unknown::from_origin(&self.address)])));
            }
            State::Here(here) => here.as_map().cloned().unwrap_or_default(),
        };
        entry::check_file(&self.address, &map)?;
        let content = self.edited(map.get("content").or(Some(&Value::Null)))?;
        if self.is_pruned(&content) {
            return Ok(State::Absent);
        }
        let mut want = map;
        want.remove("sha256");
        want.remove("size");
        want.insert("content".to_owned(), content);
        if !self.lax {
            self.ownership.put(&mut want);
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let path = self.entry.path();
        let ownership = self.effective(difference);
        let replace = Replace {
            path,
            follow: self.entry.look.follow,
            ownership: &ownership,
            validate: self.validate.as_deref(),
            backup: self.backup,
            secret: self.what.secret,
            found: clear(difference.found("content")).map(|text| entry::sha256(text.as_bytes())),
        };
        let command = match &difference.want {
            State::Absent => Command::script(replace.removal()).brief().called(format!("remove {path}")),
            _ if !Self::is_about_content(difference) => Command::script(replace.ownership_script(difference)).brief(),
            _ => {
                let text = clear(difference.wanted("content"))
                    .ok_or_else(|| Error::new(Class::Bug, format!("{}: its content is not known", self.address)))?;
                replace.command(difference, text).called(format!("edit {path}"))
            }
        };
        replace::carry_out(&self.entry, command, &replace, difference, &self.address, writer)
    }

    fn fills(&self) -> Vec<String> {
        ["owner", "group"].map(str::to_owned).to_vec()
    }
}
