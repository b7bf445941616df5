//! `POST /nodes/{node}/qemu`: a new virtual machine.

use serde::{Deserialize, Serialize};

use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::drive::drives;
use super::effects::Effect;
use super::option_rights::Rights;
use super::vm::{Options, Vm, is_disk, is_drive, is_net};
use super::vm_update::{check_new, normalise};

/// A machine to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CreateOrder {
    pub(crate) vmid: u32,
    options: Options,
    start: bool,
}

const NO_OPTIONS: [&str; 12] = [
    "node",
    "vmid",
    "archive",
    "bwlimit",
    "force",
    "ha-managed",
    "live-restore",
    "pool",
    "start",
    "storage",
    "unique",
    "import-working-storage",
];

/// `POST /nodes/{node}/qemu`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vmid = call.vmid();
    let caller = &call.caller;
    if !caller.is_root() && !cluster.access.has_any(caller, &format!("/vms/{vmid}"), &["VM.Allocate"]) {
        return Err(Refusal::forbidden(""));
    }
    if let Some(archive) = call.params.get("archive") {
        return Err(refuse_archive(cluster, call, archive));
    }
    if call.params.get("storage").is_some() {
        return Err(Refusal::not_simulated("parameter storage of POST /nodes/{node}/qemu without an archive"));
    }
    let options = call.params.without(&NO_OPTIONS);
    check_new(cluster, &call.node, &options)?;
    Rights { cluster, caller, vmid }.to_set(&options)?;
    if let Some(vm) = cluster.vms.get(&vmid) {
        let text = format!("unable to create VM {vmid} - VM {vmid} already exists on node '{}'", vm.node);
        return Err(text.into());
    }
    let order = CreateOrder { vmid, options, start: call.params.is_set("start") };
    cluster.fork(call, "qmcreate", &vmid.to_string(), Effect::Create(order))
}

/// Machines cannot be made from backups here. One that is not there could not be read by anybody.
fn refuse_archive(cluster: &Cluster, call: &Call, archive: &str) -> Refusal {
    if archive != "-" && cluster.volume(&call.node, archive).is_none() {
        return Refusal::failed(format!("volume '{archive}' does not exist"));
    }
    Refusal::not_simulated("making a virtual machine from an archive")
}

/// Takes the number, so that nobody else can.
pub(crate) fn begin(cluster: &mut Cluster, node: &str, order: &CreateOrder) -> Result<u64, String> {
    let config = Options::from([("lock".to_string(), "create".to_string())]);
    cluster.vms.insert(order.vmid, Vm { node: node.into(), config, ..Vm::default() });
    let imports = order.options.values().any(|value| value.contains("import-from="));
    Ok(if imports { 400 } else { 100 })
}

/// Makes the drives and writes the configuration. When a drive fails, nothing stays.
pub(crate) fn finish(
    cluster: &mut Cluster,
    node: &str,
    order: &CreateOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let vmid = order.vmid;
    let mut config = Options::new();
    let before = cluster.volumes_of(vmid);
    for (name, value) in &order.options {
        let stored = if is_drive(name) {
            cluster.provide(node, vmid, name, value, at, log)
        } else {
            Ok(normalise(cluster, name, value))
        };
        match stored {
            Ok(stored) => drop(config.insert(name.clone(), stored)),
            Err(error) => {
                cluster.vms.remove(&vmid);
                cluster.free_volumes_but(vmid, &before);
                return Err(format!("unable to create VM {vmid} - {error}"));
            }
        }
    }
    if config.get("description").is_some_and(String::is_empty) {
        config.remove("description");
    }
    config.insert("meta".into(), format!("creation-qemu=10.1.2,ctime={}", at / 1000));
    identify(cluster, &mut config);
    if !config.contains_key("boot") {
        config.insert("boot".into(), default_boot(&config));
    }
    let vm = Vm { node: node.into(), config, ..Vm::default() };
    cluster.vms.insert(vmid, vm);
    if order.start {
        super::vm_power::check_start(cluster, node, vmid, false, log)?;
        return super::vm_power::start(cluster, node, vmid, at, log);
    }
    Ok(0)
}

/// Gives a machine ids of its own, where it has none.
fn identify(cluster: &mut Cluster, config: &mut Options) {
    if !config.contains_key("smbios1") {
        config.insert("smbios1".into(), format!("uuid={}", cluster.chance.uuid()));
    }
    if !config.contains_key("vmgenid") {
        config.insert("vmgenid".into(), cluster.chance.uuid());
    }
}

/// First disk, first CD drive, first network card.
fn default_boot(config: &Options) -> String {
    let bootable = || drives(config).filter(|(name, _)| is_disk(name));
    let disk = bootable().find(|(_, value)| !value.contains("media=cdrom")).map(|(name, _)| name);
    let is_cd = |value: &str| value.contains("media=cdrom") && !value.contains("cloudinit");
    let cd = bootable().find(|(_, value)| is_cd(value)).map(|(name, _)| name);
    let net = config.keys().find(|name| is_net(name));
    let devices: Vec<&str> = [disk, cd, net].into_iter().flatten().map(String::as_str).collect();
    format!("order={}", devices.join(";"))
}
