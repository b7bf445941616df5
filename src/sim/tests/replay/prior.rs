//! What the exchanges of a recording themselves show to have been there before the first of them. Words do not name
//! everything that a recording leans on, so that these rules add to them:
//!
//! - What is read, changed or used before anything here made it was there.
//! - It was as the first read shows it, without what earlier writes here put into it.
//! - What is made here before it is used was not there, whatever the words say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::recording::{Exchange, Recording, pairs};
use crate::sim::proxmox::size_text;

/// Options by name.
pub(super) type Options = BTreeMap<String, String>;

/// A virtual machine, as the exchanges show it.
#[derive(Debug, Default, Clone)]
pub(super) struct PriorMachine {
    /// The node that it was on, when it was there.
    pub(super) node: Option<String>,
    /// Whether an exchange made it before any other had to do with it.
    pub(super) is_made_here: bool,
    /// Its whole configuration, where it was read.
    pub(super) config: Option<Options>,
    /// Single options that its status and the logs of its tasks show.
    pub(super) hints: Options,
    pub(super) runs: Option<bool>,
    pub(super) is_template: bool,
    /// Options that exchanges here set before any read.
    touched: BTreeSet<String>,
}

/// All machines that the exchanges know of.
pub(super) fn machines(recording: &Recording) -> BTreeMap<u32, PriorMachine> {
    let mut vmids: BTreeSet<u32> = BTreeSet::new();
    for exchange in &recording.exchanges {
        vmids.extend(about(exchange).map(|(_, vmid, _)| vmid));
        vmids.extend(
            listed(exchange).filter_map(|row| row["vmid"].as_u64()).filter_map(|vmid| u32::try_from(vmid).ok()),
        );
    }
    let mut machines: BTreeMap<u32, PriorMachine> =
        vmids.into_iter().map(|vmid| (vmid, machine(recording, 0, vmid))).collect();
    for vmid in machines.keys().copied().collect::<Vec<_>>() {
        if machines[&vmid].config.is_none()
            && let Some((config, is_template)) = from_clone(recording, vmid)
        {
            let known = machines.entry(vmid).or_default();
            known.config = Some(config);
            known.is_template |= is_template;
        }
    }
    machines
}

/// Node, number and the rest of the path of an exchange with a virtual machine.
fn about(exchange: &Exchange) -> Option<(&str, u32, &str)> {
    static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^/nodes/([^/]+)/qemu/(\d+)(/.*)?$").unwrap());
    let found = PATH.captures(exchange.request.path())?;
    let rest = found.get(3).map_or("", |rest| rest.as_str());
    Some((found.get(1)?.as_str(), found[2].parse().ok()?, rest))
}

/// The rows of machines in a list.
fn listed(exchange: &Exchange) -> impl Iterator<Item = &Value> {
    let path = exchange.request.path();
    let is_list = exchange.request.method == "GET" && (path == "/cluster/resources" || path.ends_with("/qemu"));
    let rows = exchange.response.data().as_array().filter(|_| is_list);
    rows.into_iter().flatten().filter(|row| row["vmid"].is_u64() && row["type"] != "lxc")
}

/// Whether an exchange makes a machine: the number that it asks for.
fn makes(exchange: &Exchange) -> Option<u32> {
    let (request, path) = (&exchange.request, exchange.request.path());
    let name = match request.method == "POST" {
        true if path.ends_with("/qemu") => "vmid",
        true if path.ends_with("/clone") => "newid",
        _ => return None,
    };
    request.field(name)?.parse().ok()
}

/// Follows one machine from an exchange on until what is seen of it is the work of exchanges here.
fn machine(recording: &Recording, from: usize, vmid: u32) -> PriorMachine {
    let mut machine = PriorMachine::default();
    let mut power_is_old = true;
    for exchange in &recording.exchanges[from..] {
        if makes(exchange) == Some(vmid) && recording.succeeded(exchange) {
            machine.is_made_here = machine.node.is_none();
            return machine;
        }
        for row in listed(exchange).filter(|row| row["vmid"] == vmid) {
            let listing = exchange.request.path().split('/').nth(2);
            let node = row["node"].as_str().or(listing).unwrap_or_default();
            machine.node.get_or_insert(node.into());
            machine.see_status(row, power_is_old);
        }
        let Some((node, _, rest)) = about(exchange).filter(|(_, other, _)| *other == vmid) else { continue };
        let words = said(recording, exchange);
        if is_absent(&words) && machine.node.is_none() {
            return machine;
        }
        // Who may not touch a storage or a bridge was let through to the machine.
        let is_beyond =
            exchange.response.status == 403 && rest == "/clone" && !words.contains("(/vms") && words.contains("(/");
        let is_mute = matches!(exchange.response.status, 0 | 401 | 403 | 501 | 595 | 596) && !is_beyond;
        if is_absent(&words) || is_mute || !recording.is_decided(exchange) || exchange.response.body["success"] == 0 {
            continue;
        }
        // A refused parameter is refused before anybody looks for the machine.
        if exchange.response.status == 400 && !words.contains("hotplug problem") {
            continue;
        }
        machine.node.get_or_insert(node.into());
        machine.see(exchange, rest, &words, power_is_old);
        let is_write = exchange.request.method != "GET";
        if is_write && recording.succeeded(exchange) {
            power_is_old &= !rest.starts_with("/status/");
            // A move changes neither what a machine is nor what it is called.
            if matches!(rest, "" | "/template") {
                return machine;
            }
        }
    }
    machine
}

/// Everything that an exchange, and the task it began, said.
fn said(recording: &Recording, exchange: &Exchange) -> String {
    let mut words = format!("{} {}", exchange.response.reason, exchange.response.body);
    if let Some(upid) = exchange.response.task() {
        for later in &recording.exchanges {
            if later.request.path.contains(upid) && later.request.method == "GET" {
                words.push_str(&later.response.body.to_string());
            }
        }
    }
    words
}

fn is_absent(words: &str) -> bool {
    let missing = ["qemu-server/", "unable to find configuration file for VM"];
    words.contains("does not exist") && words.contains(missing[0]) || words.contains(missing[1])
}

impl PriorMachine {
    /// Takes from an exchange with it what it tells of the time before.
    fn see(&mut self, exchange: &Exchange, rest: &str, words: &str, power_is_old: bool) {
        let (request, data) = (&exchange.request, exchange.response.data());
        match (request.method.as_str(), rest) {
            ("GET", "/config") if request.field("snapshot").is_none() => self.see_config(pairs(data)),
            ("GET", "/pending") => {
                let rows = data.as_array().into_iter().flatten();
                let value = |row: &Value| row.get("value").map(|value| (row["key"].clone(), value.clone()));
                let rows: Vec<Value> =
                    rows.filter_map(value).map(|(key, value)| Value::from(vec![key, value])).collect();
                self.see_config(pairs(&Value::from(rows)));
                self.see_waiting(data);
                if data.as_array().into_iter().flatten().any(|row| row.get("pending").or(row.get("delete")).is_some()) {
                    self.runs.get_or_insert(true);
                }
            }
            ("GET", "/status/current") => self.see_status(data, power_is_old),
            ("GET", "/migrate") => self.see_disks(data),
            ("PUT" | "POST", "/config") => {
                let lists = ["delete", "revert"].map(|name| request.field(name).unwrap_or_default());
                let listed = lists.iter().flat_map(|list| list.split([',', ' ', ';'])).map(str::to_string);
                self.touched.extend(request.fields().into_iter().map(|(name, _)| name).chain(listed));
            }
            _ => {}
        }
        self.hear(words, rest, power_is_old);
    }

    /// A configuration, of which the options that exchanges here set are left out.
    fn see_config(&mut self, options: Vec<(String, String)>) {
        if self.config.is_none() {
            let old = options.into_iter().filter(|(name, _)| name != "digest" && !self.touched.contains(name));
            self.config = Some(old.collect());
        }
    }

    /// What waits for a restart has its old value still.
    fn see_waiting(&mut self, data: &Value) {
        let rows = data.as_array().into_iter().flatten();
        for row in rows.filter(|row| row.get("pending").or(row.get("delete")).is_some() && row.get("value").is_some()) {
            for (name, value) in pairs(&Value::from(vec![vec![row["key"].clone(), row["value"].clone()]])) {
                self.config.get_or_insert_default().entry(name).or_insert(value);
            }
        }
    }

    fn see_status(&mut self, row: &Value, power_is_old: bool) {
        let text = |key: &str| row[key].as_str().map(str::to_string);
        if power_is_old && let Some(status) = row["status"].as_str() {
            self.runs.get_or_insert(status == "running");
        }
        self.is_template |= row["template"] == 1;
        let cpus =
            row["cpus"].as_u64().or(row["maxcpu"].as_u64()).filter(|cpus| *cpus > 1).map(|cpus| cpus.to_string());
        let memory = row["maxmem"].as_u64().map(|bytes| (bytes >> 20).to_string());
        let disk = row["maxdisk"].as_u64().map(|bytes| bytes.to_string());
        let machine = row["running-machine"].as_str().filter(|kind| kind.contains("q35")).map(|_| "q35".to_string());
        let name = text("name").filter(|name| !name.starts_with("VM "));
        let flag = |key: &str, value: &str| row.get(key).map(|_| value.to_string());
        let seen = [
            ("name", name),
            ("cores", cpus),
            ("memory", memory),
            ("maxdisk", disk),
            ("tags", text("tags")),
            ("lock", text("lock")),
            ("machine", machine),
            ("serial0", flag("serial", "socket")),
            ("agent", row["agent"].as_u64().filter(|on| *on == 1).map(|_| "1".into())),
            ("vga", flag("clipboard", "std")),
        ];
        for (name, value) in seen {
            if let Some(value) = value.filter(|_| !self.touched.contains(name)) {
                self.hints.entry(name.into()).or_insert(value);
            }
        }
    }

    fn see_disks(&mut self, data: &Value) {
        for disk in data["local_disks"].as_array().into_iter().flatten() {
            let (Some(name), Some(volume)) = (disk["drivename"].as_str(), disk["volid"].as_str()) else { continue };
            let is_cd = disk["cdrom"] == 1 || disk["is_cloudinit"] == 1;
            let size = disk["size"].as_u64().map(|size| format!(",size={}", size_text(size))).unwrap_or_default();
            let value = if is_cd { format!("{volume},media=cdrom") } else { format!("{volume}{size}") };
            self.hints.insert(name.into(), value);
        }
    }

    /// Words of answers and logs that only a machine of a kind draws.
    fn hear(&mut self, words: &str, rest: &str, power_is_old: bool) {
        static LINKED: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"[\w-]+:\d+/base-\d+-disk-\d+\.\w+/\d+/vm-\d+-disk-\d+\.\w+").unwrap());
        let has = |text: &str| words.contains(text);
        let runs = has("is running - destroy failed")
            || has("already running")
            || has("running VM without --online")
            || has("hotplug problem")
            || has("guest agent is not running")
            || has("guest agent configured")
            || rest.starts_with("/agent/") && has("\"result\"");
        let rests = has("not running") && !has("agent is not running");
        if power_is_old && (runs || rests) {
            self.runs.get_or_insert(runs);
        }
        if power_is_old && rest == "/status/start" && !runs {
            self.runs.get_or_insert(false);
        }
        if has("no efidisk configured") && !self.touched.contains("bios") {
            self.hints.insert("bios".into(), "ovmf".into());
        }
        if rest.starts_with("/agent/") && (has("\"result\"") || has("agent is not running")) {
            self.hints.entry("agent".into()).or_insert("1".into());
        }
        if let Some(volume) = LINKED.find(words) {
            self.hints.entry("scsi0".into()).or_insert(volume.as_str().into());
        }
    }
}

/// The configuration of a machine of which only a clone was read: the clone's, with disks of its own.
fn from_clone(recording: &Recording, vmid: u32) -> Option<(Options, bool)> {
    let clones = recording.exchanges.iter().enumerate().filter(|(_, exchange)| {
        let source = about(exchange).filter(|(_, _, rest)| *rest == "/clone").map(|(_, source, _)| source);
        source == Some(vmid) && recording.succeeded(exchange)
    });
    for (index, exchange) in clones {
        let clone: u32 = exchange.request.field("newid")?.parse().ok()?;
        let Some(config) = machine(recording, index + 1, clone).config else { continue };
        let is_linked = exchange.request.field("full").is_none_or(|full| full != "1");
        let given = exchange.request.field("name");
        let name = config
            .get("name")
            .filter(|name| given.as_ref() != Some(*name))
            .and_then(|name| name.strip_prefix("Copy-of-VM-"));
        let mut source: Options = config
            .iter()
            .filter(|(key, _)| *key != "name")
            .map(|(key, value)| (key.clone(), own_disk(value, clone, vmid)))
            .collect();
        if let Some(name) = name {
            source.insert("name".into(), name.into());
        }
        return Some((source, is_linked));
    }
    None
}

/// A clone's drive, as its source has it.
fn own_disk(value: &str, clone: u32, source: u32) -> String {
    let (volume, rest) = value.split_once(',').map_or((value, ""), |(volume, rest)| (volume, rest));
    let base = match volume.rsplit_once(&format!("/{clone}/vm-{clone}-")) {
        // A linked clone names the disk that it rests on.
        Some((base, _)) => base.to_string(),
        None => volume
            .replace(&format!(":{clone}/"), &format!(":{source}/"))
            .replace(&format!("vm-{clone}-disk"), &format!("base-{source}-disk"))
            .replace(&format!("vm-{clone}-"), &format!("vm-{source}-")),
    };
    if rest.is_empty() { base } else { format!("{base},{rest}") }
}
