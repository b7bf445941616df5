//! Bringing a VM from what is there to what is wanted: clone, move, configure, grow, start.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::resource::Vm;
use super::state::is_disk;
use crate::clients::proxmox::property::encode_sshkeys;
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::proxmox::handle::TASK_TIMEOUT;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::resource::{Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// How long a guest may take to shut down before it is switched off.
const SHUTDOWN_SECONDS: u32 = 120;

/// Carries out a difference. After a clone the difference is taken anew: the template brings settings of its own. So a
/// run that was killed in between goes on where the other one stopped.
pub(super) fn carry_out(vm: &Vm, difference: &Difference, writer: &Writer) -> Result<()> {
    if difference.want == State::Absent {
        return destroy(vm, difference, writer);
    }
    if difference.have == State::Absent {
        clone(vm, writer)?;
        let have = vm.read(&Reader::default())?;
        let want = vm.want(&have)?;
        return match Difference::between(&have, &want) {
            Some(rest) => update(vm, &rest, writer),
            None => Ok(()),
        };
    }
    update(vm, difference, writer)
}

fn clone(vm: &Vm, writer: &Writer) -> Result<()> {
    let options = &vm.options;
    let Some(template) = options.clone else {
        return Err(Error::new(Class::Blocked, format!("{}: does not exist", vm.address())));
    };
    let node = vm.template_node(&Reader::default(), template)?;
    let mut params = Params::new().with("newid", options.vmid).with("name", &options.name).with("full", options.full);
    if let Some(storage) = options.storage.as_ref().filter(|_| options.full) {
        params.push("storage", storage);
    }
    in_queue(vm, || {
        vm.pve.post_task(&format!("/nodes/{}/qemu/{template}/clone", segment(&node)), &params, TASK_TIMEOUT, writer)
    })?;
    vm.changed.store(true, Ordering::Relaxed);
    Ok(())
}

/// Waits for this storage's turn.
fn in_queue<T>(vm: &Vm, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let queue = vm.pve.queue(vm.options.storage.as_deref().unwrap_or_default());
    let _turn = scope::wait(async { Ok(queue.lock_owned().await) })?;
    work()
}

fn update(vm: &Vm, difference: &Difference, writer: &Writer) -> Result<()> {
    let node = vm.options.node.clone();
    if difference.touches("node") {
        migrate(vm, difference, writer)?;
    }
    configure(vm, &node, difference, writer)?;
    grow_disks(vm, &node, difference, writer)?;
    if difference.touches("cloud_init") && difference.found("cloud_init").is_some() {
        let path = vm.path(&node, "/cloudinit");
        scope::wait(async { Ok(vm.pve.client().put(&path, &Params::new(), writer).await?) })?;
    }
    vm.changed.store(true, Ordering::Relaxed);
    vm.pve.forget_guests();
    set_power(vm, &node, difference, writer)?;
    restart_if_pending(vm, &node, writer)
}

fn migrate(vm: &Vm, difference: &Difference, writer: &Writer) -> Result<()> {
    let Some(from) = difference.found("node").and_then(Value::as_text) else { return Ok(()) };
    let mut params = Params::new().with("target", &vm.options.node);
    if let Some(storage) = &vm.options.storage {
        params.push("targetstorage", storage);
    }
    in_queue(vm, || vm.pve.post_task(&vm.path(from, "/migrate"), &params, TASK_TIMEOUT, writer))
}

/// Writes what differs. A new cloud-init drive allocates a disk, so that goes as a task.
fn configure(vm: &Vm, node: &str, difference: &Difference, writer: &Writer) -> Result<()> {
    let (params, allocates) = config_params(difference);
    if params.is_empty() {
        return Ok(());
    }
    let path = vm.path(node, "/config");
    let current = vm.pve.get(&Reader::default(), &path, &Params::new())?;
    let digest = current.get("digest").and_then(serde_json::Value::as_str).map(str::to_owned);
    let params = digest.iter().fold(params, |params, digest| params.with("digest", digest));
    if allocates {
        return in_queue(vm, || vm.pve.post_task(&path, &params, TASK_TIMEOUT, writer));
    }
    let answer = scope::wait(async { Ok(vm.pve.client().put(&path, &params, writer).await?) })?;
    vm.pve.finish_task(&answer, TASK_TIMEOUT)
}

/// The parameters of the write, and whether it allocates a disk.
fn config_params(difference: &Difference) -> (Params, bool) {
    let empty = Map::new();
    let want = difference.want.here().and_then(Value::as_map).unwrap_or(&empty);
    let have = difference.have.here().and_then(Value::as_map).unwrap_or(&empty);
    let mut params = Params::new();
    let mut delete: Vec<String> = Vec::new();
    let mut allocates = false;
    let keys: std::collections::BTreeSet<&String> = want.keys().chain(have.keys()).collect();
    for key in keys.into_iter().filter(|key| !["node", "status", "pending"].contains(&key.as_str())) {
        match (have.get(key), want.get(key)) {
            (before, after) if before == after => {}
            (_, None) if key == "cloud_init" => {}
            (_, None) => delete.push(key.clone()),
            (before, Some(Value::Map(settings))) if key == "cloud_init" => {
                allocates |= before.is_none();
                let before = before.and_then(Value::as_map).unwrap_or(&empty);
                cloud_init_params(before, settings, &mut params, &mut delete);
            }
            // A disk only grows, and that has a call of its own.
            (_, Some(_)) if is_disk(key) => {}
            (_, Some(value)) => params.push(key, property(value)),
        }
    }
    if !delete.is_empty() {
        params.push("delete", delete.join(","));
    }
    (params, allocates)
}

pub(in crate::primitives::proxmox) fn cloud_init_params(
    have: &Map,
    want: &Map,
    params: &mut Params,
    delete: &mut Vec<String>,
) {
    let text = |map: &Map, key: &str| map.get(key).and_then(Value::as_text).map(str::to_owned);
    if have.is_empty()
        && let (Some(drive), Some(storage)) = (text(want, "drive"), text(want, "storage"))
    {
        params.push(&drive, format!("{storage}:cloudinit"));
    }
    for (option, key) in [("ciuser", "user"), ("nameserver", "nameserver"), ("searchdomain", "search_domain")] {
        match (have.get(key), want.get(key)) {
            (before, after) if before == after => {}
            (_, Some(_)) => params.push(option, text(want, key).unwrap_or_default()),
            (_, None) => delete.push(option.to_owned()),
        }
    }
    if have.get("upgrade") != want.get("upgrade") {
        params.push("ciupgrade", want.get("upgrade") == Some(&Value::Bool(true)));
    }
    if have.get("ssh_keys") != want.get("ssh_keys")
        && let Some(Value::List(keys)) = want.get("ssh_keys")
    {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_text).collect();
        params.push("sshkeys", encode_sshkeys(&keys.join("\n")));
    }
    if have.get("ip") != want.get("ip") || have.get("gateway") != want.get("gateway") {
        let gateway = text(want, "gateway").map_or_else(String::new, |gateway| format!(",gw={gateway}"));
        params.push("ipconfig0", format!("ip={}{gateway}", text(want, "ip").unwrap_or_default()));
    }
}

/// A value as the config has it.
pub(in crate::primitives::proxmox) fn property(value: &Value) -> String {
    match value {
        Value::Bool(flag) => if *flag { "1" } else { "0" }.to_owned(),
        Value::List(items) => items.iter().filter_map(Value::as_text).collect::<Vec<_>>().join(";"),
        Value::Map(map) => {
            let mut parts: Vec<String> = Vec::new();
            // The model carries the address: `virtio=BC:24:11:…`.
            if let Some(model) = map.get("model").and_then(Value::as_text) {
                let address = map.get("macaddr").and_then(Value::as_text);
                parts.push(address.map_or_else(|| model.to_owned(), |address| format!("{model}={address}")));
            }
            let rest = map.iter().filter(|(name, _)| *name != "model" && *name != "macaddr");
            parts.extend(
                rest.filter(|(_, value)| **value != Value::Bool(false))
                    .map(|(name, value)| format!("{name}={}", property(value))),
            );
            parts.join(",")
        }
        Value::Int(number) => number.to_string(),
        other => other.as_text().unwrap_or_default().to_owned(),
    }
}

fn grow_disks(vm: &Vm, node: &str, difference: &Difference, writer: &Writer) -> Result<()> {
    for key in vm.options.disks.keys().filter(|key| difference.touches(key)) {
        let Some(size) = difference.wanted(key).and_then(|disk| disk.get("size")).and_then(Value::as_text) else {
            continue;
        };
        if difference.found(key).is_none() {
            return Err(Error::new(Class::Blocked, format!("{}: has no disk {key} to grow", vm.address()))
                .help("a template brings its disks; name one of those, or add this one to the template"));
        }
        let params = Params::new().with("disk", key).with("size", size);
        let path = vm.path(node, "/resize");
        let answer = scope::wait(async { Ok(vm.pve.client().put(&path, &params, writer).await?) })?;
        vm.pve.finish_task(&answer, TASK_TIMEOUT)?;
    }
    Ok(())
}

fn set_power(vm: &Vm, node: &str, difference: &Difference, writer: &Writer) -> Result<()> {
    let state = |value: Option<&Value>| value.and_then(Value::as_text).map(str::to_owned);
    match (state(difference.found("status")).as_deref(), state(difference.wanted("status")).as_deref()) {
        (have, Some("running")) if have != Some("running") => {
            vm.pve.post_task(&vm.path(node, "/status/start"), &Params::new(), TASK_TIMEOUT, writer)
        }
        (Some("running"), Some("stopped")) => shut_down(vm, node, writer),
        _ => Ok(()),
    }
}

/// Where a machine is told to shut down, below its own path.
pub(in crate::primitives::proxmox) fn shut_down_path() -> &'static str {
    "/status/shutdown"
}

fn shut_down(vm: &Vm, node: &str, writer: &Writer) -> Result<()> {
    let params = Params::new().with("timeout", SHUTDOWN_SECONDS).with("forceStop", true);
    vm.pve.post_task(&vm.path(node, shut_down_path()), &params, TASK_TIMEOUT, writer)
}

/// What only takes effect after a restart gets one where the playbook says so.
fn restart_if_pending(vm: &Vm, node: &str, writer: &Writer) -> Result<()> {
    if !vm.options.reboot {
        return Ok(());
    }
    let rows = vm.pve.get(&Reader::default(), &vm.path(node, "/pending"), &Params::new())?;
    if super::state::Config::parse(&rows).pending.is_empty() {
        return Ok(());
    }
    let timeout = Duration::from_secs(u64::from(SHUTDOWN_SECONDS)) + TASK_TIMEOUT;
    vm.pve.post_task(&vm.path(node, "/status/reboot"), &Params::new(), timeout, writer)
}

fn destroy(vm: &Vm, difference: &Difference, writer: &Writer) -> Result<()> {
    let Some(node) = difference.found("node").and_then(Value::as_text) else { return Ok(()) };
    if difference.found("status").and_then(Value::as_text) == Some("running") {
        shut_down(vm, node, writer)?;
    }
    let params = Params::new().with("purge", true).with("destroy-unreferenced-disks", true);
    let path = vm.path(node, "");
    let answer = scope::wait(async { Ok(vm.pve.client().delete(&path, &params, writer).await?) })?;
    vm.changed.store(true, Ordering::Relaxed);
    vm.pve.finish_task(&answer, TASK_TIMEOUT)
}
