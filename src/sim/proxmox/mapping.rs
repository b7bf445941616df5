//! `/cluster/mapping/pci` and `/nodes/{node}/hardware/pci`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, PciDevice, digest};
use super::formats::list as items;
use super::property;

/// A PCI mapping.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Mapping {
    /// `node=…,path=…,id=…,iommugroup=…,subsystem-id=…`, as they were sent.
    pub(crate) map: Vec<String>,
    pub(crate) description: Option<String>,
    /// `mdev`, `live-migration-capable`: those that are on.
    pub(crate) flags: Vec<String>,
}

impl Mapping {
    fn row(&self) -> Value {
        let mut row = json!({ "type": "pci", "map": self.map });
        if let Some(description) = &self.description {
            row["description"] = json!(description);
        }
        for flag in &self.flags {
            row[flag] = json!(1);
        }
        row
    }

    fn is_mdev(&self) -> bool {
        self.flags.iter().any(|flag| flag == "mdev")
    }

    fn entry(&self, node: &str) -> Option<property::Keys> {
        self.map.iter().map(|entry| property::loose(entry)).find(|keys| keys.get("node").is_some_and(|one| one == node))
    }
}

/// The digest of the file that all mappings share.
fn file_digest(cluster: &Cluster) -> String {
    digest(&serde_json::to_string(&cluster.mappings).unwrap_or_default())
}

/// The address of the device that a mapping means on a node, or why a machine cannot have it.
pub(crate) fn find_device(cluster: &Cluster, node: &str, mapping: &str) -> Result<String, String> {
    let missing = || format!("PCI device mapping not found for '{mapping}'");
    let keys = cluster.mappings.get(mapping).and_then(|known| known.entry(node)).ok_or_else(missing)?;
    let is_mdev = cluster.mappings.get(mapping).is_some_and(Mapping::is_mdev);
    match check_entry(cluster, node, mapping, &keys, is_mdev) {
        Some(error) => Err(format!("PCI device mapping invalid (hardware probably changed): {error}\n")),
        None => Ok(keys.get("path").cloned().unwrap_or_default()),
    }
}

/// What is wrong with a mapping's entry for a node.
fn check_entry(cluster: &Cluster, node: &str, mapping: &str, keys: &property::Keys, is_mdev: bool) -> Option<String> {
    let path = keys.get("path").map(String::as_str).unwrap_or_default();
    let devices = cluster.devices(node);
    // A path without function means all functions of the device.
    let Some(device) = devices.iter().find(|device| device.address == path || device.address == format!("{path}.0"))
    else {
        return Some(format!("pci device '{path}' not found"));
    };
    let actual = [
        ("id", device.id.clone()),
        ("iommugroup", device.iommu_group.map(|group| group.to_string()).unwrap_or_default()),
        ("subsystem-id", device.subsystem_id.clone()),
    ];
    if is_mdev {
        return Some(format!("'mdev' does not match for '{mapping}' (0 != 1)"));
    }
    for (key, actual) in actual.into_iter().filter(|(_, actual)| !actual.is_empty()) {
        match keys.get(key) {
            None => return Some(format!("missing expected property '{key}' for device '{path}'")),
            Some(mapped) if *mapped != actual => {
                return Some(format!("'{key}' does not match for '{mapping}' ({actual} != {mapped})"));
            }
            Some(_) => {}
        }
    }
    None
}

fn checks(cluster: &Cluster, node: &str, id: &str, mapping: &Mapping) -> Value {
    match mapping.entry(node) {
        None => json!([{ "severity": "warning", "message": format!("No mapping for node {node}.") }]),
        Some(keys) => match check_entry(cluster, node, id, &keys, mapping.is_mdev()) {
            Some(error) => json!([{ "severity": "error", "message": format!("Invalid configuration: {error}\n") }]),
            None => json!([]),
        },
    }
}

const READERS: [&str; 3] = ["Mapping.Modify", "Mapping.Use", "Mapping.Audit"];

/// `GET /cluster/mapping/pci`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = call.params.get("check-node");
    if let Some(unknown) = node.filter(|node| !cluster.nodes.contains_key(*node)) {
        return Err(super::nodes::no_such_host(unknown));
    }
    let shown = |id: &str| {
        call.caller.is_root() || cluster.access.has_any(&call.caller, &format!("/mapping/pci/{id}"), &READERS)
    };
    let rows = cluster.mappings.iter().filter(|(id, _)| shown(id)).map(|(id, mapping)| {
        let mut row = mapping.row();
        row["id"] = json!(id);
        row["digest"] = json!(file_digest(cluster));
        if let Some(node) = node {
            row["checks"] = checks(cluster, node, id, mapping);
        }
        row
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /cluster/mapping/pci/{id}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("id");
    let mapping = cluster.mappings.get(id).ok_or_else(|| format!("mapping '{id}' not found"))?;
    let mut row = mapping.row();
    row["digest"] = json!(file_digest(cluster));
    Answer::of(row)
}

/// What a mapping may be marked with.
const FLAGS: [&str; 2] = ["mdev", "live-migration-capable"];

/// `POST /cluster/mapping/pci`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("id");
    if cluster.mappings.contains_key(id) {
        return Err(format!("create hardware mapping failed: pci ID '{id}' already defined").into());
    }
    let mapping = Mapping {
        map: call.params.list("map").to_vec(),
        description: call.params.get("description").map(str::to_string),
        flags: FLAGS.into_iter().filter(|flag| call.params.is_set(flag)).map(str::to_string).collect(),
    };
    cluster.mappings.insert(id.into(), mapping);
    Answer::nothing()
}

/// `PUT /cluster/mapping/pci/{id}`.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("id");
    let failed = |text: &str| Refusal::failed(format!("update hardware mapping failed: {text}"));
    if call.params.get("digest").is_some_and(|digest| digest != file_digest(cluster)) {
        return Err(failed("detected modified configuration - file changed by other user? Try again."));
    }
    let map = call.params.list("map").to_vec();
    let mapping = cluster.mappings.get_mut(id).ok_or_else(|| failed(&format!("pci ID '{id}' does not exist")))?;
    for name in items(call.params.text("delete")) {
        match name {
            "description" => mapping.description = None,
            "map" => return Err(failed("unable to delete required option 'map'")),
            flag if FLAGS.contains(&flag) => mapping.flags.retain(|one| one != flag),
            _ => return Err(failed(&format!("no such option '{name}'"))),
        }
    }
    if map.is_empty() {
        return Err(failed("missing value for required option 'map'"));
    }
    mapping.map = map;
    if let Some(description) = call.params.get("description") {
        mapping.description = Some(description.into());
    }
    for flag in FLAGS.into_iter().filter(|flag| call.params.get(flag).is_some()) {
        mapping.flags.retain(|one| one != flag);
        if call.params.is_set(flag) {
            mapping.flags.push(flag.into());
        }
    }
    Answer::nothing()
}

/// `DELETE /cluster/mapping/pci/{id}`: whatever uses it, and a missing one too.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    cluster.mappings.remove(call.params.text("id"));
    Answer::nothing()
}

/// Classes that the list leaves out unless asked: memory controllers, bridges, processors.
const HIDDEN_CLASSES: &str = "05;06;0b";

/// `GET /nodes/{node}/hardware/pci`.
pub(crate) fn devices(cluster: &mut Cluster, call: &Call) -> Outcome {
    let hidden = call.params.get("pci-class-blacklist").unwrap_or(HIDDEN_CLASSES);
    let verbose = call.params.get("verbose") != Some("0");
    let devices = cluster.devices(&call.node);
    let shown = |device: &&PciDevice| !items(hidden).any(|class| device.class[2..].starts_with(class));
    Answer::of(devices.iter().filter(shown).map(|device| device_row(device, verbose)).collect::<Vec<_>>())
}

fn device_row(device: &PciDevice, verbose: bool) -> Value {
    let half = |text: &str, second: bool| {
        let (vendor, model) = text.split_once(':').unwrap_or((text, ""));
        format!("0x{}", if second { model } else { vendor })
    };
    let mut row = json!({
        "id": device.address, "class": device.class, "iommugroup": device.iommu_group.map_or(-1, i64::from),
        "vendor": half(&device.id, false), "device": half(&device.id, true),
    });
    if verbose {
        row["subsystem_vendor"] = json!(half(&device.subsystem_id, false));
        row["subsystem_device"] = json!(half(&device.subsystem_id, true));
    }
    row
}
