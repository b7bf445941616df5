//! Applications: folders with a playbook of their own.

use super::project::Project;

/// A project with an application that leaves a note, which the plan's own playbook leaves too.
fn with_an_application() -> Project {
    let project = Project::with(
        r#"
        import "apps/notes/app" as notes;
        step("1", "there is a note", || notes::deploy("of the plan"));
        "#,
    );
    std::fs::create_dir_all(project.root().join("playbooks/apps/notes")).expect("a folder");
    project.write(
        "playbooks/apps/notes/app.rhai",
        r#"
        fn deploy(whose) { local::file(#{ path: "note", content: template("playbooks/apps/notes/note.j2", #{ whose: whose }) }) }
        "#,
    );
    project.write("playbooks/apps/notes/note.j2", "a note {{ whose }}\n");
    project.write(
        "playbooks/apps/notes/playbook.rhai",
        r#"
        import "app" as notes;
        step("1", "there is a note", || notes::deploy("by itself"));
        "#,
    );
    project
}

#[test]
fn the_folder_of_an_application_deploys_it_alone() {
    let project = with_an_application();
    let ran = project.ends("run playbooks/apps/notes", 0);
    assert!(ran.contains("1 step: 1 changed"), "{ran}");
    assert_eq!(project.read("note"), "a note by itself\n");
    let again = project.ends("run playbooks/apps/notes/", 0);
    assert!(again.contains("0 changes"), "{again}");
}

#[test]
fn the_plan_deploys_applications_where_its_own_playbooks_do() {
    let project = with_an_application();
    let ran = project.ends("run playbooks", 0);
    assert!(ran.contains("1 step: 1 changed"), "{ran}");
    assert_eq!(project.read("note"), "a note of the plan\n");
    assert!(!project.ends("status", 0).contains("by itself"));
}

#[test]
fn a_mistake_in_an_application_is_found_with_all_others() {
    let project = with_an_application();
    project.write("playbooks/apps/notes/playbook.rhai", "step(\"1\", \"there is a note\", || note::deploy(1));");
    let told = project.ends("check", 1);
    assert!(told.contains("playbooks/apps/notes/playbook.rhai:1:") && told.contains("2 playbooks: 1 error"), "{told}");
}
