//! The template of the virtual machines: built as planned, left alone, built anew where its recipe changes, and finished where a
//! build was cut short. What belongs to somebody else is not touched.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::project::Project;

const PHASE: &str = "playbooks/phase2.rhai";
const RUN: &str = "run --sim --sim-pace 0.2 --sim-answer-manual playbooks/phase2.rhai";
const ALL: &str = "playbooks/phase0.rhai playbooks/phase1.rhai playbooks/phase2.rhai playbooks/phase3.rhai";

/// The numbers of `sure N/N` in what a run tells.
fn sure(told: &str) -> (u32, u32) {
    let score = told.split("plan fidelity: sure ").nth(1).unwrap_or_else(|| panic!("no score in {told}"));
    let (done, rest) = score.split_once('/').unwrap();
    (done.parse().unwrap(), rest.split(',').next().unwrap().parse().unwrap())
}

/// What was told from the first step on that ended otherwise than well, without what differs from world to world.
fn from_the_end_on(told: &str) -> String {
    let bad = |line: &&str| ["  failed ", "  blocked "].iter().any(|start| line.starts_with(start));
    let end = told.lines().position(|line| bad(&line)).unwrap_or_else(|| panic!("nothing was in the way: {told}"));
    let text = Project::without_times(&told.lines().skip(end).collect::<Vec<_>>().join("\n"));
    let varies = [(r"UPID:\S+", "<upid>"), (r"tmp_dwnl\.\d+", "tmp_dwnl.<pid>")];
    varies.into_iter().fold(text, |text, (pattern, name)| {
        regex::Regex::new(pattern).expect("a pattern of ours").replace_all(&text, name).into_owned()
    })
}

/// The clusters as they lie on disk: the first one.
fn cluster(project: &Project) -> Value {
    let world: Value = serde_json::from_str(&project.read(".homelab/sim/world.json")).expect("JSON");
    world["clusters"][0].clone()
}

/// The notes of the template, where there is one that is whole and nothing else is left of its making.
fn notes_of_the_template(project: &Project) -> String {
    let cluster = cluster(project);
    let config = &cluster["vms"]["9000"]["config"];
    assert_eq!(config["template"], "1", "{config}");
    for gone in ["ide2", "cicustom", "ciuser", "sshkeys", "ipconfig0", "unused0", "lock"] {
        assert!(config[gone].is_null(), "{gone} is left: {config}");
    }
    assert!(cluster["vms"]["9990"].is_null(), "the trial is over");
    let left = cluster["volumes"].as_array().expect("volumes").iter().filter(|volume| volume["vmid"] == 9990).count();
    assert_eq!(left, 0, "nothing of the trial is left");
    config["description"].as_str().expect("notes").to_owned()
}

/// How many requests of the log change something.
fn changes_logged(project: &Project) -> usize {
    let log = std::fs::read_to_string(project.root().join(".homelab/sim/requests.jsonl")).unwrap_or_default();
    log.matches("\"mutating\":true").count()
}

#[test]
fn from_fresh_nodes_the_machines_are_cloned_from_what_was_built_and_then_nothing_changes() {
    let project = Project::homelab_itself();
    let planned = project.ends(&format!("plan --sim --sim-scenario bare {ALL}"), 4);
    for word in ["  blocked ", "  failed ", "deferred", "\n    ~ "] {
        assert!(!planned.contains(word), "{word}: {planned}");
    }
    for word in ["would create proxmox:vm:9000", "nfs-common", "would create proxmox:vm:113", "3.3.k3s-gpu-01.verify"] {
        assert!(planned.contains(word), "{word} is not in {planned}");
    }
    assert_eq!(project.ends("sim log --mutating --last", 0), "");

    let told = project.ends(&format!("run --sim --sim-pace 0.2 --sim-answer-manual {ALL}"), 0);
    let (done, foretold) = sure(&told);
    assert!(done == foretold && done > 0, "{told}");
    assert!(notes_of_the_template(&project).starts_with("homelab-template recipe="));

    let again = project.ends(&format!("run --sim --sim-pace 0.2 --sim-answer-manual {ALL}"), 0);
    assert!(again.contains("\n0 changes"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn a_template_of_another_recipe_is_built_anew_once_somebody_approves() {
    let project = Project::homelab_itself();
    let refused = project.ends(&format!("run --sim --sim-pace 0.2 {PHASE}"), 4);
    assert!(refused.contains("builds the template 9000 anew"), "{refused}");
    assert!(cluster(&project)["vms"]["9000"]["config"]["description"].as_str().unwrap().contains("recipe=simulated"));

    project.ends(RUN, 0);
    let first = notes_of_the_template(&project);
    let again = project.ends(RUN, 0);
    assert!(again.contains("\n0 changes"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");

    let tables = project.read("docs/SOFTWARE.md");
    project.write(
        "docs/SOFTWARE.md",
        &tables.replace("(qemu-guest-agent, nfs-common,", "(jq, qemu-guest-agent, nfs-common,"),
    );
    let planned = project.ends(&format!("plan --sim --detailed-exitcode {PHASE}"), 2);
    assert!(planned.contains(&format!("description: {first} → ")), "{planned}");
    project.ends(RUN, 0);
    assert_ne!(notes_of_the_template(&project), first);
}

#[test]
fn s12_an_image_that_is_another_one_than_its_list_says_is_not_kept() {
    let project = Project::homelab_itself();
    let told = project.ends(&format!("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario s12 {PHASE}"), 1);
    insta::assert_snapshot!(from_the_end_on(&told));
    let volumes = cluster(&project)["volumes"].to_string();
    assert!(!volumes.contains("import/noble"), "{volumes}");
}

#[test]
fn s12_a_list_that_says_something_else_than_was_written_down_stops_the_build() {
    let project = Project::homelab_itself();
    let tables = project.read("docs/SOFTWARE.md");
    let row = tables.lines().find(|line| line.starts_with("| ubuntu-cloud-image")).expect("its row");
    let pinned = row.replace("observed", &"ab".repeat(32));
    project.write("docs/SOFTWARE.md", &tables.replace(row, &pinned));
    let told = project.ends(&format!("run --sim --sim-answer-manual --sim-scenario s12 {PHASE}"), 4);
    insta::assert_snapshot!(from_the_end_on(&told));
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn s13_a_clone_that_was_interrupted_is_left_to_a_person() {
    let project = Project::homelab_itself();
    let line = "run --sim --sim-answer-manual --jobs 1 --sim-scenario s13 --step 3.3.k3s-cp-01 playbooks/phase3.rhai";
    insta::assert_snapshot!(from_the_end_on(&project.session(&[line])));
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn s14_a_machine_of_somebody_else_with_the_number_of_the_template_is_not_touched() {
    let project = Project::homelab_itself();
    let line = format!("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario s14 {PHASE}");
    insta::assert_snapshot!(from_the_end_on(&project.session(&[&line])));
    let log = project.ends("sim log --mutating --last", 0);
    assert!(log.contains("download-url"), "it came as far as the template: {log}");
    assert!(!log.contains("/qemu"), "no machine is touched: {log}");
    assert_eq!(cluster(&project)["vms"]["9000"]["config"]["name"], "windows-of-somebody");
}

/// Kills a run once so many of its requests have changed something. Tells whether it was still running.
fn kill_after(project: &Project, changes: usize) -> bool {
    let before = changes_logged(project);
    let arguments: Vec<&str> = RUN.split_whitespace().collect();
    let mut child = project.homelab(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while changes_logged(project) - before < changes && Instant::now() < deadline {
        if child.try_wait().expect("it is ours").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it is killed");
    child.wait().expect("it is gone").code().is_none()
}

/// Kills a build after each of some requests: as many as there are with HOMELAB_TEST_STAGES=1, else after every third.
#[test]
fn a_build_that_is_killed_at_any_stage_is_finished_by_the_next_run() {
    let whole = Project::homelab_itself();
    whole.ends(RUN, 0);
    let (wanted, changes) = (notes_of_the_template(&whole), changes_logged(&whole));
    let every = if std::env::var("HOMELAB_TEST_STAGES").is_ok() { 1 } else { 3 };
    let mut killed = 0;
    for stage in (1..=changes).step_by(every) {
        let project = Project::homelab_itself();
        killed += usize::from(kill_after(&project, stage));
        project.ends(RUN, 0);
        assert_eq!(notes_of_the_template(&project), wanted, "killed after {stage} changes");
        let again = project.ends(RUN, 0);
        assert!(again.contains("\n0 changes"), "killed after {stage} changes: {again}");
    }
    assert!(killed > changes / every / 2, "{killed} of {changes} changes");
}
