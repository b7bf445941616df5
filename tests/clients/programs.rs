//! The other programs: whether they are there, and how they are run.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// How long a program may take, in seconds, on a machine that has much else to do.
const PATIENCE: &str = "180";

/// Whether a program is there. Where it is not, says which package has it; with `CI` set that is a failure.
pub fn is_there(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        passed_over(&format!("no {program}: apt-get install {package}"));
    }
    found
}

/// Says why a test is passed over; with `CI` set that is a failure.
pub fn passed_over(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

/// A program that is ended when it takes too long.
pub fn patient(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(program).stdin(Stdio::null());
    command
}

/// Runs a program with this input.
pub fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (mut stdin, input) = (child.stdin.take().expect("piped"), input.to_vec());
    // A program that ends early does not read all of it.
    let feeding = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().expect("it ends");
    feeding.join().expect("it does not panic");
    output
}

/// What a program printed, on both streams, and its exit status.
pub fn told(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// What a program printed that was to succeed.
pub fn success(output: &Output) -> String {
    let (out, err, code) = told(output);
    assert_eq!(code, Some(0), "{out}{err}");
    out
}
