//! Commands on a host: guarded, opaque, or only looking.

use std::sync::Arc;

use homelab::error::Result;
use homelab::primitives::flow::outcome::to_map;
use homelab::run::capability::Writer;
use homelab::run::difference::Difference;
use homelab::run::ensure::{self, ensure};
use homelab::run::event::Action;
use homelab::run::raw::{self, Raw};
use homelab::run::resource::{Cell, Fact, Reach, Reader, Resource};
use homelab::run::scope::{self, Phase};
use homelab::run::unknown::Unknown;
use homelab::run::value::{Map, State, Value};
use homelab::script::RhaiResult;
use homelab::script::context::options;
use homelab::script::convert::to_dynamic;
use homelab::script::failure::fail;
use rhai::{Dynamic, Engine, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::host::{FileFact, Host};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunOptions {
    #[serde(default)]
    creates: Option<String>,
    #[serde(default)]
    unless: Option<String>,
    #[serde(default)]
    only_if: Option<String>,
    #[serde(default)]
    provides: Option<Vec<String>>,
    #[serde(default)]
    query: bool,
}

struct Command {
    host: Host,
    command: String,
    options: RunOptions,
}

impl Command {
    fn done(&self) -> State {
        State::Here(Value::Map(Map::from([("command".to_owned(), Value::from(self.command.as_str()))])))
    }
}

impl Fact for Command {
    fn address(&self) -> String {
        format!("{}:run:{}", self.host.name, self.command)
    }

    fn cell(&self) -> Cell {
        Cell::new(self.host.realm(), format!("run:{}", self.command))
    }

    fn read(&self, _: &Reader) -> Result<State> {
        if let Some(path) = &self.options.creates {
            let made = ensure::read(&FileFact { host: self.host.clone(), path: path.clone() })?;
            return Ok(match made {
                State::Here(_) => self.done(),
                other => other,
            });
        }
        let (guard, runs_on) = match (&self.options.unless, &self.options.only_if) {
            (Some(unless), _) => (unless, false),
            (None, Some(only_if)) => (only_if, true),
            (None, None) => return Ok(State::Absent),
        };
        Ok(match look(&self.host, guard)? {
            Err(unknown) => State::Unknown(unknown),
            Ok((exit, _)) if (exit == 0) == runs_on => State::Absent,
            Ok(_) => self.done(),
        })
    }

    fn stands_on(&self) -> Option<&str> {
        Some(&self.host.name)
    }
}

impl Resource for Command {
    fn want(&self, _: &State) -> Result<State> {
        Ok(self.done())
    }

    fn change(&self, _: &Difference, _: &Writer) -> Result<Map> {
        self.host.world.run(&self.host.name, &self.command).map(|()| Map::new())
    }

    fn action(&self, _: &Difference) -> Action {
        Action::Run
    }

    fn reach(&self) -> Reach {
        let cell = |path: &String| FileFact { host: self.host.clone(), path: path.clone() }.cell();
        match &self.options.provides {
            Some(paths) => Reach::Cells(paths.iter().map(cell).collect()),
            None => Reach::Realm,
        }
    }

    fn owns_cell(&self) -> bool {
        false
    }
}

/// What a command that only looks sees.
struct Query {
    host: Host,
    command: String,
}

impl Fact for Query {
    fn address(&self) -> String {
        format!("{}:query:{}", self.host.name, self.command)
    }

    fn cell(&self) -> Cell {
        Cell::new(self.host.realm(), format!("query:{}", self.command))
    }

    fn read(&self, _: &Reader) -> Result<State> {
        let (exit, output) = self.host.world.query(&self.host.name, &self.command)?;
        Ok(State::Here(Value::List(vec![Value::Int(exit), Value::Text(output)])))
    }

    fn stands_on(&self) -> Option<&str> {
        Some(&self.host.name)
    }
}

/// What a command sees, or why a dry run cannot know it.
fn look(host: &Host, command: &str) -> Result<std::result::Result<(i64, String), Unknown>> {
    let planned = scope::planned_machine(&host.name)?.map(|(_, cause)| cause);
    Ok(match scope::stale_realm(&host.realm())?.or(planned) {
        Some(unknown) => Err(unknown.part(command)),
        None => match ensure::read(&Query { host: host.clone(), command: command.to_owned() })? {
            State::Unknown(unknown) => Err(unknown),
            State::Here(Value::List(seen)) => match seen.as_slice() {
                [Value::Int(exit), Value::Text(output)] => Ok((*exit, output.clone())),
                other => unreachable!("a query gives its exit code and what it printed: {other:?}"),
            },
            other => unreachable!("a query sees something: {other:?}"),
        },
    })
}

/// Teaches the engine `host.run`.
pub fn register(engine: &mut Engine) {
    engine.register_fn("run", |host: &mut Host, command: &str| run(host, command, RunOptions::default())).register_fn(
        "run",
        |call: NativeCallContext, host: &mut Host, command: &str, map: rhai::Map| {
            run(host, command, options(&call, "run", map)?)
        },
    );
}

fn run(host: &Host, command: &str, options: RunOptions) -> RhaiResult<Dynamic> {
    if options.query {
        let seen = look(host, command).map_err(fail)?;
        return Ok(to_dynamic(&match seen {
            Err(unknown) => Value::Unknown(unknown),
            Ok((exit, output)) => Value::Map(Map::from([
                ("exit".to_owned(), Value::Int(exit)),
                ("stdout".to_owned(), Value::Text(output)),
            ])),
        }));
    }
    if scope::with(|branch| matches!(branch.phase, Phase::Change | Phase::Rehearse)).map_err(fail)? {
        return part_of_a_change(host, command);
    }
    let command = Command { host: host.clone(), command: command.to_owned(), options };
    ensure(&Arc::new(command)).map(|outcome| Dynamic::from(to_map(outcome))).map_err(fail)
}

fn part_of_a_change(host: &Host, command: &str) -> RhaiResult<Dynamic> {
    let (host, command) = (host.clone(), command.to_owned());
    let raw = Raw {
        address: format!("{}:run:{command}", host.name),
        realm: host.realm(),
        details: Value::Map(Map::from([("command".to_owned(), Value::from(command.as_str()))])),
        send: Arc::new(move |_| host.world.run(&host.name, &command).map(|()| Value::Null)),
    };
    raw::mutate(raw).map(|answer| to_dynamic(&answer)).map_err(fail)
}
