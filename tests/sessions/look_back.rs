//! `status`, `history` and `show`.

use serde_json::Value;

use super::project::Project;

const PLAYBOOK: &str = r#"phase("1", "First");
step("1.1", "is done", || 42);
for name in ["a", "b"] {
    step(`1.2.${name}`, `${name} is done`, || info(name));
}
step("1.3", "breaks", || fail("the disk is full"));
step("1.4", "comes after", || ());
"#;

#[test]
fn before_the_first_run_there_is_a_plan_and_no_past() {
    let project = Project::with(PLAYBOOK);
    insta::assert_snapshot!(project.session(&["status", "history", "show"]));
    assert!(!project.root().join(".homelab").exists(), "looking leaves no trace");
}

#[test]
fn after_a_run_each_step_shows_what_became_of_it_and_the_run_can_be_told_again() {
    let project = Project::with(PLAYBOOK);
    project.session(&["run --sim playbooks/first.rhai"]);
    insta::assert_snapshot!(project.session(&["status --sim", "history", "show", "show 7"]));
}

#[test]
fn the_real_homelab_is_not_mixed_up_with_the_simulated_one() {
    let project = Project::with("step(\"1\", \"is done\", || 1);\n");
    project.session(&["run --sim playbooks/first.rhai"]);
    assert!(project.session(&["status"]).contains("never"), "nothing was done for real");
    assert!(project.session(&["status --sim"]).contains("1/1 green"));
}

#[test]
fn programs_get_documents() {
    let project = Project::with(PLAYBOOK);
    project.session(&["run --sim playbooks/first.rhai"]);
    let document = |arguments: &[&str]| -> Value {
        let output = project.homelab(arguments).output().expect("the program starts");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let status = document(&["status", "--sim", "--output", "json"]);
    assert_eq!(status["phases"][0]["steps"][0]["outcome"], "ok");
    let history = document(&["history", "--output", "json"]);
    assert_eq!(history[0]["result"], "failed");
    let story = document(&["show", "--output", "json"]);
    assert_eq!(story["steps"].as_array().map(Vec::len), Some(4));
}
