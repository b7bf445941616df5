//! What recorders did beside the API, as far as their notes say and lists show: a privilege taken out of a role, an agent
//! switched off, a lock file held, a machine that is gone though no exchange removed it.

use std::sync::LazyLock;

use regex::Regex;

use super::recording::{Exchange, Recording};
use crate::sim::Sim;
use crate::sim::proxmox::Vm;

/// What was taken away for one exchange, to be put back after it.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<(String, String)>);

/// Does what the note of an exchange tells of, before the exchange is asked.
pub(super) fn before(sim: &Sim, recording: &Recording, index: usize) -> Taken {
    let exchange = &recording.exchanges[index];
    let mut taken = Taken::default();
    for (privilege, role) in lacking(&exchange.note) {
        for cluster in &mut sim.frame.world().clusters {
            let roles =
                cluster.access.roles.iter_mut().filter(|(name, _)| role.as_ref().is_none_or(|role| role == *name));
            for (name, privileges) in roles {
                if privileges.remove(&privilege) {
                    taken.0.push((name.clone(), privilege.clone()));
                }
            }
        }
    }
    machines(sim, recording, index);
    gone(sim, recording, index);
    guests_of_joiner(sim, recording, index);
    taken
}

/// A node that would join a cluster has a guest exactly when its task says so.
fn guests_of_joiner(sim: &Sim, recording: &Recording, index: usize) {
    let exchange = &recording.exchanges[index];
    let node = &exchange.request.to;
    if exchange.request.path() != "/cluster/config/join" || exchange.response.task().is_none() {
        return;
    }
    let has_guest = log_of(recording, exchange).contains("already contains virtual guests");
    if let Some(cluster) = sim.frame.world().cluster_of(node).filter(|cluster| cluster.corosync.is_none()) {
        cluster.vms.retain(|_, vm| vm.node != *node);
        if has_guest {
            cluster.vms.insert(100, Vm { node: node.clone(), ..Vm::default() });
        }
    }
}

/// What notes and answers tell of a machine that was handled from outside: its agent, its device bus, its lock file, its
/// power.
fn machines(sim: &Sim, recording: &Recording, index: usize) {
    let exchange = &recording.exchanges[index];
    let Some(vmid) = vmid_of(exchange) else { return };
    let words = format!("{} {}", exchange.note, exchange.response.reason);
    let is_start = exchange.request.path().ends_with("/status/start");
    let exit = exchange.response.task().and_then(|upid| recording.exit(upid));
    for cluster in &mut sim.frame.world().clusters {
        let Some(vm) = cluster.vms.get_mut(&vmid) else { continue };
        if words.contains("lock file") && words.contains("held") || words.contains("can't lock file") {
            vm.lock_file_held = true;
        } else if exchange.request.method != "GET" && exit.is_none_or(|exit| !exit.contains("can't lock file")) {
            vm.lock_file_held = false;
        }
        let Some(running) = &mut vm.running else { continue };
        if exchange.request.path().contains("/agent/") {
            running.agent_silent = exchange.response.reason == "QEMU guest agent is not running";
        }
        if words.contains("accepted now") {
            running.refuses_devices = false;
        }
        // What can be started had stopped by then.
        if is_start && exit.is_some_and(|exit| !exit.contains("already running")) {
            vm.running = None;
        }
    }
}

/// Machines that exchanges made, each with success, and that a list of all does not show any more though none removed
/// them: the recorders did.
fn gone(sim: &Sim, recording: &Recording, index: usize) {
    let exchange = &recording.exchanges[index];
    let lists = exchange.request.method == "GET" && exchange.request.path() == "/cluster/resources";
    let wants_machines = exchange.request.field("type").is_none_or(|kind| kind == "vm");
    if !lists || !wants_machines || exchange.who != "root ticket" {
        return;
    }
    let rows = || exchange.response.data().as_array().into_iter().flatten();
    for made in recording.exchanges[..index].iter().filter(|one| recording.succeeded(one)) {
        let Some(vmid) = made_by(made).filter(|vmid| rows().all(|row| row["vmid"] != *vmid)) else { continue };
        let removes = |one: &Exchange| one.request.method == "DELETE" && vmid_of(one) == Some(vmid);
        if recording.exchanges[..index].iter().any(removes) {
            continue;
        }
        for cluster in &mut sim.frame.world().clusters {
            cluster.vms.remove(&vmid);
            cluster.volumes.retain(|volume| volume.vmid != Some(vmid));
        }
    }
}

/// The machine that an exchange makes.
fn made_by(exchange: &Exchange) -> Option<u32> {
    let path = exchange.request.path();
    let name = match exchange.request.method == "POST" {
        true if path.ends_with("/qemu") => "vmid",
        true if path.ends_with("/clone") => "newid",
        _ => return None,
    };
    exchange.request.field(name)?.parse().ok()
}

fn vmid_of(exchange: &Exchange) -> Option<u32> {
    let below = exchange.request.path().split_once("/qemu/")?.1;
    below.split('/').next()?.parse().ok()
}

/// Puts back what was taken away for one exchange.
pub(super) fn after(sim: &Sim, taken: Taken) {
    for cluster in &mut sim.frame.world().clusters {
        for (role, privilege) in &taken.0 {
            if let Some(privileges) = cluster.access.roles.get_mut(role) {
                privileges.insert(privilege.clone());
            }
        }
    }
}

/// The privileges that a note says to be missing, each with the role that it is missing in, or in all.
fn lacking(note: &str) -> Vec<(String, Option<String>)> {
    static LACK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"lacks? ([\w.]+)(?: \(role (\w+)\))?").unwrap());
    static NEITHER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"neither ([A-Z][\w.]+) nor ([A-Z][\w.]*\w)").unwrap());
    let one = LACK.captures_iter(note).filter(|found| found[1].contains('.'));
    let one = one.map(|found| (found[1].to_string(), found.get(2).map(|role| role.as_str().to_string())));
    let both =
        NEITHER.captures_iter(note).flat_map(|found| [(found[1].to_string(), None), (found[2].to_string(), None)]);
    one.chain(both).collect()
}

/// The log of the task that an exchange began, as far as a later one reads it.
pub(super) fn log_of(recording: &Recording, exchange: &Exchange) -> String {
    let Some(upid) = exchange.response.task() else { return String::new() };
    let logs = recording
        .exchanges
        .iter()
        .filter(|one| one.request.path.contains(upid) && one.request.path().ends_with("/log"));
    logs.map(|one| one.response.body.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_the_privileges_that_are_missing() {
        let in_role = ("VM.Audit".to_string(), Some("HomelabVM".to_string()));
        assert_eq!(lacking("token and user lack VM.Audit (role HomelabVM)"), [in_role]);
        let both = [("SDN.Use".to_string(), None), ("SDN.Audit".to_string(), None)];
        assert_eq!(lacking("neither SDN.Use nor SDN.Audit: the bridge is hidden"), both);
        assert!(lacking("mapping lacks iommugroup and subsystem-id").is_empty());
    }
}
