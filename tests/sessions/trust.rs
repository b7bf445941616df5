use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::project::Project;

#[test]
fn a_key_is_shown_and_trusted_only_once_somebody_compared_it() {
    let project = Project::new();
    let Some(sshd) = Sshd::start(&project, free_port()) else { return };
    let hesitant = project.session(&["trust box"]);
    assert!(hesitant.contains(&sshd.fingerprint_shown(&project)), "{hesitant}");
    assert!(!project.root().join(".homelab/known_hosts").exists(), "nothing is trusted yet");
    let decided = project.session(&["trust box --yes", "trust box --yes"]);
    insta::assert_snapshot!([hesitant, decided].concat(), @"
    $ homelab trust box
    box (127.0.0.1:<port>)
      ssh-ed25519 SHA256:<fingerprint>
    blocked

      × box: nobody is here to compare the fingerprint
      help: compare it with the host's own, seen on its console: `ssh-keygen -lf
            /etc/ssh/ssh_host_ed25519_key.pub`; then run: homelab trust box --yes
    [exit 4]
    $ homelab trust box --yes
    box (127.0.0.1:<port>)
      ssh-ed25519 SHA256:<fingerprint>
    trusted from now on, in .homelab/known_hosts
    $ homelab trust box --yes
    box (127.0.0.1:<port>)
      ssh-ed25519 SHA256:<fingerprint>
    this key is trusted already
    ");
    let known = project.read(".homelab/known_hosts");
    assert_eq!(known.lines().count(), 1, "{known}");
    assert!(known.starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", sshd.port)), "{known}");
}

#[test]
fn a_key_that_contradicts_a_known_one_is_refused() {
    let project = Project::new();
    let port = free_port();
    let Some(before) = Sshd::start(&project, port) else { return };
    project.session(&["trust box --yes"]);
    drop(before);
    let Some(_after) = Sshd::start(&project, port) else { return };
    let told = project.session(&["trust box --yes"]);
    assert!(told.contains("the host key has changed") && told.contains("[exit 1]"), "{told}");
    assert_eq!(project.read(".homelab/known_hosts").lines().count(), 1, "the old key alone is known");
}

#[test]
fn a_name_has_the_address_that_the_tables_give_it_but_a_proposal_is_none() {
    let project = Project::new();
    let told = project.session(&["trust pve-01"]);
    assert!(told.contains("docs/NETWORK.md") && told.contains("(10.20.11.11)"), "{told}");
}

/// An OpenSSH server that `ssh box` leads to, from the project's home.
struct Sshd {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Sshd {
    /// `None`, with a word about it, where there is no sshd; under CI that is a failure.
    fn start(project: &Project, port: u16) -> Option<Self> {
        let program = Path::new("/usr/sbin/sshd");
        if !program.exists() {
            assert!(std::env::var_os("CI").is_none(), "no sshd: apt-get install openssh-server");
            eprintln!("skipped: no sshd");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = folder.path().join("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen is there").success());
        // A server of root's insists on this empty folder; where we are not root it is not needed.
        let _ = fs::create_dir_all("/run/sshd");
        let config = folder.path().join("config");
        let lines =
            format!("Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\n", key.display());
        fs::write(&config, lines).expect("written");
        let process = Command::new(program).arg("-D").arg("-f").arg(&config).stderr(Stdio::null()).spawn();
        let server = Sshd { process: process.expect("sshd starts"), port, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ssh = project.home().join(".ssh");
        fs::create_dir_all(&ssh).expect("a folder");
        fs::write(ssh.join("config"), format!("Host box\n  HostName 127.0.0.1\n  Port {port}\n")).expect("written");
        Some(server)
    }

    /// As `ssh-keygen` shows it, which knows nothing of us; put as sessions show it.
    fn fingerprint_shown(&self, project: &Project) -> String {
        let output = Command::new("ssh-keygen").arg("-lf").arg(self.folder.path().join("key.pub")).output();
        let line = String::from_utf8(output.expect("ssh-keygen is there").stdout).expect("text");
        let print = line.split_whitespace().nth(1).expect("bits, fingerprint, comment").to_owned();
        let raw = project.homelab(&["trust", "box"]).output().expect("it starts");
        let raw = String::from_utf8_lossy(&raw.stdout).into_owned();
        assert!(raw.contains(&format!("ssh-ed25519 {print}")), "{raw}");
        "ssh-ed25519 SHA256:<fingerprint>".to_owned()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}
