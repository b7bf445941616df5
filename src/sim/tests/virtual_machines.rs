//! The life of a virtual machine.

use std::path::Path;

use serde_json::json;

use super::lab::{Client, KEY, start, wait};
use crate::sim::Scenario;
use crate::sim::chance::now;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_cloned_moved_configured_grown_and_started() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);

    // It lasts until it has been looked at.
    sim.frame.world().clusters[0].pace = 1000.0;
    let clone = [("newid", "101"), ("name", "k3s-server-01"), ("full", "1"), ("storage", "local-zfs")];
    let task = api.post("/nodes/pve1/qemu/9000/clone", &clone).await;
    let during = api.get("/nodes/pve1/qemu/101/config").await;
    assert_eq!(during.data()["lock"], "clone");
    assert_eq!(api.put("/nodes/pve1/qemu/101/config", &[("cores", "4")]).await.reason, "VM is locked (clone)");
    sim.frame.world().clusters[0].pace = 1.0;
    sim.frame.world().clusters[0].end_newest(now());
    assert_eq!(api.ended(&task).await, "OK");

    let moved = api.post("/nodes/pve1/qemu/101/migrate", &[("target", "pve2"), ("targetstorage", "local-zfs")]).await;
    assert_eq!(api.ended(&moved).await, "OK");
    assert_eq!(api.get("/nodes/pve1/qemu/101/config").await.status, 500);

    let config = "/nodes/pve2/qemu/101/config";
    let before = api.get(config).await;
    let net = before.data()["net0"].as_str().unwrap().to_string();
    let wanted = [
        ("cores", "4"),
        ("memory", "8192"),
        ("tags", "k3s-server;homelab"),
        ("net0", &format!("{net},firewall=1")),
        ("ide2", "local-zfs:cloudinit"),
        ("ciuser", "ubuntu"),
        ("sshkeys", KEY),
        ("ipconfig0", "ip=10.20.11.21/24,gw=10.20.11.1"),
        ("startup", "order=2,up=30"),
    ];
    let task = api.post(config, &wanted).await;
    assert_eq!(api.ended(&task).await, "OK");
    let after = api.get(config).await;
    assert_eq!(after.data()["cores"], 4);
    assert_eq!(after.data()["memory"], "8192");
    assert_eq!(after.data()["tags"], "homelab;k3s-server");
    assert_eq!(after.data()["ide2"], "local-zfs:vm-101-cloudinit,media=cdrom");
    assert_eq!(after.data()["sshkeys"], KEY);
    assert_eq!(after.data()["scsi0"], "local-zfs:vm-101-disk-1,discard=on,iothread=1,size=3584M,ssd=1");

    let grown = api.put("/nodes/pve2/qemu/101/resize", &[("disk", "scsi0"), ("size", "50G")]).await;
    assert_eq!(api.ended(&grown).await, "OK");
    let again = api.put("/nodes/pve2/qemu/101/resize", &[("disk", "scsi0"), ("size", "50G")]).await;
    assert_eq!(api.ended(&again).await, "OK");
    let shrunk = api.put("/nodes/pve2/qemu/101/resize", &[("disk", "scsi0"), ("size", "40G")]).await;
    assert_eq!(api.ended(&shrunk).await, "shrinking disks is not supported");

    let started = api.post("/nodes/pve2/qemu/101/status/start", &[]).await;
    assert_eq!(api.ended(&started).await, "OK");
    assert_eq!(api.get("/nodes/pve2/qemu/101/status/current").await.data()["qmpstatus"], "running");
    let ping = "/nodes/pve2/qemu/101/agent/ping";
    assert_eq!(api.post(ping, &[]).await.reason, "QEMU guest agent is not running");
    wait("the agent", async || api.post(ping, &[]).await.status == 200).await;
    let seen = api.get("/nodes/pve2/qemu/101/agent/network-get-interfaces").await;
    assert_eq!(seen.data()["result"][0]["ip-addresses"][0]["ip-address"], "10.20.11.21");
    let command = [("command", "cat"), ("command", "/etc/hostname")];
    let pid = api.post("/nodes/pve2/qemu/101/agent/exec", &command).await.data()["pid"].clone();
    let ended = api.get(&format!("/nodes/pve2/qemu/101/agent/exec-status?pid={pid}")).await;
    assert_eq!(ended.data(), &json!({ "exited": 1, "exitcode": 0, "out-data": "cat /etc/hostname\n" }));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_plugged_waits_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    let task = api.post("/nodes/pve1/qemu/9000/clone", &[("newid", "101"), ("full", "1")]).await;
    api.ended(&task).await;
    let task = api.post("/nodes/pve1/qemu/101/status/start", &[]).await;
    api.ended(&task).await;

    let config = "/nodes/pve1/qemu/101/config";
    api.put(config, &[("cores", "4"), ("description", "now")]).await.data();
    assert_eq!(api.get(config).await.data()["cores"], 4);
    let in_force = api.get("/nodes/pve1/qemu/101/config?current=1").await;
    assert_eq!(in_force.data()["cores"], 2);
    assert_eq!(in_force.data()["description"], "now");
    let pending = api.get("/nodes/pve1/qemu/101/pending").await;
    let row = pending.data().as_array().unwrap().iter().find(|row| row["key"] == "cores").unwrap().clone();
    assert_eq!(row, json!({ "key": "cores", "value": 2, "pending": 4 }));

    let task = api.post("/nodes/pve1/qemu/101/status/reboot", &[]).await;
    assert_eq!(api.ended(&task).await, "OK");
    assert_eq!(api.get("/nodes/pve1/qemu/101/config?current=1").await.data()["cores"], 4);

    // Setting what is in force already leaves nothing pending.
    api.put(config, &[("cores", "8")]).await.data();
    api.put(config, &[("cores", "4")]).await.data();
    let pending = api.get("/nodes/pve1/qemu/101/pending").await;
    assert!(pending.data().as_array().unwrap().iter().all(|row| row.get("pending").is_none()));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_fails_in_its_task_for_want_of_a_bridge_or_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    for vmid in ["101", "102"] {
        let task = api.post("/nodes/pve1/qemu/9000/clone", &[("newid", vmid), ("full", "1")]).await;
        api.ended(&task).await;
    }
    let start_of = async |vmid: u32| {
        let task = api.post(&format!("/nodes/pve1/qemu/{vmid}/status/start"), &[]).await;
        api.ended(&task).await
    };
    let config = "/nodes/pve1/qemu/101/config";
    let root = Client::root(&sim, "10.20.11.11").await;
    root.put(config, &[("net0", "virtio,bridge=vmbr77")]).await.data();
    assert_eq!(start_of(101).await, "bridge 'vmbr77' does not exist");
    root.put(config, &[("net0", "virtio,bridge=vmbr0"), ("hostpci0", "mapping=nosuch")]).await.data();
    assert_eq!(start_of(101).await, "PCI device mapping not found for 'nosuch'");
    root.put(config, &[("hostpci0", "mapping=rtx4000ada,pcie=1")]).await.data();
    assert_eq!(start_of(101).await, "OK");
    root.put("/nodes/pve1/qemu/102/config", &[("hostpci0", "mapping=rtx4000ada,pcie=1")]).await.data();
    assert_eq!(start_of(102).await, "PCI device '0000:2f:00.0' already in use by VMID '101'");
    assert_eq!(start_of(101).await, "VM 101 already running");
    assert_eq!(start_of(999).await, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist");
    assert_eq!(start_of(9000).await, "you can't start a vm if it's a template");
    sim.stop().await.unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_that_was_answered_is_lost_when_the_program_dies() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let writers = (0..8).map(async |number: u32| {
        let root = Client::root(&sim, "10.20.11.11").await;
        for round in 0..6 {
            let tag = format!("w{number}-{round}");
            let (id, comment) = (format!("p{number}"), [("comment", tag.as_str())]);
            match round {
                0 => root.post("/pools", &[("poolid", &id), ("comment", &tag)]).await.data(),
                _ => root.put(&format!("/pools/{id}"), &comment).await.data(),
            };
            let text = std::fs::read_to_string(dir.path().join("world.json")).unwrap();
            assert!(text.contains(&tag), "{tag} is not on disk");
        }
    });
    futures::future::join_all(writers).await;
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_was_running_when_the_program_died_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    let task = api.post("/nodes/pve1/qemu/9000/clone", &[("newid", "101"), ("full", "1")]).await;
    // What is on disk when the answer comes is all that a killed program leaves.
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    drop(sim);
    let left = std::fs::read_to_string(copy.path().join("world.json")).unwrap();
    assert!(left.contains("qmclone") && left.contains(r#""exit":null"#), "{left}");

    let sim = start(copy.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    assert_eq!(api.ended(&task).await, "OK");
    let config = api.get("/nodes/pve1/qemu/101/config").await;
    assert_eq!(config.data()["name"], "Copy-of-VM-ubuntu-2404-k3s");
    assert!(config.data().get("lock").is_none());
    sim.stop().await.unwrap();
}

/// What a clone draws by lot, such as its address, would be another one after the program died.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_read_is_lost_when_the_program_dies() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    for vmid in ["101", "102", "103", "104"] {
        let task = api.post("/nodes/pve1/qemu/9000/clone", &[("newid", vmid)]).await;
        assert_eq!(api.ended(&task).await, "OK");
        let config = api.get(&format!("/nodes/pve1/qemu/{vmid}/config")).await;
        let left = std::fs::read_to_string(dir.path().join("world.json")).unwrap();
        for option in ["net0", "smbios1"] {
            let read = config.data()[option].as_str().unwrap();
            assert!(left.contains(read), "{read} is not on disk");
        }
    }
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_machine_takes_its_disks_with_it_and_a_base_in_use_stays() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    let task = api.post("/nodes/pve1/qemu/9000/clone", &[("newid", "102")]).await;
    api.ended(&task).await;
    let disk = api.get("/nodes/pve1/qemu/102/config").await.data()["scsi0"].as_str().unwrap().to_string();
    assert!(disk.starts_with("local-zfs:base-9000-disk-1/vm-102-disk-1,"), "{disk}");
    let task = api.delete("/nodes/pve1/qemu/9000").await;
    let text = "base volume 'local-zfs:base-9000-disk-1' is still in use by linked cloned";
    assert_eq!(api.ended(&task).await, text);
    let task = api.delete("/nodes/pve1/qemu/102?purge=1").await;
    assert_eq!(api.ended(&task).await, "OK");
    let left = api.get("/nodes/pve1/storage/local-zfs/content?vmid=102").await;
    assert_eq!(left.data(), &json!([]));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_digest_is_refused_and_the_right_one_passes() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    let config = "/nodes/pve1/qemu/9000/config";
    let digest = api.get(config).await.data()["digest"].as_str().unwrap().to_string();
    api.put(config, &[("digest", &digest), ("cores", "4")]).await.data();
    let stale = api.put(config, &[("digest", &digest), ("cores", "2")]).await;
    assert_eq!((stale.status, stale.reason.as_str()), (500, "checksum mismatch (file change by other user?)"));
    sim.stop().await.unwrap();
}
