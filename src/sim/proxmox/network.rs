//! `/nodes/{node}/network`: what is in a node's `/etc/network/interfaces`, and in the `interfaces.new` beside it that
//! waits to be put in its place.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use similar::TextDiff;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::effects::Effect;
use super::formats::list as split;
use super::interfaces::{Interface, Interfaces, is_set, items, kind, text};
use super::nodes::no_such_host;
use crate::sim::guests::{Bridge, Link, PlainFile};

const FILE: &str = "/etc/network/interfaces";
const PENDING: &str = "/etc/network/interfaces.new";

/// Options whose values are the names of ports.
const PORTS: [&str; 2] = ["bridge_ports", "slaves"];

/// How long a node takes to put its network into force, in milliseconds.
const RELOADS_WITHIN: u64 = 400;

impl Cluster {
    /// The interfaces of a node as they will be: those of the pending file, if there is one.
    fn interfaces_of(&self, node: &str) -> Result<Interfaces, Refusal> {
        let file = self.text_file(node, PENDING)?.or(self.text_file(node, FILE)?);
        self.parse(node, file.as_ref())
    }

    fn parse(&self, node: &str, file: Option<&PlainFile>) -> Result<Interfaces, Refusal> {
        let known = self.nodes.get(node).ok_or_else(|| no_such_host(node))?;
        let text = file.map(|file| String::from_utf8_lossy(&file.bytes)).unwrap_or_default();
        Ok(Interfaces::read(&text, &known.cards, &known.links))
    }

    /// Brings up the network of every node that never had one.
    pub(crate) fn bring_up_networks(&mut self) {
        let fresh = self.nodes.iter().filter(|(_, node)| node.links.is_empty()).map(|(name, _)| name.clone());
        for node in fresh.collect::<Vec<_>>() {
            // A node without an inside has no network either, and everything that wants one says so.
            let _network = self.reload_network(&node);
        }
    }

    /// Puts a pending file in its place, as a node also does when it boots.
    pub(crate) fn commit_network(&mut self, node: &str) -> Result<(), Refusal> {
        if let Some(pending) = self.text_file(node, PENDING)? {
            self.put_text(node, FILE, &String::from_utf8_lossy(&pending.bytes))?;
            self.remove_text(node, PENDING)?;
        }
        Ok(())
    }

    /// Brings the links of a node up as its file says.
    pub(crate) fn reload_network(&mut self, node: &str) -> Result<(), Refusal> {
        let interfaces = self.parse(node, self.text_file(node, FILE)?.as_ref())?;
        let Some(known) = self.nodes.get_mut(node) else { return Ok(()) };
        known.links = interfaces.links(&known.links);
        let up = known.links.clone();
        let of_links = interfaces.all.iter().filter(|(name, _)| up.contains(*name));
        let addresses = of_links.flat_map(|(_, one)| ["address", "address6"].map(|key| text(one, key)));
        known.addresses = addresses.filter(|address| !address.is_empty()).collect();
        let has_address = |one: &Interface| !text(one, "address").is_empty();
        let aware = |one: &Interface| has_address(one) && is_set(one, "bridge_vlan_aware");
        let cut = known.dreads_vlans && interfaces.all.values().any(aware);
        if known.cut != cut {
            known.cut = cut;
            known.since = crate::sim::chance::now();
        }
        let link = |(name, one): (&String, &Interface)| {
            let addresses = ["cidr", "cidr6"].map(|key| text(one, key));
            let gateway = text(one, "gateway");
            Link {
                name: name.clone(),
                addresses: addresses.into_iter().filter(|address| !address.is_empty()).collect(),
                gateway: (!gateway.is_empty()).then_some(gateway),
                mtu: text(one, "mtu").parse().unwrap_or(1500),
                bridge: (kind(one) == "bridge").then(|| bridge(one)),
            }
        };
        let links = interfaces.all.iter().filter(|(name, _)| *name != "lo" && up.contains(*name)).map(link).collect();
        if let Some(machine) = self.machines.node(node) {
            machine.set_links(links);
        }
        Ok(())
    }
}

/// What a bridge connects.
fn bridge(one: &Interface) -> Bridge {
    let range = |text: &String| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    let vlan_aware = is_set(one, "bridge_vlan_aware");
    let vids: Vec<(u32, u32)> = items(one, "bridge_vids").iter().filter_map(range).collect();
    // Without a list everything passes.
    let vids = if vids.is_empty() { vec![(2, 4094)] } else { vids };
    Bridge { ports: items(one, "bridge_ports"), vlan_aware, vids }
}

/// `GET /nodes/{node}/network`: bridges that the caller may neither use nor see are left out.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let interfaces = cluster.interfaces_of(&call.node)?;
    let wanted = call.params.get("type").unwrap_or_default();
    let shown = |(name, one): &(String, Interface)| {
        let kind = kind(one);
        let of_kind = match wanted {
            "" | "include_sdn" => true,
            "any_bridge" | "any_local_bridge" => kind == "bridge",
            other => other == kind,
        };
        let path = format!("/sdn/zones/localnetwork/{name}");
        let may_see = || cluster.access.has_any(&call.caller, &path, &["SDN.Use", "SDN.Audit"]);
        name != "lo" && of_kind && (kind != "bridge" || may_see())
    };
    let row = |(name, mut one): (String, Interface)| {
        one.insert("iface".into(), json!(name));
        Value::Object(one)
    };
    let rows: Vec<Value> = interfaces.all.into_iter().filter(shown).map(row).collect();
    let mut answer = Answer::of(rows)?;
    if let Some(changes) = changes(cluster, &call.node)? {
        answer.beside.insert("changes".into(), json!(changes));
    }
    Ok(answer)
}

/// What the pending file changes, as `diff -u` says it.
fn changes(cluster: &Cluster, node: &str) -> Result<Option<String>, Refusal> {
    let Some(new) = cluster.text_file(node, PENDING)? else { return Ok(None) };
    let old = cluster.text_file(node, FILE)?.unwrap_or_default();
    let (before, after) = (String::from_utf8_lossy(&old.bytes), String::from_utf8_lossy(&new.bytes));
    let head = |path: &str, file: &PlainFile| {
        let at = jiff::Timestamp::from_second(i64::try_from(file.changed).unwrap_or_default()).unwrap_or_default();
        format!("{path}\t{}", at.strftime("%Y-%m-%d %H:%M:%S.000000000 +0000"))
    };
    let diff = TextDiff::from_lines(&before, &after);
    let text = diff.unified_diff().context_radius(3).header(&head(FILE, &old), &head(PENDING, &new)).to_string();
    Ok((before != after).then_some(text))
}

/// The interface that a call names.
fn named<'i>(interfaces: &'i mut Interfaces, call: &Call) -> Result<&'i mut Interface, Refusal> {
    let missing = || Refusal::parameter("iface", "interface does not exist");
    interfaces.all.get_mut(call.params.text("iface")).ok_or_else(missing)
}

/// `GET /nodes/{node}/network/{iface}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let mut interfaces = cluster.interfaces_of(&call.node)?;
    Answer::of(Value::Object(named(&mut interfaces, call)?.clone()))
}

/// `POST /nodes/{node}/network`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let mut interfaces = cluster.interfaces_of(&call.node)?;
    let name = call.params.text("iface");
    if interfaces.all.contains_key(name) {
        return Err(Refusal::parameter("iface", "interface already exists"));
    }
    let given = given(&interfaces, call)?;
    interfaces.all.insert(name.into(), given);
    write(cluster, call, &interfaces)
}

/// `PUT /nodes/{node}/network/{iface}`: what is not named stays in the file, the method follows from what is.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let mut interfaces = cluster.interfaces_of(&call.node)?;
    let interface = named(&mut interfaces, call)?;
    for name in split(call.params.text("delete")) {
        interface.remove(name);
        if let Some(suffix) = name.strip_prefix("cidr") {
            interface.remove(&format!("address{suffix}"));
            interface.remove(&format!("netmask{suffix}"));
        }
    }
    let given = given(&interfaces, call)?;
    named(&mut interfaces, call)?.extend(given);
    write(cluster, call, &interfaces)
}

/// `DELETE /nodes/{node}/network/{iface}`.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let mut interfaces = cluster.interfaces_of(&call.node)?;
    named(&mut interfaces, call)?;
    interfaces.all.remove(call.params.text("iface"));
    write(cluster, call, &interfaces)
}

fn write(cluster: &mut Cluster, call: &Call, interfaces: &Interfaces) -> Outcome {
    let text = interfaces.write()?;
    cluster.put_text(&call.node, PENDING, &text)?;
    Answer::nothing()
}

/// The options that a call gives an interface, checked against the others.
fn given(interfaces: &Interfaces, call: &Call) -> Result<Interface, Refusal> {
    let mut given = call.params.without(&["node", "iface", "delete"]);
    refuse_kind(call.params.text("type"))?;
    refuse_what_others_have(interfaces, call.params.text("iface"), &given)?;
    for suffix in ["", "6"] {
        split_prefix(&mut given, suffix)?;
    }
    let mut families = Vec::new();
    let mut methods = Interface::new();
    for (suffix, family) in [("", "inet"), ("6", "inet6")] {
        let has_address = given.get(&format!("address{suffix}")).is_some_and(|address| !address.is_empty());
        families.extend(has_address.then_some(family));
        methods.insert(format!("method{suffix}"), json!(if has_address { "static" } else { "manual" }));
    }
    if families.is_empty() {
        families.push("inet");
    }
    let mut interface: Interface = given.into_iter().map(|(name, value)| (name, json!(value))).collect();
    interface.extend(methods);
    interface.insert("families".into(), json!(families));
    Ok(interface)
}

/// A node has one default gateway of each family, and a port serves one interface.
fn refuse_what_others_have(
    interfaces: &Interfaces,
    name: &str,
    given: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let other_with = |has: &dyn Fn(&Interface) -> bool| {
        let mut others = interfaces.all.iter().filter(|(other, _)| *other != name);
        others.find(|(_, one)| has(one)).map(|(other, _)| other)
    };
    for (key, noun) in [("gateway", "Default gateway"), ("gateway6", "Default ipv6 gateway")] {
        if let (true, Some(other)) = (given.contains_key(key), other_with(&|one| is_set(one, key))) {
            return Err(Refusal::parameter(key, format!("{noun} already exists on interface '{other}'.")));
        }
    }
    for key in PORTS {
        for port in given.get(key).into_iter().flat_map(|ports| split(ports)) {
            let has_port = |one: &Interface| PORTS.iter().any(|key| items(one, key).iter().any(|own| own == port));
            if let Some(other) = other_with(&has_port) {
                return Err(Refusal::parameter(key, format!("{port} is already used on interface '{other}'.")));
            }
        }
    }
    Ok(())
}

/// Kinds of interfaces that no node here can have.
fn refuse_kind(kind: &str) -> Result<(), Refusal> {
    match kind {
        _ if kind.starts_with("OVS") => Err("Open VSwitch is not installed (need package 'openvswitch-switch')".into()),
        "fabric" | "vnet" => Err(Refusal::not_simulated(&format!("network interfaces of the type {kind}"))),
        _ => Ok(()),
    }
}

/// Makes address and mask of a prefix.
fn split_prefix(given: &mut BTreeMap<String, String>, suffix: &str) -> Result<(), Refusal> {
    let Some(cidr) = given.remove(&format!("cidr{suffix}")).filter(|cidr| !cidr.is_empty()) else { return Ok(()) };
    for key in ["address", "netmask"].map(|key| format!("{key}{suffix}")) {
        if given.contains_key(&key) {
            return Err(Refusal::parameter(&key, format!("{key} conflicts with cidr{suffix}")));
        }
    }
    let (address, mask) = cidr.split_once('/').unwrap_or((&cidr, ""));
    given.insert(format!("address{suffix}"), address.into());
    given.insert(format!("netmask{suffix}"), mask.into());
    Ok(())
}

/// `DELETE /nodes/{node}/network`: forgets what is pending.
pub(crate) fn revert(cluster: &mut Cluster, call: &Call) -> Outcome {
    cluster.remove_text(&call.node, PENDING)?;
    Answer::nothing()
}

/// `PUT /nodes/{node}/network`: puts what is pending into force.
pub(crate) fn apply(cluster: &mut Cluster, call: &Call) -> Outcome {
    cluster.fork(call, "srvreload", "networking", Effect::ReloadNetwork)
}

/// How long that takes, in milliseconds.
pub(crate) fn begin_reload() -> u64 {
    RELOADS_WITHIN
}

/// The end of the task. Gives the number of warnings.
pub(crate) fn finish_reload(cluster: &mut Cluster, node: &str, log: &mut Vec<String>) -> Result<usize, String> {
    let failed = |refusal: Refusal| refusal.reason;
    cluster.commit_network(node).map_err(failed)?;
    cluster.reload_network(node).map_err(failed)?;
    let file = cluster.text_file(node, FILE).map_err(failed)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&file.bytes);
    let reads_sdn = |line: &str| {
        let mut words = line.split_whitespace();
        let folder = "/etc/network/interfaces.d";
        match (words.next(), words.next()) {
            (Some("source"), Some(path)) => path == format!("{folder}/sdn") || path == format!("{folder}/*"),
            (Some("source-directory"), Some(path)) => path == folder,
            _ => false,
        }
    };
    if text.lines().any(reads_sdn) {
        return Ok(0);
    }
    log.push("WARN: missing 'source /etc/network/interfaces.d/sdn' directive for SDN support!".into());
    Ok(1)
}
