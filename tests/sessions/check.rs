use super::project::Project;

#[test]
fn every_mistake_is_shown_at_its_place_and_the_last_line_counts() {
    let project = Project::with(
        r#"phase("1", "First");
step("1.1", "says hello", || inf("hello"));
step("1.1", "says it again", || info("hello"));
"#,
    );
    insta::assert_snapshot!(project.session(&["check"]));
}

#[test]
fn a_sound_project_has_no_findings() {
    insta::assert_snapshot!(Project::new().session(&["check", "check playbooks/first.rhai --output json"]));
}

#[test]
fn a_warning_does_not_fail_the_check() {
    let project = Project::with(
        r#"let all = [];
for number in [1, 2] {
    all.push(|| number);
}
"#,
    );
    insta::assert_snapshot!(project.session(&["check"]));
}

#[test]
fn programs_get_all_findings_in_one_document() {
    let project = Project::with("step(\"1.1\", \"says hello\", || inf(\"hello\"));\n");
    insta::assert_snapshot!(project.session(&["check --output json"]));
}

#[test]
fn a_playbook_that_does_not_compile_hides_no_other() {
    let project = Project::new();
    project.write("playbooks/second.rhai", "let x = ;\n");
    insta::assert_snapshot!(project.session(&["check", "status"]));
}
