//! Storages: defined, changed, made anew, taken away; and whether every node can use them.

use serde_json::json;

use super::{CONNECT, cluster};
use crate::error::Class;

const ISOS: &str = r#"pve.storage(#{ id: "isos", type: "nfs", server: "10.20.10.20", export_path: "/VMStorage/.data",
    content: ["iso", "backup"], prune_backups: #{ "keep-daily": 7 }, options: "vers=4.1" });"#;

#[test]
fn a_storage_is_defined_as_planned_and_then_left_alone() {
    let mut cluster = cluster();
    let done = cluster.converges(&format!("{CONNECT} {ISOS}"));
    assert_eq!(
        done,
        ["create proxmox:storage:isos: content: – → [\"backup\",\"iso\"], export_path: – → \"/vmstorage/.data\", \
             options: – → \"vers=4.1\", prune_backups.keep-daily: – → 7, server: – → \"10.20.10.20\", type: – → \"nfs\""]
    );
    let told = cluster.lab.run(&format!("{CONNECT} let isos = {ISOS} isos.after.path"));
    assert_eq!(told.json(), "/mnt/pve/isos", "what Proxmox fills in is there to be read");
}

#[test]
fn only_what_differs_is_written_and_what_nobody_speaks_of_stays() {
    let mut cluster = cluster();
    cluster.lab.run(&format!("{CONNECT} {ISOS}")).json();
    let script = r#"pve.storage(#{ id: "isos", content: ["iso"], nodes: ["pve-01"], prune_backups: #{} });"#;
    let done = cluster.converges(&format!("{CONNECT} {script}"));
    assert_eq!(
        done,
        [
            "update proxmox:storage:isos: content: [\"backup\",\"iso\"] → [\"iso\"], prune_backups: {\"keep-daily\":7} → –, \
             nodes: – → [\"pve-01\"]"
        ]
    );
    let done = cluster.converges(&format!(r#"{CONNECT} pve.storage(#{{ id: "isos", nodes: [], disable: true }});"#));
    assert_eq!(done, ["update proxmox:storage:isos: nodes: [\"pve-01\"] → –, disable: – → true"]);
    let done = cluster.converges(&format!(r#"{CONNECT} pve.storage(#{{ id: "isos", disable: false }});"#));
    assert_eq!(done, ["update proxmox:storage:isos: disable: true → –"]);
}

#[test]
fn where_a_storage_is_never_changes_unless_it_may_be_made_anew() {
    let mut cluster = cluster();
    cluster.lab.run(&format!("{CONNECT} {ISOS}")).json();
    let moved = ISOS.replace("/VMStorage/.data", "/VMStorage/new");
    for told in [cluster.lab.plan(&format!("{CONNECT} {moved}")), cluster.lab.run(&format!("{CONNECT} {moved}"))] {
        assert_eq!(told.error().class(), Class::UnsafeDrift);
        assert!(told.error().message().contains("export_path cannot change"), "{}", told.error());
        assert!(told.error().help_text().unwrap().contains("allow_destroy: true"), "{}", told.error());
    }
    cluster.lab.allow_destroy = vec!["proxmox:storage:isos".into()];
    let anew =
        format!(r#"{CONNECT} pve.storage(#{{ id: "isos", type: "dir", path: "/srv/isos", allow_destroy: true }});"#);
    let done = cluster.converges(&anew);
    assert_eq!(
        done,
        ["update proxmox:storage:isos: content: [\"backup\",\"iso\"] → –, export_path: \"/vmstorage/.data\" → –, \
             options: \"vers=4.1\" → –, path: \"/mnt/pve/isos\" → \"/srv/isos\", prune_backups: {\"keep-daily\":7} → –, \
             server: \"10.20.10.20\" → –, shared: true → –, type: \"nfs\" → \"dir\""]
    );
}

#[test]
fn one_that_is_made_anew_keeps_what_nobody_speaks_of() {
    let mut cluster = cluster();
    cluster
        .lab
        .run(&format!(r#"{CONNECT} pve.storage(#{{ id: "own", type: "dir", path: "/srv/a", content: ["iso"] }})"#))
        .json();
    cluster.lab.allow_destroy = vec!["proxmox:storage:own".into()];
    let moved = r#"pve.storage(#{ id: "own", type: "dir", path: "/srv/b", allow_destroy: true })"#;
    let done = cluster.converges(&format!("{CONNECT} {moved}"));
    assert_eq!(done, ["update proxmox:storage:own: path: \"/srv/a\" → \"/srv/b\""]);
    assert_eq!(cluster.lab.run(&format!("{CONNECT} let own = {moved}; own.after.content")).json(), json!(["iso"]));
}

#[test]
fn a_storage_goes_only_where_both_allow_it_and_nothing_lies_on_it() {
    let mut cluster = cluster();
    cluster.lab.run(&format!("{CONNECT} {ISOS}")).json();
    let absent = |id: &str| format!(r#"{CONNECT} pve.storage(#{{ id: "{id}", absent: true, allow_destroy: true }})"#);
    assert_eq!(cluster.lab.run(&absent("isos")).error().class(), Class::UnsafeDrift);
    cluster.lab.allow_destroy = ["isos", "local-zfs"].map(|id| format!("proxmox:storage:{id}")).to_vec();
    for told in [cluster.lab.plan(&absent("local-zfs")), cluster.lab.run(&absent("local-zfs"))] {
        assert_eq!(told.error().class(), Class::UnsafeDrift);
        assert!(told.error().causes()[0].starts_with("9000 (ubuntu-2404-k3s): "), "{}", told.error());
    }
    assert_eq!(cluster.converges(&absent("isos"))[0].split(':').next(), Some("delete proxmox"));
    assert_eq!(
        cluster.lab.run(&format!("{CONNECT} pve.storages(\"pve-01\").map(|s| s.storage)")).json(),
        json!(["local", "local-zfs", "share"])
    );
}

#[test]
fn a_storage_that_a_node_cannot_use_is_told_with_the_node() {
    let cluster = cluster();
    let nowhere = r#"pve.storage(#{ id: "fast", type: "dir", path: "/mnt/fast", disable: true });
        pve.put("/storage/fast", #{ delete: "disable", is_mountpoint: 1 });"#;
    cluster.lab.run(&format!("{CONNECT} {nowhere}")).json();
    let told =
        cluster.lab.plan(&format!(r#"{CONNECT} pve.storage(#{{ id: "fast", type: "dir", path: "/mnt/fast" }})"#));
    assert_eq!(told.error().class(), Class::VerifyFailed);
    assert_eq!(told.error().message(), "proxmox:storage:fast: not every node can use it");
    let expected = ["pve-01", "pve-02"].map(|node| format!("{node}: it is defined, but not active"));
    assert_eq!(told.error().causes(), expected);
}

#[test]
fn what_proxmox_says_against_a_storage_is_kept() {
    let cluster = cluster();
    let script = ISOS.replace("10.20.10.20", "10.20.10.99");
    let told = cluster.lab.run(&format!("{CONNECT} {script}"));
    assert_eq!(told.error().message(), "proxmox:storage:isos: cannot be made");
    assert!(told.error().to_string().contains("storage 'isos' is not online"), "{}", told.error());
    let told = cluster.lab.plan(&format!(r#"{CONNECT} pve.storage(#{{ id: "isos", type: "nfs", pool: "rpool" }})"#));
    assert_eq!(told.error().message(), "`storage`: a storage of the type nfs has no `pool`");
    let told = cluster.lab.plan(&format!(r#"{CONNECT} pve.storage(#{{ id: "isos", type: "nfs", server: "nas" }})"#));
    assert_eq!(told.error().message(), "`storage`: a storage of the type nfs needs export_path");
}

#[test]
fn what_a_planned_storage_will_show_is_not_known_yet_and_is_not_missed() {
    let cluster = cluster();
    let told = cluster.lab.plan(&format!(
        r#"{CONNECT} {ISOS} pve.require(#{{ nodes: ["pve-01"], storages: ["isos"] }}); pve.storages("pve-01")"#
    ));
    assert_eq!(told.json(), "(known after apply: proxmox:storage:isos.storages:pve-01)");
}
