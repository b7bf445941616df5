//! Runs small playbooks against a real OpenSSH server on this machine, or against a simulated machine, and keeps what was
//! told about them.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rhai::{Dynamic, Engine, EvalAltResult, Map};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::Ssh;
use crate::clients::dial::Dialler;
use crate::clients::ssh::sshd::{Home, Sshd};
use crate::clients::ssh::{Pool, PublicKey, append_known_host};
use crate::error::{Class, Error, Result};
use crate::playbook::engine::{self as playbook, EngineOptions};
use crate::run::event::{Action, Event, Mark, Mode, Subscriber, What};
use crate::run::interrupt::Interrupt;
use crate::run::report;
use crate::run::resource::Machine;
use crate::run::secret::Redactor;
use crate::run::session::{Run, Settings};
use crate::run::steps::StepBook;
use crate::run::unknown::Unknown;
use crate::run::{replay, scope};
use crate::script::context::{Context, Services};
use crate::script::failure::as_error;
use crate::sim::host::{CloudInit, Hardware, Machine as Simulated, Observer, SharedMachine, run_shared, serve_ssh};

/// A server, a way to it, and a folder to work in.
pub(super) struct Bench {
    server: Server,
    _home: Home,
    folder: TempDir,
    runtime: Runtime,
    ssh: Arc<Ssh>,
    /// A machine that a dry run believes to have planned.
    pub planned: Option<Machine>,
    /// The addresses that may be destroyed.
    pub allow_destroy: Vec<String>,
    notes: Notes,
}

/// What is reached.
enum Server {
    /// OpenSSH, as the user who runs the tests.
    Real(Sshd),
    /// A simulated machine, as a user who may become root.
    Simulated(u16, SharedMachine),
}

/// Nobody asks what a simulated machine was told.
struct Unheard;

impl Observer for Unheard {
    fn command(&self, _: &str, _: &str, _: &str, _: i32, _: bool) {}
}

/// How a playbook ended, and what was told on the way.
pub(super) struct Ended {
    pub result: Result<Dynamic, Box<EvalAltResult>>,
    pub events: Vec<What>,
    /// Resources that would undo each other.
    pub fights: Vec<Error>,
}

/// What the run tells, as it comes.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<What>>>);

impl Subscriber for Notes {
    fn notice(&mut self, event: &Event) -> Result<()> {
        self.0.lock().expect("no listener panics").push(event.what.clone());
        Ok(())
    }
}

impl Notes {
    /// Waits until something of the kind was told.
    pub fn wait_for(&self, kind: impl Fn(&What) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.0.lock().expect("no listener panics").iter().any(&kind) {
            assert!(Instant::now() < deadline, "nothing of the kind was told");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Bench {
    /// `None` where there is no sshd.
    pub fn new() -> Option<Self> {
        let home = Home::new();
        let key = home.key("key", "ed25519", "");
        let server = Sshd::start(&[&key])?;
        home.trust(&server);
        Some(Self::reaching(Server::Real(server), home, key))
    }

    /// A fresh Ubuntu guest in the simulator.
    pub fn simulated() -> Self {
        let home = Home::new();
        let key = home.key("key", "ed25519", "");
        let config = CloudInit {
            hostname: "vm".to_owned(),
            user: "ops".to_owned(),
            ssh_keys: vec![fs::read_to_string(key.with_extension("pub")).expect("it is made")],
            address: Some("192.0.2.31/24".to_owned()),
            ..CloudInit::default()
        };
        let machine: SharedMachine = Arc::new(Mutex::new(Simulated::guest(config, &Hardware::default())));
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("the loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let text = machine.lock().expect("no other").fs.text("/etc/ssh/ssh_host_ed25519_key.pub");
        let host_key = PublicKey::from_openssh(text.trim()).expect("it is sound");
        append_known_host(&home.path("known_hosts"), "127.0.0.1", port, &host_key).expect("written");
        let served = Arc::clone(&machine);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_ssh(stream, Arc::clone(&served), Arc::new(Unheard)));
            }
        });
        Bench { runtime, ..Self::reaching(Server::Simulated(port, machine), home, key) }
    }

    fn reaching(server: Server, home: Home, key: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ssh = Ssh {
            pool: Pool::new(Dialler::Direct),
            dialler: Dialler::Direct,
            environment: home.environment(),
            root: folder.path().to_path_buf(),
            project_known_hosts: home.path("project_known_hosts"),
            default_user: None,
            keys: vec![key],
            passphrase: None,
        };
        let runtime = Runtime::new().expect("a runtime");
        let ssh = Arc::new(ssh);
        Bench {
            server,
            _home: home,
            folder,
            runtime,
            ssh,
            planned: None,
            allow_destroy: Vec::new(),
            notes: Notes::default(),
        }
    }

    /// What root sees on the simulated machine, past everything that is tested: standard output, without the line break
    /// at its end.
    pub fn shell(&self, script: &str) -> String {
        let Server::Simulated(_, machine) = &self.server else { panic!("only a simulated machine is ours") };
        let command = ["sh", "-c", script].map(str::to_owned);
        let output = run_shared(machine, "root", &command, b"");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("not simulated"), "{errors}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned() + errors.as_str()
    }

    /// How much was changed on the machine so far, where it is a simulated one.
    fn simulated_mutations(&self) -> Option<u64> {
        match &self.server {
            Server::Simulated(_, machine) => Some(machine.lock().expect("no other").mutations()),
            Server::Real(_) => None,
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in the folder; empty where there is none.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    pub fn mode(&self, name: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(self.path(name)).expect("it is there").permissions().mode() & 0o7777
    }

    /// What the current run tells.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    pub fn plan(&self, script: &str) -> Ended {
        self.play(Mode::DryRun, script)
    }

    pub fn run(&self, script: &str) -> Ended {
        self.play(Mode::Run, script)
    }

    /// Plans, runs, runs again: the plan must change nothing, the run do what the plan said, and the second run nothing.
    /// Gives back the changes.
    pub fn converge(&self, script: &str) -> Vec<String> {
        let before = self.simulated_mutations();
        let plan = self.plan(script);
        plan.well();
        assert_eq!(self.simulated_mutations(), before, "a plan changes nothing");
        let run = self.run(script);
        run.well();
        assert_eq!(plan.planned(), run.changed(), "the run does what the plan said");
        assert!(plan.fights.is_empty() && run.fights.is_empty(), "{:?}", plan.fights);
        let before = self.simulated_mutations();
        let again = self.run(script);
        again.well();
        assert_eq!(again.changed(), Vec::<String>::new(), "the second run changes nothing");
        assert_eq!(self.simulated_mutations(), before, "the second run changes nothing");
        run.changed()
    }

    /// Runs a script in which `h` is the server and `d` the folder.
    fn play(&self, mode: Mode, script: &str) -> Ended {
        let notes = self.notes.clone();
        let settings = Settings { jobs: 8, allow_destroy: self.allow_destroy.clone(), ..Settings::default() };
        let listeners: Vec<Box<dyn Subscriber>> = vec![Box::new(notes.clone())];
        let handle = self.runtime.handle().clone();
        let book = StepBook::default();
        let run = Run::new(mode, settings, handle, Interrupt::default(), Redactor::default(), book, listeners);
        let _branch = scope::enter(Arc::clone(&run));
        if let (Mode::DryRun, Some(machine)) = (mode, &self.planned) {
            scope::with(|branch| branch.overlay.bring(machine.clone(), "proxmox:vm:111 (vm)")).expect("in a run");
        }
        let (port, user) = match &self.server {
            Server::Real(server) => (server.port, ""),
            Server::Simulated(port, _) => (*port, ", user: \"ops\", become: true"),
        };
        let text = format!(
            "let h = ssh::host(#{{ name: \"vm\", address: \"127.0.0.1\", port: {port}{user} }}); let d = {:?};\n{script}",
            self.folder.path().display().to_string(),
        );
        let engine = self.engine();
        let script = playbook::compile(&engine, "test.rhai", &text).expect("it compiles");
        let result = playbook::evaluate(&engine, &mut rhai::Scope::new(), &script);
        let fights = replay::fights(&run).expect("wants are pure");
        let events = std::mem::take(&mut *notes.0.lock().expect("no listener panics"));
        Ended { result, events, fights }
    }

    /// The very engine that playbooks run on: without its rewriting an unknown would not stay one.
    fn engine(&self) -> Engine {
        let register = [crate::primitives::flow::register, super::register, helpers];
        let mut engine = playbook::build(EngineOptions { register: &register, ..EngineOptions::default() });
        engine.set_default_tag(Dynamic::from(Context {
            places: Default::default(),
            realms: vec![super::realm_of],
            explain: Arc::new(|error, _| match as_error(error) {
                Some(error) => report::plain(&error),
                None => report::plain(&Error::new(Class::Script, error.to_string())),
            }),
            services: Services::default().with(Arc::clone(&self.ssh)),
        }));
        engine
    }
}

/// What tests say beyond the primitives.
fn helpers(engine: &mut Engine) {
    engine.register_fn("unknown", |origin: &str| Unknown::from_origin(origin));
    engine.register_fn("secret", |text: &str| scope::run().expect("in a run").redactor.secret(text));
}

impl Ended {
    /// What the script gave back. It must have ended well.
    pub fn value(&self) -> Dynamic {
        match &self.result {
            Ok(value) => value.clone(),
            Err(error) => match as_error(error) {
                Some(known) => panic!("{known}\nhelp: {}", known.help_text().unwrap_or("none")),
                None => panic!("{error}"),
            },
        }
    }

    /// It must have ended well.
    pub fn well(&self) {
        drop(self.value());
    }

    pub fn map(&self) -> Map {
        self.value().cast()
    }

    /// The error that ended it.
    pub fn error(&self) -> Error {
        let error = self.result.as_ref().expect_err("it must fail");
        as_error(error).unwrap_or_else(|| panic!("not one of ours: {error}"))
    }

    /// The planned changes: mark, action, address.
    pub fn planned(&self) -> Vec<String> {
        let planned = self.events.iter().filter_map(|what| match what {
            What::ChangePlanned { change, .. } => Some(change),
            _ => None,
        });
        planned.map(line).collect()
    }

    /// The changes that were made.
    pub fn changed(&self) -> Vec<String> {
        let started = self.events.iter().filter_map(|what| match what {
            What::ChangeStarted { change, .. } => Some(change),
            _ => None,
        });
        started.map(line).collect()
    }

    /// All that was told, as it would leave the program.
    pub fn told(&self) -> String {
        self.events.iter().map(|what| serde_json::to_string(what).expect("plain data") + "\n").collect()
    }
}

/// As people read it: `create vm:file:/etc/motd`, with `?` or `~` in front where it is not sure. The place of the
/// folder is left out.
fn line(change: &crate::run::event::Change) -> String {
    let mark = match change.mark {
        Mark::Sure => "",
        Mark::Maybe => "? ",
        Mark::Fog => "~ ",
    };
    let action = match change.action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
        Action::Run => "run",
    };
    let address = match change.address.find("/tmp/.tmp") {
        Some(start) => {
            let rest = &change.address[start + "/tmp/.tmp".len()..];
            let end = rest.find('/').map_or("", |end| &rest[end + 1..]);
            format!("{}{end}", &change.address[..start])
        }
        None => change.address.clone(),
    };
    format!("{mark}{action} {address}")
}
