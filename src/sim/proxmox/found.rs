//! How a world begins: the clusters of a seed.

use std::collections::BTreeMap;

use super::access::Access;
use super::checksum::Sums;
use super::cluster::{Cluster, Node, root_size};
use super::corosync::{self, Corosync};

use super::mapping::Mapping;
use super::outside::{Export, Outside, Server, WebFile, WebServer};
use super::shares::Shares;
use super::storage::Storage;
use super::storage_kind::{self, Settings};
use super::twists;
use super::vm::{Options, Vm};
use super::volume::{Volume, fresh_use, split};
use crate::error::Result;
use crate::sim::chance::{self, Chance};
use crate::sim::guests::{CARD, Machines};
use crate::sim::seed::{Scenario, Seed, Start, StorageSeed, TemplateSeed};
use crate::sim::tls::Certificates;
use crate::sim::world::Secrets;

/// The user that automates, and its token.
pub(crate) const USER: &str = "automation@pve";
pub(crate) const TOKEN: &str = "homelab";

/// Where the installer puts guests on ZFS.
const INSTALLED_POOL: &str = "rpool/data";

/// The root disk of the template, the size of the cloud image.
const TEMPLATE_SIZE: u64 = 3584 << 20;
/// What is on it.
const TEMPLATE_USED: u64 = 1800 << 20;

/// The clusters of a seed: one of all nodes, or each node alone.
pub(crate) fn found(seed: &Seed, certificates: &Certificates, secrets: &Secrets) -> Result<Vec<Cluster>> {
    let names: Vec<&str> = seed.nodes.iter().map(|node| node.name.as_str()).collect();
    let start = seed.scenario.start();
    let mut clusters = match start {
        Start::Bare => {
            names.iter().map(|name| bare(seed, &[name], certificates, secrets)).collect::<Result<Vec<_>>>()?
        }
        Start::WithoutAccess | Start::Whole => vec![bare(seed, &names, certificates, secrets)?],
    };
    if let (Some(cluster), true) = (clusters.first_mut(), start != Start::Bare) {
        plan(cluster, seed);
        if start == Start::Whole {
            permit(cluster, secrets);
        }
    }
    clusters.iter_mut().for_each(|cluster| twists::apply(cluster, seed));
    Ok(clusters)
}

/// Fresh nodes.
fn bare(seed: &Seed, names: &[&str], certificates: &Certificates, secrets: &Secrets) -> Result<Cluster> {
    let key = chance::hex(&chance::secret_bytes()?);
    let mut nodes = BTreeMap::new();
    let root = seed.storages.iter().find(|storage| storage.id == "local").map(|storage| storage.size_bytes);
    for (index, node) in seed.nodes.iter().enumerate().filter(|(_, node)| names.contains(&node.name.as_str())) {
        nodes.insert(
            node.name.clone(),
            Node {
                number: u32::try_from(index).unwrap_or_default() + 1,
                ip: node.ip.clone(),
                gateway: seed.gateway.clone(),
                memory_mb: node.memory_mb,
                cores: node.cores,
                cards: [CARD.to_string()].into(),
                certificates: certificates.of(&node.name),
                booted: chance::now(),
                root_size: root.unwrap_or_else(root_size),
                dreads_vlans: seed.scenario == Scenario::S9 && index == 1,
                pools: pools(seed, "zfspool"),
                thin_pools: pools(seed, "lvmthin"),
                votes: 1,
                ..Node::default()
            },
        );
    }
    Ok(Cluster {
        corosync: None,
        pace: 1.0,
        search_domain: seed.search_domain.clone(),
        nodes,
        storages: installed(seed),
        volumes: Vec::new(),
        outside: outside(seed),
        looked: BTreeMap::new(),
        shares: Shares::default(),
        mappings: BTreeMap::new(),
        vms: BTreeMap::new(),
        tasks: Vec::new(),
        access: Access::with_root(&key, &secrets.root_password),
        pools: BTreeMap::new(),
        machines: Machines::default(),
        chance: Chance::new()?,
    })
}

/// Everything that comes before the first virtual machine, but for who may do what.
fn plan(cluster: &mut Cluster, seed: &Seed) {
    cluster.corosync = Some(Corosync {
        name: seed.cluster_name.clone(),
        version: cluster.nodes.len() as u64,
        links: [0].into(),
        token_coefficient: corosync::TOKEN_COEFFICIENT,
        shows_from: 0,
    });
    for node in cluster.nodes.values_mut() {
        node.rings.insert(0, node.ip.clone());
    }
    cluster.storages.extend(seed.storages.iter().filter_map(|one| Some((one.id.clone(), storage(one)?))));
    cluster.storages.entry("local".into()).or_insert_with(installed_local);
    for gpu in &seed.gpus {
        let map = format!(
            "node={},path={},id={},iommugroup={},subsystem-id={}",
            gpu.node, gpu.address, gpu.pci_id, gpu.iommu_group, gpu.subsystem_id
        );
        cluster.mappings.insert(gpu.mapping.clone(), Mapping { map: vec![map], ..Mapping::default() });
    }
    if let Some(template) = &seed.template {
        add_template(cluster, seed, template);
    }
}

/// The user that automates, its token, and what they may do.
fn permit(cluster: &mut Cluster, secrets: &Secrets) {
    cluster.access.add_user(USER, "homelab automation");
    cluster.access.add_token(USER, TOKEN, true, &secrets.token);
    cluster.access.grant_homelab(USER, TOKEN);
}

/// The storages of a fresh node: one that was installed on ZFS has a pool for its guests, too.
fn installed(seed: &Seed) -> BTreeMap<String, Storage> {
    let pool = seed.storages.iter().find(|one| one.kind == "zfspool" && source(one).1 == INSTALLED_POOL);
    let Some(pool) = pool.and_then(|one| Some((one.id.clone(), storage(one)?))) else { return BTreeMap::new() };
    [("local".to_string(), installed_local()), pool].into()
}

/// `local` as the installer leaves it.
fn installed_local() -> Storage {
    let settings = [("content", "backup,import,iso,snippets,vztmpl"), ("path", "/var/lib/vz")];
    let settings = settings.map(|(name, value)| (name.to_string(), value.to_string())).into();
    Storage { kind: storage_kind::directory(), settings, secrets: Settings::new() }
}

/// Where a storage of the seed is: the server and export, the pool, or the path.
fn source(seed: &StorageSeed) -> (String, String) {
    let part = |at: usize, made_up: &str| {
        let found = if seed.kind == "nfs" { seed.source.splitn(2, ':').nth(at) } else { Some(seed.source.as_str()) };
        found.filter(|text| !text.is_empty()).unwrap_or(made_up).to_string()
    };
    match (seed.kind.as_str(), seed.id.as_str()) {
        ("nfs", id) => (part(0, "nas"), part(1, &format!("/export/{id}"))),
        ("zfspool", _) => (String::new(), part(0, "rpool/data")),
        ("lvmthin", _) => (String::new(), part(0, "pve/data")),
        (_, "local") => (String::new(), "/var/lib/vz".into()),
        (_, id) => (String::new(), part(0, &format!("/mnt/pve/{id}"))),
    }
}

fn storage(seed: &StorageSeed) -> Option<Storage> {
    let (server, place) = source(seed);
    let kind = storage_kind::find(&seed.kind)?;
    let set = |pairs: &[(&str, &str)]| -> Settings {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let mut settings = match seed.kind.as_str() {
        "nfs" => set(&[("server", &server), ("export", &place), ("path", &format!("/mnt/pve/{}", seed.id))]),
        "zfspool" => set(&[("pool", &place), ("sparse", "1")]),
        "lvmthin" => {
            let (group, pool) = place.split_once('/').unwrap_or((&place, "data"));
            set(&[("vgname", group), ("thinpool", pool)])
        }
        _ if seed.shared => set(&[("path", &place), ("shared", "1")]),
        _ => set(&[("path", &place)]),
    };
    if !seed.options.is_empty() {
        settings.insert("options".into(), seed.options.clone());
    }
    settings.insert("content".into(), super::formats::list(&seed.content).collect::<Vec<_>>().join(","));
    Some(Storage { kind, settings, secrets: Settings::new() })
}

/// The pools that the seed's storages of a kind lie in. Every node has them.
fn pools(seed: &Seed, kind: &str) -> BTreeMap<String, u64> {
    let own = seed.storages.iter().filter(|storage| storage.kind == kind);
    let mut pools = BTreeMap::new();
    for storage in own {
        let (_, pool) = source(storage);
        if let Some((root, _)) = pool.split_once('/').filter(|_| kind == "zfspool") {
            pools.insert(root.to_string(), storage.size_bytes);
        }
        pools.insert(pool, storage.size_bytes);
    }
    pools
}

/// The servers that the seed's storages need, and its web servers.
fn outside(seed: &Seed) -> Outside {
    let mut outside = Outside::default();
    for storage in &seed.storages {
        let (server, place) = source(storage);
        let size = storage.size_bytes;
        if storage.kind == "dir" && storage.shared {
            outside.mounts.insert(place, size);
        } else if storage.kind == "nfs" {
            let known = seed.network_hosts.iter().find(|host| host.ip == server || host.name == server);
            let names = known
                .into_iter()
                .flat_map(|host| [host.name.clone(), format!("{}.{}", host.name, seed.search_domain), host.ip.clone()]);
            let found: &mut Server = outside.servers.entry(server.clone()).or_default();
            found.names = names.filter(|name| *name != server).collect();
            found.exports.insert(place, Export { size, clients: "*".into(), squashes: false });
        }
    }
    for file in &seed.web {
        let (server, path) = file.split();
        let found: &mut WebServer = outside.web.entry(server).or_default();
        found.address = "203.0.113.80".into();
        found.missing = "Not Found".into();
        let sums = Sums::made_up(&file.url).with("sha256", &file.sum());
        let image = (file.disk_bytes > 0).then(|| ("qcow2".to_string(), file.disk_bytes));
        let system = (!file.system.is_empty()).then(|| file.system.clone());
        found.files.insert(path, WebFile { length: file.size_bytes, image, sums, system });
    }
    outside
}

fn add_template(cluster: &mut Cluster, seed: &Seed, template: &TemplateSeed) {
    let vmid = template.vmid;
    let bridge = seed.bridges.first().map(String::as_str).unwrap_or("vmbr0");
    let efi = base_disk(cluster, template, 0, 1 << 20, None);
    let root = base_disk(cluster, template, 1, TEMPLATE_SIZE, Some(template.ci_user.clone()));
    let is_small = cluster.volume(&template.node, &efi).is_some_and(|volume| volume.size < 1 << 20);
    let efi_size = if is_small { "528K" } else { "1M" };
    let options = [
        ("agent", "enabled=1,fstrim_cloned_disks=1".to_string()),
        ("balloon", "0".into()),
        ("bios", "ovmf".into()),
        ("boot", "order=scsi0".into()),
        ("cores", "2".into()),
        ("cpu", "host".into()),
        ("description", "homelab-template recipe=simulated image=noble-server-cloudimg-amd64.qcow2".into()),
        ("efidisk0", format!("{efi},efitype=4m,pre-enrolled-keys=0,size={efi_size}")),
        ("machine", "q35".into()),
        ("memory", "2048".into()),
        ("meta", format!("creation-qemu=10.1.2,ctime={}", chance::now() / 1000)),
        ("name", template.name.clone()),
        ("net0", format!("virtio={},bridge={bridge}", cluster.chance.mac())),
        ("onboot", "0".into()),
        ("ostype", "l26".into()),
        ("scsi0", format!("{root},discard=on,iothread=1,size=3584M,ssd=1")),
        ("scsihw", "virtio-scsi-single".into()),
        ("serial0", "socket".into()),
        ("smbios1", format!("uuid={}", cluster.chance.uuid())),
        ("sockets", "1".into()),
        ("tags", "homelab;template".into()),
        ("template", "1".into()),
        ("vga", "serial0".into()),
        ("vmgenid", cluster.chance.uuid()),
    ];
    let config: Options = options.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    cluster.vms.insert(vmid, Vm { node: template.node.clone(), config, ..Vm::default() });
}

fn base_disk(cluster: &mut Cluster, template: &TemplateSeed, number: u32, size: u64, system: Option<String>) -> String {
    let vmid = template.vmid;
    let files = cluster.storage(&template.storage).is_ok_and(Storage::has_files);
    let stem = format!("base-{vmid}-disk-{number}");
    let (name, format) = if files { (format!("{vmid}/{stem}.qcow2"), "qcow2") } else { (stem, "raw") };
    let id = format!("{}:{name}", template.storage);
    let size = if files && number == 0 { 528 << 10 } else { size };
    let used = if system.is_some() { TEMPLATE_USED } else { fresh_use(format, size, "metadata") };
    if let Some(place) = cluster.place(&template.node, split(&id).0) {
        cluster.put_volume(Volume {
            size,
            length: used,
            used,
            format: format.into(),
            content: "images".into(),
            vmid: Some(vmid),
            ctime: chance::now() / 1000,
            system,
            ..Volume::at(place, name)
        });
    }
    id
}
