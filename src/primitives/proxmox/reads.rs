//! What can be read from Proxmox: each a fact with its own cell, so that a dry run sees what it has planned.

use serde_json::Value as Json;

use super::handle::{Proxmox, REALM, nonsense};
use super::vm::resource::cell as vm_cell;
use super::vm::state::{self, Config};
use crate::clients::proxmox::{Params, segment};
use crate::error::Result;
use crate::inputs::formats::hash::sha256;
use crate::run::ensure::read;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::{State, Value};

/// One GET whose answer is the fact.
struct Plain<'a> {
    pve: &'a Proxmox,
    cell: String,
    path: String,
    params: Params,
}

impl Fact for Plain<'_> {
    fn address(&self) -> String {
        format!("proxmox:{}", self.cell)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, self.cell.clone())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        Ok(State::Here(steady(Value::from(self.pve.get(reader, &self.path, &self.params)?))))
    }
}

/// Fields that differ at every look. Without them a read is the same as long as nothing happens, so that a run which did
/// not come as planned is not put down to them.
const RESTLESS: [&str; 16] = [
    "avail",
    "cpu",
    "disk",
    "diskread",
    "diskwrite",
    "free",
    "idle",
    "loadavg",
    "mem",
    "netin",
    "netout",
    "time",
    "uptime",
    "used",
    "used_fraction",
    "wait",
];

fn steady(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(steady).collect()),
        Value::Map(map) => {
            let kept = map.into_iter().filter(|(key, _)| !RESTLESS.contains(&key.as_str()));
            Value::Map(kept.map(|(key, item)| (key, steady(item))).collect())
        }
        other => other,
    }
}

/// What a read shows of things that have cells of their own: by the kind of its cell, the kinds of theirs.
const SHOWS: [(&str, &[&str]); 9] = [
    ("storages", &["storage"]),
    ("storage-status", &["storage"]),
    ("network", &["bridge"]),
    ("mappings", &["pci_mapping"]),
    ("hosts-file", &["hosts"]),
    ("permissions", &["acl", "role", "user", "group", "token"]),
    ("nodes", &["member"]),
    ("members", &["cluster", "member"]),
    ("cluster", &["cluster", "member"]),
];

/// Kinds whose cells name their node right after the kind, and so do the things that they show.
const OF_A_NODE: [&str; 2] = ["network", "hosts-file"];

/// What a node gives up when it joins a cluster: the cluster's takes its place.
const REPLACED_BY_A_JOIN: [&str; 4] = ["storages", "storage-status", "mappings", "permissions"];

/// What this dry run has planned that a read of this cell would show.
pub(super) fn planned_in(cell: &str) -> Result<Option<Unknown>> {
    let (kind, rest) = cell.split_once(':').unwrap_or((cell, ""));
    let Some((_, shown)) = SHOWS.iter().find(|(read, _)| *read == kind) else { return Ok(None) };
    if !scope::is_planning()? {
        return Ok(None);
    }
    let is_of_it = |name: &str| !OF_A_NODE.contains(&kind) || name.split([':', '/']).next() == Some(rest);
    let is_shown = |planned: &Cell| {
        let of_kind = planned.path.split_once(':').is_some_and(|(kind, name)| shown.contains(&kind) && is_of_it(name));
        planned.realm == REALM && of_kind
    };
    scope::with(|branch| {
        let planned = branch.overlay.cells().find(|(cell, _)| is_shown(cell));
        planned.map(|(_, planned)| Unknown::from_origin(&planned.by))
    })
}

/// Why a node cannot be read yet: its join is only planned. Until then its own API alone tells of it, and not of what it
/// will have from the cluster.
fn before_its_join(pve: &Proxmox, kind: &str, path: &str) -> Result<Option<Unknown>> {
    let Some(node) = path.strip_prefix("/nodes/").and_then(|rest| rest.split('/').next()) else { return Ok(None) };
    let tells = pve.node() == Some(node) && !REPLACED_BY_A_JOIN.contains(&kind);
    if tells || !scope::is_planning()? {
        return Ok(None);
    }
    let member = Cell::new(REALM, format!("member:{node}"));
    scope::with(|branch| branch.overlay.cell(&member).map(|planned| Unknown::from_origin(&planned.by)))
}

/// Why a token cannot ask yet: it, or its secret, is only planned.
pub(super) fn planned_token(id: &str) -> Result<Option<Unknown>> {
    if !id.contains('!') || !scope::is_planning()? {
        return Ok(None);
    }
    let token = Cell::new(REALM, format!("token:{id}"));
    scope::with(|branch| branch.overlay.cell(&token).map(|planned| Unknown::from_origin(&planned.by)))
}

/// Why it is not known what lies on a storage: it is only planned.
pub(super) fn planned_storage(id: &str) -> Result<Option<Unknown>> {
    if !scope::is_planning()? {
        return Ok(None);
    }
    let storage = Cell::new(REALM, format!("storage:{id}"));
    scope::with(|branch| branch.overlay.cell(&storage).map(|planned| Unknown::from_origin(&planned.by)))
}

/// Why whoever asks through a handle cannot ask yet.
pub(super) fn cannot_ask_yet(pve: &Proxmox) -> Result<Option<Unknown>> {
    planned_token(pve.client().who())
}

pub(super) fn plain(pve: &Proxmox, cell: impl Into<String>, path: impl Into<String>, params: Params) -> Result<Value> {
    let (cell, path) = (cell.into(), path.into());
    let kind = cell.split(':').next().unwrap_or_default();
    let planned = [planned_in(&cell)?, before_its_join(pve, kind, &path)?, cannot_ask_yet(pve)?];
    if let Some(cause) = planned.into_iter().flatten().next() {
        return Ok(Value::Unknown(cause.part(&cell)));
    }
    Ok(read(&Plain { pve, cell, path, params })?.into_value())
}

/// The version: `version`, `release`, `repoid`.
pub(super) fn version(pve: &Proxmox) -> Result<Value> {
    plain(pve, "version", "/version", Params::new())
}

/// The nodes of the cluster.
pub(super) fn nodes(pve: &Proxmox) -> Result<Value> {
    plain(pve, "nodes", "/nodes", Params::new())
}

/// The state of a node.
pub(super) fn node(pve: &Proxmox, name: &str) -> Result<Value> {
    plain(pve, format!("node:{name}"), format!("/nodes/{}/status", segment(name)), Params::new())
}

/// Whether the cluster has quorum. A node that is in no cluster is its own majority.
pub(super) fn quorum(pve: &Proxmox) -> Result<Value> {
    let rows = match plain(pve, "cluster", "/cluster/status", Params::new())? {
        Value::List(rows) => rows,
        unknown @ Value::Unknown(_) => return Ok(unknown),
        _ => return Err(nonsense(pve.place(), "/cluster/status", "rows")),
    };
    let cluster = rows.iter().find(|row| row.get("type").and_then(Value::as_text) == Some("cluster"));
    let is_quorate = |row: &Value| row.get("quorate").and_then(Value::as_int) == Some(1);
    Ok(Value::Bool(cluster.is_none_or(is_quorate)))
}

/// The storages of a node.
pub(super) fn storages(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("storages:{node}"), format!("/nodes/{}/storage", segment(node)), Params::new())
}

/// The bridges and interfaces of a node.
pub(super) fn interfaces(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("network:{node}"), format!("/nodes/{}/network", segment(node)), Params::new())
}

/// The PCI mappings, checked against a node.
pub(super) fn pci_mappings(pve: &Proxmox, node: &str) -> Result<Value> {
    let params = Params::new().with("check-node", node);
    plain(pve, format!("mappings:{node}"), "/cluster/mapping/pci", params)
}

/// What the token may do.
pub(super) fn permissions(pve: &Proxmox, path: &str) -> Result<Value> {
    plain(pve, format!("permissions:{path}"), "/access/permissions", Params::new().with("path", path))
}

/// The next free number of a guest. A dry run that planned guests does not know it.
pub(super) fn next_vmid(pve: &Proxmox) -> Result<Value> {
    if let Some(cause) = stale("/cluster/resources")? {
        return Ok(Value::Unknown(cause.part("next_vmid")));
    }
    let answer = plain(pve, "nextid", "/cluster/nextid", Params::new())?;
    // The API gives the number as text.
    Ok(answer.as_text().and_then(|text| text.parse().ok()).map_or(answer, Value::Int))
}

/// The last tasks of a node.
pub(super) fn tasks(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("tasks:{node}"), format!("/nodes/{}/tasks", segment(node)), Params::new())
}

/// All guests that the token may see.
pub(super) fn vms(pve: &Proxmox) -> Result<Value> {
    raw(pve, "/cluster/resources", &Params::new().with("type", "vm"))
}

/// A raw read: the answer as it is.
struct RawRead<'a> {
    pve: &'a Proxmox,
    path: &'a str,
    params: &'a Params,
}

impl Fact for RawRead<'_> {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        // A parameter may be a secret, and the names of cells are kept.
        let query: String = self.params.iter().map(|(key, value)| format!("{key}={value}&")).collect();
        let query = if query.is_empty() { query } else { format!(" ({})", &sha256(query.as_bytes())[..8]) };
        Cell::new(REALM, format!("GET {}{query}", self.path))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        Ok(State::Here(Value::from(self.pve.get_now(reader, self.path, self.params)?)))
    }
}

/// A raw read. A dry run that planned a change which the path may show does not know the answer.
pub(super) fn raw(pve: &Proxmox, path: &str, params: &Params) -> Result<Value> {
    super::raw::check_path(path)?;
    if let Some(cause) = cannot_ask_yet(pve)?.or(stale(path)?) {
        return Ok(Value::Unknown(cause.part(path)));
    }
    Ok(read(&RawRead { pve, path, params })?.into_value())
}

/// Why a path may show something else by then. A resource written in a script does not tell which paths it reads, so
/// after a planned change of one a script does not trust any.
fn stale(path: &str) -> Result<Option<Unknown>> {
    if let Some(cause) = scope::stale_path(path)? {
        return Ok(Some(cause));
    }
    scope::with(|branch| {
        let scripted = branch.overlay.cells().find(|(cell, _)| {
            let here = cell.realm == REALM || cell.realm.starts_with("script:");
            branch.phase == Phase::Script && here && cell.path.starts_with("scripted:")
        });
        scripted.map(|(_, planned)| Unknown::from_origin(&planned.by))
    })
}

/// A VM as it is, or as this dry run has planned it.
struct VmStatus<'a> {
    pve: &'a Proxmox,
    vmid: i64,
}

impl Fact for VmStatus<'_> {
    fn address(&self) -> String {
        format!("proxmox:vm:{}", self.vmid)
    }

    fn cell(&self) -> Cell {
        vm_cell(self.vmid)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let planning = scope::is_planning()?;
        if !planning {
            self.pve.forget_guests();
        }
        let guests = self.pve.guests(reader)?;
        let Some(guest) = guests.iter().find(|guest| guest.vmid == self.vmid) else { return Ok(State::Absent) };
        let path = format!("/nodes/{}/qemu/{}", segment(&guest.node), self.vmid);
        let rows = self.pve.get(reader, &format!("{path}/pending"), &Params::new())?;
        // The list lags behind what a run has just done, but a dry run does nothing.
        let current = match planning {
            true => Json::Null,
            false => self.pve.get(reader, &format!("{path}/status/current"), &Params::new())?,
        };
        let status = current.get("status").and_then(Json::as_str).unwrap_or(&guest.status);
        Ok(State::Here(Value::Map(state::normal(&Config::parse(&rows), &guest.node, status))))
    }
}

/// A VM's settings and status in their normal form; `()` where there is none.
pub(super) fn vm_status(pve: &Proxmox, vmid: i64) -> Result<Value> {
    Ok(read(&VmStatus { pve, vmid })?.into_value())
}
