//! Who may do what.

use serde_json::json;

use super::lab::{Client, start};
use crate::sim::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lacks_one_privilege_is_told_which() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let (root, api) = (Client::root(&sim, "10.20.11.11").await, Client::token(&sim));
    let role = root.get("/access/roles/HomelabVM").await;
    let all: Vec<&String> = role.data().as_object().unwrap().keys().collect();
    for (missing, option, value) in [
        ("VM.Config.CPU", "cores", "2"),
        ("VM.Config.Memory", "memory", "512"),
        ("VM.Config.Disk", "scsi1", "local-zfs:1"),
        ("VM.Config.CDROM", "ide2", "local-zfs:cloudinit"),
        ("VM.Config.Cloudinit", "ide2", "local-zfs:cloudinit"),
        ("VM.Config.Network", "net0", "virtio=BC:24:11:00:02:40,bridge=vmbr0"),
        ("VM.Config.HWType", "hostpci0", "mapping=rtx4000ada"),
        ("VM.Config.Options", "onboot", "1"),
    ] {
        let rest: Vec<&str> = all.iter().map(|one| one.as_str()).filter(|one| *one != missing).collect();
        root.put("/access/roles/HomelabVM", &[("privs", &rest.join(","))]).await.data();
        let refused = api.put("/nodes/pve1/qemu/9000/config", &[(option, value)]).await;
        assert_eq!(refused.reason, format!("Permission check failed (/vms/9000, {missing})"));
        assert_eq!(refused.status, 403);
    }
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_separated_token_can_no_more_than_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let (root, api) = (Client::root(&sim, "10.20.11.11").await, Client::token(&sim));
    assert_eq!(api.get("/nodes/pve1/qemu").await.data().as_array().unwrap().len(), 1);
    let row = [("path", "/vms"), ("roles", "HomelabVM"), ("users", "automation@pve"), ("delete", "1")];
    root.put("/access/acl", &row).await.data();
    // The token's own row is still there; without the user's it is worth nothing, and the list just lacks the machine.
    assert_eq!(api.get("/nodes/pve1/qemu").await.data(), &json!([]));
    let refused = api.get("/nodes/pve1/qemu/9000/config").await;
    assert_eq!(refused.reason, "Permission check failed (/vms/9000, VM.Audit)");
    assert_eq!(api.get("/access/permissions?path=/vms").await.data(), &json!({ "/vms": {} }));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_root_may_set_is_refused_to_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    let config = "/nodes/pve1/qemu/9000/config";
    for (option, value, text) in [
        ("args", "-foo", "only root can set 'args' config"),
        ("hostpci1", "0000:2f:00.0", "only root can set 'hostpci1' config for non-mapped devices"),
        ("lock", "backup", "only root can set 'lock' config"),
    ] {
        let refused = api.put(config, &[(option, value)]).await;
        assert_eq!((refused.status, refused.reason.as_str()), (500, text));
    }
    let refused = api.put(config, &[("skiplock", "1"), ("cores", "1")]).await;
    assert_eq!(refused.body["errors"]["skiplock"], "Only root may use this option.");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_tells_its_secret_once_and_lets_its_owner_in() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Bare, None).await;
    let root = Client::root(&sim, "10.20.11.12").await;
    root.post("/access/users", &[("userid", "automation@pve")]).await.data();
    let path = "/access/users/automation@pve/token/homelab";
    let made = root.post(path, &[("privsep", "1"), ("comment", "homelab")]).await;
    assert_eq!(made.data()["full-tokenid"], "automation@pve!homelab");
    assert!(made.data()["value"].as_str().unwrap().len() == 36);
    assert_eq!(root.get(path).await.data(), &json!({ "privsep": 1, "expire": 0, "comment": "homelab" }));
    let again = root.post(path, &[]).await;
    assert_eq!((again.status, &again.body["errors"]["tokenid"]), (400, &json!("Token already exists.")));
    // Nodes that are in no cluster know nothing of each other's users.
    let other = Client::root(&sim, "10.20.11.11").await;
    assert_eq!(other.get("/access/users/automation@pve").await.reason, "no such user ('automation@pve')");
    sim.stop().await.unwrap();
}
