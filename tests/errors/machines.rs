//! Machines that are not ours, are locked, or are not what they are taken for.

use serde_json::json;

use super::{by_hand, cluster, homelab, in_homelab, phase3, replace};
use crate::project::Project;

const STRANGER: &str = "pve.post(\"/nodes/pve-01/qemu/9000/clone\", #{ newid: 112, name: \"stranger\" });";
const OURS: &str = "pve.post(\"/nodes/pve-01/qemu/9000/clone\", #{ newid: 111, name: \"k3s-cp-01\" });";

/// A playbook that wants one machine.
fn vm(options: &str) -> String {
    format!("let pve = proxmox::connect();\nstep(\"1\", \"a machine\", || pve.vm(#{{\n    {options},\n}}));\n")
}

#[test]
fn a_number_that_a_stranger_has() {
    insta::assert_snapshot!(phase3(|project| by_hand(project, STRANGER), 4, "VM 112 is taken by `stranger` on pve-01"));
}

#[test]
fn a_name_that_a_stranger_has() {
    let stranger = STRANGER.replace("112", "500").replace("stranger", "k3s-cp-02");
    insta::assert_snapshot!(phase3(|project| by_hand(project, &stranger), 4, "VM 500"));
}

/// Wants something of a machine that somebody has made by hand.
fn made_by_hand(made: &str, options: &str) -> String {
    let project = homelab();
    by_hand(&project, made);
    in_homelab(&project, &vm(options), 1)
}

#[test]
fn a_strangers_machine_that_is_to_go() {
    let gone = "vmid: 112, name: \"k3s-cp-02\", node: \"pve-01\", absent: true, allow_destroy: true";
    insta::assert_snapshot!(made_by_hand(STRANGER, gone));
}

#[test]
fn a_machine_that_would_go_for_good() {
    let gone = "vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", absent: true";
    insta::assert_snapshot!(made_by_hand(OURS, gone));
}

#[test]
fn a_machine_that_may_go_but_that_the_run_does_not_name() {
    let gone = "vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", absent: true, allow_destroy: true";
    insta::assert_snapshot!(made_by_hand(OURS, gone));
}

/// Has the tables name another template than the one that is there.
fn name_template(project: &Project, vmid: u32) {
    let row = |vmid: u32| format!("| template_vmid             | {vmid} ");
    replace(project, "docs/SOFTWARE.md", &row(9000), &row(vmid));
}

#[test]
fn a_template_that_is_not_there() {
    let other = |project: &Project| {
        name_template(project, 9001);
    };
    insta::assert_snapshot!(phase3(other, 4, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_template_that_is_none() {
    let other = |project: &Project| {
        by_hand(project, &STRANGER.replace("112", "9001").replace("stranger", "half-made"));
        name_template(project, 9001);
    };
    insta::assert_snapshot!(phase3(other, 4, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_template_that_is_taken_for_a_machine() {
    let playbook = vm("vmid: 9000, name: \"ubuntu-2404-k3s\", node: \"pve-01\", cores: 4");
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 1));
}

#[test]
fn a_machine_that_is_made_of_nothing() {
    let playbook = vm("vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", cores: 4");
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 4));
}

#[test]
fn a_machine_on_a_node_that_there_is_not() {
    let playbook = vm("vmid: 111, name: \"k3s-cp-01\", node: \"pve-1\", clone: 9000");
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 4));
}

#[test]
fn a_disk_that_a_template_does_not_have() {
    let playbook = vm("vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", clone: 9000, disks: #{ scsi1: \"80GiB\" }");
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 4));
}

#[test]
fn a_machine_that_runs_on_another_node() {
    let project = homelab();
    by_hand(&project, "pve.vm(#{ vmid: 112, name: \"k3s-cp-02\", node: \"pve-01\", clone: 9000, started: true });");
    let playbook = vm("vmid: 112, name: \"k3s-cp-02\", node: \"pve-02\", migrate: true");
    insta::assert_snapshot!(in_homelab(&project, &playbook, 1));
}

#[test]
fn a_machine_of_the_tables_that_runs_on_another_node() {
    let elsewhere = "pve.vm(#{ vmid: 112, name: \"k3s-cp-02\", node: \"pve-01\", clone: 9000, started: true });";
    insta::assert_snapshot!(phase3(|project| by_hand(project, elsewhere), 4, "playbooks/phase3.rhai:16"));
}

/// A machine of ours that something holds.
fn locked(lock: &str) -> impl FnOnce(&Project) {
    move |project| {
        by_hand(project, OURS);
        cluster(project, |cluster| cluster["vms"]["111"]["config"]["lock"] = json!(lock));
    }
}

#[test]
fn a_machine_that_an_interrupted_clone_left_locked() {
    insta::assert_snapshot!(phase3(locked("clone"), 4, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_machine_that_an_interrupted_backup_left_locked() {
    insta::assert_snapshot!(phase3(locked("backup"), 4, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_machine_that_an_interrupted_clone_left_without_a_name() {
    let project = homelab();
    by_hand(&project, OURS);
    cluster(&project, |cluster| {
        let config = cluster["vms"]["111"]["config"].as_object_mut().expect("it has settings");
        config.remove("name");
        config.insert("lock".to_owned(), json!("clone"));
    });
    let told = in_homelab(&project, &vm("vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", onboot: true"), 1);
    assert!(
        told.contains("is locked (clone) and no task is at work on it"),
        "it may be ours, and is waited for: {told}"
    );
}

#[test]
fn a_machine_that_something_on_its_node_holds() {
    let project = homelab();
    by_hand(&project, OURS);
    cluster(&project, |cluster| cluster["vms"]["111"]["lock_file_held"] = json!(true));
    let playbook = vm("vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", onboot: true");
    insta::assert_snapshot!(in_homelab(&project, &playbook, 1));
}

#[test]
fn an_option_of_the_api_that_there_is_not() {
    let project = homelab();
    by_hand(&project, OURS);
    let playbook = "let pve = proxmox::connect();\n\
        step(\"1\", \"a card\", || pve.put(\"/nodes/pve-01/qemu/111/config\", #{ nett0: \"virtio,bridge=vmbr0\" }));\n";
    insta::assert_snapshot!(in_homelab(&project, playbook, 1));
}

#[test]
fn a_path_of_the_api_that_there_is_not() {
    let playbook = "let pve = proxmox::connect();\nstep(\"1\", \"a look\", || pve.get(\"/nodes/pve-01/qemus\"));\n";
    insta::assert_snapshot!(in_homelab(&homelab(), playbook, 1));
}
