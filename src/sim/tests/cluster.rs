//! Nodes that go and come back, and what a cluster without a majority still does.

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lab::{Client, Reply, seed, start, start_seeded, wait};
use crate::sim::chance::now;
use crate::sim::{Scenario, Sim};

fn power(sim: &Sim, node: &str, on: bool) {
    assert!(sim.frame.world().power(node, on, now()), "{node} was so before");
}

/// What the gateway says to somebody who dials.
async fn dial(sim: &Sim, target: &str) -> String {
    let mut stream = TcpStream::connect(sim.gateway()).await.unwrap();
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_string()
}

/// A row of a list by one of its fields.
fn row<'r>(reply: &'r Reply, field: &str, value: &str) -> &'r serde_json::Value {
    let rows = reply.data().as_array().unwrap();
    rows.iter().find(|row| row[field] == value).unwrap_or_else(|| panic!("no {value} in {rows:?}"))
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.reason.as_str())
}

/// A small machine of its own on a node, with `onboot`.
async fn machine(api: &Client, node: &str, vmid: &str) {
    let options = [("vmid", vmid), ("name", "web"), ("memory", "256"), ("onboot", "1"), ("scsi0", "local-zfs:1")];
    let task = api.post(&format!("/nodes/{node}/qemu"), &options).await;
    assert_eq!(api.ended(&task).await, "OK");
    let task = api.post(&format!("/nodes/{node}/qemu/{vmid}/status/start"), &[]).await;
    assert_eq!(api.ended(&task).await, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_a_node_that_is_off_and_the_others_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_seeded(dir.path(), seed(Scenario::Plan), None, 0.02).await;
    let api = Client::root(&sim, "10.20.11.11").await;
    machine(&api, "pve2", "101").await;
    let task = api.post("/nodes/pve2/qemu/101/status/stop", &[]).await;
    assert_eq!(api.ended(&task).await, "OK");
    machine(&api, "pve2", "102").await;
    power(&sim, "pve2", false);
    for port in [22, 8006] {
        assert_eq!(dial(&sim, &format!("10.20.11.12:{port}")).await, "HTTP/1.1 502 no route to host");
    }
    for path in ["/nodes/pve2/status", "/nodes/pve2/qemu", "/nodes/pve2/qemu/101/config"] {
        let reply = api.get(path).await;
        assert_eq!((said(&reply), &reply.body), ((595, "No route to host"), &"".into()), "{path}");
    }
    assert_eq!(said(&api.post("/nodes/pve2/qemu", &[("vmid", "103")]).await), (595, "No route to host"));
    let nodes = api.get("/nodes").await;
    let gone = row(&nodes, "node", "pve2");
    assert_eq!((&gone["status"], &gone["maxcpu"]), (&"offline".into(), &20.into()));
    assert!(gone.get("uptime").is_none() && gone.get("cpu").is_none(), "{gone}");
    assert_eq!(row(&nodes, "node", "pve3")["status"], "online");
    let status = api.get("/cluster/status").await;
    // Two of three are a majority.
    assert_eq!(row(&status, "type", "cluster")["quorate"], 1);
    assert_eq!(row(&status, "name", "pve2")["online"], 0);
    // What the node told last of its machines stands for a while, then nothing is known any more.
    let statuses = async || {
        let machines = api.get("/cluster/resources?type=vm").await;
        ["qemu/101", "qemu/102"].map(|id| row(&machines, "id", id)["status"].as_str().unwrap().to_string())
    };
    assert_eq!(statuses().await, ["stopped", "running"]);
    sim.frame.world().clusters[0].nodes.get_mut("pve2").unwrap().since = 0;
    assert_eq!(statuses().await, ["unknown", "unknown"]);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_starts_its_guests_and_knows_nothing_of_what_it_was_doing() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::root(&sim, "10.20.11.11").await;
    machine(&api, "pve2", "101").await;
    let before = api.get("/nodes/pve2/status").await.data()["uptime"].as_u64().unwrap();
    let task = api.post("/nodes/pve2/qemu/101/status/shutdown", &[]).await;
    {
        // It has not ended when the node goes, and has said something before.
        let mut world = sim.frame.world();
        let last = world.clusters[0].tasks.last_mut().unwrap();
        assert!(last.exit.is_none());
        last.log.push("begun".into());
        assert!(world.power("pve2", false, now()));
    }
    power(&sim, "pve2", true);
    assert_eq!(api.ended(&task).await, "unexpected status");
    let upid = task.data().as_str().unwrap();
    let log = api.get(&format!("/nodes/pve2/tasks/{upid}/log")).await;
    assert_eq!(log.body["total"], 1, "{}", log.body);
    wait("the guest to be started", async || {
        api.get("/nodes/pve2/qemu/101/status/current").await.data()["status"] == "running"
    })
    .await;
    let tasks = api.get("/nodes/pve2/tasks?source=all").await;
    assert_eq!(row(&tasks, "type", "startall")["user"], "root@pam");
    let after = api.get("/nodes/pve2/status").await.data()["uptime"].as_u64().unwrap();
    assert!(after <= before);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_the_node_they_lead_to() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let connect = async |target: &str| {
        let mut stream = TcpStream::connect(sim.gateway()).await.unwrap();
        stream.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = [0; 26];
        stream.read_exact(&mut head).await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"));
        stream
    };
    let mut kept = connect("10.20.11.11:8006").await;
    let mut cut = connect("10.20.11.12:8006").await;
    power(&sim, "pve2", false);
    // Even when it is up again before anybody looks.
    power(&sim, "pve2", true);
    let mut rest = Vec::new();
    assert_eq!(cut.read_to_end(&mut rest).await.unwrap_or_default(), 0);
    let mut byte = [0; 1];
    let read = tokio::time::timeout(std::time::Duration::from_millis(100), kept.read(&mut byte)).await;
    assert!(read.is_err(), "the other connection has ended too");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_reboot_goes_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::root(&sim, "10.20.11.11").await;
    let booted = || sim.frame.world().clusters[0].nodes["pve3"].booted;
    let before = booted();
    assert!(api.post("/nodes/pve3/status", &[("command", "reboot")]).await.data().is_null());
    wait("it to go", async || api.get("/nodes/pve3/status").await.status == 595).await;
    wait("it to come back", async || api.get("/nodes/pve3/status").await.status == 200).await;
    assert!(booted() > before);
    assert!(api.post("/nodes/pve3/status", &[("command", "shutdown")]).await.data().is_null());
    wait("it to go for good", async || api.get("/nodes/pve3/status").await.status == 595).await;
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_the_cluster_reads_and_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_seeded(dir.path(), seed(Scenario::Plan), None, 0.005).await;
    let api = Client::root(&sim, "10.20.11.11").await;
    machine(&api, "pve1", "101").await;
    power(&sim, "pve2", false);
    power(&sim, "pve3", false);
    assert_eq!(row(&api.get("/cluster/status").await, "type", "cluster")["quorate"], 0);
    api.get("/nodes/pve1/qemu/101/config").await.data();
    let api = Client::root(&sim, "10.20.11.11").await;

    let not_ready = (500, "cluster not ready - no quorum?");
    for (path, form) in [
        ("/nodes/pve1/qemu", vec![("vmid", "102")]),
        ("/nodes/pve1/qemu/101/status/start", vec![]),
        ("/nodes/pve1/qemu/101/clone", vec![("newid", "102")]),
    ] {
        assert_eq!(said(&api.post(path, &form).await), not_ready, "{path}");
    }
    let locked = |file: &str, doing: &str| format!("{doing} failed: cfs-lock 'file-{file}' error: no quorum!");
    for (method, path, form, text) in [
        (Method::POST, "/pools", vec![("poolid", "p")], locked("user_cfg", "create pool")),
        (Method::PUT, "/pools/p", vec![("comment", "p")], locked("user_cfg", "update pools")),
        (Method::POST, "/access/users", vec![("userid", "a@pve")], locked("user_cfg", "create user")),
        (Method::DELETE, "/access/users/a@pve", vec![], locked("user_cfg", "delete user")),
        (Method::POST, "/access/users/automation@pve/token/quo", vec![], locked("user_cfg", "generating token")),
        (Method::POST, "/access/roles", vec![("roleid", "R")], locked("user_cfg", "create role")),
        (Method::DELETE, "/cluster/mapping/pci/rtx4000ada", vec![], locked("mapping_pci_cfg", "delete pci mapping")),
    ] {
        let reply = api.send(method, path, &form).await.unwrap();
        assert_eq!(said(&reply), (500, text.as_str()), "{path}");
    }
    let reply = api.put("/nodes/pve1/qemu/101/config", &[("cores", "2")]).await;
    let (start, end) = ("unable to open file '/etc/pve/nodes/pve1/qemu-server/101.conf.tmp.", "' - Permission denied");
    assert!(reply.status == 500 && reply.reason.starts_with(start) && reply.reason.ends_with(end), "{}", reply.reason);

    // A call that only forks promises nothing: its task fails. Switching off needs no file of the cluster.
    let task = api.delete("/nodes/pve1/qemu/9000").await;
    let exit = api.ended(&task).await;
    assert!(exit.starts_with(&start.replace("101", "9000")) && exit.ends_with(end), "{exit}");
    let task = api.post("/nodes/pve1/qemu/101/status/stop", &[]).await;
    assert_eq!(api.ended(&task).await, "OK");

    power(&sim, "pve2", true);
    assert_eq!(row(&api.get("/cluster/status").await, "type", "cluster")["quorate"], 1);
    api.put("/nodes/pve1/qemu/101/config", &[("cores", "2")]).await.data();
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_corosync_has_stopped_is_alone_but_answers() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::root(&sim, "10.20.11.11").await;
    sim.frame.world().corosync("pve2", false, now());
    assert_eq!(row(&api.get("/cluster/status").await, "name", "pve2")["online"], 0);
    assert_eq!(row(&api.get("/nodes").await, "node", "pve2")["status"], "offline");
    // It still is where it was, and says itself that it has lost the others.
    api.get("/nodes/pve2/status").await.data();
    let there = Client::root(&sim, "10.20.11.12").await;
    let status = there.get("/cluster/status").await;
    assert_eq!(row(&status, "type", "cluster")["quorate"], 0);
    assert_eq!(
        (&row(&status, "name", "pve1")["online"], &row(&status, "name", "pve2")["online"]),
        (&0.into(), &1.into())
    );
    let refused = api.post("/nodes/pve2/qemu", &[("vmid", "102")]).await;
    assert_eq!(said(&refused), (500, "cluster not ready - no quorum?"));
    sim.frame.world().corosync("pve2", true, now());
    assert_eq!(row(&there.get("/cluster/status").await, "type", "cluster")["quorate"], 1);
    sim.stop().await.unwrap();
}
