//! How a VM reads: the API's config in one normal form, so that equal things compare equal.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::clients::proxmox::property::{Property, decode_sshkeys};
use crate::clients::proxmox::size;
use crate::primitives::proxmox::handle::integer;
use crate::run::value::{Map, Value};

/// Config keys that hold a whole number.
const NUMBERS: [&str; 4] = ["cores", "sockets", "memory", "balloon"];
/// Config keys that hold 0 or 1.
const FLAGS: [&str; 2] = ["numa", "onboot"];
/// What the description of a template that was built here begins with.
pub const TEMPLATE_MARK: &str = "homelab-template ";

/// Config keys that cloud-init owns.
pub const CLOUD_INIT: [(&str, &str); 6] = [
    ("ciuser", "user"),
    ("sshkeys", "ssh_keys"),
    ("ipconfig0", "ip"),
    ("nameserver", "nameserver"),
    ("searchdomain", "search_domain"),
    ("ciupgrade", "upgrade"),
];

/// A config as rows of `GET …/pending`: the value that is in force, and the one that will be.
#[derive(Debug, Default)]
pub struct Config {
    /// What the config says, changes that wait for a restart included.
    pub future: BTreeMap<String, String>,
    /// The keys that wait for a restart, each with what is in force until then, if anything is.
    pub pending: BTreeMap<String, Option<String>>,
}

impl Config {
    /// Reads the rows.
    pub fn parse(rows: &Json) -> Config {
        let mut config = Config::default();
        for row in rows.as_array().into_iter().flatten() {
            let Some(key) = row.get("key").and_then(Json::as_str) else { continue };
            let goes = row.get("delete").and_then(integer).is_some_and(|how| how != 0);
            let pending = row.get("pending").map(plain);
            if goes || pending.is_some() {
                config.pending.insert(key.to_owned(), row.get("value").map(plain));
            }
            if let Some(value) = pending.or_else(|| row.get("value").map(plain)).filter(|_| !goes) {
                config.future.insert(key.to_owned(), value);
            }
        }
        config
    }

    /// One key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.future.get(key).map(String::as_str)
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The normal form of a VM. What waits for a restart reads as it will be; what is in force until then stands under
/// `pending`.
pub fn normal(config: &Config, node: &str, status: &str) -> Map {
    let mut state = settings(&config.future);
    if !config.pending.is_empty() {
        let in_force = config.pending.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        let mut in_force = settings(&in_force);
        for key in config.pending.keys() {
            in_force.entry(key.clone()).or_insert(Value::Null);
        }
        state.insert("pending".to_owned(), Value::Map(in_force));
    }
    state.insert("node".to_owned(), Value::text(node));
    state.insert("status".to_owned(), Value::text(status));
    state
}

fn settings(config: &BTreeMap<String, String>) -> Map {
    let mut state = Map::new();
    let mut cloud_init = Map::new();
    for (key, text) in config {
        if let Some((_, field)) = CLOUD_INIT.iter().find(|(name, _)| name == key) {
            put_cloud_init(&mut cloud_init, field, text);
        } else if is_device(key, "net") {
            state.insert(key.clone(), network_device(text));
        } else if is_disk(key) && text.contains("cloudinit") {
            cloud_init.insert("drive".to_owned(), Value::text(key));
            cloud_init.insert("storage".to_owned(), Value::text(text.split(':').next().unwrap_or_default()));
        } else if is_disk(key) {
            state.insert(key.clone(), disk(text));
        } else if is_device(key, "hostpci") {
            state.insert(key.clone(), host_pci(text));
        } else if NUMBERS.contains(&key.as_str()) {
            state.insert(key.clone(), text.parse().map_or_else(|_| Value::text(text), Value::Int));
        } else if FLAGS.contains(&key.as_str()) {
            state.insert(key.clone(), Value::Bool(text == "1"));
        } else if key == "tags" {
            state.insert(key.clone(), tags(text.split([';', ',', ' '])));
        } else if key == "agent" {
            state.insert(key.clone(), Value::Bool(agent_is_on(text)));
        } else if key == "startup" {
            state.insert(key.clone(), Value::text(sorted(text)));
        } else if key == "description" {
            state.insert(key.clone(), Value::text(text.trim_end_matches('\n')));
        } else if key == "template" {
            // What is no template does not say so.
            if text == "1" {
                state.insert(key.clone(), Value::Bool(true));
            }
        } else if !["digest", "meta", "lock"].contains(&key.as_str()) {
            state.insert(key.clone(), Value::text(text));
        }
    }
    if cloud_init.contains_key("drive") {
        state.insert("cloud_init".to_owned(), Value::Map(cloud_init));
    }
    state
}

fn put_cloud_init(cloud_init: &mut Map, field: &str, text: &str) {
    match field {
        "ssh_keys" => {
            let keys = decode_sshkeys(text).unwrap_or_else(|_| text.to_owned());
            cloud_init.insert(field.to_owned(), ssh_keys(keys.lines()));
        }
        "upgrade" => drop(cloud_init.insert(field.to_owned(), Value::Bool(text == "1"))),
        "ip" => {
            let property = Property::parse(text).unwrap_or_default();
            for (name, key) in [("ip", "ip"), ("gw", "gateway")] {
                if let Some(value) = property.get(name) {
                    cloud_init.insert(key.to_owned(), Value::text(value));
                }
            }
        }
        _ => drop(cloud_init.insert(field.to_owned(), Value::text(text.trim()))),
    }
}

/// Public keys in the order given, without blanks around them.
pub fn ssh_keys<'a>(lines: impl IntoIterator<Item = &'a str>) -> Value {
    Value::List(lines.into_iter().map(str::trim).filter(|line| !line.is_empty()).map(Value::text).collect())
}

/// Tags as Proxmox keeps them: lower case, sorted, each once.
pub fn tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Value {
    let mut all: Vec<String> =
        tags.into_iter().map(|tag| tag.trim().to_lowercase()).filter(|tag| !tag.is_empty()).collect();
    all.sort();
    all.dedup();
    Value::List(all.into_iter().map(Value::Text).collect())
}

/// A comma list with its parts sorted: Proxmox keeps what was sent.
pub fn sorted(text: &str) -> String {
    let mut parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts.join(",")
}

fn agent_is_on(text: &str) -> bool {
    let property = Property::parse(text).and_then(|property| property.with_default_key("enabled"));
    property.ok().and_then(|property| property.get("enabled").map(str::to_owned)).is_some_and(|flag| flag == "1")
}

/// Whether a key is a disk slot.
pub fn is_disk(key: &str) -> bool {
    ["scsi", "virtio", "sata", "ide"].iter().any(|bus| is_device(key, bus)) || key == "efidisk0" || key == "tpmstate0"
}

fn is_device(key: &str, kind: &str) -> bool {
    key.strip_prefix(kind)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

fn disk(text: &str) -> Value {
    let Ok(property) = Property::parse(text) else { return Value::text(text) };
    let mut map = Map::new();
    if let Some(volume) = property.default_value() {
        map.insert("volume".to_owned(), Value::text(volume));
    }
    for (key, value) in property.iter() {
        let value = match (key, size::parse(value)) {
            ("size", Ok(bytes)) => size::print(bytes),
            _ => value.to_owned(),
        };
        map.insert(key.to_owned(), Value::Text(value));
    }
    Value::Map(map)
}

fn network_device(text: &str) -> Value {
    let Ok(property) = Property::parse_network_device(text) else { return Value::text(text) };
    let field = |key: &str, value: &str| match key {
        "tag" => value.parse().map_or_else(|_| Value::text(value), Value::Int),
        "firewall" | "link_down" => Value::Bool(value == "1"),
        _ => Value::text(value),
    };
    let mut map: Map = property.iter().map(|(key, value)| (key.to_owned(), field(key, value))).collect();
    // Off and not there are the same.
    map.entry("firewall".to_owned()).or_insert(Value::Bool(false));
    Value::Map(map)
}

fn host_pci(text: &str) -> Value {
    let Ok(property) = Property::parse(text).and_then(|property| property.with_default_key("host")) else {
        return Value::text(text);
    };
    let field = |key: &str, value: &str| if key == "pcie" { Value::Bool(value == "1") } else { Value::text(value) };
    let mut map: Map = property.iter().map(|(key, value)| (key.to_owned(), field(key, value))).collect();
    map.entry("pcie".to_owned()).or_insert(Value::Bool(false));
    Value::Map(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rows: serde_json::Value) -> serde_json::Value {
        Value::Map(normal(&Config::parse(&rows), "pve-01", "running")).to_display_json()
    }

    #[test]
    fn what_the_api_writes_in_many_ways_reads_in_one() {
        let first = state(serde_json::json!([
            { "key": "memory", "value": "2048" },
            { "key": "tags", "value": "k3s;Server" },
            { "key": "net0", "value": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1" },
        ]));
        let second = state(serde_json::json!([
            { "key": "memory", "value": 2048 },
            { "key": "tags", "value": "server,k3s" },
            { "key": "net0", "value": "firewall=1,bridge=vmbr0,model=virtio,macaddr=BC:24:11:00:00:01" },
        ]));
        assert_eq!(first, second);
    }

    #[test]
    fn what_waits_for_a_restart_reads_as_it_will_be_and_is_named() {
        let state = state(serde_json::json!([
            { "key": "cores", "value": 1, "pending": 4 },
            { "key": "numa", "value": 1, "delete": 1 },
        ]));
        assert_eq!(state["cores"], 4);
        assert_eq!(state["pending"], serde_json::json!({ "cores": 1, "numa": true }));
        assert!(state.get("numa").is_none());
    }

    #[test]
    fn cloud_init_is_one_thing_on_its_drive() {
        let state = state(serde_json::json!([
            { "key": "ide2", "value": "local-zfs:vm-111-cloudinit,media=cdrom,size=4M" },
            { "key": "ciuser", "value": "ubuntu" },
            { "key": "sshkeys", "value": "ssh-ed25519%20AAAA%20me%0A" },
            { "key": "ipconfig0", "value": "gw=192.0.2.1,ip=192.0.2.31/24" },
        ]));
        let expected = serde_json::json!({
            "drive": "ide2", "storage": "local-zfs", "user": "ubuntu", "ssh_keys": ["ssh-ed25519 AAAA me"],
            "ip": "192.0.2.31/24", "gateway": "192.0.2.1",
        });
        assert_eq!(state["cloud_init"], expected);
    }
}
