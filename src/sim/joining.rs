//! A node joins a cluster: what the two say to each other, and what becomes of the node. Its own users, storages and
//! mappings are gone then, and so is every ticket that it gave.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::proxmox::{Due, JoinOrder, Life, Restart, admit};
use super::world::{Target, World};

/// How long the API of the node goes on as it was, with the users of its new cluster, and how long it takes from the join
/// until it is there again, in milliseconds.
const API_STOPS_AFTER: u64 = 1000;
const API_STARTS_AFTER: u64 = 3000;
/// How long it takes until the others hear how the node is, in milliseconds.
const HEARD_AFTER: u64 = 10_000;

/// What became of a node that joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// It is a member, and the others hear it.
    Member,
    /// It is a member, and waits for the others without end.
    Waits,
}

impl World {
    /// Lets every join end whose time has come. Tells whether any did.
    pub(super) fn settle_joins(&mut self, now: u64) -> bool {
        let mut any = false;
        while let Some(due) = self.clusters.iter().find_map(|cluster| cluster.due_join(now)) {
            any = true;
            // What was due before has happened.
            for cluster in &mut self.clusters {
                cluster.settle(due.at);
            }
            let mut log = Vec::new();
            let result = self.join(&due, &mut log);
            if let Some(cluster) = self.cluster_of(&due.node) {
                match result {
                    Ok(Joined::Member) => cluster.end_task(&due.upid, log, Ok(())),
                    Ok(Joined::Waits) => cluster.hold_task(&due.upid, log),
                    Err(why) => cluster.end_task(&due.upid, log, Err(why)),
                }
            }
        }
        any
    }

    fn join(&mut self, due: &Due, log: &mut Vec<String>) -> Result<Joined, String> {
        let member = self.contact(&due.order, due.at)?;
        log.extend(
            ["Login succeeded.", "check cluster join API version", "Request addition of this node"].map(Into::into),
        );
        let ip = self.nodes.iter().find(|node| node.name == due.node).map(|node| node.ip.clone()).unwrap_or_default();
        let admitted = match self.cluster_of(&member) {
            Some(cluster) => admit(cluster, &member, &due.node, &ip, &due.order),
            None => Err(vec![format!("not simulated: {member} is no node")]),
        };
        let (number, links) = admitted.map_err(|words| {
            log.push(format!("An error occurred on the cluster node: {}", words.join("\n")));
            "Cluster join aborted!".to_string()
        })?;
        log.push("Join request OK, finishing setup locally".into());
        log.push("stopping pve-cluster service".into());
        let seconds = due.at / 1000;
        log.push(format!("backup old database to '/var/lib/pve-cluster/backup/config-{seconds}.sql.gz'"));
        if self.take_in(due, &member, number, links)? == Joined::Waits {
            log.push("waiting for quorum...".into());
            return Ok(Joined::Waits);
        }
        let rest = ["waiting for quorum...OK", "(re)generate node files", "generate new node certificate"];
        log.extend(rest.map(Into::into));
        log.push("merge authorized SSH keys".into());
        log.push("generated new node certificate, restart pveproxy and pvedaemon services".into());
        log.push(format!("successfully added node '{}' to cluster.", due.node));
        Ok(Joined::Member)
    }

    /// Logs in at the member that was named, and gives its name.
    fn contact(&mut self, order: &JoinOrder, at: u64) -> Result<String, String> {
        let host = &order.hostname;
        let unreachable = |why: &str| Err(format!("500 Can't connect to {host}:8006 ({why})"));
        let member = match self.dial(host, 8006, at) {
            Target::Api(member, _) => member,
            Target::Nobody if host.parse::<IpAddr>().is_err() => return unreachable("Name or service not known"),
            Target::Nobody => return unreachable("No route to host"),
            Target::Closed | Target::Kubernetes(..) | Target::Ssh { .. } | Target::Web(_) | Target::Service(_) => {
                return unreachable("Connection refused");
            }
            Target::Restarting => return unreachable("SSL connect attempt failed"),
        };
        let shown = self.cluster_of(&member).and_then(|cluster| cluster.nodes.get(&member));
        let shown = shown.map(|node| node.fingerprint()).unwrap_or_default();
        if !shown.eq_ignore_ascii_case(&order.fingerprint) {
            return Err(format!("fingerprint '{shown}' not verified, abort!"));
        }
        if !self.is_password(&member, "root", &order.password) {
            return Err("401 authentication failure".into());
        }
        Ok(member)
    }

    /// Makes a node that was alone one of a member's cluster.
    fn take_in(
        &mut self,
        due: &Due,
        member: &str,
        number: u32,
        rings: BTreeMap<u32, String>,
    ) -> Result<Joined, String> {
        let is_own = |nodes: &BTreeMap<String, _>| nodes.contains_key(&due.node);
        let (seed, own) = (
            self.nodes.iter().find(|node| node.name == due.node),
            self.clusters.iter().position(|cluster| is_own(&cluster.nodes)),
        );
        let (Some(seed), Some(own)) = (seed, own) else {
            return Err(format!("not simulated: {} is no node", due.node));
        };
        let waits = self.clusters[own].nodes.get(&due.node).is_some_and(|node| node.misses_corosync);
        let certificates = match &self.certificates {
            Some(known) if !waits => known.renew(seed, member).map_err(|error| error.to_string())?,
            _ => Vec::new(),
        };
        let own = self.clusters.remove(own);
        let Some(cluster) = self.cluster_of(member) else {
            self.clusters.push(own);
            return Err(format!("not simulated: {member} is no node"));
        };
        let after = |span: u64| due.at + cluster.span(span);
        let restart = Restart { stops: after(API_STOPS_AFTER), starts: after(API_STARTS_AFTER), has_stopped: false };
        let heard_from = after(HEARD_AFTER);
        cluster.adopt(&due.node, own, |node| {
            node.number = number;
            node.votes = due.order.votes;
            node.rings = rings;
            if waits {
                // Its API goes on with what it has.
                node.life = Life::Deaf;
                node.since = due.at;
                return;
            }
            node.certificates = certificates;
            node.restart = Some(restart);
            node.heard_from = heard_from;
            // What was set for it lay in the files that it has left behind.
            node.config = None;
        });
        Ok(if waits { Joined::Waits } else { Joined::Member })
    }
}
