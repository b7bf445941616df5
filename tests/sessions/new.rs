use super::project::Project;

#[test]
fn a_new_project_runs_and_is_never_overwritten() {
    let project = Project::new();
    insta::assert_snapshot!(project.session(&["run --sim playbooks/first.rhai", "new ."]));
}

#[test]
fn what_must_not_be_shared_is_kept_out_of_git() {
    let ignored = Project::new().read(".gitignore");
    assert!(ignored.contains("/.envrc\n") && ignored.contains("/.homelab\n"), "{ignored}");
}
