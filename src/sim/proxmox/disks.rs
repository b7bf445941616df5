//! `/nodes/{node}/disks`: the pools and volume groups that a node's own disks are in.

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;

/// `GET /nodes/{node}/disks`: what is below it.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = ["list", "initgpt", "smart", "lvm", "lvmthin", "directory", "wipedisk", "zfs"];
    Answer::of(names.map(|name| json!({ "name": name })).to_vec())
}

/// `GET /nodes/{node}/disks/zfs`: the pools. All of them are well.
pub(crate) fn pools(cluster: &mut Cluster, call: &Call) -> Outcome {
    let Some(node) = cluster.nodes.get(&call.node) else { return Answer::of(Vec::<Value>::new()) };
    let pools = node.pools.iter().filter(|(name, _)| !name.contains('/'));
    let rows = pools.map(|(name, size)| {
        let used = cluster.pool_used(&call.node, name).min(*size);
        json!({
            "name": name, "size": size, "alloc": used, "free": size - used, "frag": 0, "dedup": 1.0, "health": "ONLINE",
        })
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /nodes/{node}/disks/lvm`: the volume groups as a tree, as long as there are none.
pub(crate) fn groups(cluster: &mut Cluster, call: &Call) -> Outcome {
    if cluster.nodes.get(&call.node).is_some_and(|node| !node.thin_pools.is_empty()) {
        return Err(Refusal::not_simulated("the devices of a volume group"));
    }
    Answer::of(json!({ "leaf": 0, "children": [] }))
}

/// `GET /nodes/{node}/disks/directory`: directories on disks of their own. None can be made here.
pub(crate) fn directories(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(Vec::<Value>::new())
}

impl Cluster {
    /// What the volumes of a node take in a dataset and below it.
    pub(crate) fn pool_used(&self, node: &str, dataset: &str) -> u64 {
        let root = format!("zfspool:{dataset}");
        let inside = self.volumes.iter().filter(|volume| {
            let below = volume.place.root.strip_prefix(&root);
            volume.place.node.as_deref() == Some(node)
                && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        inside.map(|volume| volume.used).sum()
    }
}
