//! The nodes of a cluster as they live: which are on, which hear each other, who has the majority, and what happens when
//! somebody pulls a plug.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, Node};
use super::effects::Effect;
use super::formats::list as items;
use super::permission::Caller;
use super::property;
use super::verify::Params;
use super::vm::Vm;

/// What a node is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Life {
    /// It runs and hears the others.
    #[default]
    On,
    /// It runs, but its corosync has stopped: it hears nobody and nobody hears it.
    Deaf,
    /// It is switched off.
    Off,
}

/// What one node knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is there, with its statistics.
    Online,
    /// It is gone; what it last told of itself is still known.
    Offline,
    /// It is gone so long that nothing of it is known any more.
    Forgotten,
    /// It has not told anything of itself yet.
    Unknown,
}

/// How long the others remember the statistics of a node that is gone, in milliseconds.
const REMEMBERED: u64 = 300_000;
/// How long a node that was switched on waits for a majority before it gives up starting its guests, in milliseconds.
const STARTS_WITHIN: u64 = 60_000;

/// How long a node takes from being told so until it is off, and from there until it is up again, in milliseconds.
const LEAVES_AFTER: u64 = 200;
const BOOTS_WITHIN: u64 = 800;

impl Cluster {
    /// Whether a node of this cluster is switched on.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.life != Life::Off)
    }

    /// Whether a node is on and its network leads somewhere.
    pub(crate) fn is_connected(&self, node: &str) -> bool {
        self.is_on(node) && self.nodes.get(node).is_some_and(|node| !node.cut)
    }

    /// Whether two nodes hear each other. A node always hears itself.
    pub(crate) fn hears(&self, viewer: &str, other: &str) -> bool {
        let is_on = |name: &str| self.nodes.get(name).is_some_and(|node| node.life == Life::On && !node.cut);
        viewer == other || (is_on(viewer) && is_on(other))
    }

    /// Whether a node is with the majority of the votes, so that it may write to the cluster's files.
    pub(crate) fn is_quorate(&self, viewer: &str) -> bool {
        if self.corosync.is_none() {
            return true;
        }
        let votes = |heard: bool| {
            let counted = self.nodes.iter().filter(|(name, _)| !heard || self.hears(viewer, name));
            counted.map(|(_, node)| node.votes).sum::<u32>()
        };
        let is_deaf = self.nodes.get(viewer).is_none_or(|node| node.life != Life::On || node.cut);
        !is_deaf && votes(true) > votes(false) / 2
    }

    /// What a node knows of another one.
    pub(crate) fn seen(&self, viewer: &str, other: &str, now: u64) -> Seen {
        let (Some(at), Some(node)) = (self.nodes.get(viewer), self.nodes.get(other)) else { return Seen::Unknown };
        if viewer == other {
            return Seen::Online;
        }
        if now < node.heard_from || now < at.heard_from {
            return Seen::Unknown;
        }
        if self.hears(viewer, other) {
            return Seen::Online;
        }
        // Whichever of the two went away.
        let gone = node.since.max(at.since);
        if now < gone + self.span(REMEMBERED) { Seen::Offline } else { Seen::Forgotten }
    }

    /// Whether a node knows the statistics of another one, if only the last.
    pub(crate) fn tells(&self, viewer: &str, other: &str, now: u64) -> bool {
        matches!(self.seen(viewer, other, now), Seen::Online | Seen::Offline)
    }

    /// Pulls the plug of a node: its guests are off, its tasks have died where they were. What they held stays held.
    pub(crate) fn switch_off(&mut self, name: &str, now: u64) {
        for task in self.tasks.iter_mut().filter(|task| task.node == name) {
            task.die(now);
        }
        let guests = self.vms.iter_mut().filter(|(_, vm)| vm.node == name);
        let ran = guests.filter_map(|(vmid, vm)| {
            vm.executions.clear();
            vm.running.take().map(|running| (*vmid, now.saturating_sub(running.since) / 1000))
        });
        let ran: BTreeMap<u32, u64> = ran.collect();
        ran.keys().for_each(|vmid| self.machines.switch_off_guest(*vmid));
        if let Some(machine) = self.machines.node(name) {
            machine.switch_off();
        }
        let boots_within = self.span(BOOTS_WITHIN);
        if let Some(node) = self.nodes.get_mut(name) {
            let switches = node.reboots.then_some(now + boots_within);
            *node = Node { life: Life::Off, since: now, ran, starts_guests: false, switches, ..node.clone() };
        }
    }

    /// Switches a node on again. Its guests follow once it has found a majority.
    pub(crate) fn switch_on(&mut self, name: &str, now: u64) {
        if let Some(machine) = self.machines.node(name) {
            machine.reboot();
        }
        // What a node without a disk of its own has nothing of, it has no network of either.
        let _network = self.commit_network(name).and_then(|()| self.reload_network(name));
        if let Some(node) = self.nodes.get_mut(name) {
            node.ran.clear();
            *node = Node {
                life: Life::On,
                since: now,
                booted: now,
                starts_guests: true,
                switches: None,
                reboots: false,
                ..node.clone()
            };
        }
    }

    /// The nodes that switch themselves off or on by now, in the order in which they do.
    pub(crate) fn switching(&self, now: u64) -> Option<(String, u64)> {
        let due = self.nodes.iter().filter_map(|(name, node)| Some((name, node.switches.filter(|at| *at <= now)?)));
        due.min_by_key(|(_, at)| *at).map(|(name, at)| (name.clone(), at))
    }

    /// Stops and starts the APIs that are being started again. Tells of those of which anything changed whether they are
    /// there now.
    pub(crate) fn restart_apis(&mut self, now: u64) -> Vec<(String, bool)> {
        let mut changed = Vec::new();
        for (name, node) in &mut self.nodes {
            let Some(restart) = &mut node.restart else { continue };
            if now >= restart.starts {
                node.api_since = restart.starts;
                node.restart = None;
                changed.push((name.clone(), true));
            } else if now >= restart.stops && !restart.has_stopped {
                restart.has_stopped = true;
                changed.push((name.clone(), false));
            }
        }
        changed
    }

    /// Stops or starts the corosync of a node that is on.
    #[cfg(test)]
    pub(crate) fn set_corosync(&mut self, name: &str, runs: bool, now: u64) {
        if let Some(node) = self.nodes.get_mut(name).filter(|node| node.life != Life::Off) {
            node.life = if runs { Life::On } else { Life::Deaf };
            node.since = now;
        }
    }

    /// Starts the guests of nodes that have come back. Tells whether there was anything to do.
    pub(crate) fn start_guests(&mut self, now: u64) -> bool {
        let waiting = self.nodes.iter().filter(|(_, node)| node.starts_guests);
        let waiting: Vec<(String, u64)> = waiting.map(|(name, node)| (name.clone(), node.since)).collect();
        let mut any = false;
        for (name, since) in waiting {
            let has_majority = self.is_quorate(&name);
            if !has_majority && now < since + self.span(STARTS_WITHIN) {
                continue;
            }
            any = true;
            if has_majority {
                // It answers a task; what becomes of that is told by the task.
                let _task =
                    self.fork(&by_root(&name, now), "startall", "", Effect::StartAll { force: false, vms: Vec::new() });
            }
            if let Some(node) = self.nodes.get_mut(&name) {
                node.starts_guests = false;
            }
        }
        any
    }
}

/// A call that the node itself makes.
fn by_root(node: &str, now: u64) -> Call {
    let caller = Caller { user: "root@pam".into(), token: None };
    Call { node: node.into(), asked: node.into(), caller, params: Params::default(), upload: None, now }
}

/// `POST /nodes/{node}/status`: it answers at once, the node goes a moment later.
pub(crate) fn post_status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let at = call.now + cluster.span(LEAVES_AFTER);
    let reboots = call.params.text("command") == "reboot";
    if let Some(node) = cluster.nodes.get_mut(&call.node) {
        *node = Node { switches: Some(at), reboots, ..node.clone() };
    }
    Answer::nothing()
}

/// `POST /nodes/{node}/startall`.
pub(crate) fn post_start_all(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vms: Vec<u32> = items(call.params.text("vms")).filter_map(|vmid| vmid.parse().ok()).collect();
    if !cluster.access.has_any(&call.caller, "/", &["VM.PowerMgmt"]) {
        if vms.is_empty() {
            return Err(Refusal::forbidden("/, VM.PowerMgmt"));
        }
        for vmid in &vms {
            cluster.access.demand(&call.caller, &format!("/vms/{vmid}"), &["VM.PowerMgmt"])?;
        }
    }
    cluster.fork(call, "startall", "", Effect::StartAll { force: call.params.is_set("force"), vms })
}

/// The guests that start with a node, in their order.
fn starting(cluster: &Cluster, node: &str, force: bool, vms: &[u32]) -> Vec<u32> {
    let wanted = |vm: &Vm| vm.config.get("onboot").is_some_and(|onboot| onboot == "1") || force;
    let guests = cluster.vms.iter().filter(|(_, vm)| vm.node == node && vm.running.is_none() && !vm.is_template());
    let guests = guests.filter(|(vmid, _)| vms.is_empty() || vms.contains(vmid));
    let order = |vm: &Vm| {
        let startup = vm.config.get("startup").map(|startup| property::loose(startup)).unwrap_or_default();
        startup.get("order").or(startup.get("")).and_then(|order| order.parse::<u32>().ok()).unwrap_or(u32::MAX)
    };
    let mut rows: Vec<(u32, u32)> = guests.filter(|(_, vm)| wanted(vm)).map(|(vmid, vm)| (order(vm), *vmid)).collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, vmid)| vmid).collect()
}

/// Starts the guests of a node, each with a task of its own.
pub(crate) fn start_all(cluster: &mut Cluster, node: &str, force: bool, vms: &[u32], at: u64, log: &mut Vec<String>) {
    for vmid in starting(cluster, node, force, vms) {
        log.push(format!("Starting VM {vmid}"));
        let start = Effect::Start { vmid, skip_lock: false };
        // What becomes of it, its own task tells.
        let _task = cluster.fork(&by_root(node, at), "qmstart", &vmid.to_string(), start);
    }
}
