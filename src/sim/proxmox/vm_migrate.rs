//! `…/migrate`: moving a machine, and its local disks, to another node.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, no_config};
use super::drive::drives;
use super::effects::Effect;
use super::vm::{Vm, volume_of};
use super::volume::split;

/// The complaint about a target that does not answer.
const UNREACHABLE: &str = "Can't connect to destination address using public key";

/// A move to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MigrateOrder {
    pub(crate) vmid: u32,
    target: String,
    storage: Option<String>,
    with_local_disks: bool,
}

/// `GET /nodes/{node}/qemu/{vmid}/migrate`: whether and where to it could move.
pub(crate) fn preview(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vm = cluster.vm(&call.node, call.vmid())?;
    let disks = local_disks(cluster, vm).map(|(name, value)| {
        let id = volume_of(value);
        let size = cluster.volume(&vm.node, id).map(|volume| volume.size).unwrap_or_default();
        let cloud_init = u8::from(value.contains("cloudinit"));
        json!({
            "volid": id, "drivename": name, "size": size, "shared": 0, "is_attached": 1, "is_unused": 0, "replicate": 1,
            "is_vmstate": 0, "is_tpmstate": u8::from(name == "tpmstate0"), "is_cloudinit": cloud_init,
            "cdrom": u8::from(value.contains("media=cdrom")),
        })
    });
    let disks: Vec<_> = disks.collect();
    let others: Vec<&String> = cluster.nodes.keys().filter(|name| **name != call.node).collect();
    let none: serde_json::Map<_, _> = others.iter().map(|name| (name.to_string(), json!({}))).collect();
    let mapped: Vec<&String> = vm.config.keys().filter(|name| name.starts_with("hostpci")).collect();
    Answer::of(json!({
        "running": u8::from(vm.running.is_some()), "allowed_nodes": others, "not_allowed_nodes": none,
        "local_disks": disks, "local_resources": mapped, "mapped-resources": mapped, "mapped-resource-info": {},
        "has-dbus-vmstate": 1,
    }))
}

fn local_disks<'c>(cluster: &'c Cluster, vm: &'c Vm) -> impl Iterator<Item = (&'c String, &'c String)> {
    drives(&vm.config).filter(|(_, value)| {
        let storage = volume_of(value).split(':').next().unwrap_or_default();
        cluster.storage(storage).is_ok_and(|storage| !storage.is_shared())
    })
}

/// `POST /nodes/{node}/qemu/{vmid}/migrate`.
pub(crate) fn migrate(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (params, vmid) = (&call.params, call.vmid());
    let target = params.text("target").to_string();
    if target == call.node {
        return Err(Refusal::parameter("target", "target is local node."));
    }
    if !cluster.nodes.contains_key(&target) {
        return Err(format!("no such cluster node '{target}'").into());
    }
    let vm = cluster.vms.get(&vmid).filter(|vm| vm.node == call.node);
    let vm = vm.ok_or_else(|| no_config(&call.node, vmid))?;
    vm.check_lock()?;
    if vm.running.is_some() && !params.is_set("online") {
        return Err("can't migrate running VM without --online".into());
    }
    let storage = params.get("targetstorage").filter(|storage| *storage != "1");
    if let Some(storage) = storage {
        if storage.contains([':', ',']) {
            return Err(Refusal::not_simulated("a map of storages in targetstorage"));
        }
        cluster.storage(storage)?;
        if !call.caller.is_root() {
            let path = format!("/storage/{storage}");
            cluster.access.demand(&call.caller, &path, &["Datastore.AllocateSpace"])?;
        }
    }
    let order = MigrateOrder {
        vmid,
        target,
        storage: storage.map(str::to_string),
        with_local_disks: params.is_set("with-local-disks"),
    };
    cluster.fork(call, "qmigrate", &vmid.to_string(), Effect::Migrate(order))
}

fn stamp(at: u64) -> String {
    let when = i64::try_from(at / 1000).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    when.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// What keeps a machine from moving shows only now, and its reason only in the log.
pub(crate) fn begin(
    cluster: &mut Cluster,
    node: &str,
    order: &MigrateOrder,
    now: u64,
    log: &mut Vec<String>,
) -> Result<u64, String> {
    let time = stamp(now);
    let vm = cluster.vm(node, order.vmid).map_err(|refusal| refusal.reason)?;
    let abort = |log: &mut Vec<String>, reason: &str| {
        log.push(format!("{time} ERROR: migration aborted (duration 00:00:00): {reason}"));
        Err("migration aborted".to_string())
    };
    if let Some(device) = vm.config.keys().find(|name| name.starts_with("hostpci")) {
        return abort(log, &format!("can't migrate VM which uses local devices: {device}"));
    }
    if !cluster.is_on(&order.target) {
        return abort(log, UNREACHABLE);
    }
    let address = cluster.nodes.get(&order.target).map(|node| node.ip.clone()).unwrap_or_default();
    log.push(format!("{time} starting migration of VM {} to node '{}' ({address})", order.vmid, order.target));
    let local: Vec<(String, String)> =
        local_disks(cluster, vm).map(|(name, value)| (name.clone(), volume_of(value).to_string())).collect();
    for (_, id) in &local {
        log.push(format!("{time} found local disk '{id}' (attached)"));
    }
    if let Some((_, id)) = local.iter().find(|(_, id)| id.contains("base-")) {
        let base = id.rsplit_once('/').map(|(base, _)| base).unwrap_or(id);
        let base = base.rsplit([':', '/']).find(|part| part.starts_with("base-")).unwrap_or(base);
        let reason = format!("Problem found while scanning volumes - can't migrate '{id}' as it's a clone of '{base}'");
        return abort(log, &format!("{reason} at /usr/share/perl5/PVE/QemuMigrate.pm line 586."));
    }
    if vm.running.is_some() && !local.is_empty() && !order.with_local_disks {
        return abort(log, "can't live migrate attached local disks without with-local-disks option");
    }
    let slow = !local.is_empty();
    if let Ok(vm) = cluster.vm_mut(node, order.vmid) {
        vm.config.insert("lock".into(), "migrate".into());
    }
    Ok(if slow { 200 } else { 120 })
}

/// Moves the volumes and the configuration.
pub(crate) fn finish(
    cluster: &mut Cluster,
    node: &str,
    order: &MigrateOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let time = stamp(at);
    let mut vm = cluster.vm(node, order.vmid).map_err(|refusal| refusal.reason)?.clone();
    vm.config.remove("lock");
    if !cluster.is_on(&order.target) {
        cluster.vms.insert(order.vmid, vm);
        log.push(format!("{time} ERROR: migration aborted (duration 00:00:00): {UNREACHABLE}"));
        return Err("migration aborted".into());
    }
    let local: Vec<(String, String)> =
        local_disks(cluster, &vm).map(|(name, value)| (name.clone(), value.clone())).collect();
    if !local.is_empty() {
        log.push(format!("{time} copying local disk images"));
    }
    for (name, value) in local {
        let id = volume_of(&value).to_string();
        let volume = cluster.volume(node, &id).cloned().ok_or_else(|| format!("volume '{id}' does not exist"))?;
        let storage = order.storage.clone().unwrap_or_else(|| split(&id).0.to_string());
        let stem = volume.file().split('.').next().unwrap_or_default().to_string();
        let new = cluster.volume_name(&storage, order.vmid, &stem, &volume.format)?;
        let place = cluster.place(&order.target, &storage);
        if let (Some(volume), Some(place)) = (cluster.volume_mut(node, &id), place) {
            volume.name = split(&new).1.into();
            volume.place = place;
        }
        log.push(format!("{time} volume '{id}' is '{new}' on the target"));
        vm.config.insert(name, value.replacen(&id, &new, 1));
    }
    vm.node.clone_from(&order.target);
    cluster.vms.insert(order.vmid, vm);
    log.push(format!("{time} migration finished successfully (duration 00:00:00)"));
    Ok(0)
}
