//! `pve.require`: everything a playbook relies on, looked at before anything is touched; all that is missing is told at
//! once.

use std::collections::BTreeMap;

use rhai::{Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Proxmox, holds};
use super::{reads, vm};
use crate::error::{Class, Error, Result};
use crate::inputs::formats::semver;
use crate::run::resource::Reader;
use crate::run::scope;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

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
    /// Bridges that those nodes must have. Default: none.
    #[serde(default)]
    pub bridges: Vec<String>,
    /// PCI mappings that must be sound, each with its node, as in `#{ rtx4000ada: "pve-01" }`. Default: none.
    #[serde(default)]
    pub mappings: BTreeMap<String, String>,
    /// Privileges that the token must hold, by path. Default: none.
    #[serde(default)]
    pub can: BTreeMap<String, Vec<String>>,
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
    // Privileges first: without them the other answers are cut short and mean little.
    check_privileges(pve, options)?;
    let mut missing = Vec::new();
    check_version(pve, options, &mut missing)?;
    if options.quorum && !reads::quorum(pve)? {
        missing.push("the cluster has no quorum".to_owned());
    }
    check_nodes(pve, options, &mut missing)?;
    check_template(pve, options, &mut missing)?;
    for (mapping, node) in &options.mappings {
        check_mapping(pve, mapping, node, &mut missing)?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    let error = Error::new(Class::Blocked, format!("{}: not everything is there that is needed", pve.place()));
    Err(missing
        .into_iter()
        .fold(error, Error::cause)
        .help("put it right in Proxmox, or correct the tables in docs/; then run again"))
}

fn check_privileges(pve: &Proxmox, options: &RequireOptions) -> Result<()> {
    if options.can.is_empty() {
        return Ok(());
    }
    let permissions = pve.permissions(&Reader::default())?;
    let mut lines = Vec::new();
    let mut grants = Vec::new();
    for (path, privileges) in &options.can {
        let lacking: Vec<&str> =
            privileges.iter().filter(|privilege| !holds(&permissions, path, privilege)).map(String::as_str).collect();
        if !lacking.is_empty() {
            lines.push(format!("on {path}: {}", lacking.join(", ")));
            grants.push(format!("pveum role modify ROLE --append --privs '{}'", lacking.join(" ")));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let error = Error::new(Class::Permission, format!("{}: the token lacks privileges", pve.place()));
    Err(lines.into_iter().fold(error, Error::cause).help(format!(
        "add them to the role that user and token have there (a token with privilege separation needs both): {}",
        grants.join("; ")
    )))
}

fn check_version(pve: &Proxmox, options: &RequireOptions, missing: &mut Vec<String>) -> Result<()> {
    let Some(wanted) = &options.version else { return Ok(()) };
    let version = reads::version(pve)?;
    let found = version.get("version").and_then(Value::as_text).unwrap_or_default();
    if !semver::satisfies(found, wanted)? {
        missing.push(format!("it runs Proxmox VE {found}, and {wanted} is needed"));
    }
    Ok(())
}

fn check_nodes(pve: &Proxmox, options: &RequireOptions, missing: &mut Vec<String>) -> Result<()> {
    let nodes = reads::nodes(pve)?;
    let Value::List(rows) = nodes else { return Ok(()) };
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
    for node in &options.nodes {
        match rows.iter().find(|row| text(row, "node") == *node) {
            None => missing.push(format!("the cluster has no node {node}")),
            Some(row) if text(row, "status") != "online" => {
                missing.push(format!("node {node} is {}", text(row, "status")))
            }
            Some(_) => check_node(pve, node, options, missing)?,
        }
    }
    Ok(())
}

fn check_node(pve: &Proxmox, node: &str, options: &RequireOptions, missing: &mut Vec<String>) -> Result<()> {
    if !options.storages.is_empty() {
        let storages = reads::storages(pve, node)?.to_display_json();
        for storage in &options.storages {
            match row(&storages, "storage", storage) {
                None => missing.push(format!("{node} has no storage {storage}")),
                Some(found) if !is_set(found, "active") => {
                    missing.push(format!("storage {storage} is not active on {node}"))
                }
                Some(_) => {}
            }
        }
    }
    if !options.bridges.is_empty() {
        let interfaces = reads::interfaces(pve, node)?.to_display_json();
        for bridge in &options.bridges {
            if row(&interfaces, "iface", bridge).is_none() {
                missing.push(format!("{node} has no bridge {bridge}"));
            }
        }
    }
    Ok(())
}

fn check_template(pve: &Proxmox, options: &RequireOptions, missing: &mut Vec<String>) -> Result<()> {
    let Some(template) = options.template else { return Ok(()) };
    // One that this dry run has planned will be there.
    if scope::with(|branch| branch.overlay.cell(&vm::resource::cell(template)).is_some())? {
        return Ok(());
    }
    match pve.guests(&Reader::default())?.iter().find(|guest| guest.vmid == template) {
        None => missing.push(format!("there is no template {template}")),
        Some(guest) if !guest.template => missing.push(format!("VM {template} ({}) is no template", guest.name)),
        Some(_) => {}
    }
    Ok(())
}

fn check_mapping(pve: &Proxmox, mapping: &str, node: &str, missing: &mut Vec<String>) -> Result<()> {
    let mappings = reads::pci_mappings(pve, node)?.to_display_json();
    let Some(found) = row(&mappings, "id", mapping) else {
        missing.push(format!("there is no PCI mapping {mapping}"));
        return Ok(());
    };
    for check in found.get("checks").and_then(Json::as_array).into_iter().flatten() {
        let message = check.get("message").and_then(Json::as_str).unwrap_or("is not sound");
        missing.push(format!("PCI mapping {mapping} on {node}: {}", message.trim()));
    }
    Ok(())
}

fn row<'a>(rows: &'a Json, key: &str, wanted: &str) -> Option<&'a Json> {
    rows.as_array()?.iter().find(|row| row.get(key).and_then(Json::as_str) == Some(wanted))
}

fn is_set(row: &Json, key: &str) -> bool {
    row.get(key).and_then(super::handle::integer).is_some_and(|flag| flag != 0)
}
