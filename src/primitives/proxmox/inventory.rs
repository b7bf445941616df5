//! What nodes and the cluster tell of themselves: hardware, disks, package sources, certificates, members.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::handle::{Proxmox, REALM, integer, nonsense};
use super::reads::plain;
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::run::ensure::read;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::value::{State, Value};

fn below(node: &str, rest: &str) -> String {
    format!("/nodes/{}/{rest}", segment(node))
}

/// The disks of a node.
pub(super) fn disks(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("disks:{node}"), below(node, "disks/list"), Params::new())
}

/// The ZFS pools of a node.
pub(super) fn zfs_pools(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("zfs:{node}"), below(node, "disks/zfs"), Params::new())
}

/// The PCI devices of a node, bridges and processors among them.
pub(super) fn pci_devices(pve: &Proxmox, node: &str) -> Result<Value> {
    // Nothing is left out of the list when nothing is named.
    let params = Params::new().with("pci-class-blacklist", "");
    plain(pve, format!("pci:{node}"), below(node, "hardware/pci"), params)
}

/// The package sources of a node.
pub(super) fn repositories(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("repositories:{node}"), below(node, "apt/repositories"), Params::new())
}

/// The certificates of a node.
pub(super) fn certificates(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("certificates:{node}"), below(node, "certificates/info"), Params::new())
}

/// The directories that an NFS server exports, as a node sees them.
pub(super) fn nfs_exports(pve: &Proxmox, node: &str, server: &str) -> Result<Value> {
    plain(pve, format!("exports:{node}:{server}"), below(node, "scan/nfs"), Params::new().with("server", server))
}

/// What a node sees of a storage.
pub(super) fn storage_status(pve: &Proxmox, node: &str, id: &str) -> Result<Value> {
    let path = below(node, &format!("storage/{}/status", segment(id)));
    plain(pve, format!("storage-status:{node}:{id}"), path, Params::new())
}

/// The cluster and its nodes, as the node that is asked sees them: `name`, `quorate`, `nodes`. A node in no cluster has no
/// `name`.
pub(super) fn cluster_status(pve: &Proxmox) -> Result<Value> {
    let rows = plain(pve, "cluster", "/cluster/status", Params::new())?;
    let Value::List(rows) = rows else { return Ok(rows) };
    let is = |row: &Value, kind: &str| row.get("type").and_then(Value::as_text) == Some(kind);
    let cluster = rows.iter().find(|row| is(row, "cluster"));
    let field = |key: &str| cluster.and_then(|row| row.get(key)).cloned();
    let nodes = rows.iter().filter(|row| is(row, "node")).cloned().collect();
    Ok(Value::Map(
        [
            ("name".to_owned(), field("name").unwrap_or(Value::Null)),
            ("quorate".to_owned(), Value::Bool(field("quorate").is_none_or(|quorate| quorate == Value::Int(1)))),
            ("nodes".to_owned(), Value::List(nodes)),
        ]
        .into(),
    ))
}

/// The members of the cluster as corosync is told of them; none where there is no cluster.
pub(super) fn members(pve: &Proxmox) -> Result<Value> {
    plain(pve, "members", "/cluster/config/nodes", Params::new())
}

/// How far the clock of a node is off, against the clock of this machine.
struct ClockOffset<'a> {
    pve: &'a Proxmox,
    node: &'a str,
}

impl Fact for ClockOffset<'_> {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("clock:{}", self.node))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let (path, began) = (below(self.node, "time"), Instant::now());
        let answer = self.pve.get_now(reader, &path, &Params::new())?;
        let half = began.elapsed() / 2;
        let time = answer.get("time").and_then(integer).ok_or_else(|| nonsense(self.pve.place(), &path, "time"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| {
            Error::new(Class::Failed, "this machine's clock is before 1970").cause(error).help("set it")
        })?;
        // The node's second was cut off somewhere; half a second is its middle.
        let here = now.saturating_sub(half).as_secs_f64() - 0.5;
        Ok(State::Here(Value::Int((time as f64 - here).round() as i64)))
    }
}

/// How far the clock of a node is off, in whole seconds: positive where it is ahead.
pub(super) fn clock_offset(pve: &Proxmox, node: &str) -> Result<Value> {
    Ok(read(&ClockOffset { pve, node })?.into_value())
}

/// The rows of `/etc/hosts` of a node: names by address.
pub(super) fn hosts_of(pve: &Proxmox, node: &str) -> Result<Value> {
    let answer = plain(pve, format!("hosts-file:{node}"), below(node, "hosts"), Params::new())?;
    let Some(text) = answer.get("data").and_then(Value::as_text) else { return Ok(answer) };
    let rows = text.lines().filter_map(super::hosts::parts);
    Ok(Value::Map(
        rows.map(|(address, names)| (address.to_owned(), Value::List(names.into_iter().map(Value::text).collect())))
            .collect(),
    ))
}

/// The name servers of a node: `search`, `dns1` and on.
pub(super) fn name_servers(pve: &Proxmox, node: &str) -> Result<Value> {
    plain(pve, format!("dns:{node}"), below(node, "dns"), Params::new())
}
