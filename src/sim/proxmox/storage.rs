//! `/storage` and what nodes see of it.

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, Storage, digest};
use super::formats::list as items;

const READERS: [&str; 2] = ["Datastore.Audit", "Datastore.AllocateSpace"];

impl Storage {
    fn used(&self, cluster: &Cluster, node: &str, id: &str) -> u64 {
        cluster.volumes_on(node, id).map(|volume| volume.size).sum::<u64>().min(self.size)
    }

    fn nodes(&self) -> Vec<&str> {
        self.settings.get("nodes").map(|nodes| items(nodes).collect()).unwrap_or_default()
    }

    fn is_on(&self, node: &str) -> bool {
        let nodes = self.nodes();
        nodes.is_empty() || nodes.contains(&node)
    }
}

fn may_see(cluster: &Cluster, call: &Call, id: &str) -> bool {
    cluster.access.has_any(&call.caller, &format!("/storage/{id}"), &READERS)
}

fn definition(cluster: &Cluster, id: &str, storage: &Storage) -> Value {
    let mut row = json!({ "storage": id, "type": storage.kind, "content": storage.content.join(",") });
    for (key, value) in &storage.settings {
        row[key] = json!(value);
    }
    if storage.shared && storage.kind == "dir" {
        row["shared"] = json!(1);
    }
    row["digest"] = json!(file_digest(cluster));
    row
}

fn file_digest(cluster: &Cluster) -> String {
    // As long as nobody defined a storage the file is empty.
    if cluster.storages.len() < 2 {
        return digest("");
    }
    digest(&serde_json::to_string(&cluster.storages).unwrap_or_default())
}

/// `GET /storage`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let wanted = |storage: &Storage| call.params.get("type").is_none_or(|kind| kind == storage.kind);
    let shown = cluster.storages.iter().filter(|(id, storage)| wanted(storage) && may_see(cluster, call, id));
    Answer::of(shown.map(|(id, storage)| definition(cluster, id, storage)).collect::<Vec<_>>())
}

/// `GET /storage/{storage}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    let storage = cluster.storage(id)?;
    Answer::of(definition(cluster, id, storage))
}

fn status_row(cluster: &Cluster, node: &str, id: &str, storage: &Storage) -> Value {
    let here = u8::from(storage.is_on(node));
    let total = if here == 1 { storage.size } else { 0 };
    let used = if here == 1 { storage.used(cluster, node, id) } else { 0 };
    json!({
        "type": storage.kind, "content": storage.content.join(","), "shared": u8::from(storage.shared),
        "enabled": here, "active": here, "total": total, "used": used, "avail": total - used,
    })
}

/// `GET /nodes/{node}/storage`.
pub(crate) fn list_on_node(cluster: &mut Cluster, call: &Call) -> Outcome {
    let content = call.params.get("content").map(|list| items(list).collect::<Vec<_>>());
    let wanted = |id: &str, storage: &Storage| {
        let fits =
            content.as_ref().is_none_or(|kinds| kinds.iter().all(|kind| storage.content.iter().any(|one| one == kind)));
        let named = call.params.get("storage").is_none_or(|name| name == id);
        let enabled = !call.params.is_set("enabled") || storage.is_on(&call.node);
        fits && named && enabled && may_see(cluster, call, id)
    };
    let rows = cluster.storages.iter().filter(|(id, storage)| wanted(id, storage)).map(|(id, storage)| {
        let mut row = status_row(cluster, &call.node, id, storage);
        row["storage"] = json!(id);
        if storage.is_on(&call.node) && storage.size > 0 {
            // Sizes are far below what a float holds exactly.
            let fraction = storage.used(cluster, &call.node, id) as f64 / storage.size as f64;
            row["used_fraction"] = json!(fraction);
        }
        row
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /nodes/{node}/storage/{storage}/status`.
pub(crate) fn status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    let missing = || Refusal::parameter("storage", "No such storage.");
    let storage = cluster.storages.get(id).ok_or_else(missing)?;
    Answer::of(status_row(cluster, &call.node, id, storage))
}

/// `GET /nodes/{node}/storage/{storage}/content`.
pub(crate) fn content(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    cluster.storage(id)?;
    let vmid = call.params.number::<u32>("vmid");
    let wanted = call.params.get("content");
    let volumes = cluster.volumes_on(&call.node, id).filter(|volume| {
        vmid.is_none_or(|vmid| volume.vmid == Some(vmid)) && wanted.is_none_or(|content| content == volume.content)
    });
    let rows = volumes.map(|volume| {
        let mut row = json!({
            "volid": volume.id, "size": volume.size, "format": volume.format, "content": volume.content,
            "ctime": volume.ctime,
        });
        if let Some(vmid) = volume.vmid {
            row["vmid"] = json!(vmid);
            row["used"] = json!(0);
            row["parent"] =
                json!(volume.id.rsplit_once('/').filter(|(base, _)| base.contains("base-")).map(|(base, _)| base));
        }
        row
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// The storages among the cluster's resources: one row a node.
pub(crate) fn resources(cluster: &Cluster, call: &Call) -> Vec<Value> {
    let mut rows = Vec::new();
    for node in cluster.nodes.keys() {
        let shown = cluster.storages.iter().filter(|(id, one)| one.is_on(node) && may_see(cluster, call, id));
        rows.extend(shown.map(|(id, storage)| {
            json!({
                "type": "storage", "id": format!("storage/{node}/{id}"), "node": node, "storage": id,
                "plugintype": storage.kind, "content": storage.content.join(","), "shared": u8::from(storage.shared),
                "status": "available", "maxdisk": storage.size, "disk": storage.used(cluster, node, id),
            })
        }));
    }
    rows
}
