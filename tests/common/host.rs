//! A handle on a host, with files and lines in files.

use std::sync::Arc;

use homelab::error::{Class, Error, Result};
use homelab::primitives::flow::outcome::to_map;
use homelab::run::capability::Writer;
use homelab::run::difference::Difference;
use homelab::run::ensure::{self, ensure};
use homelab::run::resource::{Cell, Fact, Reader, Resource};
use homelab::run::scope;
use homelab::run::unknown::Unknown;
use homelab::run::value::{Map, State, Value};
use homelab::script::RhaiResult;
use homelab::script::args::Maybe;
use homelab::script::context::{Context, options};
use homelab::script::convert::to_dynamic;
use homelab::script::failure::fail;
use rhai::{Dynamic, Engine, FuncRegistration, Module, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::world::{IMAGE, TestWorld};

/// A handle on a host.
#[derive(Clone)]
pub struct Host {
    /// The world it is in.
    pub world: Arc<TestWorld>,
    /// Its name.
    pub name: String,
}

impl Host {
    /// What its commands can reach.
    pub fn realm(&self) -> String {
        format!("host:{}", self.name)
    }
}

/// The realm of a host handle.
pub fn realm_of(value: &Dynamic) -> Option<String> {
    value.read_lock::<Host>().map(|host| host.realm())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HostOptions {
    #[serde(default)]
    name: Option<String>,
    address: Maybe<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileOptions {
    path: String,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    content: Option<Value>,
    #[serde(default)]
    absent: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LineOptions {
    path: String,
    key: String,
    #[schemars(with = "String")]
    line: Value,
}

/// A file, as it can be read.
pub struct FileFact {
    /// Where.
    pub host: Host,
    /// Its path.
    pub path: String,
}

impl Fact for FileFact {
    fn address(&self) -> String {
        format!("{}:file:{}", self.host.name, self.path)
    }

    fn cell(&self) -> Cell {
        Cell::new(self.host.realm(), format!("file:{}", self.path))
    }

    fn read(&self, _: &Reader) -> Result<State> {
        let content = self.host.world.file(&self.host.name, &self.path)?;
        Ok(content.map_or(State::Absent, |content| holding(Value::Text(content))))
    }

    fn stands_on(&self) -> Option<&str> {
        Some(&self.host.name)
    }

    fn imagined(&self) -> State {
        match IMAGE.iter().any(|(path, _)| *path == self.path) {
            true => State::Unknown(Unknown::from_origin(self.address())),
            false => State::Absent,
        }
    }
}

fn holding(content: Value) -> State {
    State::Here(Value::Map(Map::from([("content".to_owned(), content)])))
}

/// How a text gets to the host: in clear.
fn clear(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Text(text) => Some(text.clone()),
        Value::Secret(secret) => Some(secret.expose().to_owned()),
        _ => None,
    }
}

fn write(fact: &FileFact, difference: &Difference) -> Result<Map> {
    let content = clear(difference.wanted("content"));
    fact.host.world.set_file(&fact.host.name, &fact.path, content.as_deref())?;
    Ok(Map::new())
}

/// A file with a whole content.
struct File {
    fact: FileFact,
    content: Option<Value>,
}

/// A line in a file, found by how it begins.
struct Line {
    fact: FileFact,
    key: String,
    line: Value,
}

macro_rules! of_its_file {
    ($($resource:ty),*) => {$(
        impl Fact for $resource {
            fn address(&self) -> String {
                self.fact.address()
            }
            fn cell(&self) -> Cell {
                self.fact.cell()
            }
            fn read(&self, reader: &Reader) -> Result<State> {
                self.fact.read(reader)
            }
            fn stands_on(&self) -> Option<&str> {
                self.fact.stands_on()
            }
            fn imagined(&self) -> State {
                self.fact.imagined()
            }
        }
    )*};
}

of_its_file!(File);

impl Resource for File {
    fn want(&self, _: &State) -> Result<State> {
        Ok(self.content.clone().map_or(State::Absent, holding))
    }

    fn change(&self, difference: &Difference, _: &Writer) -> Result<Map> {
        write(&self.fact, difference)
    }
}

impl Fact for Line {
    fn address(&self) -> String {
        format!("{}:line:{} {}", self.fact.host.name, self.fact.path, self.key)
    }

    fn cell(&self) -> Cell {
        self.fact.cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        self.fact.read(reader)
    }

    fn stands_on(&self) -> Option<&str> {
        self.fact.stands_on()
    }

    fn imagined(&self) -> State {
        self.fact.imagined()
    }
}

impl Line {
    fn edited(&self, text: &str, line: &str) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        match lines.iter_mut().find(|old| old.starts_with(&self.key)) {
            Some(old) => *old = line,
            None => lines.push(line),
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Resource for Line {
    fn want(&self, have: &State) -> Result<State> {
        let unseen = || holding(Value::Unknown(Unknown::from_origin(self.address())));
        let text = match have {
            State::Absent => Some(String::new()),
            State::Here(value) => clear(value.get("content")),
            State::Unknown(_) => None,
        };
        if let Value::Unknown(unknown) = &self.line {
            return Ok(holding(Value::Unknown(unknown.clone())));
        }
        Ok(match (text, clear(Some(&self.line))) {
            (Some(text), Some(line)) => holding(Value::Text(self.edited(&text, &line))),
            _ => unseen(),
        })
    }

    fn change(&self, difference: &Difference, _: &Writer) -> Result<Map> {
        write(&self.fact, difference)
    }
}

/// Teaches the engine `world::host` and the methods of its handles.
pub fn register(engine: &mut Engine, module: &mut Module) {
    FuncRegistration::new("host").set_into_module(module, |call: NativeCallContext, name: &str| -> RhaiResult<Host> {
        scope::note_handle();
        Ok(Host { world: Context::service::<TestWorld>(&call)?, name: name.to_owned() })
    });
    FuncRegistration::new("host").set_into_module(
        module,
        |call: NativeCallContext, map: rhai::Map| -> RhaiResult<Host> {
            let options: HostOptions = options(&call, "host", map)?;
            let name = options.name.or(options.address.known().cloned()).ok_or_else(|| {
                fail(Error::new(Class::Script, "host: its address is not known yet, so it needs a `name`"))
            })?;
            scope::note_handle();
            Ok(Host { world: Context::service::<TestWorld>(&call)?, name })
        },
    );
    engine
        .register_type_with_name::<Host>("Host")
        .register_get("name", |host: &mut Host| host.name.clone())
        .register_fn("file", |call: NativeCallContext, host: &mut Host, map: rhai::Map| -> RhaiResult<rhai::Map> {
            let options: FileOptions = options(&call, "file", map)?;
            let fact = FileFact { host: host.clone(), path: options.path };
            let content = (!options.absent).then(|| options.content.unwrap_or_else(|| Value::from("")));
            ensure(&Arc::new(File { fact, content })).map(to_map).map_err(fail)
        })
        .register_fn("line", |call: NativeCallContext, host: &mut Host, map: rhai::Map| -> RhaiResult<rhai::Map> {
            let options: LineOptions = options(&call, "line", map)?;
            let fact = FileFact { host: host.clone(), path: options.path };
            ensure(&Arc::new(Line { fact, key: options.key, line: options.line })).map(to_map).map_err(fail)
        })
        .register_fn("read", |host: &mut Host, path: &str| -> RhaiResult<Dynamic> {
            let state = ensure::read(&FileFact { host: host.clone(), path: path.to_owned() }).map_err(fail)?;
            Ok(to_dynamic(&match state {
                State::Unknown(unknown) => Value::Unknown(unknown.part("content")),
                // The host tells a text, also where a secret was written.
                State::Here(value) => {
                    let content = value.get("content");
                    clear(content).map_or_else(|| content.cloned().unwrap_or(Value::Null), Value::Text)
                }
                State::Absent => Value::Null,
            }))
        })
        .register_fn("exists", |host: &mut Host, path: &str| -> RhaiResult<Dynamic> {
            let state = ensure::read(&FileFact { host: host.clone(), path: path.to_owned() }).map_err(fail)?;
            Ok(to_dynamic(&match state {
                State::Unknown(unknown) => Value::Unknown(unknown.part("exists")),
                state => Value::Bool(state != State::Absent),
            }))
        })
        // What a careless primitive would do: look without telling the gate.
        .register_fn("peek", |host: &mut Host, path: &str| -> RhaiResult<String> {
            Ok(host.world.file(&host.name, path).map_err(fail)?.unwrap_or_default())
        });
}
