//! Clusters: made, joined, and what speaks against that.

use super::{Cluster, begin, seed};
use crate::error::Class;
use crate::sim::{Scenario, Seed};

/// Two fresh nodes, each alone.
fn bare() -> Cluster {
    let mut cluster = begin(Seed { scenario: Scenario::Bare, template: None, gpus: Vec::new(), ..seed() });
    let pins = ["pve-01", "pve-02"].map(|node| cluster.sim.fingerprint(node).unwrap());
    cluster.lab.variables.insert("HOMELAB_PVE_FINGERPRINT".into(), pins.join(","));
    cluster.renew();
    cluster
}

const NODES: &str = r#"
    let password = secret("HOMELAB_PVE_ROOT_PASSWORD");
    let first = proxmox::connect(#{ url: "https://10.20.11.11:8006", username: "root@pam", password: password });
    let second = proxmox::connect(#{ url: "https://10.20.11.12:8006", username: "root@pam", password: password });
"#;

const MAKE: &str = r#"first.cluster(#{ name: "homelab-cluster", link0: "10.20.11.11" });"#;
const JOIN: &str = r#"first.member(second, #{ node: "pve-02", link0: "10.20.11.12", password: password });"#;

#[test]
fn two_nodes_become_a_cluster_as_planned_and_then_it_is_left_alone() {
    let mut cluster = bare();
    let done = cluster.converges(&format!("{NODES} {MAKE} {JOIN}"));
    assert_eq!(
        done,
        [
            "create proxmox:cluster:homelab-cluster: name: – → \"homelab-cluster\"",
            "create proxmox:member:pve-02: link0: – → \"10.20.11.12\", online: – → true",
        ]
    );
    let told = cluster.lab.run(&format!(
        "{NODES} let seen = first.cluster_status(); [seen.name, seen.quorate, seen.nodes.len, first.members().map(|m| m.name)]"
    ));
    assert_eq!(told.json(), serde_json::json!(["homelab-cluster", true, 2, ["pve-01", "pve-02"]]));
}

#[test]
fn a_cluster_keeps_its_name_and_is_made_only_at_an_address_that_the_node_has() {
    let cluster = bare();
    let told = cluster.lab.plan(&format!("{NODES} {}", MAKE.replace("10.20.11.11", "10.20.11.99")));
    assert_eq!(told.error().class(), Class::Blocked);
    assert!(
        told.error().causes()[0].starts_with("pve-01 has not the address 10.20.11.99, but 10.20.11.11"),
        "{}",
        told.error()
    );
    cluster.lab.run(&format!("{NODES} {MAKE}")).json();
    let told = cluster.lab.plan(&format!("{NODES} {}", MAKE.replace("homelab-cluster", "other")));
    assert_eq!(told.error().class(), Class::Conflict);
    assert!(told.error().message().ends_with("the node is in the cluster homelab-cluster"), "{}", told.error());
    let told = cluster.lab.plan(&format!("{NODES} {}", MAKE.replace("homelab-cluster", "sixteen-letters-x")));
    assert_eq!(told.error().class(), Class::Script);
}

#[test]
fn what_speaks_against_a_join_is_found_before_anything_is_sent() {
    let cluster = bare();
    cluster.lab.run(&format!("{NODES} {MAKE}")).json();
    cluster.lab.run(&format!(r#"{NODES} second.post("/nodes/pve-02/qemu", #{{ vmid: 150 }})"#)).json();
    let told = cluster.lab.plan(&format!("{NODES} {}", JOIN.replace("10.20.11.12", "10.20.11.99")));
    assert_eq!(told.error().class(), Class::Blocked);
    assert_eq!(told.error().message(), "proxmox:member:pve-02: cannot join");
    assert_eq!(told.error().causes().len(), 2, "{}", told.error());
    assert!(told.error().causes()[0].starts_with("pve-02 has 1 guests"), "{}", told.error());
    assert!(told.error().causes()[1].starts_with("pve-02 has not the address"), "{}", told.error());
}

#[test]
fn a_join_that_the_node_gives_up_is_told_in_its_words() {
    let cluster = bare();
    cluster.lab.run(&format!("{NODES} {MAKE}")).json();
    let wrong = JOIN.replace("password: password", "password: \"not the password\"");
    let told = cluster.lab.run(&format!("{NODES} {wrong}"));
    assert_eq!(told.error().message(), "proxmox:member:pve-02: the join has failed");
    assert!(told.error().to_string().contains("401 authentication failure"), "{}", told.error());
    assert!(!told.shown().contains("not the password"), "the password shows");
}

#[test]
fn no_token_makes_a_cluster() {
    let cluster = super::cluster();
    let script = r#"let pve = proxmox::connect(); pve.cluster(#{ name: "lab", link0: "10.20.11.11" })"#;
    // It is in one.
    assert_eq!(cluster.lab.plan(script).error().class(), Class::Conflict);
}
