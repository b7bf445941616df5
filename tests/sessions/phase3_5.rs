//! K3s on the machines of the tables: brought up, left alone, made newer, and what happens where something is in the way.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::project::Project;

const PHASES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";
/// Up to the first server.
const FIRST_SERVER: &str = "--step 3.[1-3]* --step 3.5.0* --step 3.5.3.checksum --step 3.5.3.k3s-cp-01";
const SERVERS: [&str; 3] = ["k3s-cp-01", "k3s-cp-02", "k3s-cp-03"];

/// Runs a command of the program over both phases.
fn over(project: &Project, command: &str, code: i32) -> String {
    project.ends(&format!("{command} {PHASES}"), code)
}

/// A homelab whose machines are a cluster.
fn with_a_cluster() -> Project {
    let project = Project::homelab_itself();
    over(&project, "run --sim --sim-answer-manual -q", 0);
    project
}

/// A playbook of one step, which is run.
fn once(project: &Project, script: &str, options: &str, code: i32) -> String {
    let head = "import \"std/k3s\" as k3s;\nlet pve = proxmox::connect();\nlet all = k3s::machines(pve);\nlet k = kubernetes::connect();\n";
    project.write("playbooks/once.rhai", &format!("{head}step(\"9\", \"once\", || {{\n{script}\n}});\n"));
    project.ends(&format!("run --sim --sim-answer-manual {options} playbooks/once.rhai"), code)
}

/// Edits a file of the project, which must change by that.
fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let text = project.read(file);
    let edited = text.replace(from, to);
    assert_ne!(text, edited, "{from} stands in {file}");
    project.write(file, &edited);
}

#[test]
fn from_machines_to_a_cluster_as_planned_and_then_all_is_quiet() {
    let project = Project::homelab_itself();
    let planned = over(&project, "plan --sim --detailed-exitcode", 2);
    assert!(planned.contains("3.5.4.6.snapshot") && !planned.contains("deferred"), "{planned}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a plan changes nothing");
    let ran = over(&project, "run --sim --sim-answer-manual", 0);
    let score = ran.lines().find(|line| line.starts_with("plan fidelity: ")).expect("it is scored");
    let (met, sure) =
        score["plan fidelity: sure ".len()..].split(',').next().and_then(|part| part.split_once('/')).expect("a score");
    assert_eq!(met, sure, "{ran}");
    assert!(!ran.contains("missed: "), "{ran}");
    let again = over(&project, "run --sim --sim-answer-manual", 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");
    let kubeconfig = project.root().join(".homelab/sim/kubeconfig");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kubeconfig).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// The homelab with two servers and an agent.
fn with_two_servers() -> Project {
    let project = Project::homelab_itself();
    let tables = project.read("docs/SOFTWARE.md");
    let row = tables.lines().find(|line| line.starts_with("| (k3s-cp-01)")).expect("the row of k3s-cp-01");
    edit(&project, "docs/SOFTWARE.md", &format!("{row}\n"), "");
    edit(&project, "docs/NETWORK.md", "| api_address | (10.20.11.31)", "| api_address | (10.20.11.32)");
    project
}

#[test]
fn s15_two_servers_are_refused_before_anything_is_made() {
    let project = with_two_servers();
    let told = project.ends("run --sim --sim-answer-manual playbooks/phase3_5.rhai", 4);
    insta::assert_snapshot!(sentence(&told), @"2 servers: a majority is 2, so 0 may fail; agents do not vote. Losing one of them stops the API. In docs/SOFTWARE.md, either add a server to table vms (3 are asked for), make an agent one, or keep a single one; or set accept_no_fault_tolerance to yes");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn s15_two_servers_that_somebody_accepts_are_a_warning_at_every_run() {
    let project = with_two_servers();
    edit(&project, "docs/SOFTWARE.md", "| accept_no_fault_tolerance | no  ", "| accept_no_fault_tolerance | yes ");
    for _ in 0..2 {
        let told = over(&project, "plan --sim", 0);
        assert!(told.contains("2 servers: a majority is 2, so 0 may fail"), "{told}");
        assert!(told.contains("accepted in docs/SOFTWARE.md, accept_no_fault_tolerance"), "{told}");
    }
}

/// The sentence of the error that ended a run.
fn sentence(told: &str) -> String {
    let lines = told.lines().skip_while(|line| !line.trim_start().starts_with('×'));
    let lines =
        lines.take_while(|line| !line.contains("╭─")).map(|line| line.trim_start().trim_start_matches(['×', '│', ' ']));
    lines.collect::<Vec<_>>().join(" ")
}

/// Runs both phases in a scenario that ends with an error, and gives its sentence.
fn ends_with(project: &Project, scenario: &str, code: i32) -> String {
    sentence(&over(project, &format!("run --sim --sim-scenario {scenario} --sim-answer-manual -q"), code))
}

#[test]
fn s16_a_server_with_another_token_does_not_join_and_its_journal_says_why() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(ends_with(&project, "s16-token", 1), @"k3s-cp-02: K3s does not come up: the servers do not accept the token: HOMELAB_K3S_TOKEN or HOMELAB_K3S_AGENT_TOKEN is another one than they were started with. Its journal says: starting kubernetes: preparing server: failed to validate token: https://10.20.11.31:6443/v1-k3s/server-bootstrap: 401 Unauthorized");
}

#[test]
fn s16_a_member_whose_token_was_changed_is_left_as_it_is() {
    let project = Project::homelab_itself();
    over(&project, &format!("run --sim --sim-answer-manual -q {FIRST_SERVER}"), 0);
    let envrc = project.read(".homelab/sim/envrc");
    let line = envrc.lines().find(|line| line.contains("HOMELAB_K3S_TOKEN=")).expect("the token");
    edit(&project, ".homelab/sim/envrc", line, "export HOMELAB_K3S_TOKEN='another-token-that-nobody-has-given-out'");
    let told = project.ends("run --sim --step 3.5.3.k3s-cp-01 playbooks/phase3_5.rhai", 4);
    assert!(told.contains("k3s-cp-01 is a member by another token than HOMELAB_K3S_TOKEN"), "{told}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn s16_a_server_made_anew_does_not_join_while_its_old_member_is_there() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(ends_with(&project, "s16-member", 1), @"k3s-cp-03: K3s does not come up: etcd still has a member of this name: delete its Node object first (`k3s kubectl delete node NAME` on another server), which takes the member away, then run again. Its journal says: etcd cluster join failed: duplicate node name found, please use a unique name for this node");
    let node = "k.delete(#{ path: \"/api/v1/nodes/k3s-cp-03\", allow_destroy: true });";
    once(&project, node, "--step 9", 4);
    let k = "k3s::api(k3s::servers(all)[0])";
    once(
        &project,
        &node.replace("k.delete", &format!("{k}.delete")),
        "--allow-destroy kubernetes:/api/v1/nodes/k3s-cp-03",
        0,
    );
    over(&project, "run --sim --sim-answer-manual -q", 0);
}

#[test]
fn s17_certificates_that_end_soon_are_renewed_and_a_stale_kubeconfig_is_fetched_anew() {
    let project = Project::homelab_itself();
    let told = over(&project, "run --sim --sim-scenario s17 --sim-answer-manual -q", 4);
    assert!(told.contains("the kubeconfig ends in 14 days"), "{told}");
    let file = ".homelab/sim/kubeconfig";
    let stale = project.read(file);
    let told = project.ends("run --sim --sim-answer-manual playbooks/phase3_5.rhai", 0);
    for name in SERVERS {
        assert!(told.contains(&format!("updated {name}:k3s:certificates")), "{told}");
    }
    assert!(told.contains(&format!("updated local:file:{file}")), "{told}");
    assert_ne!(project.read(file), stale);
    let again = project.ends("run --sim --sim-answer-manual playbooks/phase3_5.rhai", 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
}

#[test]
fn a_new_version_comes_to_one_server_after_the_other_and_to_agents_last() {
    let project = with_a_cluster();
    edit(&project, "docs/SOFTWARE.md", "(v1.36.4+k3s1)", "(v1.36.5+k3s1)");
    let planned = over(&project, "plan --sim --detailed-exitcode", 2);
    for name in ["k3s-cp-01", "k3s-cp-02", "k3s-cp-03", "k3s-gpu-01"] {
        let newer = format!("would update {name}:k3s\n          version: v1.36.4+k3s1 → v1.36.5+k3s1");
        assert!(planned.contains(&newer), "{planned}");
    }
    let ran = over(&project, "run --sim --sim-answer-manual", 0);
    assert!(!ran.contains("missed: "), "{ran}");
    let is_upgrade = |line: &str, name: &str| line.split_whitespace().take(2).eq(["updated", &format!("{name}:k3s")]);
    let at = |name: &str| {
        ran.lines().position(|line| is_upgrade(line, name)).unwrap_or_else(|| panic!("{name} is made newer:\n{ran}"))
    };
    assert!(
        at("k3s-cp-01") < at("k3s-cp-02") && at("k3s-cp-02") < at("k3s-cp-03") && at("k3s-cp-03") < at("k3s-gpu-01")
    );
    let again = over(&project, "run --sim --sim-answer-manual", 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
}

#[test]
fn s23_a_node_that_goes_away_is_named_and_one_that_comes_back_is_taken_up_where_it_was() {
    let project = Project::homelab_itself();
    over(&project, &format!("run --sim --sim-answer-manual -q {FIRST_SERVER} --step 3.5.3.k3s-cp-02"), 0);
    let node = |command: &str| format!("pve.post(\"/nodes/pve-02/status\", #{{ command: \"{command}\" }});");
    // It takes a moment to go, and another to be back.
    let is = |status: &str| {
        format!(
            "wait_until(#{{ what: \"pve-02 is {status}\", every: \"200ms\" }}, \
             || pve.nodes().find(|node| node.node == \"pve-02\").status == \"{status}\");"
        )
    };
    once(&project, &format!("{}{}{}", node("reboot"), is("offline"), is("online")), "", 0);
    let told = over(&project, "run --sim --sim-answer-manual", 0);
    assert!(told.contains("changed   3.5.3.k3s-cp-03"), "{told}");
    assert!(!told.contains("changed   3.5.3.k3s-cp-02"), "what was done before stays done: {told}");
    once(&project, &node("shutdown"), "", 0);
    let told = project.ends("run --sim --sim-answer-manual playbooks/phase3_5.rhai", 1);
    assert!(told.contains("/nodes/pve-02/") && told.contains("No route to host"), "{told}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing is changed for it");
}

#[test]
fn an_upgrade_that_is_killed_is_taken_up_by_the_next_run() {
    let project = with_a_cluster();
    edit(&project, "docs/SOFTWARE.md", "(v1.36.4+k3s1)", "(v1.36.5+k3s1)");
    let arguments = ["run", "--sim", "--sim-answer-manual", "--output", "json", "playbooks/phase3_5.rhai"];
    let mut run = project.homelab(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    let out = BufReader::new(run.stdout.take().expect("piped"));
    // The second server is being restarted then.
    let began = out
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("change-started") && line.contains("\"k3s-cp-02:k3s\""));
    assert!(began, "the second server is made newer");
    run.kill().expect("it is killed");
    run.wait().expect("it is gone");
    let told = project.ends("run --sim --sim-answer-manual playbooks/phase3_5.rhai", 0);
    assert!(told.contains("ok        3.5.3.k3s-cp-01") && told.contains("updated k3s-cp-03:k3s"), "{told}");
    assert!(!project.ends("sim log", 0).contains("quorum"), "a majority was there all the time");
    let again = project.ends("run --sim --sim-answer-manual playbooks/phase3_5.rhai", 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    let open = "if k.nodes().some(|node| node.unschedulable) { fail(\"a node is closed\"); }";
    once(&project, open, "", 0);
}

#[test]
fn a_server_is_taken_out_with_its_member_and_its_machine_and_can_come_again() {
    let project = with_a_cluster();
    let script = "let servers = k3s::servers(all); k3s::remove(pve, servers[2], servers);";
    let refused = once(&project, script, "", 1);
    assert!(refused.contains("kubernetes:/api/v1/nodes/k3s-cp-03"), "{refused}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing was drained or stopped");
    let named = "--allow-destroy kubernetes:/api/v1/nodes/k3s-cp-03 --allow-destroy proxmox:vm:113";
    let told = once(&project, script, named, 0);
    assert!(
        told.contains("deleted kubernetes:/api/v1/nodes/k3s-cp-03") && told.contains("deleted proxmox:vm:113"),
        "{told}"
    );
    over(&project, "run --sim --sim-answer-manual -q", 0);
}
