//! Against a real OpenSSH server: what runs over a connection, and what happens when it breaks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::sshd::{Home, Sshd};
use super::{Become, Command, Connection, Exit, Pool, Stream, Target, Upload};
use crate::clients::dial::Dialler;
use crate::error::Class;
use crate::run::capability::Writer;

/// A server, a home that is let in there, and a pool.
pub(super) struct Bench {
    pub server: Sshd,
    pub target: Target,
    pub pool: Pool,
    pub writer: Writer,
    home: Home,
}

impl Bench {
    /// `None` where there is no sshd.
    pub fn new(settings: &str) -> Option<Self> {
        let home = Home::new();
        let key = home.key("key", "ed25519", "");
        let server = Sshd::start_with(&[&key], settings)?;
        home.trust(&server);
        let target = home.target(&server, Some(&key));
        Some(Bench { server, target, pool: Pool::new(Dialler::Direct), writer: Writer::for_client_tests(), home })
    }

    pub async fn connect(&self) -> Connection {
        self.pool.connect(&self.target).await.unwrap_or_else(|error| panic!("{error}\n{}", self.server.log()))
    }

    /// Puts a program of ours in the place of the host's sudo.
    pub fn install_sudo(&self, script: &str) {
        let path = self.server.path("sudo");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
}

/// A setting under which programs in the server's folder are found first.
pub(super) const OWN_PROGRAMS: &str = "SetEnv PATH={folder}:/usr/bin:/bin\n";

#[tokio::test]
async fn output_complaints_and_exit_code_arrive() {
    let Some(bench) = Bench::new("") else { return };
    let output = bench.connect().await.probe("echo out; echo err >&2; exit 3", None).await.expect("it ran");
    assert_eq!(
        (output.exit.clone(), output.stdout_text(), output.stderr_text()),
        (Exit::Code(3), "out\n".into(), "err\n".into())
    );
    assert!(!output.success());
}

#[tokio::test]
async fn death_by_signal_is_told() {
    let Some(bench) = Bench::new("") else { return };
    let output = bench.connect().await.probe("kill -KILL $$", None).await.expect("it ran");
    assert_eq!(output.exit, Exit::Signal("KILL".to_string()));
}

#[tokio::test]
async fn output_is_told_as_it_comes() {
    let Some(bench) = Bench::new("") else { return };
    let mut seen = Vec::new();
    let mut tell = |stream: Stream, data: &[u8]| seen.push((stream, String::from_utf8_lossy(data).into_owned()));
    let command = Command::script("echo one; read line; echo $line >&2").stdin("two\n");
    bench.connect().await.exec(command, Some(&mut tell), &bench.writer).await.expect("it ran");
    seen.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(seen, [(Stream::Stdout, "one\n".to_string()), (Stream::Stderr, "two\n".to_string())]);
}

#[tokio::test]
async fn fifty_commands_at_once_all_succeed_though_the_server_allows_ten() {
    let Some(bench) = Bench::new("") else { return };
    assert_that_many_succeed(&bench).await;
}

#[tokio::test]
async fn fifty_commands_at_once_all_succeed_though_the_server_allows_two() {
    let Some(bench) = Bench::new("MaxSessions 2\n") else { return };
    assert_that_many_succeed(&bench).await;
}

async fn assert_that_many_succeed(bench: &Bench) {
    let connection = bench.connect().await;
    let commands = (0..50).map(|n| {
        let connection = connection.clone();
        async move { connection.probe(&format!("sleep 0.02; echo {n}"), None).await.map(|output| output.stdout) }
    });
    let outputs = futures::future::join_all(commands).await;
    for (n, output) in outputs.into_iter().enumerate() {
        assert_eq!(output.expect("it ran"), format!("{n}\n").into_bytes());
    }
    assert_eq!(bench.server.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn a_server_that_starts_no_commands_is_told_as_such() {
    let Some(bench) = Bench::new("MaxSessions 0\n") else { return };
    let error = bench.connect().await.probe("true", None).await.expect_err("refused");
    assert_eq!(error.class(), Class::Permission);
    assert!(error.message().ends_with("the server does not start `true`"), "{error}");
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_leaves_the_outcome_unknown_and_the_pool_makes_a_new_one() {
    let Some(bench) = Bench::new("") else { return };
    let connection = bench.connect().await;
    // The parent of a command is the server's process for this connection.
    let cut = Command::script("kill -KILL $PPID; sleep 20").called("the cut");
    let error = connection.exec(cut, None, &bench.writer).await.expect_err("the connection is cut");
    assert_eq!(error.class(), Class::Unreachable);
    assert!(
        error.message().ends_with("the connection was lost while running `the cut`; its outcome is unknown"),
        "{error}"
    );

    let error = connection.probe("true", None).await.expect_err("this connection is gone");
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.message().ends_with("the connection was lost before `true` was started"), "{error}");
    assert!(!connection.is_alive());
    assert!(bench.connect().await.probe("true", None).await.expect("a new connection").success());
}

#[tokio::test]
async fn twenty_megabytes_go_there_and_back_unharmed() {
    let Some(bench) = Bench::new("") else { return };
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let bytes: Vec<u8> = noise.take(20 * 1024 * 1024).collect();
    let want = Sha256::digest(&bytes);
    let connection = bench.connect().await;
    let output =
        connection.exec(Command::script("cat").stdin(bytes.clone()), None, &bench.writer).await.expect("it ran");
    assert_eq!(Sha256::digest(&output.stdout), want);
    let there = connection.exec(Command::script("sha256sum").stdin(bytes), None, &bench.writer).await.expect("it ran");
    let hex: String = want.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(there.stdout_text(), format!("{hex}  -\n"));
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_still_ends() {
    let Some(bench) = Bench::new("") else { return };
    let command = Command::script("exit 5").stdin(vec![0; 8 * 1024 * 1024]);
    let output = bench.connect().await.exec(command, None, &bench.writer).await.expect("it ran");
    assert_eq!(output.exit, Exit::Code(5));
}

#[tokio::test]
async fn output_without_end_is_stopped() {
    let Some(bench) = Bench::new("") else { return };
    let connection = bench.connect().await;
    let error = connection.probe("cat /dev/zero", None).await.expect_err("too much");
    assert!(error.message().ends_with("`cat /dev/zero` printed more than 64 MiB and was stopped"), "{error}");
    assert!(connection.probe("true", None).await.expect("the connection goes on").success());
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_given_up_and_the_connection_goes_on() {
    let Some(bench) = Bench::new("") else { return };
    let connection = bench.connect().await;
    let command = Command::script("sleep 5").called("the wait").timeout(Some(Duration::from_millis(300)));
    let error = connection.exec(command, None, &bench.writer).await.expect_err("time runs out");
    assert_eq!(error.class(), Class::Timeout);
    assert!(error.message().ends_with("`the wait` did not end within 0.3s"), "{error}");
    assert_eq!(error.causes(), ["it may still be running there; how far it came is unknown"]);
    assert!(connection.probe("true", None).await.expect("the connection goes on").success());
}

#[tokio::test]
async fn callers_who_give_up_do_not_use_up_the_places() {
    let Some(bench) = Bench::new("") else { return };
    let connection = bench.connect().await;
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.probe("sleep 1", None).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    callers.iter().for_each(|caller| caller.abort());
    assert!(connection.probe("true", None).await.expect("there is a place").success());
    assert_that_many_succeed(&bench).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let Some(mut bench) = Bench::new("") else { return };
    bench.home.configure(
        "Host *
ServerAliveInterval 1
",
    );
    bench.target = bench.home.target(&bench.server, Some(&bench.home.path("key")));
    // The server's process for this connection is frozen, and ended later on.
    let freeze = "server=$PPID; (sleep 15; kill -KILL $server) >/dev/null 2>&1 & kill -STOP $server; sleep 20";
    let error = bench.connect().await.probe(freeze, None).await.expect_err("no sign of life");
    assert_eq!(error.class(), Class::Unreachable);
    assert_eq!(error.causes(), ["the server gave no sign of life any more"]);
}

#[tokio::test]
async fn becoming_somebody_else_goes_through_sudo() {
    let Some(bench) = Bench::new(OWN_PROGRAMS) else { return };
    bench.install_sudo(r#"echo "$1 $2 $3 $4"; shift 4; exec "$@""#);
    let who = Become::user("backup");
    let output = bench.connect().await.probe("echo done", Some(&who)).await.expect("it ran");
    assert_eq!(output.stdout_text(), "-n -u backup --\ndone\n");
}

#[tokio::test]
async fn a_sudo_that_would_ask_blocks_with_advice() {
    let Some(bench) = Bench::new(OWN_PROGRAMS) else { return };
    bench.install_sudo("echo 'sudo: a password is required' >&2; exit 1");
    let who = Become::user("backup");
    let error = bench.connect().await.probe("true", Some(&who)).await.expect_err("blocked");
    assert_eq!(
        (error.class(), error.message()),
        (Class::Blocked, format!("{}: no passwordless sudo", bench.target).as_str())
    );
    assert!(error.help_text().expect("help").contains("NOPASSWD"));
}

#[tokio::test]
async fn a_host_without_sudo_is_told_as_such() {
    let Some(bench) = Bench::new("SetEnv PATH=/nowhere\n") else { return };
    let error = bench.connect().await.probe("true", Some(&Become::user("backup"))).await.expect_err("blocked");
    assert_eq!(
        (error.class(), error.message()),
        (Class::Blocked, format!("{}: there is no sudo", bench.target).as_str())
    );
}

#[tokio::test]
async fn an_upload_replaces_a_file_whole_and_keeps_its_mode() {
    let Some(bench) = Bench::new("") else { return };
    let (file, link) = (bench.server.path("it's a file"), bench.server.path("link"));
    fs::write(&file, "old").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let connection = bench.connect().await;
    let to = Upload { path: link.display().to_string(), mode: None, become_: None };
    connection.upload("new\n", &to, &bench.writer).await.expect("written");
    assert_eq!(fs::read_to_string(&file).expect("there"), "new\n");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
    assert!(link.is_symlink());
    let left: Vec<_> = fs::read_dir(file.parent().expect("a folder")).expect("readable").flatten().collect();
    assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().contains(".homelab-")), "{left:?}");
}

#[tokio::test]
async fn an_upload_makes_a_file_with_the_mode_that_is_asked_for() {
    let Some(bench) = Bench::new("") else { return };
    let file = bench.server.path("secret");
    let connection = bench.connect().await;
    let to = Upload { path: file.display().to_string(), mode: Some(0o600), become_: None };
    connection.upload("s", &to, &bench.writer).await.expect("written");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(connection.read_file(&to.path, None).await.expect("readable"), Some(b"s".to_vec()));
}

#[tokio::test]
async fn a_missing_file_reads_as_none_and_a_folder_is_an_error() {
    let Some(bench) = Bench::new("") else { return };
    let connection = bench.connect().await;
    assert_eq!(connection.read_file("/no such/file", None).await.expect("an answer"), None);
    let error = connection.read_file("/etc", None).await.expect_err("no file");
    assert!(error.message().ends_with("/etc cannot be read"), "{error}");
    let to = Upload { path: "/no such/file".to_string(), mode: None, become_: None };
    let error = connection.upload("x", &to, &bench.writer).await.expect_err("no folder");
    assert!(error.message().ends_with("/no such/file was not written"), "{error}");
}
