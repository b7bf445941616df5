//! A handle on an API: virtual machines, tokens that show their secret once, and raw calls.

use std::sync::Arc;

use homelab::error::Result;
use homelab::primitives::flow::outcome::to_map;
use homelab::run::capability::Writer;
use homelab::run::difference::Difference;
use homelab::run::ensure::{Outcome, ensure};
use homelab::run::event::Action;
use homelab::run::raw::{self, Raw};
use homelab::run::resource::{Cell, Fact, Machine, Reader, Resource};
use homelab::run::scope;
use homelab::run::secret::Secret;
use homelab::run::unknown::Unknown;
use homelab::run::value::{Map, State, Value};
use homelab::script::RhaiResult;
use homelab::script::context::{Context, options};
use homelab::script::convert::{from_dynamic, to_dynamic};
use homelab::script::failure::fail;
use rhai::{Dynamic, Engine, FuncRegistration, Module, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::world::{TestWorld, normal};

const REALM: &str = "api";

/// A handle on the API.
#[derive(Clone)]
pub struct Api {
    world: Arc<TestWorld>,
}

/// The realm of an API handle.
pub fn realm_of(value: &Dynamic) -> Option<String> {
    value.is::<Api>().then(|| REALM.to_owned())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VmOptions {
    name: String,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    memory: Option<Value>,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    allow_destroy: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenOptions {
    name: String,
}

/// A virtual machine. Its creation brings a host of its name.
struct Vm {
    api: Api,
    options: VmOptions,
}

impl Vm {
    fn path(&self) -> String {
        format!("/vms/{}", self.options.name)
    }
}

impl Fact for Vm {
    fn address(&self) -> String {
        format!("api:vm:{}", self.options.name)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, self.path())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        reader.touch("/vms");
        reader.touch(self.path());
        Ok(self.api.world.get(&self.path()).map_or(State::Absent, State::Here))
    }
}

impl Resource for Vm {
    fn want(&self, have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        let mut map = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        map.insert("name".to_owned(), Value::from(self.options.name.as_str()));
        if let Some(memory) = &self.options.memory {
            map.insert("memory".to_owned(), normal(memory));
        }
        Ok(State::Here(Value::Map(map)))
    }

    fn change(&self, difference: &Difference, _: &Writer) -> Result<Map> {
        match difference.want.here().and_then(Value::as_map) {
            Some(map) => self.api.world.put(&self.path(), map).map(|_| Map::new()),
            None => self.api.world.delete(&self.path()).map(|()| Map::new()),
        }
    }

    fn fills(&self) -> Vec<String> {
        vec!["mac".to_owned(), "ip".to_owned()]
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        (difference.action == Action::Delete).then(|| "its disks are deleted".to_owned())
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }

    fn brings(&self, difference: &Difference) -> Option<Machine> {
        let new = difference.have == State::Absent;
        (difference.action != Action::Update).then(|| Machine { names: vec![self.options.name.clone()], new })
    }
}

/// A token. Its secret is shown when it is made, and never again.
struct Token {
    api: Api,
    name: String,
}

impl Token {
    fn path(&self) -> String {
        format!("/tokens/{}", self.name)
    }

    /// The outcome with the secret: shown now, to be shown by the run, or gone.
    fn with_secret(&self, outcome: Outcome) -> rhai::Map {
        let was_there = outcome.before != State::Absent;
        let mut outcome = outcome;
        if let State::Here(Value::Map(map)) = &mut outcome.after {
            map.entry("secret".to_owned()).or_insert_with(|| {
                let unknown = Unknown::from_origin(format!("{}.secret", self.address()));
                Value::Unknown(if was_there { unknown.spent() } else { unknown })
            });
        }
        to_map(outcome)
    }
}

impl Fact for Token {
    fn address(&self) -> String {
        format!("api:token:{}", self.name)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, self.path())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        reader.touch(self.path());
        Ok(self.api.world.get(&self.path()).map_or(State::Absent, State::Here))
    }
}

impl Resource for Token {
    fn want(&self, _: &State) -> Result<State> {
        Ok(State::Here(Value::Map(Map::from([("name".to_owned(), Value::from(self.name.as_str()))]))))
    }

    fn change(&self, difference: &Difference, _: &Writer) -> Result<Map> {
        let wanted = difference.want.here().and_then(Value::as_map).cloned().unwrap_or_default();
        self.api.world.put(&self.path(), &wanted)?;
        let secret = scope::run()?.redactor.secret("tiger-lily-42");
        Ok(Map::from([("secret".to_owned(), Value::Secret(secret))]))
    }
}

fn call_raw(api: &Api, method: &'static str, path: &str, body: rhai::Map) -> RhaiResult<Dynamic> {
    let Ok(Value::Map(body)) = from_dynamic(&body.into()) else { return Ok(Dynamic::UNIT) };
    let (world, path) = (Arc::clone(&api.world), path.to_owned());
    let details = Value::Map(body.clone());
    let address = format!("api:{method} {path}");
    let send = move |_: &Writer| match method {
        "DELETE" => world.delete(&path).map(|()| Value::Null),
        _ => world.put(&path, &body).map(Value::Map),
    };
    let raw = Raw { address, realm: REALM.to_owned(), details, send: Arc::new(send) };
    raw::mutate(raw).map(|answer| to_dynamic(&answer)).map_err(fail)
}

/// Teaches the engine `world::api` and the methods of its handles.
pub fn register(engine: &mut Engine, module: &mut Module) {
    FuncRegistration::new("api").set_into_module(module, |call: NativeCallContext| -> RhaiResult<Api> {
        scope::note_handle();
        Ok(Api { world: Context::service::<TestWorld>(&call)? })
    });
    FuncRegistration::new("secret").set_into_module(module, |text: &str| -> RhaiResult<Secret> {
        Ok(scope::run().map_err(fail)?.redactor.secret(text))
    });
    FuncRegistration::new("panic").set_into_module(module, || -> RhaiResult<()> { panic!("out of cheese") });
    // What a careless native would make of an unknown: the name of its type.
    FuncRegistration::new("careless")
        .set_into_module(module, |value: Dynamic| -> RhaiResult<String> { Ok(format!("<{}>", value.type_name())) });
    engine
        .register_type_with_name::<Api>("Api")
        .register_fn("vm", |call: NativeCallContext, api: &mut Api, map: rhai::Map| -> RhaiResult<rhai::Map> {
            let options: VmOptions = options(&call, "vm", map)?;
            ensure(&Arc::new(Vm { api: api.clone(), options })).map(to_map).map_err(fail)
        })
        .register_fn("token", |call: NativeCallContext, api: &mut Api, map: rhai::Map| -> RhaiResult<rhai::Map> {
            let TokenOptions { name } = options(&call, "token", map)?;
            let token = Arc::new(Token { api: api.clone(), name });
            ensure(&token).map(|outcome| token.with_secret(outcome)).map_err(fail)
        })
        .register_fn("get", |api: &mut Api, path: &str| -> RhaiResult<Dynamic> {
            Ok(match scope::stale_path(path).map_err(fail)? {
                Some(unknown) => to_dynamic(&Value::Unknown(unknown.part(path))),
                None => to_dynamic(&api.world.get(path).unwrap_or(Value::Null)),
            })
        })
        .register_fn("put", |api: &mut Api, path: &str, body: rhai::Map| call_raw(api, "PUT", path, body))
        .register_fn("post", |api: &mut Api, path: &str, body: rhai::Map| call_raw(api, "POST", path, body))
        .register_fn("remove", |api: &mut Api, path: &str| call_raw(api, "DELETE", path, rhai::Map::new()));
}
