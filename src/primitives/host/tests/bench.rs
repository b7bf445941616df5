//! Runs small playbooks against a real OpenSSH server on this machine, with its own tools or BusyBox's, or against a
//! simulated machine, and keeps what was told about them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rhai::{Dynamic, Engine, EvalAltResult, Map};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::Ssh;
use super::super::mechanism::memory::{Memory, Past};
use super::ground::Ground;
use crate::clients::dial::Dialler;
use crate::clients::ssh::Pool;
use crate::clients::ssh::sshd::Home;
use crate::error::{Class, Error, Result};
use crate::playbook::engine::{self as playbook, EngineOptions};
use crate::run::event::{Action, Change, Event, Fidelity, Mark, Mode, Subscriber, What};
use crate::run::fidelity::{self, Came, Done, Foretold};
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
use crate::sim::host::Setup;

/// A server, a way to it, and a folder to work in.
pub struct Bench {
    ground: Ground,
    home: Home,
    folder: TempDir,
    runtime: Runtime,
    pool: Pool,
    asked: Arc<Asked>,
    /// A machine that a dry run believes to have planned.
    pub planned: Option<Machine>,
    /// The addresses that may be destroyed.
    pub allow_destroy: Vec<String>,
    notes: Notes,
}

/// How a playbook ended, and what was told on the way.
pub struct Ended {
    pub result: Result<Dynamic, Box<EvalAltResult>>,
    pub events: Vec<What>,
    /// Resources that would undo each other.
    pub fights: Vec<Error>,
}

/// What runs asked of their hosts, as a journal would keep it.
#[derive(Default)]
struct Asked(Mutex<HashMap<String, Vec<String>>>);

impl Past for Asked {
    fn recall(&self, host: &str) -> Result<Vec<String>> {
        Ok(self.0.lock().expect("nobody panics").get(host).cloned().unwrap_or_default())
    }

    fn keep(&self, host: &str, asked: &[String]) -> Result<()> {
        self.0.lock().expect("nobody panics").insert(host.to_owned(), asked.to_vec());
        Ok(())
    }
}

/// What the run tells, as it comes.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<What>>>);

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
    /// A real server with this machine's tools. `None` where there is no sshd.
    pub fn new() -> Option<Self> {
        Bench::on(|home, _| Ground::real(home))
    }

    /// A fresh Ubuntu guest in the simulator, as a user who becomes root.
    pub fn simulated() -> Self {
        Bench::on(|home, runtime| Some(Ground::simulated(home, runtime))).expect("it is always there")
    }

    /// A Proxmox node in the simulator, set up so.
    pub fn node(setup: Setup) -> Self {
        Bench::on(|home, runtime| Some(Ground::node(home, runtime, setup))).expect("it is always there")
    }

    /// Does the same on everything there is: a real server with this machine's tools, one with BusyBox's, and a
    /// simulated machine.
    pub fn everywhere(test: impl Fn(&Bench)) {
        Bench::real_ones().into_iter().chain([Bench::simulated()]).for_each(|bench| test(&bench));
    }

    /// A real server with this machine's tools, and one with BusyBox's.
    pub fn real_ones() -> Vec<Bench> {
        [Bench::new(), Bench::on(|home, _| Ground::busybox(home))].into_iter().flatten().collect()
    }

    fn on(ground: impl FnOnce(&Home, &Runtime) -> Option<Ground>) -> Option<Self> {
        let home = Home::new();
        let runtime = Runtime::new().expect("a runtime");
        let ground = ground(&home, &runtime)?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pool = Pool::new(Dialler::Direct);
        ground.make_folder(folder.path());
        Some(Bench {
            ground,
            home,
            folder,
            runtime,
            pool,
            asked: Arc::default(),
            planned: None,
            allow_destroy: Vec::new(),
            notes: Notes::default(),
        })
    }

    /// The project's folder on this machine; on a real server that is also the folder that tests work in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many commands a simulated machine was sent so far.
    pub fn commands(&self) -> usize {
        self.ground.commands()
    }

    /// A path as the host sees it: in the folder, or where it starts with `/` anywhere.
    fn there(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A file of the host; empty where there is none.
    pub fn text(&self, name: &str) -> String {
        self.ground.read(&self.there(name))
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        self.ground.write(&self.there(name), content.as_ref());
    }

    /// Writes a file of the project, for `source`.
    pub fn write_local(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("written");
    }

    pub fn mode(&self, name: &str) -> u32 {
        let said = self.sh(&format!("stat -c %a {}", self.there(name)));
        u32::from_str_radix(said.trim(), 8).expect("octal digits")
    }

    /// What root sees on the simulated machine, past everything that is tested: standard output, without the line break
    /// at its end, and the complaints.
    pub fn shell(&self, script: &str) -> String {
        self.ground.shell(script)
    }

    /// What a command prints that is run on the host without going through the program, in the folder. It must succeed.
    pub fn sh(&self, script: &str) -> String {
        self.ground.run(&format!("cd {} && {script}", self.there("")))
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
        let before = self.ground.mutations();
        let plan = self.plan(script);
        plan.well();
        assert_eq!(self.ground.mutations(), before, "a plan changes nothing");
        let run = self.run(script);
        run.well();
        assert_eq!(plan.planned(), run.changed(), "the run does what the plan said");
        let fidelity = plan.fidelity_of(&run);
        assert_eq!(fidelity.misses, Vec::<String>::new(), "the run does it as the plan said");
        assert_eq!(fidelity.sure, fidelity.sure_met);
        assert!(plan.fights.is_empty() && run.fights.is_empty(), "{:?}", plan.fights);
        let before = self.ground.mutations();
        let again = self.run(script);
        again.well();
        assert_eq!(again.changed(), Vec::<String>::new(), "the second run changes nothing");
        assert_eq!(self.ground.mutations(), before, "the second run changes nothing");
        run.changed()
    }

    fn ssh(&self) -> Ssh {
        Ssh {
            pool: self.pool.clone(),
            dialler: Dialler::Direct,
            environment: self.home.environment(),
            root: self.folder.path().to_path_buf(),
            project_known_hosts: self.home.path("project_known_hosts"),
            default_user: None,
            keys: vec![self.home.path("key")],
            passphrase: None,
            memory: Memory::of(Arc::clone(&self.asked) as Arc<dyn Past>),
        }
    }

    /// What would be asked in advance.
    pub fn asked(&self) -> String {
        format!("{:?}", self.asked.0.lock().expect("nobody panics"))
    }

    /// Forgets what was asked, so that the next run asks one question after the other.
    pub fn forget(&self) {
        self.asked.0.lock().expect("nobody panics").clear();
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
        let text = format!(
            "let h = ssh::host(#{{ name: \"vm\", address: \"127.0.0.1\", port: {}{} }}); let d = {:?};\n{script}",
            self.ground.port(),
            self.ground.login(),
            self.folder.path().display().to_string(),
        );
        let ssh = Arc::new(self.ssh());
        let engine = self.engine(&ssh);
        let script = playbook::compile(&engine, "test.rhai", &text).expect("it compiles");
        let result = playbook::evaluate(&engine, &mut rhai::Scope::new(), &script);
        ssh.memory.keep(result.is_ok()).expect("kept");
        let fights = replay::fights(&run).expect("wants are pure");
        let events = std::mem::take(&mut *notes.0.lock().expect("no listener panics"));
        Ended { result, events, fights }
    }

    /// The very engine that playbooks run on: without its rewriting an unknown would not stay one.
    fn engine(&self, ssh: &Arc<Ssh>) -> Engine {
        let register = [crate::primitives::flow::register, super::super::register, helpers];
        let mut engine = playbook::build(EngineOptions { register: &register, ..EngineOptions::default() });
        engine.set_default_tag(Dynamic::from(Context {
            places: Default::default(),
            realms: vec![super::super::realm_of],
            explain: Arc::new(|error, _| match as_error(error) {
                Some(error) => report::plain(&error),
                None => report::plain(&Error::new(Class::Script, error.to_string())),
            }),
            services: Services::default().with(Arc::clone(ssh)),
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

    /// How well this plan foretold a run.
    fn fidelity_of(&self, run: &Ended) -> Fidelity {
        let done = |change: &Change| Done { change: change.clone(), steps: Vec::new(), line: None };
        let planned = self.events.iter().filter_map(|what| match what {
            What::ChangePlanned { change, .. } => Some(done(change)),
            _ => None,
        });
        let came = run.events.iter().filter_map(|what| match what {
            What::ChangeStarted { change, .. } => Some(done(change)),
            _ => None,
        });
        let foretold = Foretold { changes: planned.collect(), ..Foretold::default() };
        let (changes, failed, digests): (Vec<Done>, _, _) = (came.collect(), BTreeSet::new(), BTreeMap::new());
        fidelity::score(&foretold, Came { changes: &changes, failed: &failed, digests: &digests })
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
fn line(change: &Change) -> String {
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
