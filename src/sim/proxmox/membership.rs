//! Making a cluster, and what a node looks at before it joins one. The join itself is between two clusters, so that the
//! world carries it out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, Node};
use super::corosync::{Corosync, TOKEN_COEFFICIENT, links_of};
use super::effects::Effect;
use super::volume::Volume;

/// How long making a cluster, and a join, take, in milliseconds.
const CREATES_WITHIN: u64 = 1200;
const JOINS_WITHIN: u64 = 1500;
/// How long the status of a node goes on to show it as alone once its cluster is there, in milliseconds.
const SHOWS_AFTER: u64 = 1500;

const ALREADY: &str = "cluster config '/etc/pve/corosync.conf' already exists";

/// A cluster that is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CreateClusterOrder {
    name: String,
    /// The node's addresses in the networks of the cluster, with their number.
    links: Vec<(u32, String)>,
    number: u32,
    votes: u32,
    token_coefficient: u64,
}

/// A cluster that is to be joined.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JoinOrder {
    /// A member of it.
    pub(crate) hostname: String,
    /// The password of `root@pam` there.
    pub(crate) password: String,
    /// The SHA-256 of the member's certificate, as the caller has it.
    pub(crate) fingerprint: String,
    /// The node's addresses in the networks of the cluster, with their number. None: its own.
    pub(crate) links: Vec<(u32, String)>,
    pub(crate) number: Option<u32>,
    pub(crate) votes: u32,
}

impl std::fmt::Debug for JoinOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JoinOrder({})", self.hostname)
    }
}

/// A join whose time has come.
pub(crate) struct Due {
    pub(crate) upid: String,
    pub(crate) node: String,
    pub(crate) order: JoinOrder,
    /// In milliseconds.
    pub(crate) at: u64,
}

impl Cluster {
    /// A join of one of its nodes that ends by now.
    pub(crate) fn due_join(&self, now: u64) -> Option<Due> {
        let due = self.tasks.iter().filter(|task| task.exit.is_none() && task.ends <= now);
        let joins = due.filter_map(|task| Some((task, task.joins()?)));
        let (task, order) = joins.min_by_key(|(task, _)| task.ends)?;
        Some(Due { upid: task.upid.clone(), node: task.node.clone(), order: order.clone(), at: task.ends })
    }

    /// Takes a node in that was alone, with all that lies on its disks and its tasks.
    pub(crate) fn adopt(&mut self, name: &str, mut own: Cluster, settle_in: impl FnOnce(&mut Node)) {
        let Some(mut node) = own.nodes.remove(name) else { return };
        settle_in(&mut node);
        self.nodes.insert(name.into(), node);
        let is_known = |volume: &Volume| {
            self.volumes.iter().any(|known| (&known.place, &known.name) == (&volume.place, &volume.name))
        };
        let volumes: Vec<Volume> = own.volumes.into_iter().filter(|volume| !is_known(volume)).collect();
        self.volumes.extend(volumes);
        self.tasks.append(&mut own.tasks);
        self.tasks.sort_by_key(|task| task.starts);
        self.machines.take_node(name, &mut own.machines);
        if let Some(corosync) = &mut self.corosync {
            corosync.version += 1;
        }
        self.write_members();
        self.forget_disks();
    }
}

/// `POST /cluster/config`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    if cluster.corosync.is_some() {
        return Err(Refusal::failed(ALREADY));
    }
    let name = call.params.text("clustername");
    let order = CreateClusterOrder {
        name: name.into(),
        links: or_own_address(links_of(call), cluster.nodes.get(&call.node).map_or("", |node| &node.ip)),
        number: call.params.number("nodeid").unwrap_or(1),
        votes: call.params.number("votes").unwrap_or(1),
        token_coefficient: call.params.number("token-coefficient").unwrap_or(TOKEN_COEFFICIENT),
    };
    cluster.fork(call, "clustercreate", name, Effect::CreateCluster(order))
}

/// A node's only link where none is given: its own address.
fn or_own_address(links: Vec<(u32, String)>, own: &str) -> Vec<(u32, String)> {
    if links.is_empty() { vec![(0, own.into())] } else { links }
}

/// The first moment of the task that makes a cluster.
pub(crate) fn begin_create(log: &mut Vec<String>) -> u64 {
    log.push("Corosync Cluster Engine Authentication key generator.".into());
    log.push("Gathering 2048 bits for key from /dev/urandom.".into());
    log.push("Writing corosync key to /etc/corosync/authkey.".into());
    CREATES_WITHIN
}

/// Its last moment.
pub(crate) fn finish_create(
    cluster: &mut Cluster,
    node: &str,
    order: &CreateClusterOrder,
    at: u64,
    log: &mut Vec<String>,
) -> Result<usize, String> {
    if cluster.corosync.is_some() {
        return Err(ALREADY.into());
    }
    log.push("Writing corosync config to /etc/pve/corosync.conf".into());
    cluster.corosync = Some(Corosync {
        name: order.name.clone(),
        version: 1,
        links: order.links.iter().map(|(link, _)| *link).collect(),
        token_coefficient: order.token_coefficient,
        shows_from: at + cluster.span(SHOWS_AFTER),
    });
    if let Some(node) = cluster.nodes.get_mut(node) {
        node.number = order.number;
        node.votes = order.votes;
        node.rings = order.links.iter().cloned().collect();
    }
    cluster.write_members();
    log.push("Restart corosync and cluster filesystem".into());
    Ok(0)
}

/// `POST /cluster/config/join`.
pub(crate) fn join(cluster: &mut Cluster, call: &Call) -> Outcome {
    let order = JoinOrder {
        hostname: call.params.text("hostname").into(),
        password: call.params.text("password").into(),
        fingerprint: call.params.text("fingerprint").into(),
        links: links_of(call),
        number: call.params.number("nodeid"),
        votes: call.params.number("votes").unwrap_or(1),
    };
    cluster.fork(call, "clusterjoin", "", Effect::Join(order))
}

/// The first moment of the task that joins: what speaks against it on the node itself.
pub(crate) fn begin_join(
    cluster: &Cluster,
    node: &str,
    order: &JoinOrder,
    log: &mut Vec<String>,
) -> Result<u64, String> {
    let mut wrong = Vec::new();
    if cluster.corosync.is_some() {
        wrong.push("* authentication key '/etc/corosync/authkey' already exists".to_string());
        wrong.push(format!("* {ALREADY}"));
    }
    if cluster.vms.values().any(|vm| vm.node == node) {
        wrong.push("* this host already contains virtual guests".into());
    }
    if cluster.corosync.is_some() {
        wrong.push("* corosync is already running, is this node already in a cluster?!".into());
    }
    let own = cluster.nodes.get(node);
    let has = |address: &str| {
        own.is_some_and(|node| match node.links.is_empty() {
            true => node.ip == address,
            false => node.addresses.contains(address),
        })
    };
    for (link, address) in order.links.iter().filter(|(_, address)| !has(address)) {
        // This complaint ends with a line of its own.
        wrong.push(format!("* link{link}: cannot use IP '{address}', not found on local node!"));
        wrong.push(String::new());
    }
    if wrong.is_empty() {
        log.push(format!("Establishing API connection with host '{}'", order.hostname));
        return Ok(JOINS_WITHIN);
    }
    log.push("detected the following error(s):".into());
    log.extend(wrong);
    Err("Check if node may join a cluster failed!".into())
}

/// What speaks against a node that asks a cluster to be taken in, in the words of the member that it asked; else its
/// number and its links.
pub(crate) fn admit(
    cluster: &Cluster,
    member: &str,
    name: &str,
    ip: &str,
    order: &JoinOrder,
) -> Result<(u32, BTreeMap<u32, String>), Vec<String>> {
    let Some(corosync) = &cluster.corosync else {
        return Err(vec!["invalid corosync.conf".into(), "!! no nodes found".into()]);
    };
    if !cluster.is_quorate(member) {
        return Err(vec!["cluster not ready - no quorum?".into()]);
    }
    if cluster.nodes.contains_key(name) {
        return Err(vec![format!("can't add existing node '{name}'")]);
    }
    let links: BTreeMap<u32, String> = or_own_address(order.links.clone(), ip).into_iter().collect();
    if !links.keys().eq(corosync.links.iter()) {
        return Err(vec!["not simulated: a node with other links than its cluster".into()]);
    }
    let taken = |number: u32| cluster.nodes.values().any(|node| node.number == number);
    match order.number.filter(|number| taken(*number)) {
        Some(_) => Err(vec!["not simulated: a node with the number of another".into()]),
        None => Ok((order.number.or_else(|| (1..).find(|number| !taken(*number))).unwrap_or_default(), links)),
    }
}

/// `POST /cluster/config/nodes/{node}`: what a joining node asks for. By itself it would leave a member that never comes.
pub(crate) fn add_node(cluster: &mut Cluster, call: &Call) -> Outcome {
    if cluster.corosync.is_none() {
        let errors = BTreeMap::from([("error0".to_string(), "no nodes found".to_string())]);
        return Err(Refusal::failed("invalid corosync.conf").because(errors));
    }
    if links_of(call).is_empty() && call.params.get("new_node_ip").is_none() {
        return Err(Refusal::failed("no links and no fallback ip (new_node_ip) given, cannot join cluster"));
    }
    let name = call.params.text("node");
    if cluster.nodes.contains_key(name) && !call.params.is_set("force") {
        return Err(Refusal::failed(format!("can't add existing node '{name}'")));
    }
    Err(Refusal::not_simulated("adding a node that does not join by itself"))
}

/// `DELETE /cluster/config/nodes/{node}`.
pub(crate) fn remove_node(cluster: &mut Cluster, call: &Call) -> Outcome {
    let name = call.params.text("node");
    let is_known = cluster.nodes.iter().any(|(known, node)| known == name || node.rings.values().any(|ip| ip == name));
    if cluster.corosync.is_none() || !is_known {
        return Err(Refusal::failed(format!("Node/IP: {name} is not a known host of the cluster.")));
    }
    Err(Refusal::not_simulated("taking a node out of a cluster"))
}
