//! A real OpenSSH server for tests, and a home folder to reach it from. Both live in temporary folders and bother
//! nobody else's.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Environment, Options, Passphrase, PublicKey, Target, append_known_host};

/// A server on a free port of the loopback, which ends with the value.
pub(crate) struct Sshd {
    process: Child,
    folder: TempDir,
    pub port: u16,
}

impl Sshd {
    /// Starts a server that lets these public keys in. `None`, with a word about it, where there is no sshd; under CI
    /// that is a failure.
    pub fn start(authorized: &[&Path]) -> Option<Self> {
        Self::start_with(authorized, "")
    }

    /// The same with more lines in its configuration; `{folder}` stands for the server's folder.
    pub fn start_with(authorized: &[&Path], settings: &str) -> Option<Self> {
        let Some(program) = program() else {
            assert!(std::env::var_os("CI").is_none(), "no sshd: apt-get install openssh-server");
            eprintln!("skipped: no sshd");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        for kind in ["ed25519", "ecdsa"] {
            generate_key(&folder.path().join(format!("host_{kind}")), kind, "");
        }
        let keys: String = authorized.iter().map(|key| read(&public_half(key))).collect();
        fs::write(folder.path().join("authorized_keys"), keys).expect("written");
        let path = folder.path().join("sshd_config");
        let here = folder.path().display().to_string();
        fs::write(&path, format!("{}{}", configuration(&here, port), settings.replace("{folder}", &here)))
            .expect("written");
        if user() == "root" {
            // A server of root's insists on this empty folder.
            fs::create_dir_all("/run/sshd").expect("root may");
        }
        let mut process = Command::new(program);
        process
            .arg("-D")
            .arg("-E")
            .arg(folder.path().join("log"))
            .arg("-f")
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let server = Sshd { process: process.spawn().expect("sshd starts"), folder, port };
        server.wait_until_it_listens();
        Some(server)
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the server has to say.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The public half of one of its host keys.
    pub fn host_key(&self, kind: &str) -> PublicKey {
        public_key(&self.folder.path().join(format!("host_{kind}")))
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn configuration(folder: &str, port: u16) -> String {
    format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_ed25519\nHostKey {folder}/host_ecdsa\n\
         AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\nUseDNS no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n"
    )
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("sshd")).find(|program| program.is_file())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the file is there")
}

fn public_half(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

/// The public half of a generated key.
pub(crate) fn public_key(key: &Path) -> PublicKey {
    PublicKey::from_openssh(read(&public_half(key)).trim()).expect("ssh-keygen writes sound keys")
}

fn generate_key(path: &Path, kind: &str, passphrase: &str) {
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"]).arg(path).status();
    assert!(keygen.expect("ssh-keygen is there").success());
}

/// Who runs the tests: the only user a server of theirs can let in.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is there");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// A home folder with an empty `.ssh`.
pub(crate) struct Home {
    folder: TempDir,
    agent: Option<Agent>,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join(".ssh")).expect("a folder");
        Home { folder, agent: None }
    }

    /// A file in `.ssh`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(".ssh").join(name)
    }

    /// A new key in `.ssh`.
    pub fn key(&self, name: &str, kind: &str, passphrase: &str) -> PathBuf {
        generate_key(&self.path(name), kind, passphrase);
        self.path(name)
    }

    /// Writes `.ssh/config`.
    pub fn configure(&self, text: &str) {
        fs::write(self.path("config"), text).expect("written");
    }

    /// Trusts a server.
    pub fn trust(&self, server: &Sshd) {
        self.trust_key(server, &server.host_key("ed25519"));
    }

    /// Expects this key of a server.
    pub fn trust_key(&self, server: &Sshd, key: &PublicKey) {
        append_known_host(&self.path("known_hosts"), "127.0.0.1", server.port, key).expect("written");
    }

    /// Starts an agent that holds this key.
    pub fn start_agent(&mut self, key: &Path, passphrase: &str) {
        self.agent = Some(Agent::start(self.path("agent"), key, passphrase));
    }

    pub fn environment(&self) -> Environment {
        let agent = self.agent.as_ref().map(|agent| agent.socket.clone());
        Environment { home: Some(self.folder.path().to_path_buf()), user: Some(user()), agent }
    }

    /// A server as seen from here, with a key to offer.
    pub fn target(&self, server: &Sshd, key: Option<&Path>) -> Target {
        self.resolve(Options { keys: key.map(Path::to_path_buf).into_iter().collect(), ..options(server) })
    }

    /// The same, with a passphrase for the key.
    pub fn target_with_passphrase(&self, server: &Sshd, key: &Path, passphrase: &str) -> Target {
        let passphrase = Some(Passphrase::new(passphrase));
        self.resolve(Options { keys: vec![key.to_path_buf()], passphrase, ..options(server) })
    }

    pub fn resolve(&self, options: Options) -> Target {
        Target::resolve(&options, &self.environment()).expect("a sound configuration")
    }
}

/// Calls a server `vm`.
pub(crate) fn options(server: &Sshd) -> Options {
    let address = Some("127.0.0.1".to_string());
    Options { name: "vm".to_string(), address, port: Some(server.port), ..Options::default() }
}

/// An SSH agent, which ends with the value.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(socket: PathBuf, key: &Path, passphrase: &str) -> Self {
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
        let agent = Agent { process: command.spawn().expect("ssh-agent is there"), socket };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !agent.socket.exists() {
            assert!(Instant::now() < deadline, "the agent does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        agent.add(key, passphrase);
        agent
    }

    fn add(&self, key: &Path, passphrase: &str) {
        // ssh-add asks a program for the passphrase.
        let ask = self.socket.with_file_name("ask");
        fs::write(&ask, format!("#!/bin/sh\necho '{passphrase}'\n")).expect("written");
        #[cfg(unix)]
        fs::set_permissions(&ask, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
        let add = Command::new("ssh-add")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .env("SSH_ASKPASS", &ask)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", ":0")
            .stdin(Stdio::null())
            .output()
            .expect("ssh-add is there");
        assert!(add.status.success(), "{}", String::from_utf8_lossy(&add.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
