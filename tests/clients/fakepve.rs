//! `homelab` against fakepve, the Proxmox API as somebody else understands it. What it did there is asked of fakepve's own
//! insides.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::python;
use crate::project::Project;

/// A fakepve that runs, and a project that points to it.
struct Fake {
    project: Project,
    server: Child,
    /// It ends with its input.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    said: Value,
}

impl Fake {
    /// Starts it, if it is installed. The playbook is `playbooks/first.rhai`.
    fn start(playbook: &str) -> Option<Fake> {
        if !python::is_there() {
            return None;
        }
        let project = Project::with(playbook);
        let mut command = python::script(Command::new(python::interpreter()), "serve_fakepve.py");
        command.arg(project.home()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("it starts");
        let (input, output) = (server.stdin.take(), BufReader::new(server.stdout.take().expect("piped")));
        let mut fake = Fake { project, server, input, output, said: Value::Null };
        fake.said = fake.line();
        fake.is("automation@pve!homelab");
        Some(fake)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// What it has inside.
    fn state(&mut self) -> Value {
        self.input.as_mut().expect("it runs").write_all(b"\n").expect("it reads");
        self.line()
    }

    /// Lets homelab be this token.
    fn is(&self, token: &str) {
        let secret = self.said["tokens"][token].as_str().unwrap_or("00000000-0000-0000-0000-000000000000");
        self.envrc(token, secret, self.said["fingerprint"].as_str().expect("text"));
    }

    fn envrc(&self, token: &str, secret: &str, fingerprint: &str) {
        let url = self.said["url"].as_str().expect("text");
        let lines = [("URL", url), ("TOKEN_ID", token), ("TOKEN_SECRET", secret), ("FINGERPRINT", fingerprint)];
        let text: String = lines.iter().map(|(name, value)| format!("export HOMELAB_PVE_{name}='{value}'\n")).collect();
        self.project.write(".envrc", &text);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.input.take();
        self.server.wait().ok();
    }
}

#[test]
fn a_plan_foretells_what_a_run_does_and_a_second_run_does_nothing() {
    let Some(mut fake) = Fake::start(
        r#"
        let pve = proxmox::connect();
        step("look", "who is there", || {
            for vm in pve.vms() { info(`${vm.vmid} ${vm.name} on ${vm.node}: ${vm.status}`); }
            let db = pve.vm_status(102);
            info(`db has ${db.cores} cores and ${db.memory} MiB, ${db.description}`);
            info(`version ${pve.version().version}, quorum ${pve.quorum()}`);
        });
        step("db", "db runs, and is larger", || {
            pve.vm(#{ vmid: 102, name: "db", node: "pve2", cores: 4, memory: "4GiB", tags: ["Lab", "db"],
                description: "by homelab", started: true });
        });
        step("web", "web is off, and stays so", || {
            pve.vm(#{ vmid: 101, name: "web", node: "pve1", onboot: false, started: false });
        });
        step("cache", "cache is a copy of the template", || {
            pve.vm(#{ vmid: 103, name: "cache", node: "pve1", clone: 900, storage: "local-lvm", cores: 1, memory: 1024,
                net0: #{ bridge: "vmbr0", tag: 10 }, started: true });
        });
        "#,
    ) else {
        return;
    };
    let before = fake.state();
    let planned = fake.project.ends("plan --detailed-exitcode playbooks/first.rhai", 2);
    for said in [
        "101 web on pve1: running\n",
        "102 db on pve2: stopped\n",
        "900 base on pve1: stopped\n",
        "db has 2 cores and 2048 MiB, by hand\n",
        "version 9.0.10, quorum true\n",
        "would update proxmox:vm:102 (db)\n          cores: 2 → 4\n          description: by hand → by homelab\n",
        "would update proxmox:vm:101 (web)\n          status: running → stopped\n          + onboot: false\n",
        "would create proxmox:vm:103 (cache)\n",
        "3 changes planned\n",
    ] {
        assert!(planned.contains(said), "{said}{planned}");
    }
    assert_eq!(fake.state(), before, "a plan changes nothing");

    let ran = fake.project.ends("run playbooks/first.rhai", 0);
    assert!(ran.contains("3 changes\n") && ran.contains("plan fidelity: sure 3/3"), "{ran}");
    let after = fake.state();
    let changing = [
        "PUT /api2/json/nodes/pve2/qemu/102/config",
        "POST /api2/json/nodes/pve2/qemu/102/status/start",
        "PUT /api2/json/nodes/pve1/qemu/101/config",
        "POST /api2/json/nodes/pve1/qemu/101/status/shutdown",
        "POST /api2/json/nodes/pve1/qemu/900/clone",
        "PUT /api2/json/nodes/pve1/qemu/103/config",
        "POST /api2/json/nodes/pve1/qemu/103/status/start",
    ];
    assert_eq!(after["changing"], json!(changing));
    let tasks =
        [["qmstart", "102", "OK"], ["qmshutdown", "101", "OK"], ["qmclone", "900", "OK"], ["qmstart", "103", "OK"]];
    assert_eq!(after["tasks"], json!(tasks));

    let (db, web, cache) = (&after["machines"]["102"], &after["machines"]["101"], &after["machines"]["103"]);
    assert_eq!(
        (&db["status"], &web["status"], &cache["status"]),
        (&json!("running"), &json!("stopped"), &json!("running"))
    );
    assert_eq!((&db["config"]["cores"], &db["config"]["memory"]), (&json!("4"), &json!("4096")));
    assert_eq!((&db["config"]["tags"], &db["config"]["description"]), (&json!("db;lab"), &json!("by homelab")));
    assert_eq!(db["config"]["scsi0"], before["machines"]["102"]["config"]["scsi0"]);
    assert_eq!(web["config"]["onboot"], "0");
    assert_eq!(
        (&cache["node"], &cache["config"]["scsi0"]),
        (&json!("pve1"), &json!("local-lvm:vm-103-disk-0,size=8G"))
    );
    // The address that the clone was given is kept.
    let net0 = cache["config"]["net0"].as_str().expect("text");
    assert!(net0.starts_with("virtio=BC:24:11:") && net0.ends_with(",bridge=vmbr0,tag=10"), "{net0}");
    assert_eq!(after["machines"]["900"], before["machines"]["900"]);

    let again = fake.project.ends("run playbooks/first.rhai", 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(fake.state(), after, "a second run changes nothing");
}

#[test]
fn a_guest_is_asked_through_its_agent_and_one_that_is_off_is_not_waited_for() {
    let Some(fake) = Fake::start(
        r#"
        let pve = proxmox::connect();
        step("web", "web answers", || {
            let agent = pve.agent(101);
            info(`running ${agent.running} at ${agent.addresses}, key ${pve.host_key(101)}`);
        });
        step("db", "db does not", || {
            info(`running ${pve.agent(102).running}`);
            pve.host_key(102);
        });
        "#,
    ) else {
        return;
    };
    let told = fake.project.ends("run playbooks/first.rhai", 4);
    assert!(told.contains("running true at [\"192.0.2.10\"], key ssh-ed25519 AAAAC3Nz root@web\n"), "{told}");
    assert!(told.contains("running false\n"), "{told}");
    assert!(
        told.contains("proxmox:vm:102: its SSH host key cannot be read") && told.contains("it is not running"),
        "{told}"
    );
}

#[test]
fn what_waits_for_a_restart_is_pending_until_there_is_one() {
    let Some(mut fake) = Fake::start(
        r#"
        let pve = proxmox::connect();
        step("cores", "web has three cores", || { pve.vm(#{ vmid: 101, name: "web", node: "pve1", cores: 3 }); });
        step("restart", "web is restarted where it has to", || {
            pve.vm(#{ vmid: 101, name: "web", node: "pve1", reboot: true });
        });
        "#,
    ) else {
        return;
    };
    let told = fake.project.ends("run --step cores playbooks/first.rhai", 0);
    assert!(told.contains("cores take effect after web is restarted\n") && told.contains("\n1 change\n"), "{told}");
    let web = fake.state()["machines"]["101"].clone();
    assert_eq!((&web["config"]["cores"], &web["pending"]), (&json!(2), &json!({"cores": "3"})));
    let told = fake.project.ends("run playbooks/first.rhai", 0);
    assert!(told.contains("- pending: {\"cores\":2}\n") && told.contains("\n1 change\n"), "{told}");
    let state = fake.state();
    let web = &state["machines"]["101"];
    assert_eq!(
        (&web["config"]["cores"], &web["pending"], &web["status"]),
        (&json!("3"), &json!({}), &json!("running"))
    );
    assert_eq!(state["tasks"], json!([["qmreboot", "101", "OK"]]));
    assert!(fake.project.ends("run playbooks/first.rhai", 0).contains("\n0 changes\n"));
}

/// It says yes to both, with tasks that end well, and does neither.
#[test]
fn a_change_that_was_accepted_and_not_made_is_a_failure() {
    let Some(mut fake) = Fake::start(
        r#"
        let pve = proxmox::connect();
        step("grow", "db has more room", || {
            pve.vm(#{ vmid: 102, name: "db", node: "pve2", disks: #{ scsi0: "16GiB" } });
        });
        step("move", "db is elsewhere", || { pve.vm(#{ vmid: 102, name: "db", node: "pve1", migrate: true }); });
        "#,
    ) else {
        return;
    };
    for (step, why) in
        [("grow", "scsi0.size: wanted \"16G\", found \"8G\""), ("move", "node: wanted \"pve1\", found \"pve2\"")]
    {
        let told = fake.project.ends(&format!("run --step {step} playbooks/first.rhai"), 1);
        assert!(told.contains("proxmox:vm:102 (db): the change was accepted but did not take"), "{told}");
        assert!(told.contains(why), "{told}");
    }
    let tasks = fake.state()["tasks"].clone();
    assert_eq!(tasks, json!([["resize", "102", "OK"], ["migrate", "102", "OK"]]));
}

#[test]
fn what_goes_wrong_there_is_told_in_its_own_words() {
    let Some(mut fake) = Fake::start(
        r#"
        let pve = proxmox::connect();
        step("broken", "broken runs", || { pve.vm(#{ vmid: 104, name: "broken", node: "pve2", started: true }); });
        step("held", "held has a tag", || { pve.vm(#{ vmid: 105, name: "held", node: "pve2", tags: ["x"] }); });
        step("missing", "nobody is there", || { pve.vm(#{ vmid: 106, name: "nobody", node: "pve2", started: true }); });
        step("db", "db runs", || { pve.vm(#{ vmid: 102, name: "db", node: "pve2", started: true }); });
        "#,
    ) else {
        return;
    };
    let run = |fake: &Fake, step: &str, parts: &[&str]| {
        let told = fake.project.homelab(&["run", "--step", step, "playbooks/first.rhai"]).output().expect("it starts");
        assert_ne!(told.status.code(), Some(0));
        let told = fake.project.told(&told);
        parts.iter().for_each(|part| assert!(told.contains(part), "{step}: {part}\n{told}"));
    };
    run(
        &fake,
        "broken",
        &["pve2: the task qmstart 104 failed", "no zvol device link for 'vm-104-disk-0' found after 300 sec."],
    );
    run(&fake, "held", &["proxmox:vm:105 (held): is locked (backup)", "`qm unlock 105` on pve2"]);
    run(&fake, "missing", &["proxmox:vm:106 (nobody): does not exist", "`clone: 9000`"]);
    let before = fake.state();
    assert_eq!(before["changing"], json!(["POST /api2/json/nodes/pve2/qemu/104/status/start"]));

    fake.is("viewer@pve!look");
    fake.project.ends("plan --step db playbooks/first.rhai", 0);
    run(&fake, "db", &["Permission check failed (/vms/102, VM.PowerMgmt)", "viewer@pve!look"]);
    fake.is("nobody@pve!homelab");
    run(&fake, "db", &["nobody@pve!homelab", "authentication failure"]);
    let token = fake.said["tokens"]["automation@pve!homelab"].as_str().expect("text").to_owned();
    fake.envrc("automation@pve!homelab", &token, &"0a".repeat(32));
    run(&fake, "db", &["fingerprint"]);
    assert_eq!(fake.state()["machines"], before["machines"]);
}

#[test]
fn a_machine_is_destroyed_only_when_the_run_names_it() {
    let Some(mut fake) = Fake::start(
        r#"
        let pve = proxmox::connect();
        step("gone", "web is destroyed", || {
            pve.vm(#{ vmid: 101, name: "web", node: "pve1", absent: true, allow_destroy: true });
        });
        "#,
    ) else {
        return;
    };
    let before = fake.state();
    let told = fake.project.ends("run playbooks/first.rhai", 1);
    assert!(told.contains("run again with --allow-destroy 'proxmox:vm:101 (web)'"), "{told}");
    assert_eq!(fake.state(), before);
    fake.project.ends("run --allow-destroy proxmox:vm:101 playbooks/first.rhai", 0);
    let after = fake.state();
    assert_eq!(after["machines"]["101"], Value::Null);
    assert_eq!(after["tasks"], json!([["qmshutdown", "101", "OK"], ["qmdestroy", "101", "OK"]]));
    assert!(fake.project.ends("run playbooks/first.rhai", 0).contains("\n0 changes\n"));
}
