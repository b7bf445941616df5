//! How a world begins: the clusters of a seed.

use std::collections::BTreeMap;

use super::access::Access;
use super::cluster::{Cluster, Node, PciDevice, Storage, Volume};
use super::mapping::Mapping;
use super::vm::{Options, Vm};
use crate::error::Result;
use crate::sim::chance::{self, Chance};
use crate::sim::guests::Machines;
use crate::sim::seed::{GpuSeed, Scenario, Seed, StorageSeed, TemplateSeed};
use crate::sim::world::Secrets;

/// The user that automates, and its token.
pub(crate) const USER: &str = "automation@pve";
pub(crate) const TOKEN: &str = "homelab";

/// The size of `local` when the seed does not list it.
const LOCAL_SIZE: u64 = 100 << 30;
/// The root disk of the template, the size of the cloud image.
const TEMPLATE_SIZE: u64 = 3584 << 20;

/// The clusters of a seed: one of all nodes, or each node alone.
pub(crate) fn found(seed: &Seed, fingerprints: &BTreeMap<String, String>, secrets: &Secrets) -> Result<Vec<Cluster>> {
    let names: Vec<&str> = seed.nodes.iter().map(|node| node.name.as_str()).collect();
    match seed.scenario {
        Scenario::Plan => {
            let mut cluster = bare(seed, &names, fingerprints, secrets)?;
            plan(&mut cluster, seed, secrets);
            Ok(vec![cluster])
        }
        Scenario::Bare => names.iter().map(|name| bare(seed, &[name], fingerprints, secrets)).collect(),
    }
}

/// Fresh nodes.
fn bare(seed: &Seed, names: &[&str], fingerprints: &BTreeMap<String, String>, secrets: &Secrets) -> Result<Cluster> {
    let key = chance::hex(&chance::secret_bytes()?);
    let mut nodes = BTreeMap::new();
    for (index, node) in seed.nodes.iter().enumerate().filter(|(_, node)| names.contains(&node.name.as_str())) {
        let devices = seed.gpus.iter().filter(|gpu| gpu.node == node.name).flat_map(devices).collect();
        nodes.insert(
            node.name.clone(),
            Node {
                number: u32::try_from(index).unwrap_or_default() + 1,
                ip: node.ip.clone(),
                gateway: seed.gateway.clone(),
                memory_mb: node.memory_mb,
                cores: node.cores,
                bridges: if seed.bridges.is_empty() { vec!["vmbr0".into()] } else { seed.bridges.clone() },
                devices,
                fingerprint: fingerprints.get(&node.name).cloned().unwrap_or_default(),
                booted: chance::now(),
            },
        );
    }
    let local = seed.storages.iter().find(|storage| storage.id == "local").map(storage);
    let built_in = || Storage {
        kind: "dir".into(),
        content: ["backup", "iso", "snippets", "vztmpl", "import"].map(str::to_string).to_vec(),
        shared: false,
        size: LOCAL_SIZE,
        settings: BTreeMap::from([
            ("path".into(), "/var/lib/vz".into()),
            ("prune-backups".into(), "keep-all=1".into()),
        ]),
    };
    Ok(Cluster {
        name: None,
        pace: 1.0,
        search_domain: seed.search_domain.clone(),
        nodes,
        storages: BTreeMap::from([("local".to_string(), local.unwrap_or_else(built_in))]),
        volumes: Vec::new(),
        mappings: BTreeMap::new(),
        vms: BTreeMap::new(),
        tasks: Vec::new(),
        access: Access::with_root(&key, &secrets.root_password),
        machines: Machines::default(),
        chance: Chance::new()?,
    })
}

/// Everything that comes before the first virtual machine.
fn plan(cluster: &mut Cluster, seed: &Seed, secrets: &Secrets) {
    cluster.name = Some(seed.cluster_name.clone());
    cluster.storages.extend(seed.storages.iter().map(|one| (one.id.clone(), storage(one))));
    for gpu in &seed.gpus {
        let map = format!(
            "node={},path={},id={},iommugroup={},subsystem-id={}",
            gpu.node, gpu.address, gpu.pci_id, gpu.iommu_group, gpu.subsystem_id
        );
        cluster.mappings.insert(gpu.mapping.clone(), Mapping { map: vec![map], description: None });
    }
    cluster.access.add_user(USER, "homelab automation");
    cluster.access.add_token(USER, TOKEN, true, &secrets.token);
    cluster.access.grant_homelab(USER, TOKEN);
    if let Some(template) = &seed.template {
        add_template(cluster, seed, template);
    }
}

fn storage(seed: &StorageSeed) -> Storage {
    let path = match (seed.kind.as_str(), seed.id.as_str()) {
        ("zfspool", _) => ("pool", "rpool/data".to_string()),
        (_, "local") => ("path", "/var/lib/vz".to_string()),
        _ => ("path", format!("/mnt/pve/{}", seed.id)),
    };
    let mut settings = BTreeMap::from([(path.0.to_string(), path.1)]);
    if seed.kind == "zfspool" {
        settings.insert("sparse".into(), "1".into());
    }
    Storage {
        kind: seed.kind.clone(),
        content: super::formats::list(&seed.content).map(str::to_string).collect(),
        shared: seed.shared,
        size: seed.size_bytes,
        settings,
    }
}

fn devices(gpu: &GpuSeed) -> Vec<PciDevice> {
    let function = |address: String, class: &str, id: &str| PciDevice {
        address,
        class: class.into(),
        id: id.into(),
        subsystem_id: gpu.subsystem_id.clone(),
        iommu_group: gpu.iommu_group,
    };
    let mut devices = vec![function(gpu.address.clone(), "0x030000", &gpu.pci_id)];
    if !gpu.audio_id.is_empty() {
        let audio = gpu.address.strip_suffix(".0").map_or_else(|| gpu.address.clone(), |device| format!("{device}.1"));
        devices.push(function(audio, "0x040300", &gpu.audio_id));
    }
    devices
}

fn add_template(cluster: &mut Cluster, seed: &Seed, template: &TemplateSeed) {
    let vmid = template.vmid;
    let bridge = seed.bridges.first().map(String::as_str).unwrap_or("vmbr0");
    let efi = base_disk(cluster, template, 0, 1 << 20, None);
    let root = base_disk(cluster, template, 1, TEMPLATE_SIZE, Some(template.ci_user.clone()));
    let efi_size = if cluster.volumes.iter().any(|one| one.id == efi && one.size < 1 << 20) { "528K" } else { "1M" };
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
    let storage = cluster.storages.get(&template.storage);
    let (files, shared) = storage.map_or((false, false), |storage| (storage.has_files(), storage.shared));
    let stem = format!("base-{vmid}-disk-{number}");
    let (name, format) = if files { (format!("{vmid}/{stem}.qcow2"), "qcow2") } else { (stem, "raw") };
    let id = format!("{}:{name}", template.storage);
    cluster.volumes.push(Volume {
        id: id.clone(),
        node: (!shared).then(|| template.node.clone()),
        size: if files && number == 0 { 528 << 10 } else { size },
        format: format.into(),
        content: "images".into(),
        vmid: Some(vmid),
        ctime: chance::now() / 1000,
        system,
    });
    id
}
