//! The Proxmox primitives in scripts, against the simulated cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::clients::dial::Dialler;
use crate::clients::proxmox::{Client, Credentials, Trust};
use crate::error::Class;
use crate::primitives::network::Network;
use crate::primitives::proxmox::{Api, Connections, Proxmox, Variables};
use crate::primitives::testing::Lab;
use crate::run::event::{Change, Mode};
use crate::run::interrupt::Interrupt;
use crate::run::secret::Redactor;
use crate::run::session::{self, Run};
use crate::run::steps::StepBook;
use crate::script::context::Services;
use crate::sim::{GpuSeed, NodeSeed, Scenario, Seed, Sim, SimConfig, StorageSeed, TemplateSeed, Wanted, read_log};

mod access;
mod cluster;
mod inventory;
mod mapping;
mod node;
mod storage;

/// A cluster of two nodes with a template, a graphics card and an NFS share.
struct Cluster {
    lab: Lab,
    connections: Arc<Connections>,
    /// It ends with its handle.
    sim: Sim,
}

fn seed() -> Seed {
    let node = |name: &str, ip: &str| NodeSeed { name: name.into(), ip: ip.into(), memory_mb: 65_536, cores: 20 };
    let storage = |id: &str, kind: &str, content: &str| StorageSeed {
        id: id.into(),
        kind: kind.into(),
        content: content.into(),
        shared: false,
        size_bytes: 1 << 40,
        ..StorageSeed::default()
    };
    Seed {
        scenario: Scenario::Plan,
        cluster_name: "homelab".into(),
        nodes: vec![node("pve-01", "10.20.11.11"), node("pve-02", "10.20.11.12")],
        gateway: "10.20.11.1".into(),
        search_domain: "home.arpa".into(),
        bridges: vec!["vmbr0".into()],
        storages: vec![
            storage("local-zfs", "zfspool", "images,rootdir"),
            StorageSeed { source: "10.20.10.20:/VMStorage/.data".into(), ..storage("share", "nfs", "iso,backup") },
        ],
        template: Some(TemplateSeed {
            vmid: 9000,
            name: "ubuntu-2404-k3s".into(),
            node: "pve-01".into(),
            storage: "local-zfs".into(),
            ci_user: "ubuntu".into(),
        }),
        gpus: vec![GpuSeed {
            mapping: "rtx4000ada".into(),
            node: "pve-01".into(),
            address: "0000:2f:00.0".into(),
            pci_id: "10de:27b2".into(),
            audio_id: "10de:22bc".into(),
            subsystem_id: "10de:181b".into(),
            iommu_group: 17,
            enclosure_uid: String::new(),
        }],
        ..Seed::default()
    }
}

/// The variables of a test.
struct Known(BTreeMap<String, String>);

impl Variables for Known {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn require(&self, name: &str) -> crate::error::Result<String> {
        self.get(name).ok_or_else(|| crate::error::Error::new(Class::InputMissing, format!("{name}: not set")))
    }
}

fn cluster() -> Cluster {
    begin(seed())
}

fn begin(seed: Seed) -> Cluster {
    let mut lab = Lab::new();
    let config = SimConfig {
        dir: lab.root().join("sim"),
        seed,
        session: "test".into(),
        faults: None,
        shared: false,
        ports: None,
        pace: 0.0,
    };
    let sim = lab.runtime.block_on(Sim::start(config)).unwrap();
    lab.variables = sim.credentials().clone();
    lab.network = Network::new(Dialler::Through(sim.gateway()));
    lab.register = vec![super::register];
    lab.realms = vec![super::realm_of];
    let connections = Arc::new(Connections::new(lab.network.dialler));
    let mut cluster = Cluster { lab, connections, sim };
    cluster.renew();
    cluster
}

const CONNECT: &str = "let pve = proxmox::connect();";

const VM: &str = r#"pve.vm(#{
    vmid: 112, name: "k3s-cp-02", node: "pve-02", clone: 9000, storage: "local-zfs",
    cores: 4, memory: "8GiB", net0: #{ bridge: "vmbr0" }, tags: ["k3s"],
    cloud_init: #{ user: "ubuntu", storage: "local-zfs", ip: "10.20.11.32/24", gateway: "10.20.11.1", ssh_keys: [] },
    started: true,
});"#;

/// As root, who alone may change who may do what.
const ROOT: &str =
    r#"let pve = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });"#;

impl Cluster {
    /// Plans a script, runs it, and runs it again: the run does what was planned, and the second one nothing.
    #[track_caller]
    fn converges(&mut self, script: &str) -> Vec<String> {
        self.renew();
        let before = self.writes().len();
        let planned: Vec<String> = self.lab.plan(script).changes().into_iter().map(described).collect();
        assert_eq!(self.writes().len(), before, "the plan wrote something");
        self.renew();
        let told = self.lab.run(script);
        told.json();
        let done: Vec<String> = told.changes().into_iter().map(described).collect();
        assert_eq!(done, planned);
        let after = self.writes().len();
        self.renew();
        let again = self.lab.run(script);
        again.json();
        assert_eq!(again.addresses(), [""; 0], "the second run changed something");
        assert_eq!(self.writes().len(), after, "the second run wrote something");
        self.renew();
        done
    }

    /// Forgets what a run has read, as the next one does.
    fn renew(&mut self) {
        let known = Box::new(Known(self.lab.variables.clone()));
        self.lab.services = Services::default().with(Arc::new(Api::new(Arc::clone(&self.connections), known)));
    }

    /// A run and a handle, for what no script can do.
    fn by_hand(&self) -> (Arc<Run>, Proxmox) {
        let settings = crate::clients::proxmox::Settings {
            url: self.lab.variables["HOMELAB_PVE_URL"].clone(),
            trust: Trust::Fingerprints(vec![self.lab.variables["HOMELAB_PVE_FINGERPRINT"].clone()]),
            credentials: Credentials::Token {
                id: self.lab.variables["HOMELAB_PVE_TOKEN_ID"].clone(),
                secret: self.lab.variables["HOMELAB_PVE_TOKEN_SECRET"].clone(),
            },
            dialler: self.lab.network.dialler,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
        };
        let run = Run::new(
            Mode::Run,
            session::Settings::default(),
            self.lab.runtime.handle().clone(),
            Interrupt::default(),
            Redactor::default(),
            StepBook::default(),
            Vec::new(),
        );
        (run, Proxmox::new(Client::new(settings).unwrap(), None))
    }

    /// The calls that changed something.
    fn writes(&self) -> Vec<String> {
        let log = read_log(&self.lab.root().join("sim"), false, Wanted::Mutating).unwrap();
        log.into_iter().map(|entry| format!("{} {}", entry.method, entry.path)).collect()
    }
}

/// A change in one line.
fn described(change: &Change) -> String {
    let show = |side: &Option<serde_json::Value>| side.as_ref().map_or_else(|| "–".into(), ToString::to_string);
    let diff =
        change.diff.iter().map(|field| format!("{}: {} → {}", field.path, show(&field.before), show(&field.after)));
    format!("{:?} {}: {}", change.action, change.address, diff.collect::<Vec<_>>().join(", ")).to_lowercase()
}

#[test]
fn a_cluster_tells_of_itself_and_nothing_is_written() {
    let cluster = cluster();
    let told = cluster.lab.run(&format!(
        r#"{CONNECT} [
            semver::satisfies(pve.version().version, ">=9.1"), pve.nodes().len, pve.quorum(),
            pve.vms().map(|v| v.name), pve.vm_status(111), pve.next_vmid(), pve.storages("pve-01").len,
            pve.interfaces("pve-02").map(|i| i.iface).contains("vmbr0"), pve.pci_mappings("pve-01")[0].checks,
            pve.get("/nodes/pve-01/network", #{{ type: "bridge" }}).len, pve.node("pve-01").contains("uptime"),
        ]"#
    ));
    let expected = json!([true, 2, true, ["ubuntu-2404-k3s"], null, 100, 3, true, [], 1, false]);
    assert_eq!(told.json(), expected);
    assert_eq!(cluster.writes(), [""; 0]);
}

#[test]
fn a_handle_is_shared_and_a_user_needs_a_password() {
    let cluster = cluster();
    let told = cluster.lab.run("let a = proxmox::connect(); let b = proxmox::connect(); a.nodes(); b.nodes().len");
    assert_eq!(told.json(), 2);
    let told = cluster.lab.run(r#"proxmox::connect(#{ username: "root@pam" })"#);
    assert!(told.error().message().contains("needs its `password`"), "{}", told.error());
}

#[test]
fn a_virtual_machine_is_planned_read_as_planned_then_made_and_left_alone() {
    let cluster = cluster();
    let script = format!(
        "{CONNECT} let vm = {VM} let status = pve.vm_status(112);
        [vm.action, status.cores, status.status, status.node]"
    );
    let told = cluster.lab.plan(&script);
    assert_eq!(told.json(), json!(["create", 4, "running", "pve-02"]));
    assert_eq!(cluster.writes(), [""; 0]);
    let told = cluster.lab.run(&script);
    assert_eq!(told.json(), json!(["create", 4, "running", "pve-02"]));
    assert_eq!(told.addresses(), ["proxmox:vm:112 (k3s-cp-02)"]);
    let writes = cluster.writes().len();
    assert!(writes > 3, "{:?}", cluster.writes());
    assert_eq!(cluster.lab.run(&script).changes().len(), 0);
    assert_eq!(cluster.writes().len(), writes);
}

#[test]
fn what_a_planned_machine_will_say_is_not_known_yet() {
    let cluster = cluster();
    let script = format!("{CONNECT} {VM} [pve.vms(), pve.next_vmid(), pve.agent(112), pve.host_key(112)]");
    let told = cluster.lab.plan(&script);
    for (item, origin) in told.json().as_array().unwrap().iter().zip(["vm:112", "vm:112", ".agent", ".host_key"]) {
        assert!(item.as_str().unwrap().contains(origin), "{item}");
    }
    let told = cluster.lab.run(&format!("{CONNECT} {VM} pve.agent(112).running.type_of()"));
    assert_eq!(told.json(), "bool");
}

#[test]
fn the_host_key_of_a_machine_that_is_off_is_not_waited_for() {
    let cluster = cluster();
    let off = VM.replace("started: true", "started: false");
    let told = cluster.lab.run(&format!("{CONNECT} {off} pve.host_key(112)"));
    assert_eq!(told.error().class(), Class::Blocked);
    assert_eq!(told.error().causes(), ["it is not running"]);
    // A plan does not know who will have started it by then.
    let told = cluster.lab.plan(&format!("{CONNECT} pve.host_key(112)"));
    assert!(told.json().as_str().unwrap().contains("host_key"), "{}", told.json());
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    let cluster = cluster();
    let fine = format!(
        r#"{CONNECT} pve.require(#{{ version: ">=9.1", template: 9000, nodes: ["pve-01", "pve-02"],
        storages: ["local-zfs"], bridges: ["vmbr0"], mappings: #{{ rtx4000ada: "pve-01" }},
        can: #{{ "/vms": ["VM.Clone", "VM.Audit"] }} }});"#
    );
    assert_eq!(cluster.lab.run(&fine).json(), json!(null));
    let told = cluster.lab.run(&format!(
        r#"{CONNECT} pve.require(#{{ version: ">=10", template: 9001, nodes: ["pve-01", "pve-09"], storages: ["nas"],
        bridges: ["vmbr7"], mappings: #{{ a100: "pve-01" }} }});"#
    ));
    assert_eq!(told.error().class(), Class::Blocked);
    let causes = told.error().causes().join("\n");
    for what in [">=10", "9001", "pve-09", "storage nas", "bridge vmbr7", "mapping a100"] {
        assert!(causes.contains(what), "{what} in\n{causes}");
    }
}

#[test]
fn missing_privileges_are_named_with_their_paths() {
    let cluster = cluster();
    let told = cluster.lab.run(&format!(
        r#"{CONNECT} pve.require(#{{ can: #{{ "/vms": ["VM.Clone", "VM.Monitor"], "/access": ["User.Modify"] }} }});"#
    ));
    assert_eq!(told.error().class(), Class::Permission);
    assert_eq!(told.error().causes(), ["on /access: User.Modify", "on /vms: VM.Monitor"]);
    assert!(told.error().help_text().unwrap().contains("pveum role modify"), "{}", told.error());
}

#[test]
fn a_raw_call_is_shown_in_a_plan_and_sent_in_a_run_and_its_task_is_waited_for() {
    let cluster = cluster();
    let script = format!(
        r#"{CONNECT} pve.post("/nodes/pve-01/qemu/9000/clone", #{{ newid: 300, name: "copy", full: true }});
        pve.vms().len"#
    );
    let told = cluster.lab.plan(&script);
    assert_eq!(told.addresses(), ["proxmox:POST /nodes/pve-01/qemu/9000/clone"]);
    assert!(told.json().as_str().unwrap().contains("clone"), "{}", told.json());
    assert_eq!(cluster.writes(), [""; 0]);
    assert_eq!(cluster.lab.run(&script).json(), 2);
    let told = cluster.lab.run(&format!(r#"{CONNECT} pve.get("nodes")"#));
    assert_eq!(told.error().message(), "`nodes` is not a path of the API");
}

#[test]
fn a_raw_read_is_not_believed_after_a_planned_change_of_a_scripted_resource() {
    let cluster = cluster();
    let script = format!(
        r#"{CONNECT} ensure(#{{ address: "pool:lab", read: || {{ pve.get("/pools"); () }}, want: #{{ poolid: "lab" }},
            create: |want| pve.post("/pools", want) }});
        pve.get("/pools")"#
    );
    let told = cluster.lab.plan(&script);
    assert!(told.json().as_str().unwrap().contains("pool:lab"), "{}", told.json());
    assert_eq!(cluster.writes(), [""; 0]);
}

#[test]
fn a_new_tokens_secret_does_not_show() {
    let cluster = cluster();
    let root = cluster.lab.variables["HOMELAB_PVE_ROOT_PASSWORD"].clone();
    let told = cluster.lab.run(&format!(
        r#"let pve = proxmox::connect(#{{ username: "root@pam", password: "{root}" }});
        pve.post("/access/users/automation@pve/token/second", #{{ privsep: true }})"#
    ));
    assert_eq!(told.json()["value"], "•••");
}
