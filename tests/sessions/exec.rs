//! Commands by hand.

use super::project::Project;

/// What was printed, its lines sorted: hosts answer in any order.
fn sorted(told: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = told.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_command_runs_on_every_host_of_a_pattern_and_each_line_names_its_host() {
    let project = Project::homelab_itself();
    let output = project.homelab(&["exec", "--sim", "pve-*", "--", "hostname; echo; echo complaint >&2"]).output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        sorted(&String::from_utf8_lossy(&output.stdout)),
        [
            "pve-01:",
            "pve-01: complaint",
            "pve-01: pve-01",
            "pve-02:",
            "pve-02: complaint",
            "pve-02: pve-02",
            "pve-03:",
            "pve-03: complaint",
            "pve-03: pve-03"
        ]
    );
    assert!(project.ends("history", 0).contains("exec, simulated"));
}

#[test]
fn words_are_no_text_for_the_shell() {
    let project = Project::homelab_itself();
    let output = project.homelab(&["exec", "--sim", "pve-01", "--", "echo", "$HOME; a  b"]).output();
    assert_eq!(String::from_utf8_lossy(&output.expect("the program starts").stdout), "pve-01: $HOME; a  b\n");
}

#[test]
fn a_host_that_fails_does_not_stop_the_others() {
    let project = Project::homelab_itself();
    let output = project.homelab(&["exec", "--sim", "pve-01,k3s-gpu-01", "--", "hostname"]).output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "pve-01: pve-01\n");
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    k3s-gpu-01 (10.20.11.41:22): no connection
      no route to host
      help: see that the machine is up, and that its address and port are right
    ");
}

#[test]
fn hosts_that_there_are_not_are_told_before_anything_is_done() {
    let project = Project::homelab_itself();
    insta::assert_snapshot!(project.session(&["exec --sim db-* -- hostname", "facts --sim pve-*"]), @r"
    $ homelab exec --sim db-* -- hostname
    usage

      × db-*: fits no host of the tables
      help: the tables are `hosts` in docs/NETWORK.md and `vms` in
            docs/SOFTWARE.md
    [exit 64]
    $ homelab facts --sim pve-*
    usage

      × pve-*: one host is meant
    [exit 64]
    ");
    assert_eq!(project.ends("sim log", 0), "");
}

#[test]
fn facts_are_json() {
    let project = Project::homelab_itself();
    let output = project.homelab(&["facts", "--sim", "pve-02"]).output().expect("the program starts");
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&facts["hostname"], &facts["os"]["id"]), (&"pve-02".into(), &"debian".into()));
}

#[test]
fn a_secret_of_the_environment_does_not_show() {
    let project = Project::homelab_itself();
    let mut exec = project.homelab(&["exec", "--sim", "pve-01", "--", "echo the word is correct-horse-battery"]);
    let output = exec.env("HOMELAB_GRAFANA_ADMIN_PASSWORD", "correct-horse-battery").output().expect("it starts");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(!told.contains("correct-horse"), "{told}");
    assert!(told.contains("the word is"), "{told}");
}
