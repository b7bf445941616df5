//! `/etc/hosts` of a node, as the API edits it: rows are added or put right, all others stay as they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Proxmox, REALM, nonsense};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::session::lock;
use crate::run::value::{Map, State, Value};

/// Rows of `/etc/hosts` of a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostsOptions {
    /// The node.
    pub node: String,
    /// Names by address, the full name first, as in `#{ "10.20.11.12": ["pve-02.home.arpa", "pve-02"] }`. Addresses that are not
    /// said keep their rows.
    pub rows: BTreeMap<String, Vec<String>>,
}

/// The file of a node.
struct Hosts {
    pve: Proxmox,
    options: HostsOptions,
    digest: Mutex<Option<String>>,
}

/// Brings the rows to their wanted state.
pub(super) fn settle(pve: &Proxmox, options: HostsOptions) -> Result<ScriptMap> {
    for (address, names) in &options.rows {
        let is_address = address.parse::<IpAddr>().is_ok();
        let is_name = |name: &String| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#');
        if !is_address || names.is_empty() || !names.iter().all(is_name) {
            return Err(Error::new(Class::Script, format!("`hosts`: `{address}` with {names:?} is no row")).help(
                "a row is an address with its names: `#{ \"10.20.11.12\": [\"pve-02.home.arpa\", \"pve-02\"] }`",
            ));
        }
    }
    ensure(&Arc::new(Hosts { pve: pve.clone(), options, digest: Mutex::default() })).map(outcome::to_map)
}

/// The address and the names of a line, without its comment.
pub(super) fn parts(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    Some((words.next()?, words.collect()))
}

impl Hosts {
    fn path(&self) -> String {
        format!("/nodes/{}/hosts", segment(&self.options.node))
    }

    /// The text with the wanted rows in it.
    fn edited(&self, text: &str) -> Result<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (address, names) in &self.options.rows {
            self.check_names(&lines, address, names)?;
            let row = format!("{address} {}", names.join(" "));
            let same = |line: &str| parts(line).is_some_and(|(found, known)| found == address && known == *names);
            let mut at =
                lines.iter().enumerate().filter(|(_, line)| parts(line).is_some_and(|(found, _)| found == address));
            match (at.next().map(|(at, _)| at), lines.iter().any(|line| same(line))) {
                (_, true) => {}
                (Some(at), false) => lines[at] = row,
                (None, false) => lines.push(row),
            }
        }
        // What needs no change stays to the letter, whatever its last line ends with.
        Ok(if lines.iter().map(String::as_str).eq(text.lines()) { text.to_owned() } else { lines.join("\n") + "\n" })
    }

    /// A name that leads elsewhere, or a row of the node itself that would lose its name, is nobody's to change here: the
    /// cluster finds its nodes by them.
    fn check_names(&self, lines: &[String], address: &str, names: &[String]) -> Result<()> {
        for (found, known) in lines.iter().filter_map(|line| parts(line)) {
            if found == address && known.contains(&self.options.node.as_str()) && !names.contains(&self.options.node) {
                return Err(Error::new(
                    Class::UnsafeDrift,
                    format!("{}: {address} is the node itself", self.address()),
                )
                .cause(format!("its row names {}, which would be lost", self.options.node))
                .help(format!("give the row that name, too: `\"{}\"`", self.options.node)));
            }
            if let Some(name) = names.iter().find(|name| found != address && known.contains(&name.as_str())) {
                return Err(Error::new(Class::Conflict, format!("{}: {name} is {found} already", self.address()))
                    .help(format!(
                        "correct the row on the node (System > Hosts), or the address {address} in the playbook"
                    )));
            }
        }
        Ok(())
    }
}

impl Fact for Hosts {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("hosts:{}", self.options.node))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let path = self.path();
        let answer = self.pve.get_now(reader, &path, &Params::new())?;
        let text = answer.get("data").and_then(Json::as_str);
        let text = text.ok_or_else(|| nonsense(self.pve.place(), &path, "data"))?;
        *lock(&self.digest) = answer.get("digest").and_then(Json::as_str).map(str::to_owned);
        Ok(State::Here(Value::Map(Map::from([("content".to_owned(), Value::text(text))]))))
    }
}

impl Resource for Hosts {
    fn want(&self, have: &State) -> Result<State> {
        let Some(text) = have.here().and_then(|have| have.get("content")).and_then(Value::as_text) else {
            return Ok(have.clone());
        };
        let edited = self.edited(text)?;
        Ok(State::Here(Value::Map(Map::from([("content".to_owned(), Value::Text(edited))]))))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let text = difference.wanted("content").and_then(Value::as_text).unwrap_or_default();
        let mut params = Params::new().with("data", text);
        if let Some(digest) = lock(&self.digest).as_deref() {
            params.push("digest", digest);
        }
        let answer = scope::wait(async { Ok(self.pve.client().post(&self.path(), &params, writer).await) })?;
        answer.map_err(|failure| Error::from(failure).context(format!("{}: cannot be written", self.address())))?;
        Ok(Map::new())
    }
}
