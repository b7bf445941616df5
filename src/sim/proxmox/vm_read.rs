//! Reading virtual machines: lists, configuration, pending changes, status, cloud-init.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome};
use super::call::Call;
use super::cluster::Cluster;
use super::vm::{Options, Pending, Vm, shown};

pub(crate) fn may_see(cluster: &Cluster, call: &Call, vmid: u32) -> bool {
    cluster.access.has_any(&call.caller, &format!("/vms/{vmid}"), &["VM.Audit"])
}

/// `GET /nodes/{node}/qemu/{vmid}/config`: the future, or with `current` what is in force.
pub(crate) fn config(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vm = cluster.vm(&call.node, call.vmid())?;
    if let Some(snapshot) = call.params.get("snapshot") {
        return Err(format!("snapshot '{snapshot}' does not exist").into());
    }
    let options = if call.params.is_set("current") { vm.config.clone() } else { vm.future() };
    let mut row = values(&options);
    row.insert("digest".into(), json!(vm.digest()));
    Answer::of(Value::Object(row))
}

fn values(options: &Options) -> Map<String, Value> {
    options.iter().map(|(name, value)| (name.clone(), shown(name, value))).collect()
}

/// `GET /nodes/{node}/qemu/{vmid}/pending`.
pub(crate) fn pending(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vm = cluster.vm(&call.node, call.vmid())?;
    let mut rows = vec![json!({ "key": "digest", "value": vm.digest() })];
    for (name, value) in &vm.config {
        let mut row = json!({ "key": name, "value": shown(name, value) });
        match vm.pending.get(name) {
            Some(Pending::Set(value)) => row["pending"] = shown(name, value),
            Some(Pending::Delete(force)) => row["delete"] = json!(1 + u8::from(*force)),
            None => {}
        }
        rows.push(row);
    }
    for (name, change) in vm.pending.iter().filter(|(name, _)| !vm.config.contains_key(*name)) {
        if let Pending::Set(value) = change {
            rows.push(json!({ "key": name, "pending": shown(name, value) }));
        }
    }
    Answer::of(rows)
}

/// The options that a cloud-init drive is made of, as far as `GET …/cloudinit` lists them.
const CLOUD_INIT: [&str; 6] = ["cicustom", "cipassword", "ciuser", "nameserver", "searchdomain", "sshkeys"];

/// `GET /nodes/{node}/qemu/{vmid}/cloudinit`.
pub(crate) fn cloud_init(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vm = cluster.vm(&call.node, call.vmid())?;
    let rows = CLOUD_INIT.iter().filter_map(|name| {
        let value = vm.config.get(*name)?;
        Some(json!({ "key": name, "value": shown(name, value) }))
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `PUT /nodes/{node}/qemu/{vmid}/cloudinit`: makes the drive anew, if there is one. A guest reads it when it boots.
pub(crate) fn make_cloud_init(cluster: &mut Cluster, call: &Call) -> Outcome {
    cluster.vm(&call.node, call.vmid())?.check_lock()?;
    Answer::nothing()
}

fn disk_size(cluster: &Cluster, vm: &Vm) -> u64 {
    vm.boot_disk().and_then(|id| cluster.volume(&vm.node, id)).map(|volume| volume.size).unwrap_or_default()
}

/// What lists and the status share.
fn summary(cluster: &Cluster, call: &Call, vmid: u32, vm: &Vm) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| drop(row.insert(key.into(), value));
    put("vmid", json!(vmid));
    put("name", json!(vm.name(vmid)));
    put("status", json!(if vm.running.is_some() { "running" } else { "stopped" }));
    put("cpus", json!(vm.cpus()));
    put("maxmem", json!(vm.memory()));
    put("maxdisk", json!(disk_size(cluster, vm)));
    for zero in ["cpu", "mem", "memhost", "disk", "netin", "netout"] {
        put(zero, json!(0));
    }
    let uptime = vm.running.as_ref().map_or(0, |running| call.now.saturating_sub(running.since) / 1000);
    put("uptime", json!(uptime));
    if vm.is_template() {
        put("template", json!(1));
    }
    if let Some(tags) = vm.config.get("tags") {
        put("tags", json!(tags));
    }
    if vm.config.contains_key("serial0") {
        put("serial", json!(1));
    }
    if let Some(lock) = vm.lock() {
        put("lock", json!(lock));
    }
    if let Some(running) = &vm.running {
        put("pid", json!(running.pid));
        for zero in &PRESSURE {
            put(zero, json!(0));
        }
    }
    row
}

const PRESSURE: [&str; 6] = [
    "pressurecpusome",
    "pressurecpufull",
    "pressureiosome",
    "pressureiofull",
    "pressurememorysome",
    "pressurememoryfull",
];

/// What only the status (and a full list) tells.
fn details(vm: &Vm, row: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| drop(row.insert(key.into(), value));
    // A machine that gives memory back has a least of it, and a share in what there is.
    if let Some(least) = vm.config.get("balloon").and_then(|value| value.parse::<u64>().ok()).filter(|least| *least > 0)
    {
        let shares = vm.config.get("shares").and_then(|value| value.parse::<u64>().ok()).unwrap_or(1000);
        put("balloon_min", json!(least << 20));
        put("shares", json!(shares));
    }
    put("qmpstatus", json!(if vm.running.is_some() { "running" } else { "stopped" }));
    if vm.running.is_some() {
        put("diskread", json!(0));
        put("diskwrite", json!(0));
        let memory = vm.memory();
        let machine =
            if vm.config.get("machine").is_some_and(|kind| kind.starts_with("q35")) { "q35" } else { "i440fx" };
        put("running-machine", json!(format!("pc-{machine}-10.1+pve0")));
        put("running-qemu", json!("10.1.2"));
        put("proxmox-support", json!({ "pbs-dirty-bitmap": true, "query-bitmap-info": true }));
        put("balloon", json!(memory));
        put("ballooninfo", json!({ "actual": memory, "max_mem": memory }));
    }
}

/// `GET /nodes/{node}/qemu/{vmid}/status/current`.
pub(crate) fn status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vm = cluster.vm(&call.node, call.vmid())?;
    let mut row = summary(cluster, call, call.vmid(), vm);
    details(vm, &mut row);
    row.insert("ha".into(), json!({ "managed": 0 }));
    if vm.config.contains_key("vga") {
        row.insert("clipboard".into(), Value::Null);
    }
    if vm.wants_agent() {
        row.insert("agent".into(), json!(1));
    }
    Answer::of(Value::Object(row))
}

/// `GET /nodes/{node}/qemu`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let on_node = cluster.vms.iter().filter(|(vmid, vm)| vm.node == call.node && may_see(cluster, call, **vmid));
    let rows = on_node.map(|(vmid, vm)| {
        let mut row = summary(cluster, call, *vmid, vm);
        if call.params.is_set("full") {
            details(vm, &mut row);
        }
        Value::Object(row)
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// The machines among the cluster's resources.
pub(crate) fn resources(cluster: &Cluster, call: &Call) -> Vec<Value> {
    let seen = cluster.vms.iter().filter(|(vmid, _)| may_see(cluster, call, **vmid));
    let rows = seen.map(|(vmid, vm)| {
        let mut row = summary(cluster, call, *vmid, vm);
        for hidden in ["cpus", "serial", "pid"].iter().chain(&PRESSURE) {
            row.remove(*hidden);
        }
        row.insert("type".into(), json!("qemu"));
        row.insert("id".into(), json!(format!("qemu/{vmid}")));
        row.insert("node".into(), json!(vm.node));
        row.insert("maxcpu".into(), json!(vm.cpus()));
        row.insert("template".into(), json!(u8::from(vm.is_template())));
        for zero in ["diskread", "diskwrite"] {
            row.insert(zero.into(), json!(0));
        }
        if !cluster.tells(&call.asked, &vm.node, call.now) {
            row.retain(|name, _| ["id", "vmid", "node", "type", "tags", "lock"].contains(&name.as_str()));
            row.insert("status".into(), json!("unknown"));
        } else if let Some(uptime) = cluster.nodes.get(&vm.node).and_then(|node| node.ran.get(vmid)) {
            // Its node is gone: what it told last still stands.
            row.insert("status".into(), json!("running"));
            row.insert("uptime".into(), json!(uptime));
        }
        Value::Object(row)
    });
    rows.collect()
}

/// `GET /nodes/{node}/qemu/{vmid}`.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    let names =
        ["agent", "clone", "cloudinit", "config", "migrate", "pending", "resize", "snapshot", "status", "template"];
    Answer::of(names.map(|name| json!({ "subdir": name })).to_vec())
}
