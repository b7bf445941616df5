//! Files on this machine.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Dynamic, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::REALM;
use crate::error::{Class, Error, Result};
use crate::inputs::formats::hash::sha256;
use crate::primitives::flow::outcome;
use crate::primitives::inputs::Inputs;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::secret::Secret;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{Maybe, TextOrSecret};
use crate::script::context::{Context, options};
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// A file as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileOptions {
    /// Its path: below the project, or absolute, or `~/…`. Missing folders above it are made.
    pub path: String,
    /// Its whole content. Required unless `absent`.
    #[serde(default)]
    pub content: Option<Maybe<TextOrSecret>>,
    /// Its mode in octal digits. Default: the mode it has; a new file gets `"0644"`, one with a secret `"0600"`.
    #[serde(default)]
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    pub mode: Option<String>,
    /// Whether it should not exist. Default: false.
    #[serde(default)]
    pub absent: bool,
}

/// The cell of a path on this machine.
pub fn cell(path: &Path) -> Cell {
    Cell::new(REALM, format!("file:{}", path.display()))
}

/// A file as it reads: its text (or the checksum of one that is no text) and its mode.
pub struct LocalFile {
    path: PathBuf,
    name: String,
    is_table: bool,
}

impl LocalFile {
    /// The file at a path.
    pub fn new(inputs: &Inputs, path: PathBuf) -> Self {
        LocalFile { name: inputs.name(&path), path, is_table: false }
    }
}

impl Fact for LocalFile {
    fn address(&self) -> String {
        format!("local:file:{}", self.name)
    }

    fn cell(&self) -> Cell {
        cell(&self.path)
    }

    fn is_alterable(&self) -> bool {
        // Tables are written by people, and row by row by records, of which a dry run knows.
        !self.is_table
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        let unreadable = |error: io::Error| {
            Error::new(Class::InputMissing, format!("{}: cannot be read", self.name))
                .cause(error)
                .help(format!("look at it: ls -ld {}", self.path.display()))
        };
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(State::Absent),
            Err(error) => return Err(unreadable(error)),
        };
        let mode = ("mode".to_owned(), Value::Text(format!("{:04o}", found.permissions().mode() & 0o7777)));
        if found.is_dir() {
            return Ok(State::Here(Value::Map(Map::from([("directory".to_owned(), Value::Bool(true)), mode]))));
        }
        let bytes = fs::read(&self.path).map_err(unreadable)?;
        let content = match String::from_utf8(bytes) {
            Ok(text) => ("content".to_owned(), Value::Text(text)),
            Err(error) => ("sha256".to_owned(), Value::Text(sha256(error.as_bytes()))),
        };
        Ok(State::Here(Value::Map(Map::from([content, mode]))))
    }
}

/// Whether an error says that there is nothing at a path.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text of a file as scripts see it: `()` where there is none.
pub(super) fn read(call: &NativeCallContext<'_>, path: &str) -> RhaiResult<Dynamic> {
    let inputs = Context::service::<Inputs>(call)?;
    text_of(&inputs, path).map(|text| to_dynamic(&text)).map_err(fail)
}

/// The text of a file: null where there is none, unknown where only the real run will tell.
pub fn text_of(inputs: &Inputs, path: &str) -> Result<Value> {
    read_text(inputs, LocalFile::new(inputs, inputs.path(path)?))
}

/// The same for a file with tables.
pub fn text_with_tables(inputs: &Inputs, path: &str) -> Result<Value> {
    read_text(inputs, LocalFile { is_table: true, ..LocalFile::new(inputs, inputs.path(path)?) })
}

fn read_text(inputs: &Inputs, file: LocalFile) -> Result<Value> {
    inputs.note_read(&file.path);
    match ensure::read(&file)? {
        State::Here(Value::Map(mut map)) => map.remove("content").ok_or_else(|| {
            Error::new(Class::InputMissing, format!("{}: is no UTF-8 text", file.name)).help("name a text file")
        }),
        other => Ok(other.into_value()),
    }
}

/// Whether there is something at a path, as scripts see it.
pub(super) fn exists(call: &NativeCallContext<'_>, path: &str) -> RhaiResult<Dynamic> {
    let inputs = Context::service::<Inputs>(call)?;
    let path = inputs.path(path).map_err(fail)?;
    inputs.note_read(&path);
    Ok(match ensure::read(&LocalFile::new(&inputs, path)).map_err(fail)? {
        State::Absent => Dynamic::FALSE,
        State::Here(_) => Dynamic::TRUE,
        State::Unknown(unknown) => Dynamic::from(unknown),
    })
}

/// Brings a file to its wanted state.
pub(super) fn ensure_file(call: &NativeCallContext<'_>, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: FileOptions = options(call, "local::file", map)?;
    let inputs = Context::service::<Inputs>(call)?;
    let resource = Managed::new(&inputs, options).map_err(fail)?;
    ensure::ensure(&Arc::new(resource)).map(outcome::to_map).map_err(fail)
}

struct Managed {
    file: LocalFile,
    content: Option<Value>,
    mode: Option<String>,
    absent: bool,
}

impl Managed {
    fn new(inputs: &Inputs, options: FileOptions) -> Result<Self> {
        let file = LocalFile::new(inputs, inputs.path(&options.path)?);
        if options.content.is_none() && !options.absent {
            return Err(Error::new(Class::Script, format!("{}: needs its `content`", file.address()))
                .help("give it `content: \"…\"`, or `absent: true` if it should not exist"));
        }
        let mode = options.mode.map(|mode| format!("{mode:0>4}"));
        let content = options.content.map(|content| content.into_value(TextOrSecret::into_value));
        Ok(Managed { file, content, mode, absent: options.absent })
    }

    fn is_secret(&self) -> bool {
        matches!(self.content, Some(Value::Secret(_)))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::new(Class::Failed, format!("{}: cannot be written", self.file.address())).cause(error)
    }

    /// Writes beside the file and moves it into place, so that nobody ever sees half of it.
    fn write(&self, content: &str, mode: u32) -> io::Result<()> {
        write_atomically(&self.file.path, content, mode)
    }
}

/// Writes a file beside its place and moves it there.
pub fn write_atomically(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".homelab-").tempfile_in(folder)?;
    file.write_all(content.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

impl Fact for Managed {
    fn address(&self) -> String {
        self.file.address()
    }

    fn cell(&self) -> Cell {
        self.file.cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let link = fs::symlink_metadata(&self.file.path).is_ok_and(|found| found.is_symlink());
        if link {
            return Err(Error::new(Class::UnsafeDrift, format!("{}: is a symbolic link", self.address()))
                .help("name the file that it leads to, or remove the link"));
        }
        let mut state = self.file.read(reader)?;
        if let State::Here(Value::Map(map)) = &mut state {
            if map.contains_key("directory") {
                return Err(Error::new(Class::Conflict, format!("{}: is a folder", self.address()))
                    .help("choose another path, or remove the folder"));
            }
            // What stands where a secret belongs is taken for one. The very secret that belongs there is known already.
            if let Some(Value::Text(text)) = map.get("content").filter(|_| self.is_secret()) {
                let secret = match &self.content {
                    Some(Value::Secret(own)) if own.expose() == text => own.clone(),
                    _ => crate::run::scope::run()
                        .map_or_else(|_| Secret::new(text.as_str()), |run| run.redactor.secret(text)),
                };
                map.insert("content".to_owned(), Value::Secret(secret));
            }
        }
        Ok(state)
    }
}

impl Resource for Managed {
    fn want(&self, have: &State) -> Result<State> {
        let Some(content) = self.content.as_ref().filter(|_| !self.absent) else { return Ok(State::Absent) };
        let now = have.here().and_then(|have| have.get("mode")).and_then(Value::as_text).map(str::to_owned);
        let usual = if self.is_secret() { "0600" } else { "0644" };
        let mode = self.mode.clone().or(now).unwrap_or_else(|| usual.to_owned());
        Ok(State::Here(Value::Map(Map::from([
            ("content".to_owned(), content.clone()),
            ("mode".to_owned(), Value::Text(mode)),
        ]))))
    }

    fn change(&self, difference: &Difference, _writer: &Writer) -> Result<Map> {
        let Some(want) = difference.want.here() else {
            fs::remove_file(&self.file.path).map_err(|error| self.failed(error))?;
            return Ok(Map::new());
        };
        let content = match want.get("content") {
            Some(Value::Text(text)) => text.as_str(),
            Some(Value::Secret(secret)) => secret.expose(),
            _ => "",
        };
        let mode = want.get("mode").and_then(Value::as_text).and_then(|mode| u32::from_str_radix(mode, 8).ok());
        self.write(content, mode.unwrap_or(0o600)).map_err(|error| self.failed(error))?;
        Ok(Map::new())
    }
}
