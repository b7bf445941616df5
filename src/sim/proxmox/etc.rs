//! The files below `/etc` that calls read and write: they lie on the disks of the nodes, where SSH sees the same.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::sha1;
use super::cluster::Cluster;
use crate::sim::guests::{PlainFile, SharedMachine};

const RESOLVER: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// The complaint about a file that is not the one that the caller has seen.
pub(crate) const CHANGED: &str = "detected modified configuration - file changed by other user? Try again.";

impl Cluster {
    fn disk_of(&self, node: &str) -> Result<SharedMachine, Refusal> {
        self.machines.node(node).ok_or_else(|| Refusal::not_simulated(&format!("the disk of {node}")))
    }

    /// A file of a node, if it is there.
    pub(crate) fn text_file(&self, node: &str, path: &str) -> Result<Option<PlainFile>, Refusal> {
        Ok(self.disk_of(node)?.read_file(path))
    }

    /// Writes a file of a node.
    pub(crate) fn put_text(&self, node: &str, path: &str, text: &str) -> Result<(), Refusal> {
        self.disk_of(node)?.write_file(path, text);
        Ok(())
    }

    /// Removes a file of a node, if it is there.
    pub(crate) fn remove_text(&self, node: &str, path: &str) -> Result<(), Refusal> {
        self.disk_of(node)?.remove_file(path);
        Ok(())
    }

    /// The text of a file of a node, empty where there is none.
    fn text_of(&self, node: &str, path: &str) -> Result<String, Refusal> {
        let file = self.text_file(node, path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&file.bytes).into_owned())
    }
}

/// Whom a node asks for names.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    pub(crate) search: Option<String>,
    /// Three at most.
    pub(crate) servers: Vec<String>,
}

/// The name servers of a node.
pub(crate) fn resolver(cluster: &Cluster, node: &str) -> Result<Resolver, Refusal> {
    let mut resolver = Resolver::default();
    for line in cluster.text_of(node, RESOLVER)?.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("search" | "domain"), Some(domain)) => resolver.search = Some(domain.into()),
            (Some("nameserver"), Some(address)) if resolver.servers.len() < 3 => resolver.servers.push(address.into()),
            _ => {}
        }
    }
    Ok(resolver)
}

/// `GET /nodes/{node}/dns`.
pub(crate) fn read_resolver(cluster: &mut Cluster, call: &Call) -> Outcome {
    let resolver = resolver(cluster, &call.node)?;
    let mut row = Map::new();
    if let Some(search) = resolver.search {
        row.insert("search".into(), json!(search));
    }
    for (index, address) in resolver.servers.iter().enumerate() {
        row.insert(format!("dns{}", index + 1), json!(address));
    }
    Answer::of(Value::Object(row))
}

/// `PUT /nodes/{node}/dns`: servers that are not named vanish, other lines stay.
pub(crate) fn write_resolver(cluster: &mut Cluster, call: &Call) -> Outcome {
    let old = cluster.text_of(&call.node, RESOLVER)?;
    let is_ours =
        |line: &&str| ["search", "domain", "nameserver"].contains(&line.split_whitespace().next().unwrap_or(""));
    let mut lines = vec![format!("search {}", call.params.text("search"))];
    let servers = ["dns1", "dns2", "dns3"].into_iter().filter_map(|key| call.params.get(key));
    lines.extend(servers.map(|address| format!("nameserver {address}")));
    lines.extend(old.lines().filter(|line| !is_ours(line)).map(str::to_string));
    cluster.put_text(&call.node, RESOLVER, &(lines.join("\n") + "\n"))?;
    Answer::nothing()
}

/// `GET /nodes/{node}/hosts`.
pub(crate) fn read_hosts(cluster: &mut Cluster, call: &Call) -> Outcome {
    let text = cluster.text_of(&call.node, HOSTS)?;
    Answer::of(json!({ "digest": sha1(&text), "data": text }))
}

/// `POST /nodes/{node}/hosts`.
pub(crate) fn write_hosts(cluster: &mut Cluster, call: &Call) -> Outcome {
    let old = cluster.text_of(&call.node, HOSTS)?;
    if call.params.get("digest").is_some_and(|digest| digest != sha1(&old)) {
        return Err(CHANGED.into());
    }
    cluster.put_text(&call.node, HOSTS, call.params.text("data"))?;
    Answer::nothing()
}
