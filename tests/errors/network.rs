//! Nodes and hosts that cannot be reached, and networks that do not fit.

use serde_json::json;

use super::{by_hand, cluster, homelab, in_homelab, phase3, replace, set};
use crate::project::Project;

/// Runs phase 3 with another address of the API.
fn at(url: &str) -> String {
    phase3(|project| set(project, "HOMELAB_PVE_URL", Some(url)), 1, "playbooks/phase3.rhai:16")
}

#[test]
fn a_name_of_a_node_that_does_not_resolve() {
    insta::assert_snapshot!(at("https://pve-1.home.arpa:8006"));
}

#[test]
fn an_address_of_a_node_where_nobody_is() {
    insta::assert_snapshot!(at("https://10.20.11.99:8006"));
}

#[test]
fn a_port_on_which_no_api_listens() {
    insta::assert_snapshot!(at("https://10.20.11.11:8007"));
}

/// Switches a node off.
fn off(node: &'static str) -> impl FnOnce(&Project) {
    move |project| cluster(project, |cluster| cluster["nodes"][node]["life"] = json!("off"))
}

#[test]
fn the_node_of_the_api_is_off() {
    insta::assert_snapshot!(phase3(off("pve-01"), 1, "playbooks/phase3.rhai:16"));
}

#[test]
fn another_node_is_off() {
    insta::assert_snapshot!(phase3(off("pve-02"), 4, "playbooks/phase3.rhai:16"));
}

/// Runs phase 3 with one text of `docs/` replaced.
fn with(file: &str, from: &str, to: &str, place: &str) -> String {
    phase3(|project| replace(project, file, from, to), 4, place)
}

#[test]
fn a_bridge_that_is_not_there() {
    let there = "| vm_bridge     | vmbr0 ";
    insta::assert_snapshot!(with("docs/NETWORK.md", there, &there.replace('0', "1"), "playbooks/phase3.rhai:16"));
}

#[test]
fn a_tag_that_does_not_fit_the_mode() {
    insta::assert_snapshot!(with(
        "docs/NETWORK.md",
        "| vm_vlan_tag   | – ",
        "| vm_vlan_tag   | 11 ",
        "docs/NETWORK.md"
    ));
}

#[test]
fn an_address_that_a_node_has() {
    insta::assert_snapshot!(with("docs/SOFTWARE.md", "10.20.11.33", "10.20.11.12", "is the address of pve-02"));
}

#[test]
fn an_address_that_two_machines_have() {
    insta::assert_snapshot!(with("docs/SOFTWARE.md", "10.20.11.33", "10.20.11.32", "docs/SOFTWARE.md, table vms"));
}

#[test]
fn an_address_that_others_may_be_given() {
    insta::assert_snapshot!(with("docs/SOFTWARE.md", "10.20.11.33", "10.20.11.133", "is in the DHCP range"));
}

#[test]
fn an_address_in_another_network() {
    insta::assert_snapshot!(with("docs/SOFTWARE.md", "10.20.11.33", "10.20.12.33", "is not in 10.20.11.0/24"));
}

#[test]
fn a_bridge_that_only_the_start_finds_missing() {
    let project = homelab();
    by_hand(&project, "pve.vm(#{ vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", clone: 9000 });");
    let playbook = "let pve = proxmox::connect();\nstep(\"1\", \"a card\", || pve.vm(#{\n    \
        vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", net0: #{ bridge: \"vmbr7\" }, started: true,\n}));\n";
    let told = in_homelab(&project, playbook, 1);
    let task = regex::Regex::new(r"UPID:pve-01:[0-9A-F:]+").expect("a pattern");
    insta::assert_snapshot!(task.replace_all(&told, "UPID:<task>:"));
}

/// Writes a file on a host.
fn on(host: &str) -> String {
    let playbook = format!(
        "let h = ssh::host(#{{ {host}, user: \"root\" }});\n\
        step(\"1\", \"a file\", || h.file(#{{ path: \"/tmp/x\", content: \"a\" }}));\n"
    );
    in_homelab(&homelab(), &playbook, 1)
}

#[test]
fn a_host_that_is_not_there() {
    insta::assert_snapshot!(on("address: \"10.20.11.250\""));
}

#[test]
fn a_host_that_lets_nobody_in() {
    insta::assert_snapshot!(on("name: \"udm\", address: \"10.20.11.1\""));
}

#[test]
fn a_name_of_a_host_that_does_not_resolve() {
    insta::assert_snapshot!(on("address: \"k3s-cp-01.home.arpa\""));
}

#[test]
fn an_address_with_a_prefix_length() {
    insta::assert_snapshot!(on("address: \"10.20.11.11/24\""));
}
