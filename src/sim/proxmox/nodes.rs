//! `/nodes`: status, time, version.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, Node};
use super::effects::Effect;
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
        row.insert("ssl_fingerprint".into(), json!(node.fingerprint()));
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
        "boot-info": boot_info(cluster, &call.node),
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

fn boot_info(cluster: &Cluster, node: &str) -> Value {
    match cluster.machines.node(node).map(|machine| machine.firmware()) {
        Some(firmware) if !firmware.uefi => json!({ "mode": "legacy-bios" }),
        firmware => json!({ "mode": "efi", "secureboot": i32::from(firmware.is_some_and(|it| it.secure_boot)) }),
    }
}

/// `GET /nodes/{node}/time`.
pub(crate) fn time(cluster: &mut Cluster, call: &Call) -> Outcome {
    let now = call.seconds() + cluster.nodes.get(&call.node).map_or(0, |node| node.clock_ahead);
    Answer::of(json!({ "timezone": "UTC", "time": now, "localtime": now }))
}

/// `GET /nodes/{node}/apt/update`: nothing, for what can be installed on a node is there in one version only.
pub(crate) fn upgrades(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!([]))
}

/// `POST /nodes/{node}/apt/update`.
pub(crate) fn update_packages(cluster: &mut Cluster, call: &Call) -> Outcome {
    cluster.fork(call, "aptupdate", "", Effect::UpdatePackages { quiet: call.params.is_set("quiet") })
}

/// The end of the task: what the program on the node says.
pub(crate) fn finish_update(
    cluster: &Cluster,
    node: &str,
    quiet: bool,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let machine = cluster.machines.node(node).ok_or_else(|| format!("not simulated: the disk of {node}"))?;
    let ended = machine.agent_exec(&["apt-get", "update"].map(str::to_string));
    if !quiet {
        log.push("starting apt-get update".into());
        log.extend(String::from_utf8_lossy(&ended.stdout).lines().map(str::to_string));
    }
    match ended.exit {
        0 => Ok(0),
        code => Err(format!("command 'apt-get update' failed: exit code {code}")),
    }
}

/// `GET /nodes/{node}/certificates/info`: the cluster's authority, and what the node shows who connects.
pub(crate) fn certificates(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let rows = node.certificates.iter().map(|certificate| {
        json!({
            "filename": certificate.filename, "pem": certificate.pem, "fingerprint": certificate.fingerprint,
            "subject": certificate.subject, "issuer": certificate.issuer, "san": certificate.names,
            "notbefore": certificate.from, "notafter": certificate.until,
            "public-key-bits": 256, "public-key-type": "id-ecPublicKey",
        })
    });
    Answer::of(rows.collect::<Vec<_>>())
}
