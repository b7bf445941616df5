//! What a machine sees of its network: what is around it, and nothing else.

use std::sync::Arc;

use super::outlook::{ClusterView, Member, Neighbour, Outlook};
use super::{Bridge, Machine, Nic, NodeSpec};

fn node() -> Machine {
    let mut machine = Machine::pve_node(NodeSpec {
        name: "pve1".to_owned(),
        fqdn: "pve1.home.arpa".to_owned(),
        address_cidr: "10.0.0.1/24".to_owned(),
        gateway: "10.0.0.254".to_owned(),
        interfaces: "auto lo\n".to_owned(),
        ..NodeSpec::default()
    });
    machine.outlook = Arc::new(around(&[("10.0.0.2", &[22]), ("10.0.0.254", &[53, 123]), ("10.9.0.20", &[2049])]));
    machine
}

fn around(neighbours: &[(&str, &[u16])]) -> Outlook {
    let neighbour = |ports: &[u16]| Neighbour {
        mac: "02:00:00:00:00:01".to_owned(),
        ports: ports.to_vec(),
        mtu: 1500,
        ..Neighbour::default()
    };
    Outlook {
        neighbours: neighbours.iter().map(|(at, ports)| ((*at).to_owned(), neighbour(ports))).collect(),
        names: [("pve2.home.arpa".to_owned(), "10.0.0.2".to_owned())].into(),
        pools: vec!["rpool".to_owned()],
        ..Outlook::default()
    }
}

#[track_caller]
fn run(machine: &mut Machine, script: &str, exit: i32) -> String {
    let result = machine.run("root", script, b"");
    let text = String::from_utf8_lossy(&[result.stdout, result.stderr].concat()).into_owned();
    assert_eq!(result.exit, exit, "{script}: {text}");
    text
}

#[test]
fn whoever_is_there_answers_and_nobody_else() {
    let mut machine = node();
    assert!(
        run(&mut machine, "ping -c3 -W1 10.0.0.2", 0).contains("3 packets transmitted, 3 received, 0% packet loss")
    );
    assert!(run(&mut machine, "ping -c1 10.0.0.3", 1).contains("Destination Host Unreachable"));
    assert!(run(&mut machine, "ping -c1 10.9.0.20", 0).contains("0% packet loss"), "behind the gateway");
    assert!(run(&mut machine, "ping -c1 10.9.0.21", 1).contains("100% packet loss"));
    run(&mut machine, "ping -c1 -M do -s 1472 10.0.0.2", 0);
    assert!(run(&mut machine, "ping -c1 -M do -s 1473 10.0.0.2", 1).contains("message too long"));
    assert!(run(&mut machine, "ping 10.0.0.2", 127).contains("not simulated"), "it would never end");
}

#[test]
fn an_address_that_somebody_has_is_told_from_a_free_one() {
    let mut machine = node();
    run(&mut machine, "arping -D -I vmbr0 -c2 -w3 10.0.0.2", 1);
    run(&mut machine, "arping -D -I vmbr0 -c2 -w3 10.0.0.3", 0);
    run(&mut machine, "arping -D -I vmbr0 -c2 10.9.0.20", 0);
    assert!(run(&mut machine, "arping -D -I vmbr9 10.0.0.3", 2).contains("not available"));
}

#[test]
fn names_are_known_while_the_name_server_answers() {
    let mut machine = node();
    assert!(run(&mut machine, "getent ahostsv4 pve2.home.arpa", 0).starts_with("10.0.0.2 "));
    assert!(run(&mut machine, "getent hosts pve2", 0).starts_with("10.0.0.2 "), "by the search domain");
    run(&mut machine, "getent hosts nosuch.home.arpa", 2);
    machine.outlook = Arc::new(around(&[("10.0.0.2", &[22])]));
    run(&mut machine, "getent hosts pve2.home.arpa", 2);
    assert!(run(&mut machine, "getent hosts pve1.home.arpa", 0).starts_with("10.0.0.1 "), "the file is still there");
}

#[test]
fn bash_connects_to_ports_that_are_open() {
    let mut machine = node();
    assert_eq!(run(&mut machine, "timeout 3 bash -c '</dev/tcp/10.9.0.20/2049' && echo open", 0), "open\n");
    assert!(run(&mut machine, "bash -c '</dev/tcp/10.9.0.20/22'", 2).contains("Connection refused"));
    assert!(run(&mut machine, "bash -c '</dev/tcp/10.0.0.9/22'", 2).contains("No route to host"));
    assert!(
        run(&mut machine, "sh -c '</dev/tcp/10.9.0.20/2049'", 2).contains("No such file"),
        "no shell but bash has it"
    );
}

#[test]
fn a_clock_follows_who_tells_the_time() {
    let mut machine = node();
    assert!(
        run(&mut machine, "chronyc -c tracking; timedatectl show -p NTPSynchronized --value", 0)
            .contains("Not synchronised\nno\n")
    );
    run(
        &mut machine,
        "echo 'server 10.0.0.254 iburst' > /etc/chrony/sources.d/own.sources && chronyc reload sources",
        0,
    );
    let told = run(&mut machine, "chronyc -c -n tracking", 0);
    let fields: Vec<&str> = told.trim().split(',').collect();
    assert_eq!((fields.len(), fields[1], fields[2], fields[13]), (14, "10.0.0.254", "3", "Normal"));
    assert!(run(&mut machine, "chronyc -c -n sources", 0).contains("^,*,10.0.0.254,"));
    run(&mut machine, "systemctl stop chrony", 0);
    assert!(run(&mut machine, "chronyc -c tracking", 1).contains("506 Cannot talk to daemon"));
}

#[test]
fn a_bridge_shows_the_vlans_that_pass_it() {
    let mut machine = node();
    let bridge = |vlan_aware| Nic {
        name: "vmbr0".to_owned(),
        addresses: vec!["10.0.0.1/24".to_owned()],
        mtu: 1500,
        bridge: Some(Bridge { ports: vec!["eno1".to_owned()], vlan_aware, vids: vec![(10, 10), (12, 13)] }),
        ..Nic::default()
    };
    let card = Nic { name: "eno1".to_owned(), mtu: 1500, ..Nic::default() };
    machine.set_links(vec![bridge(false), card.clone()], "10.0.0.254".to_owned());
    assert_eq!(run(&mut machine, "cat /sys/class/net/vmbr0/bridge/vlan_filtering", 0), "0\n");
    machine.set_links(vec![bridge(true), card], "10.0.0.254".to_owned());
    assert_eq!(run(&mut machine, "cat /sys/class/net/vmbr0/bridge/vlan_filtering", 0), "1\n");
    let told: serde_json::Value = serde_json::from_str(&run(&mut machine, "bridge -j vlan show", 0)).unwrap();
    let port = told.as_array().unwrap().iter().find(|one| one["ifname"] == "eno1").unwrap();
    assert_eq!(port["vlans"][1], serde_json::json!({ "vlan": 10 }));
    assert_eq!(port["vlans"][2], serde_json::json!({ "vlan": 12, "vlanEnd": 13 }));
}

#[test]
fn a_node_tells_of_its_cluster_as_it_sees_it() {
    let mut machine = node();
    assert!(run(&mut machine, "pvecm status", 2).contains("is this node part of a cluster?"));
    let member = |number: u32, is_heard| Member {
        number,
        address: format!("10.0.0.{number}"),
        votes: 1,
        is_heard,
        is_local: number == 1,
    };
    let cluster = ClusterView {
        name: "lab".to_owned(),
        version: 3,
        is_quorate: false,
        members: vec![member(1, true), member(2, false), member(3, false)],
    };
    machine.outlook = Arc::new(Outlook { cluster: Some(cluster), ..around(&[]) });
    let told = run(&mut machine, "pvecm status", 0);
    assert!(told.contains("Quorate:          No") && told.contains("Quorum:           2 Activity blocked"), "{told}");
    assert!(run(&mut machine, "corosync-cfgtool -s", 0).contains("nodeid:          2:\tdisconnected"));
    assert_eq!(run(&mut machine, "zpool status -x; vgs --noheadings -o vg_name", 0), "all pools are healthy\n");
}
