//! Power: starting, stopping and what runs while it is on.

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, not_found};
use super::drive::is_cloudinit;
use super::effects::Effect;
use super::mapping::find_device;
use super::property;
use super::vm::{Options, Running, Vm, is_drive, is_net, volume_of};
use super::vm_update::apply_pending;
use crate::sim::guests::{CloudInit, Function, Hardware, PciDevice};

/// How long a guest takes from power to its SSH server, and to its agent, in milliseconds.
const SSH_AFTER: u64 = 250;
const AGENT_AFTER: u64 = 300;
/// The service that answers the agent's calls.
const AGENT: &str = "qemu-guest-agent.service";

fn refuse_skip_lock(call: &Call) -> Result<(), Refusal> {
    if call.params.is_set("skiplock") && !call.caller.is_root() {
        return Err(Refusal::parameter("skiplock", "Only root may use this option."));
    }
    Ok(())
}

fn fork(cluster: &mut Cluster, call: &Call, kind: &str, effect: Effect) -> Outcome {
    refuse_skip_lock(call)?;
    cluster.fork(call, kind, &call.vmid().to_string(), effect)
}

/// `POST …/status/start`. Whatever is wrong, it answers a task.
pub(crate) fn post_start(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (vmid, skip_lock) = (call.vmid(), call.params.is_set("skiplock"));
    if cluster.vms.get(&vmid).is_some_and(|vm| vm.lock_file_held) {
        return fork(cluster, call, "qmstart", Effect::WaitForLock { vmid });
    }
    fork(cluster, call, "qmstart", Effect::Start { vmid: call.vmid(), skip_lock })
}

/// `POST …/status/stop`.
pub(crate) fn post_stop(cluster: &mut Cluster, call: &Call) -> Outcome {
    fork(cluster, call, "qmstop", Effect::Stop { vmid: call.vmid() })
}

/// `POST …/status/shutdown`.
pub(crate) fn post_shutdown(cluster: &mut Cluster, call: &Call) -> Outcome {
    fork(cluster, call, "qmshutdown", Effect::Shutdown { vmid: call.vmid() })
}

fn demand_running(cluster: &Cluster, call: &Call) -> Result<(), Refusal> {
    let vmid = call.vmid();
    let vm = cluster.vms.get(&vmid).filter(|vm| vm.node == call.node).ok_or_else(|| not_found(&call.node, vmid))?;
    if vm.running.is_none() {
        return Err(format!("VM {vmid} not running").into());
    }
    vm.check_lock().map_err(Refusal::from)
}

/// `POST …/status/reboot`.
pub(crate) fn post_reboot(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_running(cluster, call)?;
    fork(cluster, call, "qmreboot", Effect::Reboot { vmid: call.vmid() })
}

/// `POST …/status/reset`.
pub(crate) fn post_reset(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_running(cluster, call)?;
    fork(cluster, call, "qmreset", Effect::Reset { vmid: call.vmid() })
}

/// `POST …/status/suspend` and `…/resume`: only their refusals.
pub(crate) fn post_suspend(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_running(cluster, call)?;
    Err(Refusal::not_simulated("suspending a virtual machine"))
}

/// `GET …/status`.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = ["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"];
    Answer::of(names.map(|name| serde_json::json!({ "subdir": name })).to_vec())
}

/// The check that stop and shutdown make.
pub(crate) fn check_there(cluster: &Cluster, node: &str, vmid: u32) -> Result<(), String> {
    cluster.vms.get(&vmid).filter(|vm| vm.node == node).map(|_| ()).ok_or_else(|| not_found(node, vmid))
}

/// What keeps a machine from starting.
pub(crate) fn check_start(
    cluster: &Cluster,
    node: &str,
    vmid: u32,
    skip_lock: bool,
    log: &mut Vec<String>,
) -> Result<(), String> {
    let vm = cluster.vm(node, vmid).map_err(|refusal| refusal.reason)?;
    if !skip_lock {
        vm.check_lock()?;
    }
    if vm.is_template() {
        return Err("you can't start a vm if it's a template".into());
    }
    if vm.running.is_some() {
        return Err(format!("VM {vmid} already running"));
    }
    let config = vm.future();
    check_devices(cluster, node, vmid, &config, log)?;
    check_storages(cluster, node, &config)?;
    check_snippets(cluster, node, &config)?;
    warn(&config, log);
    let links = &cluster.nodes.get(node).map(|node| node.links.clone()).unwrap_or_default();
    for (_, value) in config.iter().filter(|(name, _)| is_net(name)) {
        let keys = property::loose(value);
        if let Some(bridge) = keys.get("bridge").filter(|bridge| !links.contains(*bridge)) {
            return Err(format!("bridge '{bridge}' does not exist"));
        }
    }
    Ok(())
}

fn warn(config: &Options, log: &mut Vec<String>) -> usize {
    let without_store = config.get("bios").is_some_and(|bios| bios == "ovmf") && !config.contains_key("efidisk0");
    if without_store {
        log.push("WARN: no efidisk configured! Using temporary efivars disk.".into());
    }
    usize::from(without_store)
}

fn check_devices(
    cluster: &Cluster,
    node: &str,
    vmid: u32,
    config: &Options,
    log: &mut Vec<String>,
) -> Result<(), String> {
    for (_, value) in config.iter().filter(|(name, _)| name.starts_with("hostpci")) {
        let keys = property::loose(value);
        let host = keys.get("host").or(keys.get(""));
        let address = match (host, keys.get("mapping")) {
            (Some(_), Some(_)) => Err("Cannot set both 'host' and 'mapping'.".to_string()),
            (Some(host), None) => Ok(host.clone()),
            (None, Some(mapping)) => find_device(cluster, node, mapping),
            (None, None) => Err("Either 'host' or 'mapping' must be set.".to_string()),
        };
        let address = address
            .inspect_err(|error| log.extend(error.split('\n').map(str::trim_end).map(str::to_string)))
            // The exit status is one line.
            .map_err(|error| error.replace('\n', " "))?;
        if let Some(other) = user_of(cluster, node, &address).filter(|other| *other != vmid) {
            return Err(format!("PCI device '{address}' already in use by VMID '{other}'"));
        }
    }
    Ok(())
}

/// The running machine that holds a device of a node.
fn user_of(cluster: &Cluster, node: &str, address: &str) -> Option<u32> {
    let holds = |vm: &Vm| {
        let mut devices = vm.config.iter().filter(|(name, _)| name.starts_with("hostpci"));
        devices.any(|(_, value)| {
            let keys = property::loose(value);
            let mapped = keys.get("mapping").and_then(|mapping| find_device(cluster, node, mapping).ok());
            let host = keys.get("host").or(keys.get("")).cloned();
            mapped.or(host).is_some_and(|held| held == address)
        })
    };
    let on_node = cluster.vms.iter().filter(|(_, vm)| vm.node == node && vm.running.is_some());
    on_node.filter(|(_, vm)| holds(vm)).map(|(vmid, _)| *vmid).next()
}

/// A machine's drives must be there, on storages that are in use.
fn check_storages(cluster: &Cluster, node: &str, config: &Options) -> Result<(), String> {
    let drives = config.iter().filter(|(name, _)| is_drive(name) && !name.starts_with("unused"));
    for id in drives.map(|(_, value)| volume_of(value)) {
        let Some((storage, _)) = id.split_once(':') else { continue };
        cluster.activate(node, storage)?;
        if cluster.volume(node, id).is_none() {
            return Err(format!("volume '{id}' does not exist"));
        }
    }
    Ok(())
}

fn check_snippets(cluster: &Cluster, node: &str, config: &Options) -> Result<(), String> {
    let Some(custom) = config.get("cicustom") else { return Ok(()) };
    let keys = property::loose(custom);
    match keys.values().find(|id| cluster.volume(node, id).is_none()) {
        Some(id) => Err(format!("volume '{id}' does not exist")),
        None => Ok(()),
    }
}

/// Switches a machine on.
pub(crate) fn start(
    cluster: &mut Cluster,
    node: &str,
    vmid: u32,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let already = cluster.vms.get(&vmid).is_some_and(|vm| vm.running.is_some());
    if already {
        return Err(format!("VM {vmid} already running"));
    }
    apply_pending(cluster, node, vmid);
    power_on(cluster, node, vmid, at, log)
}

fn power_on(cluster: &mut Cluster, node: &str, vmid: u32, at: u64, log: &mut Vec<String>) -> Result<usize, String> {
    let vm = cluster.vm(node, vmid).map_err(|refusal| refusal.reason)?;
    let has_drive = vm.config.values().any(|value| is_cloudinit(vmid, value));
    if has_drive {
        log.push("generating cloud-init ISO".into());
    }
    let pid = u32::try_from(at / 7 % 60_000).unwrap_or_default() + 2000;
    let running = Running { since: at, pid, agent: vm.wants_agent(), agent_silent: false, refuses_devices: false };
    let warnings = warn(&vm.config, &mut Vec::new());
    let disk = vm.boot_disk().and_then(|id| cluster.volume(node, id));
    if let Some((user, published)) = disk.and_then(|disk| Some((disk.system.clone()?, disk.published))) {
        let settings = cloud_init(cluster, node, vmid, &user);
        let hardware = hardware(cluster, node, vmid);
        cluster.machines.boot_guest(vmid, settings, &hardware, has_drive, published);
    }
    give_devices(cluster, node, vmid);
    if let Ok(vm) = cluster.vm_mut(node, vmid) {
        vm.running = Some(running);
        vm.executions.clear();
    }
    Ok(warnings)
}

/// The node's own drivers let go of what the guest gets.
fn give_devices(cluster: &Cluster, node: &str, vmid: u32) {
    let (Some(vm), Some(machine)) = (cluster.vms.get(&vmid), cluster.machines.node(node)) else { return };
    for (_, value) in vm.config.iter().filter(|(name, _)| name.starts_with("hostpci")) {
        let keys = property::loose(value);
        let mapped = keys.get("mapping").and_then(|mapping| find_device(cluster, node, mapping).ok());
        if let Some(address) = mapped.as_ref().or(keys.get("host")).or(keys.get("")) {
            machine.give_to_guest(address);
        }
    }
}

/// What QEMU shows the guest.
fn hardware(cluster: &Cluster, node: &str, vmid: u32) -> Hardware {
    let Some(vm) = cluster.vms.get(&vmid) else { return Hardware::default() };
    let disk = vm.boot_disk().and_then(|id| cluster.volume(node, id));
    let device = vm.config.iter().find(|(name, _)| is_net(name)).map(|(_, value)| property::loose(value));
    Hardware {
        processors: u32::try_from(vm.cpus()).unwrap_or(u32::MAX),
        memory_kib: vm.memory() / 1024,
        disk_bytes: disk.map_or(0, |volume| volume.size),
        // `virtio=BC:24:11:…`: the model's value is the address.
        mac: device.and_then(|keys| keys.into_values().find(|value| value.split(':').count() == 6)),
        devices: devices(cluster, node, vm),
    }
}

/// The devices of a node that a machine has for itself, as they are in its own slots.
fn devices(cluster: &Cluster, node: &str, vm: &Vm) -> Vec<Function> {
    let Some(machine) = cluster.machines.node(node) else { return Vec::new() };
    let bus = machine.pci();
    let mut all = Vec::new();
    for (number, (_, value)) in vm.config.iter().filter(|(name, _)| name.starts_with("hostpci")).enumerate() {
        let keys = property::loose(value);
        let mapped = keys.get("mapping").and_then(|mapping| find_device(cluster, node, mapping).ok());
        let Some(address) = mapped.as_ref().or(keys.get("host")).or(keys.get("")) else { continue };
        let slot = address.rsplit_once('.').map_or(address.as_str(), |(slot, _)| slot);
        let own = |device: &&PciDevice| device.address == *address || device.address.starts_with(&format!("{slot}."));
        all.extend(bus.iter().filter(own).map(|device| Function {
            slot: format!("00.{}", device.address.rsplit('.').next().unwrap_or("0")),
            class: device.class.clone(),
            id: device.id.clone(),
            subsystem_id: device.subsystem_id.clone(),
            bus: format!("{:02x}", number + 1),
            ..Function::default()
        }));
    }
    all
}

/// What the cloud-init drive tells the guest.
fn cloud_init(cluster: &Cluster, node: &str, vmid: u32, image_user: &str) -> CloudInit {
    let config = cluster.vms.get(&vmid).map(|vm| vm.config.clone()).unwrap_or_default();
    let text = |name: &str| config.get(name).cloned().unwrap_or_default();
    let network = property::loose(&text("ipconfig0"));
    let home = cluster.nodes.get(node);
    let gateway = home.map(|node| node.gateway.clone()).unwrap_or_default();
    let leased = || {
        // The router of a homelab gives addresses from the middle of its network.
        let prefix = gateway.rsplit_once('.').map(|(prefix, _)| prefix).unwrap_or("10.0.0");
        format!("{prefix}.{}/24", 100 + vmid % 100)
    };
    let fixed = network.get("ip").filter(|ip| ip.contains('/'));
    let given = |value: String, otherwise: &str| if value.is_empty() { otherwise.to_string() } else { value };
    let keys = percent_encoding::percent_decode_str(&text("sshkeys")).decode_utf8_lossy().into_owned();
    CloudInit {
        hostname: cluster.vms.get(&vmid).map(|vm| vm.name(vmid)).unwrap_or_default(),
        user: given(text("ciuser"), image_user),
        ssh_keys: keys.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string).collect(),
        address: fixed.cloned().unwrap_or_else(leased),
        gateway: network.get("gw").cloned().unwrap_or_else(|| gateway.clone()),
        nameserver: given(text("nameserver"), &gateway),
        searchdomain: given(text("searchdomain"), &cluster.search_domain),
        upgrade: text("ciupgrade") != "0",
        vendor: vendor_data(cluster, node, &config),
    }
}

/// What a machine's own file adds to its drive. That the file is there was seen before the start.
fn vendor_data(cluster: &Cluster, node: &str, config: &Options) -> String {
    let files = config.get("cicustom").map(|custom| property::loose(custom)).unwrap_or_default();
    let Some(id) = files.get("vendor") else { return String::new() };
    let host = cluster.volume(node, id).and_then(|volume| volume.host.clone());
    let machine = host.and_then(|host| cluster.machines.node(&host));
    let file = machine.and_then(|machine| machine.read_file(&cluster.path_of(id)));
    file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default()
}

/// Switches a machine off; what was pending becomes real.
pub(crate) fn stop(cluster: &mut Cluster, node: &str, vmid: u32) -> Result<usize, String> {
    check_there(cluster, node, vmid)?;
    if let Ok(vm) = cluster.vm_mut(node, vmid) {
        vm.running = None;
    }
    cluster.machines.switch_off_guest(vmid);
    apply_pending(cluster, node, vmid);
    Ok(0)
}

/// Off and on again.
pub(crate) fn reboot(
    cluster: &mut Cluster,
    node: &str,
    vmid: u32,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    stop(cluster, node, vmid)?;
    check_start(cluster, node, vmid, false, &mut Vec::new())?;
    power_on(cluster, node, vmid, at, log)
}

/// The reset button: the guest boots again, the configuration stays as it was.
pub(crate) fn reset(cluster: &mut Cluster, node: &str, vmid: u32, at: u64) -> Result<usize, String> {
    cluster.machines.reboot_guest(vmid);
    if let Ok(vm) = cluster.vm_mut(node, vmid)
        && let Some(running) = &mut vm.running
    {
        running.since = at;
    }
    Ok(0)
}

impl Cluster {
    fn up_for(&self, vmid: u32, now: u64, span: u64) -> bool {
        let since = self.vms.get(&vmid).and_then(|vm| vm.running.as_ref()).map(|running| running.since);
        since.is_some_and(|since| now >= since + self.span(span))
    }

    /// Whether the guest of a machine answers on the network.
    pub(crate) fn guest_answers(&self, vmid: u32, now: u64) -> bool {
        self.up_for(vmid, now, SSH_AFTER)
    }

    /// Whether the agent in a machine answers.
    pub(crate) fn agent_answers(&self, vmid: u32, now: u64) -> bool {
        self.up_for(vmid, now, AGENT_AFTER) && self.machines.guest_runs(vmid, AGENT)
    }
}
