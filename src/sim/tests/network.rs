//! The gateway, HTTP itself, the log and the faults.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lab::{Client, start, wait};
use crate::sim::{Scenario, Sim, Wanted, attach, read_log};

/// Dials through the gateway and gives all that comes back.
pub(super) async fn dial(sim: &Sim, target: &str) -> String {
    dial_through(sim.gateway(), target).await
}

async fn dial_through(gateway: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_tells_nobody_there_from_nobody_listening() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    assert!(dial(&sim, "10.20.11.99:22").await.starts_with("HTTP/1.1 502 no route to host\r\n"));
    assert!(dial(&sim, "10.20.11.11:25").await.starts_with("HTTP/1.1 502 connection refused\r\n"));
    assert!(dial(&sim, "10.20.11.1:22").await.starts_with("HTTP/1.1 502 connection refused\r\n"));
    assert!(dial(&sim, "10.20.11.12:22").await.ends_with("\r\n\r\npve2\n"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_dialled_by_its_address_once_it_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let api = Client::token(&sim);
    let task = api.post("/nodes/pve1/qemu/9000/clone", &[("newid", "101"), ("name", "web"), ("full", "1")]).await;
    api.ended(&task).await;
    let network = [("ipconfig0", "ip=10.20.11.31/24,gw=10.20.11.1"), ("ide2", "local-zfs:cloudinit")];
    api.put("/nodes/pve1/qemu/101/config", &network).await.data();
    assert!(dial(&sim, "10.20.11.31:22").await.contains("no route to host"));
    let task = api.post("/nodes/pve1/qemu/101/status/start", &[]).await;
    api.ended(&task).await;
    assert!(dial(&sim, "10.20.11.31:22").await.contains("connection refused"));
    wait("the guest's SSH", async || dial(&sim, "10.20.11.31:22").await.ends_with("web\n")).await;
    let task = api.post("/nodes/pve1/qemu/101/status/stop", &[]).await;
    api.ended(&task).await;
    assert!(dial(&sim, "10.20.11.31:22").await.contains("no route to host"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_what_is_not_simulated_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    let unknown = root.get("/nosuch").await;
    assert_eq!((unknown.status, unknown.reason.as_str()), (501, "Method 'GET /nosuch' not implemented"));
    let known = root.get("/cluster/ceph/status").await;
    assert_eq!((known.status, known.reason.as_str()), (501, "not simulated: GET /cluster/ceph/status"));
    let verb = root.send(Method::PATCH, "/version", &[]).await.unwrap();
    assert_eq!((verb.status, verb.reason.as_str()), (501, "method 'PATCH' not available"));
    let nobody = Client::nobody(&sim, "10.20.11.11").get("/version").await;
    assert_eq!((nobody.status, nobody.reason.as_str()), (401, "No ticket"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_the_others_of_its_cluster_but_not_for_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let root = Client::root(&sim, "10.20.11.13").await;
    assert_eq!(root.get("/nodes/pve1/qemu/9000/config").await.data()["template"], 1);
    let missing = root.get("/nodes/pve9/status").await;
    assert!(missing.reason.starts_with("hostname lookup 'pve9' failed"), "{}", missing.reason);
    sim.stop().await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Bare, None).await;
    let root = Client::root(&sim, "10.20.11.13").await;
    assert_eq!(root.get("/nodes/pve1/status").await.status, 596);
    assert_eq!(root.get("/cluster/status").await.data()[0]["nodeid"], 0);
    assert_eq!(root.get("/cluster/config/join").await.status, 424);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_what_would_change_and_hides_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    root.get("/version").await.data();
    assert!(read_log(dir.path(), true, Wanted::Mutating).unwrap().is_empty());
    root.put("/nodes/pve1/qemu/9000/config", &[("cores", "4")]).await.data();
    let changes = read_log(dir.path(), true, Wanted::Mutating).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].params["cores"], "4");
    let text = std::fs::read_to_string(dir.path().join("requests.jsonl")).unwrap();
    assert!(!text.contains(&sim.credentials()["HOMELAB_PVE_ROOT_PASSWORD"]));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_and_its_secrets_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    sim.stop().await.unwrap();
    for name in ["world.json", "envrc", "id_ed25519", "requests.jsonl", "tls/pve1/node.key", "tls/pve1/ca.key"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_credentials_is_what_callers_get_even_when_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), Scenario::Plan, None).await.stop().await.unwrap();
    let file = dir.path().join("envrc");
    let edited = std::fs::read_to_string(&file)
        .unwrap()
        .replace("export HOMELAB_PVE_TOKEN_SECRET='", "&x")
        .replace("&x", "export HOMELAB_PVE_TOKEN_SECRET='0");
    std::fs::write(&file, edited).unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    assert_eq!(Client::token(&sim).get("/version").await.reason, "Authentication failed!");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_hit_some_requests_and_spare_others() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, Some("seed=7,rate=0.5")).await;
    let api = Client::token(&sim);
    let (mut fine, mut refused) = (0, 0);
    for _ in 0..40 {
        match api.send(Method::PUT, "/nodes/pve1/qemu/9000/config", &[("cores", "4")]).await {
            Ok(reply) if reply.status == 200 => fine += 1,
            Ok(_) | Err(_) => refused += 1,
        }
    }
    assert!(fine > 5 && refused > 5, "{fine} fine, {refused} refused");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_ssh_servers_go_wrong_too() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, Some("seed=7,rate=0.5")).await;
    let api = Client::token(&sim);
    let (mut fine, mut refused) = (0, 0);
    for _ in 0..40 {
        // Chance is drawn anew after a change, whatever became of that.
        let _change = api.send(Method::PUT, "/nodes/pve1/qemu/9000/config", &[("cores", "4")]).await;
        let answer = dial(&sim, "10.20.11.12:22").await;
        match answer.contains("502 connection refused") {
            true => refused += 1,
            false => fine += usize::from(answer.ends_with("pve2\n")),
        }
    }
    assert!(fine > 5 && refused > 0, "{fine} fine, {refused} refused");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let mut stream = TcpStream::connect(sim.gateway()).await.unwrap();
    stream.write_all(&[b'x'; 8192]).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 405");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_gets_a_gateway_of_its_own_for_as_long_as_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let attached = attach(dir.path(), "other", None).await.unwrap().expect("it is served");
    let gateway = attached.gateway();
    assert!(dial_through(gateway, "10.20.11.12:22").await.ends_with("pve2\n"));
    assert!(dial(&sim, "10.20.11.13:22").await.ends_with("pve3\n"));
    let last = read_log(dir.path(), true, Wanted::Requests).unwrap();
    let asked = last.iter().map(|entry| (entry.session.as_str(), entry.target.as_str())).collect::<Vec<_>>();
    assert_eq!(asked, [("other", "pve2")]);

    drop(attached);
    wait("the gateway goes with its client", async || TcpStream::connect(gateway).await.is_err()).await;
    sim.stop().await.unwrap();
    assert!(attach(dir.path(), "later", None).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faults_of_a_session_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let attached = attach(dir.path(), "other", Some("seed=1,rate=1")).await.unwrap().expect("it is served");
    let mut there = Vec::new();
    for _ in 0..8 {
        there.push(dial_through(attached.gateway(), "10.20.11.12:22").await.ends_with("pve2\n"));
        assert!(dial(&sim, "10.20.11.12:22").await.ends_with("pve2\n"));
    }
    assert!(there.contains(&false), "something goes wrong every time, and some of it shows: {there:?}");
    let wrong = attach(dir.path(), "third", Some("seed=x")).await.unwrap_err();
    assert!(wrong.causes()[0].contains("seed"), "{wrong}");
    sim.stop().await.unwrap();
}
