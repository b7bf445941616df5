//! Folders on this machine.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::LocalFile;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::primitives::inputs::Inputs;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::{Context, options};
use crate::script::failure::fail;

/// A folder as it should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryOptions {
    /// Its path: below the project, or absolute, or `~/…`. Missing folders above it are made.
    pub path: String,
    /// Its mode in octal digits. Default: the mode it has; a new one gets `"0755"`.
    #[serde(default)]
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    pub mode: Option<String>,
    /// Whether it should not exist. Only an empty folder is removed. Default: false.
    #[serde(default)]
    pub absent: bool,
}

/// Brings a folder to its wanted state.
pub(super) fn ensure_directory(call: &NativeCallContext<'_>, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: DirectoryOptions = options(call, "local::directory", map)?;
    let inputs = Context::service::<Inputs>(call)?;
    let path = inputs.path(&options.path).map_err(fail)?;
    let name = inputs.name(&path);
    let resource = Directory { fact: LocalFile::new(&inputs, path.clone()), path, name, options };
    ensure::ensure(&Arc::new(resource)).map(outcome::to_map).map_err(fail)
}

struct Directory {
    fact: LocalFile,
    path: std::path::PathBuf,
    name: String,
    options: DirectoryOptions,
}

impl Directory {
    fn create(&self, mode: u32) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }
}

impl Fact for Directory {
    fn address(&self) -> String {
        format!("local:directory:{}", self.name)
    }

    fn cell(&self) -> Cell {
        self.fact.cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let state = self.fact.read(reader)?;
        let is_file = state.here().is_some_and(|found| found.get("directory").is_none());
        if is_file {
            return Err(Error::new(Class::Conflict, format!("{}: is a file", self.address()))
                .help("choose another path, or remove the file"));
        }
        Ok(state)
    }
}

impl Resource for Directory {
    fn want(&self, have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        let now = have.here().and_then(|have| have.get("mode")).and_then(Value::as_text).map(str::to_owned);
        let asked = self.options.mode.as_ref().map(|mode| format!("{mode:0>4}"));
        let mode = asked.or(now).unwrap_or_else(|| "0755".to_owned());
        Ok(State::Here(Value::Map(Map::from([
            ("directory".to_owned(), Value::Bool(true)),
            ("mode".to_owned(), Value::Text(mode)),
        ]))))
    }

    fn change(&self, difference: &Difference, _writer: &Writer) -> Result<Map> {
        let failed =
            |error: io::Error| Error::new(Class::Failed, format!("{}: cannot be changed", self.address())).cause(error);
        let Some(want) = difference.want.here() else {
            return fs::remove_dir(&self.path)
                .map(|()| Map::new())
                .map_err(|error| failed(error).help("only an empty folder is removed: look at what is in it"));
        };
        let mode = want.get("mode").and_then(Value::as_text).and_then(|mode| u32::from_str_radix(mode, 8).ok());
        self.create(mode.unwrap_or(0o700)).map(|()| Map::new()).map_err(failed)
    }
}
