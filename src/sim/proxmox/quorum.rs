//! A cluster without a majority: what it refuses, and in which words. Reads and logins go on, and so does everything that
//! lies on the node alone.

use super::answer::Refusal;
use super::call::Call;
use super::cluster::Cluster;
use super::definition::Method;

/// How long a node waits for a lock of the cluster's file system, in milliseconds.
const LOCK_WAIT: u64 = 10_000;

/// The number of the process that answers calls which change something.
const DAEMON: u64 = 199;

/// Where the cluster keeps what a call changes.
enum Keeper {
    /// Nowhere: it lies on the node, or a task of its own changes it.
    Elsewhere,
    /// The call asks for the majority before anything else.
    Asks,
    /// Under a lock, with what the complaint begins with.
    Locked(String, String),
    /// In a file below `/etc/pve`, which is simply opened.
    File(String),
}

/// Refuses what would change the cluster's files on a node that has no majority.
pub(crate) fn demand(cluster: &Cluster, method: &Method, call: &Call) -> Result<(), Refusal> {
    if method.method == "GET" || cluster.is_quorate(&call.node) {
        return Ok(());
    }
    match keeper(cluster, method, call) {
        Keeper::Elsewhere => Ok(()),
        Keeper::Asks => Err(Refusal::failed("cluster not ready - no quorum?")),
        Keeper::Locked(lock, doing) => {
            let complaint = format!("cfs-lock '{lock}' error: no quorum!");
            let text = if doing.is_empty() { complaint } else { format!("{doing} failed: {complaint}") };
            Err(Refusal::failed(text).after(cluster.span(LOCK_WAIT)))
        }
        Keeper::File(file) => Err(read_only(&file, DAEMON).into()),
    }
}

/// The complaint of a process that cannot write below `/etc/pve`.
fn read_only(file: &str, pid: u64) -> String {
    format!("unable to open file '/etc/pve/{file}.tmp.{pid}' - Permission denied")
}

/// What a task that changes a virtual machine says there.
pub(crate) fn machine_is_read_only(node: &str, vmid: u32, pid: u64) -> String {
    read_only(&format!("nodes/{node}/qemu-server/{vmid}.conf"), pid)
}

fn keeper(cluster: &Cluster, method: &Method, call: &Call) -> Keeper {
    let action = match method.method {
        "POST" => "create",
        "PUT" => "update",
        _ => "delete",
    };
    let locked = |lock: &str, doing: String| Keeper::Locked(lock.into(), doing);
    let parts: Vec<&str> = method.path.split('/').skip(1).collect();
    match parts[..] {
        ["pools", ..] if action == "update" => locked("file-user_cfg", "update pools".into()),
        ["pools", ..] => locked("file-user_cfg", format!("{action} pool")),
        ["access", "users", _, "token", _] => {
            let doing = match action {
                "create" => "generating token",
                "update" => "updating token info",
                _ => "deleting token",
            };
            locked("file-user_cfg", doing.into())
        }
        ["access", "users", ..] => locked("file-user_cfg", format!("{action} user")),
        ["access", "groups", ..] => locked("file-user_cfg", format!("{action} group")),
        ["access", "roles", ..] => locked("file-user_cfg", format!("{action} role")),
        ["access", "acl"] => locked("file-user_cfg", "ACL update".into()),
        ["storage", ..] => locked("file-storage_cfg", format!("{action} storage")),
        ["cluster", "backup", ..] => locked("file-jobs_cfg", String::new()),
        ["cluster", "options"] => locked("file-datacenter_cfg", String::new()),
        ["cluster", "mapping", "pci", ..] if action == "delete" => {
            locked("file-mapping_pci_cfg", "delete pci mapping".into())
        }
        ["cluster", "mapping", "pci", ..] => locked("file-mapping_pci_cfg", format!("{action} hardware mapping")),
        ["cluster", "firewall", ..] => locked("firewall-cluster", String::new()),
        ["cluster", "ha", ..] | ["cluster", "config", "nodes", _] => Keeper::Asks,
        ["nodes", _, "firewall", ..] => locked(&format!("firewall-host-{}", call.node), String::new()),
        ["nodes", _, "config"] => Keeper::File(format!("nodes/{}/config", call.node)),
        ["nodes", _, "vzdump"] => Keeper::Asks,
        ["nodes", _, "storage", _, "content"] => {
            let id = call.params.text("storage");
            let is_shared = cluster.storage(id).is_ok_and(|storage| storage.is_shared());
            if is_shared { locked(&format!("storage-{id}"), String::new()) } else { Keeper::Elsewhere }
        }
        ["nodes", _, "qemu", ref rest @ ..] => of_machine(cluster, method, call, rest),
        _ => Keeper::Elsewhere,
    }
}

fn of_machine(cluster: &Cluster, method: &Method, call: &Call, rest: &[&str]) -> Keeper {
    match (method.method, rest) {
        ("POST", [] | [_, "clone" | "migrate"] | [_, "status", "start"]) => Keeper::Asks,
        (_, [_, "firewall", ..]) => Keeper::Locked(format!("firewall-vm-{}", call.vmid()), String::new()),
        // A machine that is not there is missed first.
        ("PUT", [_, "config" | "cloudinit"]) if cluster.vm(&call.node, call.vmid()).is_ok() => {
            Keeper::File(format!("nodes/{}/qemu-server/{}.conf", call.node, call.vmid()))
        }
        _ => Keeper::Elsewhere,
    }
}
