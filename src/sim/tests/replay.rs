//! Recorded exchanges with a real API, asked again here. `HOMELAB_PVE_RECORDINGS` names the folder of recordings, else they
//! lie in `shared/pve/recordings` beside the project; without either there is nothing to compare with.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use reqwest::Method;
use serde_json::Value;

use super::lab::{Client, Reply, seed, start_seeded, wait};
use super::recordings::{Tally, files, folder, recording};
use crate::sim::{GpuSeed, NodeSeed, Scenario, Seed, Sim, StorageSeed};

/// The scenarios whose world can be made here, each group one world, in the order they were recorded.
const GROUPS: [(Scenario, &[&str]); 6] = [
    (Scenario::Bare, &["access-tickets", "http-shapes"]),
    (Scenario::Bare, &["access-roles"]),
    (Scenario::Bare, &["access-users"]),
    (Scenario::Bare, &["cluster-standalone"]),
    (Scenario::Bare, &["access-tokens-acl"]),
    (
        Scenario::Plan,
        &[
            "vm-create-template",
            "vm-clone",
            "vm-config-readback",
            "token-missing-privilege",
            "token-root-only",
            "node-info",
            "vm-power",
            "mapping-pci",
            "vm-pending-hotplug",
            "vm-migrate",
            "tasks",
            "task-warnings",
        ],
    ),
];

/// Exchanges that tell what the recorders did beside the API: a wrong secret, an agent switched off, a lock file held, a
/// machine stopped, a role made for another recording, a user whose password is not told, a group.
const BESIDE_THE_API: [(&str, &[u64]); 6] = [
    ("access-users", &[17, 18, 40, 43, 49]),
    ("access-tokens-acl", &[21, 23]),
    ("token-root-only", &[21]),
    ("vm-power", &[34, 35, 36]),
    ("tasks", &[43, 44, 48, 60, 63]),
    ("task-warnings", &[11]),
];

/// The two nodes of the recordings.
fn recorded_seed(scenario: Scenario) -> Seed {
    let node = |name: &str, ip: &str| NodeSeed { name: name.into(), ip: ip.into(), memory_mb: 24_105, cores: 16 };
    let storage = |id: &str, content: &str, shared: bool| StorageSeed {
        id: id.into(),
        kind: "dir".into(),
        content: content.into(),
        shared,
        size_bytes: 270_553_174_016,
    };
    let gpu = |node: &str| GpuSeed {
        mapping: "unused".into(),
        node: node.into(),
        address: "0000:01:00.0".into(),
        pci_id: "10de:2204".into(),
        audio_id: "10de:1aef".into(),
        subsystem_id: "1458:403b".into(),
        iommu_group: 14,
    };
    Seed {
        cluster_name: "homelab-cluster".into(),
        nodes: vec![node("pve-01", "192.0.2.11"), node("pve-02", "192.0.2.12")],
        gateway: "192.0.2.1".into(),
        search_domain: "example.test".into(),
        storages: vec![
            storage("local", "iso,vztmpl,backup,images,import,snippets", false),
            storage("nas-vmstorage", "images,import,iso,snippets,backup", true),
        ],
        template: None,
        gpus: vec![gpu("pve-01"), gpu("pve-02")],
        ..seed(scenario)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_exchanges_are_answered_as_they_were() {
    let folder = folder();
    if !folder.is_dir() {
        println!("skipped: no recordings in {}", folder.display());
        return;
    }
    let mut report = Vec::new();
    let mut tally = Tally::default();
    for (scenario, files) in GROUPS {
        let dir = tempfile::tempdir().unwrap();
        let sim = start_seeded(dir.path(), recorded_seed(scenario), None, 0.02).await;
        add_files(&sim);
        for file in files {
            let recording = recording(&folder.join(format!("{file}.json")));
            prepare(&sim, file).await;
            let mut replay = Replay::new(&sim);
            for exchange in recording["exchanges"].as_array().unwrap() {
                let number = exchange["n"].as_u64().unwrap();
                let beside = BESIDE_THE_API.iter().any(|(name, list)| name == file && list.contains(&number));
                let verdict = replay.exchange(exchange).await;
                let counts = tally.of(exchange);
                counts.recorded += 1;
                match verdict {
                    _ if beside => counts.left_out += 1,
                    Verdict::Same => counts.matching += 1,
                    Verdict::NotServed => counts.not_served += 1,
                    Verdict::LeftOut => counts.left_out += 1,
                    Verdict::Differs(text) => report.push(format!("{file} {number}: {text}")),
                }
            }
        }
        sim.stop().await.unwrap();
    }
    let replayed: Vec<&str> = GROUPS.iter().flat_map(|(_, files)| files.iter().copied()).collect();
    for path in files(&folder) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if let Some(exchanges) = recording(&path)["exchanges"].as_array().filter(|_| !replayed.contains(&&*name)) {
            println!("not replayed: {name}, {} exchanges", exchanges.len());
        }
    }
    print!("{tally}");
    assert!(tally.0.values().any(|counts| counts.matching > 0), "nothing was compared");
    assert!(report.is_empty(), "{} differ:\n{}", report.len(), report.join("\n"));
}

/// The files that were on the recorders' storage.
fn add_files(sim: &Sim) {
    let mut world = sim.frame.world();
    for cluster in &mut world.clusters {
        cluster.mappings.clear();
        cluster.add_shared_file(
            "nas-vmstorage",
            "import/noble-server-cloudimg-amd64-20260301.qcow2",
            "import",
            3_758_096_384,
        );
        cluster.add_shared_file("nas-vmstorage", "snippets/homelab-vendor.yaml", "snippets", 35);
    }
}

/// Makes what a recording says was given.
async fn prepare(sim: &Sim, file: &str) {
    let root = Client::root(sim, "192.0.2.11").await;
    let net = ("net0", "virtio,bridge=vmbr0");
    let small = ("memory", "256");
    let machine: &[(&str, &str)] = match file {
        "token-missing-privilege" => {
            let map = "node=pve-01,path=0000:01:00.0,id=10de:2204,iommugroup=14,subsystem-id=1458:403b";
            root.post("/cluster/mapping/pci", &[("id", "gpu0"), ("map", map)]).await.data();
            &[("vmid", "240"), ("name", "tok"), small, ("scsi0", "local:1"), net, ("agent", "1"), ("start", "1")]
        }
        "cluster-standalone" => {
            let secret = sim.credentials()["HOMELAB_PVE_TOKEN_SECRET"].clone();
            let access = &mut sim.frame.world().clusters[0].access;
            access.add_user("automation@pve", "");
            access.add_token("automation@pve", "homelab", true, &secret);
            access.grant_homelab("automation@pve", "homelab");
            return;
        }
        "access-tokens-acl" => {
            root.post("/access/users", &[("userid", "automation@pve")]).await.data();
            for (role, privileges) in roles() {
                root.post("/access/roles", &[("roleid", role), ("privs", privileges)]).await.data();
            }
            return;
        }
        "vm-power" => {
            &[("vmid", "210"), ("name", "power"), small, ("scsi0", "local:1"), ("agent", "1"), ("serial0", "socket")]
        }
        "mapping-pci" => {
            root.delete("/cluster/mapping/pci/gpu0").await.data();
            &[("vmid", "220"), ("name", "gpu"), small, ("machine", "q35"), net]
        }
        "vm-pending-hotplug" => {
            &[("vmid", "211"), small, ("cores", "1"), ("scsi0", "local:1"), net, ("agent", "1"), ("start", "1")]
        }
        "vm-migrate" => {
            let shared =
                [("vmid", "214"), ("name", "migshared"), small, ("scsi0", "nas-vmstorage:1,format=qcow2"), net];
            let task = root.post("/nodes/pve-01/qemu", &shared).await;
            root.ended(&task).await;
            &[("vmid", "213"), ("name", "mig"), small, ("scsi0", "local:1"), net]
        }
        "task-warnings" => &[("vmid", "216"), ("name", "warn"), small, ("machine", "q35"), ("bios", "ovmf"), net],
        _ => return,
    };
    let (runs, options): (Vec<_>, Vec<_>) = machine.iter().copied().partition(|(name, _)| *name == "start");
    let task = root.post("/nodes/pve-01/qemu", &options).await;
    assert_eq!(root.ended(&task).await, "OK");
    // The recorders' agents answered without a guest.
    for volume in &mut sim.frame.world().clusters[0].volumes {
        volume.system.get_or_insert("ubuntu".into());
    }
    if !runs.is_empty() {
        let vmid = options[0].1;
        let task = root.post(&format!("/nodes/pve-01/qemu/{vmid}/status/start"), &[]).await;
        assert_eq!(root.ended(&task).await, "OK");
    }
}

fn roles() -> impl Iterator<Item = (&'static str, &'static str)> {
    crate::sim::proxmox::HOMELAB.into_iter().map(|(_, role, _, privileges)| (role, privileges))
}

enum Verdict {
    Same,
    /// The simulator says that it does not simulate this.
    NotServed,
    /// It cannot be asked again: a secret that the recorder took out, or something asked beside the API.
    LeftOut,
    Differs(String),
}

struct Replay<'s> {
    sim: &'s Sim,
    /// What was answered here, and what was recorded, by number.
    live: BTreeMap<u64, Value>,
    recorded: BTreeMap<u64, Value>,
    /// The secrets of tokens that were made here.
    tokens: BTreeMap<String, String>,
}

impl<'s> Replay<'s> {
    fn new(sim: &'s Sim) -> Self {
        let id = sim.credentials()["HOMELAB_PVE_TOKEN_ID"].clone();
        let secret = sim.credentials()["HOMELAB_PVE_TOKEN_SECRET"].clone();
        Replay { sim, live: BTreeMap::new(), recorded: BTreeMap::new(), tokens: BTreeMap::from([(id, secret)]) }
    }

    /// Where a recording says so in its note, a privilege is taken out of its role for one exchange.
    async fn take_privilege(&self, exchange: &Value) {
        let Some(note) = exchange["note"].as_str().and_then(|note| note.strip_prefix("token and user lack ")) else {
            return;
        };
        let (missing, role) = note.split_once(" (role ").unwrap();
        let role = role.trim_end_matches(')');
        let root = Client::root(self.sim, "192.0.2.11").await;
        for (name, privileges) in roles() {
            let kept = privileges.split_whitespace().filter(|one| name != role || *one != missing);
            let kept = kept.collect::<Vec<_>>().join(",");
            root.put(&format!("/access/roles/{name}"), &[("privs", &kept)]).await.data();
        }
    }
    async fn exchange(&mut self, exchange: &Value) -> Verdict {
        let (request, response) = (&exchange["request"], &exchange["response"]);
        let number = exchange["n"].as_u64().unwrap();
        self.recorded.insert(number, response["body"].clone());
        let Some(client) = self.client(exchange).await else { return Verdict::LeftOut };
        let uses = request["uses"].as_array().into_iter().flatten();
        if uses.filter_map(|used| used["n"].as_u64()).any(|number| self.is_not_simulated(number)) {
            return Verdict::LeftOut;
        }
        // A password that the recorder took out cannot be given again.
        let hidden = path_of(request).starts_with("/access") && request.to_string().contains("***");
        if hidden || request["path"].as_str().is_some_and(|path| path.contains("%3A")) {
            return Verdict::LeftOut;
        }
        self.take_privilege(exchange).await;
        let path = self.translate(request, path_of(request));
        let method = Method::from_bytes(request["method"].as_str().unwrap().as_bytes()).unwrap();
        let query = pairs(&request["query"]);
        let given = if request["json"].is_null() { &request["form"] } else { &request["json"] };
        let form: Vec<(String, String)> =
            pairs(given).into_iter().map(|(name, value)| (name, self.translate(request, &value))).collect();
        let sent = if query.is_empty() { &form } else { &query };
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if method == Method::DELETE && !form.is_empty() {
            return Verdict::LeftOut;
        }
        if !request["body_raw"].is_null() || !request["base"].is_null() {
            let base = request["base"].as_str().unwrap_or("/api2/json");
            let kind = request["content_type"].as_str().unwrap_or("application/x-www-form-urlencoded");
            let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let body = request["body_raw"].as_str().map_or_else(|| pairs.join("&"), str::to_string);
            let reply = client.send_raw(method, base, &path, kind, body).await;
            return compare(request, response, &reply);
        }
        let ask = async || client.send(method.clone(), &path, &sent).await.unwrap();
        let mut reply = ask().await;
        let wants_end = response["body"]["data"]["status"] == "stopped" && path.contains("/tasks/");
        if wants_end || path.ends_with("/log") {
            let status = path.replace("/log", "/status");
            wait("the task to end", async || {
                let state = client.get(&status).await;
                state.status != 200 || state.body["data"]["status"] == "stopped"
            })
            .await;
            reply = ask().await;
        }
        self.live.insert(number, reply.body.clone());
        let made = &reply.body["data"];
        if let (Some(id), Some(secret)) = (made["full-tokenid"].as_str(), made["value"].as_str()) {
            self.tokens.insert(id.into(), secret.into());
        }
        if reply.status == 200 && reply.body["data"].as_str().is_some_and(|data| data.starts_with("UPID:")) {
            // The next exchanges see the end of it, as the recorder did.
            client.ended(&reply).await;
        }
        compare(request, response, &reply)
    }

    async fn client(&self, exchange: &Value) -> Option<Client> {
        let to = if exchange["request"]["to"] == "pve-02" { "192.0.2.12" } else { "192.0.2.11" };
        match exchange["as"].as_str()? {
            "root ticket" => Some(Client::root(self.sim, to).await),
            "nobody (no credentials)" => Some(Client::nobody(self.sim, to)),
            other => {
                let id = other.strip_prefix("token ")?;
                let secret = self.tokens.get(id).map(String::as_str).unwrap_or("unknown");
                Some(Client::with_token(self.sim, to, id, secret))
            }
        }
    }

    /// Whether an earlier exchange was none here.
    fn is_not_simulated(&self, number: u64) -> bool {
        let message = self.live.get(&number).and_then(|body| body["message"].as_str());
        message.is_some_and(|message| message.starts_with("not simulated"))
    }

    /// Puts values of earlier answers here in the place of those recorded.
    fn translate(&self, request: &Value, text: &str) -> String {
        let mut text = text.to_string();
        for used in request["uses"].as_array().into_iter().flatten() {
            let number = used["n"].as_u64().unwrap();
            let pointer = format!("/{}", used["path"].as_str().unwrap().replace('.', "/"));
            let value = |bodies: &BTreeMap<u64, Value>| {
                bodies.get(&number).and_then(|body| body.pointer(&pointer)).and_then(Value::as_str).map(str::to_string)
            };
            if let (Some(recorded), Some(live)) = (value(&self.recorded), value(&self.live)) {
                text = text.replace(&recorded, &live);
            }
        }
        text
    }
}

fn path_of(request: &Value) -> &str {
    request["path"].as_str().unwrap()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    match value {
        Value::Object(map) => {
            let each = |(name, value): (&String, &Value)| match value.as_array() {
                Some(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
                None => vec![(name.clone(), if *value == true { "1".into() } else { text(value) })],
            };
            map.iter().flat_map(each).collect()
        }
        Value::Array(list) => list.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        _ => Vec::new(),
    }
}

fn compare(request: &Value, response: &Value, reply: &Reply) -> Verdict {
    if reply.reason.starts_with("not simulated") {
        return Verdict::NotServed;
    }
    let asked = format!("{} {} {}{}", request["method"], request["path"], request["query"], request["form"]);
    let (status, reason) = (response["status"].as_u64().unwrap(), response["reason"].as_str().unwrap());
    let ended_here = response["body"]["data"]["status"] == "running" && reply.body["data"]["status"] == "stopped";
    if ended_here {
        return Verdict::Same;
    }
    if u64::from(reply.status) != status || reply.reason != reason {
        let body = &reply.body;
        return Verdict::Differs(format!("{asked}\n   {status} {reason}\n   {} {} {body}", reply.status, reply.reason));
    }
    let (wanted, got) = (normal(&response["body"], request), normal(&reply.body, request));
    let keys: std::collections::BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
    let differs = |key: &&&String| wanted.get(**key) != got.get(**key);
    let lines: Vec<String> = keys
        .iter()
        .filter(differs)
        .map(|key| format!("   {key}: {:?} here {:?}", wanted.get(*key), got.get(*key)))
        .collect();
    if lines.is_empty() { Verdict::Same } else { Verdict::Differs(format!("{asked}\n{}", lines.join("\n"))) }
}

/// A body without what differs from one run to the next, key by key: of failures the texts, of configurations the options,
/// of tasks their ends.
fn normal(body: &Value, request: &Value) -> BTreeMap<String, String> {
    let path = path_of(request);
    let mut parts = BTreeMap::new();
    for key in ["message", "errors"].into_iter().filter(|key| !body[*key].is_null()) {
        parts.insert(key.to_string(), steady(&body[key]));
    }
    let data = &body["data"];
    if path.ends_with("/config") && data.is_object() {
        parts.extend(pairs(data).into_iter().map(|(name, value)| (name, steady(&Value::String(value)))));
    }
    if path.ends_with("/pending") || path.ends_with("/cloudinit") {
        let rows = data.as_array().into_iter().flatten();
        parts.extend(rows.map(|row| (row["key"].to_string(), steady(row))));
    }
    if path.starts_with("/access") || path.starts_with("/cluster/mapping") || path.starts_with("/pools") {
        parts.insert("data".into(), steady(data));
    }
    // A task that was still running when it was recorded may have ended here.
    if data["status"] == "stopped" && path.contains("/tasks/") {
        parts.insert("exit".into(), data["exitstatus"].to_string());
    }
    parts.remove("digest");
    parts.remove("\"digest\"");
    parts
}

fn steady(value: &Value) -> String {
    static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
        let kinds = [
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "[0-9a-f]{40}",
            "BC:24:11:[0-9A-F:]{8}",
            "ctime=[0-9]+",
            "UPID:[^\"]+",
            r#"(?:"value":")[^"]*""#,
        ];
        Regex::new(&kinds.join("|")).unwrap()
    });
    VOLATILE.replace_all(&sorted(value).to_string(), "~").into_owned()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            serde_json::to_value(ordered).unwrap()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            items.into()
        }
        other => other.clone(),
    }
}
