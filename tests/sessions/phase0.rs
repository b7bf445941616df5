//! What is written down, compared with what is there: nothing is changed, and what differs is named.

use super::project::Project;

const RUN: &str = "run --sim playbooks/phase0.rhai";

/// Says something else in a file of the documents.
fn say_instead(project: &Project, file: &str, said: &str, instead: &str) {
    let path = format!("docs/{file}");
    let text = project.read(&path);
    assert!(text.contains(said), "{file} does not say {said}");
    project.write(&path, &text.replacen(said, instead, 1));
}

/// A world that is as it was written down, under documents that say something else since.
fn differs(file: &str, said: &str, instead: &str, named: &str) {
    let project = Project::homelab_itself();
    project.ends(RUN, 0);
    say_instead(&project, file, said, instead);
    let told = project.ends(RUN, 4);
    // The layout breaks lines where it likes.
    let flat = told.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(flat.contains(named), "{told}");
}

#[test]
fn what_is_as_written_down_is_green_and_nothing_is_ever_written() {
    let project = Project::homelab_itself();
    let planned = project.ends("plan --sim --detailed-exitcode playbooks/phase0.rhai", 0);
    assert!(!planned.contains("deferred"), "{planned}");
    for _ in 0..2 {
        let told = project.ends(RUN, 0);
        assert!(told.contains("34 steps: 34 ok") && told.contains("0 changes"), "{told}");
        assert_eq!(project.ends("sim log --mutating --last", 0), "");
    }
}

#[test]
fn fresh_nodes_are_each_asked_by_themselves() {
    let project = Project::homelab_itself();
    let told = project.ends("run --sim --sim-scenario bare playbooks/phase0.rhai", 0);
    assert!(told.contains("34 steps: 34 ok") && told.contains("there is none yet: phase 1 makes it"), "{told}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn without_the_password_of_root_the_token_asks() {
    let project = Project::homelab_itself();
    project.ends("run --sim playbooks/phase0.rhai", 0);
    let known = project.read(".homelab/sim/envrc");
    let without = known.lines().filter(|line| !line.contains("ROOT_PASSWORD")).collect::<Vec<_>>().join("\n");
    project.write(".homelab/sim/envrc", &without);
    project.ends("run --sim playbooks/phase0.rhai", 0);
    let asked = project.ends("sim log --last", 0);
    assert!(!asked.contains("root@pam") && asked.contains("/nodes/pve-02/status"), "{asked}");
}

#[test]
fn a_node_memory_is_named_with_both() {
    differs(
        "HARDWARE.md",
        "| pve-02 | Minisforum MS-01 | observed | 96 ",
        "| pve-02 | Minisforum MS-01 | observed | 64 ",
        "pve-02: it has 96 GiB of memory, written down are 64",
    );
}

#[test]
fn a_card_that_is_another_one_is_not_taken_for_it() {
    differs("HARDWARE.md", "10de:27b2", "10de:27b1", "rtx4000ada: pve-01 has 0 devices 10de:27b1");
}

#[test]
fn ranges_that_overlap_and_addresses_that_are_there_twice_are_named() {
    differs(
        "NETWORK.md",
        "(10.20.11.100-10.20.11.199)",
        "10.20.11.100-10.20.11.210",
        "the load balancer's range 10.20.11.200-10.20.11.220 overlaps what DHCP gives away",
    );
    differs("NETWORK.md", "10.20.11.22 ", "10.20.11.21 ", "jetkvm-2 and jetkvm-1 both have 10.20.11.21");
}

#[test]
fn a_table_that_is_gone_is_named() {
    let project = Project::homelab_itself();
    say_instead(&project, "SOFTWARE.md", "## waivers", "## forgiven");
    let told = project.ends(RUN, 1);
    assert!(told.contains("waivers"), "{told}");
}
