//! Joining a cluster, and not being let in.

use super::lab::{FIRST, FURTHER, Lab};
use crate::sim::kubernetes::Twist;
use crate::sim::kubernetes::cluster::Member;

fn one() -> Lab {
    let mut lab = Lab::of(&["cp-1", "cp-2", "cp-3", "gpu-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    lab
}

/// What a server says that tries to join with a configuration.
fn refused(lab: &mut Lab, name: &str, config: &str) -> String {
    lab.install(name, "server", config);
    lab.start(name, "k3s");
    assert_eq!(lab.state(name, "k3s"), "activating");
    assert!(lab.run(name, "systemctl show -p NRestarts --value k3s").1.trim() != "0");
    lab.journal(name, "k3s")
}

#[test]
fn a_wrong_token_is_refused_by_both_in_their_own_words() {
    let mut lab = one();
    let said = refused(&mut lab, "cp-2", &FURTHER.replace("t0ken", "wrong"));
    assert!(said.contains("preparing server: failed to validate token: https://10.20.11.31:6443/v1-k3s/server-bootstrap: 401 Unauthorized"), "{said}");
    let heard = lab.journal("cp-1", "k3s");
    assert!(heard.contains("invalid username/password combination"), "{heard}");
    let hash = "0".repeat(64);
    let said = refused(&mut lab, "cp-3", &FURTHER.replace("t0ken", &format!("K10{hash}::server:t0ken")));
    assert!(said.contains("token CA hash does not match the Cluster CA certificate hash: 000"), "{said}");
}

#[test]
fn the_start_of_a_unit_fails_where_the_program_ends() {
    let mut lab = one();
    lab.install("cp-2", "server", &FURTHER.replace("t0ken", "wrong"));
    let machine = std::sync::Arc::clone(&lab.host("cp-2").machine);
    let starting = std::thread::spawn(move || {
        let args = ["systemctl", "start", "k3s"].map(str::to_owned);
        crate::sim::host::run_shared(&machine, "root", &args, b"")
    });
    while !starting.is_finished() {
        lab.pass(20);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let result = starting.join().unwrap();
    assert_eq!(result.exit, 1);
    let text = String::from_utf8(result.stderr).unwrap();
    assert!(text.contains("Job for k3s.service failed because the control process exited"), "{text}");
}

#[test]
fn what_all_servers_must_be_told_alike_is_compared() {
    let mut lab = one();
    let said = refused(&mut lab, "cp-2", &FURTHER.replace("disable: [servicelb]", "disable: [traefik]"));
    assert!(said.contains("critical configuration mismatched: --disable=servicelb"), "{said}");
    assert!(said.contains("critical configuration value mismatch"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_waited_for_by_trying_again() {
    let mut lab = one();
    let said = refused(&mut lab, "cp-2", &FURTHER.replace(".31:", ".99:"));
    assert!(said.contains("dial tcp 10.20.11.99:6443: connect: no route to host"), "{said}");
    let said = refused(&mut lab, "cp-3", &FURTHER.replace(".31:", ".34:"));
    assert!(said.contains("connect: connection refused"), "{said}");
}

#[test]
fn one_learns_at_a_time() {
    let mut lab = one();
    for name in ["cp-2", "cp-3"] {
        lab.install(name, "server", FURTHER);
        lab.run(name, "systemctl start --no-block k3s");
    }
    lab.pass(5000);
    assert_eq!(lab.cluster().votes(), (3, 3));
    let both = lab.journal("cp-2", "k3s") + lab.journal("cp-3", "k3s").as_str();
    assert!(both.contains("too many learner members in cluster"), "{both}");
}

#[test]
fn a_predecessor_of_the_same_name_must_be_taken_out_first() {
    let mut lab = Lab::of(&["cp-1", "cp-2", "cp-3"]).with_twist(Twist::StaleMember);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    lab.install("cp-2", "server", FURTHER);
    lab.start("cp-2", "k3s");
    let said = refused(&mut lab, "cp-3", FURTHER);
    assert!(
        said.contains("etcd cluster join failed: duplicate node name found, please use a unique name for this node"),
        "{said}"
    );
    assert_eq!(lab.nodes("cp-1")[2], ("cp-3".into(), "Unknown".into()));
    let (status, text) = lab.ask("cp-1", "k3s kubectl delete node cp-3");
    assert_eq!((status, text.as_str()), (0, "node \"cp-3\" deleted\n"));
    lab.pass(8000);
    assert_eq!(lab.state("cp-3", "k3s"), "active", "{}", lab.journal("cp-3", "k3s"));
    assert_eq!(lab.nodes("cp-1")[2], ("cp-3".into(), "True".into()));
    assert!(lab.notices.is_empty(), "{:?}", lab.notices);
}

#[test]
fn a_token_that_was_changed_lets_nobody_join_with_the_earlier_one() {
    let mut lab = Lab::of(&["cp-1", "cp-2"]).with_twist(Twist::OtherToken);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    assert_eq!(lab.state("cp-1", "k3s"), "active");
    let said = refused(&mut lab, "cp-2", FURTHER);
    assert!(said.contains("401 Unauthorized"), "{said}");
}

#[test]
fn an_agent_joins_with_its_own_token_and_gives_itself_labels() {
    let mut lab = one();
    let config = "server: https://10.20.11.31:6443\ntoken: agents\nnode-label: [homelab/gpu=true]\nnode-taint: [nvidia.com/gpu=present:NoSchedule]\n";
    lab.install("gpu-1", "agent", config);
    lab.start("gpu-1", "k3s-agent");
    assert_eq!(lab.state("gpu-1", "k3s-agent"), "active", "{}", lab.journal("gpu-1", "k3s-agent"));
    let node = lab.get("cp-1", "/api/v1/nodes/gpu-1");
    assert_eq!(node["metadata"]["labels"]["homelab/gpu"], "true");
    assert_eq!(node["spec"]["taints"][0]["key"], "nvidia.com/gpu");
    assert_eq!(lab.cluster().votes(), (1, 1), "an agent does not vote");
    lab.install("cp-2", "agent", &config.replace("agents", "t0ken"));
    lab.start("cp-2", "k3s-agent");
    assert_eq!(lab.state("cp-2", "k3s-agent"), "activating");
    assert!(lab.journal("cp-2", "k3s-agent").contains("/v1-k3s/config: 401 Unauthorized"));
}

#[test]
fn an_agent_may_not_give_itself_a_role() {
    let mut lab = one();
    let config = "server: https://10.20.11.31:6443\ntoken: agents\nnode-label: [node-role.kubernetes.io/gpu=true]\n";
    lab.install("gpu-1", "agent", config);
    lab.start("gpu-1", "k3s-agent");
    assert!(lab.journal("gpu-1", "k3s-agent").contains("unknown 'kubernetes.io' or 'k8s.io' labels"));
}

#[test]
fn a_machine_that_was_made_anew_is_not_taken_for_the_one_before() {
    let mut lab = one();
    let config = "server: https://10.20.11.31:6443\ntoken: agents\n";
    lab.install("gpu-1", "agent", config);
    lab.start("gpu-1", "k3s-agent");
    lab.run("gpu-1", "systemctl stop k3s-agent; rm -f /etc/rancher/node/password");
    lab.start("gpu-1", "k3s-agent");
    assert_eq!(lab.state("gpu-1", "k3s-agent"), "activating");
    assert!(lab.journal("gpu-1", "k3s-agent").contains("Node password rejected, duplicate hostname"));
    assert_eq!(lab.api("cp-1", "DELETE", "/api/v1/nodes/gpu-1").status, 200);
    lab.pass(2000);
    assert_eq!(lab.state("gpu-1", "k3s-agent"), "active");
}

#[test]
fn a_node_that_is_deleted_is_no_member_any_more() {
    let mut lab = Lab::three();
    let member =
        |lab: &Lab| lab.cluster().members.iter().map(|member: &Member| member.node.clone()).collect::<Vec<_>>();
    lab.run("cp-3", "systemctl stop k3s");
    lab.pass(100);
    assert_eq!(lab.api("cp-1", "DELETE", "/api/v1/nodes/cp-3").status, 200);
    lab.pass(500);
    assert_eq!(member(&lab), ["cp-1", "cp-2"]);
    assert!(lab.notices.is_empty(), "{:?}", lab.notices);
    lab.start("cp-3", "k3s");
    lab.pass(5000);
    let said = lab.journal("cp-3", "k3s");
    assert!(said.contains("this server has been removed from the cluster"), "{said}");
    assert!(said.contains("tombstone file has been detected"), "{said}");
    assert_eq!(member(&lab), ["cp-1", "cp-2", "cp-3"], "it joins again, as its unit starts it again");
}
