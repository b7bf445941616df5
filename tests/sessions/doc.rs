use super::project::Project;

#[test]
fn a_function_is_explained_and_a_typing_error_gets_a_suggestion() {
    insta::assert_snapshot!(Project::new().session(&["doc wait_until", "doc wait_untill"]));
}

#[test]
fn the_overview_has_a_line_for_each_function() {
    let overview = Project::new().session(&["doc"]);
    for name in ["step", "parallel", "ensure"] {
        assert!(overview.lines().any(|line| line.trim_start().starts_with(name)), "{name} is missing:\n{overview}");
    }
    assert!(overview.ends_with("homelab doc NAME says more about each.\n"), "{overview}");
}

#[test]
fn definitions_for_editors_name_no_types_of_the_program() {
    let definitions = Project::new().session(&["doc --definitions"]);
    assert!(definitions.contains("fn step(id: string, title: string, body: Fn) -> ?;"), "{definitions}");
    assert!(!definitions.contains("EvalAltResult"), "{definitions}");
}

#[test]
fn shells_get_their_completions() {
    let script = Project::new().session(&["completions bash"]);
    assert!(script.contains("complete -F _homelab"), "{script}");
}
