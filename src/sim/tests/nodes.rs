//! What lies on a node alone: its network, names and options, which are the same over the API and on its disk.

use serde_json::{Value, json};

use super::lab::{Client, start_with_machines};
use super::storage::{refused, wrong};
use crate::sim::Sim;

/// Runs a program on a node, and gives what it prints.
fn run(sim: &Sim, node: &str, command: &str) -> String {
    let machine = sim.frame.world().clusters[0].machines.node(node).unwrap();
    let ended = machine.agent_exec(&["sh", "-c", command].map(str::to_string));
    assert_eq!(ended.exit, 0, "{command}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

/// One interface of a node as the API tells it.
async fn interface(root: &Client, name: &str) -> Value {
    root.get(&format!("/nodes/pve1/network/{name}")).await.data().clone()
}

const NETWORK: &str = "/nodes/pve1/network";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bridge_waits_in_a_file_of_its_own_until_it_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    let before = run(&sim, "pve1", "cat /etc/network/interfaces");
    let bridge = [("iface", "vmbr1"), ("type", "bridge"), ("cidr", "198.51.100.1/24"), ("autostart", "1")];
    root.post(NETWORK, &bridge).await.data();
    assert_eq!(run(&sim, "pve1", "cat /etc/network/interfaces"), before);
    let pending = run(&sim, "pve1", "cat /etc/network/interfaces.new");
    assert!(pending.contains("\nauto vmbr1\niface vmbr1 inet static\n\taddress 198.51.100.1/24\n"), "{pending}");
    let listed = root.get(NETWORK).await;
    assert!(listed.body["changes"].as_str().unwrap().contains("\n+auto vmbr1\n"));
    assert_eq!(interface(&root, "vmbr1").await.get("active"), None);
    // Nothing can be plugged into it yet.
    let made = root.post("/nodes/pve1/qemu", &[("vmid", "300"), ("net0", "virtio,bridge=vmbr1")]).await;
    assert_eq!(root.ended(&made).await, "OK");
    let start = async || root.ended(&root.post("/nodes/pve1/qemu/300/status/start", &[]).await).await;
    assert_eq!(start().await, "bridge 'vmbr1' does not exist");
    assert_eq!(root.ended(&root.put(NETWORK, &[]).await).await, "OK");
    assert_eq!(run(&sim, "pve1", "cat /etc/network/interfaces"), pending);
    assert!(run(&sim, "pve1", "ip -4 -br addr show vmbr1").contains("198.51.100.1/24"));
    assert_eq!(interface(&root, "vmbr1").await["active"], 1);
    assert_eq!(root.get(NETWORK).await.body.get("changes"), None);
    assert_eq!(start().await, "OK");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_forgotten_on_demand_and_applied_by_a_boot() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    let bridge = [("iface", "vmbr1"), ("type", "bridge"), ("autostart", "1")];
    root.post(NETWORK, &bridge).await.data();
    root.delete(NETWORK).await.data();
    assert_eq!(wrong(&root.get("/nodes/pve1/network/vmbr1").await, "iface"), "interface does not exist");
    root.post(NETWORK, &bridge).await.data();
    {
        let mut world = sim.frame.world();
        let now = crate::sim::chance::now();
        assert!(world.power("pve1", false, now) && world.power("pve1", true, now));
    }
    // Its connections went with it.
    let root = Client::root(&sim, "10.20.11.11").await;
    assert_eq!(interface(&root, "vmbr1").await["active"], 1);
    assert!(run(&sim, "pve1", "ls /etc/network").lines().all(|name| name != "interfaces.new"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_tells_what_somebody_wrote_into_the_files_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    run(
        &sim,
        "pve1",
        "printf '\\niface vmbr7 inet manual\\n\\tbridge_ports none\\n\\tmtu 9000\\n#mine\\n' >> /etc/network/interfaces",
    );
    let vmbr7 = interface(&root, "vmbr7").await;
    assert_eq!(
        (&vmbr7["mtu"], &vmbr7["comments"], &vmbr7["bridge_ports"]),
        (&json!("9000"), &json!("mine\n"), &json!(""))
    );
    run(&sim, "pve1", "echo nameserver 192.0.2.7 > /etc/resolv.conf");
    assert_eq!(root.get("/nodes/pve1/dns").await.data(), &json!({ "dns1": "192.0.2.7" }));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_api_writes_are_those_of_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    root.put("/nodes/pve1/dns", &[("search", "example.test"), ("dns1", "192.0.2.53")]).await.data();
    assert_eq!(run(&sim, "pve1", "cat /etc/resolv.conf"), "search example.test\nnameserver 192.0.2.53\n");
    let hosts = root.get("/nodes/pve1/hosts").await;
    let text = format!("{}192.0.2.9 nas\n", hosts.data()["data"].as_str().unwrap());
    let digest = hosts.data()["digest"].as_str().unwrap();
    root.post("/nodes/pve1/hosts", &[("data", &text), ("digest", digest)]).await.data();
    assert_eq!(run(&sim, "pve1", "cat /etc/hosts"), text);
    let late = root.post("/nodes/pve1/hosts", &[("data", "x"), ("digest", digest)]).await;
    assert_eq!(refused(&late), "detected modified configuration - file changed by other user? Try again.");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_the_certificate_that_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    let rows = root.get("/nodes/pve2/certificates/info").await;
    let own = &rows.data()[1];
    assert_eq!(own["filename"], "pve-ssl.pem");
    assert_eq!(own["fingerprint"], sim.fingerprint("pve2").unwrap());
    assert_eq!(own["san"][3], "10.20.11.12");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_at_the_address_that_its_network_gives_it() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.12").await;
    let bridge = [("type", "bridge"), ("cidr", "10.20.11.91/24"), ("bridge_ports", "eno1"), ("autostart", "1")];
    root.put("/nodes/pve1/network/vmbr0", &bridge).await.data();
    assert_eq!(root.ended(&root.put(NETWORK, &[]).await).await, "OK");
    let dial = async |target: &str| super::network::dial(&sim, target).await;
    assert!(dial("10.20.11.11:25").await.contains("no route to host"));
    assert!(dial("10.20.11.91:25").await.contains("connection refused"));
    sim.stop().await.unwrap();
}
