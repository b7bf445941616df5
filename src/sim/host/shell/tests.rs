//! The shell and the programs against the real ones: the same script, the same output, the same status.

use std::process::{Command, Stdio};

use crate::sim::host::machine::Machine;
use crate::sim::host::seed::{CloudInit, Hardware};

fn machine() -> Machine {
    Machine::guest(
        CloudInit { hostname: "sim".to_owned(), user: "ubuntu".to_owned(), ..CloudInit::default() },
        &Hardware::default(),
    )
}

/// What the real shell of the test machine makes of a script; `None` where that is not dash with GNU's programs.
fn real(script: &str, stdin: bool) -> Option<(String, i32)> {
    let dash = std::fs::canonicalize("/bin/sh").ok()?.ends_with("dash");
    if !dash || !std::path::Path::new("/usr/bin/dpkg").exists() {
        return None;
    }
    let dir = tempfile::tempdir().ok()?;
    let mut command = Command::new("/bin/sh");
    command.current_dir(dir.path()).env_clear().envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("HOME", "/home/x")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if !stdin {
        command.args(["-c", script]);
    }
    let mut child = command.spawn().ok()?;
    let mut input = child.stdin.take()?;
    if stdin {
        std::io::Write::write_all(&mut input, script.as_bytes()).ok()?;
    }
    drop(input);
    let output = child.wait_with_output().ok()?;
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code()?))
}

fn simulated(script: &str, stdin: bool) -> (String, i32) {
    let mut machine = machine();
    let result = match stdin {
        true => machine.run("ubuntu", "LC_ALL=C HOME=/home/x exec sh", script.as_bytes()),
        false => machine.run("ubuntu", &format!("export LC_ALL=C HOME=/home/x\n{script}"), b""),
    };
    (String::from_utf8_lossy(&result.stdout).into_owned(), result.exit)
}

/// Runs a table of scripts on both and names all that differ.
fn compare(table: &str) {
    let mut wrong = Vec::new();
    for script in table.split("\n---\n") {
        let Some(wanted) = real(script, false) else {
            println!("skipped: /bin/sh is not dash");
            return;
        };
        let got = simulated(script, false);
        if got != wanted {
            wrong.push(format!("{script}\n  real      {wanted:?}\n  simulated {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn the_language_is_that_of_dash() {
    compare(include_str!("tests/language.txt").trim_end());
}

#[test]
fn expansions_are_those_of_dash() {
    compare(include_str!("tests/expansion.txt").trim_end());
}

#[test]
fn text_programs_answer_like_gnu() {
    compare(include_str!("tests/text.txt").trim_end());
}

#[test]
fn file_programs_answer_like_gnu() {
    compare(include_str!("tests/files.txt").trim_end());
}

#[test]
fn a_script_on_standard_input_runs_line_by_line() {
    let script =
        "x=1\nwhile [ $x -lt 4 ]; do\n  echo $x\n  x=$((x+1))\ndone\ncat <<E\nbody $x\nE\nexit 3\necho never\n";
    assert_eq!(simulated(script, true), ("1\n2\n3\nbody 4\n".to_owned(), 3));
    if let Some(wanted) = real(script, true) {
        assert_eq!(simulated(script, true), wanted);
    }
}

#[test]
fn background_jobs_are_refused() {
    let result = machine().run("ubuntu", "sleep 1 & echo after", b"");
    assert_eq!((result.exit, result.stdout), (127, Vec::new()));
    assert_eq!(String::from_utf8_lossy(&result.stderr), "homelab sim: not simulated: background jobs (&)\n");
}

#[test]
fn an_unknown_command_is_told_from_one_that_is_not_simulated() {
    let result = machine().run("ubuntu", "frobnicate; kubectl get nodes", b"");
    assert_eq!(result.exit, 127);
    assert_eq!(
        String::from_utf8_lossy(&result.stderr),
        "sh: 1: frobnicate: not found\nhomelab sim: not simulated: kubectl\n"
    );
}

#[test]
fn endless_recursion_ends_in_an_error() {
    let result = machine().run("ubuntu", "f() { f; }; f", b"");
    assert_eq!(result.exit, 2);
    let result = machine().run("ubuntu", "echo 'sh ./a' > a; sh ./a", b"");
    assert_eq!(result.exit, 126);
}
