//! `/cluster`: who is in it, what there is, which number is free.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::formats::list as items;
use super::{nodes, storage_state, vm_read};

/// `GET /cluster/status`.
pub(crate) fn status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let mut rows = Vec::new();
    let corosync = cluster.shown(call.now);
    if let Some(corosync) = corosync {
        rows.push(json!({
            "type": "cluster", "id": "cluster", "name": corosync.name, "nodes": cluster.nodes.len(),
            "version": corosync.version, "quorate": u8::from(cluster.is_quorate(&call.asked)),
        }));
    }
    for (name, node) in &cluster.nodes {
        let number = if corosync.is_some() { node.number } else { 0 };
        rows.push(json!({
            "type": "node", "id": format!("node/{name}"), "name": name, "ip": node.ip, "nodeid": number,
            "local": u8::from(*name == call.asked), "online": u8::from(cluster.hears(&call.asked, name)), "level": "",
        }));
    }
    Answer::of(rows)
}

/// `GET /cluster/resources`: only what the caller may see.
pub(crate) fn resources(cluster: &mut Cluster, call: &Call) -> Outcome {
    let wanted = call.params.get("type");
    let wants = |kind: &str| wanted.is_none_or(|wanted| wanted == kind);
    let mut rows: Vec<Value> = Vec::new();
    if wants("vm") {
        rows.extend(vm_read::resources(cluster, call));
    }
    if wants("node") {
        rows.extend(cluster.nodes.iter().map(|(name, node)| {
            let mut row = nodes::row(cluster, call, name, node);
            row.insert("cgroup-mode".into(), json!(1));
            Value::Object(row)
        }));
    }
    if wants("storage") {
        rows.extend(storage_state::resources(cluster, call));
    }
    if wants("sdn") && cluster.access.has_any(&call.caller, "/sdn/zones/localnetwork", &["SDN.Audit"]) {
        let known = cluster.nodes.keys().filter(|name| cluster.tells(&call.asked, name, call.now));
        rows.extend(known.map(|name| {
            json!({
                "type": "network", "network-type": "zone", "network": "localnetwork", "status": "ok", "node": name,
                "id": format!("network/{name}/zone/localnetwork"),
            })
        }));
    }
    Answer::of(rows)
}

/// `GET /cluster/nextid`: a number as text.
pub(crate) fn next_id(cluster: &mut Cluster, call: &Call) -> Outcome {
    if let Some(vmid) = call.params.number::<u32>("vmid") {
        if cluster.vms.contains_key(&vmid) {
            return Err(Refusal::parameter("vmid", format!("VM {vmid} already exists")));
        }
        return Answer::of(vmid.to_string());
    }
    let free = (100..).find(|vmid| !cluster.vms.contains_key(vmid));
    Answer::of(free.map(|vmid: u32| vmid.to_string()))
}

/// `GET /cluster/options`: without Sys.Audit only the tags of the guests that the caller may see.
pub(crate) fn options(cluster: &mut Cluster, call: &Call) -> Outcome {
    let seen = cluster.vms.iter().filter(|(vmid, _)| vm_read::may_see(cluster, call, **vmid));
    let tags = seen.filter_map(|(_, vm)| vm.config.get("tags")).flat_map(|tags| items(tags));
    let tags: BTreeSet<&str> = tags.collect();
    let mut row = json!({ "allowed-tags": tags });
    if cluster.access.has_any(&call.caller, "/", &["Sys.Audit"]) {
        row["mac_prefix"] = json!("BC:24:11");
        row["description"] = json!("");
    }
    Answer::of(row)
}

/// `GET /cluster/ha/resources` and other lists that are empty here for want of the thing itself.
pub(crate) fn none(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!([]))
}
