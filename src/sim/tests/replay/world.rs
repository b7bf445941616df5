//! A simulated world in the state that a recording was made in: what its words say, and what its exchanges show to have
//! been there.

use std::path::Path;

use serde_json::Value;

use super::super::lab::{Client, seed, start_seeded};
use super::files;
use super::given::{Given, GivenMachine, GivenStorage};
use super::names;
use super::prior::{self, Options, PriorMachine};
use super::recording::{Exchange, Recording};
use super::shown;
use super::{storages, tags};
use crate::sim::chance::now;
use crate::sim::proxmox::{HOMELAB, PciDevice, Place, Vm, Volume, fresh_use, parse_size, size_text};
use crate::sim::{GpuSeed, NodeSeed, Scenario, Seed, Sim, StorageSeed, TemplateSeed};

/// What lies on a storage of files of which the words tell no more.
const USUAL: &str = "iso,vztmpl,backup,snippets,import";

/// Makes the world.
pub(super) async fn prepare(dir: &Path, recording: &Recording, given: &Given) -> Sim {
    let sim = start_seeded(dir, seed_of(recording, given), None, pace(recording)).await;
    {
        let mut world = sim.frame.world();
        for cluster in &mut world.clusters {
            cluster.mappings.clear();
            let extra: Vec<String> = cluster.access.users.keys().filter(|user| *user != "root@pam").cloned().collect();
            for user in extra {
                cluster.access.users.remove(&user);
            }
            cluster.access.roles.clear();
            cluster.access.rows.clear();
        }
    }
    hardware(&sim, recording);
    files::prepare(&sim, recording);
    storages::prepare(&sim, recording, given);
    rights(&sim, recording, given).await;
    objects(&sim, recording, given).await;
    machines(&sim, recording, given).await;
    tags::prepare(&sim, recording);
    storages::add_disks(&sim, recording);
    {
        // Last of all, for a cluster without a majority takes nothing new.
        let mut world = sim.frame.world();
        for node in &given.off {
            assert!(world.power(node, false, now()), "{node} is no node of the world");
        }
        for node in &given.apart {
            world.corosync(node, false, now());
        }
    }
    sim
}

/// How fast its world goes: what a new cluster shows, it shows for seconds only, which a fast one would take for itself.
fn pace(recording: &Recording) -> f64 {
    let changes = |path: &str| path == "/cluster/config" || path == "/cluster/config/join";
    let makes =
        |one: &Exchange| one.request.method == "POST" && changes(one.request.path()) && recording.succeeded(one);
    if recording.exchanges.iter().any(makes) { 0.5 } else { 0.02 }
}

pub(super) fn addresses(recording: &Recording, given: &Given) -> Vec<(String, String)> {
    let mut known = shown::addresses(recording);
    known.extend(names::addresses(recording));
    let named = |(index, (name, told)): (usize, &(String, Option<String>))| {
        let address = told.clone().or_else(|| known.get(name).cloned());
        (name.clone(), address.unwrap_or_else(|| format!("192.0.2.{}", 11 + index)))
    };
    given.nodes.iter().enumerate().map(named).collect()
}

fn seed_of(recording: &Recording, given: &Given) -> Seed {
    let nodes: Vec<NodeSeed> = addresses(recording, given)
        .into_iter()
        .map(|(name, ip)| NodeSeed { name, ip, memory_mb: 24_105, cores: 16 })
        .collect();
    let card = |node: &NodeSeed, index: usize| GpuSeed {
        mapping: format!("card{index}-{}", node.name),
        node: node.name.clone(),
        address: given.cards[index].address.clone(),
        pci_id: "10de:2204".into(),
        audio_id: "10de:1aef".into(),
        subsystem_id: "1458:403b".into(),
        iommu_group: given.cards[index].group,
        enclosure_uid: String::new(),
    };
    let template = given.machines.iter().find(|(_, machine)| machine.is_template);
    let template = template.filter(|(vmid, _)| !is_made_here(recording, **vmid)).map(|(vmid, machine)| TemplateSeed {
        vmid: *vmid,
        name: "template".into(),
        node: nodes[0].name.clone(),
        storage: machine.storage.clone().unwrap_or_else(|| "local".into()),
        ci_user: "ubuntu".into(),
    });
    let gateway = nodes[0].ip.rsplit_once('.').map_or("192.0.2.1".to_string(), |(network, _)| format!("{network}.1"));
    Seed {
        cluster_name: given.cluster.clone().unwrap_or_else(|| "homelab-cluster".into()),
        gpus: nodes.iter().flat_map(|node| (0..given.cards.len()).map(move |index| card(node, index))).collect(),
        gateway,
        search_domain: "example.test".into(),
        bridges: if given.bridges.is_empty() { files::bridges(recording) } else { given.bridges.clone() },
        storages: defined(recording, given),
        template,
        nodes,
        ..seed(if given.is_cluster { Scenario::Plan } else { Scenario::Bare })
    }
}

fn is_made_here(recording: &Recording, vmid: u32) -> bool {
    prior::machines(recording).get(&vmid).is_some_and(|known| known.is_made_here)
}

/// The storages of the words, and those that only the exchanges show.
fn defined(recording: &Recording, given: &Given) -> Vec<StorageSeed> {
    let seen = shown::storages(recording);
    let mut all = given.storages.clone();
    // Where the words list storages, a list that an exchange shows can only tell more about them.
    if given.storages.is_empty() && given.is_cluster {
        for id in seen.keys() {
            all.push(GivenStorage {
                id: id.clone(),
                kind: "dir".into(),
                also: vec!["images".into()],
                ..GivenStorage::default()
            });
        }
    }
    let seed = |storage: GivenStorage| {
        let row = seen.get(&storage.id);
        let text = |key: &str| row.and_then(|row| row[key].as_str()).map(str::to_string);
        let told = if storage.content.is_empty() { storage.usual() } else { storage.content.join(",") };
        StorageSeed {
            kind: text("type").unwrap_or(storage.kind.clone()),
            content: text("content").unwrap_or(told),
            shared: row.and_then(|row| row.get("shared")).map_or(storage.shared, |flag| *flag == 1),
            size_bytes: 270_553_174_016,
            source: match (text("server").zip(text("export")), text("path").or(storage.path)) {
                (Some((server, export)), _) => format!("{server}:{export}"),
                (None, path) => text("pool").or(path).unwrap_or_default(),
            },
            id: storage.id,
            options: String::new(),
        }
    };
    all.into_iter().map(seed).collect()
}

impl GivenStorage {
    fn usual(&self) -> String {
        let mut content: Vec<&str> = USUAL.split(',').collect();
        content.extend(self.also.iter().map(String::as_str));
        if self.shared {
            content.push("images");
        }
        content.sort_unstable();
        content.dedup();
        content.join(",")
    }
}

/// The PCI functions that lists show, in the place of those made up.
fn hardware(sim: &Sim, recording: &Recording) {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().trim_start_matches("0x").to_string();
    let device = |row: &Value| PciDevice {
        address: text(row, "id"),
        class: row["class"].as_str().unwrap_or_default().into(),
        id: format!("{}:{}", text(row, "vendor"), text(row, "device")),
        subsystem_id: format!("{}:{}", text(row, "subsystem_vendor"), text(row, "subsystem_device")),
        iommu_group: row["iommugroup"].as_u64().and_then(|group| u32::try_from(group).ok()),
    };
    for cluster in &mut sim.frame.world().clusters {
        for (name, node) in &mut cluster.nodes {
            let rows = shown::devices(recording, name);
            if !rows.is_empty() {
                node.devices = rows.iter().map(device).collect();
            }
        }
    }
}

/// Users, tokens, roles and rows.
async fn rights(sim: &Sim, recording: &Recording, given: &Given) {
    let secret = sim.credentials()["HOMELAB_PVE_TOKEN_SECRET"].clone();
    let mut tokens = shown::tokens(recording);
    tokens.extend(given.tokens.iter().cloned());
    let mut world = sim.frame.world();
    let Some(access) = world.clusters.first_mut().map(|cluster| &mut cluster.access) else { return };
    for user in given.users.iter().chain(tokens.iter().map(|(user, _)| user)) {
        if !access.users.contains_key(user) {
            access.add_user(user, "");
        }
    }
    let privileges = |role: &str| HOMELAB.into_iter().find(|(_, name, _, _)| *name == role).map(|(_, _, _, list)| list);
    for role in given.roles.iter().chain(given.rows.iter().map(|(_, role, _)| role)) {
        let seen = shown::rows(recording, "/access/roles", "roleid").into_iter().find(|row| row["roleid"] == *role);
        let seen = seen.and_then(|row| row["privs"].as_str()).map(str::to_string);
        let list = seen.or_else(|| privileges(role).map(str::to_string)).unwrap_or_default();
        access
            .roles
            .insert(role.clone(), list.split([' ', ',']).filter(|one| !one.is_empty()).map(str::to_string).collect());
    }
    for (user, token) in &tokens {
        access.add_token(user, token, true, &secret);
        let list = format!("/access/users/{user}/token");
        let listed = shown::rows(recording, &list, "tokenid").into_iter().find(|row| row["tokenid"] == *token);
        let comment = listed.and_then(|row| row["comment"].as_str());
        let known = access.users.get_mut(user).and_then(|user| user.tokens.get_mut(token));
        if let Some((known, comment)) = known.zip(comment) {
            known.comment = comment.into();
        }
        if given.rows.is_empty() {
            access.grant_homelab(user, token);
        }
        for (path, role, propagate) in &given.rows {
            access.grant(user, token, path, role, *propagate);
        }
    }
}

/// What lists show: users, groups, roles, pools and mappings that no exchange made.
async fn objects(sim: &Sim, recording: &Recording, given: &Given) {
    let first = addresses(recording, given)[0].1.clone();
    let root = Client::root(sim, &first).await;
    let kinds = [
        ("/access/users", "userid"),
        ("/access/groups", "groupid"),
        ("/access/roles", "roleid"),
        ("/pools", "poolid"),
        ("/cluster/mapping/pci", "id"),
    ];
    for (path, key) in kinds {
        let known = root.get(path).await;
        for row in shown::rows(recording, path, key).into_iter().filter(|row| row["special"] != 1) {
            if known.body["data"].as_array().into_iter().flatten().any(|one| one[key] == row[key]) {
                continue;
            }
            let hidden = ["digest", "type", "checks", "special", "realm-type", "tfa-locked-until", "users", "tokens"];
            let fields = super::recording::pairs(row);
            let fields: Vec<(&str, &str)> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .filter(|(name, value)| !hidden.contains(name) && *value != "null" && !value.is_empty())
                .collect();
            let made = root.post(path, &fields).await;
            if made.status != 200 {
                println!("   {path} {}: cannot be made: {}", row[key], made.reason);
            }
        }
    }
}

/// The machines that were there.
async fn machines(sim: &Sim, recording: &Recording, given: &Given) {
    let nodes = addresses(recording, given);
    let mut all = prior::machines(recording);
    for vmid in given.machines.keys() {
        all.entry(*vmid).or_default();
    }
    let bridge = given.bridges.first().cloned().unwrap_or_else(|| files::bridges(recording).remove(0));
    let mut running = Vec::new();
    for (vmid, known) in &all {
        let told = given.machines.get(vmid);
        let is_there = (told.is_some() || known.node.is_some()) && !known.is_made_here && !given.free.contains(vmid);
        if !is_there {
            continue;
        }
        let told = told.cloned().unwrap_or_default();
        let node = known.node.clone().unwrap_or_else(|| nodes[0].0.clone());
        insert(sim, &node, *vmid, &told, known, &bridge);
        if told.runs.or(known.runs).unwrap_or(false) {
            running.push((*vmid, node));
        }
    }
    furnish(sim);
    for (vmid, node) in running {
        let address = nodes.iter().find(|(name, _)| *name == node).map_or(&nodes[0].1, |(_, address)| address);
        let root = Client::root(sim, address).await;
        let task = root.post(&format!("/nodes/{node}/qemu/{vmid}/status/start"), &[]).await;
        let end = root.ended(&task).await;
        assert!(end == "OK" || end.starts_with("WARNINGS"), "VM {vmid} does not start: {end}");
        if given.machines.get(&vmid).is_some_and(|told| told.refuses_devices) {
            for running in
                sim.frame.world().clusters.iter_mut().filter_map(|one| one.vms.get_mut(&vmid)?.running.as_mut())
            {
                running.refuses_devices = true;
            }
        }
    }
}

/// The recorders' agents answered without a guest, so that every disk here counts as one with a system.
pub(super) fn furnish(sim: &Sim) {
    for cluster in &mut sim.frame.world().clusters {
        for volume in &mut cluster.volumes {
            volume.system.get_or_insert("ubuntu".into());
        }
    }
}

fn insert(sim: &Sim, node: &str, vmid: u32, told: &GivenMachine, known: &PriorMachine, bridge: &str) {
    let mut world = sim.frame.world();
    let Some(cluster) = world.cluster_of(node) else { return };
    let is_template = told.is_template || known.is_template;
    let made_up = cluster.vms.get(&vmid).map(|vm| vm.config.clone());
    let mut config = match (&known.config, made_up) {
        (Some(config), _) => config.clone(),
        (None, Some(config)) => config,
        (None, None) => plain(vmid, told, known, bridge),
    };
    let maxdisk = known.hints.get("maxdisk").and_then(|bytes| bytes.parse::<u64>().ok());
    if known.config.is_none() {
        config.extend(
            known.hints.iter().filter(|(name, _)| *name != "maxdisk").map(|(key, value)| (key.clone(), value.clone())),
        );
    }
    for (name, value) in [("smbios1", format!("uuid={}", cluster.chance.uuid())), ("vmgenid", cluster.chance.uuid())] {
        config.entry(name.into()).or_insert(value);
    }
    config.entry("meta".into()).or_insert("creation-qemu=10.1.2,ctime=1700000000".into());
    if is_template {
        config.insert("template".into(), "1".into());
    }
    config.entry("boot".into()).or_insert_with(|| default_boot(&known.hints));
    cluster.volumes.retain(|volume| volume.vmid != Some(vmid));
    let drives: Vec<(String, String)> =
        config.iter().filter(|(name, _)| is_drive(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in drives {
        let stored = match value.strip_suffix(":1") {
            Some(storage) => {
                format!("{storage}:{vmid}/vm-{vmid}-disk-0.raw,size={}", size_text(maxdisk.unwrap_or(1 << 30)))
            }
            None => value,
        };
        let id = stored.split(',').next().unwrap_or_default().to_string();
        let size = stored.split("size=").nth(1).and_then(|rest| parse_size(rest.split(',').next()?));
        if let Some((storage, own)) = id.split_once(':')
            && let Some(place) = cluster.place(node, storage)
        {
            let size = size.unwrap_or(if id.contains("cloudinit") { 4 << 20 } else { 1 << 30 });
            cluster.put_volume(volume(place, own, size, vmid));
        }
        config.insert(name, stored);
    }
    cluster.vms.insert(vmid, Vm { node: node.into(), config, ..Vm::default() });
}

fn volume(place: Place, name: &str, size: u64, vmid: u32) -> Volume {
    let format = name.rsplit_once('.').map_or("raw", |(_, ending)| ending);
    let used = fresh_use(format, size, "metadata");
    Volume {
        size,
        length: used,
        used,
        format: format.into(),
        content: "images".into(),
        vmid: Some(vmid),
        ctime: 1_700_000_000,
        ..Volume::at(place, name)
    }
}

/// A machine of which nothing was read: one disk, one network card.
fn plain(vmid: u32, told: &GivenMachine, known: &PriorMachine, bridge: &str) -> Options {
    let has_disk = known.hints.get("maxdisk").is_none_or(|bytes| bytes != "0");
    let storage = told.storage.as_deref().unwrap_or("local");
    let size = told.disk.unwrap_or(1);
    let disk = format!("{storage}:{vmid}/vm-{vmid}-disk-0.raw,size={size}G");
    let mut options = Options::from([
        ("memory".into(), "256".into()),
        ("net0".into(), format!("virtio=BC:24:11:00:00:01,bridge={bridge}")),
    ]);
    if has_disk {
        options.insert("scsi0".into(), disk);
    }
    options
}

fn default_boot(_: &Options) -> String {
    "order=scsi0;net0".into()
}

fn is_drive(name: &str) -> bool {
    let bus = name.trim_end_matches(|c: char| c.is_ascii_digit());
    bus != name && matches!(bus, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate" | "unused")
}
