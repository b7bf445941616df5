//! Many files of a host at once: compared in one question, sent as one bundle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::bundle::{self, Piece};
use super::mechanism::entry::sha256;
use super::mechanism::ownership::Ownership;
use super::mechanism::probe;
use crate::clients::ssh::{Become, Command};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{Changed, Outcome, ensure};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{Maybe, TextOrSecret};
use crate::script::context::options;
use crate::script::failure::fail;

/// Files as they should be, all below one folder. What else lies there is left alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesOptions {
    /// The folder that they are in, absolute. It is made where it is missing, and so are folders below it.
    pub path: String,
    /// The files: names below the folder, as in `"conf.d/app.conf"`, and their contents, text or secrets. Default: none,
    /// then `source` says them.
    #[serde(default)]
    pub files: Option<BTreeMap<String, Maybe<TextOrSecret>>>,
    /// A local folder whose files these are, with all below it; relative to the project. Those that may be executed here
    /// may be there. Default: none.
    #[serde(default)]
    pub source: Option<String>,
    /// The permissions of the files as octal digits: `"0640"`. Default: those each has; for a new one `"0644"`, `"0600"`
    /// where its content is secret, `"0755"` where the local file may be executed.
    #[serde(default)]
    pub mode: Option<String>,
    /// The permissions of folders that are made. Default: `"0755"`.
    #[serde(default)]
    pub directory_mode: Option<String>,
    /// The owner of the files and of folders that are made, by name or number. Default: the one each has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one each has.
    #[serde(default)]
    pub group: Option<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A content that is wanted.
enum Content {
    Bytes { bytes: Vec<u8>, executable: bool },
    Secret(Secret),
    Unknown(Unknown),
}

/// The files.
struct Files {
    host: Host,
    path: String,
    become_: Option<Become>,
    ownership: Ownership,
    directory_mode: String,
    contents: BTreeMap<String, Content>,
}

/// Brings files to their wanted state.
pub(super) fn files(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: FilesOptions = options(call, "files", map)?;
    all(host, options).map_err(fail)
}

fn all(host: &Host, options: FilesOptions) -> Result<ScriptMap> {
    let files = Arc::new(Files::new(host, options)?);
    let outcome = ensure(&files)?;
    files.believe(&outcome)?;
    Ok(outcome::to_map(outcome))
}

impl Files {
    fn new(host: &Host, options: FilesOptions) -> Result<Self> {
        let refuse = |what: &str, help: &str| Err(Error::new(Class::Script, format!("`files`: {what}")).help(help));
        let path = probe::normal_path("path", &options.path)?;
        let contents = match (options.files, options.source) {
            (Some(files), None) => files.into_iter().map(|(name, content)| (name, Content::of(content))).collect(),
            (None, Some(source)) => local_files(host, &source)?,
            (Some(_), Some(_)) => {
                return refuse("`files` and `source` both say what they are", "leave out one of them");
            }
            (None, None) => return refuse("option `files` is missing", "say what they are, or `source: \"folder\"`"),
        };
        if let Some(name) = contents.keys().find(|name| !is_name(name)) {
            let help = "names are relative to `path`, without `..`: \"conf.d/app.conf\"";
            return refuse(&format!("{name:?} is no name of a file below {path}"), help);
        }
        let directory_mode = options.directory_mode.as_deref().map(probe::parse_mode).transpose()?.unwrap_or(0o755);
        Ok(Files {
            host: host.clone(),
            path,
            become_: host.whom(options.become_.as_ref()),
            ownership: Ownership::parse(options.mode.as_deref(), options.owner, options.group)?,
            directory_mode: probe::show_mode(directory_mode),
            contents,
        })
    }

    fn cell_of(&self, name: &str) -> Cell {
        self.host.path_cell(&format!("{}/{name}", self.path.trim_end_matches('/')))
    }

    /// What this dry run has planned for one of them by other means.
    fn planned(&self, name: &str) -> Result<Option<State>> {
        let cell = self.cell_of(name);
        scope::with(|branch| {
            let declared = branch.overlay.declared_unknown(&cell).cloned().map(State::Unknown);
            declared.or_else(|| branch.overlay.cell(&cell).map(|planned| planned.state.clone()))
        })
    }

    /// Puts what is planned in place of what is there.
    fn with_planned(&self, mut found: Map) -> Result<Map> {
        for name in self.contents.keys() {
            match self.planned(name)? {
                None => {}
                Some(State::Absent) => drop(found.remove(name)),
                Some(State::Unknown(unknown)) => drop(found.insert(name.clone(), Value::Unknown(unknown))),
                Some(State::Here(Value::Map(mut file))) => {
                    match file.remove("content") {
                        Some(Value::Text(text)) => {
                            file.insert("sha256".to_owned(), Value::Text(sha256(text.as_bytes())))
                        }
                        Some(Value::Secret(secret)) => file.insert("sha256".to_owned(), hidden_sum(&secret)),
                        Some(Value::Unknown(unknown)) => file.insert("sha256".to_owned(), Value::Unknown(unknown)),
                        _ => None,
                    };
                    file.remove("size");
                    found.insert(name.clone(), Value::Map(file));
                }
                Some(State::Here(_)) => {}
            }
        }
        Ok(found)
    }

    fn check_kind(&self, name: &str, file: &Map) -> Result<()> {
        let Some(kind) = file.get("kind").and_then(Value::as_text) else { return Ok(()) };
        let what = match kind {
            "directory" => "a folder",
            "link" => "a symbolic link",
            _ => "no file but a device, a pipe or a socket",
        };
        Err(Error::new(Class::Conflict, format!("{}: {name} is {what}", self.address()))
            .help("remove it with `file` or `directory` and `absent: true` if that is meant"))
    }

    fn wanted(&self, name: &str, content: &Content, have: Option<&Value>) -> Result<Value> {
        let mut file = match have {
            Some(Value::Map(file)) => file.clone(),
            _ => Map::new(),
        };
        self.check_kind(name, &file)?;
        let is_new = have.is_none();
        let sum = match content {
            Content::Bytes { bytes, .. } => Value::Text(sha256(bytes)),
            Content::Secret(secret) => hidden_sum(secret),
            Content::Unknown(unknown) if unknown.is_spent() && file.contains_key("sha256") => file["sha256"].clone(),
            Content::Unknown(unknown) => Value::Unknown(unknown.clone()),
        };
        file.insert("sha256".to_owned(), sum);
        self.ownership.put(&mut file);
        if is_new {
            file.entry("mode".to_owned()).or_insert_with(|| Value::from(content.new_mode()));
        }
        Ok(Value::Map(file))
    }

    /// Lets the rest of a dry run see each of them.
    fn believe(&self, outcome: &Outcome) -> Result<()> {
        if outcome.changed == Changed::No || !scope::is_planning()? {
            return Ok(());
        }
        let before = outcome.before.here();
        for (name, content) in &self.contents {
            let Some(Value::Map(file)) = outcome.after.here().and_then(|after| after.get(name)) else { continue };
            if before.and_then(|before| before.get(name)) == Some(&Value::Map(file.clone())) {
                continue;
            }
            let mut file = file.clone();
            if let Some(content) = content.shown() {
                file.remove("sha256");
                file.insert("content".to_owned(), content);
            }
            let (cell, address) = (self.cell_of(name), self.address());
            scope::with(|branch| branch.overlay.put(cell, State::Here(Value::Map(file)), &address))?;
        }
        Ok(())
    }

    /// Those of which something differs.
    fn pieces(&self, difference: &Difference) -> Result<Vec<Piece<'_>>> {
        let mut pieces = Vec::new();
        for (name, content) in &self.contents {
            let (found, Some(Value::Map(wanted))) = (difference.found(name), difference.wanted(name)) else { continue };
            if found.is_some_and(|found| {
                let (found, wanted) = (State::Here(found.clone()), State::Here(Value::Map(wanted.clone())));
                Difference::between(&found, &wanted).is_none()
            }) {
                continue;
            }
            let bytes = match content {
                Content::Bytes { bytes, .. } => bytes.as_slice(),
                Content::Secret(secret) => secret.expose().as_bytes(),
                Content::Unknown(unknown) => return Err(unknown.needed(&self.address())),
            };
            let text = |key: &str| wanted.get(key).and_then(Value::as_text).map(str::to_owned);
            let mode = text("mode").unwrap_or_else(|| content.new_mode().to_owned());
            pieces.push(Piece { name, bytes, mode, owner: text("owner"), group: text("group") });
        }
        Ok(pieces)
    }
}

impl Content {
    fn of(content: Maybe<TextOrSecret>) -> Self {
        match content {
            Maybe::Unknown(unknown) => Content::Unknown(unknown),
            Maybe::Known(TextOrSecret::Secret(secret)) => Content::Secret(secret),
            Maybe::Known(TextOrSecret::Text(text)) => Content::Bytes { bytes: text.into_bytes(), executable: false },
        }
    }

    fn new_mode(&self) -> &'static str {
        match self {
            Content::Bytes { executable: true, .. } => "0755",
            Content::Secret(_) => "0600",
            _ => "0644",
        }
    }

    /// As a file's state has it; the hash stands for what is large or no text.
    fn shown(&self) -> Option<Value> {
        match self {
            Content::Bytes { bytes, .. } if bytes.len() <= probe::MAX_CONTENT => {
                std::str::from_utf8(bytes).ok().map(Value::from)
            }
            Content::Bytes { .. } => None,
            Content::Secret(secret) => Some(Value::Secret(secret.clone())),
            Content::Unknown(unknown) => Some(Value::Unknown(unknown.clone())),
        }
    }
}

/// The hash of a secret does not show either: short ones could be guessed by it.
fn hidden_sum(secret: &Secret) -> Value {
    Value::Secret(Secret::new(sha256(secret.expose().as_bytes())))
}

/// Names that no shell and no tool takes for something else.
fn is_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(part) && !name.contains(['\n', '\r', '\0', '\\'])
}

/// The files below a local folder.
fn local_files(host: &Host, source: &str) -> Result<BTreeMap<String, Content>> {
    let root = host.ssh().root.join(source);
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(below) = left.pop() {
        let folder = root.join(&below);
        let failed = |path: &Path, error: std::io::Error| {
            let path = path.strip_prefix(&host.ssh().root).unwrap_or(path);
            Error::new(Class::InputMissing, format!("{}: cannot be read", path.display()))
                .cause(error)
                .help("`source` is a local folder, relative to the project")
        };
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let path = entry.map_err(|error| failed(&folder, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
                Error::new(Class::InputMissing, format!("{}: its name is no text", path.display())).help("rename it")
            })?;
            let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let is_link = path.is_symlink();
            if path.is_dir() && !is_link {
                left.push(name);
            } else if path.is_dir() {
                return Err(Error::new(
                    Class::InputMissing,
                    format!("{source}/{name}: is a symbolic link to a folder"),
                )
                .help("put a folder in its place: links to folders are not followed"));
            } else {
                let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
                found.insert(name, Content::Bytes { bytes, executable: is_executable(&path) });
            }
        }
    }
    Ok(found)
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|known| known.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    false
}

impl Fact for Files {
    fn address(&self) -> String {
        format!("{}:files:{}", self.host.name(), self.path)
    }

    fn cell(&self) -> Cell {
        self.host.cell(format!("files:{}", self.path))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if let Some(unknown) = self.host.unknown()
            && scope::is_planning()?
        {
            return Ok(State::Unknown(unknown.part(&self.path)));
        }
        let names: Vec<&str> = self.contents.keys().map(String::as_str).collect();
        let output = self.host.probe(reader, &bundle::question(&self.path, &names), self.become_.as_ref())?;
        if !output.success() {
            return Err(self.host.refusal(&format!("{} cannot be read", self.path), &output));
        }
        let found = bundle::parse(&output.stdout_text(), self.ownership.by_number()).map_err(|what| {
            Error::new(Class::Failed, format!("{}: files cannot be read", self.address()))
                .cause(what)
                .help("the words are the host's own: put right what they name; if root may read them: `become: true`")
        })?;
        let found = self.with_planned(found)?;
        Ok(if found.is_empty() { State::Absent } else { State::Here(Value::Map(found)) })
    }

    fn stands_on(&self) -> Option<&str> {
        self.host.stands_on()
    }

    fn imagined(&self) -> State {
        super::mechanism::image::imagined(&self.host, &self.path)
    }
}

impl Resource for Files {
    fn want(&self, have: &State) -> Result<State> {
        let found = have.here();
        let mut want = Map::new();
        for (name, content) in &self.contents {
            want.insert(name.clone(), self.wanted(name, content, found.and_then(|found| found.get(name)))?);
        }
        Ok(if want.is_empty() { State::Absent } else { State::Here(Value::Map(want)) })
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let pieces = self.pieces(difference)?;
        let bytes = bundle::pack(&pieces).map_err(|error| {
            Error::new(Class::Failed, format!("{}: the files cannot be bundled", self.address()))
                .cause(error)
                .help("shorten the names that are longest")
        })?;
        let script = bundle::script(&self.path, &pieces, &self.directory_mode, &self.ownership);
        let command = Command::script(script).stdin(bytes).become_(self.become_.clone());
        let output = self.host.exec(command.called(format!("write files below {}", self.path)), None, writer)?;
        if output.success() {
            return Ok(Map::new());
        }
        Err(self.host.refusal(&format!("files below {} were not changed", self.path), &output))
    }
}
