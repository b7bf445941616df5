//! Several playbooks in one run: in the plan's order, with one dry run over all, one story and one summary.

use super::project::Project;

/// Three phases, of which each rests on the one before.
fn three_phases() -> Project {
    let project = Project::with("step(\"0.1\", \"is not meant\", || fail(\"it is not\"));");
    std::fs::remove_file(project.root().join("playbooks/first.rhai")).expect("it was there");
    let phase = |id: &str, reads: &str, writes: &str| {
        format!(
            r#"
            phase("{id}", "Phase {id}");
            let before = local::read("{reads}") ?? "nothing";
            step("{id}.1", "writes {writes}", || local::file(#{{ path: "{writes}", content: `after ${{before}}` }}));
            step("{id}.2", "says what was there", || info(`${{before}} was there`));
            "#
        )
    };
    project.write("playbooks/phase10.rhai", &phase("10", "b", "c"));
    project.write("playbooks/phase3_5.rhai", &phase("3.5", "a", "b"));
    project.write("playbooks/phase3.rhai", &phase("3", "none", "a"));
    project
}

#[test]
fn a_folder_is_one_plan_and_one_run_in_the_plans_order() {
    let project = three_phases();
    insta::assert_snapshot!(project.session(&[
        "check playbooks",
        "plan playbooks",
        "run playbooks",
        "run playbooks",
        "history",
    ]));
    assert_eq!(project.read("c"), "after after after nothing");
}

#[test]
fn playbooks_that_are_named_out_of_order_are_carried_out_in_order() {
    let project = three_phases();
    let told = project.ends("run playbooks/phase10.rhai playbooks/phase3.rhai playbooks/phase3_5.rhai", 0);
    let order: Vec<&str> = told.lines().filter(|line| line.starts_with("Phase ")).collect();
    assert_eq!(order, ["Phase 3: Phase 3", "Phase 3.5: Phase 3.5", "Phase 10: Phase 10"], "{told}");
    assert_eq!(project.read("c"), "after after after nothing");
}

#[test]
fn a_selection_counts_over_all_of_them() {
    let project = three_phases();
    let told = project.ends("run --step 3.5.* --step 10.2 playbooks", 0);
    assert!(told.contains("3.5.1") && told.contains("10.2") && !project.root().join("c").exists(), "{told}");
    let from = project.ends("run --from 3.5.2 playbooks", 0);
    assert!(from.contains("10.1") && project.root().join("c").exists() && !project.root().join("a").exists(), "{from}");
    let none = project.ends("run --step 4.* playbooks", 64);
    assert!(none.contains("no step is selected by 4.*"), "{none}");
}

#[test]
fn what_fails_ends_them_all_and_is_taken_up_where_it_was() {
    let project = three_phases();
    let fails =
        "phase(\"3.5\", \"x\"); step(\"3.5.1\", \"fails\", || if !local::exists(\"fixed\") { fail(\"not yet\") });";
    project.write("playbooks/phase3_5.rhai", fails);
    let told = project.ends("run playbooks", 1);
    assert!(told.contains("not yet") && !told.contains("10.1"), "{told}");
    project.write("fixed", "");
    let resumed = project.ends("run --resume playbooks", 0);
    assert!(resumed.contains("skipped   3.1") && resumed.contains("10.1"), "{resumed}");
}
