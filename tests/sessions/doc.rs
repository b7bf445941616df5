use super::project::Project;

#[test]
fn a_function_is_explained_and_a_typing_error_gets_a_suggestion() {
    insta::assert_snapshot!(Project::new().session(&["doc wait_until", "doc wait_untill"]), @r#"
    $ homelab doc wait_until
    wait_until(options: map, closure: closure) -> any value

    Calls a closure until it answers something else than `false` or `()`, and gives that back.

        wait_until(#{ what: "the sun is up", timeout: "5s", every: "1s" }, || true);

    Options
      what     text, required      What is waited for, in words: `"k3s-cp-01 answers"`.
      timeout  time, default "5m"  How long at the most. Default: 5 minutes.
      every    time, default "2s"  The pause between two looks. Default: 2 seconds.
    $ homelab doc wait_untill
    usage

      × wait_untill: nothing of that name can be called
      help: did you mean `wait_until`? `homelab doc` lists everything
    [exit 64]
    "#);
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
