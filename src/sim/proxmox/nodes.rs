//! `/nodes`: status, network, version.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, Node};
use super::members::Seen;

/// The version that everything here answers as.
pub(crate) const VERSION: &str = "9.2.11";
const REPO_ID: &str = "14a22df3";
const KERNEL: &str = "7.0.2-2-pve";
const KERNEL_BUILD: &str = "#1 SMP PREEMPT_DYNAMIC PMX 7.0.2-2 (2026-10-01T00:00Z)";
/// What the system itself takes of a node's root file system.
const SYSTEM: u64 = 20 << 30;

/// The refusal for a node nobody knows.
pub(crate) fn no_such_host(name: &str) -> Refusal {
    Refusal::failed(format!(
        "hostname lookup '{name}' failed - failed to get address info for: {name}: Temporary failure in name resolution"
    ))
}

impl Node {
    fn uptime(&self, now: u64) -> u64 {
        now.saturating_sub(self.booted) / 1000
    }

    /// What the system itself takes of the root file system.
    pub(crate) fn system_used(&self) -> u64 {
        SYSTEM.min(self.root_size)
    }

    fn memory(&self) -> u64 {
        self.memory_mb * 1024 * 1024
    }
}

/// The memory of a node that is taken: its own share, and all of every machine that runs.
fn used_memory(cluster: &Cluster, name: &str) -> u64 {
    let guests = cluster.vms.values().filter(|vm| vm.node == name && vm.running.is_some()).map(|vm| vm.memory());
    (2 << 30) + guests.sum::<u64>()
}

/// `GET /version` and `GET /nodes/{node}/version`.
pub(crate) fn version(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!({ "version": VERSION, "release": "9.2", "repoid": REPO_ID }))
}

/// The row of a node in lists. Without Sys.Audit it tells little.
pub(crate) fn row(cluster: &Cluster, call: &Call, name: &str, node: &Node) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("node".into(), json!(name));
    row.insert("id".into(), json!(format!("node/{name}")));
    row.insert("type".into(), json!("node"));
    let seen = cluster.seen(&call.asked, name, call.now);
    let status = match seen {
        Seen::Online => "online",
        Seen::Offline | Seen::Forgotten => "offline",
        Seen::Unknown => "unknown",
    };
    row.insert("status".into(), json!(status));
    if matches!(seen, Seen::Forgotten | Seen::Unknown) {
        return row;
    }
    row.insert("level".into(), json!(""));
    if cluster.access.has_any(&call.caller, &format!("/nodes/{name}"), &["Sys.Audit"]) {
        row.insert("maxcpu".into(), json!(node.cores));
        row.insert("maxmem".into(), json!(node.memory()));
        row.insert("maxdisk".into(), json!(node.root_size));
        if seen == Seen::Online {
            row.insert("uptime".into(), json!(node.uptime(call.now)));
            row.insert("cpu".into(), json!(0.02));
            row.insert("mem".into(), json!(used_memory(cluster, name)));
            row.insert("disk".into(), json!(cluster.root_used(name)));
        }
    }
    row
}

/// `GET /nodes`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let rows = cluster.nodes.iter().map(|(name, node)| {
        let mut row = row(cluster, call, name, node);
        row.insert("ssl_fingerprint".into(), json!(node.fingerprint));
        Value::Object(row)
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// What the API has below a node.
const BELOW: &str = "aplinfo apt capabilities ceph certificates config disks dns firewall hardware hosts journal lxc \
    migrateall netstat network qemu query-oci-repo-tags query-url-metadata replication report rrd rrddata scan sdn \
    services spiceshell startall status stopall storage subscription suspendall syslog tasks termproxy time version \
    vncshell vzdump wakeonlan";

/// `GET /nodes/{node}`: the index of everything below it, simulated or not.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(BELOW.split_whitespace().map(|name| json!({ "name": name })).collect::<Vec<_>>())
}

/// `GET /nodes/{node}/status`.
pub(crate) fn status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let (total, used) = (node.memory(), used_memory(cluster, &call.node).min(node.memory()));
    let (size, taken) = (node.root_size, cluster.root_used(&call.node));
    Answer::of(json!({
        "pveversion": format!("pve-manager/{VERSION}/{REPO_ID}"),
        "kversion": format!("Linux {KERNEL} {KERNEL_BUILD}"),
        "current-kernel": { "sysname": "Linux", "release": KERNEL, "version": KERNEL_BUILD, "machine": "x86_64" },
        "boot-info": { "mode": "efi", "secureboot": 0 },
        "uptime": node.uptime(call.now),
        "cpu": 0.02, "wait": 0, "idle": 0,
        "loadavg": ["0.10", "0.12", "0.15"],
        "ksm": { "shared": 0 },
        "cpuinfo": {
            "cpus": node.cores, "cores": node.cores.div_ceil(2), "sockets": 1, "mhz": "2600.000", "user_hz": 100, "hvm": "1",
            "vendor": "GenuineIntel", "family": "6",
            "model": "13th Gen Intel(R) Core(TM) i9-13900H", "flags": "fpu vmx sse4_2 aes avx avx2",
        },
        "memory": { "total": total, "used": used, "free": total - used, "available": total - used },
        "swap": { "total": 0, "used": 0, "free": 0 },
        "rootfs": {
            "total": size, "used": taken, "avail": size - taken, "free": size - taken,
        },
    }))
}

/// `GET /nodes/{node}/time`.
pub(crate) fn time(_: &mut Cluster, call: &Call) -> Outcome {
    Answer::of(json!({ "timezone": "UTC", "time": call.seconds(), "localtime": call.seconds() }))
}

fn interfaces(node: &Node) -> Vec<Value> {
    let mut rows = Vec::new();
    for (index, bridge) in node.bridges.iter().enumerate() {
        let mut row = json!({
            "iface": bridge, "type": "bridge", "active": 1, "autostart": 1, "method": "manual", "method6": "manual",
            "families": ["inet"], "priority": 4 + index, "bridge_fd": "0", "bridge_stp": "off", "bridge_ports": "",
        });
        if index == 0 {
            row["method"] = json!("static");
            row["address"] = json!(node.ip);
            row["netmask"] = json!("24");
            row["cidr"] = json!(format!("{}/24", node.ip));
            row["gateway"] = json!(node.gateway);
            row["bridge_ports"] = json!("eno1");
            row["bridge_vlan_aware"] = json!(1);
            row["bridge_vids"] = json!("2-4094");
        }
        rows.push(row);
    }
    rows.push(json!({
        "iface": "eno1", "type": "eth", "active": 1, "method": "manual", "method6": "manual", "families": ["inet"],
        "priority": 3,
    }));
    rows
}

/// `GET /nodes/{node}/network`: bridges that the caller may neither use nor see are left out.
pub(crate) fn network(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let wanted = call.params.get("type").unwrap_or_default();
    let shown = |row: &Value| {
        let (name, kind) = (row["iface"].as_str().unwrap_or_default(), row["type"].as_str().unwrap_or_default());
        let of_kind = match wanted {
            "" | "include_sdn" => true,
            "any_bridge" | "any_local_bridge" => kind == "bridge",
            other => other == kind,
        };
        let path = format!("/sdn/zones/localnetwork/{name}");
        of_kind && (kind != "bridge" || cluster.access.has_any(&call.caller, &path, &["SDN.Use", "SDN.Audit"]))
    };
    Answer::of(interfaces(node).into_iter().filter(shown).collect::<Vec<_>>())
}

/// `GET /nodes/{node}/network/{iface}`.
pub(crate) fn interface(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let name = call.params.text("iface");
    let row = interfaces(node).into_iter().find(|row| row["iface"] == name);
    let mut row = row.ok_or_else(|| Refusal::parameter("iface", "interface does not exist"))?;
    if let Some(row) = row.as_object_mut() {
        row.remove("iface");
    }
    Answer::of(row)
}
