//! What a node's own hardware and its package sources are: `/nodes/{node}/disks/list`, `/nodes/{node}/apt/repositories`.

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::sha1;
use super::cluster::Cluster;
use super::nodes::no_such_host;

/// `GET /nodes/{node}/disks/list`: a disk for each pool and each volume group, none of them worn; the root file system of a
/// node without a pool has one, too.
pub(crate) fn disks(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let in_pools = node.pools.iter().filter(|(name, _)| !name.contains('/')).map(|(_, size)| (*size, "ZFS"));
    let in_groups = node.thin_pools.values().map(|size| (*size, "LVM"));
    let mut found: Vec<(u64, &str)> = in_pools.chain(in_groups).collect();
    if found.is_empty() {
        found.push((node.root_size, "mounted"));
    }
    // A disk that is in use is not an unused one; there are no other kinds here.
    if call.params.get("type").is_some() {
        return Answer::of(Vec::<Value>::new());
    }
    if call.params.is_set("include-partitions") {
        return Err(Refusal::not_simulated("the partitions of a disk"));
    }
    let rows = found.into_iter().enumerate().map(|(number, (size, used))| {
        let serial = sha1(&format!("{}/{number}", call.node))[..12].to_uppercase();
        let mut row = json!({
            "devpath": format!("/dev/nvme{number}n1"), "type": "nvme", "size": size, "used": used, "gpt": 1,
            "vendor": "unknown", "model": "Simulated NVMe", "serial": serial, "wwn": format!("eui.{}", &serial[..8]),
            "by_id_link": format!("/dev/disk/by-id/nvme-Simulated_NVMe_{serial}"), "osdid": -1, "osdid-list": null,
        });
        if !call.params.is_set("skipsmart") {
            row["health"] = json!("PASSED");
            row["wearout"] = json!(100);
        }
        row
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// A file with a package source.
#[derive(Debug)]
struct Source {
    path: &'static str,
    uri: &'static str,
    suites: &'static [&'static str],
    components: &'static [&'static str],
    /// By what Proxmox knows it, where it is one of its own.
    handle: Option<&'static str>,
}

/// Those that a node has.
const SOURCES: [Source; 2] = [
    Source {
        path: "/etc/apt/sources.list.d/debian.sources",
        uri: "http://deb.debian.org/debian/",
        suites: &["trixie", "trixie-updates"],
        components: &["main", "contrib", "non-free-firmware"],
        handle: None,
    },
    Source {
        path: "/etc/apt/sources.list.d/proxmox.sources",
        uri: "http://download.proxmox.com/debian/pve",
        suites: &["trixie"],
        components: &["pve-no-subscription"],
        handle: Some("no-subscription"),
    },
];

/// The sources that Proxmox offers.
const STANDARD: [(&str, &str); 3] =
    [("enterprise", "Enterprise"), ("no-subscription", "No-Subscription"), ("test", "Test")];

/// `GET /nodes/{node}/apt/repositories`: those of a node that nobody pays for.
pub(crate) fn repositories(cluster: &mut Cluster, call: &Call) -> Outcome {
    if !cluster.nodes.contains_key(&call.node) {
        return Err(no_such_host(&call.node));
    }
    let file = |source: &Source| {
        json!({
            "path": source.path, "file-type": "sources",
            "digest": source.path.bytes().take(32).collect::<Vec<u8>>(),
            "repositories": [{
                "Types": ["deb"], "URIs": [source.uri], "Suites": source.suites, "Components": source.components,
                "Enabled": 1, "FileType": "sources",
            }],
        })
    };
    let standard = STANDARD.iter().map(|(handle, name)| {
        let mut row = json!({ "handle": handle, "name": name });
        // One that no file names has no status.
        if SOURCES.iter().any(|source| source.handle == Some(*handle)) {
            row["status"] = json!(1);
        }
        row
    });
    let infos = SOURCES.iter().map(|source| {
        let origin = if source.handle.is_some() { "Proxmox" } else { "Debian" };
        json!({ "path": source.path, "index": 0, "kind": "origin", "message": origin })
    });
    Answer::of(json!({
        "digest": sha1(&format!("{SOURCES:?}")), "errors": [], "files": SOURCES.iter().map(file).collect::<Vec<_>>(),
        "infos": infos.collect::<Vec<_>>(), "standard-repos": standard.collect::<Vec<_>>(),
    }))
}
