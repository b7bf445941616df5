//! What stands in the way of the foundation, and what is seen of it: each ends before something is written that cannot be
//! taken back, and says what to do.

use super::project::Project;

const PHASE: &str = "playbooks/phase1.rhai";

/// What a run of phase 1 in a scenario says from the step on that ends it.
fn end_of(project: &Project, scenario: &str) -> String {
    let line = format!("run --sim --sim-pace 0.2 --sim-answer-manual --jobs 1 --sim-scenario {scenario} {PHASE}");
    from_the_end_on(&Project::without_times(&project.session(&[&line])))
}

fn from_the_end_on(told: &str) -> String {
    let end = told.lines().position(|line| line.starts_with("  failed ") || line.starts_with("  blocked "));
    told.lines().skip(end.unwrap_or_else(|| panic!("nothing was in the way: {told}"))).collect::<Vec<_>>().join("\n")
}

/// What the last run has written where a path says so.
fn written(project: &Project, path: &str) -> bool {
    project.ends("sim log --mutating --last", 0).contains(path)
}

#[test]
fn a_node_with_another_name_gets_its_own_as_long_as_it_is_alone() {
    let name = "--sim --sim-answer-manual playbooks/phase1.rhai --step 1.1.pve-02.name";
    let alone = Project::homelab_itself();
    alone.ends(&format!("plan --sim-scenario bare {name} -q"), 0);
    alone.ends("exec --sim pve-02 -- hostnamectl set-hostname installer", 0);
    assert!(alone.ends(&format!("run {name}"), 0).contains("2 changes"), "the file and what the kernel has");
    assert!(alone.ends("exec --sim pve-02 -- hostname", 0).contains("pve-02\n"));
    assert!(alone.ends(&format!("run {name}"), 0).contains("0 changes"));

    let member = Project::homelab_itself();
    member.ends(&format!("plan {name} -q"), 0);
    member.ends("exec --sim pve-02 -- hostnamectl set-hostname installer", 0);
    let told = member.ends(&format!("run {name}"), 4);
    assert!(told.contains("a node of a cluster keeps its name and"), "{told}");
    assert!(member.ends("exec --sim pve-02 -- hostname", 0).contains("installer\n"), "nothing was written");
}

#[test]
fn s10_a_node_with_guests_does_not_join() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(end_of(&project, "s10-guests"));
    assert!(!written(&project, "/cluster/config/join"));
}

#[test]
fn s10_a_node_with_another_time_does_not_join() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(end_of(&project, "s10-clock"));
    assert!(!written(&project, "/cluster/config/join"));
}

#[test]
fn s10_a_join_that_never_gets_a_quorum_is_told_in_its_own_words_and_not_forced() {
    let project = Project::homelab_itself();
    let own = "password: nodes::password(first),";
    let std = include_str!("../../stdlib/cluster.rhai");
    assert!(std.contains(own), "{std}");
    project.write("stdlib/cluster.rhai", &std.replace(own, &format!("{own} timeout: \"5s\",")));
    insta::assert_snapshot!(end_of(&project, "s10-quorum"));
    assert!(written(&project, "/cluster/config/join"));
    insta::assert_snapshot!("s10_the_next_run_leaves_a_half_joined_node_to_a_person", end_of(&project, "s10-quorum"));
    assert!(!written(&project, "/cluster/config"), "nothing is tried again");
}

#[test]
fn s11_a_node_that_does_not_reach_a_storage_is_named() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(end_of(&project, "s11-inactive"));
    assert!(!written(&project, "/storage"));
}

#[test]
fn s11_an_export_that_has_moved_is_not_followed() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(end_of(&project, "s11-export"));
    assert!(!written(&project, "/storage"));
}

#[test]
fn s11_a_server_that_takes_root_for_nobody_is_reported_and_used() {
    let project = Project::homelab_itself();
    let run = format!("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario s11-squashed {PHASE}");
    let told = project.ends(&run, 0);
    let mut warnings: Vec<&str> = told.lines().filter(|line| line.contains("squashes root")).collect();
    warnings.sort_unstable();
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn a_storage_that_is_still_mounted_as_it_was_before_is_told_and_how_it_is_mounted_anew() {
    let project = Project::homelab_itself();
    project.ends(&format!("plan --sim {PHASE} -q --step 1.4.3.nas-vmstorage"), 0);
    let tables = project.read("docs/NETWORK.md");
    let row = tables.lines().find(|line| line.starts_with("| nas-vmstorage ")).expect("it is in the table nfs");
    project.write("docs/NETWORK.md", &tables.replace(row, &row.replace("(4.1)", "3")));
    let run = |step: &str| format!("run --sim --sim-answer-manual {PHASE} --step {step}");
    assert!(project.ends(&run("1.4.3.nas-vmstorage"), 0).contains("vers=3"));
    let told = project.session(&[&run("1.4.4.nas-vmstorage.pve-01")]);
    insta::assert_snapshot!(from_the_end_on(&Project::without_times(&told)));
}

#[test]
fn a_node_whose_machines_and_cache_take_all_its_memory_is_warned_of() {
    let project = Project::homelab_itself();
    let step = |verb: &str| format!("{verb} --sim --sim-answer-manual {PHASE} --step 1.4.1.local-zfs.pve-02");
    assert!(!project.ends(&step("run"), 0).contains("less than a tenth is left"));
    let limit = "echo 99000000000 > /sys/module/zfs/parameters/zfs_arc_max";
    let set = project.homelab(&["exec", "--sim", "pve-02", "--", "sh", "-c", limit]).output().expect("it starts");
    assert!(set.status.success(), "{}", project.told(&set));
    let told = project.ends(&step("run"), 0);
    insta::assert_snapshot!(told.lines().find(|line| line.contains("less than a tenth")).unwrap_or(&told));
}

#[test]
fn s24_a_token_that_lacks_one_privilege_is_told_which_and_gets_it_back() {
    for (scenario, privilege, role) in [
        ("s24-vm", "VM.Migrate", "HomelabVM"),
        ("s24-store", "Datastore.AllocateSpace", "HomelabStore"),
        ("s24-node", "Sys.Audit", "HomelabNode"),
        ("s24-root", "Sys.Audit", "HomelabRoot"),
        ("s24-net", "SDN.Use", "HomelabNet"),
        ("s24-pci", "Mapping.Use", "HomelabPci"),
    ] {
        let project = Project::homelab_itself();
        let proof = format!("run --sim --sim-scenario {scenario} --step 1.6.2.proof {PHASE}");
        insta::assert_snapshot!(scenario, from_the_end_on(&Project::without_times(&project.session(&[&proof]))));
        assert_eq!(project.ends("sim log --mutating --last", 0), "");
        let plan = project.ends(&format!("plan --sim --step 1.6.2.roles {PHASE}"), 0);
        assert!(plan.contains(&format!("would update proxmox:role:{role}")) && plan.contains(privilege), "{plan}");
    }
}

#[test]
fn s2_where_all_is_done_but_access_nothing_else_changes() {
    let project = Project::homelab_itself();
    let run = format!("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario bare {PHASE}");
    project.ends(&format!("{run} --skip 1.6*"), 0);
    let told = project.ends(&run, 0);
    let changed: Vec<&str> = told.lines().filter(|line| line.starts_with("  changed ")).collect();
    assert!(!changed.is_empty() && changed.iter().all(|line| line.starts_with("  changed   1.6.")), "{told}");
    insta::assert_snapshot!(changed.join("\n"));
}

#[test]
fn s2_a_foundation_that_nobody_may_automate_yet_gets_its_access_and_keeps_the_rest() {
    let project = Project::homelab_itself();
    let told = project.ends("run --sim --sim-pace 0.2 --sim-answer-manual --sim-scenario s2 playbooks/phase1.rhai", 0);
    for done in ["ok        1.2.1", "ok        1.4.3.nas-vmstorage", "changed   1.6.1.token", "changed   1.6.2.token"] {
        assert!(told.contains(done), "{done} is not in {told}");
    }
    let kept = project.read(".homelab/sim/envrc");
    assert!(kept.contains("HOMELAB_PVE_TOKEN_SECRET="), "{kept}");
}
