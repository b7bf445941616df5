//! `pve.require`: everything a playbook relies on, looked at before anything is touched; all that is missing is told at
//! once.

use std::collections::BTreeMap;

use rhai::{Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Guest, Proxmox, REALM, holds};
use super::{reads, vm};
use crate::error::{Class, Error, Result};
use crate::inputs::formats::semver;
use crate::run::event::Level;
use crate::run::resource::Reader;
use crate::run::scope;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;
use crate::suggest;

/// What a playbook relies on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequireOptions {
    /// The versions of Proxmox VE that will do, as in `>=9.1`. Default: any.
    #[serde(default)]
    pub version: Option<String>,
    /// Nodes that must be online. Default: none.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// A template that must exist. Default: none.
    #[serde(default)]
    pub template: Option<i64>,
    /// Storages that must be active on those nodes. Default: none.
    #[serde(default)]
    pub storages: Vec<String>,
    /// What those storages must take, as in `["images"]`. Default: anything.
    #[serde(default)]
    pub content: Vec<String>,
    /// Virtual machines that are to be made or are there already, each with its number, as in `#{ "k3s-cp-01": 111 }`. No
    /// other may have the number or the name, and none may be locked by a task that is gone. Default: none.
    #[serde(default)]
    pub vms: BTreeMap<String, i64>,
    /// The nodes that those virtual machines are to be on, as in `#{ "k3s-cp-01": "pve-01" }`. One that runs elsewhere could
    /// not be moved there. Default: anywhere.
    #[serde(default)]
    pub homes: BTreeMap<String, String>,
    /// Bridges that those nodes must have. Default: none.
    #[serde(default)]
    pub bridges: Vec<String>,
    /// PCI mappings that must be sound, each with its node, as in `#{ rtx4000ada: "pve-01" }`. Default: none.
    #[serde(default)]
    pub mappings: BTreeMap<String, String>,
    /// Privileges that the token must hold, by path. Default: none.
    #[serde(default)]
    pub can: BTreeMap<String, Vec<String>>,
    /// The role that is to give it those privileges, by path: where one is lacking, the command that grants it names the
    /// role. Default: the command leaves its name open.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
    /// Whether the cluster must have quorum. Default: true.
    #[serde(default = "yes")]
    pub quorum: bool,
}

fn yes() -> bool {
    true
}

/// Looks at everything, and ends the step where something is missing.
pub(super) fn require(call: &NativeCallContext<'_>, pve: &Proxmox, map: Map) -> RhaiResult<()> {
    let options: RequireOptions = options(call, "pve.require", map)?;
    check(pve, &options).map_err(fail)
}

fn check(pve: &Proxmox, options: &RequireOptions) -> Result<()> {
    let only_planned = || {
        let who = pve.client().who();
        scope::say(
            Level::Info,
            format!("{}: what {who} may do is only planned so far; the run looks at it", pve.place()),
        )
    };
    if reads::cannot_ask_yet(pve)?.is_some() {
        return only_planned();
    }
    let lacking = lacking(pve, options)?;
    if !lacking.is_empty() && access_is_planned()? {
        return only_planned();
    }
    // A token sees only what it may see: where it lacks privileges, what is not listed may be there all the same.
    let sees = |path: &str| lacking.iter().all(|lack| lack.path != path);
    let mut missing = Vec::new();
    check_version(pve, options, &mut missing)?;
    if options.quorum && sees("/") && reads::quorum(pve)? == Value::Bool(false) {
        missing.push(Miss::new("the cluster has no quorum", "start the other nodes; `pvecm status` tells who votes"));
    }
    check_nodes(pve, options, &sees, &mut missing)?;
    if sees("/vms") {
        check_template(pve, options, &mut missing)?;
        check_guests(pve, options, &mut missing)?;
    }
    if sees("/mapping/pci") {
        for (mapping, node) in &options.mappings {
            check_mapping(pve, mapping, node, &mut missing)?;
        }
    }
    verdict(pve, options, &lacking, missing)
}

/// Whether this dry run has planned a change of who may do what.
fn access_is_planned() -> Result<bool> {
    let is_access =
        |path: &str| ["acl:", "role:", "user:", "group:", "token:"].iter().any(|kind| path.starts_with(kind));
    scope::with(|branch| branch.overlay.cells().any(|(cell, _)| cell.realm == REALM && is_access(&cell.path)))
}

/// Something that is not as it must be, and what to do about it.
struct Miss {
    what: String,
    remedy: String,
}

impl Miss {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Miss { what: what.into(), remedy: remedy.into() }
    }
}

/// Everything that is wrong, as one error; nothing where all is well.
fn verdict(pve: &Proxmox, options: &RequireOptions, lacking: &[Lack<'_>], missing: Vec<Miss>) -> Result<()> {
    if lacking.is_empty() && missing.is_empty() {
        return Ok(());
    }
    let (place, who) = (pve.place(), pve.client().who());
    let error = match (lacking.is_empty(), missing.is_empty()) {
        (true, _) => Error::new(Class::Blocked, format!("{place}: not everything is there that is needed")),
        (false, true) => Error::new(Class::Permission, format!("{place}: {who} lacks privileges")),
        (false, false) => {
            Error::new(Class::Permission, format!("{place}: {who} lacks privileges, and not everything is there"))
        }
    };
    let mut remedies: Vec<String> = lacking.iter().map(|lack| lack.grant(options, who)).collect();
    for miss in &missing {
        if !remedies.contains(&miss.remedy) {
            remedies.push(miss.remedy.clone());
        }
    }
    let lacks = lacking.iter().map(|lack| format!("on {}: {}", lack.path, lack.privileges.join(", ")));
    let causes = lacks.chain(missing.into_iter().map(|miss| miss.what));
    Err(causes.fold(error, Error::cause).help(remedies.join("\n")))
}

/// What the token may not do on a path.
struct Lack<'a> {
    path: String,
    privileges: Vec<&'a str>,
    /// What that comes from.
    reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The role there lacks it.
    Role,
    /// It holds nothing of what was asked for there: it may never have been given the role.
    NoRole,
    /// It holds it above, and a row of its own on this path replaces what is inherited.
    Row,
}

impl Lack<'_> {
    /// The command that grants it. The role is shared by the user and its token, which has no more than both have. A row
    /// on a deeper path is never the way: it replaces all that is inherited there.
    fn grant(&self, options: &RequireOptions, who: &str) -> String {
        if self.reason == Reason::Row {
            return format!(
                "as root on a node: a row on {path} itself replaces what is inherited there. `pveum acl list` shows it; take \
                 it away: pveum acl delete {path} --roles ROLE --users … --tokens …",
                path = self.path
            );
        }
        let role = options.roles.get(&self.path).map_or("ROLE", String::as_str);
        let privileges = self.privileges.join(" ");
        let modify = format!("pveum role modify {role} --append 1 --privs '{privileges}'");
        let open = if role == "ROLE" { " (`pveum acl list` shows the role that it has there)" } else { "" };
        if self.reason == Reason::Role {
            return format!("as root on a node: {modify}{open}");
        }
        let whom = match who.split_once('!') {
            Some((user, _)) => format!("--users {user} --tokens '{who}'"),
            None => format!("--users {who}"),
        };
        format!(
            "as root on a node: {modify}{open}\nand, should it never have been given the role: \
             pveum acl modify {} --roles {role} {whom}",
            self.path
        )
    }
}

fn lacking<'a>(pve: &Proxmox, options: &'a RequireOptions) -> Result<Vec<Lack<'a>>> {
    if options.can.is_empty() {
        return Ok(Vec::new());
    }
    let permissions = pve.permissions(&Reader::default())?;
    let mut lacking = Vec::new();
    for (path, asked) in &options.can {
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let missing = |path: &str, asked: &[&'a str]| -> Vec<&'a str> {
            asked.iter().copied().filter(|privilege| !holds(&permissions, path, privilege)).collect()
        };
        let privileges = missing(path, &asked);
        let held: Vec<&str> = asked.iter().copied().filter(|privilege| !privileges.contains(privilege)).collect();
        let reason = if held.is_empty() { Reason::NoRole } else { Reason::Role };
        lacking.push(Lack { path: path.clone(), privileges, reason });
        for below in objects(options, path) {
            lacking.push(Lack { privileges: missing(&below, &held), path: below, reason: Reason::Row });
        }
    }
    lacking.retain(|lack| !lack.privileges.is_empty());
    Ok(lacking)
}

/// The paths of what is needed below a path: rows on them replace what is inherited.
fn objects(options: &RequireOptions, path: &str) -> Vec<String> {
    let names: Vec<String> = match path {
        "/vms" => options.vms.values().map(ToString::to_string).collect(),
        "/storage" => options.storages.clone(),
        "/mapping/pci" => options.mappings.keys().cloned().collect(),
        _ => Vec::new(),
    };
    names.iter().map(|name| format!("{path}/{name}")).collect()
}

fn check_version(pve: &Proxmox, options: &RequireOptions, missing: &mut Vec<Miss>) -> Result<()> {
    let Some(wanted) = &options.version else { return Ok(()) };
    let version = reads::version(pve)?;
    let found = version.get("version").and_then(Value::as_text).unwrap_or_default();
    if !semver::satisfies(found, wanted)? {
        let remedy = "upgrade the nodes one after the other (`apt update && apt full-upgrade`), or ask for less";
        missing.push(Miss::new(format!("it runs Proxmox VE {found}, and {wanted} is needed"), remedy));
    }
    Ok(())
}

fn check_nodes(
    pve: &Proxmox,
    options: &RequireOptions,
    sees: &dyn Fn(&str) -> bool,
    missing: &mut Vec<Miss>,
) -> Result<()> {
    let Some(nodes) = known(&reads::nodes(pve)?) else { return Ok(()) };
    for node in &options.nodes {
        let status = row(&nodes, "node", node).map(|row| row.get("status").and_then(Json::as_str).unwrap_or("unknown"));
        match status {
            None => missing.push(Miss::new(
                format!("the cluster has no node {node}, only {}", names(&nodes, "node")),
                "correct the name in the table, or let the node join first",
            )),
            Some("online") => {
                if sees("/storage") {
                    check_storages(pve, node, options, missing)?;
                }
                if sees("/sdn/zones/localnetwork") {
                    check_bridges(pve, node, options, missing)?;
                }
            }
            Some(status) => missing.push(Miss::new(
                format!("node {node} is {status}"),
                format!("see that {node} is up; `pvecm status` on another node tells whether it is in the cluster"),
            )),
        }
    }
    Ok(())
}

fn check_storages(pve: &Proxmox, node: &str, options: &RequireOptions, missing: &mut Vec<Miss>) -> Result<()> {
    if options.storages.is_empty() {
        return Ok(());
    }
    let Some(storages) = known(&reads::storages(pve, node)?) else { return Ok(()) };
    for storage in &options.storages {
        let Some(found) = row(&storages, "storage", storage) else {
            let what = format!("{node} has no storage {storage}, only {}", names(&storages, "storage"));
            missing.push(Miss::new(what, "name one that every node has, or define it: `pvesm add`"));
            continue;
        };
        if found.get("enabled").is_some() && !is_set(found, "enabled") {
            let what = format!("storage {storage} is disabled on {node}");
            missing.push(Miss::new(
                what,
                format!(
                    "enable it: pvesm set {storage} --disable 0; should it be for certain nodes only, name this one too: \
                     `nodes` of {storage} in /etc/pve/storage.cfg"
                ),
            ));
        } else if !is_set(found, "active") {
            let what = format!("storage {storage} is not active on {node}");
            missing.push(Miss::new(what, format!("see why on that node: pvesm status --storage {storage}")));
        }
        let takes = found.get("content").and_then(Json::as_str).unwrap_or_default();
        for wanted in options.content.iter().filter(|wanted| takes.split(',').all(|kind| kind.trim() != *wanted)) {
            let what = format!("storage {storage} on {node} takes {takes}, and no {wanted}");
            missing.push(Miss::new(
                what,
                format!("name another one, or let it: pvesm set {storage} --content {takes},{wanted}"),
            ));
        }
    }
    Ok(())
}

fn check_bridges(pve: &Proxmox, node: &str, options: &RequireOptions, missing: &mut Vec<Miss>) -> Result<()> {
    if options.bridges.is_empty() {
        return Ok(());
    }
    let Some(interfaces) = known(&reads::interfaces(pve, node)?) else { return Ok(()) };
    let bridges = interfaces.as_array().into_iter().flatten();
    let bridges =
        bridges.filter(|row| row.get("type").and_then(Json::as_str).is_some_and(|kind| kind.contains("ridge")));
    let bridges = Json::Array(bridges.cloned().collect());
    for bridge in options.bridges.iter().filter(|bridge| row(&interfaces, "iface", bridge).is_none()) {
        let what = format!("{node} has no bridge {bridge}, only {}", names(&bridges, "iface"));
        missing.push(Miss::new(what, "correct its name in the table, or make it: the node's System > Network"));
    }
    Ok(())
}

fn check_template(pve: &Proxmox, options: &RequireOptions, missing: &mut Vec<Miss>) -> Result<()> {
    let Some(template) = options.template else { return Ok(()) };
    // One that this dry run has planned will be there.
    if scope::with(|branch| branch.overlay.cell(&vm::resource::cell(template)).is_some())? {
        return Ok(());
    }
    let guests = pve.guests(&Reader::default())?;
    match guests.iter().find(|guest| guest.vmid == template) {
        None => {
            let known: Vec<String> =
                guests.iter().filter(|guest| guest.template).map(|guest| guest.vmid.to_string()).collect();
            let only = if known.is_empty() { String::new() } else { format!(", only {}", known.join(", ")) };
            missing.push(Miss::new(
                format!("there is no template {template}{only}"),
                "build it first, or correct its number in the table",
            ));
        }
        Some(guest) if !guest.template => missing.push(Miss::new(
            format!("VM {template} ({}) is no template", guest.name),
            format!("correct the number in the table, or make it one: `qm template {template}` on {}", guest.node),
        )),
        Some(_) => {}
    }
    Ok(())
}

/// Numbers and names that others have, and machines that a dead task left locked.
fn check_guests(pve: &Proxmox, options: &RequireOptions, missing: &mut Vec<Miss>) -> Result<()> {
    const CHOOSE: &str =
        "choose another vmid or name in the table, or rename the other VM if it is meant to be this one";
    if options.vms.is_empty() {
        return Ok(());
    }
    let reader = Reader::default();
    let guests = pve.guests(&reader)?;
    for (name, vmid) in &options.vms {
        let same_name = |guest: &&Guest| guest.name == *name && guest.vmid != *vmid && !guest.template;
        if let Some(other) = guests.iter().find(same_name) {
            let what = format!("the name {name} belongs to VM {} on {}", other.vmid, other.node);
            missing.push(Miss::new(what, CHOOSE));
        }
        let Some(guest) = guests.iter().find(|guest| guest.vmid == *vmid) else { continue };
        // A clone has neither a name nor a task of its own. Whoever makes the machine waits for what is under way.
        let is_being_cloned = guest.lock.as_deref() == Some("clone");
        if is_being_cloned && scope::run()?.left_in_flight(&vm::resource::address(*vmid, name))?.is_some() {
            continue;
        }
        let home = options.homes.get(name).filter(|home| **home != guest.node && guest.status == "running");
        if guest.name != *name {
            missing.push(Miss::new(format!("VM {vmid} is taken by `{}` on {}", guest.name, guest.node), CHOOSE));
        } else if let Some(home) = home {
            missing.push(Miss::new(
                format!("VM {vmid} ({name}) runs on {}, and is to be on {home}", guest.node),
                format!("shut it down, so that it can be moved, or write {} into the table", guest.node),
            ));
        } else if let Some(lock) = &guest.lock
            && pve.active_task(&reader, &guest.node, *vmid)?.is_none()
        {
            missing.push(Miss::new(
                format!("VM {vmid} ({name}) is locked ({lock}), and no task is at work on it"),
                format!(
                    "a clone, migration or backup was interrupted: look at the VM, then `qm unlock {vmid}` on {} \
                     (after an interrupted clone rather `qm destroy {vmid}`: its disks are not whole)",
                    guest.node
                ),
            ));
        }
    }
    Ok(())
}

fn check_mapping(pve: &Proxmox, mapping: &str, node: &str, missing: &mut Vec<Miss>) -> Result<()> {
    let Some(mappings) = known(&reads::pci_mappings(pve, node)?) else { return Ok(()) };
    let Some(found) = row(&mappings, "id", mapping) else {
        let what = match names(&mappings, "id") {
            none if none.is_empty() => format!("there is no PCI mapping {mapping}"),
            known => format!("there is no PCI mapping {mapping}, only {known}"),
        };
        missing
            .push(Miss::new(what, "map the card (Datacenter > Resource Mappings), or correct its name in the table"));
        return Ok(());
    };
    for check in found.get("checks").and_then(Json::as_array).into_iter().flatten() {
        let message = check.get("message").and_then(Json::as_str).unwrap_or("is not sound");
        let remedy = format!("the card may have moved: compare `lspci -nn` on {node} with the mapping {mapping}");
        missing.push(Miss::new(format!("PCI mapping {mapping} on {node}: {}", message.trim()), remedy));
    }
    Ok(())
}

/// What was read, unless this dry run has planned what it would show: then the run looks at it.
fn known(read: &Value) -> Option<Json> {
    (!matches!(read, Value::Unknown(_))).then(|| read.to_display_json())
}

fn row<'a>(rows: &'a Json, key: &str, wanted: &str) -> Option<&'a Json> {
    rows.as_array()?.iter().find(|row| row.get(key).and_then(Json::as_str) == Some(wanted))
}

/// What there is, in a row.
fn names(rows: &Json, key: &str) -> String {
    let mut names: Vec<&str> =
        rows.as_array().into_iter().flatten().filter_map(|row| row.get(key).and_then(Json::as_str)).collect();
    names.sort_unstable();
    suggest::listed(&names)
}

fn is_set(row: &Json, key: &str) -> bool {
    row.get(key).and_then(super::handle::integer).is_some_and(|flag| flag != 0)
}
