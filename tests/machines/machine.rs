//! Machines that are booted in containers, which tests share and which end with them: a Debian with systemd, and one that
//! has nothing but BusyBox.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::{busybox, root};

/// How long a boot may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often a machine may be restarted.
const RESTARTS: usize = 10;

/// A machine.
pub struct Machine {
    folder: PathBuf,
    port: u16,
    kind: Kind,
}

/// What kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A minimal Debian, with a user `ops` who may become root.
    Debian,
    /// Nothing but BusyBox and an SSH server.
    BusyBox,
}

impl Machine {
    /// The Debian that tests share; booted for the first one that asks. `None`, with a word about it, where there can be
    /// none.
    pub fn debian() -> Option<&'static Machine> {
        static SHARED: OnceLock<Option<Machine>> = OnceLock::new();
        SHARED.get_or_init(|| Machine::of(Kind::Debian, "shared")).as_ref()
    }

    /// The BusyBox machine that tests share.
    pub fn busybox() -> Option<&'static Machine> {
        static SHARED: OnceLock<Option<Machine>> = OnceLock::new();
        SHARED.get_or_init(|| Machine::of(Kind::BusyBox, "busybox")).as_ref()
    }

    /// A Debian that one test has for itself.
    pub fn own(name: &str) -> Option<Machine> {
        Machine::of(Kind::Debian, name)
    }

    /// A BusyBox machine that one test has for itself.
    pub fn own_busybox(name: &str) -> Option<Machine> {
        Machine::of(Kind::BusyBox, name)
    }

    fn of(kind: Kind, name: &str) -> Option<Machine> {
        let why = root::hindrance().or_else(|| if kind == Kind::BusyBox { busybox::hindrance() } else { None });
        match why {
            None => Some(Machine::boot(kind, name)),
            Some(why) => {
                eprintln!("skipped: {why}");
                None
            }
        }
    }

    fn boot(kind: Kind, name: &str) -> Self {
        let folder = root::folder().join(name);
        if folder.exists() {
            root::remove(&folder);
        }
        fs::create_dir(&folder).expect("a folder");
        let system = folder.join("root");
        match kind {
            Kind::Debian => {
                let installed = root::installed();
                root::succeeds(Command::new("cp").arg("-a").arg(installed).arg(&system), "copying the system");
            }
            Kind::BusyBox => busybox::install(&system),
        }
        let machine = Machine { folder, port: free_port(), kind };
        machine.admit(&system);
        machine.start(&system);
        machine.wait_until_it_is_up();
        machine
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Debian => "debian",
            Kind::BusyBox => "busybox",
        }
    }

    /// Lets a new key in, over the loopback alone.
    fn admit(&self, system: &Path) {
        let keygen = ["-q", "-t", "ed25519", "-N", "", "-f"];
        root::succeeds(Command::new("ssh-keygen").args(keygen).arg(self.key()), "ssh-keygen");
        let public = fs::read(self.key().with_extension("pub")).expect("it is made");
        for home in ["root", "home/ops"].iter().filter(|home| system.join(home).exists()) {
            fs::write(system.join(home).join(".ssh/authorized_keys"), &public).expect("written");
        }
        let settings = format!("Port {}\nListenAddress 127.0.0.1\n", self.port);
        fs::write(system.join("etc/ssh/sshd_config.d/loopback.conf"), settings).expect("written");
        let host_key = fs::read_to_string(system.join("etc/ssh/ssh_host_ed25519_key.pub")).expect("it is made");
        fs::write(self.folder.join("host_key.pub"), &host_key).expect("written");
        let known = format!("[127.0.0.1]:{} {host_key}", self.port);
        fs::write(self.folder.join("known_hosts"), known).expect("written");
    }

    /// Starts it from a thread that lasts as long as the tests: the kernel ends it with the thread that started it. A
    /// container ends with its restart, so it is started again, as a machine would be.
    fn start(&self, system: &Path) {
        let console = fs::File::create(self.folder.join("console")).expect("a file");
        let name = self.folder.file_name().expect("it has a name").to_string_lossy().into_owned();
        // What runs in a container outlives its nspawn, unless both end with a process namespace around them.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"])
            .arg("--console=pipe")
            .arg("--timezone=off")
            .arg(format!("--machine=homelab-{name}-{}", std::process::id()))
            .arg("--directory")
            .arg(system)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stderr(console.try_clone().expect("a file"))
            .stdout(console);
        std::thread::spawn(move || {
            for _ in 0..RESTARTS {
                let ended = command.spawn().and_then(|mut child| child.wait());
                eprintln!("the machine has ended: {ended:?}");
                std::thread::sleep(Duration::from_millis(200));
            }
        });
    }

    fn wait_until_it_is_up(&self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.is_up() {
            assert!(Instant::now() < deadline, "the machine does not come up:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_up(&self) -> bool {
        if self.kind == Kind::BusyBox {
            return self.log_in("root", "true").status.success();
        }
        let said = self.log_in("root", "systemctl is-system-running --wait");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        matches!(said.trim(), "running" | "degraded")
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("console")).unwrap_or_default()).into_owned()
    }

    /// What playbooks begin with: `h` is the machine, reached as somebody who may become root where there is a way to do so.
    pub fn prelude(&self) -> String {
        let whom = match self.kind {
            Kind::Debian => "user: \"ops\", become: true",
            Kind::BusyBox => "user: \"root\"",
        };
        format!(
            "let h = ssh::host(#{{ name: {:?}, address: \"127.0.0.1\", port: {}, {whom}, key: {:?}, host_key: {:?} }});\n",
            self.name(),
            self.port,
            self.key().display().to_string(),
            fs::read_to_string(self.folder.join("host_key.pub")).expect("it is made").trim(),
        )
    }

    /// Where a file of the machine lies here.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(path.trim_start_matches('/'))
    }

    /// What root sees there: standard output and complaints, without the line break at the end.
    pub fn shell(&self, script: &str) -> String {
        let output = self.log_in("root", script);
        assert_ne!(output.status.code(), Some(255), "ssh: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned()
    }

    fn log_in(&self, user: &str, script: &str) -> std::process::Output {
        let known = format!("UserKnownHostsFile={}", self.folder.join("known_hosts").display());
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", &known, "-i"]).arg(self.key());
        ssh.arg("-p").arg(self.port.to_string()).arg(format!("{user}@127.0.0.1")).arg(script).stdin(Stdio::null());
        ssh.output().expect("ssh is there")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("key")
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}
