//! Files that a node fetches from the web into a storage: disk images, installers.

use std::sync::Arc;
use std::time::Duration;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Proxmox, REALM};
use super::reads::planned_storage;
use crate::clients::proxmox::{Params, segment};
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::primitives::host::Host;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::args;

/// A file that a node fetches into a storage.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageDownloadOptions {
    /// The storage. It must be one of files that takes this content.
    pub storage: String,
    /// What the file is: `import` (the image of a disk), `iso` or `vztmpl`. Default: `import`.
    #[serde(default = "import")]
    pub content: String,
    /// Its name there. The image of a disk has to end in `.qcow2`, `.raw` or `.vmdk`, whatever it is called on the web.
    pub filename: String,
    /// Where the node fetches it from: `https://` or `http://`.
    pub url: String,
    /// The SHA-256 of its content in hexadecimal digits. Nothing else is ever put in its place.
    pub sha256: String,
    /// Whether a file of that name with another content may be replaced; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
    /// How long fetching may take. Default: 1 hour.
    #[serde(default = "an_hour")]
    pub timeout: args::Duration,
}

fn import() -> String {
    "import".to_owned()
}

fn an_hour() -> args::Duration {
    args::Duration::from_secs(3600)
}

/// How long taking a file away may take.
const REMOVAL: Duration = Duration::from_secs(300);

/// A file on a storage.
struct Download {
    pve: Proxmox,
    /// The node that fetches it. It tells the sum of what is there, which the API does not.
    node: Host,
    options: StorageDownloadOptions,
}

/// Sees to it that a file is on a storage.
pub(super) fn settle(pve: &Proxmox, node: &Host, options: StorageDownloadOptions) -> Result<ScriptMap> {
    let sum = options.sha256.trim_start_matches("sha256:").to_lowercase();
    if sum.len() != 64 || !sum.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Error::new(Class::Script, "`download`: option `sha256` is no SHA-256")
            .help("it has 64 hexadecimal digits, as `sha256sum` prints them"));
    }
    let options = StorageDownloadOptions { sha256: sum, ..options };
    ensure(&Arc::new(Download { pve: pve.clone(), node: node.clone(), options })).map(outcome::to_map)
}

impl Download {
    fn volume(&self) -> String {
        let StorageDownloadOptions { storage, content, filename, .. } = &self.options;
        format!("{storage}:{content}/{filename}")
    }

    fn path(&self, below: &str) -> String {
        format!("/nodes/{}/storage/{}/{below}", segment(self.node.name()), segment(&self.options.storage))
    }

    /// Waits for what an earlier run has begun to fetch.
    fn wait_for_remains(&self, reader: &Reader) -> Result<()> {
        let Some(known) = scope::run()?.left_in_flight(&self.address())? else { return Ok(()) };
        let rows = self.pve.get_now(reader, "/cluster/tasks", &Params::new())?;
        let own = |row: &&Json| {
            let is = |key: &str, text: &str| row.get(key).and_then(Json::as_str) == Some(text);
            row.get("endtime").is_none() && is("type", "download") && is("id", &self.options.filename)
        };
        let found = rows.as_array().into_iter().flatten().filter(own).filter_map(|row| row.get("upid")?.as_str());
        let all: Vec<String> = known.into_iter().chain(found.map(str::to_owned)).collect();
        for upid in all.iter().filter_map(|upid| crate::clients::proxmox::Upid::parse(upid).ok()) {
            let client = self.pve.client();
            // How it ended shows in what is read next.
            let _ended = reader.wait(async { Ok(client.wait_task(&upid, self.options.timeout.0, |_| {}).await) })?;
        }
        Ok(())
    }

    /// The sum of the file, as the node tells it.
    fn sum(&self, reader: &Reader) -> Result<String> {
        let path = self.path(&format!("content/{}", segment(&self.volume())));
        let row = self.pve.get_now(reader, &path, &Params::new())?;
        let file = row.get("path").and_then(Json::as_str).unwrap_or_default().to_owned();
        let output =
            self.node.probe(reader, &format!("sha256sum -- {}", quote(&file)), self.node.whom(None).as_ref())?;
        if !output.success() {
            return Err(self.node.refusal(&format!("the sum of {file} cannot be read"), &output));
        }
        // A name with odd letters is quoted, with a mark in front of the sum.
        let said = output.stdout_text();
        Ok(said.split_whitespace().next().unwrap_or_default().trim_start_matches('\\').to_owned())
    }
}

impl Fact for Download {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("volume:{}", self.volume()))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        // A storage that is only planned may have the file already.
        if let Some(cause) = planned_storage(&self.options.storage)? {
            return Ok(State::Unknown(cause.part(&self.volume())));
        }
        self.wait_for_remains(reader)?;
        let params = Params::new().with("content", &self.options.content);
        let rows = self.pve.get_now(reader, &self.path("content"), &params)?;
        let volume = self.volume();
        let is_it = |row: &Json| row.get("volid").and_then(Json::as_str) == Some(&volume);
        if !rows.as_array().into_iter().flatten().any(is_it) {
            return Ok(State::Absent);
        }
        Ok(State::Here(Value::Map(Map::from([("sha256".to_owned(), Value::Text(self.sum(reader)?))]))))
    }
}

impl Resource for Download {
    fn want(&self, _have: &State) -> Result<State> {
        let sum = Value::text(&self.options.sha256);
        Ok(State::Here(Value::Map(Map::from([("sha256".to_owned(), sum)]))))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let options = &self.options;
        if difference.have != State::Absent {
            let path = self.path(&format!("content/{}", segment(&self.volume())));
            let answer = scope::wait(async { Ok(self.pve.client().delete(&path, &Params::new(), writer).await?) })?;
            self.pve.finish_task(&answer, REMOVAL)?;
        }
        let params = Params::new()
            .with("content", &options.content)
            .with("filename", &options.filename)
            .with("url", &options.url)
            .with("checksum", &options.sha256)
            .with("checksum-algorithm", "sha256")
            .with("verify-certificates", true);
        let fetched = self.pve.post_task(&self.path("download-url"), &params, options.timeout.0, writer);
        fetched.map(|()| Map::new()).map_err(|error| {
            let error = error.context(format!("{}: {} was not fetched", self.address(), options.url));
            match error.help_text() {
                Some(_) => error,
                None => error.help(format!(
                    "nothing was kept. With a wrong checksum, somebody has put another file there: compare it with what its \
                     publisher says before you take it. Else see whether {} reaches the web, and which proxy it needs \
                     (Datacenter > Options)",
                    self.node.name()
                )),
            }
        })
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        let found = difference.found("sha256").and_then(Value::as_text)?;
        let wanted = &self.options.sha256;
        Some(format!("it would replace {}, whose SHA-256 is {found} and not {wanted}", self.volume()))
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }
}
