//! What a node keeps for itself: options, name servers, hosts, bridges.

use super::{CONNECT, cluster};
use crate::error::Class;

#[test]
fn options_of_a_node_change_one_by_one() {
    let mut cluster = cluster();
    let set = |options: &str| format!(r#"{CONNECT} pve.node_options(#{{ node: "pve-01", {options} }});"#);
    assert_eq!(
        cluster.converges(&set(r#"startall_onboot_delay: 30, description: "first\n""#)),
        ["update proxmox:node_options:pve-01: description: – → \"first\", startall_onboot_delay: – → 30"]
    );
    assert_eq!(
        cluster.converges(&set(r#"description: """#)),
        ["update proxmox:node_options:pve-01: description: \"first\" → –"]
    );
}

#[test]
fn name_servers_are_said_all_together_and_the_search_domain_stays() {
    let mut cluster = cluster();
    let set = |servers: &str| format!(r#"{CONNECT} pve.dns(#{{ node: "pve-01", servers: [{servers}] }});"#);
    let done = cluster.converges(&set(r#""10.20.11.1", "9.9.9.9""#));
    assert_eq!(done, ["update proxmox:dns:pve-01: dns2: – → \"9.9.9.9\""]);
    let done = cluster.converges(&set(r#""9.9.9.9""#));
    assert_eq!(done, ["update proxmox:dns:pve-01: dns1: \"10.20.11.1\" → \"9.9.9.9\", dns2: \"9.9.9.9\" → –"]);
    let told = cluster.lab.run(&format!(r#"{CONNECT} pve.get("/nodes/pve-01/dns").search"#));
    assert_eq!(told.json(), "home.arpa");
    assert_eq!(cluster.lab.plan(&set(r#""1", "2", "3", "4""#)).error().class(), Class::Script);
}

#[test]
fn rows_are_put_into_the_hosts_of_a_node_and_all_others_stay() {
    let mut cluster = cluster();
    let before = cluster.lab.run(&format!(r#"{CONNECT} pve.get("/nodes/pve-01/hosts").data"#)).json();
    let rows = r#"pve.hosts(#{ node: "pve-01", rows: #{ "10.20.11.12": ["pve-02.home.arpa", "pve-02"] } });"#;
    assert_eq!(cluster.converges(&format!("{CONNECT} {rows}")).len(), 1);
    let after = cluster.lab.run(&format!(r#"{CONNECT} pve.get("/nodes/pve-01/hosts").data"#)).json();
    let expected = format!("{}\n10.20.11.12 pve-02.home.arpa pve-02\n", before.as_str().unwrap().trim_end());
    assert_eq!(after.as_str().unwrap(), expected);
    let renamed = rows.replace("\"pve-02\"]", "\"pve-02\", \"second\"]");
    assert_eq!(cluster.converges(&format!("{CONNECT} {renamed}")).len(), 1);
    let after = cluster.lab.run(&format!(r#"{CONNECT} pve.get("/nodes/pve-01/hosts").data"#)).json();
    assert_eq!(after.as_str().unwrap().matches("10.20.11.12").count(), 1, "{after}");
}

#[test]
fn a_node_keeps_its_own_name_and_names_lead_to_one_address() {
    let cluster = cluster();
    let told =
        |rows: &str| cluster.lab.plan(&format!(r#"{CONNECT} pve.hosts(#{{ node: "pve-01", rows: #{{ {rows} }} }})"#));
    let own = told(r#""10.20.11.11": ["elsewhere"]"#);
    assert_eq!(own.error().class(), Class::UnsafeDrift);
    assert_eq!(own.error().message(), "proxmox:hosts:pve-01: 10.20.11.11 is the node itself");
    let twice = told(r#""10.20.11.99": ["pve-01"]"#);
    assert_eq!(twice.error().class(), Class::Conflict);
    assert_eq!(twice.error().message(), "proxmox:hosts:pve-01: pve-01 is 10.20.11.11 already");
    assert_eq!(told(r#""pve-02": ["10.20.11.12"]"#).error().class(), Class::Script);
}

const BRIDGE: &str = r#"pve.bridge(#{ node: "pve-01", name: "vmbr0", vlan_aware: true, vids: [10, 11, 12, 13] });"#;

#[test]
fn a_bridge_is_staged_with_all_its_settings_and_applied_by_a_call_of_its_own() {
    let mut cluster = cluster();
    let read = format!(
        r#"{CONNECT} let b = pve.get("/nodes/pve-01/network/vmbr0"); [b.cidr, b.gateway, b.bridge_ports, b.autostart]"#
    );
    let before = cluster.lab.run(&read).json();
    let done = cluster.converges(&format!(r#"{CONNECT} {BRIDGE} pve.apply_network("pve-01");"#));
    assert_eq!(
        done,
        [
            "update proxmox:bridge:pve-01:vmbr0: vids: – → [\"10\",\"11\",\"12\",\"13\"], vlan_aware: – → true",
            "run proxmox:network-changes:pve-01: pending: true → –",
        ]
    );
    assert_eq!(cluster.lab.run(&read).json(), before, "it kept its address");
}

#[test]
fn a_staged_bridge_of_a_run_that_was_cut_off_is_gone_on_with() {
    let mut cluster = cluster();
    cluster.lab.run(&format!("{CONNECT} {BRIDGE}")).json();
    cluster.renew();
    let done = cluster.converges(&format!(r#"{CONNECT} {BRIDGE} pve.apply_network("pve-01");"#));
    assert_eq!(done, ["run proxmox:network-changes:pve-01: pending: true → –"]);
}

#[test]
fn network_changes_of_somebody_else_are_never_taken_along() {
    let mut cluster = cluster();
    cluster
        .lab
        .run(&format!(r#"{CONNECT} pve.post("/nodes/pve-01/network", #{{ iface: "vmbr7", type: "bridge" }})"#))
        .json();
    cluster.renew();
    let writes = cluster.writes().len();
    for script in [BRIDGE, r#"pve.apply_network("pve-01");"#] {
        for told in [cluster.lab.plan(&format!("{CONNECT} {script}")), cluster.lab.run(&format!("{CONNECT} {script}"))]
        {
            assert_eq!(told.error().class(), Class::Conflict);
            assert!(
                told.error().message().ends_with("network changes of somebody else wait on pve-01"),
                "{}",
                told.error()
            );
            assert!(told.error().causes().iter().any(|line| line.contains("iface vmbr7")), "{}", told.error());
        }
    }
    assert_eq!(cluster.writes().len(), writes);
}

#[test]
fn a_new_bridge_comes_up_with_its_node_and_goes_only_where_both_allow_it() {
    let mut cluster = cluster();
    let bridge = |more: &str| {
        format!(r#"{CONNECT} pve.bridge(#{{ node: "pve-01", name: "vmbr7"{more} }}); pve.apply_network("pve-01");"#)
    };
    let done = cluster.converges(&bridge(r#", address: "192.0.2.1/24", comment: "a lab of its own""#));
    assert_eq!(
        done[0],
        "create proxmox:bridge:pve-01:vmbr7: autostart: – → true, cidr: – → \"192.0.2.1/24\", \
         comment: – → \"a lab of its own\", type: – → \"bridge\""
    );
    let gone = bridge(", absent: true, allow_destroy: true");
    assert_eq!(cluster.lab.run(&gone).error().class(), Class::UnsafeDrift);
    cluster.lab.allow_destroy = vec!["proxmox:bridge:pve-01:vmbr7".into()];
    assert_eq!(cluster.converges(&gone).len(), 2);
}

#[test]
fn a_planned_bridge_is_not_taken_for_one_that_is_there() {
    let cluster = cluster();
    let told =
        cluster.lab.plan(&format!(r#"{CONNECT} {BRIDGE} pve.apply_network("pve-01"); pve.interfaces("pve-01")"#));
    assert_eq!(told.json(), "(known after apply: proxmox:bridge:pve-01:vmbr0.network:pve-01)");
}
