//! A project folder with a world and a journal: plans and runs playbooks, and tells what happened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use homelab::error::Error;
use homelab::playbook::check::{Environment, Facts};
use homelab::playbook::play::{Request, play};
use homelab::playbook::prepare::{Bench, Prepared};
use homelab::run::event::{Action, Change, Event, Fidelity, Mark, Mode, Status, Subscriber, What};
use homelab::run::interrupt::Interrupt;
use homelab::run::journal::Journal;
use homelab::run::secret::Redactor;
use homelab::run::session::Settings;
use homelab::script::context::Services;
use rhai::{Engine, Module};

use super::world::TestWorld;
use super::{api, command, host};

/// A project with its world.
pub struct Lab {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    /// The world that the handles reach.
    pub world: Arc<TestWorld>,
    /// The project's journal.
    pub journal: Journal,
    /// How the next runs work.
    pub settings: Settings,
    /// Whether the next run resumes the last one.
    pub resume: bool,
    /// How the next run is asked to end.
    pub interrupt: Interrupt,
}

/// What happened.
pub struct Told {
    /// All events, in order.
    pub events: Vec<Event>,
    /// How it ended.
    pub result: &'static str,
    /// What ended it.
    pub error: Option<Error>,
    /// The mutations that reached the world.
    pub sent: Vec<String>,
    /// The exit code of the program.
    pub exit_code: u8,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Subscriber for Recorder {
    fn notice(&mut self, event: &Event) -> homelab::error::Result<()> {
        self.0.lock().expect("no holder panics").push(event.clone());
        Ok(())
    }
}

struct NoTables;

impl Facts for NoTables {
    fn files(&self) -> Vec<String> {
        Vec::new()
    }
    fn tables(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
    fn rows(&self, _: &str, _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// A folder in memory where there is one: journals are synced at every event.
fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

fn register(engine: &mut Engine) {
    let mut module = Module::new();
    host::register(engine, &mut module);
    api::register(engine, &mut module);
    engine.register_static_module("world", module.into());
    command::register(engine);
}

impl Lab {
    /// A project with two hosts, `web` and `db`, that hold nothing.
    pub fn new() -> Lab {
        let folder = folder().expect("a folder");
        let journal = Journal::open(&folder.path().join(".homelab/journal.db")).expect("a journal");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let world = TestWorld::default();
        for name in ["web", "db"] {
            world.state().files.insert(name.to_owned(), BTreeMap::new());
        }
        Lab {
            folder,
            runtime: runtime.expect("a runtime"),
            world: Arc::new(world),
            journal,
            settings: Settings { jobs: 8, ..Settings::default() },
            resume: false,
            interrupt: Interrupt::default(),
        }
    }

    /// The same with a file.
    pub fn with_file(self, host: &str, path: &str, content: &str) -> Lab {
        self.world.state().files.entry(host.to_owned()).or_default().insert(path.to_owned(), content.to_owned());
        self
    }

    /// The same with an object of the API.
    pub fn with_object(self, path: &str, object: serde_json::Value) -> Lab {
        let object = homelab::run::value::Value::from(object).as_map().cloned().expect("a map");
        self.world.state().objects.insert(path.to_owned(), object);
        self
    }

    /// Writes a module beside the playbook.
    pub fn with_module(self, name: &str, text: &str) -> Lab {
        self.write_module(name, text);
        self
    }

    /// The same later on.
    pub fn write_module(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(format!("{name}.rhai")), text).expect("written");
    }

    /// A dry run.
    #[track_caller]
    pub fn plan(&self, playbook: &str) -> Told {
        let told = self.perform(playbook, Mode::DryRun);
        assert!(told.sent.is_empty(), "a plan sent {:?}\n{playbook}", told.sent);
        told
    }

    /// A real run.
    pub fn run(&self, playbook: &str) -> Told {
        self.perform(playbook, Mode::Run)
    }

    /// Settings for one plan or run.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Settings)) -> Lab {
        edit(&mut self.settings);
        self
    }

    /// The content of a file.
    pub fn file(&self, host: &str, path: &str) -> Option<String> {
        self.world.file(host, path).expect("the host is there")
    }

    fn perform(&self, playbook: &str, mode: Mode) -> Told {
        let mut prepared = self.engine();
        self.load(&mut prepared, playbook);
        self.play(&prepared, mode)
    }

    /// An engine of this project, with nothing to run yet.
    pub fn engine(&self) -> Prepared {
        let bench = Bench {
            root: self.folder.path(),
            services: Services::default().with(Arc::clone(&self.world)),
            environment: Environment::default(),
            facts: &NoTables,
            register: vec![register],
            realms: vec![host::realm_of, api::realm_of],
        };
        bench.build()
    }

    /// Makes this the playbook that an engine runs.
    #[track_caller]
    pub fn load(&self, prepared: &mut Prepared, playbook: &str) {
        let path: PathBuf = self.folder.path().join("site.rhai");
        std::fs::write(&path, playbook).expect("written");
        let mut findings = Vec::new();
        prepared.playbooks.clear();
        prepared.load(self.folder.path(), &path, &mut findings).expect("readable");
        assert!(findings.is_empty(), "{playbook}\n{:?}", findings.iter().map(|it| &it.error).collect::<Vec<_>>());
    }

    /// Plans or runs what an engine has loaded.
    pub fn play(&self, prepared: &Prepared, mode: Mode) -> Told {
        let request = Request {
            mode,
            settings: self.settings.clone(),
            arguments: Vec::new(),
            resume: self.resume,
            selection: self.selection(),
            inputs_hash: String::new(),
            interrupt: self.interrupt.clone(),
            redactor: Redactor::default(),
        };
        let recorder = Recorder::default();
        let before = self.world.state().sent.len();
        let screens: Vec<Box<dyn Subscriber>> = vec![Box::new(recorder.clone())];
        let played = play(prepared, request, self.runtime.handle(), &self.journal, screens);
        let sent = self.world.state().sent[before..].to_vec();
        let events = std::mem::take(&mut *recorder.0.lock().expect("no holder panics"));
        match played {
            Ok(played) => {
                let exit_code = played.exit_code(mode, true);
                Told { events, result: played.result, error: played.error, sent, exit_code }
            }
            Err(error) => {
                Told { events, result: "refused", exit_code: error.class().exit_code(), error: Some(error), sent }
            }
        }
    }

    fn selection(&self) -> String {
        let Settings { steps, from, skip, limit, .. } = &self.settings;
        let parts: Vec<String> = steps
            .iter()
            .map(|glob| format!("step={glob}"))
            .chain(from.iter().map(|id| format!("from={id}")))
            .chain(skip.iter().map(|glob| format!("skip={glob}")))
            .chain(limit.iter().map(|host| format!("limit={host}")))
            .collect();
        parts.join(" ")
    }

    /// The promise, whole: the plan sends nothing, is all sure and comes true exactly; a second run changes nothing, and
    /// a second plan is empty. Gives back the first plan and the first run.
    #[track_caller]
    pub fn holds(&self, playbook: &str) -> (Told, Told) {
        let (planned, done) = self.converges(playbook);
        let count = planned.planned().len();
        assert!(planned.planned().iter().all(|line| !line.starts_with(['?', '~'])), "{:?}", planned.planned());
        // Branches of `parallel` come in any order.
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        assert_eq!(sorted(planned.planned()), sorted(done.done()), "the plan and what came of it\n{playbook}");
        let fidelity = done.fidelity();
        assert_eq!((fidelity.sure, fidelity.sure_met), (count, count), "{fidelity:?}\n{playbook}");
        (planned, done)
    }

    /// The same for playbooks that a plan cannot foretell whole: it sends nothing, the run has no misses, and the second
    /// run changes nothing.
    #[track_caller]
    pub fn converges(&self, playbook: &str) -> (Told, Told) {
        let planned = self.plan(playbook);
        planned.ended_well();
        let done = self.run(playbook);
        done.ended_well();
        let fidelity = done.fidelity();
        assert!(fidelity.misses.is_empty(), "{fidelity:?}\n{playbook}");
        assert_eq!(fidelity.sure, fidelity.sure_met, "{fidelity:?}\n{playbook}");
        let again = self.run(playbook);
        again.ended_well();
        assert_eq!(again.done(), Vec::<String>::new(), "the second run changed something\n{playbook}");
        let empty = self.plan(playbook);
        empty.ended_well();
        assert_eq!(empty.planned(), Vec::<String>::new(), "the second plan is not empty\n{playbook}");
        (planned, done)
    }
}

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
    format!("{mark}{action} {}", change.address)
}

impl Told {
    /// It ended well.
    #[track_caller]
    pub fn ended_well(&self) {
        assert_eq!(self.result, "ok", "{:?}\n{:#?}", self.error, self.errors());
    }

    /// It failed, and this is said about it.
    #[track_caller]
    pub fn failed_with(&self, words: &str) {
        assert_ne!(self.result, "ok", "it ended well");
        let text = self.error.as_ref().map(|error| format!("{error} {}", error.help_text().unwrap_or_default()));
        assert!(text.as_ref().is_some_and(|text| text.contains(words)), "{text:?} does not say: {words}");
    }

    /// The planned changes, one a line, with their mark.
    pub fn planned(&self) -> Vec<String> {
        self.changes().iter().map(line).collect()
    }

    /// The planned or started changes.
    pub fn changes(&self) -> Vec<Change> {
        let changes = self.events.iter().filter_map(|event| match &event.what {
            What::ChangePlanned { change, .. } | What::ChangeStarted { change, .. } => Some(change.clone()),
            _ => None,
        });
        changes.collect()
    }

    /// The changes that were made.
    pub fn done(&self) -> Vec<String> {
        let failed: Vec<u64> = self
            .events
            .iter()
            .filter_map(|event| match &event.what {
                What::ChangeFinished { change, error: Some(_), .. } => Some(*change),
                _ => None,
            })
            .collect();
        self.changes().iter().filter(|change| !failed.contains(&change.id)).map(line).collect()
    }

    /// How each step ended.
    pub fn statuses(&self) -> BTreeMap<String, Status> {
        let steps = self.events.iter().filter_map(|event| match &event.what {
            What::StepFinished { id, status, .. } => Some((id.clone(), *status)),
            _ => None,
        });
        steps.collect()
    }

    /// Why a step ended as it did.
    pub fn reason(&self, step: &str) -> Option<String> {
        self.events.iter().find_map(|event| match &event.what {
            What::StepFinished { id, reason, .. } if id == step => reason.clone(),
            _ => None,
        })
    }

    /// What was said.
    pub fn messages(&self) -> Vec<String> {
        let texts = self.events.iter().filter_map(|event| match &event.what {
            What::Message { text, .. } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// The score against the plan.
    #[track_caller]
    pub fn fidelity(&self) -> Fidelity {
        let last = self.events.iter().rev().find_map(|event| match &event.what {
            What::RunFinished { fidelity, .. } => Some(fidelity.clone()),
            _ => None,
        });
        last.flatten().expect("a run after its plan is scored")
    }

    fn errors(&self) -> Vec<String> {
        let errors = self.events.iter().filter_map(|event| match &event.what {
            What::StepFinished { error: Some(error), .. } => Some(error.rendered.clone()),
            _ => None,
        });
        errors.collect()
    }

    /// Every event as the program prints it.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.events).expect("events are JSON")
    }
}
