//! K3s on the machines of the tables: brought up, left alone, made newer, and what happens where something is in the way.

use super::project::Project;

const PHASES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";

/// Runs a command of the program over both phases.
fn over(project: &Project, command: &str, code: i32) -> String {
    project.ends(&format!("{command} {PHASES}"), code)
}

/// The homelab with two servers and an agent.
fn with_two_servers() -> Project {
    let project = Project::homelab_itself();
    let tables = project.read("docs/SOFTWARE.md");
    let row = tables.lines().find(|line| line.starts_with("| (k3s-cp-01)")).expect("the row of k3s-cp-01");
    project.write("docs/SOFTWARE.md", &tables.replace(&format!("{row}\n"), ""));
    let network =
        project.read("docs/NETWORK.md").replace("| api_address | (10.20.11.31)", "| api_address | (10.20.11.32)");
    project.write("docs/NETWORK.md", &network);
    project
}

#[test]
fn s15_two_servers_are_refused_before_anything_is_made() {
    let project = with_two_servers();
    insta::assert_snapshot!(project.session(&["run --sim --sim-answer-manual playbooks/phase3_5.rhai"]));
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn s15_two_servers_that_somebody_accepts_are_a_warning_at_every_run() {
    let project = with_two_servers();
    let tables = project.read("docs/SOFTWARE.md");
    let accepted = tables.replace("| accept_no_fault_tolerance | no  ", "| accept_no_fault_tolerance | yes ");
    assert_ne!(accepted, tables);
    project.write("docs/SOFTWARE.md", &accepted);
    for _ in 0..2 {
        let told = over(&project, "plan --sim --step 3.5.0.quorum", 0);
        assert!(told.contains("2 servers: a majority is 2, so 0 may fail"), "{told}");
        assert!(told.contains("accepted in docs/SOFTWARE.md, accept_no_fault_tolerance"), "{told}");
    }
}
