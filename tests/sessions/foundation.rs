//! What stands in the way of the foundation, and what is seen of it: each ends before something is written that cannot be
//! taken back, and says what to do.

use super::project::Project;

/// Runs phase 1 in a scenario, and looks for these words in what it tells. Lines may be broken anywhere.
#[track_caller]
fn ends_with(scenario: &str, code: i32, words: &[&str]) -> Project {
    let project = Project::homelab_itself();
    let run = format!("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario {scenario} playbooks/phase1.rhai");
    let told = project.ends(&run, code);
    let flat = told.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    for wanted in words {
        assert!(flat.contains(wanted), "`{wanted}` is not in {told}");
    }
    project
}

/// What the last run has written where a path says so.
fn written(project: &Project, path: &str) -> bool {
    project.ends("sim log --mutating --last", 0).contains(path)
}

#[test]
fn a_node_with_guests_does_not_join() {
    let project = ends_with(
        "s10-guests",
        4,
        &[
            "proxmox:member:pve-02: cannot join",
            "pve-02 has 1 guests",
            "a node with guests is emptied first: back them up, remove them, restore them after the join",
        ],
    );
    assert!(!written(&project, "/cluster/config/join"));
}

#[test]
fn a_node_with_another_time_does_not_join() {
    let project = ends_with(
        "s10-clock",
        4,
        &["proxmox:member:pve-02: cannot join", "the clock of pve-02 is 90 s off: let chrony"],
    );
    assert!(!written(&project, "/cluster/config/join"));
}

#[test]
fn a_storage_that_one_node_cannot_use_is_named_with_the_node() {
    ends_with(
        "s11-inactive",
        1,
        &[
            "proxmox:storage:nas-vmstorage: not every node can use it",
            "pve-02: it is defined, but not active",
            "does the server let it in",
        ],
    );
}

#[test]
fn an_export_that_has_moved_is_not_followed() {
    let project = ends_with("s11-export", 1, &["not every node can use it", "pve-01: it is defined, but not active"]);
    assert!(!written(&project, "/storage"));
}

#[test]
fn a_server_that_takes_root_for_nobody_is_reported_and_used() {
    let project = Project::homelab_itself();
    let run = "run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario s11-squashed playbooks/phase1.rhai";
    let told = project.ends(run, 0);
    assert!(told.contains("belongs to 65534:65534: the server squashes root"), "{told}");
}

/// A token that lacks one privilege is told which before anything is written, and phase 1 gives it back.
#[track_caller]
fn lacks(scenario: &str, playbook: &str, privilege: &str, role: &str) {
    let project = Project::homelab_itself();
    let told = project.ends(&format!("run --sim --sim-answer-manual --sim-scenario {scenario} {playbook}"), 1);
    assert!(told.contains(privilege) && told.contains(role), "{told}");
    let written = project.ends("sim log --mutating --last", 0);
    assert!(!written.contains("/qemu"), "{written}");
    let plan = project.ends("plan --sim --step 1.6.2.roles playbooks/phase1.rhai", 0);
    assert!(plan.contains(&format!("would update proxmox:role:{role}")) && plan.contains(privilege), "{plan}");
}

#[test]
fn a_token_that_lacks_one_privilege_is_told_which_and_gets_it_back() {
    for (scenario, privilege, role) in [
        ("s24-vm", "VM.Migrate", "HomelabVM"),
        ("s24-store", "Datastore.AllocateSpace", "HomelabStore"),
        ("s24-root", "Sys.Audit", "HomelabRoot"),
        ("s24-net", "SDN.Use", "HomelabNet"),
        ("s24-pci", "Mapping.Use", "HomelabPci"),
    ] {
        lacks(scenario, "playbooks/phase3.rhai", privilege, role);
    }
}

#[test]
fn a_foundation_that_nobody_may_automate_yet_gets_its_access_and_keeps_the_rest() {
    let project = Project::homelab_itself();
    let told = project.ends("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario s2 playbooks/phase1.rhai", 0);
    for done in ["ok        1.2.1", "ok        1.4.3.nas-vmstorage", "changed   1.6.1.token", "changed   1.6.2.token"] {
        assert!(told.contains(done), "{done} is not in {told}");
    }
    let kept = project.read(".homelab/sim/envrc");
    assert!(kept.contains("HOMELAB_PVE_TOKEN_SECRET="), "{kept}");
}
