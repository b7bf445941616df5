//! Clusters: made by their first node, joined by the others. Both are for `root@pam` itself, logged in with a password.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Proxmox, REALM, TASK_TIMEOUT, integer};
use crate::clients::proxmox::{Params, Trust, Upid, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::args::{self, TextOrSecret};

/// How long a cluster, or a member, may take to show.
const PATIENCE: Duration = Duration::from_secs(180);

/// A cluster as it should be. Neither its name nor its addresses can change later.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterOptions {
    /// Its name, 15 characters at the most.
    pub name: String,
    /// The address of the first node on the network of the cluster.
    pub link0: String,
}

/// A member of a cluster as it should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberOptions {
    /// The name of the node that is to join.
    pub node: String,
    /// Its address on the network of the cluster.
    pub link0: String,
    /// The password of `root@pam` on the member that it joins.
    pub password: TextOrSecret,
    /// How long the cluster may take to see it. Default: 3 minutes.
    #[serde(default = "three_minutes")]
    pub timeout: args::Duration,
}

fn three_minutes() -> args::Duration {
    args::Duration(PATIENCE)
}

pub(super) fn rows(pve: &Proxmox, reader: &Reader, path: &str) -> Result<Vec<Json>> {
    let answer = pve.get_now(reader, path, &Params::new())?;
    Ok(answer.as_array().cloned().unwrap_or_default())
}

pub(super) fn text<'a>(row: &'a Json, key: &str) -> &'a str {
    row.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// The cluster that a node is in.
pub(super) fn cluster_of(pve: &Proxmox, reader: &Reader) -> Result<Option<Json>> {
    let rows = rows(pve, reader, "/cluster/status")?;
    Ok(rows.into_iter().find(|row| text(row, "type") == "cluster"))
}

/// Whether a node has an address. Proxmox believes any, and makes a cluster that nobody can join.
pub(super) fn check_address(pve: &Proxmox, reader: &Reader, node: &str, address: &str) -> Result<Option<String>> {
    let interfaces = rows(pve, reader, &format!("/nodes/{}/network", segment(node)))?;
    let bare = |row: &Json, key: &str| text(row, key).split('/').next().unwrap_or_default().to_owned();
    let known: Vec<String> = interfaces
        .iter()
        .flat_map(|row| [bare(row, "cidr"), bare(row, "cidr6"), bare(row, "address"), bare(row, "address6")])
        .filter(|known| !known.is_empty())
        .collect();
    if known.iter().any(|known| known == address) {
        return Ok(None);
    }
    Ok(Some(format!("{node} has not the address {address}, but {}", known.join(", "))))
}

/// Waits for something to be so. Errors on the way are part of it: nodes restart what answers.
fn wait_for(what: &str, patience: Duration, look: impl Fn(&Reader) -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    loop {
        let reader = Reader::default();
        let seen = look(&reader);
        match seen {
            Ok(true) => return Ok(()),
            Err(error)
                if !matches!(error.class(), Class::Unreachable | Class::Timeout | Class::Auth | Class::Failed) =>
            {
                return Err(error);
            }
            seen if began.elapsed() > patience => {
                let error = Error::new(Class::Timeout, format!("{what} within {} s", patience.as_secs()));
                return Err(seen
                    .err()
                    .into_iter()
                    .fold(error, |error, last| error.cause(last.message()))
                    .help("`pvecm status` and `journalctl -u corosync -u pve-cluster` on the node tell more"));
            }
            _ => reader.wait(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            })?,
        }
    }
}

/// A cluster, seen from its first node.
struct Cluster {
    pve: Proxmox,
    options: ClusterOptions,
}

/// Brings a cluster about.
pub(super) fn cluster(pve: &Proxmox, options: ClusterOptions) -> Result<ScriptMap> {
    if options.name.len() > 15 {
        return Err(Error::new(Class::Script, format!("`cluster`: `{}` is longer than 15 characters", options.name))
            .help("corosync takes no longer name; it can never be changed, so choose well"));
    }
    ensure(&Arc::new(Cluster { pve: pve.clone(), options })).map(outcome::to_map)
}

impl Cluster {
    /// Before it is made: the address must be one that the node has.
    fn check_first(&self, reader: &Reader) -> Result<()> {
        let status = rows(&self.pve, reader, "/cluster/status")?;
        let Some(own) = status.iter().find(|row| text(row, "type") == "node") else { return Ok(()) };
        match check_address(&self.pve, reader, text(own, "name"), &self.options.link0)? {
            None => Ok(()),
            Some(wrong) => Err(Error::new(Class::Blocked, format!("{}: cannot be made there", self.address()))
                .cause(wrong)
                .help("give the node's own address in the network of the cluster as `link0`")),
        }
    }
}

impl Fact for Cluster {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("cluster:{}", self.options.name))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        reader.touch("/cluster/config");
        let Some(found) = cluster_of(&self.pve, reader)? else {
            self.check_first(reader)?;
            return Ok(State::Absent);
        };
        Ok(State::Here(Value::Map(Map::from([("name".to_owned(), Value::text(text(&found, "name")))]))))
    }
}

impl Resource for Cluster {
    fn want(&self, have: &State) -> Result<State> {
        let found = have.here().and_then(|have| have.get("name")).and_then(Value::as_text);
        if let Some(other) = found.filter(|found| *found != self.options.name) {
            return Err(Error::new(Class::Conflict, format!("{}: the node is in the cluster {other}", self.address()))
                .help(
                    "a cluster keeps its name, and a node leaves one only when it is installed anew: correct the name",
                ));
        }
        Ok(State::Here(Value::Map(Map::from([("name".to_owned(), Value::text(&self.options.name))]))))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let refused = |error: Error| error.context(format!("{}: cannot be made", self.address()));
        let params = Params::new().with("clustername", &self.options.name).with("link0", &self.options.link0);
        self.pve.post_task("/cluster/config", &params, TASK_TIMEOUT, writer).map_err(refused)?;
        // The node goes on for some seconds to tell that it is alone.
        wait_for("the cluster does not show", PATIENCE, |reader| Ok(cluster_of(&self.pve, reader)?.is_some()))
            .map_err(refused)?;
        Ok(Map::new())
    }
}

/// A member of a cluster, seen from another one.
pub(super) struct Member {
    pub(super) first: Proxmox,
    pub(super) joiner: Proxmox,
    pub(super) options: MemberOptions,
}

/// Brings a node into a cluster.
pub(super) fn member(first: &Proxmox, joiner: &Proxmox, options: MemberOptions) -> Result<ScriptMap> {
    ensure(&Arc::new(Member { first: first.clone(), joiner: joiner.clone(), options })).map(outcome::to_map)
}

impl Member {
    pub(super) fn node_path(&self, below: &str) -> String {
        format!("/nodes/{}/{below}", segment(&self.options.node))
    }

    /// Whether the cluster has the node, and sees it.
    fn seen(&self, reader: &Reader) -> Result<Option<(String, bool)>> {
        let members = rows(&self.first, reader, "/cluster/config/nodes")?;
        let is_it = |row: &&Json| [text(row, "name"), text(row, "node")].contains(&self.options.node.as_str());
        let Some(member) = members.iter().find(is_it) else { return Ok(None) };
        let status = rows(&self.first, reader, "/cluster/status")?;
        let own = status.iter().find(|row| text(row, "type") == "node" && text(row, "name") == self.options.node);
        let online = own.and_then(|row| row.get("online")).and_then(integer) == Some(1);
        Ok(Some((text(member, "ring0_addr").to_owned(), online)))
    }

    /// Why the join has failed, as far as the node still tells.
    fn failure(&self, reader: &Reader, upid: &Upid) -> Option<Error> {
        let ask = |below: &str| {
            let path = self.node_path(&format!("tasks/{}/{below}", segment(&upid.to_string())));
            self.joiner.get_now(reader, &path, &Params::new()).ok()
        };
        let status = ask("status")?;
        if text(&status, "status") != "stopped" || text(&status, "exitstatus") == "OK" {
            return None;
        }
        let error = Error::new(Class::Failed, format!("{}: the join has failed", self.address()));
        let log = ask("log").unwrap_or_default();
        let lines = log.as_array().into_iter().flatten().map(|row| text(row, "t")).filter(|line| !line.is_empty());
        Some(lines.fold(error, Error::cause).help(
            "put right what the node says; should it be a member that never comes online: power it off, `pvecm delnode` on \
             another member, and install it anew. Nothing here forces a join",
        ))
    }

    /// What the node tells of a join that goes on, as far as it still does.
    fn last_words(&self, reader: &Reader, upid: Option<&Upid>) -> Option<String> {
        let path = self.node_path(&format!("tasks/{}/log", segment(&upid?.to_string())));
        // Where it does not answer the cluster may: a member's tasks are told by all.
        let ask = |pve: &Proxmox| pve.get_now(reader, &path, &Params::new()).ok();
        let log = ask(&self.joiner).or_else(|| ask(&self.first))?;
        let mut lines = log.as_array()?.iter().map(|row| text(row, "t")).filter(|line| !line.is_empty());
        lines.next_back().map(|line| format!("the node: {line}"))
    }

    /// Whether the node's own API is back, with the certificate that the cluster has made for it.
    fn is_back(&self, reader: &Reader) -> Result<bool> {
        let join = self.first.get_now(reader, "/cluster/config/join", &Params::new())?;
        let nodes = join.get("nodelist").and_then(Json::as_array).into_iter().flatten();
        let own = nodes.into_iter().find(|row| text(row, "name") == self.options.node);
        let Some(fingerprint) = own.map(|row| text(row, "pve_fp")).filter(|pin| !pin.is_empty()) else {
            return Ok(false);
        };
        let client = self.joiner.client().with_trust(Trust::Fingerprints(vec![fingerprint.to_owned()]))?;
        // A client of its own, and so a connection of its own: those that are there may be to what is about to end.
        reader.wait(async { Ok(client.get("/version", &Params::new()).await.is_ok()) })
    }

    /// Judged by the member that is there: the joining node changes its certificate and its users, and drops whoever asks.
    fn wait_for_it(&self, upid: Option<&Upid>) -> Result<()> {
        let failed = std::cell::RefCell::new(None);
        wait_for("the cluster does not see the node", self.options.timeout.0, |reader| {
            if let Some((_, true)) = self.seen(reader)? {
                let cluster = cluster_of(&self.first, reader)?;
                let is_quorate = cluster.is_some_and(|row| row.get("quorate").and_then(integer) == Some(1));
                return Ok(is_quorate && self.is_back(reader)?);
            }
            *failed.borrow_mut() = upid.and_then(|upid| self.failure(reader, upid));
            Ok(failed.borrow().is_some())
        })
        .map_err(|error| {
            let words = self.last_words(&Reader::default(), upid);
            words.into_iter().fold(error, Error::cause).context(format!("{}: has not joined", self.address()))
        })?;
        failed.into_inner().map_or(Ok(()), Err)
    }
}

impl Fact for Member {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("member:{}", self.options.node))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        reader.touch("/cluster/config");
        match self.seen(reader)? {
            Some((address, online)) => Ok(State::Here(Value::Map(Map::from([
                ("link0".to_owned(), Value::Text(address)),
                ("online".to_owned(), Value::Bool(online)),
            ])))),
            None => self.check_joiner(reader).map(|()| State::Absent),
        }
    }
}

impl Resource for Member {
    fn want(&self, have: &State) -> Result<State> {
        let wrong = |class: Class, what: String| Error::new(class, format!("{}: {what}", self.address()));
        if let Some(have) = have.here() {
            if have.get("online") == Some(&Value::Bool(false)) {
                return Err(wrong(Class::Blocked, "is a member that the cluster does not see".into()).help(
                    "start it, and look at `pvecm status` there; if its join was cut off half-way, it is taken out by hand: power \
                     it off, `pvecm delnode` on another member, install it anew",
                ));
            }
            let link0 = have.get("link0").and_then(Value::as_text).unwrap_or_default();
            if link0 != self.options.link0 {
                return Err(wrong(
                    Class::UnsafeDrift,
                    format!("is a member by {link0}, not by {}", self.options.link0),
                )
                .help("the address of a member cannot change: correct the table, or edit corosync.conf by hand"));
            }
        }
        Ok(State::Here(Value::Map(Map::from([
            ("link0".to_owned(), Value::text(&self.options.link0)),
            ("online".to_owned(), Value::Bool(true)),
        ]))))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let refused = |error: Error| error.context(format!("{}: cannot join", self.address()));
        let join = self.first.get_now(&Reader::default(), "/cluster/config/join", &Params::new()).map_err(refused)?;
        let preferred = text(&join, "preferred_node");
        let known = join.get("nodelist").and_then(Json::as_array).into_iter().flatten();
        let target = known.into_iter().find(|row| text(row, "name") == preferred);
        let target = target.ok_or_else(|| {
            refused(super::handle::nonsense(self.first.place(), "/cluster/config/join", "node to be joined"))
        })?;
        let params = Params::new()
            .with("hostname", text(target, "pve_addr"))
            .with("fingerprint", text(target, "pve_fp"))
            .with("password", self.options.password.expose())
            .with("link0", &self.options.link0);
        let answer =
            scope::wait(async { Ok(self.joiner.client().post("/cluster/config/join", &params, writer).await) })?;
        let upid = match answer {
            Ok(answer) => Some(Upid::of(&answer).map_err(refused)?),
            // The join cuts the connections of the node, at times this one first.
            Err(failure) if matches!(failure.class(), Class::Unreachable | Class::Timeout) => None,
            Err(failure) => return Err(refused(failure.into())),
        };
        self.wait_for_it(upid.as_ref())?;
        Ok(Map::new())
    }
}
