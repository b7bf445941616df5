//! Clusters that come to be: three nodes alone become one, and what speaks against that.

use std::path::Path;

use super::lab::{Client, Session, seed, start_seeded, wait};
use crate::sim::{Scenario, Sim};

const FIRST: &str = "10.20.11.11";
const SECOND: &str = "10.20.11.12";

async fn bare(dir: &Path) -> Sim {
    start_seeded(dir, seed(Scenario::Bare), None, 0.05).await
}

fn password(sim: &Sim) -> String {
    sim.credentials()["HOMELAB_PVE_ROOT_PASSWORD"].clone()
}

/// Root at a node that may be starting its API.
async fn root(sim: &Sim, address: &str) -> Client {
    let mut session = Err(String::new());
    wait("the node to take logins", async || {
        session = Session::log_in(sim, address, "root@pam", &password(sim)).await;
        session.is_ok()
    })
    .await;
    Client::with_session(sim, address, &session.unwrap())
}

async fn create(sim: &Sim) -> Client {
    let first = root(sim, FIRST).await;
    let made = first.post("/cluster/config", &[("clustername", "lab"), ("link0", FIRST)]).await;
    assert_eq!(first.ended(&made).await, "OK");
    first
}

/// Asks the second node to join the first with a fingerprint and a password, and gives the lines of its log.
async fn join(sim: &Sim, fingerprint: &str, password: &str) -> Vec<String> {
    let second = root(sim, SECOND).await;
    let form = [("hostname", FIRST), ("fingerprint", fingerprint), ("password", password)];
    let asked = second.post("/cluster/config/join", &form).await;
    let upid = asked.data().as_str().unwrap().to_string();
    let mut lines: Vec<String> = Vec::new();
    wait("the join to end", async || {
        // The ticket dies with the join, and the API goes away for a moment.
        let Ok(session) = Session::log_in(sim, SECOND, "root@pam", &self::password(sim)).await else { return false };
        let client = Client::with_session(sim, SECOND, &session);
        let Ok(log) = client.try_get(&format!("/nodes/pve2/tasks/{upid}/log")).await else { return false };
        let rows = log.body["data"].as_array().cloned().unwrap_or_default();
        lines = rows.iter().filter_map(|row| row["t"].as_str()).map(str::to_string).collect();
        lines.last().is_some_and(|line| line.starts_with("TASK "))
    })
    .await;
    lines
}

fn on_disk(sim: &Sim, node: &str, path: &str) -> Option<String> {
    let world = sim.frame.world();
    let machine = world.clusters.iter().find_map(|cluster| cluster.machines.node(node)).unwrap();
    machine.read_file(path).map(|file| String::from_utf8(file.bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_takes_the_users_the_number_and_the_authority_of_its_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let sim = bare(dir.path()).await;
    let first = create(&sim).await;
    first.post("/access/users", &[("userid", "ops@pve")]).await.data();
    let before = (sim.fingerprint("pve1").unwrap(), sim.fingerprint("pve2").unwrap());
    let old = root(&sim, SECOND).await;
    let log = join(&sim, &before.0, &password(&sim)).await;
    assert_eq!(log[log.len() - 2..], ["successfully added node 'pve2' to cluster.", "TASK OK"]);
    wait("the second node to show another certificate", async || sim.fingerprint("pve2").unwrap() != before.1).await;
    let second = root(&sim, SECOND).await;
    let rows = second.get("/cluster/status").await;
    let rows = rows.data().as_array().unwrap().clone();
    let numbers: Vec<(&str, u64)> =
        rows[1..].iter().map(|row| (row["name"].as_str().unwrap(), row["nodeid"].as_u64().unwrap())).collect();
    assert_eq!((rows[0]["name"].as_str(), rows[0]["version"].as_u64()), (Some("lab"), Some(2)));
    assert_eq!(numbers, [("pve1", 1), ("pve2", 2)]);
    let users = second.get("/access/users").await;
    assert!(users.data().as_array().unwrap().iter().any(|user| user["userid"] == "ops@pve"));
    assert_eq!(old.get("/version").await.status, 401, "the ticket of the node alone still holds");
    let file = on_disk(&sim, "pve1", "/etc/pve/corosync.conf").unwrap();
    assert!(file.contains("config_version: 2") && file.contains("ring0_addr: 10.20.11.12"), "{file}");
    assert_eq!(on_disk(&sim, "pve2", "/etc/corosync/corosync.conf"), Some(file));
    assert_eq!(on_disk(&sim, "pve2", "/etc/pve/pve-root-ca.pem"), on_disk(&sim, "pve1", "/etc/pve/pve-root-ca.pem"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_is_refused_leaves_the_node_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sim = bare(dir.path()).await;
    let first = create(&sim).await;
    let right = sim.fingerprint("pve1").unwrap();
    let wrong = sim.fingerprint("pve3").unwrap();
    let log = join(&sim, &wrong, &password(&sim)).await;
    assert_eq!(log[1], format!("TASK ERROR: fingerprint '{right}' not verified, abort!"));
    let log = join(&sim, &right, "not-the-password").await;
    assert_eq!(log[1], "TASK ERROR: 401 authentication failure");
    let second = root(&sim, SECOND).await;
    let made = second.post("/nodes/pve2/qemu", &[("vmid", "150")]).await;
    assert_eq!(second.ended(&made).await, "OK");
    let log = join(&sim, &right, &password(&sim)).await;
    assert_eq!(log[..2], ["detected the following error(s):", "* this host already contains virtual guests"]);
    assert_eq!(first.get("/cluster/config/nodes").await.data().as_array().unwrap().len(), 1);
    assert_eq!(second.get("/cluster/config/join").await.status, 424);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_goes_on_when_the_simulator_is_stopped_in_the_middle_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_seeded(dir.path(), seed(Scenario::Bare), None, 1.0).await;
    create(&sim).await;
    let second = root(&sim, SECOND).await;
    let form = [("hostname", FIRST), ("fingerprint", &sim.fingerprint("pve1").unwrap()), ("password", &password(&sim))];
    second.post("/cluster/config/join", &form).await.data();
    sim.stop().await.unwrap();
    let sim = bare(dir.path()).await;
    let first = root(&sim, FIRST).await;
    wait("both nodes to be members", async || {
        first.get("/cluster/config/nodes").await.data().as_array().unwrap().len() == 2
    })
    .await;
    assert_eq!(root(&sim, SECOND).await.get("/cluster/status").await.data()[0]["name"], "lab");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let sim = bare(dir.path()).await;
    let first = create(&sim).await;
    let again = first.post("/cluster/config", &[("clustername", "other")]).await;
    assert_eq!((again.status, again.reason.as_str()), (500, "cluster config '/etc/pve/corosync.conf' already exists"));
    let gone = first.delete("/cluster/config/nodes/pve9").await;
    assert_eq!(gone.reason, "Node/IP: pve9 is not a known host of the cluster.");
    sim.stop().await.unwrap();
}
