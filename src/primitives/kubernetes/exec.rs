//! Commands in containers that run.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Map as ScriptMap};
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Kubernetes, REALM};
use super::pods::{Found, Whose};
use super::wait::two_minutes;
use super::{reads, veil};
use crate::clients::kubernetes::{Command, Ended};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{ensure, read};
use crate::run::event::Action;
use crate::run::raw::{Raw, mutate};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope::{self, Phase};
use crate::run::secret::Secret;
use crate::run::value::{Map, State, Value};
use crate::script::args::{self, Maybe, TextOrSecret};
use crate::script::convert::to_dynamic;

/// A command in a container that runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecOptions {
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod.
    #[serde(default)]
    pub pod: Option<String>,
    /// The labels of the pods, of which the newest is meant that is ready.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The container. Default: the only one.
    #[serde(default)]
    pub container: Option<String>,
    /// The program and its arguments. No shell looks at them, unless one is the program: `["sh", "-c", "…"]`. They show in the
    /// list of processes there: a secret belongs into `stdin`.
    pub command: Vec<String>,
    /// What it reads from its standard input. Default: nothing.
    #[serde(default)]
    pub stdin: Option<Maybe<TextOrSecret>>,
    /// Whether the command only reads. Then a dry run runs it too, and it may end with what it likes. Default: false.
    #[serde(default)]
    pub query: bool,
    /// Whether what it prints must not show: it is secret then. Default: false.
    #[serde(default)]
    pub hidden: bool,
    /// How long it may take. Default: 2 minutes.
    #[serde(default = "two_minutes")]
    pub timeout: args::Duration,
}

/// A command, and where it is run.
struct Exec {
    k: Kubernetes,
    whose: Whose,
    options: ExecOptions,
}

/// Runs a command: as a question, as a change of its own, or as a part of the one that is being made.
pub(super) fn exec(k: &Kubernetes, options: ExecOptions) -> Result<Dynamic> {
    if options.command.first().is_none_or(String::is_empty) {
        let wrong = Error::new(Class::Script, "`exec`: there is no command");
        return Err(wrong.help("as in `command: [\"cat\", \"/etc/os-release\"]`"));
    }
    let whose = Whose::of("exec", &options.namespace, options.pod.as_ref(), &options.labels)?;
    let exec = Arc::new(Exec { k: k.clone(), whose, options });
    if exec.options.query {
        return exec.ask().map(|value| to_dynamic(&value));
    }
    match scope::with(|branch| branch.phase)? {
        Phase::Change | Phase::Rehearse => exec.take_part().map(|value| to_dynamic(&value)),
        _ => {
            let outcome = ensure(&exec)?;
            let printed = outcome.after.here().and_then(Value::as_map).cloned().unwrap_or_default();
            let mut map: ScriptMap = outcome::to_map(outcome);
            for field in ["exit", "stdout", "stderr"] {
                map.insert(field.into(), to_dynamic(printed.get(field).unwrap_or(&Value::Null)));
            }
            Ok(map.into())
        }
    }
}

impl Exec {
    fn ask(&self) -> Result<Value> {
        match reads::opaque()? {
            Some(cause) => Ok(Value::Unknown(cause.part("exec"))),
            None => Ok(read(&Query { exec: self })?.into_value()),
        }
    }

    fn take_part(self: &Arc<Self>) -> Result<Value> {
        let sender = Arc::clone(self);
        mutate(Raw {
            address: self.address(),
            realm: REALM.to_owned(),
            details: Value::Map(self.details()),
            send: Arc::new(move |writer| sender.carry_out(writer).map(Value::Map)),
        })
    }

    fn details(&self) -> Map {
        let words = self.options.command.iter().map(Value::text).collect();
        let mut map = Map::from([("command".to_owned(), Value::List(words))]);
        if let Some(stdin) = &self.options.stdin {
            map.insert("stdin".to_owned(), stdin.clone().into_value(TextOrSecret::into_value));
        }
        map
    }

    fn command(&self, pod: String) -> Result<Command> {
        let stdin = match &self.options.stdin {
            None => None,
            Some(Maybe::Known(text)) => Some(text.expose().as_bytes().to_vec()),
            Some(Maybe::Unknown(unknown)) => return Err(unknown.needed(&self.address())),
        };
        Ok(Command {
            namespace: self.whose.namespace.clone(),
            pod,
            container: self.options.container.clone(),
            words: self.options.command.clone(),
            stdin,
            limit: self.options.timeout.0,
        })
    }

    fn told(&self, ended: Ended) -> Map {
        let text =
            |text: String| if self.options.hidden { Value::Secret(Secret::new(text)) } else { Value::Text(text) };
        Map::from([
            ("exit".to_owned(), Value::Int(ended.exit)),
            ("stdout".to_owned(), text(ended.stdout)),
            ("stderr".to_owned(), text(ended.stderr)),
        ])
    }

    fn carry_out(&self, writer: &Writer) -> Result<Map> {
        let client = self.k.writing()?;
        let pod = match self.whose.find(&self.k, &Reader::default())? {
            Found::Pod(pod) => pod,
            Found::NotYet(unknown) => return Err(unknown.needed(&self.address())),
        };
        veil::over_pod(&client, &self.whose.namespace, &pod)?;
        let command = self.command(pod)?;
        let ended = scope::wait(async { Ok(client.exec(&command, writer).await?) })
            .map_err(|error| error.context(format!("{}: it cannot be run", self.address())))?;
        if ended.exit == 0 {
            return Ok(self.told(ended));
        }
        let failed = Error::new(Class::Failed, format!("{}: it ended with {}", self.address(), ended.exit));
        if self.options.hidden {
            return Err(failed.help("what it printed is hidden; run it by hand to see it: `kubectl exec`"));
        }
        let said = [ended.stderr, ended.stdout].into_iter().map(|text| text.trim_end().to_owned());
        let failed = said.filter(|text| !text.is_empty()).fold(failed, Error::cause);
        Err(failed.help("that is what it printed inside of the container"))
    }
}

impl Fact for Exec {
    fn address(&self) -> String {
        format!("{REALM}:exec:{}:{}", self.whose.shown(), self.options.command[0])
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("exec:{}:{}", self.whose.shown(), self.options.command.join(" ")))
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        Ok(State::Absent)
    }
}

impl Resource for Exec {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(State::Here(Value::Map(self.details())))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        self.carry_out(writer)
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn fills(&self) -> Vec<String> {
        ["exit", "stdout", "stderr"].map(str::to_owned).to_vec()
    }

    fn owns_cell(&self) -> bool {
        false
    }
}

/// The same as a question.
struct Query<'a> {
    exec: &'a Exec,
}

impl Fact for Query<'_> {
    fn address(&self) -> String {
        self.exec.address()
    }

    fn cell(&self) -> Cell {
        self.exec.cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let exec = self.exec;
        if let Some(Maybe::Unknown(unknown)) = &exec.options.stdin {
            return Ok(State::Unknown(unknown.clone()));
        }
        let client = match exec.k.client()? {
            Ok(client) => client,
            Err(unknown) => return Ok(State::Unknown(unknown.part("exec"))),
        };
        let pod = match exec.whose.find(&exec.k, reader)? {
            Found::Pod(pod) => pod,
            Found::NotYet(unknown) => return Ok(State::Unknown(unknown)),
        };
        veil::over_pod(&client, &exec.whose.namespace, &pod)?;
        let command = exec.command(pod)?;
        match reader.wait(async { Ok(client.exec_query(&command).await) })? {
            Ok(ended) => Ok(State::Here(Value::Map(exec.told(ended)))),
            Err(failure) => exec.k.later(failure).map(State::Unknown),
        }
    }
}
