//! Against a real OpenSSH server: the shell that stays, with this machine's shell, dash, bash and BusyBox's.

use std::fs;
use std::time::Duration;

use futures::future::join_all;

use super::live_command_tests::{Bench, OWN_PROGRAMS};
use super::{Become, Command, Connection, Exit, Output};
use crate::error::{Class, Result};

fn brief(script: &str) -> Command {
    Command::script(script).brief()
}

async fn ask(connection: &Connection, script: &str) -> Output {
    connection.ask(brief(script)).await.expect("it ran")
}

/// A connection on which a question was asked already: the next ones go to the shell that stays.
async fn connected(bench: &Bench) -> Connection {
    let connection = bench.connect().await;
    ask(&connection, ":").await;
    connection
}

/// Servers whose `sh` is each of those that are here.
fn shells() -> Vec<Bench> {
    let here = ["/bin/dash", "/bin/bash", "/usr/bin/busybox"].into_iter().filter(|path| fs::metadata(path).is_ok());
    let benches = here.filter_map(|path| {
        let bench = Bench::new(OWN_PROGRAMS)?;
        std::os::unix::fs::symlink(path, bench.server.path("sh")).expect("a link");
        Some(bench)
    });
    benches.collect()
}

#[tokio::test]
async fn output_complaints_and_exit_code_are_those_of_each_request() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let output = ask(&connection, "echo out; echo err >&2; exit 3").await;
        assert_eq!((output.exit, output.stdout, output.stderr), (Exit::Code(3), b"out\n".to_vec(), b"err\n".to_vec()));
        let output = ask(&connection, "printf 'no line end'").await;
        assert_eq!((output.exit, output.stdout), (Exit::Code(0), b"no line end".to_vec()));
        assert_eq!(ask(&connection, "").await.stdout, b"");
    }
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_answered_in_one_shell() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let asked = (0..100).map(|n| {
            let connection = connection.clone();
            async move { ask(&connection, &format!("echo $$ {n}")).await.stdout_text().into_owned() }
        });
        let said = join_all(asked).await;
        let shell = said[0].split_once(' ').expect("two words").0.to_owned();
        for (n, said) in said.iter().enumerate() {
            assert_eq!(*said, format!("{shell} {n}\n"));
        }
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_left_for_the_next() {
    for bench in shells() {
        let connection = connected(&bench).await;
        ask(&connection, "x=1; cd /tmp; umask 077; set -e; exec >/dev/null 2>&1; trap 'echo gone' EXIT; fill() { :; }")
            .await;
        let output = ask(&connection, "echo \"$x$PWD$(umask)\"; command -v fill; false; echo on").await;
        assert_eq!(output.stdout_text(), "/0022\non\n");
    }
}

#[tokio::test]
async fn what_would_end_a_shell_ends_only_its_request() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let shell = ask(&connection, "echo $$").await.stdout;
        for script in
            ["exit 7", "exec false", "if then", "echo ${x?gone}", "set -u; echo $y", ". /nowhere", "readonly a; a=1"]
        {
            assert!(!ask(&connection, script).await.success(), "{script}");
        }
        assert_eq!(ask(&connection, "echo $$").await.stdout, shell, "it is still the same shell");
    }
}

#[tokio::test]
async fn a_question_that_kills_the_shell_is_asked_again_by_itself() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let output = ask(&connection, "kill -KILL $$").await;
        assert_eq!(output.exit, Exit::Signal("KILL".to_string()));
        assert_eq!(ask(&connection, "echo fine").await.stdout, b"fine\n");
    }
}

#[tokio::test]
async fn what_reads_standard_input_finds_its_end() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let asked = join_all(
            ["cat; echo one", "read line; echo two $line", "echo three"].map(|script| ask(&connection, script)),
        );
        let said: Vec<String> = asked.await.iter().map(|output| output.stdout_text().into_owned()).collect();
        assert_eq!(said, ["one\n", "two\n", "three\n"]);
    }
}

#[tokio::test]
async fn any_bytes_and_megabytes_arrive_as_they_are() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let bytes: Vec<u8> = (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let file = bench.server.path("bytes");
        fs::write(&file, &bytes).expect("written");
        let script = format!("cat {0}; cat {0} >&2", file.display());
        let (large, small) = tokio::join!(ask(&connection, &script), ask(&connection, "echo small"));
        assert!(large.stdout == bytes && large.stderr == bytes);
        assert_eq!(small.stdout, b"small\n");
    }
}

#[tokio::test]
async fn a_request_that_hangs_does_not_hold_up_the_others() {
    for bench in shells() {
        let connection = connected(&bench).await;
        let hanging = connection.ask(brief("sleep 60").timeout(Some(Duration::from_secs(3))));
        let other = async {
            // Behind it, and then after it has shown that it takes long.
            let behind = ask(&connection, "echo behind").await;
            tokio::time::sleep(Duration::from_millis(1500)).await;
            (behind.stdout, ask(&connection, "echo after").await.stdout)
        };
        let (hanging, other) = tokio::join!(hanging, other);
        assert_eq!(hanging.expect_err("too long").class(), Class::Timeout);
        assert_eq!(other, (b"behind\n".to_vec(), b"after\n".to_vec()));
        assert_eq!(ask(&connection, "echo then").await.stdout, b"then\n");
    }
}

#[tokio::test]
async fn whoever_stops_waiting_takes_nobody_elses_answer() {
    for bench in shells() {
        let connection = connected(&bench).await;
        ask(&connection, ":").await;
        let stopped = tokio::time::timeout(Duration::from_millis(50), ask(&connection, "sleep 0.3; echo old"));
        assert!(stopped.await.is_err());
        assert_eq!(ask(&connection, "echo new").await.stdout, b"new\n");
    }
}

/// Every character that a text can hold and a shell takes.
fn any_text() -> String {
    let special = (1..0x2000).chain(0xffe0..0x10100).filter_map(char::from_u32).collect::<String>();
    format!("{special}'\\''\\\\%s%d`id`$(id)$HOME\n\n it's\n")
}

async fn fill(bench: &Bench, connection: &Connection, content: &[u8]) -> (Output, Option<Output>) {
    let file = bench.server.path("filled").display().to_string();
    let command = Command::script(format!("fill {file} || exit 1; echo $$")).content(content).brief();
    let question = brief(&format!("cat {file}; echo $$ >&2"));
    connection.exec_and_ask(command, Some(question), &bench.writer).await.expect("it ran")
}

#[tokio::test]
async fn a_content_is_written_and_read_back_in_one_go() {
    for bench in shells() {
        let connection = connected(&bench).await;
        ask(&connection, ":").await;
        for content in [String::new(), "a".to_owned(), "a\n".to_owned(), any_text()] {
            let (written, seen) = fill(&bench, &connection, content.as_bytes()).await;
            let seen = seen.expect("it was answered");
            assert!(written.success() && seen.success(), "{}", written.stderr_text());
            assert!(seen.stdout == content.as_bytes(), "{:?}", seen.stdout_text());
            assert_eq!(written.stdout, seen.stderr, "both in the shell that stays");
        }
    }
}

#[tokio::test]
async fn what_no_shell_takes_as_text_is_written_all_the_same() {
    for bench in shells() {
        let connection = connected(&bench).await;
        ask(&connection, ":").await;
        for content in [b"a\0b".to_vec(), vec![0xff, 0xfe], vec![b'x'; 300_000]] {
            let (written, seen) = fill(&bench, &connection, &content).await;
            assert!(written.success() && seen.is_none());
            assert!(fs::read(bench.server.path("filled")).expect("there") == content);
        }
    }
}

#[tokio::test]
async fn what_is_asked_stands_in_no_list_of_processes() {
    for bench in shells() {
        let connection = connected(&bench).await;
        ask(&connection, ":").await;
        let script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; : a-word-for-nobody";
        let listed = ask(&connection, script).await;
        assert!(!listed.stdout_text().contains("a-word-for-nobody"));
    }
}

#[tokio::test]
async fn each_user_has_a_shell_of_their_own() {
    let Some(bench) = Bench::new(OWN_PROGRAMS) else { return };
    bench.install_sudo(r#"who=$3; shift 4; WHO=$who exec "$@""#);
    let connection = connected(&bench).await;
    let asked = |who: &str| connection.ask(brief("echo $WHO").become_(Some(Become::user(who))));
    let (one, other) = tokio::join!(asked("backup"), asked("www-data"));
    assert!(one.is_ok() && other.is_ok());
    let (one, other) = tokio::join!(asked("backup"), asked("www-data"));
    assert_eq!((one.expect("ran").stdout, other.expect("ran").stdout), (b"backup\n".to_vec(), b"www-data\n".to_vec()));
}

#[tokio::test]
async fn a_sudo_that_would_ask_is_told_as_ever() {
    let Some(bench) = Bench::new(OWN_PROGRAMS) else { return };
    bench.install_sudo("echo 'sudo: a password is required' >&2; exit 1");
    let connection = connected(&bench).await;
    for _ in 0..2 {
        let asked: Result<Output> = connection.ask(brief("true").become_(Some(Become::user("backup")))).await;
        assert_eq!(asked.expect_err("blocked").class(), Class::Blocked);
    }
}

#[tokio::test]
async fn a_login_that_prints_spoils_no_answer() {
    let Some(bench) = Bench::new(OWN_PROGRAMS) else { return };
    let sh = bench.server.path("sh");
    fs::write(&sh, "#!/bin/sh\necho 'Welcome!'; echo 'Mind the gap' >&2; exec /bin/sh \"$@\"\n").expect("written");
    std::process::Command::new("chmod").arg("755").arg(&sh).status().expect("chmod is there");
    let output = ask(&connected(&bench).await, "echo mine; echo own >&2").await;
    assert_eq!((output.stdout, output.stderr), (b"mine\n".to_vec(), b"own\n".to_vec()));
}

#[tokio::test]
async fn a_server_with_one_session_is_asked_without_it() {
    for sessions in 1..3 {
        let Some(bench) = Bench::new(&format!("MaxSessions {sessions}\n")) else { return };
        let connection = connected(&bench).await;
        assert_eq!(ask(&connection, "echo one").await.stdout, b"one\n");
        let commands = (0..5).map(|_| connection.probe("echo two", None));
        for output in join_all(commands).await {
            assert_eq!(output.expect("it ran").stdout, b"two\n");
        }
        assert_eq!(ask(&connection, "echo three").await.stdout, b"three\n");
    }
}

#[tokio::test]
async fn the_connection_ends_when_nobody_needs_it() {
    let Some(bench) = Bench::new("") else { return };
    let connection = connected(&bench).await;
    let shell = ask(&connection, "echo $$").await.stdout_text().trim().to_owned();
    let process = std::path::PathBuf::from("/proc").join(shell);
    assert!(process.exists());
    bench.pool.reconnect(&bench.target).await.expect("let in");
    drop(connection);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while process.exists() {
        assert!(std::time::Instant::now() < deadline, "the shell stays for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
