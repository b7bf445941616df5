//! Bridges of a node. A change waits in a file beside the one in force until it is applied: two calls, so that the second one
//! can stand under a safety net.

use std::sync::Arc;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Proxmox, REALM, TASK_TIMEOUT};
use super::object::{Clears, Kind, Object, Wanted, as_it_is, blanks, flag, number, set_of, switch, text};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::{Action, Level};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// A Linux bridge of a node as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BridgeOptions {
    /// The node.
    pub node: String,
    /// Its name, as in `vmbr0`.
    pub name: String,
    /// The ports that are connected to it, as in `["eno1"]`.
    #[serde(default)]
    pub ports: Option<Vec<String>>,
    /// The node's address on it with its prefix length, as in `192.0.2.11/24`.
    #[serde(default)]
    pub address: Option<String>,
    /// The gateway.
    #[serde(default)]
    pub gateway: Option<String>,
    /// Whether it knows VLANs.
    #[serde(default)]
    pub vlan_aware: Option<bool>,
    /// The VLANs that pass it, as in `[10, 11]`. Default: Proxmox takes all for a new one, which some network cards have no room
    /// for.
    #[serde(default)]
    pub vids: Option<Vec<i64>>,
    /// The largest packet, in bytes.
    #[serde(default)]
    pub mtu: Option<i64>,
    /// Whether it comes up with the node. Default: true for a new one.
    #[serde(default)]
    pub autostart: Option<bool>,
    /// A comment; `""` for none.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether it should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

static BRIDGE: Kind = Kind {
    noun: "bridge",
    settings: &[
        text("type", "type"),
        text("cidr", "cidr"),
        text("gateway", "gateway"),
        text("cidr6", "cidr6"),
        text("gateway6", "gateway6"),
        blanks("ports", "bridge_ports"),
        switch("vlan_aware", "bridge_vlan_aware"),
        blanks("vids", "bridge_vids"),
        number("mtu", "mtu"),
        flag("autostart", "autostart"),
        text("comment", "comments"),
        text("comment6", "comments6"),
    ],
    always: &[],
    fixed: &[],
    filled: &["vids"],
    // What the node makes of the settings, and what a write leaves alone.
    aside: &[
        "active",
        "address",
        "address6",
        "altnames",
        "bridge_fd",
        "bridge_stp",
        "exists",
        "families",
        "iface",
        "link-type",
        "method",
        "method6",
        "netmask",
        "netmask6",
        "options",
        "options6",
        "priority",
        "uplink-id",
    ],
    // A write replaces all settings: without its address the node would be gone.
    clears: Clears::LeftOut,
    shape: as_it_is,
    loss: "the bridge, and with it the network of the guests on it",
};

/// A bridge, and the pending changes of its node.
struct Bridge {
    object: Object,
    node: String,
}

/// Stages a bridge.
pub(super) fn settle(pve: &Proxmox, options: BridgeOptions) -> Result<ScriptMap> {
    let path = format!("/nodes/{}/network", segment(&options.node));
    let mut object = Object::in_collection(pve, &BRIDGE, &path, "iface", &options.name);
    object.id = format!("{}:{}", options.node, options.name);
    let numbers = |numbers: &Vec<i64>| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        set_of(numbers.iter().map(String::as_str))
    };
    object.wanted = Wanted::new(
        &BRIDGE,
        [
            ("type", Some(Value::from("bridge"))),
            ("cidr", options.address.map(Value::Text)),
            ("gateway", options.gateway.map(Value::Text)),
            ("ports", options.ports.as_ref().map(|ports| set_of(ports.iter().map(String::as_str)))),
            ("vlan_aware", options.vlan_aware.map(Value::Bool)),
            ("vids", options.vids.as_ref().map(numbers)),
            ("mtu", options.mtu.map(Value::Int)),
            ("autostart", options.autostart.map(Value::Bool)),
            ("comment", options.comment.map(Value::Text)),
        ],
    )
    .absent(options.absent, options.allow_destroy);
    ensure(&Arc::new(Bridge { object, node: options.node })).map(outcome::to_map)
}

/// The pending changes of a node's network, as a diff.
fn pending(pve: &Proxmox, reader: &Reader, node: &str) -> Result<Option<String>> {
    let path = format!("/nodes/{}/network", segment(node));
    reader.touch(&path);
    let answer = reader.wait(async { Ok(pve.client().get(&path, &Params::new()).await?) })?;
    Ok(answer.changes.filter(|changes| !changes.trim().is_empty()))
}

/// The error about changes that are not of this run.
fn foreign(address: &str, node: &str, changes: &str) -> Error {
    let error = Error::new(Class::Conflict, format!("{address}: network changes of somebody else wait on {node}"));
    changes.lines().filter(|line| line.starts_with(['+', '-'])).fold(error, Error::cause).help(format!(
        "they would be applied together with those of the playbook: apply or revert them first (System > Network of {node}, or \
         `pvesh delete /nodes/{node}/network` to drop them)"
    ))
}

impl Bridge {
    /// Changes that nobody of this run has staged are somebody else's, unless they come to what is wanted and to nothing else:
    /// then a run was cut off between staging and applying.
    fn check_pending(&self, reader: &Reader, state: &State) -> Result<()> {
        let Some(changes) = pending(&self.object.pve, reader, &self.node)? else { return Ok(()) };
        if self.object.pve.has_staged(&self.node, &changes) {
            return Ok(());
        }
        let is_wanted = Difference::between(state, &self.object.want(state)?).is_none();
        if is_wanted && explains(state, &changes) {
            self.object.pve.note_staged(&self.node, &changes);
            return Ok(());
        }
        Err(foreign(&self.address(), &self.node, &changes))
    }
}

/// Whether each changed line of a diff is a setting that a bridge has, or the old value of one.
fn explains(state: &State, changes: &str) -> bool {
    let Some(settings) = state.here().and_then(Value::as_map) else { return false };
    let body = || changes.lines().filter(|line| !line.starts_with("+++") && !line.starts_with("---"));
    // Proxmox writes the whole file anew: comments come, and lines move.
    let of = |sign: char| {
        let lines = body().filter_map(move |line| line.strip_prefix(sign)).map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>()
    };
    let (added, removed) = (of('+'), of('-'));
    let new: Vec<&str> = added.iter().copied().filter(|line| !removed.contains(line)).collect();
    let old: Vec<&str> = removed.iter().copied().filter(|line| !added.contains(line)).collect();
    let key = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let words = |name: &str| match settings.get(name) {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_text).map(str::to_owned).collect::<Vec<_>>(),
        Some(Value::Int(number)) => vec![number.to_string()],
        Some(Value::Text(text)) => vec![text.clone()],
        Some(Value::Bool(true)) => vec!["yes".to_owned()],
        _ => Vec::new(),
    };
    let is_own = |line: &&str| {
        let mut said: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        said.sort();
        let name = match key(line).as_str() {
            "address" => "cidr",
            "gateway" => "gateway",
            "bridge-ports" => "ports",
            "bridge-vlan-aware" => "vlan_aware",
            "bridge-vids" => "vids",
            "mtu" => "mtu",
            _ => return false,
        };
        said == words(name)
    };
    !new.is_empty() && new.iter().all(is_own) && old.iter().all(|line| new.iter().any(|one| key(one) == key(line)))
}

impl Fact for Bridge {
    fn address(&self) -> String {
        self.object.address()
    }

    fn cell(&self) -> Cell {
        self.object.cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let state = self.object.read(reader)?;
        let kind = state.here().and_then(|have| have.get("type")).and_then(Value::as_text);
        if let Some(kind) = kind.filter(|kind| *kind != "bridge") {
            return Err(Error::new(
                Class::Conflict,
                format!("{}: is no bridge but of the type {kind}", self.address()),
            )
            .help("choose another name for the bridge"));
        }
        self.check_pending(reader, &state)?;
        Ok(state)
    }
}

impl Resource for Bridge {
    fn want(&self, have: &State) -> Result<State> {
        let want = self.object.want(have)?;
        match (have, want) {
            (State::Absent, State::Here(Value::Map(mut want))) => {
                want.entry("autostart".to_owned()).or_insert(Value::Bool(true));
                Ok(State::Here(Value::Map(want)))
            }
            (_, want) => Ok(want),
        }
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let done = self.object.change(difference, writer)?;
        if let Some(changes) = pending(&self.object.pve, &Reader::default(), &self.node)? {
            self.object.pve.note_staged(&self.node, &changes);
        }
        Ok(done)
    }

    fn fills(&self) -> Vec<String> {
        self.object.fills()
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        self.object.destroys(difference)
    }

    fn may_destroy(&self) -> bool {
        self.object.may_destroy()
    }
}

/// The staged changes of a node, which are there or in force.
struct Staged {
    pve: Proxmox,
    node: String,
}

/// Puts what is staged in force.
pub(super) fn apply(pve: &Proxmox, node: &str) -> Result<ScriptMap> {
    ensure(&Arc::new(Staged { pve: pve.clone(), node: node.to_owned() })).map(outcome::to_map)
}

impl Staged {
    /// Whether this dry run has planned a change of a bridge of the node.
    fn is_planned(&self) -> Result<bool> {
        let prefix = format!("{}:{}:", BRIDGE.noun, self.node);
        scope::with(|branch| {
            branch.overlay.cells().any(|(cell, _)| cell.realm == REALM && cell.path.starts_with(&prefix))
        })
    }

    fn path(&self) -> String {
        format!("/nodes/{}/network", segment(&self.node))
    }
}

impl Fact for Staged {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("network-changes:{}", self.node))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let waits = State::Here(Value::Map(Map::from([("pending".to_owned(), Value::Bool(true))])));
        match pending(&self.pve, reader, &self.node)? {
            Some(changes) if self.pve.has_staged(&self.node, &changes) => Ok(waits),
            Some(changes) => Err(foreign(&self.address(), &self.node, &changes)),
            None if scope::is_planning()? && self.is_planned()? => Ok(waits),
            None => Ok(State::Absent),
        }
    }
}

impl Resource for Staged {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(State::Absent)
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let reader = Reader::default();
        // Between the look and now somebody may have added something.
        match pending(&self.pve, &reader, &self.node)? {
            Some(changes) if self.pve.has_staged(&self.node, &changes) => scope::say(Level::Info, changes)?,
            Some(changes) => return Err(foreign(&self.address(), &self.node, &changes)),
            None => return Ok(Map::new()),
        }
        let refused = |error: Error| error.context(format!("{}: cannot be applied", self.address()));
        let path = self.path();
        let answer = scope::wait(async { Ok(self.pve.client().put(&path, &Params::new(), writer).await) })?;
        let answer = answer.map_err(|failure| refused(failure.into()))?;
        if answer.data.as_str().is_some_and(|text| text.starts_with("UPID:")) {
            self.pve.finish_task(&answer, TASK_TIMEOUT).map_err(refused)?;
        }
        Ok(Map::new())
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn endangers(&self) -> Option<&str> {
        Some(&self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge() -> State {
        State::Here(Value::Map(Map::from([
            ("cidr".to_owned(), Value::from("10.20.11.11/24")),
            ("vlan_aware".to_owned(), Value::from(true)),
            ("vids".to_owned(), set_of(["10", "11"])),
        ])))
    }

    #[test]
    fn a_diff_that_comes_to_what_is_wanted_is_explained_and_nothing_more() {
        let own = "--- a\n+++ b\n@@\n+# autogenerated\n iface vmbr0\n-\tbridge-vids 2-4094\n+\tbridge-vlan-aware yes\n+\tbridge-vids 10 11\n";
        assert!(explains(&bridge(), own));
        for foreign in
            ["+\tmtu 9000\n", "-\tgateway 10.20.11.1\n", "+iface vmbr1 inet manual\n", "+\taddress 10.20.11.99/24\n"]
        {
            assert!(!explains(&bridge(), &format!("{own}{foreign}")), "{foreign}");
        }
        assert!(!explains(&State::Absent, own));
    }
}
