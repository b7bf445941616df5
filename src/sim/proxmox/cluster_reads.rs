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
    if let Some(name) = &cluster.name {
        let count = cluster.nodes.len();
        rows.push(json!({
            "type": "cluster", "id": "cluster", "name": name, "nodes": count, "version": count,
            "quorate": u8::from(cluster.is_quorate(&call.asked)),
        }));
    }
    for (name, node) in &cluster.nodes {
        let number = if cluster.name.is_some() { node.number } else { 0 };
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

/// `GET /cluster/config`: the index of everything below it.
pub(crate) fn config_index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = ["nodes", "totem", "join", "qdevice", "apiversion"];
    Answer::of(names.map(|name| json!({ "name": name })).to_vec())
}

/// `POST /cluster/config`: only its parameters are looked at.
pub(crate) fn form(_: &mut Cluster, _: &Call) -> Outcome {
    Err(Refusal::not_simulated("forming a cluster"))
}

/// `POST /cluster/config/join`: only its parameters are looked at.
pub(crate) fn join(_: &mut Cluster, _: &Call) -> Outcome {
    Err(Refusal::not_simulated("joining a cluster"))
}

/// `GET /cluster/config/nodes`.
pub(crate) fn config_nodes(cluster: &mut Cluster, _: &Call) -> Outcome {
    if cluster.name.is_none() {
        return Answer::of(json!([]));
    }
    let rows = cluster.nodes.iter().map(|(name, node)| {
        let number = node.number.to_string();
        json!({ "name": name, "node": name, "nodeid": number, "quorum_votes": "1", "ring0_addr": node.ip })
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /cluster/config/join`.
pub(crate) fn join_info(cluster: &mut Cluster, call: &Call) -> Outcome {
    let Some(name) = cluster.name.clone() else { return Err(Refusal::not_clustered()) };
    let preferred = call.params.get("node").unwrap_or(&call.asked);
    if !cluster.nodes.contains_key(preferred) {
        return Err(format!("unknown node '{preferred}'").into());
    }
    let rows = cluster.nodes.iter().map(|(name, node)| {
        json!({
            "name": name, "nodeid": node.number.to_string(), "quorum_votes": "1", "ring0_addr": node.ip,
            "pve_addr": node.ip, "pve_fp": node.fingerprint,
        })
    });
    let nodes: Vec<Value> = rows.collect();
    Answer::of(json!({
        "preferred_node": preferred, "nodelist": nodes, "totem": totem_of(&name, cluster.nodes.len()),
        "config_digest": super::cluster::digest(&format!("{name}{}", cluster.nodes.len())),
    }))
}

fn totem_of(name: &str, version: usize) -> Value {
    json!({
        "cluster_name": name, "config_version": version.to_string(), "interface": { "0": { "linknumber": "0" } },
        "ip_version": "ipv4-6", "link_mode": "passive", "secauth": "on", "token_coefficient": "125", "version": "2",
    })
}

/// `GET /cluster/config/totem`.
pub(crate) fn totem(cluster: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(cluster.name.as_ref().map_or(Value::Null, |name| totem_of(name, cluster.nodes.len())))
}

/// `GET /cluster/config/apiversion`.
pub(crate) fn api_version(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of("1")
}

/// `GET /cluster/ha/resources` and other lists that are empty here for want of the thing itself.
pub(crate) fn none(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!([]))
}
