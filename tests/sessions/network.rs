//! The network of the nodes, as phase 1 brings it about: one node after the other, and each under a timer of its own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fire::lab::{Served, requests};

use super::project::Project;

const NETWORK: &str = "playbooks/phase1.rhai --step 1.3.1.*";

/// A homelab whose nodes do not wait long before they take a change back.
fn reverting_after(span: &str) -> Project {
    let project = Project::homelab_itself();
    let network = project.read("docs/NETWORK.md");
    let usual = "| revert_after  | 3m ";
    assert!(network.contains(usual), "{network}");
    project.write("docs/NETWORK.md", &network.replace(usual, &format!("| revert_after  | {span} ")));
    project
}

/// What is said of the step, without the places that other steps stand in the way of.
fn of_the_step(told: &str) -> String {
    let begin = told.find("  failed    1.3.1.pve-02").unwrap_or_else(|| panic!("it does not fail: {told}"));
    let step = told[begin..].split("      Advice:").next().unwrap_or_default();
    let lines = step.lines().filter(|line| !line.contains("note: taken as proposed"));
    lines.map(|line| format!("{}\n", line.replace(" <seconds>", "").trim_end())).collect()
}

/// What a node says to a command.
fn ask(project: &Project, node: &str, command: &str) -> String {
    project.ends(&format!("exec --sim {node} -- {command}"), 0)
}

fn tells_vlans_apart(project: &Project, node: &str) -> bool {
    ask(project, node, "cat /sys/class/net/vmbr0/bridge/vlan_filtering").contains('1')
}

#[test]
fn bridges_tell_vlans_apart_as_planned_and_only_once() {
    let project = Project::homelab_itself();
    let planned = project.ends(&format!("plan --sim {NETWORK}"), 0);
    assert!(planned.contains("would run proxmox:network-changes:pve-03"), "{planned}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a plan writes nothing");
    assert!(!tells_vlans_apart(&project, "pve-03"));
    let run = format!("run --sim --sim-answer-manual {NETWORK}");
    let first = project.ends(&run, 0);
    assert!(first.contains("plan fidelity: sure 12/12,"), "{first}");
    assert!(tells_vlans_apart(&project, "pve-03"));
    let again = project.ends(&run, 0);
    assert!(again.contains("0 changes"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn nothing_is_applied_unless_somebody_approves() {
    let project = Project::homelab_itself();
    let told = project.ends(&format!("run --sim {NETWORK}"), 4);
    assert!(told.contains("needs approval: applies the network of pve-01 anew"), "{told}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn s8_what_somebody_else_has_not_applied_is_shown_and_left_alone() {
    let project = Project::homelab_itself();
    let told = project.session(&[&format!("run --sim --sim-scenario s8 --sim-answer-manual {NETWORK} --limit pve-02")]);
    insta::assert_snapshot!("s8", of_the_step(&told));
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing was applied, and nothing dropped");
    assert!(ask(&project, "pve-02", "cat /etc/network/interfaces.new").contains("mtu 9000"));
}

#[test]
fn s9_a_node_that_its_network_cuts_off_comes_back_by_itself() {
    let project = reverting_after("6s");
    let told = project.session(&[&format!("run --sim --sim-scenario s9 --sim-answer-manual {NETWORK} --limit pve-02")]);
    insta::assert_snapshot!("s9", of_the_step(&told));
    assert!(!tells_vlans_apart(&project, "pve-02"), "it is as it was before");
}

#[test]
fn s9_a_node_comes_back_by_itself_although_the_run_was_killed() {
    let project = reverting_after("25s");
    project.ends(&format!("plan --sim --sim-scenario s9 -q {NETWORK}"), 0);
    let served = Served::of(&project, "1");
    let arguments = format!("run --sim --sim-answer-manual {NETWORK} --limit pve-02");
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let mut run = project.homelab(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let applied =
        || requests(&project).iter().any(|entry| entry["method"] == "PUT" && entry["path"] == "/nodes/pve-02/network");
    look_until("the network was applied", applied);
    run.kill().expect("killed");
    run.wait().expect("gone");
    let answers = || {
        let asked =
            project.homelab(&["exec", "--sim", "pve-02", "--", "cat", "/sys/class/net/vmbr0/bridge/vlan_filtering"]);
        silently(asked).is_some_and(|said| said.contains('0'))
    };
    look_until("nobody reaches it", || !answers());
    look_until("its timer brought it back", answers);
    served.stop();
}

#[test]
fn a_key_that_a_node_does_not_know_is_added_beside_those_it_knows() {
    const ANOTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB another@laptop";
    let project = Project::homelab_itself();
    let step = "--sim -q playbooks/phase1.rhai --step 1.3.6.*";
    assert!(project.ends(&format!("run {step}"), 0).contains("0 changes"), "its own key is what let it in");
    let envrc = project.read(".homelab/sim/envrc");
    let own = envrc.lines().find_map(|line| line.strip_prefix("export HOMELAB_SSH_PUBKEY=")).expect("it is set");
    project.write(".homelab/sim/envrc", &envrc.replace(own, &format!("'{ANOTHER}'")));
    let told = project.ends(&format!("run {step}"), 0);
    assert!(told.contains("3 changes"), "{told}");
    let keys = ask(&project, "pve-02", "cat /root/.ssh/authorized_keys");
    assert!(keys.contains(own.trim_matches('\'')) && keys.contains(ANOTHER), "{keys}");
    assert!(project.ends(&format!("run {step}"), 0).contains("0 changes"));
}

/// What a command prints, where it ends well.
fn silently(mut command: Command) -> Option<String> {
    let output = command.output().expect("it starts");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks again and again until something is so.
#[track_caller]
fn look_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(100));
    }
}
