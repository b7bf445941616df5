//! Commands on a host: what a playbook says about one, and what it gets back.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::command::Line;
use super::mechanism::entry::Entry;
use super::mechanism::invocation::{Guard, Guarded, Invocation, Query};
use super::mechanism::look::look;
use super::mechanism::ownership;
use super::mechanism::probe::{self, Amount};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::ensure::{Changed, Outcome, ensure};
use crate::run::raw::{self, Raw};
use crate::run::resource::Fact;
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{Duration, Maybe, TextOrSecret};
use crate::script::context::options;
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// How a command is run, and when.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// What it does, in a few words: its change is listed under them. Default: the beginning of the command.
    #[serde(default)]
    pub name: Option<String>,
    /// A path that the command makes: it only runs where nothing is there, and something must be there afterwards.
    #[serde(default)]
    pub creates: Option<String>,
    /// A command that only reads: where it succeeds, there is nothing to do.
    #[serde(default)]
    pub unless: Option<String>,
    /// A command that only reads: where it fails, there is nothing to do.
    #[serde(default)]
    pub only_if: Option<String>,
    /// Whether the command itself only reads. Then a dry run runs it too. Default: false.
    #[serde(default)]
    pub query: bool,
    /// The paths that it may change, which a dry run then knows nothing about. Default: all of the host's. `[]` says
    /// that it changes nothing that this run reads.
    #[serde(default)]
    pub provides: Option<Vec<String>>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
    /// The folder it starts in, also for `unless` and `only_if`. Default: the home of the user.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Variables of its environment. Default: none but those of the login, and `LC_ALL=C`.
    #[serde(default)]
    pub env: BTreeMap<String, Maybe<TextOrSecret>>,
    /// What it reads from its standard input. Default: nothing.
    #[serde(default)]
    pub stdin: Option<Maybe<TextOrSecret>>,
    /// How long it may take. Default: as long as it likes; a query 2 minutes.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Whether the command and what it prints must not show. What it printed is secret then. Default: false.
    #[serde(default)]
    pub hidden: bool,
}

/// Runs a command, where its guard and the gate say so.
pub(super) fn run(call: &NativeCallContext<'_>, host: &Host, command: &Dynamic, map: ScriptMap) -> RhaiResult<Dynamic> {
    let options: RunOptions = options(call, "run", map)?;
    let query = options.query;
    let result = Line::parse(command).and_then(|line| {
        check(&options, &line)?;
        let guarded = guarded(host, line, options)?;
        if query { ask(guarded.invocation) } else { change(guarded) }
    });
    result.map_err(fail)
}

/// Refuses options that contradict each other.
fn check(options: &RunOptions, line: &Line) -> Result<()> {
    let refuse = |what: String| Err(Error::new(Class::Script, format!("`run`: {what}")));
    if options.creates.is_some() && (options.unless.is_some() || options.only_if.is_some()) {
        return refuse("`creates` stands alone, without `unless` or `only_if`".to_owned());
    }
    if !options.query {
        return Ok(());
    }
    let senseless = [
        ("creates", options.creates.is_some()),
        ("unless", options.unless.is_some()),
        ("only_if", options.only_if.is_some()),
        ("provides", options.provides.is_some()),
        ("env", !options.env.is_empty()),
        ("stdin", options.stdin.is_some()),
        ("timeout", options.timeout.is_some()),
        ("hidden", options.hidden),
    ];
    if let Some((name, _)) = senseless.iter().find(|(_, given)| *given) {
        return refuse(format!("a query takes no `{name}`"));
    }
    if line.is_secret() {
        return refuse("a query takes no secret: its text shows in the host's list of processes".to_owned());
    }
    Ok(())
}

fn guarded(host: &Host, line: Line, options: RunOptions) -> Result<Guarded> {
    let become_ = host.whom(options.become_.as_ref());
    let label = match options.name {
        Some(name) => name,
        None if options.hidden => "a hidden command".to_owned(),
        None => line.label()?,
    };
    let guard = match options.creates {
        Some(path) => {
            let mut entry = Entry::seen(host, &probe::normal_path("creates", &path)?, Amount::Nothing);
            entry.become_.clone_from(&become_);
            Guard::Creates(Box::new(entry))
        }
        None if options.unless.is_none() && options.only_if.is_none() => Guard::None,
        None => Guard::Commands { unless: options.unless, only_if: options.only_if },
    };
    let provides = options.provides.map(|paths| {
        paths.iter().map(|path| Ok(host.path_cell(&probe::normal_path("provides", path)?))).collect::<Result<_>>()
    });
    let invocation = Invocation {
        host: host.clone(),
        line,
        label,
        become_,
        cwd: options.cwd,
        env: options.env.into_iter().collect(),
        stdin: options.stdin,
        timeout: options.timeout.map(|span| span.0),
        hidden: options.hidden,
    };
    Ok(Guarded { invocation, guard, provides: provides.transpose()? })
}

/// A command that only reads.
fn ask(invocation: Invocation) -> Result<Dynamic> {
    look(&Query { invocation }).map(|state| to_dynamic(&state.into_value()))
}

/// A command that may change something: a change of its own, or part of the one that is being carried out.
fn change(guarded: Guarded) -> Result<Dynamic> {
    let guarded = Arc::new(guarded);
    match scope::with(|branch| branch.phase)? {
        Phase::Change => match look(&*guarded)? {
            State::Here(_) => Ok(printed(Map::new(), Changed::No)),
            _ => take_part(&guarded),
        },
        Phase::Rehearse => take_part(&guarded),
        _ => {
            let outcome = ensure(&guarded)?;
            believe_in_what_it_creates(&guarded, &outcome)?;
            Ok(with_output(outcome))
        }
    }
}

fn take_part(guarded: &Arc<Guarded>) -> Result<Dynamic> {
    let sender = Arc::clone(guarded);
    let raw = Raw {
        address: guarded.address(),
        realm: guarded.invocation.host.realm(),
        details: Value::Map(guarded.invocation.details()),
        send: Arc::new(move |writer| sender.carry_out(writer).map(Value::Map)),
    };
    Ok(match raw::mutate(raw)? {
        Value::Map(output) => printed(output, Changed::Yes),
        unknown => to_dynamic(&unknown),
    })
}

/// The path that the command makes is there from now on, whatever it will look like.
fn believe_in_what_it_creates(guarded: &Guarded, outcome: &Outcome) -> Result<()> {
    let Guard::Creates(entry) = &guarded.guard else { return Ok(()) };
    if outcome.changed == Changed::No {
        return Ok(());
    }
    let address = guarded.address();
    let there = State::Here(Value::Map(ownership::somehow(&entry.address())));
    scope::with(|branch| branch.overlay.put(entry.cell(), there, &address))
}

/// The outcome with what was printed; `()` where nothing was run, unknown where it will be.
fn with_output(outcome: Outcome) -> Dynamic {
    let printed = outcome.after.here().and_then(Value::as_map).cloned().unwrap_or_default();
    let fields = ["exit", "stdout", "stderr"].map(|field| {
        let value = match (&outcome.changed, printed.get(field)) {
            (Changed::No, _) => Value::Null,
            (_, Some(value)) => value.clone(),
            (_, None) => Value::Unknown(Unknown::from_origin(format!("{}.{field}", outcome.address))),
        };
        (field, to_dynamic(&value))
    });
    let mut map = outcome::to_map(outcome);
    map.extend(fields.map(|(field, value)| (field.into(), value)));
    map.into()
}

/// What a part of a change gives back.
fn printed(output: Map, changed: Changed) -> Dynamic {
    let mut map = ScriptMap::new();
    for field in ["exit", "stdout", "stderr"] {
        map.insert(field.into(), to_dynamic(output.get(field).unwrap_or(&Value::Null)));
    }
    map.insert("changed".into(), (changed == Changed::Yes).into());
    map.into()
}
