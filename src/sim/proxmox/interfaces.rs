//! `/etc/network/interfaces`, read into what the API tells of each interface.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Lines;

use serde_json::{Map, Value, json};

use super::verify::matches;

/// What the API tells of one interface: its options, its place in the file, whether it is up.
pub(crate) type Interface = Map<String, Value>;

/// Options that stand for others.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("ovs_mtu", "mtu"),
    ("bond-slaves", "slaves"),
    ("bond_slaves", "slaves"),
    ("bond-xmit-hash-policy", "bond_xmit_hash_policy"),
    ("bond-mode", "bond_mode"),
    ("bond-miimon", "bond_miimon"),
    ("bridge-vlan-aware", "bridge_vlan_aware"),
    ("bridge-fd", "bridge_fd"),
    ("bridge-stp", "bridge_stp"),
    ("bridge-ports", "bridge_ports"),
    ("bridge-vids", "bridge_vids"),
];

/// Options that are told as they stand. What is in neither list is kept as a line.
const PLAIN: &[&str] = &[
    "mtu",
    "bridge_fd",
    "bridge_vids",
    "bridge-access",
    "bridge-learning",
    "bridge-arp-nd-suppress",
    "bridge-unicast-flood",
    "bridge-multicast-flood",
    "bond_miimon",
    "bond_xmit_hash_policy",
    "bond-primary",
    "uplink-id",
    "vlan-protocol",
    "vlan-raw-device",
    "vlan-id",
    "vxlan-id",
    "vxlan-svcnodeip",
    "vxlan-physdev",
    "vxlan-local-tunnelip",
];

/// Bond modes that may stand as numbers.
const BOND_MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

/// A whole file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Interfaces {
    pub(crate) all: BTreeMap<String, Interface>,
    /// Lines that belong to no interface, each with its place.
    pub(crate) others: Vec<(u64, String)>,
}

/// An option as text; nothing where it is absent or empty.
pub(crate) fn text(interface: &Interface, name: &str) -> String {
    match interface.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// The items of an option that is a list.
pub(crate) fn items(interface: &Interface, name: &str) -> Vec<String> {
    text(interface, name).split([' ', ',', ';', '\t']).filter(|one| !one.is_empty()).map(str::to_string).collect()
}

/// Whether an option says yes.
pub(crate) fn is_set(interface: &Interface, name: &str) -> bool {
    !matches!(text(interface, name).as_str(), "" | "0")
}

/// The families that an interface has blocks for.
pub(crate) fn families(interface: &Interface) -> Vec<String> {
    let known = interface.get("families").and_then(Value::as_array).into_iter().flatten();
    known.filter_map(Value::as_str).map(str::to_string).collect()
}

pub(crate) fn kind(interface: &Interface) -> &str {
    interface.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a name is one that cards have.
fn is_card(name: &str) -> bool {
    matches(r"eth\d+|en[^:.]+|ib[^:.]+|nic\d+", name)
}

impl Interfaces {
    /// Reads a file on a machine with these cards, where these links are up.
    pub(crate) fn read(file: &str, cards: &BTreeSet<String>, up: &BTreeSet<String>) -> Self {
        let mut read = Interfaces::default();
        for card in cards {
            read.entry(card).insert("exists".into(), json!(1));
        }
        // The first place is the loopback's.
        let mut place = 2;
        let mut lines = file.lines().peekable();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [first, ..] if first.starts_with('#') => {}
                ["allow-hotplug", ..] | [] => {}
                ["auto" | "allow-ovs", ref names @ ..] => {
                    for name in names {
                        read.entry(name).insert("autostart".into(), json!(1));
                    }
                }
                ["iface", name, family @ ("inet" | "inet6"), method] => {
                    read.block(name, family, method, &mut place, &mut lines);
                }
                _ => {
                    read.others.push((place, line.to_string()));
                    place += 1;
                }
            }
        }
        for name in up {
            if let Some(interface) = read.all.get_mut(name) {
                interface.insert("active".into(), json!(1));
            }
        }
        read.complete();
        read
    }

    fn entry(&mut self, name: &str) -> &mut Interface {
        self.all.entry(name.to_string()).or_default()
    }

    /// Reads the lines below an `iface`.
    fn block(&mut self, name: &str, family: &str, method: &str, place: &mut u64, lines: &mut Peekable<Lines>) {
        let suffix = family.trim_start_matches("inet");
        let interface = self.entry(name);
        if !interface.contains_key("priority") {
            interface.insert("priority".into(), json!(*place));
            *place += 1;
        }
        if let Value::Array(families) = interface.entry("families").or_insert(json!([])) {
            families.push(json!(family));
        }
        interface.insert(format!("method{suffix}"), json!(method));
        let begins_another = |line: &str| {
            let word = line.split_whitespace().next().unwrap_or_default();
            matches!(word, "iface" | "mapping" | "auto" | "source" | "source-directory") || word.starts_with("allow-")
        };
        while let Some(line) = lines.next_if(|line| !line.trim().is_empty() && !begins_another(line)) {
            if let Some(comment) = line.trim().strip_prefix('#') {
                let all = format!("{}{comment}\n", text(interface, &format!("comments{suffix}")));
                interface.insert(format!("comments{suffix}"), json!(all));
            } else {
                take(interface, suffix, line.trim());
            }
        }
    }

    /// What follows from the names and options.
    fn complete(&mut self) {
        let loopback = json!({ "priority": 1, "method": "loopback", "autostart": 1 });
        if let (false, Value::Object(loopback)) = (self.all.contains_key("lo"), loopback) {
            self.all.insert("lo".into(), loopback);
        }
        let exists: BTreeMap<String, Value> = self
            .all
            .iter()
            .map(|(name, one)| (name.clone(), one.get("exists").cloned().unwrap_or(Value::Null)))
            .collect();
        for (name, interface) in &mut self.all {
            let kind = kind_of(name, interface);
            interface.insert("type".into(), json!(kind));
            match kind {
                "bridge" => {
                    interface.entry("bridge_fd").or_insert(json!(0));
                    interface.entry("bridge_stp").or_insert(json!("off"));
                }
                "alias" => {
                    let parent = name.rsplit_once(':').map_or("", |(parent, _)| parent);
                    interface.insert("exists".into(), exists.get(parent).cloned().unwrap_or(json!(0)));
                }
                "vlan" => {
                    let (parent, id) = vlan_of(name, interface);
                    interface.insert("exists".into(), exists.get(&parent).cloned().unwrap_or(json!(0)));
                    interface.insert("vlan-raw-device".into(), json!(parent));
                    interface.insert("vlan-id".into(), json!(id));
                }
                _ => {}
            }
            for (suffix, longest) in [("", "32"), ("6", "128")] {
                prefix(interface, suffix, longest);
                interface.entry(format!("method{suffix}")).or_insert(json!("manual"));
            }
            interface.entry("families").or_insert(json!(["inet"]));
        }
    }

    /// The links that are up once the file is in force, where these were up before.
    pub(crate) fn links(&self, before: &BTreeSet<String>) -> BTreeSet<String> {
        let stays = |name: &String, one: &Interface| {
            is_set(one, "autostart") || is_set(one, "exists") || (kind(one) == "eth" && before.contains(name))
        };
        let mut up: BTreeSet<String> =
            self.all.iter().filter(|(name, one)| stays(name, one)).map(|(name, _)| name.clone()).collect();
        for name in up.clone() {
            let one = &self.all[&name];
            up.extend(items(one, "bridge_ports"));
            up.extend(items(one, "slaves"));
            up.extend(items(one, "vlan-raw-device"));
        }
        up
    }
}

/// Takes in one option of a block.
fn take(interface: &mut Interface, suffix: &str, line: &str) {
    let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, name)| *name);
    let value = value.trim();
    match name {
        "address" | "netmask" | "broadcast" | "gateway" => {
            interface.insert(format!("{name}{suffix}"), json!(value));
        }
        "slaves" | "bridge_ports" => {
            let ports: BTreeSet<&str> = value.split_whitespace().filter(|port| *port != "none").collect();
            let ports = ports.into_iter().collect::<Vec<_>>().join(" ");
            let before = text(interface, name);
            let all = if before.is_empty() { ports } else { format!("{before} {ports}") };
            interface.insert(name.into(), json!(all.trim()));
        }
        "bridge_stp" => {
            let is_on = matches!(value.to_lowercase().as_str(), "on" | "yes");
            interface.insert(name.into(), json!(if is_on { "on" } else { "off" }));
        }
        "bridge_vlan_aware" => drop(interface.insert(name.into(), json!(1))),
        "bond_mode" => {
            let named = value.parse::<usize>().ok().and_then(|number| BOND_MODES.get(number));
            interface.insert(name.into(), json!(named.copied().unwrap_or(value)));
        }
        _ if PLAIN.contains(&name) => drop(interface.insert(name.into(), json!(value))),
        _ => {
            if let Value::Array(lines) = interface.entry(format!("options{suffix}")).or_insert(json!([])) {
                lines.push(json!(line));
            }
        }
    }
}

fn kind_of(name: &str, interface: &Interface) -> &'static str {
    if name == "lo" {
        "loopback"
    } else if matches(r"bond\d+", name) {
        "bond"
    } else if matches(r"vmbr\d+", name) || interface.contains_key("bridge_ports") {
        "bridge"
    } else if matches(r"\S+:\d+", name) {
        "alias"
    } else if matches(r"\S+\.\d+", name) || interface.contains_key("vlan-raw-device") {
        "vlan"
    } else if is_card(name) || is_set(interface, "exists") {
        "eth"
    } else if interface.contains_key("vxlan-id") {
        "vxlan"
    } else {
        "unknown"
    }
}

/// The device below a VLAN, and its number.
pub(crate) fn vlan_of(name: &str, interface: &Interface) -> (String, String) {
    if let Some((parent, id)) = name.rsplit_once('.').filter(|(_, id)| id.parse::<u32>().is_ok()) {
        return (parent.into(), id.into());
    }
    let id = name.strip_prefix("vlan").filter(|id| id.parse::<u32>().is_ok());
    (text(interface, "vlan-raw-device"), id.map_or_else(|| text(interface, "vlan-id"), str::to_string))
}

/// Tells an address in both of its forms: with a mask beside it, and with a prefix.
fn prefix(interface: &mut Interface, suffix: &str, longest: &str) {
    let address = text(interface, &format!("address{suffix}"));
    if address.is_empty() {
        return;
    }
    let mask = text(interface, &format!("netmask{suffix}"));
    let (bare, bits) = match address.split_once('/') {
        Some((bare, bits)) => (bare.to_string(), Some(bits.to_string())),
        None => (address, bits_of(&mask)),
    };
    let cidr = format!("{bare}/{}", bits.as_deref().unwrap_or(longest));
    interface.insert(format!("cidr{suffix}"), json!(cidr));
    interface.insert(format!("address{suffix}"), json!(bare));
    if let Some(bits) = bits {
        interface.insert(format!("netmask{suffix}"), json!(bits));
    }
}

/// The length of the prefix that a mask stands for.
pub(crate) fn bits_of(mask: &str) -> Option<String> {
    if let Ok(mask) = mask.parse::<std::net::Ipv4Addr>() {
        return ipnet::ipv4_mask_to_prefix(mask).ok().map(|bits| bits.to_string());
    }
    mask.parse::<u8>().ok().map(|bits| bits.to_string())
}
