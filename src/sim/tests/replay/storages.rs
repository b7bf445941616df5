//! What the exchanges of a recording show of storages, and of the servers behind them, before the first of them: the
//! files that were there, what web servers had, which exports and pools there were. Where something lies outside of the
//! API, only what became of requests can tell of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::beside::log_of;
use super::given::Given;
use super::recording::{Exchange, Recording};
use super::{prior, shown};
use crate::sim::Sim;
use crate::sim::proxmox::{
    Address, Cluster, Export, Server, Share, Storage, Sums, Volume, WebFile, WebServer, blocks, storage_kind,
};

/// The image that the recorders built machines from.
const IMAGE_LENGTH: u64 = 196_664;
const IMAGE_DISK: u64 = 3_758_096_384;
/// The room of everything of which no size is told.
const ROOM: u64 = 270_553_174_016;

/// Brings the storages of a world into the state before the recording.
pub(super) fn prepare(sim: &Sim, recording: &Recording, given: &Given) {
    for cluster in &mut sim.frame.world().clusters {
        define_as_read(cluster, recording);
        restrict(cluster, given);
        forget_built_in(cluster, recording);
        hold_what_is_listed(cluster, recording);
        hold_what_is_made(cluster, recording);
        lack_what_is_refused(cluster, recording);
        rooms(cluster, recording);
        web(cluster, recording);
        files(cluster, recording);
    }
}

/// Puts disks on them that lists show and no exchange made, beside those of the machines that are known.
pub(super) fn add_disks(sim: &Sim, recording: &Recording) {
    for cluster in &mut sim.frame.world().clusters {
        disks(cluster, recording);
    }
}

/// Settings of which a definition shows the value. The sizes and states in the rows of lists are none.
const SETTINGS: [&str; 17] = [
    "bwlimit",
    "disable",
    "format",
    "is_mountpoint",
    "max-protected-backups",
    "mkdir",
    "mountpoint",
    "nodes",
    "options",
    "path",
    "pool",
    "preallocation",
    "prune-backups",
    "sparse",
    "subdir",
    "thinpool",
    "vgname",
];

/// What the first reads show of definitions: their settings, and storages that the words leave out.
fn define_as_read(cluster: &mut Cluster, recording: &Recording) {
    for (id, row) in shown::storages(recording) {
        let text = |key: &str| row[key].as_str().map(str::to_string);
        if let Some(storage) = cluster.storages.get_mut(&id) {
            for name in SETTINGS {
                // Lists of resources have a flag and a format of their own.
                let is_told = name != "disable" && name != "format" || row.get("digest").is_some();
                let value = text(name).or_else(|| row[name].as_u64().map(|number| number.to_string()));
                if let Some(value) = value.filter(|_| is_told) {
                    storage.settings.insert(name.into(), value);
                }
            }
        } else if text("type").is_some_and(|kind| kind == "dir") && cluster.storage(&id).is_err() {
            let mut settings = BTreeMap::from([("path".to_string(), format!("/srv/{id}"))]);
            settings.extend(text("content").map(|content| ("content".to_string(), content)));
            let nodes = nodes_that_have(cluster, recording, &id);
            if nodes.len() < cluster.nodes.len() {
                settings.insert("nodes".into(), nodes.join(","));
            }
            let storage = Storage { kind: storage_kind::directory(), settings, secrets: BTreeMap::new() };
            cluster.storages.insert(id, storage);
        }
    }
}

/// The nodes whose list does not show a storage as one of others, and of whose storages none is shown without it.
fn nodes_that_have(cluster: &Cluster, recording: &Recording, id: &str) -> Vec<String> {
    let lacks = |node: &String| {
        let path = format!("/nodes/{node}/storage");
        let lists = recording.exchanges.iter().filter(|one| one.request.path() == path);
        let mut rows = lists.flat_map(|one| one.response.data().as_array().into_iter().flatten());
        rows.any(|row| row["storage"] == id && row["enabled"] == 0)
    };
    let is_left_out = |node: &String| {
        let lists = recording.exchanges.iter().filter(|one| one.request.path() == "/cluster/resources");
        let mut lists = lists.filter_map(|one| one.response.data().as_array());
        let on_node = |row: &Value, id: Option<&str>| {
            row["type"] == "storage" && row["node"] == node.as_str() && id.is_none_or(|id| row["storage"] == id)
        };
        lists.any(|rows| {
            let is_shown = rows.iter().any(|row| row["storage"] == id);
            is_shown && rows.iter().any(|row| on_node(row, None)) && !rows.iter().any(|row| on_node(row, Some(id)))
        })
    };
    cluster.nodes.keys().filter(|node| !lacks(node) && !is_left_out(node)).cloned().collect()
}

fn disks(cluster: &mut Cluster, recording: &Recording) {
    let machines = prior::machines(recording);
    let lists = recording.exchanges.iter().filter(|one| {
        one.request.method == "GET" && one.request.path().ends_with("/content") && one.response.is_success()
    });
    let made: Vec<String> = recording.exchanges.iter().filter_map(|one| one.request.field("filename")).collect();
    for exchange in lists {
        let node = exchange.request.path().split('/').nth(2).unwrap_or_default();
        for row in exchange.response.data().as_array().into_iter().flatten().filter(|row| row["content"] == "images") {
            let (Some(id), Some(vmid)) = (row["volid"].as_str(), row["vmid"].as_u64()) else { continue };
            let Some((storage, name)) = id.split_once(':') else { continue };
            let vmid = u32::try_from(vmid).unwrap_or_default();
            let is_made = machines.get(&vmid).is_some_and(|machine| machine.is_made_here)
                || made.iter().any(|file| name.rsplit('/').next() == Some(file.as_str()));
            if is_made || cluster.volume(node, id).is_some() {
                continue;
            }
            let Some(place) = cluster.place(node, storage) else { continue };
            let size = row["size"].as_u64().unwrap_or_default();
            let used = row["used"].as_u64().unwrap_or_default();
            cluster.put_volume(Volume {
                size,
                length: used,
                used,
                format: row["format"].as_str().unwrap_or("raw").into(),
                content: "images".into(),
                vmid: Some(vmid),
                ctime: 1_700_000_000,
                ..Volume::at(place, name)
            });
        }
        for (vmid, _) in machines.iter().filter(|(_, one)| one.config.is_none() && !one.is_made_here) {
            rest_on_a_listed_disk(cluster, exchange.response.data(), *vmid);
        }
    }
}

/// A machine of which nothing was read has a disk that was made up; where a list shows its real ones it has one of those.
fn rest_on_a_listed_disk(cluster: &mut Cluster, list: &Value, vmid: u32) {
    let rows = || list.as_array().into_iter().flatten().filter(|row| row["vmid"] == vmid);
    let ids: Vec<&str> = rows().filter_map(|row| row["volid"].as_str()).collect();
    let Some(listed) = ids.iter().find(|id| !id.contains("cloudinit")) else { return };
    let Some(disk) = cluster.vms.get_mut(&vmid).and_then(|vm| vm.config.get_mut("scsi0")) else { return };
    let made_up = disk.split(',').next().unwrap_or_default().to_owned();
    let (storage, name) = made_up.split_once(':').unwrap_or_default();
    if listed.starts_with(&format!("{storage}:")) && !ids.contains(&made_up.as_str()) {
        *disk = disk.replace(&made_up, listed);
        cluster.volumes.retain(|volume| volume.name != name || volume.vmid != Some(vmid));
    }
}

/// Nodes and paths that the words tell.
fn restrict(cluster: &mut Cluster, given: &Given) {
    for told in &given.storages {
        let Some(storage) = cluster.storages.get_mut(&told.id) else { continue };
        if !told.nodes.is_empty() {
            storage.settings.insert("nodes".into(), told.nodes.join(","));
        }
        if let Some(path) = &told.path {
            storage.settings.insert("path".into(), path.clone());
            if told.shared {
                cluster.outside.mounts.insert(path.clone(), ROOM);
            }
        }
    }
}

/// Only a storage that stands in no file has a priority.
fn forget_built_in(cluster: &mut Cluster, recording: &Recording) {
    let definitions = recording.exchanges.iter().filter(|one| one.request.path().starts_with("/storage"));
    let first = definitions.take_while(|one| one.request.method == "GET").next();
    let Some(data) = first.map(|one| one.response.data()) else { return };
    let mut rows = data.as_array().map_or(vec![data], |rows| rows.iter().collect()).into_iter();
    if let Some(row) = rows.find(|row| row.get("priority").is_some())
        && let Some(id) = row["storage"].as_str()
    {
        cluster.storages.remove(id);
    }
}

/// A storage may hold what is seen to lie on it.
fn hold_what_is_listed(cluster: &mut Cluster, recording: &Recording) {
    for exchange in &recording.exchanges {
        let is_list = exchange.request.method == "GET" && exchange.request.path().ends_with("/content");
        for row in exchange.response.data().as_array().filter(|_| is_list).into_iter().flatten() {
            let (Some(id), Some(content)) = (row["volid"].as_str(), row["content"].as_str()) else { continue };
            let Some(storage) = id.split(':').next().and_then(|id| cluster.storages.get_mut(id)) else { continue };
            if !storage.holds(content) {
                let all = format!("{},{content}", storage.content().join(","));
                storage.settings.insert("content".into(), all);
            }
        }
    }
}

/// A storage on which a machine's disk is made may hold disks.
fn hold_what_is_made(cluster: &mut Cluster, recording: &Recording) {
    static NEW: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^([A-Za-z][\w.-]*):[\d.]+(?:,|$)").unwrap());
    let defines = |one: &Exchange| one.request.method != "GET" && one.request.path().starts_with("/storage");
    for exchange in recording.exchanges.iter().take_while(|one| !defines(one)) {
        let is_of_machine = exchange.request.path().contains("/qemu") && exchange.request.method != "GET";
        if !is_of_machine || !recording.succeeded(exchange) {
            continue;
        }
        for (_, value) in exchange.request.fields() {
            let Some(found) = NEW.captures(&value) else { continue };
            if let Some(storage) = cluster.storages.get_mut(&found[1])
                && !storage.holds("images")
            {
                let all = format!("{},images", storage.content().join(","));
                storage.settings.insert("content".into(), all);
            }
        }
    }
}

/// A storage that refuses a kind of content before any exchange defines it anew cannot hold it.
fn lack_what_is_refused(cluster: &mut Cluster, recording: &Recording) {
    static REFUSED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"storage '([^']+)' (?:is not configured for content-type|does not support) '(\w+)'").unwrap()
    });
    let defines = |one: &&Exchange| one.request.method != "GET" && one.request.path().starts_with("/storage");
    for exchange in recording.exchanges.iter().take_while(|one| !defines(one)) {
        let Some(found) = REFUSED.captures(&exchange.response.reason) else { continue };
        let Some(storage) = cluster.storages.get_mut(&found[1]) else { continue };
        let left: Vec<&str> = storage.content().into_iter().filter(|content| *content != &found[2]).collect();
        let left = left.join(",");
        storage.settings.insert("content".into(), left);
    }
}

/// The servers, pools and directories without which a definition would not have been taken.
fn rooms(cluster: &mut Cluster, recording: &Recording) {
    for exchange in &recording.exchanges {
        let (request, response) = (&exchange.request, &exchange.response);
        let field = |name: &str| request.field(name).unwrap_or_default();
        if request.method == "GET" && request.path().ends_with("/scan/nfs") && response.is_success() {
            let server: &mut Server = cluster.outside.servers.entry(field("server")).or_default();
            for row in response.data().as_array().into_iter().flatten() {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
                server
                    .exports
                    .insert(text("path"), Export { size: ROOM, clients: text("options"), ..Export::default() });
            }
        }
        let is_tried = field("disable") != "1" && {
            let nodes = field("nodes");
            nodes.is_empty() || nodes.split(',').any(|node| node == request.to)
        };
        if request.method != "POST" || request.path() != "/storage" || !is_tried {
            continue;
        }
        let is_refused = response.reason.contains("mount error");
        if !response.is_success() && !is_refused {
            continue;
        }
        let share = || Share { size: ROOM, login: None };
        match field("type").as_str() {
            "nfs" => {
                let server = cluster.outside.servers.entry(field("server")).or_default();
                let export = if is_refused { "/another".into() } else { field("export") };
                server.exports.insert(export, Export { size: ROOM, clients: "*".into(), ..Export::default() });
            }
            "cifs" => {
                let server = cluster.outside.servers.entry(field("server")).or_default();
                server.shares.insert(field("share"), share());
            }
            "pbs" => {
                let server = cluster.outside.servers.entry(field("server")).or_default();
                server.datastores.insert(field("datastore"), share());
            }
            "zfspool" => {
                for node in cluster.nodes.values_mut() {
                    node.pools.insert(field("pool"), ROOM);
                }
            }
            "lvmthin" => {
                let pool = format!("{}/{}", field("vgname"), field("thinpool"));
                for node in cluster.nodes.values_mut() {
                    node.thin_pools.insert(pool.clone(), ROOM);
                }
            }
            _ => {
                if let Some(machine) = cluster.machines.node(&request.to) {
                    machine.make_directory(&field("path"));
                }
            }
        }
    }
}

/// The checksum that a recording shows of a file, with its algorithm: what was got, or what was asked for and found right.
fn sum(exchange: &Exchange, words: &str) -> Option<(String, String)> {
    static GOT: LazyLock<Regex> = LazyLock::new(|| Regex::new("got '([0-9a-f]{32,128})'").unwrap());
    let algorithm = exchange.request.field("checksum-algorithm")?;
    let right = words.contains("checksum verified") || words.contains("got correct file");
    let wanted = exchange.request.field("checksum").filter(|_| right);
    let got = GOT.captures(words).map(|found| found[1].to_string());
    Some((algorithm, got.or(wanted)?))
}

/// Everything that became of an exchange: its answer, how its task ended, its log.
fn words(recording: &Recording, exchange: &Exchange) -> String {
    let end = exchange.response.task().and_then(|upid| recording.exit(upid)).unwrap_or_default();
    format!("{} {} {end} {}", exchange.response.reason, exchange.response.body, log_of(recording, exchange))
}

/// Web servers and their files, as downloads and look-ups found them.
fn web(cluster: &mut Cluster, recording: &Recording) {
    static LENGTH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"Length: (\d+)|saved \[(\d+)").unwrap());
    static MISSING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"404 ([A-Z][A-Za-z ]+[a-z])"#).unwrap());
    static SILENCE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("(Connection timed out|No route to host|Network is unreachable)").unwrap());
    for exchange in &recording.exchanges {
        let Some(url) = exchange.request.field("url").filter(|url| url.contains("://")) else { continue };
        let words = words(recording, exchange);
        let address = Address::read(&url);
        if let Some(found) = SILENCE.captures(&words) {
            cluster.outside.silence = Some(found[1].to_string());
        }
        if words.contains("Connection refused") {
            cluster.outside.servers.entry(address.host.into()).or_default();
            continue;
        }
        let found = LENGTH.captures(&words).and_then(|found| found.get(1).or(found.get(2))?.as_str().parse().ok());
        let length: Option<u64> = found.or_else(|| exchange.response.data()["size"].as_u64());
        let missing = MISSING.captures(&words).map(|found| found[1].to_string());
        if length.is_none() && missing.is_none() {
            continue;
        }
        let server: &mut WebServer = cluster.outside.web.entry(address.server()).or_default();
        if let Some(reason) = missing {
            server.missing = reason;
            continue;
        }
        let fresh = || WebFile { sums: Sums::made_up(&url), ..WebFile::default() };
        let file = server.files.entry(address.path.into()).or_insert_with(fresh);
        file.length = length.unwrap_or_default();
        if let Some((algorithm, sum)) = sum(exchange, &words) {
            file.sums = file.sums.clone().with(&algorithm, &sum);
        }
        let name = exchange.request.field("filename").unwrap_or_default();
        if let Some(format) = ["qcow2", "vmdk"].into_iter().find(|format| name.ends_with(format)) {
            file.image = Some((format.into(), disk_of(recording, &name).unwrap_or(IMAGE_DISK)));
        }
    }
}

/// The size of the disk in a file, where a volume of its name was looked at.
fn disk_of(recording: &Recording, name: &str) -> Option<u64> {
    let looks =
        recording.exchanges.iter().filter(|one| one.request.method == "GET" && one.request.path().ends_with(name));
    looks.filter_map(|one| one.response.data()["size"].as_u64()).next()
}

/// Scripts that are refused for what they are, and so are there.
fn refused_scripts(recording: &Recording) -> Vec<(String, Option<u64>)> {
    static SCRIPT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"script '([^']+)' is not executable").unwrap());
    let texts = recording.exchanges.iter().map(|one| one.response.body.to_string());
    texts.filter_map(|text| SCRIPT.captures(&text).map(|found| (found[1].to_string(), None))).collect()
}

/// Files that lay on the storages.
fn files(cluster: &mut Cluster, recording: &Recording) {
    let told = shown::volumes(recording).into_iter().map(|(id, length, _)| (id, length));
    for (id, listed) in told.chain(refused_scripts(recording)) {
        let Some((storage, name)) = id.split_once(':').filter(|(storage, _)| cluster.storage(storage).is_ok()) else {
            continue;
        };
        let (content, file) = name.split_once('/').unwrap_or((name, name));
        let is_image = content == "import";
        let length = listed.unwrap_or(if is_image { IMAGE_LENGTH } else { 1024 });
        let seen = disk_of(recording, file);
        let asked = |one: &&Exchange| {
            one.request.path().ends_with("/download-url") && one.request.field("filename").as_deref() == Some(file)
        };
        let mut sums = Sums::made_up(&id);
        for exchange in recording.exchanges.iter().filter(asked) {
            if let Some((algorithm, sum)) = sum(exchange, &words(recording, exchange)) {
                sums = sums.with(&algorithm, &sum);
            }
        }
        let nodes: Vec<String> = cluster.nodes.keys().cloned().collect();
        for node in nodes {
            let Some(place) = cluster.place(&node, storage) else { continue };
            cluster.put_volume(Volume {
                size: seen.unwrap_or(if is_image { IMAGE_DISK } else { length }),
                length,
                used: blocks(length),
                format: file.rsplit('.').next().unwrap_or_default().into(),
                content: content.into(),
                ctime: 1_700_000_000,
                sums: sums.clone(),
                ..Volume::at(place, name)
            });
        }
    }
}
