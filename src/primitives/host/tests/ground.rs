//! What the tests of this folder stand on: a real server, or a simulated machine that is served on loopback.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::clients::ssh::append_known_host;
use crate::clients::ssh::sshd::{Home, Sshd, public_key};
use crate::sim::host::{CloudInit, Hardware, Machine, NodeSpec, Observer, Setup, SharedMachine, run_shared, serve_ssh};

/// A host.
pub enum Ground {
    /// An OpenSSH server on this machine; with BusyBox's tools where there is a folder of them.
    Real { server: Sshd, _tools: Option<TempDir> },
    /// A simulated machine, the port that it is served on, what it is sent, and what a playbook says about logging in.
    Simulated(SharedMachine, u16, Arc<Commands>, &'static str),
}

/// Counts the commands that a simulated machine is sent.
#[derive(Default)]
pub struct Commands(AtomicUsize);

impl Observer for Commands {
    fn command(&self, _: &str, _: &str, _: &str, _: i32, _: bool) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Ground {
    /// With this machine's tools. `None` where there is no sshd.
    pub fn real(home: &Home) -> Option<Self> {
        let server = Sshd::start(&[&home.key("key", "ed25519", "")])?;
        home.trust(&server);
        Some(Ground::Real { server, _tools: None })
    }

    /// With BusyBox's tools and no others. `None`, with a word about it, where there is no BusyBox; under CI that is a
    /// failure.
    pub fn busybox(home: &Home) -> Option<Self> {
        let tools = tempfile::tempdir().expect("a temporary folder");
        let made = Command::new("busybox").args(["--install", "-s"]).arg(tools.path()).status();
        if !made.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "no busybox: apt-get install busybox-static");
            eprintln!("skipped: no busybox");
            return None;
        }
        let path = format!("SetEnv PATH={}\n", tools.path().display());
        let server = Sshd::start_with(&[&home.key("key", "ed25519", "")], &path)?;
        home.trust(&server);
        Some(Ground::Real { server, _tools: Some(tools) })
    }

    /// A simulated machine.
    pub fn simulated(home: &Home, runtime: &Runtime) -> Self {
        let key = home.key("key", "ed25519", "");
        let config = CloudInit {
            hostname: "vm".to_owned(),
            user: "ops".to_owned(),
            ssh_keys: vec![public_key(&key).to_openssh().expect("it has a text")],
            address: Some("192.0.2.31/24".to_owned()),
            ..CloudInit::default()
        };
        let machine = Machine::guest(config, &Hardware::default());
        Self::serve(home, runtime, machine, ", user: \"ops\", become: true")
    }

    /// A simulated Proxmox node.
    pub fn node(home: &Home, runtime: &Runtime, setup: Setup) -> Self {
        let key = home.key("key", "ed25519", "");
        let spec = NodeSpec {
            name: "pve-01".to_owned(),
            fqdn: "pve-01.example.org".to_owned(),
            address_cidr: "192.0.2.11/24".to_owned(),
            authorized_keys: vec![public_key(&key).to_openssh().expect("it has a text")],
            setup,
            ..NodeSpec::default()
        };
        Self::serve(home, runtime, Machine::pve_node(spec), ", user: \"root\"")
    }

    fn serve(home: &Home, runtime: &Runtime, machine: Machine, login: &'static str) -> Self {
        let machine: SharedMachine = Arc::new(Mutex::new(machine));
        let host_key = machine.lock().expect("nobody panics").fs.text("/etc/ssh/ssh_host_ed25519_key.pub");
        let host_key = crate::clients::ssh::PublicKey::from_openssh(host_key.trim()).expect("a sound key");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("the loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        append_known_host(&home.path("known_hosts"), "127.0.0.1", port, &host_key).expect("written");
        let (served, commands) = (Arc::clone(&machine), Arc::new(Commands::default()));
        let observer = Arc::clone(&commands);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_ssh(stream, Arc::clone(&served), Arc::clone(&observer) as Arc<dyn Observer>));
            }
        });
        Ground::Simulated(machine, port, commands, login)
    }

    pub fn port(&self) -> u16 {
        match self {
            Ground::Real { server, .. } => server.port,
            Ground::Simulated(_, port, ..) => *port,
        }
    }

    /// What a playbook says about logging in: to a real server as whoever runs the tests.
    pub fn login(&self) -> &'static str {
        match self {
            Ground::Real { .. } => "",
            Ground::Simulated(_, _, _, login) => login,
        }
    }

    /// How much was changed on the machine so far, where it is a simulated one.
    pub fn mutations(&self) -> Option<u64> {
        match self {
            Ground::Simulated(machine, ..) => Some(machine.lock().expect("nobody panics").mutations()),
            Ground::Real { .. } => None,
        }
    }

    /// How many commands a simulated machine was sent so far.
    pub fn commands(&self) -> usize {
        match self {
            Ground::Simulated(_, _, commands, _) => commands.0.load(Ordering::SeqCst),
            Ground::Real { .. } => panic!("nobody counts the commands of a real server"),
        }
    }

    /// What root sees on a simulated machine: standard output without the line break at its end, then the complaints.
    pub fn shell(&self, script: &str) -> String {
        let Ground::Simulated(machine, ..) = self else { panic!("only a simulated machine is ours") };
        let output = run_shared(machine, "root", &["sh", "-c", script].map(str::to_owned), b"");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("not simulated"), "{errors}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned() + errors.as_str()
    }

    /// Makes the folder that the tests work in; a real server shares this machine's.
    pub fn make_folder(&self, path: &Path) {
        if let Ground::Simulated(machine, ..) = self {
            machine.lock().expect("nobody panics").make_directory(&path.display().to_string());
        }
    }

    /// A file; empty where there is none.
    pub fn read(&self, path: &str) -> String {
        match self {
            Ground::Real { .. } => fs::read_to_string(path).unwrap_or_default(),
            Ground::Simulated(machine, ..) => machine.lock().expect("nobody panics").fs.text(path),
        }
    }

    pub fn write(&self, path: &str, content: &[u8]) {
        match self {
            Ground::Real { .. } => fs::write(path, content).expect("written"),
            Ground::Simulated(machine, ..) => {
                let text = std::str::from_utf8(content).expect("tests of simulated machines write texts");
                machine.lock().expect("nobody panics").write_file(path, text);
            }
        }
    }

    /// What a command prints. It must succeed.
    pub fn run(&self, script: &str) -> String {
        let (good, stdout, stderr) = match self {
            Ground::Real { .. } => {
                let output = Command::new("sh").args(["-c", script]).output().expect("there is a shell");
                (output.status.success(), output.stdout, output.stderr)
            }
            Ground::Simulated(machine, ..) => {
                let args = ["sh", "-c", script].map(str::to_owned);
                let output = run_shared(machine, "root", &args, b"");
                (output.exit == 0, output.stdout, output.stderr)
            }
        };
        assert!(good, "{script}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("a text")
    }
}
