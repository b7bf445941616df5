use std::io::Write;
use std::process::{Command as Process, Stdio};

use super::super::target::{Environment, Options};
use super::*;

fn target() -> Target {
    let options = Options { name: "vm".to_string(), user: Some("ubuntu".to_string()), ..Options::default() };
    Target::resolve(&options, &Environment::default()).expect("resolves")
}

/// Runs the rendered command line as the login shell of a host would.
fn run(command: Command) -> String {
    let (line, stdin) = command.render(&target()).expect("a sound command");
    let mut shell =
        Process::new("sh").arg("-c").arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
    shell.stdin.take().expect("piped above").write_all(&stdin).expect("sh reads");
    let output = shell.wait_with_output().expect("sh ends");
    format!("{}exit {}", String::from_utf8_lossy(&output.stdout), output.status.code().unwrap_or(-1))
}

#[test]
fn a_script_runs_in_the_c_locale_with_its_own_exit_code() {
    assert_eq!(run(Command::script("echo \"it's $LC_ALL\"; exit 3")), "it's C\nexit 3");
}

#[test]
fn arguments_arrive_as_they_were_given() {
    assert_eq!(run(Command::argv(["printf", "%s|", "a b", "$HOME", "it's", ""])), "a b|$HOME|it's||exit 0");
}

#[test]
fn a_folder_that_cannot_be_entered_stops_the_command() {
    assert_eq!(run(Command::script("pwd").cwd(Some("/".to_string()))), "/\nexit 0");
    assert_eq!(run(Command::script("echo ran").cwd(Some("/no such folder".to_string()))), "exit 126");
}

#[test]
fn the_environment_and_standard_input_both_arrive() {
    let command =
        Command::script("printf '%s\\n' \"$TOKEN\"\ncat").env("TOKEN", "it's\ntwo lines\n\\n $x").stdin("in\nput");
    assert_eq!(run(command), "it's\ntwo lines\n\\n $x\nin\nputexit 0");
}

#[test]
fn neither_the_environment_nor_a_hidden_script_stands_in_the_process_list() {
    let with_env = Command::script("true").env("TOKEN", "s3cret").render(&target()).expect("sound");
    let hidden = Command::script("echo s3cret").hidden();
    assert!(!format!("{hidden:?} {}", hidden.label()).contains("s3cret"));
    assert_eq!(run(hidden.clone()), "s3cret\nexit 0");
    for (line, _) in [with_env, hidden.render(&target()).expect("sound")] {
        assert!(!line.contains("s3cret"), "{line}");
    }
}

#[test]
fn what_must_not_show_is_kept_out_of_the_process_list_and_does_the_same() {
    let secret = |text: &str| text.contains("s3cret");
    for command in [Command::script("echo s3cret"), Command::script("pwd").cwd(Some("/tmp/../tmp/./s3cret/..".into()))]
    {
        let (line, _) = command.hidden_where(secret).render(&target()).expect("sound");
        assert!(!line.contains("s3cret"), "{line}");
    }
    let shown = Command::script("echo hello").hidden_where(secret);
    assert!(shown.clone().render(&target()).expect("sound").0.contains("hello"), "all else is sent as it is");
    assert_eq!(run(Command::script("echo s3cret").hidden_where(secret)), "s3cret\nexit 0");
}

#[test]
fn a_script_too_long_for_an_argument_still_runs() {
    let script = format!(": '{}'\necho \"$(cat) there\"; exit 4", "x".repeat(200_000));
    assert_eq!(run(Command::script(script).stdin("still")), "still there\nexit 4");
}

#[test]
fn sudo_is_used_only_to_become_somebody_else() {
    let line = |who| Command::script("id").become_(who).render(&target()).expect("sound").0;
    assert_eq!(line(Some(Become::root())), "LC_ALL=C exec sudo -n -u root -- sh -c 'export LC_ALL=C\nid'");
    assert_eq!(line(Some(Become::user("ubuntu"))), line(None));
}

#[test]
fn what_no_shell_can_take_is_refused() {
    let message = |command: Command| command.render(&target()).expect_err("refused").message().to_string();
    assert_eq!(
        message(Command::script("a\0b").called("x")),
        "vm:22: a NUL byte stands in the text, folder or environment of `x`"
    );
    assert_eq!(
        message(Command::script("x").env("A B", "")),
        "vm:22: `A B` cannot be a variable in the environment of `x`"
    );
}

#[test]
fn errors_call_a_script_by_its_first_line() {
    assert_eq!(Command::script("\n  zpool status\n").label(), "zpool status");
    assert_eq!(Command::script("set -e\nfoo").label(), "set -e …");
    assert_eq!(Command::script("é".repeat(80)).label(), format!("{}…", "é".repeat(60)));
}
