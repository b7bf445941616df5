//! What a cluster has written down of itself in `corosync.conf`: its name, its members and the networks between them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::sha1;
use super::cluster::{Cluster, Node};

/// The file as all members see it, and the copy that corosync itself reads.
const FILES: [&str; 2] = ["/etc/pve/corosync.conf", "/etc/corosync/corosync.conf"];

/// The file of storages, which all members see.
const STORAGES: &str = "/etc/pve/storage.cfg";

/// A cluster by its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Corosync {
    pub(crate) name: String,
    /// Counts the changes of the file, from 1.
    pub(crate) version: u64,
    /// The numbers of the networks between its nodes.
    pub(crate) links: BTreeSet<u32>,
    /// In milliseconds.
    pub(crate) token_coefficient: u64,
    /// From when on the status of its nodes shows it, in milliseconds.
    #[serde(default)]
    pub(crate) shows_from: u64,
}

/// The token coefficient where nobody asks for another.
pub(crate) const TOKEN_COEFFICIENT: u64 = 125;

impl Corosync {
    /// The section on the protocol, as the API gives it.
    fn totem(&self) -> Value {
        let interfaces = self.links.iter().map(|link| (link.to_string(), json!({ "linknumber": link.to_string() })));
        json!({
            "cluster_name": self.name, "config_version": self.version.to_string(),
            "interface": interfaces.collect::<Map<String, Value>>(), "ip_version": "ipv4-6", "link_mode": "passive",
            "secauth": "on", "token_coefficient": self.token_coefficient.to_string(), "version": "2",
        })
    }

    /// The text of the file.
    fn file(&self, nodes: &BTreeMap<String, Node>) -> String {
        let mut text = "logging {\n  debug: off\n  to_syslog: yes\n}\n\nnodelist {\n".to_string();
        let mut nodes: Vec<(&String, &Node)> = nodes.iter().collect();
        nodes.sort_by_key(|(_, node)| node.number);
        for (name, node) in nodes {
            let (number, votes) = (node.number, node.votes);
            text += &format!("  node {{\n    name: {name}\n    nodeid: {number}\n    quorum_votes: {votes}\n");
            for (key, address) in node.rings() {
                text += &format!("    {key}: {address}\n");
            }
            text += "  }\n";
        }
        text += "}\n\nquorum {\n  provider: corosync_votequorum\n}\n\ntotem {\n";
        text += &format!("  cluster_name: {}\n  config_version: {}\n", self.name, self.version);
        for link in &self.links {
            text += &format!("  interface {{\n    linknumber: {link}\n  }}\n");
        }
        text += "  ip_version: ipv4-6\n  link_mode: passive\n  secauth: on\n";
        text += &format!("  token_coefficient: {}\n  version: 2\n}}\n\n", self.token_coefficient);
        text
    }
}

impl Node {
    /// Its addresses in the networks of the cluster, as keys of its section.
    fn rings(&self) -> impl Iterator<Item = (String, &str)> {
        self.rings.iter().map(|(link, address)| (format!("ring{link}_addr"), address.as_str()))
    }

    /// Its section, without the name.
    fn section(&self) -> Map<String, Value> {
        let mut row = Map::new();
        row.insert("nodeid".into(), json!(self.number.to_string()));
        row.insert("quorum_votes".into(), json!(self.votes.to_string()));
        row.extend(self.rings().map(|(key, address)| (key, json!(address))));
        row
    }
}

impl Cluster {
    /// Writes to the disks of the members what a node of a cluster has there: the configuration, the storages, and its
    /// certificates.
    pub(crate) fn write_members(&self) {
        let corosync = self.corosync.as_ref().map(|corosync| corosync.file(&self.nodes));
        let storages = self.storages_file();
        for (name, node) in &self.nodes {
            let Some(machine) = self.machines.node(name) else { continue };
            let put = |path: &str, text: &str| {
                if machine.read_file(path).is_none_or(|file| file.bytes != text.as_bytes()) {
                    machine.write_file(path, text);
                }
            };
            if let Some(text) = &corosync {
                FILES.iter().for_each(|path| put(path, text));
            }
            // There is none before somebody defines a storage.
            if !storages.is_empty() {
                put(STORAGES, &storages);
            }
            for certificate in &node.certificates {
                put(&certificate.path(), &certificate.pem);
            }
        }
    }

    /// The cluster's name, once the status of its nodes shows it.
    pub(crate) fn shown(&self, now: u64) -> Option<&Corosync> {
        self.corosync.as_ref().filter(|corosync| corosync.shows_from <= now)
    }
}

/// What was given of links: the number of each with its address.
pub(crate) fn links_of(call: &Call) -> Vec<(u32, String)> {
    let given = (0..8).filter_map(|link| Some((link, call.params.get(&format!("link{link}"))?)));
    let address = |text: &str| {
        let keys = super::property::loose(text);
        keys.get("address").or(keys.get("")).cloned().unwrap_or_default()
    };
    given.map(|(link, text)| (link, address(text))).collect()
}

/// `GET /cluster/config`: the index of everything below it.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = ["nodes", "totem", "join", "qdevice", "apiversion"];
    Answer::of(names.map(|name| json!({ "name": name })).to_vec())
}

/// `GET /cluster/config/nodes`.
pub(crate) fn nodes(cluster: &mut Cluster, _: &Call) -> Outcome {
    if cluster.corosync.is_none() {
        return Answer::of(json!([]));
    }
    let rows = cluster.nodes.iter().map(|(name, node)| {
        let mut row = node.section();
        row.insert("name".into(), json!(name));
        row.insert("node".into(), json!(name));
        Value::Object(row)
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /cluster/config/join`.
pub(crate) fn join_info(cluster: &mut Cluster, call: &Call) -> Outcome {
    let Some(corosync) = &cluster.corosync else { return Err(Refusal::not_clustered()) };
    let preferred = call.params.get("node").unwrap_or(&call.asked);
    if !cluster.nodes.contains_key(preferred) {
        return Err(format!("unknown node '{preferred}'").into());
    }
    let rows = cluster.nodes.iter().map(|(name, node)| {
        let mut row = node.section();
        row.insert("name".into(), json!(name));
        row.insert("pve_addr".into(), json!(node.ip));
        row.insert("pve_fp".into(), json!(node.fingerprint()));
        Value::Object(row)
    });
    let nodes: Vec<Value> = rows.collect();
    Answer::of(json!({
        "preferred_node": preferred, "nodelist": nodes, "totem": corosync.totem(),
        "config_digest": sha1(&corosync.file(&cluster.nodes)),
    }))
}

/// `GET /cluster/config/totem`.
pub(crate) fn totem(cluster: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(cluster.corosync.as_ref().map_or(Value::Null, Corosync::totem))
}

/// `GET /cluster/config/qdevice`: no cluster here has one.
pub(crate) fn qdevice(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!({}))
}

/// `GET /cluster/config/apiversion`.
pub(crate) fn api_version(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_file_which_a_real_cluster_writes() {
        let node = |number: u32| {
            let rings = BTreeMap::from([(0, format!("192.0.2.1{number}"))]);
            (format!("pve-0{number}"), Node { number, votes: 1, rings, ..Node::default() })
        };
        let digest = |nodes: BTreeMap<String, Node>| {
            let version = nodes.len() as u64;
            let corosync = Corosync {
                name: "homelab-cluster".into(),
                version,
                links: [0].into(),
                token_coefficient: TOKEN_COEFFICIENT,
                shows_from: 0,
            };
            sha1(&corosync.file(&nodes))
        };
        assert_eq!(digest([node(1)].into()), "5b13c362b017652cd141bc9af875b8f67e70000e");
        assert_eq!(digest([node(1), node(2)].into()), "b6b695ac302e03b3ed5266496699cb353c0a3c70");
    }
}
