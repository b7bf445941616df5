//! Files on a host.

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::entry::{self, Entry, Stands};
use super::mechanism::ownership::Ownership;
use super::mechanism::probe::{self, Amount, Look};
use super::mechanism::replace::{self, Replace};
use crate::clients::ssh::Command;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::resource::{Cell, Resource};
use crate::run::scope;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{Maybe, TextOrSecret};
use crate::script::context::options;
use crate::script::failure::fail;

/// A file as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileOptions {
    /// The path, absolute.
    pub path: String,
    /// The whole content: text or a secret. Default: the content stays as it is, and the file must be there.
    #[serde(default)]
    pub content: Option<Maybe<TextOrSecret>>,
    /// A local file to take the content from, whatever it holds; relative to the project. Default: none.
    #[serde(default)]
    pub source: Option<String>,
    /// The permissions as octal digits: `"0640"`. Default: those it has; `"0644"` for a new file, `"0600"` where the
    /// content is secret.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner, by name or number. Default: the one it has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one it has.
    #[serde(default)]
    pub group: Option<String>,
    /// A command that says whether the content is sound, with `%s` for the path of the new file, before it takes its
    /// place: `"visudo -cf %s"`. Default: none.
    #[serde(default)]
    pub validate: Option<String>,
    /// Whether what was there is kept beside it, with `.homelab-backup` at the end of its name. Default: false.
    #[serde(default)]
    pub backup: bool,
    /// Whether a symbolic link at the path is followed. Without it, one is an error. Default: false.
    #[serde(default)]
    pub follow: bool,
    /// Whether nothing should be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A content that is wanted.
#[derive(Clone)]
enum Content {
    /// Text that may show.
    Text(String),
    /// Text that must not show.
    Secret(Secret),
    /// Too large to show, or no text.
    Bytes(Arc<[u8]>),
    /// Only known in the real run.
    Unknown(Unknown),
}

/// A file.
pub struct File {
    entry: Entry,
    content: Option<Content>,
    ownership: Ownership,
    validate: Option<String>,
    backup: bool,
    absent: bool,
}

/// Brings a file to its wanted state.
pub(super) fn file(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: FileOptions = options(call, "file", map)?;
    let file = Arc::new(File::new(host, options).map_err(fail)?);
    ensure(&file).map(outcome::to_map).map_err(fail)
}

impl File {
    /// A file as a playbook describes it.
    pub fn new(host: &Host, options: FileOptions) -> Result<Self> {
        let refuse = |what: &str| Error::new(Class::Script, format!("`file`: {what}"));
        let path = probe::normal_path("path", &options.path)?;
        let asks_more = options.content.is_some() || options.source.is_some() || options.mode.is_some();
        if options.absent && (asks_more || options.owner.is_some() || options.group.is_some()) {
            return Err(
                refuse("a file that is absent has neither content nor owner").help("leave out one or the other")
            );
        }
        if options.content.is_some() && options.source.is_some() {
            return Err(refuse("`content` and `source` both say what is in it").help("leave out one of them"));
        }
        replace::check_validate("file", options.validate.as_deref())?;
        let content = match (options.content, options.source) {
            (Some(Maybe::Unknown(unknown)), _) => Some(Content::Unknown(unknown)),
            (Some(Maybe::Known(TextOrSecret::Secret(secret))), _) => Some(Content::Secret(secret)),
            (Some(Maybe::Known(TextOrSecret::Text(text))), _) => Some(Content::of(text.into_bytes())),
            (None, Some(source)) => Some(read_source(host, &source)?),
            (None, None) => None,
        };
        let ownership = Ownership::parse(options.mode.as_deref(), options.owner, options.group)?;
        Ok(File {
            entry: Entry {
                host: host.clone(),
                look: Look { path, amount: Amount::Compared, follow: options.follow && !options.absent },
                become_: host.whom(options.become_.as_ref()),
                by_number: ownership.by_number(),
                needs_folder: !options.absent,
            },
            content,
            ownership,
            validate: options.validate,
            backup: options.backup,
            absent: options.absent,
        })
    }

    /// Refuses what must not be taken for a file.
    fn check_kind(&self, have: &Map) -> Result<()> {
        let is_link = have.get("kind").and_then(Value::as_text) == Some("link");
        if self.absent && is_link { Ok(()) } else { entry::check_file(&self.address(), have) }
    }

    fn wanted(&self, have: &State) -> Map {
        let mut want = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        self.ownership.put(&mut want);
        if *have == State::Absent {
            let secret = matches!(self.content, Some(Content::Secret(_)));
            let mode = if secret { "0600" } else { "0644" };
            want.entry("mode".to_owned()).or_insert_with(|| Value::from(mode));
        }
        if let Some(content) = &self.content {
            content.put(&mut want);
        }
        want
    }

    fn command(&self, difference: &Difference, replace: &Replace<'_>) -> Result<Command> {
        let path = self.entry.path();
        let rewrite = ["content", "sha256", "size", "kind"].iter().any(|key| difference.touches(key));
        Ok(match (&difference.want, self.bytes()?.filter(|_| rewrite)) {
            (State::Absent, _) => Command::script(replace.removal()).brief().called(format!("remove {path}")),
            (_, Some(bytes)) => replace.command(difference, bytes).called(format!("write {path}")),
            (_, None) => {
                Command::script(replace.ownership_script(difference)).brief().called(format!("set the owner of {path}"))
            }
        })
    }

    /// What is asked for, with the permissions that a new file gets where nobody asks.
    fn effective(&self, difference: &Difference) -> Ownership {
        let mode = difference.wanted("mode").and_then(Value::as_text).filter(|_| difference.action == Action::Create);
        Ownership { mode: mode.map(str::to_owned).or_else(|| self.ownership.mode.clone()), ..self.ownership.clone() }
    }

    fn bytes(&self) -> Result<Option<Vec<u8>>> {
        match &self.content {
            None => Ok(None),
            Some(Content::Text(text)) => Ok(Some(text.clone().into_bytes())),
            Some(Content::Secret(secret)) => Ok(Some(secret.expose().as_bytes().to_vec())),
            Some(Content::Bytes(bytes)) => Ok(Some(bytes.to_vec())),
            // The gate lets only those through that were shown once and are in place, and they are not written again.
            Some(Content::Unknown(unknown)) => Err(unknown.needed(&self.address())),
        }
    }
}

impl Content {
    fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) if text.len() <= probe::MAX_CONTENT => Content::Text(text),
            Ok(text) => Content::Bytes(text.into_bytes().into()),
            Err(binary) => Content::Bytes(binary.into_bytes().into()),
        }
    }

    /// Puts the content into a state, in place of the one that is there.
    fn put(&self, state: &mut Map) {
        let before = state.remove("content");
        let (hash, size) = (state.remove("sha256"), state.remove("size"));
        let shown = match self {
            Content::Text(text) => Value::text(text),
            Content::Secret(secret) if secret.expose().len() <= probe::MAX_CONTENT => Value::Secret(secret.clone()),
            Content::Secret(secret) => {
                return entry::add_hash(state, &entry::sha256(secret.expose().as_bytes()), secret.expose().len());
            }
            Content::Bytes(bytes) => return entry::add_hash(state, &entry::sha256(bytes), bytes.len()),
            // Shown once and gone: whatever is there was made of it.
            Content::Unknown(unknown) if unknown.is_spent() && (before.is_some() || hash.is_some()) => {
                let rest = [("content", before), ("sha256", hash), ("size", size)];
                return state.extend(rest.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
            }
            Content::Unknown(unknown) => Value::Unknown(unknown.clone()),
        };
        state.insert("content".to_owned(), shown);
    }
}

/// Reads a local file; one that this dry run plans to write is not known yet.
fn read_source(host: &Host, source: &str) -> Result<Content> {
    let path = host.ssh().root.join(source);
    let cell = Cell::new("local", format!("file:{}", path.display()));
    if let Some(by) = scope::with(|branch| branch.overlay.cell(&cell).map(|planned| planned.by.clone()))? {
        return Ok(Content::Unknown(Unknown::from_origin(by)));
    }
    let bytes = std::fs::read(&path).map_err(|error| {
        Error::new(Class::InputMissing, format!("{source}: cannot be read"))
            .cause(error)
            .help("`source` is a local file, relative to the project")
    })?;
    Ok(Content::of(bytes))
}

impl Stands for File {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn address(&self) -> String {
        format!("{}:file:{}", self.entry.host.name(), self.entry.path())
    }

    fn seen(&self, mut state: State) -> Result<State> {
        if let State::Here(Value::Map(map)) = &mut state {
            self.check_kind(map)?;
            // What a secret replaces was probably one, too.
            if let (Some(Content::Secret(_)), Some(Value::Text(text))) = (&self.content, map.get("content")) {
                let hidden = Value::Secret(Secret::new(text.as_str()));
                map.insert("content".to_owned(), hidden);
            }
        }
        Ok(state)
    }
}

impl Resource for File {
    fn want(&self, have: &State) -> Result<State> {
        if self.absent {
            return Ok(State::Absent);
        }
        match have {
            State::Here(Value::Map(map)) => self.check_kind(map)?,
            State::Absent if self.content.is_none() => {
                return Err(Error::new(Class::Blocked, format!("{}: is not there", self.address()))
                    .help("say what should be in it: `content: \"…\"`"));
            }
            _ => {}
        }
        Ok(State::Here(Value::Map(self.wanted(have))))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let ownership = self.effective(difference);
        let replace = Replace {
            path: self.entry.path(),
            follow: self.entry.look.follow,
            ownership: &ownership,
            validate: self.validate.as_deref(),
            backup: self.backup,
            secret: matches!(self.content, Some(Content::Secret(_))),
            found: None,
        };
        let command = self.command(difference, &replace)?;
        replace::carry_out(&self.entry, command, &replace, difference, &self.address(), writer)
    }

    fn is_confined(&self) -> bool {
        // Nobody knows what a check does, and where a link leads somebody else may look.
        self.validate.is_none() && !self.entry.look.follow
    }

    fn looks_again(&self, difference: &Difference) -> bool {
        difference.action == Action::Create && !self.entry.look.follow
    }

    fn fills(&self) -> Vec<String> {
        ["owner", "group"].map(str::to_owned).to_vec()
    }
}
