//! OpenSSH's own programs against the server, where they are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use tokio::net::TcpListener;

use super::super::serve_ssh;
use super::{Log, key, machine};

/// A machine on a loopback port, and files with which OpenSSH's programs get at it.
struct Port {
    number: u16,
    dir: tempfile::TempDir,
}

impl Port {
    async fn open() -> Option<Port> {
        let found = Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_ok();
        if !found {
            println!("skipped: no ssh");
            return None;
        }
        let key = key();
        let machine = machine(&key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let number = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_ssh(stream, machine.clone(), Arc::new(Log::default())));
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Some(Port { number, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        command.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-i"]).arg(self.path("key"));
        command.arg(if program == "ssh" { "-p" } else { "-P" }).arg(self.number.to_string());
        command.args(args).stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_ssh_runs_commands() {
    let Some(port) = Port::open().await else { return };
    let output = port.run("ssh", &["ubuntu@127.0.0.1", "echo out; echo err >&2; sudo -n id -u; exit 5"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_scp_and_sftp_copy_files() {
    let Some(port) = Port::open().await else { return };
    std::fs::write(port.path("local"), "hello\n").unwrap();
    let (local, back) = (port.path("local"), port.path("back"));
    let output = port.run("scp", &[local.to_str().unwrap(), "ubuntu@127.0.0.1:remote"]).await;
    assert!(output.status.success(), "{output:?}");
    let output = port.run("scp", &["ubuntu@127.0.0.1:remote", back.to_str().unwrap()]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&back), "hello\n");
    std::fs::write(port.path("batch"), format!("rename remote other\nmkdir d\nput {} d/x\nls d\n", local.display()))
        .unwrap();
    let batch = port.path("batch");
    let output = port.run("sftp", &["-b", batch.to_str().unwrap(), "ubuntu@127.0.0.1"]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("d/x"), "{output:?}");
}
