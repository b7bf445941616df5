//! Local files of any size that are sent to a host.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::bulk::{self, Sum};
use super::mechanism::entry::{self, Entry, Stands};
use super::mechanism::ownership::Ownership;
use super::mechanism::probe;
use super::mechanism::replace::{self, Replace};
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::{Cell, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A file that is sent. Its content is compared by its hash first.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadOptions {
    /// The local file, of any size; relative to the project.
    pub source: String,
    /// The path on the host, absolute.
    pub path: String,
    /// The permissions as octal digits: `"0755"`. Default: those it has, `"0644"` for a new file.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner, by name or number. Default: the one it has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one it has.
    #[serde(default)]
    pub group: Option<String>,
    /// A command that says whether the content is sound, with `%s` for the path of the new file, before it takes its
    /// place. Default: none.
    #[serde(default)]
    pub validate: Option<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// How much is sent at once, and held in memory: 4 MiB.
const PIECE: u64 = 4 << 20;

/// A local file on a host.
struct Upload {
    entry: Entry,
    ownership: Ownership,
    validate: Option<String>,
    source: String,
    local: PathBuf,
    sum: Sum,
}

/// Sends a file.
pub(super) fn upload(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: UploadOptions = options(call, "upload", map)?;
    let upload = Upload::new(host, options).map_err(fail)?;
    ensure(&Arc::new(upload)).map(outcome::to_map).map_err(fail)
}

/// Hash and size of a file, which is not held in memory.
fn sum_of(path: &Path) -> std::io::Result<Sum> {
    let mut file = BufReader::new(fs::File::open(path)?);
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => {
                hash.update(&buffer[..length]);
                size += length as u64;
            }
        }
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sum { sha256, size: Some(size) })
}

/// Adds a piece to what was begun; nothing is begun anew where somebody took it away.
fn append(path: &str) -> String {
    let path = quote(path);
    format!("[ -f {path} ] || {{ echo {path}': is gone' >&2; exit 1; }}\ncat >> {path}\n")
}

impl Upload {
    fn new(host: &Host, options: UploadOptions) -> Result<Self> {
        let path = probe::normal_path("path", &options.path)?;
        replace::check_validate("upload", options.validate.as_deref())?;
        let ownership = Ownership::parse(options.mode.as_deref(), options.owner, options.group)?;
        let local = host.ssh().root.join(&options.source);
        let cell = Cell::new("local", format!("file:{}", local.display()));
        if let Some(by) = scope::with(|branch| branch.overlay.cell(&cell).map(|planned| planned.by.clone()))? {
            return Err(Error::new(Class::Blocked, format!("`upload`: {} is only planned", options.source))
                .cause(format!("{by} makes it"))
                .help("a dry run cannot compare what is not there yet: run what makes it first, or use `h.file`"));
        }
        let sum = sum_of(&local).map_err(|error| {
            Error::new(Class::InputMissing, format!("{}: cannot be read", options.source))
                .cause(error)
                .help("`source` is a local file, relative to the project")
        })?;
        let entry = bulk::entry_of(host, path, options.become_.as_ref(), &ownership);
        Ok(Upload { entry, ownership, validate: options.validate, source: options.source, local, sum })
    }

    fn local_error(&self, error: std::io::Error) -> Error {
        Error::new(Class::InputMissing, format!("{}: cannot be read", self.source))
            .cause(error)
            .help("nothing was changed")
    }

    /// Sends it piece by piece, beside the file. Gives where it lies there.
    fn send(&self, writer: &Writer) -> Result<String> {
        let path = self.entry.path();
        let beside = format!("{}.homelab-upload-", quote(path));
        // What a connection that broke has left of an earlier try is of no use to anybody.
        let begin = format!("rm -f -- {beside}?????? || exit 1\nmktemp {beside}XXXXXX\n");
        let host = &self.entry.host;
        let exec = |script: String, bytes: Vec<u8>| {
            let command = Command::script(script).stdin(bytes).called(format!("send {path}"));
            let output = host.exec(command.become_(self.entry.become_.clone()), None, writer)?;
            if output.success() { Ok(output) } else { Err(host.refusal(&format!("{path} was not changed"), &output)) }
        };
        let new = exec(begin, Vec::new())?.stdout_text().trim_end().to_owned();
        let sent = self.pieces(|bytes| exec(append(&new), bytes).map(drop));
        if let Err(error) = sent {
            // What failed is worth more than that something was left behind.
            let _left = exec(format!("rm -f -- {}\n", quote(&new)), Vec::new());
            return Err(error);
        }
        Ok(new)
    }

    fn pieces(&self, mut send: impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let mut file = fs::File::open(&self.local).map_err(|error| self.local_error(error))?;
        loop {
            let mut piece = Vec::new();
            (&mut file).take(PIECE).read_to_end(&mut piece).map_err(|error| self.local_error(error))?;
            if piece.is_empty() {
                return Ok(());
            }
            send(piece)?;
        }
    }

    /// Puts what was sent into `$new`, if it is all of it.
    fn take(&self, sent: &str) -> String {
        format!(
            r#"sent={sent}
trap 'rm -f -- "$new" "$sent"' EXIT
sum=$(sha256sum < "$sent") || exit 1
if [ "${{sum%% *}}" != {sha256} ]; then echo "what arrived is not what was to be sent: ${{sum%% *}}" >&2; exit 1; fi
if [ -e "$path" ]; then cat "$sent" > "$new" || exit 1; else mv -f -- "$sent" "$new" || exit 1; fi
"#,
            sent = quote(sent),
            sha256 = self.sum.sha256
        )
    }
}

impl Stands for Upload {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn address(&self) -> String {
        format!("{}:upload:{}", self.entry.host.name(), self.entry.path())
    }
}

impl Resource for Upload {
    fn want(&self, have: &State) -> Result<State> {
        if let State::Here(Value::Map(map)) = have {
            entry::check_file(&self.address(), map)?;
        }
        Ok(self.sum.want(have, &self.ownership))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let ownership = bulk::effective(&self.ownership, difference);
        let replace = Replace { validate: self.validate.as_deref(), ..Replace::plain(self.entry.path(), &ownership) };
        let script = match bulk::is_about_content(difference) {
            true => replace.script_with(difference, &self.take(&self.send(writer)?)),
            false => replace.ownership_script(difference),
        };
        let command = Command::script(script).called(format!("upload {}", self.entry.path()));
        replace::carry_out(&self.entry, command, &replace, difference, &self.address(), writer)
    }

    fn fills(&self) -> Vec<String> {
        ["owner", "group"].map(str::to_owned).to_vec()
    }
}
