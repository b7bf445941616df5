//! Servers: starting, stopping, being without others.

use serde_json::json;

use super::lab::{FIRST, FURTHER, Lab, VERSION};
use crate::sim::kubernetes::api::{Body, Reply};
use crate::sim::kubernetes::tokens;

#[test]
fn one_server_comes_up_and_its_node_is_ready() {
    let mut lab = Lab::of(&["cp-1"]);
    lab.install("cp-1", "server", FIRST);
    assert_eq!(lab.state("cp-1", "k3s"), "inactive");
    let (status, _) = lab.run("cp-1", "systemctl enable --now --no-block k3s");
    assert_eq!((status, lab.state("cp-1", "k3s").as_str()), (0, "activating"));
    lab.pass(3000);
    assert_eq!(lab.state("cp-1", "k3s"), "active", "{}", lab.journal("cp-1", "k3s"));
    assert_eq!(lab.nodes("cp-1"), [("cp-1".into(), "True".into())]);
    let bundle = lab.cluster().server_ca.pem.clone();
    assert_eq!(lab.file("cp-1", "/var/lib/rancher/k3s/server/token"), tokens::full(&bundle, "server", "t0ken") + "\n");
    assert!(lab.file("cp-1", "/etc/rancher/k3s/k3s.yaml").contains("server: https://127.0.0.1:6443"));
    let (status, text) = lab.ask("cp-1", "k3s kubectl get --raw '/readyz?verbose'");
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("[+]etcd ok\n") && text.ends_with("readyz check passed\n"), "{text}");
    assert!(lab.run("cp-1", "lsmod").1.contains("br_netfilter"));
}

#[test]
fn the_version_is_that_of_the_file_and_another_file_is_no_program() {
    let lab = Lab::of(&["cp-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.run("cp-1", "ln -s k3s /usr/local/bin/kubectl");
    let (status, text) = lab.run("cp-1", "k3s --version");
    assert_eq!((status, text.starts_with(&format!("k3s version {VERSION} ("))), (0, true), "{text}");
    lab.run("cp-1", "printf '\\177ELF something else' > /usr/local/bin/k3s");
    let (status, text) = lab.run("cp-1", "systemctl start k3s");
    assert_ne!(status, 0, "{text}");
}

#[test]
fn three_servers_have_a_quorum_until_two_are_gone() {
    let mut lab = Lab::three();
    let ready = |name: &str| (name.to_owned(), "True".to_owned());
    assert_eq!(lab.nodes("cp-1"), [ready("cp-1"), ready("cp-2"), ready("cp-3")]);
    assert_eq!(lab.cluster().votes(), (3, 3));
    lab.power("cp-3", false);
    lab.pass(5000);
    assert_eq!(lab.nodes("cp-2")[2], ("cp-3".to_owned(), "Unknown".to_owned()));
    assert!(lab.notices.is_empty(), "{:?}", lab.notices);
    lab.power("cp-2", false);
    lab.pass(200);
    assert_eq!((lab.notices[0].what, lab.notices[0].members.as_str()), ("lost", "1 of 3 members"));
    let reply = lab.api("cp-1", "GET", "/readyz?verbose");
    assert_eq!(reply.status, 500);
    let Body::Text(text) = reply.body else { panic!("text") };
    assert!(text.contains("[-]etcd failed: reason withheld\n"), "{text}");
    assert_eq!(lab.api("cp-1", "GET", "/api/v1/nodes").status, 504);
    assert_eq!(lab.api("cp-1", "GET", "/ping").body, Body::Text("pong".into()));
    lab.pass(5000);
    assert!(lab.journal("cp-1", "k3s").contains("leaderelection lost"), "{}", lab.journal("cp-1", "k3s"));
    assert_eq!(lab.state("cp-1", "k3s"), "activating");
    lab.power("cp-2", true);
    lab.start("cp-2", "k3s");
    lab.pass(5000);
    assert_eq!(lab.state("cp-1", "k3s"), "active");
    assert_eq!(lab.notices.last().unwrap().what, "regained");
    assert_eq!(lab.nodes("cp-1")[1], ready("cp-2"));
}

#[test]
fn a_server_at_a_time_can_be_upgraded_without_losing_the_quorum() {
    let mut lab = Lab::three();
    for name in ["cp-1", "cp-2", "cp-3"] {
        lab.install_version(name, "server", if name == "cp-1" { FIRST } else { FURTHER }, "v1.37.0+k3s1");
        let (status, _) = lab.run(name, "systemctl restart --no-block k3s");
        assert_eq!(status, 0);
        lab.pass(3000);
        let node = lab.get("cp-1", &format!("/api/v1/nodes/{name}"));
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.37.0+k3s1");
    }
    assert!(lab.notices.is_empty(), "{:?}", lab.notices);
    assert!(lab.nodes("cp-1").iter().all(|(_, ready)| ready == "True"));
    for name in ["cp-1", "cp-2"] {
        lab.run(name, "systemctl restart --no-block k3s");
    }
    lab.pass(3000);
    let what: Vec<&str> = lab.notices.iter().map(|notice| notice.what).collect();
    assert_eq!(what, ["lost", "regained"], "two at once");
}

#[test]
fn all_of_it_goes_on_in_a_world_that_was_saved() {
    let mut lab = Lab::three();
    lab.reload();
    lab.pass(1000);
    assert_eq!(lab.state("cp-1", "k3s"), "active");
    assert!(lab.nodes("cp-1").iter().all(|(_, ready)| ready == "True"));
    for name in ["cp-1", "cp-2", "cp-3"] {
        lab.power(name, false);
    }
    lab.pass(100);
    for name in ["cp-1", "cp-2", "cp-3"] {
        lab.power(name, true);
    }
    // Nothing is enabled, so that nothing starts.
    lab.pass(3000);
    assert_eq!(lab.state("cp-1", "k3s"), "inactive");
    for name in ["cp-1", "cp-2", "cp-3"] {
        lab.start(name, "k3s");
    }
    lab.pass(3000);
    assert!(lab.nodes("cp-3").iter().all(|(_, ready)| ready == "True"), "a cold start");
}

#[test]
fn a_server_without_etcd_is_alone() {
    let mut lab = Lab::of(&["cp-1", "cp-2"]);
    lab.install("cp-1", "server", "token: t0ken\n");
    lab.start("cp-1", "k3s");
    let node = lab.get("cp-1", "/api/v1/nodes/cp-1");
    assert_eq!(node["metadata"]["labels"]["node-role.kubernetes.io/etcd"], json!(null));
    lab.install("cp-2", "server", "server: https://10.20.11.31:6443\ntoken: t0ken\n");
    lab.start("cp-2", "k3s");
    assert_eq!(lab.state("cp-2", "k3s"), "activating");
    assert!(lab.journal("cp-2", "k3s").contains("server-bootstrap: 400 Bad Request"));
}

#[test]
fn a_server_lets_nobody_in_but_says_who_it_is() {
    let mut lab = Lab::of(&["cp-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    let call = |path: &str| {
        crate::sim::kubernetes::api::Call::plain("GET", path, crate::sim::kubernetes::api::Caller::Nobody, 0)
    };
    let now = |lab: &mut Lab, path: &str| -> Reply { lab.kubernetes.answer("cp-1", &call(path)) };
    assert_eq!(now(&mut lab, "/ping").body, Body::Text("pong".into()));
    let bundle = lab.cluster().server_ca.pem.clone();
    assert_eq!(now(&mut lab, "/cacerts").body, Body::Text(bundle));
    for path in ["/readyz", "/version", "/api/v1/nodes"] {
        assert_eq!(now(&mut lab, path).status, 401, "{path}");
    }
}

#[test]
fn snapshots_are_saved_and_listed() {
    let mut lab = Lab::of(&["cp-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    let (status, text) = lab.ask("cp-1", "k3s etcd-snapshot save --name before-upgrade");
    assert_eq!(status, 0, "{text}");
    let (status, text) = lab.ask("cp-1", "k3s etcd-snapshot ls -o json");
    assert_eq!(status, 0, "{text}");
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let name = list["items"][0]["spec"]["snapshotName"].as_str().unwrap();
    assert!(name.starts_with("before-upgrade-cp-1-"), "{name}");
    lab.run("cp-1", "systemctl stop k3s");
    lab.pass(100);
    assert_eq!(lab.ask("cp-1", "k3s etcd-snapshot save").0, 1);
}
