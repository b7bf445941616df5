//! Storages that are not there, do not take disks, are full or out of use.

use serde_json::json;

use super::{cluster, homelab, in_homelab, phase3, replace};
use crate::project::Project;

/// Runs phase 3 with the disks on another storage.
fn on(storage: &str) -> String {
    let other = |project: &Project| {
        replace(
            project,
            "docs/SOFTWARE.md",
            "| vm_disk_storage           | local-zfs ",
            &format!("| vm_disk_storage           | {storage} "),
        );
    };
    phase3(other, 4, "playbooks/phase3.rhai:16")
}

/// Runs phase 3 with another setting of the storage of disks.
fn with(setting: &str, value: &str) -> String {
    let other = |project: &Project| {
        cluster(project, |cluster| cluster["storages"]["local-zfs"]["settings"][setting] = json!(value));
    };
    phase3(other, 4, "playbooks/phase3.rhai:16")
}

#[test]
fn a_storage_that_is_not_there() {
    insta::assert_snapshot!(on("local-lvm"));
}

#[test]
fn a_storage_that_takes_no_disks() {
    insta::assert_snapshot!(on("nas-vmstorage"));
}

#[test]
fn a_storage_that_is_disabled() {
    insta::assert_snapshot!(with("disable", "1"));
}

#[test]
fn a_storage_that_not_all_nodes_have() {
    insta::assert_snapshot!(with("nodes", "pve-01,pve-02"));
}

#[test]
fn a_storage_whose_pool_is_gone() {
    insta::assert_snapshot!(with("pool", "tank/data"));
}

const MACHINE: &str = "let pve = proxmox::connect();\nstep(\"1\", \"a machine\", || pve.vm(#{\n    \
    vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", clone: 9000, storage: \"local-zfs\",\n}));\n";

#[test]
fn a_storage_that_is_full() {
    let project = homelab();
    cluster(&project, |cluster| cluster["nodes"]["pve-01"]["pools"]["rpool/data"] = json!(2_u64 << 30));
    insta::assert_snapshot!(in_homelab(&project, MACHINE, 1));
}

#[test]
fn a_storage_that_only_a_clone_finds_missing() {
    insta::assert_snapshot!(in_homelab(&homelab(), &MACHINE.replace("local-zfs", "local-lvm"), 1));
}
