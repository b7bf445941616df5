//! Commands on this machine: a program and its arguments, never a shell.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Dynamic, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::REALM;
use super::file::{LocalFile, cell};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::primitives::inputs::Inputs;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure;
use crate::run::event::Action;
use crate::run::raw::{self, Raw};
use crate::run::resource::{Cell, Fact, Reach, Reader, Resource};
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{self, Maybe, TextOrSecret};
use crate::script::context::{Context, options};
use crate::script::convert::{from_dynamic, to_dynamic};
use crate::script::failure::{defer, fail};

/// The variables of homelab's own environment that a command gets; secrets among the others stay here.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "TERM"];

/// How many of a failed command's last lines are quoted.
const QUOTED_LINES: usize = 8;

/// When and how a command runs. Of `query`, `creates`, `unless` and `only_if` one may be given; without any, the
/// command runs every time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// The command only reads: it runs in a dry run too, any exit code is an answer, and it counts as no change.
    /// Default: false.
    #[serde(default)]
    pub query: bool,
    /// Runs only where there is nothing at this path, which must be there afterwards.
    #[serde(default)]
    pub creates: Option<String>,
    /// Runs unless this command, which only reads, exits with 0.
    #[serde(default)]
    pub unless: Option<Vec<String>>,
    /// Runs only if this command, which only reads, exits with 0.
    #[serde(default)]
    pub only_if: Option<Vec<String>>,
    /// The paths that the command brings about, and nothing else that is read later; `[]` says that it touches nothing
    /// that is read. Default: it may change anything on this machine.
    #[serde(default)]
    pub provides: Option<Vec<String>>,
    /// The folder it runs in. Default: the project's.
    #[serde(default)]
    pub cwd: Option<String>,
    /// More environment variables. Of homelab's own environment the command gets `PATH`, `HOME` and the like only.
    #[serde(default)]
    pub env: BTreeMap<String, Maybe<TextOrSecret>>,
    /// What it reads on its standard input. Default: nothing.
    #[serde(default)]
    pub stdin: Option<Maybe<TextOrSecret>>,
    /// How long it may take. Default: 10 minutes.
    #[serde(default = "ten_minutes")]
    pub timeout: args::Duration,
}

fn ten_minutes() -> args::Duration {
    args::Duration::from_secs(600)
}

/// Runs a command as its options say.
pub(super) fn run(call: &NativeCallContext<'_>, command: Array, map: ScriptMap) -> RhaiResult<Dynamic> {
    let options: RunOptions = options(call, "local::run", map)?;
    let inputs = Context::service::<Inputs>(call)?;
    let program = Program::new(&inputs, command, &options).map_err(fail)?;
    if options.query {
        return query(&program);
    }
    if scope::with(|branch| branch.phase).map_err(fail)? != Phase::Script {
        return raw::mutate(program.raw()).map(|answer| to_dynamic(&answer)).map_err(fail);
    }
    let guard = Guard::new(&inputs, &options).map_err(fail)?;
    let reach = match &options.provides {
        None => Reach::Realm,
        Some(paths) => {
            let cells = paths.iter().map(|path| inputs.path(path).map(|path| cell(&path)));
            Reach::Cells(cells.collect::<Result<_>>().map_err(fail)?)
        }
    };
    let outcome = ensure::ensure(&Arc::new(Guarded { program, guard, reach })).map_err(fail)?;
    let mut map = outcome::to_map(outcome);
    let after = map.get("after").and_then(|after| after.clone().try_cast::<ScriptMap>()).unwrap_or_default();
    let changed = map.get("changed").is_none_or(|changed| !changed.as_bool().is_ok_and(|changed| !changed));
    let address = map.get("address").map(ToString::to_string).unwrap_or_default();
    for field in ["exit", "stdout", "stderr"] {
        let unknown =
            || if changed { Dynamic::from(Unknown::from_origin(format!("{address}.{field}"))) } else { Dynamic::UNIT };
        map.insert(field.into(), after.get(field).cloned().unwrap_or_else(unknown));
    }
    Ok(map.into())
}

/// Runs a command that only reads. A plan cannot tell its answer after a change that it may see.
fn query(program: &Program) -> RhaiResult<Dynamic> {
    scope::require(&[Phase::Script, Phase::Read, Phase::Change], "local::run").map_err(fail)?;
    if let Some(unknown) = scope::stale_realm(REALM).map_err(fail)?.filter(|_| scope::is_planning().unwrap_or(false)) {
        return Ok(Dynamic::from(unknown));
    }
    if let Some(unknown) = program.unknown() {
        return Err(defer(&unknown, "local::run"));
    }
    scope::wait(program.run()).map(|done| to_dynamic(&done.into_value())).map_err(fail)
}

/// A command, ready to be run.
#[derive(Debug, Clone)]
struct Program {
    words: Vec<Value>,
    folder: PathBuf,
    env: BTreeMap<String, Value>,
    stdin: Option<Value>,
    timeout: Duration,
}

/// How a command ended.
struct Done {
    exit: i64,
    stdout: String,
    stderr: String,
}

impl Done {
    fn into_value(self) -> Value {
        Value::Map(self.into_map())
    }

    fn into_map(self) -> Map {
        Map::from([
            ("exit".to_owned(), Value::Int(self.exit)),
            ("stdout".to_owned(), Value::Text(self.stdout)),
            ("stderr".to_owned(), Value::Text(self.stderr)),
        ])
    }
}

impl Program {
    fn new(inputs: &Inputs, command: Array, options: &RunOptions) -> Result<Self> {
        let words = command.iter().map(word).collect::<Result<Vec<_>>>()?;
        if words.is_empty() {
            return Err(Error::new(Class::Script, "`local::run`: the command is empty")
                .help("give it a program and its arguments: `local::run([\"git\", \"status\"], #{ query: true })`"));
        }
        let folder = options.cwd.as_ref().map_or_else(|| Ok(inputs.root().to_owned()), |cwd| inputs.path(cwd))?;
        let value = |value: Maybe<TextOrSecret>| value.into_value(TextOrSecret::into_value);
        Ok(Program {
            words,
            folder,
            env: options.env.clone().into_iter().map(|(name, text)| (name, value(text))).collect(),
            stdin: options.stdin.clone().map(value),
            timeout: options.timeout.0,
        })
    }

    /// The command line as people read it.
    fn line(&self) -> String {
        let words = self.words.iter().map(|word| match word {
            Value::Text(text) => crate::clients::ssh::quote(text),
            Value::Unknown(unknown) => unknown.template(),
            other => other.to_display_json().to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn address(&self) -> String {
        format!("local:run:{}", self.line())
    }

    /// All that is handed to the command, for the diff.
    fn details(&self) -> Map {
        let mut map = Map::from([("command".to_owned(), Value::List(self.words.clone()))]);
        if !self.env.is_empty() {
            map.insert("env".to_owned(), Value::Map(self.env.clone()));
        }
        if let Some(stdin) = &self.stdin {
            map.insert("stdin".to_owned(), stdin.clone());
        }
        map
    }

    fn unknown(&self) -> Option<Unknown> {
        let details = Value::Map(self.details());
        let unknowns = details.unknowns();
        (!unknowns.is_empty()).then(|| Unknown::join(unknowns))
    }

    fn raw(self) -> Raw {
        Raw {
            address: self.address(),
            realm: REALM.to_owned(),
            details: Value::Map(self.details()),
            send: Arc::new(move |_: &Writer| self.run_well().map(Done::into_value)),
        }
    }

    /// Runs it, and takes any exit code but 0 for a failure.
    fn run_well(&self) -> Result<Done> {
        let done = scope::wait(self.run())?;
        if done.exit == 0 {
            return Ok(done);
        }
        let error = Error::new(Class::Failed, format!("local: `{}` ended with exit code {}", self.line(), done.exit));
        let said = if done.stderr.trim().is_empty() { &done.stdout } else { &done.stderr };
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n");
        Err(if last.is_empty() { error } else { error.cause(last) })
    }

    async fn run(&self) -> Result<Done> {
        let failed = |what: &str| Error::new(Class::Failed, format!("local: `{}`: {what}", self.line()));
        let mut child = self.command().spawn().map_err(|error| {
            failed("cannot be started").cause(error).help("is the program installed, and on the PATH?")
        })?;
        let mut pipe = child.stdin.take();
        let feed = async {
            // A program that does not read all of its input ends the pipe; its exit code tells whether that is bad.
            if let (Some(pipe), Some(text)) = (&mut pipe, self.stdin.as_ref().and_then(exposed)) {
                let _ = pipe.write_all(text.as_bytes()).await;
            }
            drop(pipe);
        };
        let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(self.timeout, ended)
            .await
            .map_err(|_| {
                Error::new(Class::Timeout, format!("local: `{}`: not done within {:?}", self.line(), self.timeout))
                    .help("give it more time with `timeout:`")
            })?
            .map_err(|error| failed("was lost").cause(error))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // A program that a signal ended has no exit code; shells say 128 and the number of the signal.
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or_default();
        let exit = output.status.code().unwrap_or(128 + signal);
        Ok(Done { exit: i64::from(exit), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    fn command(&self) -> Command {
        let mut words = self.words.iter().filter_map(exposed);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.folder).env_clear().env("LC_ALL", "C.UTF-8").kill_on_drop(true);
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(self.env.iter().filter_map(|(name, value)| Some((name, exposed(value)?))));
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn exposed(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Secret(secret) => Some(secret.expose().to_owned()),
        _ => None,
    }
}

/// A word of a command. Everybody on the machine can read a running command's words, so no secret may be one.
fn word(value: &Dynamic) -> Result<Value> {
    let shows = |what: &str| {
        Err(Error::new(Class::Script, format!("`local::run`: an argument {what} a secret, and arguments show"))
            .help("hand it over by `env:` or `stdin:`"))
    };
    match from_dynamic(value)? {
        Value::Secret(_) => shows("is"),
        Value::Text(text) if scope::run()?.redactor.finds(&text) => shows("holds"),
        Value::Int(number) => Ok(Value::Text(number.to_string())),
        word @ (Value::Text(_) | Value::Unknown(_)) => Ok(word),
        other => Err(Error::new(Class::Script, format!("`local::run`: {} is no argument", other.to_display_json()))
            .help("arguments are texts and whole numbers")),
    }
}

/// What says whether a command has to run.
enum Guard {
    Always,
    Creates(LocalFile),
    /// Its exit code 0 means that the command is not needed (`true`), or that it is (`false`).
    Asks(Box<Program>, bool),
}

impl Guard {
    fn new(inputs: &Inputs, options: &RunOptions) -> Result<Self> {
        let asks = |words: &[String], met: bool| {
            let command = words.iter().map(|word| word.as_str().into()).collect();
            let plain = RunOptions { stdin: None, ..options.clone() };
            Program::new(inputs, command, &plain).map(|program| Guard::Asks(Box::new(program), met))
        };
        match (&options.creates, &options.unless, &options.only_if) {
            (None, None, None) => Ok(Guard::Always),
            (Some(path), None, None) => Ok(Guard::Creates(LocalFile::new(inputs, inputs.path(path)?))),
            (None, Some(words), None) => asks(words, true),
            (None, None, Some(words)) => asks(words, false),
            _ => Err(Error::new(Class::Script, "`local::run`: more than one guard")
                .help("give one of `creates`, `unless`, `only_if`")),
        }
    }

    /// Whether the command is done with; an unknown where only the real run will tell.
    fn is_met(&self) -> Result<Result<bool, Unknown>> {
        match self {
            Guard::Always => Ok(Ok(false)),
            Guard::Creates(file) => Ok(match ensure::read(file)? {
                State::Absent => Ok(false),
                State::Here(_) => Ok(true),
                State::Unknown(unknown) => Err(unknown),
            }),
            Guard::Asks(program, met) => {
                if let Some(unknown) = scope::stale_realm(REALM)?.filter(|_| scope::is_planning().unwrap_or(false)) {
                    return Ok(Err(unknown));
                }
                let done = scope::wait(program.run())?;
                Ok(Ok((done.exit == 0) == *met))
            }
        }
    }
}

/// A command with its guard.
struct Guarded {
    program: Program,
    guard: Guard,
    reach: Reach,
}

impl Fact for Guarded {
    fn address(&self) -> String {
        self.program.address()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("run:{}", self.program.line()))
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        Ok(match self.guard.is_met()? {
            Ok(true) => State::Here(Value::Map(self.program.details())),
            Ok(false) => State::Absent,
            Err(unknown) => State::Unknown(unknown),
        })
    }
}

impl Resource for Guarded {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(State::Here(Value::Map(self.program.details())))
    }

    fn change(&self, _difference: &Difference, _writer: &Writer) -> Result<Map> {
        let done = self.program.run_well()?;
        if let Guard::Creates(file) = &self.guard
            && file.read(&Reader::default())? == State::Absent
        {
            return Err(Error::new(
                Class::VerifyFailed,
                format!("{}: it ran, and {} is still not there", self.address(), file.address()),
            )
            .help("`creates` names what the command brings about"));
        }
        Ok(done.into_map())
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn reach(&self) -> Reach {
        self.reach.clone()
    }

    fn owns_cell(&self) -> bool {
        false
    }
}
