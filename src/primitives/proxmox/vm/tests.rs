//! Virtual machines against the simulated cluster: what is planned, what is made, what is left alone.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::options::VmOptions;
use super::resource::Vm;
use crate::clients::dial::Dialler;
use crate::clients::proxmox::{Client, Credentials, Params, Settings, Trust};
use crate::error::{Class, Error, Result};
use crate::primitives::proxmox::handle::Proxmox;
use crate::run::capability::Writer;
use crate::run::ensure::{Changed, Outcome, ensure};
use crate::run::event::{Event, Mark, Mode, Subscriber, What};
use crate::run::interrupt::Interrupt;
use crate::run::scope;
use crate::run::secret::Redactor;
use crate::run::session::{self, Run};
use crate::run::steps::StepBook;
use crate::sim::{NodeSeed, Scenario, Seed, Sim, SimConfig, StorageSeed, TemplateSeed, Wanted, read_log};

/// A simulated cluster of two nodes with a template, and a handle on it.
struct Lab {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    sim: Sim,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<What>>>);

impl Subscriber for Heard {
    fn notice(&mut self, event: &Event) -> Result<()> {
        session::lock(&self.0).push(event.what.clone());
        Ok(())
    }
}

impl Lab {
    fn new() -> Lab {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let folder = tempfile::tempdir().expect("a folder");
        let node = |name: &str, ip: &str| NodeSeed { name: name.into(), ip: ip.into(), memory_mb: 96 << 10, cores: 20 };
        let config = SimConfig {
            dir: folder.path().to_owned(),
            seed: Seed {
                scenario: Scenario::Plan,
                cluster_name: "lab".into(),
                nodes: vec![node("pve-01", "192.0.2.11"), node("pve-02", "192.0.2.12")],
                gateway: "192.0.2.1".into(),
                search_domain: "home.arpa".into(),
                bridges: vec!["vmbr0".into()],
                storages: vec![StorageSeed {
                    id: "local-zfs".into(),
                    kind: "zfspool".into(),
                    content: "images,rootdir".into(),
                    shared: false,
                    size_bytes: 1 << 40,
                    ..StorageSeed::default()
                }],
                template: Some(TemplateSeed {
                    vmid: 9000,
                    name: "ubuntu".into(),
                    node: "pve-01".into(),
                    storage: "local-zfs".into(),
                    ci_user: "ubuntu".into(),
                }),
                ..Seed::default()
            },
            session: "test".into(),
            faults: None,
            shared: false,
            ports: None,
            pace: 0.2,
        };
        let sim = runtime.block_on(Sim::start(config)).expect("a simulator");
        Lab { runtime, folder, sim }
    }

    fn pve(&self) -> Proxmox {
        let known = |name: &str| self.sim.credentials()[name].clone();
        let client = Client::new(Settings {
            url: known("HOMELAB_PVE_URL"),
            trust: Trust::Fingerprints(vec![known("HOMELAB_PVE_FINGERPRINT")]),
            credentials: Credentials::Token {
                id: known("HOMELAB_PVE_TOKEN_ID"),
                secret: known("HOMELAB_PVE_TOKEN_SECRET"),
            },
            dialler: Dialler::Through(self.sim.gateway()),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        });
        Proxmox::new(client.expect("settings are right"), None)
    }

    /// Runs something as a run of its own, and gives back what was said.
    fn run<T>(&self, mode: Mode, work: impl FnOnce(&Proxmox) -> T) -> (T, Vec<What>) {
        let heard = Heard::default();
        let run = Run::new(
            mode,
            Default::default(),
            self.runtime.handle().clone(),
            Interrupt::default(),
            Redactor::default(),
            StepBook::default(),
            vec![Box::new(heard.clone())],
        );
        let _entered = scope::enter(run);
        let value = work(&self.pve());
        let what = session::lock(&heard.0).clone();
        (value, what)
    }

    fn ensure(&self, mode: Mode, options: serde_json::Value) -> Result<Outcome> {
        let options: VmOptions = serde_json::from_value(options).expect("options are right");
        self.run(mode, |pve| ensure(&Arc::new(Vm::new(pve.clone(), options)))).0
    }

    fn edit(&self, path: &str, params: &Params) {
        let writer = Writer::for_client_tests();
        let pve = self.pve();
        self.runtime.block_on(pve.client().put(path, params, &writer)).expect("the edit is right");
    }

    fn mutations(&self, folder: &Path) -> usize {
        read_log(folder, false, Wanted::Mutating).expect("the log is readable").len()
    }
}

fn server(node: &str) -> serde_json::Value {
    json!({
        "vmid": 111, "name": "k3s-cp-01", "node": node, "clone": 9000, "storage": "local-zfs",
        "cores": 4, "memory": 4096, "balloon": 0, "disks": { "scsi0": "30GiB" },
        "net0": { "bridge": "vmbr0" }, "tags": ["K3s", "server"], "agent": true, "onboot": true,
        "cloud_init": {
            "user": "ubuntu", "ip": "192.0.2.31/24", "gateway": "192.0.2.1", "storage": "local-zfs",
            "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJoOLpzZ9e5D5ErQeNGz0tfhVbFdb4UX0mYKAH8b9cJH me@home"],
        },
        "started": true,
    })
}

fn paths(outcome: &Outcome) -> Vec<&str> {
    outcome.diff.iter().map(|field| field.path.as_str()).collect()
}

#[test]
fn a_planned_machine_is_made_as_planned_and_then_left_alone() {
    let lab = Lab::new();
    let before = lab.mutations(lab.folder.path());
    let plan = lab.ensure(Mode::DryRun, server("pve-02")).expect("plannable");
    assert_eq!(lab.mutations(lab.folder.path()), before, "a plan changes nothing");
    let made = lab.ensure(Mode::Run, server("pve-02")).expect("makeable");
    assert_eq!((plan.action, &plan.diff), (made.action, &made.diff));
    let after = made.after.here().expect("there").to_display_json();
    assert_eq!(
        (&after["node"], &after["status"], &after["tags"]),
        (&json!("pve-02"), &json!("running"), &json!(["k3s", "server"]))
    );
    let mutations = lab.mutations(lab.folder.path());
    assert_eq!(lab.ensure(Mode::Run, server("pve-02")).expect("fine").changed, Changed::No);
    assert_eq!(lab.mutations(lab.folder.path()), mutations);
}

#[test]
fn drift_by_hand_is_named_and_put_right() {
    let lab = Lab::new();
    lab.ensure(Mode::Run, server("pve-01")).expect("makeable");
    let config = "/nodes/pve-01/qemu/111/config";
    lab.edit(config, &Params::new().with("tags", "mine").with("ciuser", "root").with("onboot", false));
    let plan = lab.ensure(Mode::DryRun, server("pve-01")).expect("plannable");
    assert_eq!(paths(&plan), ["cloud_init.user", "onboot", "tags"]);
    let mended = lab.ensure(Mode::Run, server("pve-01")).expect("mendable");
    assert_eq!(plan.diff, mended.diff);
    assert_eq!(lab.ensure(Mode::DryRun, server("pve-01")).expect("fine").changed, Changed::No);
}

#[test]
fn what_needs_a_restart_waits_for_it_unless_it_may_restart() {
    let lab = Lab::new();
    lab.ensure(Mode::Run, server("pve-01")).expect("makeable");
    let mut more = server("pve-01");
    more["cores"] = json!(8);
    let outcome = lab.ensure(Mode::Run, more.clone()).expect("written");
    assert_eq!(outcome.after.here().expect("there").to_display_json()["pending"], json!({ "cores": 4 }));
    more["reboot"] = json!(true);
    let outcome = lab.ensure(Mode::Run, more).expect("restarted");
    assert_eq!(paths(&outcome), ["pending"]);
    assert!(outcome.after.here().expect("there").get("pending").is_none());
}

#[test]
fn a_disk_grows_and_never_shrinks() {
    let lab = Lab::new();
    lab.ensure(Mode::Run, server("pve-01")).expect("makeable");
    let mut bigger = server("pve-01");
    bigger["disks"] = json!({ "scsi0": "40GiB" });
    assert_eq!(paths(&lab.ensure(Mode::Run, bigger).expect("grown")), ["scsi0.size"]);
    assert_eq!(lab.ensure(Mode::Run, server("pve-01")).expect("fine").changed, Changed::No);
}

#[test]
fn a_stranger_with_the_number_or_the_name_is_not_touched() {
    let lab = Lab::new();
    lab.ensure(Mode::Run, server("pve-01")).expect("makeable");
    let mut other = server("pve-01");
    other["name"] = json!("someone-else");
    let error = lab.ensure(Mode::DryRun, other).expect_err("it is taken");
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains("VM 111 is taken by `k3s-cp-01` on pve-01"), "{error}");
}

#[test]
fn a_missing_template_is_said_before_anything_is_made() {
    let lab = Lab::new();
    let mut orphan = server("pve-01");
    orphan["clone"] = json!(9999);
    let error: Error = lab.ensure(Mode::DryRun, orphan).expect_err("there is none");
    assert_eq!(error.class(), Class::Blocked);
    assert!(error.to_string().contains("the template 9999 does not exist"), "{error}");
}

#[test]
fn destroying_needs_the_playbook_and_the_run() {
    let lab = Lab::new();
    lab.ensure(Mode::Run, server("pve-01")).expect("makeable");
    let mut gone = server("pve-01");
    gone["absent"] = json!(true);
    assert_eq!(lab.ensure(Mode::DryRun, gone.clone()).expect_err("not allowed").class(), Class::UnsafeDrift);
    gone["allow_destroy"] = json!(true);
    let (planned, said) = lab.run(Mode::DryRun, |pve| {
        ensure(&Arc::new(Vm::new(pve.clone(), serde_json::from_value(gone.clone()).expect("right"))))
    });
    planned.expect("shown");
    assert!(said.iter().any(
        |what| matches!(what, What::ChangePlanned { change, .. } if change.destroys && change.mark == Mark::Sure)
    ));
    let error = lab.ensure(Mode::Run, gone).expect_err("the run does not name it");
    assert!(error.help_text().is_some_and(|help| help.contains("--allow-destroy 'proxmox:vm:111 (")), "{error:?}");
}
