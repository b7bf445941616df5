//! A project in a temporary folder, in which scripts run against the gate.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rhai::{Dynamic, Engine};

use super::flow;
use super::inputs::{self, Inputs};
use super::network::Network;
use crate::error::{Class, Error};
use crate::inputs::environment::Environment;
use crate::inputs::envrc::Example;
use crate::inputs::tables::Proposals;
use crate::playbook::engine::{self, EngineOptions};
use crate::run::deferral;
use crate::run::event::{Change, Event, Mode, Subscriber, What};
use crate::run::interrupt::Interrupt;
use crate::run::report::plain;
use crate::run::scope;
use crate::run::secret::Redactor;
use crate::run::session::{Run, Settings};
use crate::run::steps::StepBook;
use crate::run::value::Value;
use crate::script::context::{Context, RealmHook, Services};
use crate::script::convert::from_dynamic;
use crate::script::failure::{as_deferral, as_error};
use crate::script::places::Places;

/// A project with a script engine.
pub(crate) struct Lab {
    pub folder: tempfile::TempDir,
    pub variables: BTreeMap<String, String>,
    pub proposals: Proposals,
    pub network: Network,
    pub runtime: tokio::runtime::Runtime,
    pub services: Services,
    pub register: Vec<fn(&mut Engine)>,
    pub realms: Vec<RealmHook>,
    /// What runs may destroy.
    pub allow_destroy: Vec<String>,
}

/// What came of a script.
pub(crate) struct Told {
    /// The value of its last statement as a screen shows it, or the error.
    pub value: Result<Value, Error>,
    pub events: Vec<What>,
    /// The services that it used, to look into.
    pub inputs: Arc<Inputs>,
}

struct Recorder(Arc<Mutex<Vec<What>>>);

impl Subscriber for Recorder {
    fn notice(&mut self, event: &Event) -> crate::error::Result<()> {
        self.0.lock().unwrap().push(event.what.clone());
        Ok(())
    }
}

impl Lab {
    pub fn new() -> Self {
        Lab {
            folder: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
            proposals: Proposals::refused(),
            network: Network::default(),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            services: Services::default(),
            register: Vec::new(),
            realms: Vec::new(),
            allow_destroy: Vec::new(),
        }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into the project.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root().join(path)).ok()
    }

    pub fn plan(&self, script: &str) -> Told {
        self.perform(Mode::DryRun, script)
    }

    pub fn run(&self, script: &str) -> Told {
        self.perform(Mode::Run, script)
    }

    fn perform(&self, mode: Mode, script: &str) -> Told {
        let events = Arc::new(Mutex::new(Vec::new()));
        let example = Example::parse(".envrc.example", "# What it is.\nexport HOMELAB_MISSING=\n").unwrap();
        let environment = Environment::new(self.variables.clone(), None, None, example);
        let inputs = Arc::new(Inputs::new(self.root(), environment, self.proposals.clone()));
        let redactor = Redactor::default();
        let run = Run::new(
            mode,
            Settings { allow_destroy: self.allow_destroy.clone(), ..Settings::default() },
            self.runtime.handle().clone(),
            Interrupt::default(),
            redactor,
            StepBook::default(),
            vec![Box::new(Recorder(Arc::clone(&events)))],
        );
        let _entered = scope::enter(run);
        let engine = self.engine(Arc::clone(&inputs));
        let compiled = engine::compile(&engine, "main.rhai", script).unwrap_or_else(|error| panic!("{error}"));
        let value = engine::evaluate(&engine, &mut rhai::Scope::new(), &compiled).map_err(|error| {
            deferral::take();
            match (as_error(&error), as_deferral(&error)) {
                (Some(error), _) => error,
                (None, Some(deferral)) => {
                    Error::new(Class::Blocked, format!("deferred: needs {}", deferral.needs.origin()))
                }
                (None, None) => Error::new(Class::Script, error.to_string()),
            }
        });
        let value = value.map(|value| from_dynamic(&value).unwrap_or_else(|refused| panic!("{refused}")));
        let events = events.lock().unwrap().clone();
        Told { value, events, inputs }
    }

    fn engine(&self, inputs: Arc<Inputs>) -> Engine {
        let mut register: Vec<fn(&mut Engine)> = vec![flow::register, inputs::register];
        register.extend(&self.register);
        let root = self.root().to_owned();
        let mut engine = engine::build(EngineOptions { register: &register, root, ..EngineOptions::default() });
        let services = self.services.clone().with(inputs).with(Arc::new(Network::new(self.network.dialler)));
        let explain = Arc::new(|error: &rhai::EvalAltResult, _: Option<&str>| {
            plain(&as_error(error).unwrap_or_else(|| Error::new(Class::Script, error.to_string())))
        });
        let context = Context { services, places: Places::default(), realms: self.realms.clone(), explain };
        engine.set_default_tag(Dynamic::from(context));
        engine
    }
}

impl Told {
    /// The value as a screen shows it.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Ok(value) => value.to_display_json(),
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub fn error(&self) -> &Error {
        self.value.as_ref().expect_err("it went well")
    }

    /// The changes that were planned or made.
    pub fn changes(&self) -> Vec<&Change> {
        let changes = self.events.iter().filter_map(|what| match what {
            What::ChangePlanned { change, .. } | What::ChangeStarted { change, .. } => Some(change),
            _ => None,
        });
        changes.collect()
    }

    /// Their addresses.
    pub fn addresses(&self) -> Vec<&str> {
        self.changes().into_iter().map(|change| change.address.as_str()).collect()
    }

    /// Everything that was said.
    pub fn messages(&self) -> Vec<&str> {
        let messages = self.events.iter().filter_map(|what| match what {
            What::Message { text, .. } => Some(text.as_str()),
            _ => None,
        });
        messages.collect()
    }

    /// All events as they would leave the program.
    pub fn shown(&self) -> String {
        serde_json::to_string(&self.events).unwrap()
    }
}
