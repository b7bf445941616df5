//! `/nodes/{node}/scan`: what a node finds that could become a storage.

use serde_json::json;

use super::answer::{Answer, Outcome};
use super::call::Call;
use super::cluster::Cluster;

/// `GET /nodes/{node}/scan`: what can be looked for.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(["cifs", "iscsi", "lvm", "nfs", "pbs", "zfs"].map(|name| json!({ "method": name })).to_vec())
}

/// `GET /nodes/{node}/scan/nfs`: the exports of a server, as `showmount` has them.
pub(crate) fn exports(cluster: &mut Cluster, call: &Call) -> Outcome {
    let host = call.params.text("server");
    if !cluster.outside.resolves(host) {
        return Err(format!("unable to resolve address for server '{host}'").into());
    }
    let Some(server) = cluster.outside.server(&call.node, host) else {
        let command = format!("/sbin/showmount --no-headers --exports {host}");
        return Err(format!("command '{command}' failed: exit code 1").into());
    };
    let listed = server.exports.iter().filter(|_| !server.hides_exports);
    let rows = listed.map(|(path, export)| json!({ "path": path, "options": export.clients }));
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /nodes/{node}/scan/lvm`: the volume groups of a node.
pub(crate) fn groups(cluster: &mut Cluster, call: &Call) -> Outcome {
    let pools = cluster.nodes.get(&call.node).map(|node| node.thin_pools.keys()).into_iter().flatten();
    let mut groups: Vec<&str> = pools.filter_map(|pool| pool.split('/').next()).collect();
    groups.dedup();
    Answer::of(groups.into_iter().map(|group| json!({ "vg": group })).collect::<Vec<_>>())
}

/// `GET /nodes/{node}/scan/lvmthin`: the thin pools of a volume group.
pub(crate) fn thin_pools(cluster: &mut Cluster, call: &Call) -> Outcome {
    let group = call.params.text("vg");
    let pools = cluster.nodes.get(&call.node).map(|node| node.thin_pools.keys()).into_iter().flatten();
    let own = pools.filter_map(|pool| pool.split_once('/')).filter(|(found, _)| *found == group);
    Answer::of(own.map(|(_, pool)| json!({ "lv": pool })).collect::<Vec<_>>())
}

/// `GET /nodes/{node}/scan/zfs`: the datasets of a node that can be a storage.
pub(crate) fn pools(cluster: &mut Cluster, call: &Call) -> Outcome {
    let pools = cluster.nodes.get(&call.node).map(|node| node.pools.iter()).into_iter().flatten();
    let rows = pools.map(|(dataset, size)| {
        let free = size.saturating_sub(cluster.pool_used(&call.node, dataset));
        json!({ "pool": dataset, "size": size, "free": free })
    });
    Answer::of(rows.collect::<Vec<_>>())
}
