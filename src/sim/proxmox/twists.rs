//! What is odd about the clusters of the scenarios.

use super::cluster::Cluster;
use super::vm::{Options, Vm};
use crate::sim::seed::{Scenario, Seed};

/// The number of the machine whose clone was interrupted.
const INTERRUPTED: u32 = 111;

/// How far the clock is ahead that is, in seconds.
const CLOCK_AHEAD: u64 = 90;

/// Makes a cluster what its scenario says. A node that is alone is a cluster, too.
pub(super) fn apply(cluster: &mut Cluster, seed: &Seed) {
    let second = seed.nodes.get(1).map(|node| node.name.clone()).unwrap_or_default();
    match seed.scenario {
        Scenario::S10Guests if cluster.nodes.contains_key(&second) => leave_guest(cluster, &second),
        Scenario::S10Clock => {
            if let Some(node) = cluster.nodes.get_mut(&second) {
                node.clock_ahead = CLOCK_AHEAD;
            }
        }
        Scenario::S10Quorum => {
            if let Some(node) = cluster.nodes.get_mut(&second) {
                node.misses_corosync = true;
            }
        }
        Scenario::S11Inactive => {
            for server in cluster.outside.servers.keys().cloned().collect::<Vec<_>>() {
                cluster.outside.cut_off.entry(server).or_default().insert(second.clone());
            }
        }
        Scenario::S11Squashed => {
            let servers = cluster.outside.servers.values_mut();
            servers.flat_map(|server| server.exports.values_mut()).for_each(|export| export.squashes = true);
        }
        Scenario::S11Export => {
            for server in cluster.outside.servers.values_mut() {
                let exports = std::mem::take(&mut server.exports);
                server.exports = exports.into_iter().map(|(path, export)| (format!("/new{path}"), export)).collect();
            }
        }
        Scenario::S13 => {
            if let Some(first) = seed.nodes.first() {
                leave_lock(cluster, &first.name);
            }
        }
        Scenario::S14 => {
            if let (Some(template), Some(first)) = (&seed.template, seed.nodes.first()) {
                take_number(cluster, template.vmid, &first.name);
            }
        }
        Scenario::S24Vm => take_away(cluster, "HomelabVM", "VM.Migrate"),
        Scenario::S24Store => take_away(cluster, "HomelabStore", "Datastore.AllocateSpace"),
        Scenario::S24Node => take_away(cluster, "HomelabNode", "Sys.Audit"),
        Scenario::S24Root => take_away(cluster, "HomelabRoot", "Sys.Audit"),
        Scenario::S24Net => take_away(cluster, "HomelabNet", "SDN.Use"),
        Scenario::S24Pci => take_away(cluster, "HomelabPci", "Mapping.Use"),
        _ => {}
    }
}

/// A machine that somebody has made there.
fn leave_guest(cluster: &mut Cluster, node: &str) {
    let config = [("name", "old-machine"), ("memory", "512"), ("ostype", "l26")];
    let config: Options = config.map(|(name, value)| (name.to_string(), value.to_string())).into_iter().collect();
    cluster.vms.insert(100, Vm { node: node.into(), config, ..Vm::default() });
}

/// A clone whose task is long gone. Whoever looks finds nobody at work on it.
fn leave_lock(cluster: &mut Cluster, node: &str) {
    let config = [("name", "k3s-cp-01"), ("lock", "clone"), ("memory", "2048"), ("ostype", "l26")];
    let config: Options = config.map(|(name, value)| (name.to_string(), value.to_string())).into_iter().collect();
    cluster.vms.insert(INTERRUPTED, Vm { node: node.into(), config, ..Vm::default() });
}

/// Somebody's machine where the template should be.
fn take_number(cluster: &mut Cluster, vmid: u32, node: &str) {
    cluster.vms.remove(&vmid);
    cluster.volumes.retain(|volume| volume.vmid != Some(vmid));
    let config = [("name", "windows-of-somebody"), ("memory", "8192"), ("ostype", "win11"), ("description", "keep")];
    let config: Options = config.map(|(name, value)| (name.to_string(), value.to_string())).into_iter().collect();
    cluster.vms.insert(vmid, Vm { node: node.into(), config, ..Vm::default() });
}

/// Takes one privilege out of a role.
fn take_away(cluster: &mut Cluster, role: &str, privilege: &str) {
    if let Some(role) = cluster.access.roles.get_mut(role) {
        role.retain(|one| one != privilege);
    }
}
