//! A homelab that can be had as often as one likes, and what can be asked about it afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::project::Project;

/// The rows of the table: number, name and node.
pub const ROWS: [(u64, &str, &str); 4] = [
    (111, "k3s-cp-01", "pve-01"),
    (112, "k3s-cp-02", "pve-02"),
    (113, "k3s-cp-03", "pve-03"),
    (121, "k3s-gpu-01", "pve-01"),
];

/// The playbook that makes them.
pub const PHASE: &str = "playbooks/phase3.rhai";

/// The seeds to try: the one that is asked for, or those from one on, or as many as a variable says.
pub fn seeds(variable: &str, default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("HOMELAB_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (number("HOMELAB_TEST_FROM").unwrap_or(1)..=number(variable).unwrap_or(default)).collect(),
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    /// A number below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// A homelab in which nothing was done yet, founded once: its copies have the same secrets and the same luck.
pub fn founded() -> Project {
    let project = Project::homelab_itself();
    project.ends(&format!("plan --sim -q {PHASE}"), 0);
    project
}

/// Another one like it.
pub fn copy(founded: &Project) -> Project {
    let project = Project::homelab_itself();
    copy_folder(&founded.root().join(".homelab/sim"), &project.root().join(".homelab/sim"));
    std::fs::remove_file(project.root().join(".homelab/sim/requests.jsonl")).expect("the founding was logged");
    project
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(from, to).expect("copied");
        }
    }
}

/// Its simulator in a process of its own.
pub struct Served {
    child: Child,
}

impl Served {
    /// Serves it; `pace` is how much slower than usual things take.
    pub fn of(project: &Project, pace: &str) -> Self {
        let ports = ["--api", "127.0.0.1:0", "--ssh", "127.0.0.1:0", "--output", "json"];
        let mut command = project.homelab(&[&["sim", "serve", "--sim-pace", pace][..], &ports].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut said).expect("text");
        assert!(said.contains("\"served\""), "{said}");
        Served { child }
    }

    /// Stops it in order.
    pub fn stop(mut self) {
        interrupt(&self.child);
        assert!(self.child.wait().expect("it ends").success(), "it ends in order");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After a failed assertion; otherwise it has ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Says Ctrl-C to a process.
pub fn interrupt(child: &Child) {
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    assert!(told.success());
}

/// All requests of a homelab, oldest first, with the lines that begin sessions.
pub fn requests(project: &Project) -> Vec<Value> {
    let text = std::fs::read_to_string(project.root().join(".homelab/sim/requests.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The requests of the session that began last.
pub fn last_session(requests: &[Value]) -> Vec<&Value> {
    let newest = requests.iter().rfind(|entry| entry["kind"] == "session").map(|entry| &entry["session"]);
    requests.iter().filter(|entry| Some(&entry["session"]) == newest && entry["kind"] != "session").collect()
}

/// The machine that a request changes: the new one of a clone, else the one in its path.
pub fn machine(entry: &Value) -> Option<u64> {
    let path = entry["path"].as_str()?;
    let named = entry["params"]["newid"].as_str();
    named.or_else(|| path.split("/qemu/").nth(1)?.split('/').next())?.parse().ok()
}

/// The cluster as it lies on disk.
pub fn cluster(project: &Project) -> Value {
    let text = project.read(".homelab/sim/world.json");
    let world: Value = serde_json::from_str(&text).expect("JSON");
    world["clusters"][0].clone()
}

/// Each row has one machine, on its node and running, and there is none beside them. Each was cloned by one task.
pub fn assert_one_machine_a_row(project: &Project) {
    let cluster = cluster(project);
    let vms = cluster["vms"].as_object().expect("machines");
    let found: Vec<_> = vms
        .iter()
        .filter(|(vmid, _)| *vmid != "9000")
        .map(|(vmid, vm)| {
            assert!(vm["config"]["lock"].is_null(), "{vmid} is locked: {vm}");
            assert!(!vm["running"].is_null(), "{vmid} does not run: {vm}");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (vmid.parse().unwrap_or_default(), text(&vm["config"]["name"]), text(&vm["node"]))
        })
        .collect();
    let wanted = ROWS.map(|(vmid, name, node)| (vmid, name.to_owned(), node.to_owned()));
    assert_eq!(found, wanted, "one machine a row");
}

/// How many clone tasks ended well, by the machine that they made.
pub fn clones(project: &Project) -> BTreeMap<u64, usize> {
    let mut clones = BTreeMap::new();
    for task in cluster(project)["tasks"].as_array().expect("tasks") {
        if task["kind"] == "qmclone" && task["exit"] == "OK" {
            *clones.entry(task["effect"]["newid"].as_u64().expect("a number")).or_default() += 1;
        }
    }
    clones
}
