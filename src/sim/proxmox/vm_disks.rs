//! Disks over their life: resize, becoming a template's base, destruction with the machine.

use std::collections::BTreeSet;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, not_found};
use super::drive::{drives, parse_size, size_text};
use super::effects::Effect;
use super::vm::{Pending, volume_of};
use super::volume::{fresh_use, split};

/// `PUT /nodes/{node}/qemu/{vmid}/resize`.
pub(crate) fn put_size(cluster: &mut Cluster, call: &Call) -> Outcome {
    let effect = Effect::Resize {
        vmid: call.vmid(),
        disk: call.params.text("disk").into(),
        size: call.params.text("size").into(),
        digest: call.params.get("digest").map(str::to_string),
    };
    cluster.fork(call, "resize", &call.vmid().to_string(), effect)
}

/// The checks of a resize, which are the task's.
pub(crate) fn check_resize(
    cluster: &Cluster,
    node: &str,
    vmid: u32,
    disk: &str,
    digest: Option<&str>,
) -> Result<(), String> {
    let vm = cluster.vm(node, vmid).map_err(|refusal| refusal.reason)?;
    if digest.is_some_and(|digest| digest != vm.digest()) {
        return Err("checksum mismatch (file change by other user?)".into());
    }
    vm.check_lock()?;
    let value = vm.config.get(disk).ok_or_else(|| format!("disk '{disk}' does not exist"))?;
    if value.contains("media=cdrom") {
        return Err("you can't resize a cdrom".into());
    }
    Ok(())
}

/// Resizes a disk. The same size is fine, a smaller one is not.
pub(crate) fn resize(
    cluster: &mut Cluster,
    node: &str,
    vmid: u32,
    disk: &str,
    size: &str,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    check_resize(cluster, node, vmid, disk, None)?;
    let vm = cluster.vm(node, vmid).map_err(|refusal| refusal.reason)?.clone();
    let value = vm.config.get(disk).cloned().unwrap_or_default();
    let id = volume_of(&value).to_string();
    let now =
        cluster.volume(node, &id).map(|volume| volume.size).ok_or_else(|| format!("volume '{id}' does not exist"))?;
    let given = parse_size(size.trim_start_matches('+')).ok_or_else(|| format!("unable to parse size '{size}'"))?;
    let wanted = if size.starts_with('+') { now + given } else { given };
    if wanted < now {
        return Err("shrinking disks is not supported".into());
    }
    if wanted == now {
        return Ok(0);
    }
    if vm.is_template() {
        // A base volume is write-protected.
        let options = if id.ends_with(".qcow2") { "'--preallocation=metadata' -f qcow2" } else { "-f raw" };
        let path = cluster.path_of(&id);
        log.push(format!("qemu-img: Could not open '{path}': Could not open '{path}': Operation not permitted"));
        let command = format!("/usr/bin/qemu-img resize {options} {} {wanted}", cluster.path_of(&id));
        return Err(format!("command '{command}' failed: exit code 1"));
    }
    if vm.running.is_none() {
        log.push("Image resized.".into());
    }
    if let Some(volume) = cluster.volume_mut(node, &id) {
        volume.size = wanted;
        volume.used = volume.used.max(fresh_use(&volume.format, wanted, "metadata"));
    }
    let parts = value.split(',').map(|part| match part.strip_prefix("size=") {
        Some(_) => format!("size={}", size_text(wanted)),
        None => part.to_string(),
    });
    let value = parts.collect::<Vec<_>>().join(",");
    if let Ok(vm) = cluster.vm_mut(node, vmid) {
        vm.config.insert(disk.into(), value);
    }
    Ok(0)
}

/// `POST /nodes/{node}/qemu/{vmid}/template`.
pub(crate) fn post_template(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vmid = call.vmid();
    let vm = cluster.vm(&call.node, vmid)?;
    vm.check_lock()?;
    if vm.is_template() {
        return Err("you can't convert a template to a template".into());
    }
    if vm.running.is_some() {
        return Err("you can't convert a VM to template if VM is running".into());
    }
    cluster.fork(call, "qmtemplate", &vmid.to_string(), Effect::Template { vmid })
}

/// Renames the disks to bases and marks the machine.
pub(crate) fn make_template(cluster: &mut Cluster, node: &str, vmid: u32) -> Result<usize, String> {
    let mut vm = cluster.vm(node, vmid).map_err(|refusal| refusal.reason)?.clone();
    let disks: Vec<(String, String)> = drives(&vm.config)
        .filter(|(_, value)| !value.contains("media=cdrom"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in disks {
        let id = volume_of(&value).to_string();
        let base = id.replace(&format!("vm-{vmid}-"), &format!("base-{vmid}-"));
        if let Some(volume) = cluster.volume_mut(node, &id) {
            volume.name = split(&base).1.into();
        }
        vm.config.insert(name, value.replacen(&id, &base, 1));
    }
    vm.config.insert("template".into(), "1".into());
    cluster.machines.retire_guest(vmid);
    cluster.vms.insert(vmid, vm);
    Ok(0)
}

/// `DELETE /nodes/{node}/qemu/{vmid}`.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vmid = call.vmid();
    let vm = cluster.vm(&call.node, vmid)?;
    if vm.config.get("protection").is_some_and(|flag| flag == "1") {
        return Err(format!("can't remove VM {vmid} - protection mode enabled").into());
    }
    if vm.running.is_some() {
        return Err(format!("VM {vmid} is running - destroy failed").into());
    }
    let (purge, unreferenced) = (call.params.is_set("purge"), call.params.is_set("destroy-unreferenced-disks"));
    cluster.fork(call, "qmdestroy", &vmid.to_string(), Effect::Destroy { vmid, purge, unreferenced })
}

/// The checks of a destruction, which are the task's.
pub(crate) fn check_destroy(cluster: &Cluster, node: &str, vmid: u32) -> Result<(), String> {
    let vm = cluster.vms.get(&vmid).filter(|vm| vm.node == node).ok_or_else(|| not_found(node, vmid))?;
    vm.check_lock()?;
    // The disks go from the last to the first.
    let bases: Vec<&str> = drives(&vm.config).map(|(_, value)| volume_of(value)).collect();
    let in_use = |base: &&str| {
        let (storage, name) = split(base);
        let Some(place) = cluster.place(node, storage) else { return false };
        cluster.volumes.iter().any(|volume| volume.rests_on(&place, name) && volume.vmid != Some(vmid))
    };
    match bases.into_iter().rev().find(in_use) {
        Some(base) => Err(format!("base volume '{base}' is still in use by linked cloned")),
        None => Ok(()),
    }
}

/// Removes a machine with its disks.
pub(crate) fn destroy(
    cluster: &mut Cluster,
    node: &str,
    vmid: u32,
    purge: bool,
    unreferenced: bool,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    check_destroy(cluster, node, vmid)?;
    if purge {
        log.push(format!("purging VM {vmid} from related configurations.."));
    }
    let vm = cluster.vms.remove(&vmid).unwrap_or_default();
    let waiting = vm.pending.values().filter_map(|change| match change {
        Pending::Set(value) => Some(value),
        Pending::Delete(_) => None,
    });
    let named: BTreeSet<&str> = vm.config.values().chain(waiting).map(|value| volume_of(value)).collect();
    for id in named {
        if cluster.volume(node, id).is_some_and(|volume| volume.vmid == Some(vmid)) {
            cluster.free(node, id);
        }
    }
    // What no option names is left on the storage, unless it was asked for too.
    if unreferenced {
        cluster.volumes.retain(|volume| volume.vmid != Some(vmid) || !volume.is_seen_from(node));
    }
    cluster.machines.remove_guest(vmid);
    let path = format!("/vms/{vmid}");
    cluster.access.rows.retain(|row| row.path != path);
    Ok(0)
}

/// `POST /nodes/{node}/qemu/{vmid}/snapshot`: only the refusals, which come in the task.
pub(crate) fn post_snapshot(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vmid = call.vmid();
    let goes_on = cluster.vm(&call.node, vmid).is_ok_and(|vm| vm.check_lock().is_ok());
    if goes_on {
        return Err(Refusal::not_simulated("taking a snapshot"));
    }
    cluster.fork(call, "qmsnapshot", &vmid.to_string(), Effect::Snapshot { vmid })
}

/// `POST /nodes/{node}/qemu/{vmid}/move_disk`: only the refusals, which come before the task.
pub(crate) fn post_move(cluster: &mut Cluster, call: &Call) -> Outcome {
    if let Some(storage) = call.params.get("storage") {
        cluster.access.demand(&call.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    }
    let vm = cluster.vm(&call.node, call.vmid())?;
    vm.check_lock()?;
    let (disk, digest) = (call.params.text("disk"), call.params.get("digest"));
    if digest.is_some_and(|digest| digest != vm.digest()) {
        return Err("checksum mismatch (file change by other user?)".into());
    }
    if !vm.config.contains_key(disk) {
        return Err(format!("disk '{disk}' does not exist").into());
    }
    Err(Refusal::not_simulated("moving a disk"))
}

/// `GET /nodes/{node}/qemu/{vmid}/snapshot`: only ever the current state, for none can be made here.
pub(crate) fn snapshots(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vm = cluster.vm(&call.node, call.vmid())?;
    Answer::of(serde_json::json!([{
        "name": "current", "description": "You are here!", "digest": vm.digest(),
        "running": u8::from(vm.running.is_some()),
    }]))
}
