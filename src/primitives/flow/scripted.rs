//! Resources written in Rhai: a map that says how to read, what is wanted and how to change it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rhai::{Dynamic, FnPtr, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::outcome;
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::deferral;
use crate::run::difference::Difference;
use crate::run::ensure::ensure_as;
use crate::run::event::{Action, Level};
use crate::run::overlay::Spread;
use crate::run::resource::{Cell, Fact, Reader, Resource, Wish};
use crate::run::scope::{self, Phase};
use crate::run::session::lock;
use crate::run::unknown::Unknown;
use crate::run::value::{self, State, Value};
use crate::script::RhaiResult;
use crate::script::args::Closure;
use crate::script::context::{Context, options};
use crate::script::convert::{from_dynamic, to_dynamic};
use crate::script::failure::{as_error, fail};

/// A resource written in Rhai.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// What people call it, unique: `"cloudflare:example.org:www"`.
    pub address: String,
    /// Reads what is there: a map or other plain value, or `()` when it is absent. It only reads.
    pub read: Closure,
    /// What should be there; `()` when it should be absent.
    pub want: Value,
    /// Creates it: gets what is wanted. What it returns as a map is kept for fields named in `once`.
    #[serde(default)]
    pub create: Option<Closure>,
    /// Changes it: gets what is there and what is wanted.
    #[serde(default)]
    pub update: Option<Closure>,
    /// Deletes it: gets what is there.
    #[serde(default)]
    pub delete: Option<Closure>,
    /// Brings a state into the form in which it is compared, where the other system rewrites what it is given. It gets
    /// a state and returns one. Default: states are compared as they are.
    #[serde(default)]
    pub normal: Option<Closure>,
    /// Surrounds the change: gets it as a closure to call. Use it to stop and start something around an edit.
    #[serde(default)]
    pub around: Option<Closure>,
    /// Fields that the other system fills in when it is created: unknown in a plan.
    #[serde(default)]
    pub fills: Vec<String>,
    /// Fields that `create` shows this once and nobody can read again, such as a token's secret.
    #[serde(default)]
    pub once: Vec<String>,
}

/// Brings a scripted resource to its wanted state.
pub(super) fn ensure(call: &NativeCallContext<'_>, map: Map) -> RhaiResult<Map> {
    let scripted: Scripted = options(call, "ensure", map)?;
    let realm = realm_of(call, &scripted);
    let resource = Running::new(call, realm, scripted);
    let want = scope::in_phase(Phase::Want, || resource.normal(State::from(resource.scripted.want.clone())))
        .map_err(|error| resource.failure(error))?;
    *lock(&resource.want) = Some(want.clone());
    let once = resource.scripted.once.clone();
    let wish = Wish {
        address: resource.scripted.address.clone(),
        cell: resource.cell(),
        want: Arc::new(move |have| Ok(merged(&want, have, &once))),
    };
    let outcome = ensure_as(&resource, wish).map_err(|error| resource.failure(error))?;
    if outcome.action.is_some() {
        warn_of_shared_reads(&resource).map_err(fail)?;
    }
    resource.note_reads().map_err(fail)?;
    let was_there = outcome.before != State::Absent;
    let mut map = outcome::to_map(outcome);
    add_shown_once(&resource.scripted, was_there, &mut map);
    Ok(map)
}

/// Two resources written in Rhai that read the same path may mean the same thing, which their cells do not show.
fn warn_of_shared_reads(resource: &Running<'_>) -> Result<()> {
    let own = &resource.scripted.address;
    let shared = {
        let run = scope::run()?;
        let record = run.record();
        let touched = lock(&resource.touched);
        let of_another = |path: &&String| record.scripted_reads.get(*path).is_some_and(|first| first != own);
        touched.iter().find(of_another).map(|path| (path.clone(), record.scripted_reads[path].clone()))
    };
    let Some((path, first)) = shared else { return Ok(()) };
    let text = format!("{own} changes something, and {first} reads {path} as well: they may undo each other");
    scope::say(Level::Warn, text)
}

/// The realm of the one system that its closures reach, so that fog over another does not touch it.
fn realm_of(call: &NativeCallContext<'_>, scripted: &Scripted) -> String {
    let own = format!("script:{}", scripted.address);
    let Some(context) = Context::of(call) else { return own };
    match context.spread_of(&scripted.read.0) {
        Spread::Realms(realms) if realms.len() == 1 => realms.into_iter().next().unwrap_or(own),
        _ => own,
    }
}

/// What was shown only once is unknown ever after; in a plan of its creation it is unknown still.
fn add_shown_once(scripted: &Scripted, was_there: bool, outcome: &mut Map) {
    let Some(mut after) = outcome.get("after").and_then(|after| after.clone().try_cast::<Map>()) else { return };
    for field in &scripted.once {
        after.entry(field.as_str().into()).or_insert_with(|| {
            let unknown = Unknown::from_origin(format!("{}.{field}", scripted.address));
            to_dynamic(&Value::Unknown(if was_there { unknown.spent() } else { unknown }))
        });
    }
    outcome.insert("after".into(), after.into());
}

/// What is wanted on top of what is there: fields that nobody asked for stay.
fn merged(want: &State, have: &State, once: &[String]) -> State {
    match (want, have) {
        (State::Here(Value::Map(want)), State::Here(Value::Map(have))) => {
            let mut all = have.clone();
            for (key, value) in want.iter().filter(|(key, _)| !once.contains(key)) {
                all.insert(key.clone(), value.clone());
            }
            State::Here(Value::Map(all))
        }
        (want, _) => want.clone(),
    }
}

/// A scripted resource while its `ensure` runs.
struct Running<'a> {
    call: &'a NativeCallContext<'a>,
    scripted: Scripted,
    realm: String,
    want: Mutex<Option<State>>,
    /// The script's own error, with its place; the gate only sees what it says.
    failure: Mutex<Option<Box<rhai::EvalAltResult>>>,
    /// The API paths that `read` asked for.
    touched: Mutex<BTreeSet<String>>,
}

impl<'a> Running<'a> {
    fn new(call: &'a NativeCallContext<'a>, realm: String, scripted: Scripted) -> Self {
        let (want, failure, touched) = (Mutex::new(None), Mutex::new(None), Mutex::default());
        Running { call, scripted, realm, want, failure, touched }
    }

    fn note_reads(&self) -> Result<()> {
        let run = scope::run()?;
        let mut record = run.record();
        for path in lock(&self.touched).iter() {
            record.scripted_reads.entry(path.clone()).or_insert_with(|| self.scripted.address.clone());
        }
        Ok(())
    }

    fn call(&self, closure: &FnPtr, arguments: Vec<Dynamic>) -> Result<Dynamic> {
        let answer = closure.call_within_context::<Dynamic>(self.call, arguments);
        if let (Some(deferral), Some(context)) = (deferral::pending(), Context::of(self.call)) {
            context.forget(&Dynamic::from(closure.clone()), &deferral.needs);
        }
        answer.map_err(|error| {
            let known = as_error(&error).unwrap_or_else(|| Error::new(Class::Script, error.to_string()));
            *lock(&self.failure) = Some(error);
            known
        })
    }

    /// The script's own error where the gate's error is only its echo.
    fn failure(&self, error: Error) -> Box<rhai::EvalAltResult> {
        match lock(&self.failure).take() {
            Some(own) if as_error(&own).is_none_or(|known| known.message() == error.message()) => own,
            _ => fail(error),
        }
    }

    fn plain(&self, what: &str, value: &Dynamic) -> Result<Value> {
        from_dynamic(value).map_err(|error| {
            Error::new(Class::Script, format!("{}: {what} must give plain data", self.scripted.address))
                .cause(error)
                .help("return a map of texts, numbers, truth values, lists and maps, or () when it is absent")
        })
    }

    fn normal(&self, state: State) -> Result<State> {
        let Some(normal) = self.scripted.normal.as_ref().filter(|_| state.here().is_some()) else { return Ok(state) };
        let answer = self.call(&normal.0, vec![to_dynamic(&state.into_value())])?;
        Ok(State::from(self.plain("`normal`", &answer)?))
    }

    /// The closure for an action, with its arguments.
    fn step(&self, difference: &Difference) -> Result<(FnPtr, Vec<Dynamic>)> {
        let have = || to_dynamic(&difference.have.clone().into_value());
        let want = || to_dynamic(&difference.want.clone().into_value());
        let (name, closure, arguments) = match difference.action {
            Action::Create => ("create", &self.scripted.create, vec![want()]),
            Action::Update | Action::Run if difference.have == State::Absent => {
                ("create", &self.scripted.create, vec![want()])
            }
            Action::Update | Action::Run => ("update", &self.scripted.update, vec![have(), want()]),
            Action::Delete => ("delete", &self.scripted.delete, vec![have()]),
        };
        match closure {
            Some(closure) => Ok((closure.0.clone(), arguments)),
            None => {
                Err(Error::new(Class::Script, format!("{}: must {name}, but has no `{name}`", self.scripted.address))
                    .help(format!("add `{name}: |…| …` to the resource")))
            }
        }
    }

    fn carry_out(&self, difference: &Difference) -> Result<Dynamic> {
        let (change, arguments) = self.step(difference)?;
        match &self.scripted.around {
            None => self.call(&change, arguments),
            Some(around) => self.surround(&around.0, change, arguments),
        }
    }

    /// Calls `around` with the change as a closure. What the change answers counts, not what surrounds it.
    #[allow(deprecated, reason = "it is not: Rhai marks what may still change this way, and its version is pinned")]
    fn surround(&self, around: &FnPtr, change: FnPtr, arguments: Vec<Dynamic>) -> Result<Dynamic> {
        let answer: Arc<Mutex<Option<Dynamic>>> = Arc::default();
        let kept = Arc::clone(&answer);
        // Not deprecated, only not promised to stay; the language's version is pinned.
        #[allow(deprecated)]
        let inner = FnPtr::from_fn("change", move |context, _| {
            *lock(&kept) = Some(Dynamic::UNIT);
            let answer = change.call_within_context::<Dynamic>(&context, arguments.clone())?;
            *lock(&kept) = Some(answer.clone());
            Ok(answer)
        });
        let inner = inner.map_err(|error| Error::new(Class::Bug, "homelab: `around` cannot be called").cause(error))?;
        self.call(around, vec![Dynamic::from(inner)]).map(drop)?;
        let answer = lock(&answer).take();
        answer.ok_or_else(|| {
            Error::new(Class::Script, format!("{}: its `around` does not make the change", self.scripted.address))
                .help("call what it is given: `around: |change| { stop(); change.call(); start() }`")
        })
    }
}

impl Fact for Running<'_> {
    fn address(&self) -> String {
        self.scripted.address.clone()
    }

    fn cell(&self) -> Cell {
        Cell::new(self.realm.clone(), format!("scripted:{}", self.scripted.address))
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        let answer = self.call(&self.scripted.read.0, Vec::new());
        lock(&self.touched).extend(scope::with(|branch| branch.notes.touched.clone())?);
        // What had to be decided on an unknown is unknown; the gate takes note of the deferral.
        if deferral::pending().is_some() {
            lock(&self.failure).take();
            return Ok(State::Absent);
        }
        self.normal(State::from(self.plain("`read`", &answer?)?))
    }
}

impl Resource for Running<'_> {
    fn want(&self, have: &State) -> Result<State> {
        let want = lock(&self.want).clone().unwrap_or_else(|| State::from(self.scripted.want.clone()));
        Ok(merged(&want, have, &self.scripted.once))
    }

    fn change(&self, difference: &Difference, _writer: &Writer) -> Result<value::Map> {
        let answer = self.carry_out(difference)?;
        let Some(shown) = answer.try_cast::<Map>() else { return Ok(value::Map::new()) };
        let fields = shown.iter().filter(|(key, _)| self.scripted.once.iter().any(|once| once == key.as_str()));
        fields.map(|(key, value)| Ok((key.to_string(), self.plain("`create`", value)?))).collect()
    }

    fn rehearse(&self, difference: &Difference) -> Result<()> {
        self.carry_out(difference).map(drop).or_else(|error| {
            if deferral::pending().is_some() {
                lock(&self.failure).take();
                return Ok(());
            }
            Err(error)
        })
    }

    fn fills(&self) -> Vec<String> {
        self.scripted.fills.clone()
    }
}
