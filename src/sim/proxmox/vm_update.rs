//! Changing the configuration of a virtual machine: checks, normalisation, what applies at once and what waits.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::definition::{api, numbered};
use super::drive::{Drive, Source, is_cloudinit};
use super::effects::Effect;
use super::formats::list as items;
use super::option_rights::Rights;
use super::property;
use super::verify;
use super::vm::{Options, Pending, Vm, is_disk, is_drive, is_net, memory_mb, volume_of};

/// A change of options that has passed its checks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Update {
    set: Options,
    delete: Vec<String>,
    revert: Vec<String>,
    force: bool,
}

/// Parameters of the calls that are no options.
const NO_OPTIONS: [&str; 9] =
    ["node", "vmid", "digest", "delete", "revert", "force", "skiplock", "background_delay", "import-working-storage"];

/// `PUT /nodes/{node}/qemu/{vmid}/config`: at once.
pub(crate) fn put(cluster: &mut Cluster, call: &Call) -> Outcome {
    let update = prepare(cluster, call)?;
    let refused = apply(cluster, &call.node, call.vmid(), update, call.now, &mut Vec::new())?;
    // What was not refused is written nevertheless.
    let errors = refused.into_iter().map(|device| (device.clone(), hotplug_problem(&device)));
    let errors: std::collections::BTreeMap<String, String> = errors.collect();
    if errors.is_empty() { Answer::nothing() } else { Err(Refusal::parameters(errors)) }
}

/// `POST /nodes/{node}/qemu/{vmid}/config`: in a task.
pub(crate) fn post(cluster: &mut Cluster, call: &Call) -> Outcome {
    let update = prepare(cluster, call)?;
    let vmid = call.vmid();
    let Ok(answer) =
        cluster.fork(call, "qmconfig", &vmid.to_string(), Effect::Configure { vmid, update: update.clone() })
    else {
        return Answer::nothing();
    };
    if let Some(task) = cluster.tasks.last_mut() {
        let shown: Vec<String> =
            update.set.iter().map(|(name, value)| format!("-{name} {}", masked(name, value))).collect();
        task.log.insert(0, format!("update VM {vmid}: {}", shown.join(" ")));
    }
    Ok(answer)
}

impl Update {
    /// Whether a new cloud-init drive is asked for, which is then filled at once.
    pub(crate) fn makes_cloud_init(&self) -> bool {
        self.set.iter().any(|(name, value)| is_disk(name) && volume_of(value).ends_with(":cloudinit"))
    }
}

/// The complaint about a device that a guest refused.
pub(crate) fn hotplug_problem(device: &str) -> String {
    format!("hotplug problem - error on hotplug device '{device}'\n")
}

fn masked<'v>(name: &str, value: &'v str) -> &'v str {
    if name == "cipassword" { "<hidden>" } else { value }
}

fn prepare(cluster: &Cluster, call: &Call) -> Result<Update, Refusal> {
    let params = &call.params;
    if params.is_set("skiplock") && !call.caller.is_root() {
        return Err(Refusal::parameter("skiplock", "Only root may use this option."));
    }
    let set = params.without(&NO_OPTIONS);
    check_ssh_keys(&set)?;
    let update = Update {
        set,
        delete: items(params.text("delete")).map(str::to_string).collect(),
        revert: items(params.text("revert")).map(str::to_string).collect(),
        force: params.is_set("force"),
    };
    if update.set.is_empty() && update.delete.is_empty() && update.revert.is_empty() {
        return Err("no options specified".into());
    }
    check_lists(&update)?;
    let config = cluster.vms.get(&call.vmid()).filter(|vm| vm.node == call.node).map(Vm::future).unwrap_or_default();
    let rights = Rights { cluster, caller: &call.caller, vmid: call.vmid() };
    check_special(cluster, &call.node, &update.set)?;
    rights.to_delete(update.delete.iter().map(String::as_str), &config)?;
    rights.to_set(&update.set)?;
    let vm = cluster.vm(&call.node, call.vmid())?;
    vm.check_lock_file(call.vmid())?;
    if params.get("digest").is_some_and(|digest| digest != vm.digest()) {
        return Err("checksum mismatch (file change by other user?)".into());
    }
    if !params.is_set("skiplock") {
        vm.check_lock()?;
    }
    check_volumes(cluster, &call.node, &update.set)?;
    check_balloon(&update.set, &config)?;
    check_boot(&update, &config)?;
    Ok(update)
}

/// Volumes that are named must be there before anything is written.
fn check_volumes(cluster: &Cluster, node: &str, set: &Options) -> Result<(), Refusal> {
    for (name, value) in set.iter().filter(|(name, _)| is_drive(name)) {
        match Drive::read(name, value)?.source()? {
            Source::Volume(id) if cluster.volume(node, &id).is_none() => {
                return Err(format!("volume '{id}' does not exist").into());
            }
            Source::Path(path) => return Err(format!("volume {path} does not exist").into()),
            _ => {}
        }
    }
    Ok(())
}

fn check_lists(update: &Update) -> Result<(), Refusal> {
    for (list, names) in [("delete", &update.delete), ("revert", &update.revert)] {
        for name in names {
            if update.set.contains_key(name) {
                let text = format!("you can't use '-{name}' and -{list} {name}' at the same time");
                return Err(Refusal::parameter("delete", text));
            }
            if api().vm_option(name).is_none() {
                return Err(Refusal::parameter(list, format!("unknown option '{name}'")));
            }
        }
    }
    Ok(())
}

/// The public keys in `sshkeys` must be keys, all of them.
pub(crate) fn check_ssh_keys(options: &Options) -> Result<(), Refusal> {
    let Some(encoded) = options.get("sshkeys") else { return Ok(()) };
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy();
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let good = lines.into_iter().all(|line| russh::keys::PublicKey::from_openssh(line.trim()).is_ok());
    if good { Ok(()) } else { Err("SSH public key validation error".into()) }
}

/// Options whose check looks beyond their format.
fn check_special(cluster: &Cluster, node: &str, options: &Options) -> Result<(), Refusal> {
    let Some(script) = options.get("hookscript") else { return Ok(()) };
    // Files here are never executable: no node has put one there.
    let what = if cluster.volume(node, script).is_some() { "is not executable" } else { "does not exist" };
    Err(Refusal::parameter("hookscript", format!("script '{script}' {what}\n")))
}

fn check_balloon(set: &Options, config: &Options) -> Result<(), Refusal> {
    let mut merged = config.clone();
    merged.extend(set.clone());
    let balloon: u64 = merged.get("balloon").and_then(|value| value.parse().ok()).unwrap_or(0);
    let concerned = set.contains_key("memory") || set.contains_key("balloon");
    if concerned && balloon > memory_mb(&merged) {
        return Err("balloon value too large (must be smaller than assigned memory)".into());
    }
    Ok(())
}

fn check_boot(update: &Update, config: &Options) -> Result<(), Refusal> {
    let Some(order) = update.set.get("boot").and_then(|boot| boot.strip_prefix("order=")) else { return Ok(()) };
    let there = |device: &str| {
        update.set.contains_key(device)
            || (config.contains_key(device) && !update.delete.iter().any(|one| one == device))
    };
    match order.split(';').find(|device| !device.is_empty() && !there(device)) {
        Some(device) => Err(format!("invalid bootorder: device '{device}' does not exist'").into()),
        None => Ok(()),
    }
}

/// Brings an option's value into the form it is stored in. Drives are not done here.
pub(crate) fn normalise(cluster: &mut Cluster, name: &str, value: &str) -> String {
    match name {
        "tags" => tags(value),
        "description" => value.strip_suffix('\n').unwrap_or(value).to_string(),
        "vmgenid" if value == "1" => cluster.chance.uuid(),
        _ if is_net(name) => net(cluster, name, value),
        _ => value.to_string(),
    }
}

fn tags(value: &str) -> String {
    let mut tags: Vec<String> = items(value).map(str::to_lowercase).collect();
    tags.sort();
    tags.dedup();
    // An empty list is stored as one blank.
    if tags.is_empty() { " ".into() } else { tags.join(";") }
}

/// A network card: model and address first, the rest by name. Without an address it gets a new one.
fn net(cluster: &mut Cluster, name: &str, value: &str) -> String {
    let Some(fields) = api().vm_option_keys(name) else { return value.to_string() };
    let Ok(keys) = property::read(fields, name, value) else { return value.to_string() };
    let mac = keys.get("macaddr").cloned().unwrap_or_else(|| cluster.chance.mac());
    let model = keys.get("model").map(String::as_str).unwrap_or("virtio");
    property::print(&format!("{model}={mac}"), &keys, &["model", "macaddr"])
}

/// Writes a change: everything when the machine is stopped; when it runs, what cannot be plugged waits. Gives the devices
/// that the guest refused, which wait too.
pub(crate) fn apply(
    cluster: &mut Cluster,
    node: &str,
    vmid: u32,
    update: Update,
    now: u64,
    log: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    let mut vm = cluster.vm(node, vmid).map_err(|refusal| refusal.reason)?.clone();
    for name in &update.revert {
        if let Some(Pending::Set(value)) = vm.pending.remove(name)
            && is_drive(name)
        {
            let id = volume_of(&value).to_string();
            let in_use = vm.config.get(name).is_some_and(|current| volume_of(current) == id);
            if !in_use && cluster.volume(node, &id).is_some() {
                park(cluster, node, vmid, &mut vm, &value, false);
            }
        }
    }
    let refuses = vm.running.as_ref().is_some_and(|running| running.refuses_devices);
    let mut refused = Vec::new();
    let mut order = boot_order(&vm);
    for name in &update.delete {
        order.retain(|device| device != name);
        remove(cluster, node, vmid, &mut vm, name, update.force);
    }
    for (name, value) in &update.set {
        let stored = if is_drive(name) {
            cluster.provide(node, vmid, name, value, now, log)?
        } else {
            normalise(cluster, name, value)
        };
        let new_cd = is_disk(name) && stored.contains("media=cdrom") && !is_cloudinit(vmid, &stored);
        if new_cd && !order.is_empty() && !order.contains(name) {
            order.push(name.clone());
        }
        if refuses && is_net(name) && plugs(&vm, name) && !vm.config.contains_key(name) {
            vm.pending.insert(name.clone(), Pending::Set(stored));
            refused.push(name.clone());
            continue;
        }
        place(cluster, node, vmid, &mut vm, name, stored);
    }
    let reordered = format!("order={}", order.join(";"));
    let has_order = vm.future().get("boot").is_some_and(|boot| boot.starts_with("order=") && *boot != reordered);
    if has_order && !update.set.contains_key("boot") {
        place(cluster, node, vmid, &mut vm, "boot", reordered);
    }
    cluster.vms.insert(vmid, vm);
    Ok(refused)
}

fn boot_order(vm: &Vm) -> Vec<String> {
    let future = vm.future();
    let order = future.get("boot").and_then(|boot| boot.strip_prefix("order="));
    order.into_iter().flat_map(|order| order.split(';')).filter(|one| !one.is_empty()).map(str::to_string).collect()
}

/// Sets an option, now or pending.
fn place(cluster: &mut Cluster, node: &str, vmid: u32, vm: &mut Vm, name: &str, value: String) {
    let removes = name == "description" && value.is_empty();
    if removes {
        return remove(cluster, node, vmid, vm, name, false);
    }
    if vm.config.get(name) == Some(&value) {
        vm.pending.remove(name);
        return;
    }
    if vm.running.is_some() && !plugs(vm, name) {
        vm.pending.insert(name.into(), Pending::Set(value));
        return;
    }
    set_now(cluster, node, vmid, vm, name, value);
}

fn set_now(cluster: &mut Cluster, node: &str, vmid: u32, vm: &mut Vm, name: &str, value: String) {
    vm.pending.remove(name);
    // A volume that is attached is no longer unused.
    vm.config.retain(|option, held| !(option.starts_with("unused") && held == volume_of(&value)));
    let old = vm.config.insert(name.into(), value.clone());
    let replaced = |old: &String| is_drive(name) && volume_of(old) != volume_of(&value);
    // A drive that is emptied leaves its disk behind, listed nowhere.
    let emptied = |old: &String| volume_of(&value) == "none" && !is_cloudinit(vmid, old);
    if let Some(old) = old.filter(|old| replaced(old) && !emptied(old)) {
        park(cluster, node, vmid, vm, &old, false);
    }
}

/// Removes an option, now or pending.
fn remove(cluster: &mut Cluster, node: &str, vmid: u32, vm: &mut Vm, name: &str, force: bool) {
    if let Some(Pending::Set(value)) = vm.pending.remove(name)
        && is_drive(name)
    {
        park(cluster, node, vmid, vm, &value, force);
    }
    if !vm.config.contains_key(name) {
        return;
    }
    let waits = vm.running.is_some() && !name.starts_with("unused") && !plugs(vm, name);
    if waits {
        vm.pending.insert(name.into(), Pending::Delete(force));
        return;
    }
    remove_now(cluster, node, vmid, vm, name, force);
}

fn remove_now(cluster: &mut Cluster, node: &str, vmid: u32, vm: &mut Vm, name: &str, force: bool) {
    vm.pending.remove(name);
    let Some(value) = vm.config.remove(name) else { return };
    if name.starts_with("unused") {
        cluster.free(node, &value);
    } else if is_drive(name) {
        park(cluster, node, vmid, vm, &value, force);
    }
}

/// What becomes of the volume of a drive that goes: a cloud-init drive is freed, a disk becomes unused.
fn park(cluster: &mut Cluster, node: &str, vmid: u32, vm: &mut Vm, value: &str, force: bool) {
    let id = volume_of(value).to_string();
    let owned = cluster.volume(node, &id).is_some_and(|volume| volume.vmid == Some(vmid));
    if !owned {
        return;
    }
    if force || is_cloudinit(vmid, value) {
        cluster.free(node, &id);
        return;
    }
    let free = (0..256).map(|number| format!("unused{number}")).find(|slot| !vm.config.contains_key(slot));
    if let Some(slot) = free {
        vm.config.insert(slot, id);
    }
}

/// Options that never wait, whatever runs.
const AT_ONCE: [&str; 22] = [
    "lock",
    "name",
    "onboot",
    "shares",
    "startup",
    "description",
    "protection",
    "vmstatestorage",
    "hookscript",
    "tags",
    "ciuser",
    "cipassword",
    "citype",
    "ciupgrade",
    "cicustom",
    "nameserver",
    "searchdomain",
    "sshkeys",
    "balloon",
    "hotplug",
    "cpuunits",
    "cpulimit",
];

/// Whether a change of an option applies to a machine that runs.
fn plugs(vm: &Vm, name: &str) -> bool {
    let features = vm.config.get("hotplug").map(String::as_str).unwrap_or("network,disk,usb");
    let has = |feature: &str| features == "1" || items(features).any(|one| one == feature);
    match numbered(name).map(|(base, _)| base) {
        Some("ipconfig") => true,
        Some("net") => has("network"),
        // The options of a disk that is in use wait; a disk comes and goes.
        Some("scsi" | "virtio") => has("disk"),
        _ => AT_ONCE.contains(&name),
    }
}

/// Makes everything that is pending real, when the machine is off.
pub(crate) fn apply_pending(cluster: &mut Cluster, node: &str, vmid: u32) {
    let Some(mut vm) = cluster.vms.get(&vmid).cloned() else { return };
    for (name, change) in std::mem::take(&mut vm.pending) {
        match change {
            Pending::Set(value) => set_now(cluster, node, vmid, &mut vm, &name, value),
            Pending::Delete(force) => remove_now(cluster, node, vmid, &mut vm, &name, force),
        }
    }
    cluster.vms.insert(vmid, vm);
}

/// Checks options that `POST …/qemu` takes as `PUT …/config` does.
pub(crate) fn check_new(cluster: &Cluster, node: &str, options: &Options) -> Result<(), Refusal> {
    check_ssh_keys(options)?;
    check_special(cluster, node, options)?;
    check_balloon(options, &Options::new())?;
    check_boot(&Update { set: options.clone(), ..Update::default() }, &Options::new())?;
    match options.get("name").filter(|name| name.is_empty()) {
        Some(_) => Err(Refusal::parameter("name", verify::MISSING)),
        None => Ok(()),
    }
}
