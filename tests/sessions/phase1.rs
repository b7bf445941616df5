//! From fresh nodes to the foundation: planned as it comes, and left alone afterwards.

use super::project::Project;

const BOTH: &str = "playbooks/phase0.rhai playbooks/phase1.rhai";

/// The numbers of `sure N/N` in what a run tells.
fn sure(told: &str) -> (u32, u32) {
    let score = told.split("plan fidelity: sure ").nth(1).unwrap_or_else(|| panic!("no score in {told}"));
    let (done, rest) = score.split_once('/').unwrap();
    (done.parse().unwrap(), rest.split(',').next().unwrap().parse().unwrap())
}

#[test]
fn fresh_nodes_become_the_foundation_as_planned_and_then_nothing_is_changed() {
    let project = Project::homelab_itself();
    // What a person has to do is open in a plan.
    let planned = project.ends(&format!("plan --sim --sim-scenario bare {BOTH}"), 4);
    for word in ["  blocked ", "  failed "] {
        assert!(!planned.contains(word), "{planned}");
    }
    assert!(planned.contains("1.6.5"), "{planned}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");

    let told = project.ends(&format!("run --sim --sim-answer-manual {BOTH}"), 0);
    let (done, foretold) = sure(&told);
    assert!(done == foretold && done > 0, "{told}");

    let again = project.ends(&format!("run --sim --sim-answer-manual {BOTH}"), 0);
    assert!(again.contains("\n0 changes"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}
