//! What exchanges show of the world beside its machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::recording::Recording;

/// The rows of a list that were there before: without those that exchanges before the list made.
pub(super) fn rows<'r>(recording: &'r Recording, path: &str, key: &str) -> Vec<&'r Value> {
    let mut made: Vec<String> = Vec::new();
    for exchange in &recording.exchanges {
        let (request, response) = (&exchange.request, &exchange.response);
        if request.method == "POST" && request.path() == path && recording.succeeded(exchange) {
            made.extend(request.field(key));
        }
        if request.method == "GET" && request.path() == path && response.is_success() {
            let rows = response.data().as_array().into_iter().flatten();
            return rows.filter(|row| row[key].as_str().is_some_and(|id| !made.iter().any(|one| one == id))).collect();
        }
    }
    Vec::new()
}

/// Tokens that ask before an exchange makes them, and are heard: user and name each.
pub(super) fn tokens(recording: &Recording) -> BTreeSet<(String, String)> {
    let mut made: Vec<String> = Vec::new();
    let mut tokens = BTreeSet::new();
    for exchange in &recording.exchanges {
        if let Some((user, token)) =
            exchange.request.path().strip_prefix("/access/users/").and_then(|rest| rest.split_once("/token/"))
            && exchange.request.method == "POST"
        {
            made.push(format!("{user}!{token}"));
        }
        let Some(id) = exchange.who.strip_prefix("token ") else { continue };
        if exchange.response.status != 401
            && !made.iter().any(|one| one == id)
            && let Some((user, token)) = id.split_once('!')
        {
            tokens.insert((user.to_string(), token.to_string()));
        }
    }
    tokens
}

/// The addresses of nodes, where a status of the cluster shows them.
pub(super) fn addresses(recording: &Recording) -> BTreeMap<String, String> {
    let statuses = recording.exchanges.iter().filter(|one| one.request.path() == "/cluster/status");
    let rows = statuses.flat_map(|one| one.response.data().as_array().into_iter().flatten());
    rows.filter_map(|row| Some((row["name"].as_str()?.to_string(), row["ip"].as_str()?.to_string()))).collect()
}

/// Volumes that the exchanges use or list before any of them makes them: their ids with size and format, where those
/// were seen.
pub(super) fn volumes(recording: &Recording) -> Vec<(String, Option<u64>, Option<String>)> {
    static FILE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b[a-z][\w-]*:(?:import|iso|snippets|vztmpl|backup)/[\w.+-]+").unwrap());
    let mut volumes: BTreeMap<String, (Option<u64>, Option<String>)> = BTreeMap::new();
    let mut made: BTreeSet<String> = BTreeSet::new();
    for exchange in &recording.exchanges {
        let (request, response) = (&exchange.request, &exchange.response);
        let asked: Vec<String> = request.fields().into_iter().map(|(_, value)| value).collect();
        if request.method != "GET" {
            let names =
                request.field("filename").into_iter().chain(request.files.iter().map(|file| file.filename.clone()));
            made.extend(names);
        }
        if recording.succeeded(exchange) && request.method != "DELETE" {
            for id in asked.iter().flat_map(|value| FILE.find_iter(value)).map(|found| found.as_str()) {
                volumes.entry(id.into()).or_default();
            }
        }
        if request.method != "GET" || !request.path().ends_with("/content") {
            continue;
        }
        for row in response.data().as_array().into_iter().flatten() {
            let Some(id) = row["volid"].as_str() else { continue };
            let name = id.rsplit('/').next().unwrap_or_default();
            let is_file = FILE.is_match(id);
            if is_file && !made.contains(name) {
                volumes.insert(id.into(), (row["size"].as_u64(), row["format"].as_str().map(str::to_string)));
            }
        }
    }
    volumes.into_iter().map(|(id, (size, format))| (id, size, format)).collect()
}

/// Storages that the exchanges show before any of them writes a definition: the rows of lists, and the bare names that
/// requests use with success or are refused by right only.
pub(super) fn storages(recording: &Recording) -> BTreeMap<String, Value> {
    static DRIVE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^([A-Za-z][\w-]*):(?:\d|cloudinit|import/|iso/)").unwrap());
    let mut storages: BTreeMap<String, Value> = BTreeMap::new();
    for exchange in &recording.exchanges {
        let (request, response) = (&exchange.request, &exchange.response);
        let path = request.path();
        if request.method != "GET" && path.starts_with("/storage") && response.is_success() {
            break;
        }
        let is_list = path == "/storage"
            || path == "/cluster/resources"
            || (path.starts_with("/nodes/") && path.ends_with("/storage"));
        if is_list && request.method == "GET" {
            for row in response.data().as_array().into_iter().flatten() {
                if let Some(id) = row["storage"].as_str() {
                    let known = storages.entry(id.into()).or_insert_with(|| Value::Object(serde_json::Map::new()));
                    for (key, value) in row.as_object().into_iter().flatten() {
                        let key = if key == "plugintype" { "type" } else { key.as_str() };
                        if known.get(key).is_none() && !(key == "type" && value == "storage") {
                            known[key] = value.clone();
                        }
                    }
                }
            }
        }
        if let Some(id) = path.strip_prefix("/storage/").filter(|_| request.method == "GET" && response.is_success()) {
            storages.insert(id.into(), response.data().clone());
        }
        if !(recording.succeeded(exchange) || response.status == 403)
            || request.method == "GET" && response.status != 200
        {
            continue;
        }
        let of_path = path.split("/storage/").nth(1).map(|rest| rest.split('/').next().unwrap_or_default().to_string());
        let of_fields = request.fields().into_iter().filter_map(|(name, value)| match name.as_str() {
            "storage" | "targetstorage" if !path.starts_with("/storage") && !path.contains("/backup") => Some(value),
            _ => DRIVE.captures(&value).map(|found| found[1].to_string()),
        });
        for id in of_path.filter(|id| path.starts_with("/nodes/") && !id.is_empty()).into_iter().chain(of_fields) {
            storages.entry(id).or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
    }
    storages
}

/// The PCI functions of a node, as its lists show them.
pub(super) fn devices(recording: &Recording, node: &str) -> Vec<Value> {
    let path = format!("/nodes/{node}/hardware/pci");
    let mut devices: BTreeMap<String, Value> = BTreeMap::new();
    for exchange in recording.exchanges.iter().filter(|one| one.request.path() == path && one.request.method == "GET") {
        for row in exchange.response.data().as_array().into_iter().flatten() {
            let Some(id) = row["id"].as_str() else { continue };
            let known = devices.entry(id.into()).or_insert(Value::Null);
            if row.get("subsystem_vendor").is_some() || known.is_null() {
                *known = row.clone();
            }
        }
    }
    devices.into_values().collect()
}
