//! `POST …/clone`: full and linked clones.

use serde::{Deserialize, Serialize};

use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, not_found};
use super::drive::{NewDisk, is_cloudinit, transferred};
use super::effects::Effect;
use super::option_rights::{Rights, storages_of};
use super::property;
use super::vm::{Options, Vm, is_drive, is_net, volume_of};
use super::volume::{fresh_use, split};

/// A clone to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CloneOrder {
    vmid: u32,
    pub(crate) newid: u32,
    name: Option<String>,
    description: Option<String>,
    full: bool,
    storage: Option<String>,
    format: Option<String>,
    target: String,
}

/// `POST /nodes/{node}/qemu/{vmid}/clone`.
pub(crate) fn clone(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (params, vmid) = (&call.params, call.vmid());
    let target = params.get("target").unwrap_or(&call.node).to_string();
    if let Some(pool) = params.get("pool") {
        return Err(match cluster.pools.contains_key(pool) {
            true => Refusal::not_simulated("parameter pool of POST /nodes/{node}/qemu/{vmid}/clone"),
            false => Refusal::forbidden(&format!("pool '{pool}' does not exist")),
        });
    }
    if !cluster.nodes.contains_key(&target) {
        return Err(format!("no such cluster node '{target}'").into());
    }
    if let Some(storage) = params.get("storage") {
        cluster.storage(storage)?;
    }
    let source = cluster.vms.get(&vmid).filter(|vm| vm.node == call.node);
    let source = source.ok_or_else(|| not_found(&call.node, vmid))?;
    let full = params.is_set("full") || !source.is_template();
    source.check_lock()?;
    if let Some(snapshot) = params.get("snapname") {
        return Err(format!("snapshot '{snapshot}' does not exist").into());
    }
    if let Some(wrong) = ["storage", "format"].into_iter().find(|name| !full && params.get(name).is_some()) {
        return Err(format!("parameter '{wrong}' not allowed for linked clones").into());
    }
    let order = CloneOrder {
        vmid,
        newid: params.number("newid").unwrap_or_default(),
        name: params.get("name").map(str::to_string),
        description: params.get("description").map(str::to_string),
        full,
        storage: params.get("storage").map(str::to_string),
        format: params.get("format").map(str::to_string),
        target,
    };
    check_target(cluster, call, source, &order)?;
    cluster.fork(call, "qmclone", &vmid.to_string(), Effect::Clone(order))
}

fn check_target(cluster: &Cluster, call: &Call, source: &Vm, order: &CloneOrder) -> Result<(), Refusal> {
    let storages = match &order.storage {
        Some(storage) => vec![storage.clone()],
        None => storages_of(&source.config),
    };
    for storage in &storages {
        let definition = cluster.storage(storage)?;
        if !call.caller.is_root() {
            let path = format!("/storage/{storage}");
            cluster.access.demand(&call.caller, &path, &["Datastore.AllocateSpace"])?;
        }
        if !definition.holds("images") {
            let text = format!("storage '{storage}' does not support vm images");
            return Err(Refusal::parameter("storage", text));
        }
    }
    Rights { cluster, caller: &call.caller, vmid: order.newid }.bridges(&source.config)?;
    if cluster.vms.contains_key(&order.newid) {
        return Err(format!("unable to create VM {}: config file already exists", order.newid).into());
    }
    let is_local = |storage: &String| cluster.storage(storage).is_ok_and(|one| !one.is_shared());
    if order.target != call.node && storages_of(&source.config).iter().any(is_local) {
        return Err(format!("can't clone VM to node '{}' (VM uses local storage)", order.target).into());
    }
    Ok(())
}

/// Takes the number and locks it.
pub(crate) fn begin(cluster: &mut Cluster, _: &str, order: &CloneOrder, log: &mut Vec<String>) -> Result<u64, String> {
    log.push(format!("creating a clone of VM {} with ID {}", order.vmid, order.newid));
    let config = Options::from([("lock".to_string(), "clone".to_string())]);
    cluster.vms.insert(order.newid, Vm { node: order.target.clone(), config, ..Vm::default() });
    Ok(if order.full { 300 } else { 100 })
}

/// Copies the drives and writes the configuration.
pub(crate) fn finish(
    cluster: &mut Cluster,
    node: &str,
    order: &CloneOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    let before = cluster.volumes_of(order.newid);
    let copied = copy(cluster, node, order, at, log);
    match copied {
        Ok(config) => {
            cluster.vms.insert(order.newid, Vm { node: order.target.clone(), config, ..Vm::default() });
            cluster.machines.copy_guest(order.vmid, order.newid).map_err(|error| error.to_string())?;
            Ok(0)
        }
        Err(error) => {
            cluster.vms.remove(&order.newid);
            cluster.free_volumes_but(order.newid, &before);
            Err(format!("clone failed: {error}"))
        }
    }
}

fn copy(
    cluster: &mut Cluster,
    node: &str,
    order: &CloneOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<Options, String> {
    let source = cluster.vms.get(&order.vmid).cloned().ok_or_else(|| not_found(node, order.vmid))?;
    let mut config = source.config.clone();
    let dropped = ["template", "lock", "parent", "snaptime"];
    config.retain(|name, _| !dropped.contains(&name.as_str()) && !name.starts_with("unused"));
    for (name, value) in &source.config {
        if is_drive(name) {
            config.insert(name.clone(), copy_drive(cluster, node, order, name, value, at, log)?);
        } else if is_net(name) {
            config.insert(name.clone(), with_new_mac(cluster, value));
        }
    }
    config.insert("smbios1".into(), format!("uuid={}", cluster.chance.uuid()));
    config.insert("vmgenid".into(), cluster.chance.uuid());
    let made_up = || format!("Copy-of-VM-{}", source.name(order.vmid));
    config.insert("name".into(), order.name.clone().unwrap_or_else(made_up));
    if let Some(description) = &order.description {
        config.insert("description".into(), description.clone());
    }
    Ok(config)
}

fn with_new_mac(cluster: &mut Cluster, value: &str) -> String {
    let (card, rest) = value.split_once(',').map_or((value, String::new()), |(card, rest)| (card, format!(",{rest}")));
    let model = card.split('=').next().unwrap_or("virtio");
    format!("{model}={}{rest}", cluster.chance.mac())
}

fn copy_drive(
    cluster: &mut Cluster,
    node: &str,
    order: &CloneOrder,
    name: &str,
    value: &str,
    at: u64,
    log: &mut Vec<String>,
) -> Result<String, String> {
    let id = volume_of(value).to_string();
    if is_cloudinit(order.vmid, value) {
        let home = id.split(':').next().unwrap_or_default();
        let storage = order.storage.as_deref().unwrap_or(home);
        return cluster.provide(&order.target, order.newid, name, &format!("{storage}:cloudinit"), at, log);
    }
    if value.contains("media=cdrom") {
        return Ok(value.to_string());
    }
    let volume = cluster.volume(node, &id).cloned().ok_or_else(|| format!("volume '{id}' does not exist"))?;
    let kind = if order.full { "full" } else { "linked" };
    log.push(format!("create {kind} clone of drive {name} ({id})"));
    let storage = order.storage.clone().unwrap_or_else(|| split(&id).0.to_string());
    let format = match &order.format {
        Some(format) => format.clone(),
        None if order.full => volume.format.clone(),
        None => "qcow2".into(),
    };
    let size = volume.size;
    let (base, base_format) = (volume.name.clone(), volume.format.clone());
    let disk = NewDisk { vmid: order.newid, size, format, image: Some(volume) };
    let mut new = cluster.new_disk(&order.target, &storage, disk, at)?;
    if order.full {
        log.extend(cluster.formatting(&order.target, &new));
        log.push(format!("allocated target volume '{new}'"));
        // The small disks of the firmware are copied without a word.
        if !matches!(name, "efidisk0" | "tpmstate0") {
            log.extend(transferred(size));
        }
    } else {
        log.extend(linked(cluster, order, &new, &base, &base_format, size));
        // A linked clone is named together with the base it rests on.
        let own = new.split_once(':').map(|(_, own)| own.to_string()).unwrap_or_default();
        let linked = format!("{id}/{own}");
        if let Some(volume) = cluster.volume_mut(&order.target, &new) {
            volume.name = split(&linked).1.into();
            // It holds only what differs from its base.
            volume.used = fresh_use(&volume.format, volume.size, "metadata");
        }
        new = linked;
    }
    let mut keys = property::loose(value);
    keys.remove("");
    Ok(property::print(&new, &keys, &["file"]))
}

/// What is said of a disk that rests on a base, where disks are files.
fn linked(cluster: &Cluster, order: &CloneOrder, new: &str, base: &str, format: &str, size: u64) -> Vec<String> {
    let has_files = cluster.storage(split(new).0).is_ok_and(|storage| storage.has_files());
    let Some(file) = new.rsplit('/').next().filter(|_| has_files) else { return Vec::new() };
    let (vmid, path) = (order.newid, cluster.path_of(new));
    let ahead = if format == "raw" { "off" } else { "metadata" };
    vec![
        format!("clone {base}: images, {file}, {vmid} to {file} (base=../{base})"),
        format!(
            "Formatting '{path}', fmt=qcow2 cluster_size=131072 extended_l2=on preallocation={ahead} \
             compression_type=zlib size={size} backing_file=../{base} backing_fmt={format} lazy_refcounts=off \
             refcount_bits=16"
        ),
    ]
}
