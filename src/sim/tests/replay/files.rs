//! The files of nodes that calls read and write, as they were before the first exchange.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::recording::{Exchange, Recording, pairs};
use crate::sim::Sim;
use crate::sim::proxmox::Interfaces;

/// Writes them as the first exchange shows them that reads one before any changed it. What no exchange shows stays as
/// an installation leaves it.
pub(super) fn prepare(sim: &Sim, recording: &Recording) {
    for cluster in &mut sim.frame.world().clusters {
        for node in cluster.nodes.keys().cloned().collect::<Vec<_>>() {
            let first = |below: &str| first(recording, &format!("/nodes/{node}/{below}"));
            let write = |path: &str, text: &str| {
                cluster.put_text(&node, path, text).unwrap_or_else(|refusal| panic!("{node}: {}", refusal.reason));
            };
            if let Some(data) = first("hosts") {
                write("/etc/hosts", data["data"].as_str().unwrap_or_default());
            }
            if let Some(data) = first("dns") {
                write("/etc/resolv.conf", &resolver(data));
            }
            let config = first("config").cloned();
            let rows = first("network").cloned();
            match rows.as_ref().map(interfaces) {
                Some(Ok(text)) => write("/etc/network/interfaces", &text),
                Some(Err(wrong)) => println!("   the network of {node} cannot be made: {wrong}"),
                None => {}
            }
            let Some(known) = cluster.nodes.get_mut(&node) else { continue };
            if let Some(rows) = rows {
                let rows = || rows.as_array().into_iter().flatten();
                let named = |row: &Value| row["iface"].as_str().map(str::to_string);
                // Cards of the recorders' nodes are stand-ins that nobody takes for hardware, where they show as such.
                known.cards = rows().filter(|row| row["exists"] == 1).filter_map(named).collect();
                known.links = rows().filter(|row| row["active"] == 1).filter_map(named).collect();
            }
            if let Some(config) = config.filter(|config| config.get("digest").is_some()) {
                let options = pairs(&config).into_iter().filter(|(name, _)| name != "digest");
                known.config = Some(options.map(|(name, value)| (name, value.trim_end_matches('\n').into())).collect());
            }
            cluster.reload_network(&node).unwrap_or_else(|refusal| panic!("{node}: {}", refusal.reason));
        }
    }
}

/// The bridges of every node: those that a network shows, else the one that most configurations name.
pub(super) fn bridges(recording: &Recording) -> Vec<String> {
    static USED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bbridge=([\w.-]+)").unwrap());
    let read = || recording.exchanges.iter().filter(|one| one.request.method == "GET" && one.response.is_success());
    let networks = read().filter(|one| one.request.path().ends_with("/network"));
    let rows = networks.flat_map(|one| one.response.data().as_array().into_iter().flatten());
    let shown =
        rows.filter(|row| row["type"] == "bridge" && row["active"] == 1).filter_map(|row| row["iface"].as_str());
    let shown: BTreeSet<String> = shown.map(str::to_string).collect();
    if !shown.is_empty() {
        return shown.into_iter().collect();
    }
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for exchange in read().filter(|one| one.request.path().ends_with("/config")) {
        for found in USED.captures_iter(&exchange.response.body.to_string()) {
            *used.entry(found[1].into()).or_default() += 1;
        }
    }
    let most = used.into_iter().max_by_key(|(_, count)| *count);
    vec![most.map_or_else(|| "vmbr0".into(), |(bridge, _)| bridge)]
}

/// What exchanges say that read all of a file before another one wrote it: the one that tells most, for not everybody may
/// see everything.
fn first<'r>(recording: &'r Recording, path: &str) -> Option<&'r Value> {
    let is_about = |exchange: &&Exchange| exchange.request.path().starts_with(path);
    let writes = |exchange: &Exchange| exchange.request.method != "GET" && exchange.response.is_success();
    let before = recording.exchanges.iter().filter(is_about).take_while(|exchange| !writes(exchange));
    let whole = before.filter(|exchange| exchange.request.path() == path && pairs(&exchange.request.query).is_empty());
    let told = whole.filter(|exchange| exchange.response.is_success()).map(|exchange| exchange.response.data());
    told.max_by_key(|data| data.as_array().map_or(0, Vec::len))
}

fn resolver(data: &Value) -> String {
    let search = data["search"].as_str().map(|domain| format!("search {domain}\n"));
    let servers = ["dns1", "dns2", "dns3"].into_iter().filter_map(|key| data[key].as_str());
    search.into_iter().chain(servers.map(|address| format!("nameserver {address}\n"))).collect()
}

/// The recorders' nodes were made without an installer: their files have no head and name no other files.
fn interfaces(rows: &Value) -> Result<String, String> {
    let mut read = Interfaces::read("auto lo\niface lo inet loopback\n", &[].into(), &[].into());
    for row in rows.as_array().into_iter().flatten() {
        if let (Some(name), Some(row)) = (row["iface"].as_str(), row.as_object()) {
            read.all.insert(name.into(), row.clone().into_iter().filter(|(key, _)| key != "iface").collect());
        }
    }
    let text = read.write()?;
    let blocks = text.split_once("external files!\n\n").map_or(text.as_str(), |(_, blocks)| blocks);
    Ok(format!("{}\n", blocks.trim_end()))
}
