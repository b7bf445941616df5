//! From a request to its handler: who calls, whether the API has such a call, whether the caller may, whether the
//! parameters are right.

use serde_json::json;

use super::agent;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::definition::{Method, Who, api};
use super::form::{Form, Given};
use super::login::{self, Proof};
use super::permission::Caller;
use super::transfer::Upload;
use super::{
    acl, cloud_init, cluster_reads, content, corosync, disks, etc, groups, inventory, mapping, members, membership,
    network, node_config, nodes, pools, quorum, scan, storage, storage_state, tasks, transfer, users, verify, vm_clone,
    vm_create, vm_disks, vm_migrate, vm_power, vm_read, vm_update,
};
use crate::sim::world::World;

/// A request as it came in.
pub(crate) struct Request {
    /// The node that was asked.
    pub(crate) node: String,
    pub(crate) method: String,
    /// Below the formatter: `/nodes/pve1/status`.
    pub(crate) path: String,
    pub(crate) form: Form,
    pub(crate) proof: Proof,
    /// The file that came with it.
    pub(crate) upload: Option<Upload>,
    /// In milliseconds.
    pub(crate) now: u64,
}

/// How long it takes to learn that nobody is at an address, in milliseconds.
const NO_ROUTE_AFTER: u64 = 3000;

/// What a handler is.
type Handler = fn(&mut Cluster, &Call) -> Outcome;

/// Answers a request, in a world that has settled by its time.
pub(crate) fn answer(world: &mut World, request: &Request) -> Outcome {
    let known: Vec<String> = world.nodes.iter().map(|node| node.name.clone()).collect();
    let Some(cluster) = world.cluster_of(&request.node).filter(|cluster| cluster.is_on(&request.node)) else {
        return Err(Refusal::silent(595, "No route to host"));
    };
    let caller = if login::is_public(&request.method, request.path.trim_end_matches('/')) {
        Caller { user: String::new(), token: None }
    } else {
        login::authenticate(&cluster.access, &request.proof, &request.method, request.now / 1000)?
    };
    let unknown = || Refusal::unknown(&request.method, &request.path);
    let (method, values) = api().find(&request.method, &request.path).ok_or_else(unknown)?;
    let mut form = request.form.clone();
    for (name, value) in values {
        form.insert(name, Given::One(value));
    }
    demand(cluster, method, &caller, &form)?;
    let node = node_of(cluster, method, request, &form, &known)?;
    let handler = handler(method.method, method.path)
        .ok_or_else(|| Refusal::not_simulated(&format!("{} {}", method.method, method.path)))?;
    let params = verify::verify(method, form)?;
    let upload = request.upload.clone();
    let call = Call { node, asked: request.node.clone(), caller, params, upload, now: request.now };
    quorum::demand(cluster, method, &call)?;
    handler(cluster, &call)
}

fn demand(cluster: &Cluster, method: &Method, caller: &Caller, form: &Form) -> Result<(), Refusal> {
    if method.is_ticket_only && caller.token.is_some() {
        let path = method.path;
        return Err(Refusal::forbidden(&format!("URI '{path}' not available with API token, need proper ticket.\n")));
    }
    if caller.user.is_empty() || caller.is_root() {
        return Ok(());
    }
    match &method.who {
        Who::Everybody | Who::Anyone => Ok(()),
        Who::Root => Err(Refusal::forbidden("user != root@pam")),
        Who::Holders(groups) => cluster.access.check(caller, groups, form),
    }
}

/// The node that does the work. Any node passes a request on to the others of its cluster.
fn node_of(
    cluster: &Cluster,
    method: &Method,
    request: &Request,
    form: &Form,
    known: &[String],
) -> Result<String, Refusal> {
    let named = match form.get("node") {
        Some(Given::One(name)) if !method.is_here => name.as_str(),
        _ => return Ok(request.node.clone()),
    };
    if named == "localhost" {
        return Ok(request.node.clone());
    }
    let is_far = named != request.node;
    let gets_through = !is_far || (cluster.is_connected(named) && cluster.is_connected(&request.node));
    if cluster.is_on(named) && gets_through {
        if is_far && !cluster.nodes[named].has_api() {
            return Err(Refusal::silent(595, "Connection refused"));
        }
        return Ok(named.to_string());
    }
    if cluster.nodes.contains_key(named) {
        return Err(Refusal::silent(595, "No route to host").after(cluster.span(NO_ROUTE_AFTER)));
    }
    if known.iter().any(|name| name == named) {
        // The name resolves, but the certificate there is of another authority.
        return Err(Refusal::silent(596, "error:0A000086:SSL routines::certificate verify failed"));
    }
    Err(nodes::no_such_host(named))
}

/// Whether a request changes anything. Logging in, and asking the agent, do not.
pub(crate) fn is_mutating(method: &str, path: &str, form: &Form) -> bool {
    let path = path.trim_end_matches('/');
    if method == "GET" || path == "/access/ticket" || path.ends_with("/agent/ping") {
        return false;
    }
    if path.ends_with("/agent/exec") {
        return match form.get("command") {
            Some(Given::Many(command)) => !agent::only_reads(command),
            Some(Given::One(command)) => !agent::only_reads(std::slice::from_ref(command)),
            _ => true,
        };
    }
    true
}

fn root_index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = ["version", "cluster", "nodes", "storage", "access", "pools"];
    Answer::of(names.map(|name| json!({ "subdir": name })).to_vec())
}

fn access_index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = ["users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password"];
    Answer::of(names.map(|name| json!({ "subdir": name })).to_vec())
}

fn null(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::nothing()
}

fn domains(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!([
        { "realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication" },
        { "realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server" },
    ]))
}

/// The handlers, by the path of the definition. What is missing here is not simulated.
pub(super) fn handler(method: &str, path: &str) -> Option<Handler> {
    let handler: Handler = match (method, path) {
        ("GET", "/") => root_index,
        ("GET", "/version") | ("GET", "/nodes/{node}/version") => nodes::version,
        ("GET", "/access") => access_index,
        ("GET", "/access/ticket") => null,
        ("POST", "/access/ticket") => login::log_in,
        ("GET", "/access/domains") => domains,
        ("GET", "/access/permissions") => acl::permissions,
        ("GET", "/access/groups") => groups::list,
        ("POST", "/access/groups") => groups::create,
        ("GET", "/access/groups/{groupid}") => groups::read,
        ("PUT", "/access/groups/{groupid}") => groups::update,
        ("DELETE", "/access/groups/{groupid}") => groups::delete,
        ("PUT", "/access/password") => groups::set_password,
        ("GET", "/access/users") => users::list,
        ("POST", "/access/users") => users::create,
        ("GET", "/access/users/{userid}") => users::read,
        ("PUT", "/access/users/{userid}") => users::update,
        ("DELETE", "/access/users/{userid}") => users::delete,
        ("GET", "/access/users/{userid}/token") => users::list_tokens,
        ("GET", "/access/users/{userid}/token/{tokenid}") => users::read_token,
        ("POST", "/access/users/{userid}/token/{tokenid}") => users::create_token,
        ("PUT", "/access/users/{userid}/token/{tokenid}") => users::update_token,
        ("DELETE", "/access/users/{userid}/token/{tokenid}") => users::delete_token,
        ("GET", "/access/roles") => acl::list_roles,
        ("POST", "/access/roles") => acl::create_role,
        ("GET", "/access/roles/{roleid}") => acl::read_role,
        ("PUT", "/access/roles/{roleid}") => acl::update_role,
        ("DELETE", "/access/roles/{roleid}") => acl::delete_role,
        ("GET", "/access/acl") => acl::list,
        ("PUT", "/access/acl") => acl::update,
        ("GET", "/pools") => pools::list,
        ("POST", "/pools") => pools::create,
        ("PUT", "/pools" | "/pools/{poolid}") => pools::update,
        ("DELETE", "/pools" | "/pools/{poolid}") => pools::delete,
        ("GET", "/pools/{poolid}") => pools::read,
        // Nothing here can make one of these, so that the empty list is the truth.
        ("GET", "/access/tfa" | "/cluster/ha/resources") => cluster_reads::none,
        _ => {
            let others = cluster_handler(method, path).or_else(|| storage_handler(method, path));
            return others.or_else(|| vm_handler(method, path));
        }
    };
    Some(handler)
}

fn cluster_handler(method: &str, path: &str) -> Option<Handler> {
    let handler: Handler = match (method, path) {
        ("GET", "/cluster/status") => cluster_reads::status,
        ("GET", "/cluster/resources") => cluster_reads::resources,
        ("GET", "/cluster/nextid") => cluster_reads::next_id,
        ("GET", "/cluster/options") => cluster_reads::options,
        ("GET", "/cluster/tasks") => tasks::list_all,
        ("GET", "/cluster/config") => corosync::index,
        ("POST", "/cluster/config") => membership::create,
        ("POST", "/cluster/config/join") => membership::join,
        ("POST", "/cluster/config/nodes/{node}") => membership::add_node,
        ("DELETE", "/cluster/config/nodes/{node}") => membership::remove_node,
        ("GET", "/cluster/config/nodes") => corosync::nodes,
        ("GET", "/cluster/config/join") => corosync::join_info,
        ("GET", "/cluster/config/totem") => corosync::totem,
        ("GET", "/cluster/config/qdevice") => corosync::qdevice,
        ("GET", "/cluster/config/apiversion") => corosync::api_version,
        ("GET", "/cluster/mapping/pci") => mapping::list,
        ("POST", "/cluster/mapping/pci") => mapping::create,
        ("GET", "/cluster/mapping/pci/{id}") => mapping::read,
        ("PUT", "/cluster/mapping/pci/{id}") => mapping::update,
        ("DELETE", "/cluster/mapping/pci/{id}") => mapping::delete,
        ("GET", "/nodes") => nodes::list,
        ("GET", "/nodes/{node}") => nodes::index,
        ("GET", "/nodes/{node}/status") => nodes::status,
        ("GET", "/nodes/{node}/time") => nodes::time,
        ("POST", "/nodes/{node}/status") => members::post_status,
        ("POST", "/nodes/{node}/startall") => members::post_start_all,
        ("GET", "/nodes/{node}/hardware/pci") => mapping::devices,
        ("GET", "/nodes/{node}/tasks") => tasks::list,
        ("GET", "/nodes/{node}/tasks/{upid}") => tasks::index,
        ("DELETE", "/nodes/{node}/tasks/{upid}") => tasks::stop,
        ("GET", "/nodes/{node}/tasks/{upid}/status") => tasks::status,
        ("GET", "/nodes/{node}/tasks/{upid}/log") => tasks::log,
        _ => return node_handler(method, path.strip_prefix("/nodes/{node}")?),
    };
    Some(handler)
}

/// What lies on a node alone.
fn node_handler(method: &str, below: &str) -> Option<Handler> {
    let handler: Handler = match (method, below) {
        ("GET", "/apt/repositories") => inventory::repositories,
        ("GET", "/apt/update") => nodes::upgrades,
        ("POST", "/apt/update") => nodes::update_packages,
        ("GET", "/certificates/info") => nodes::certificates,
        ("GET", "/config") => node_config::read,
        ("PUT", "/config") => node_config::update,
        ("GET", "/dns") => etc::read_resolver,
        ("PUT", "/dns") => etc::write_resolver,
        ("GET", "/hosts") => etc::read_hosts,
        ("POST", "/hosts") => etc::write_hosts,
        ("GET", "/network") => network::list,
        ("POST", "/network") => network::create,
        ("PUT", "/network") => network::apply,
        ("DELETE", "/network") => network::revert,
        ("GET", "/network/{iface}") => network::read,
        ("PUT", "/network/{iface}") => network::update,
        ("DELETE", "/network/{iface}") => network::delete,
        _ => return None,
    };
    Some(handler)
}

fn storage_handler(method: &str, path: &str) -> Option<Handler> {
    let handler: Handler = match (method, path) {
        ("GET", "/storage") => storage::list,
        ("POST", "/storage") => storage::create,
        ("GET", "/storage/{storage}") => storage::read,
        ("PUT", "/storage/{storage}") => storage::update,
        ("DELETE", "/storage/{storage}") => storage::delete,
        ("GET", "/nodes/{node}/disks") => disks::index,
        ("GET", "/nodes/{node}/disks/directory") => disks::directories,
        ("GET", "/nodes/{node}/disks/list") => inventory::disks,
        ("GET", "/nodes/{node}/disks/lvm") => disks::groups,
        ("GET", "/nodes/{node}/disks/zfs") => disks::pools,
        ("GET", "/nodes/{node}/scan") => scan::index,
        ("GET", "/nodes/{node}/scan/nfs") => scan::exports,
        ("GET", "/nodes/{node}/scan/lvm") => scan::groups,
        ("GET", "/nodes/{node}/scan/lvmthin") => scan::thin_pools,
        ("GET", "/nodes/{node}/scan/zfs") => scan::pools,
        ("GET", "/nodes/{node}/query-url-metadata") => transfer::look_up,
        ("GET", "/nodes/{node}/storage") => storage_state::list,
        _ => return volume_handler(method, path.strip_prefix("/nodes/{node}/storage/{storage}")?),
    };
    Some(handler)
}

fn volume_handler(method: &str, below: &str) -> Option<Handler> {
    let handler: Handler = match (method, below) {
        ("GET", "") => storage_state::index,
        ("GET", "/status") => storage_state::status,
        ("GET", "/content") => content::list,
        ("POST", "/content") => content::allocate,
        ("GET", "/content/{volume}") => content::read,
        ("PUT", "/content/{volume}") => content::describe,
        ("DELETE", "/content/{volume}") => content::delete,
        ("GET", "/prunebackups") => content::prune_preview,
        ("GET", "/import-metadata") => content::import_metadata,
        ("GET", "/file-restore/list") => content::look_into_backup,
        ("POST", "/download-url") => transfer::download,
        ("POST", "/upload") => transfer::upload,
        _ => return None,
    };
    Some(handler)
}

fn vm_handler(method: &str, path: &str) -> Option<Handler> {
    let below = path.strip_prefix("/nodes/{node}/qemu")?;
    let handler: Handler = match (method, below.strip_prefix("/{vmid}").unwrap_or(below)) {
        ("GET", "") if below.is_empty() => vm_read::list,
        ("POST", "") if below.is_empty() => vm_create::create,
        ("GET", "") => vm_read::index,
        ("DELETE", "") => vm_disks::delete,
        ("GET", "/config") => vm_read::config,
        ("PUT", "/config") => vm_update::put,
        ("POST", "/config") => vm_update::post,
        ("GET", "/pending") => vm_read::pending,
        ("GET", "/cloudinit") => vm_read::cloud_init,
        ("GET", "/cloudinit/dump") => cloud_init::dump,
        ("PUT", "/cloudinit") => vm_read::make_cloud_init,
        ("PUT", "/resize") => vm_disks::put_size,
        ("POST", "/clone") => vm_clone::clone,
        ("GET", "/migrate") => vm_migrate::preview,
        ("POST", "/migrate") => vm_migrate::migrate,
        ("POST", "/template") => vm_disks::post_template,
        ("GET", "/snapshot") => vm_disks::snapshots,
        ("POST", "/snapshot") => vm_disks::post_snapshot,
        ("POST", "/move_disk") => vm_disks::post_move,
        ("GET", "/status") => vm_power::index,
        ("GET", "/status/current") => vm_read::status,
        ("POST", "/status/start") => vm_power::post_start,
        ("POST", "/status/stop") => vm_power::post_stop,
        ("POST", "/status/shutdown") => vm_power::post_shutdown,
        ("POST", "/status/reboot") => vm_power::post_reboot,
        ("POST", "/status/reset") => vm_power::post_reset,
        ("POST", "/status/suspend" | "/status/resume") => vm_power::post_suspend,
        ("GET", "/agent") => agent::index,
        ("GET", "/agent/info") => agent::info,
        ("POST", "/agent/ping") => agent::ping,
        ("GET", "/agent/network-get-interfaces") => agent::interfaces,
        ("GET", "/agent/get-osinfo") => agent::system,
        ("GET", "/agent/get-host-name") => agent::host_name,
        ("GET", "/agent/file-read") => agent::read_file,
        ("POST", "/agent/exec") => agent::execute,
        ("GET", "/agent/exec-status") => agent::execution,
        _ => return None,
    };
    Some(handler)
}

#[cfg(test)]
mod tests {
    use super::super::form::decode;
    use super::*;

    #[test]
    fn a_call_of_which_only_the_path_is_known_has_no_handler() {
        for line in include_str!("calls/others.txt").lines().filter(|line| line.starts_with('/')) {
            let (path, methods) = line.split_once(' ').unwrap();
            assert!(methods.split(' ').all(|method| handler(method, path).is_none()), "{line}");
        }
    }

    #[test]
    fn logging_in_and_asking_the_agent_change_nothing() {
        assert!(!is_mutating("POST", "/access/ticket", &Form::new()));
        assert!(!is_mutating("POST", "/nodes/a/qemu/1/agent/ping", &Form::new()));
        let read = decode("command=cat&command=/etc/hostname");
        assert!(!is_mutating("POST", "/nodes/a/qemu/1/agent/exec", &read));
        assert!(is_mutating("POST", "/nodes/a/qemu/1/agent/exec", &decode("command=rm&command=x")));
        assert!(is_mutating("PUT", "/nodes/a/qemu/1/config", &Form::new()));
    }
}
