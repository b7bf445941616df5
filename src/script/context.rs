//! What a native function finds behind the engine: the texts of the scripts, and how to explain an error in them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::RhaiResult;
use super::failure::{carry, fail};
use super::places::Places;
use super::{args, assigned};
use crate::error::{Class, Error};
use crate::run::deferral;
use crate::run::event::ErrorReport;
use crate::run::overlay::Spread;
use crate::run::unknown::Unknown;

/// Names the realm of a handle, where a value is one.
pub type RealmHook = fn(&Dynamic) -> Option<String>;

/// Turns a script's error into the report that people see. The second argument is the script it came out of.
pub type Explain = Arc<dyn Fn(&EvalAltResult, Option<&str>) -> ErrorReport + Send + Sync>;

/// What primitives reach beyond the script: the SSH connections, the docs tables, the network. One of each type.
#[derive(Clone, Default)]
pub struct Services {
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Services {
    /// These and one more.
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, service: Arc<T>) -> Self {
        self.by_type.insert(TypeId::of::<T>(), service);
        self
    }

    /// The service of a type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.by_type.get(&TypeId::of::<T>())?).downcast().ok()
    }
}

/// What is shared by all natives of an engine. It travels as the engine's tag.
#[derive(Clone)]
pub struct Context {
    /// What primitives reach beyond the script.
    pub services: Services,
    /// The texts and syntax trees of the scripts.
    pub places: Places,
    /// How handles tell what they reach.
    pub realms: Vec<RealmHook>,
    /// How errors are explained.
    pub explain: Explain,
}

impl Context {
    /// The context of a call.
    pub fn of(call: &NativeCallContext<'_>) -> Option<Context> {
        call.tag()?.clone().try_cast::<Context>()
    }

    /// The service of a type, on behalf of a call.
    pub fn service<T: Send + Sync + 'static>(call: &NativeCallContext<'_>) -> RhaiResult<Arc<T>> {
        Context::of(call).and_then(|context| context.services.get()).ok_or_else(|| {
            fail(Error::new(Class::Bug, format!("homelab: {} is not at hand here", std::any::type_name::<T>())))
        })
    }

    /// How far a closure can reach, judged by the handles that it captured: everywhere when it captured none, because
    /// it may make one inside.
    pub fn spread_of(&self, closure: &FnPtr) -> Spread {
        self.spread_over(&[Dynamic::from(closure.clone())])
    }

    /// How far code can reach that is given these values and no other.
    pub fn spread_over(&self, values: &[Dynamic]) -> Spread {
        let mut realms = Vec::new();
        values.iter().for_each(|value| self.collect_realms(&value.clone().flatten(), &mut realms));
        realms.sort();
        realms.dedup();
        if realms.is_empty() { Spread::Everywhere } else { Spread::Realms(realms) }
    }

    /// Whether the closures in a value may assign variables outside of themselves.
    pub fn assigns(&self, value: &Dynamic) -> bool {
        let mut assigns = false;
        assigned::captured(value, &|name| self.places.functions(name), &mut |variable, how| {
            assigns |= assigned::is_changed(variable, how);
        });
        assigns
    }

    /// Makes unknown what the closures in a value may assign outside of themselves: they were not called, or not to
    /// their end.
    pub fn forget(&self, value: &Dynamic, unknown: &Unknown) {
        assigned::captured(value, &|name| self.places.functions(name), &mut |variable, how| {
            // A captured variable is shared: a copy of it is the same variable.
            assigned::forget(&mut variable.clone(), how, unknown);
        });
    }

    fn collect_realms(&self, value: &Dynamic, realms: &mut Vec<String>) {
        if let Some(realm) = self.realms.iter().find_map(|hook| hook(value)) {
            realms.push(realm);
        } else if let Some(items) = value.read_lock::<rhai::Array>() {
            items.iter().for_each(|item| self.collect_realms(item, realms));
        } else if let Some(map) = value.read_lock::<Map>() {
            map.values().for_each(|item| self.collect_realms(item, realms));
        } else if let Some(closure) = value.read_lock::<FnPtr>() {
            closure.iter_curry().for_each(|captured| self.collect_realms(&captured.clone().flatten(), realms));
        }
    }
}

/// Reads the options of a call into their struct, or says what is wrong at the very key.
pub fn options<T: DeserializeOwned + JsonSchema>(
    call: &NativeCallContext<'_>,
    function: &str,
    map: Map,
) -> RhaiResult<T> {
    let places = Context::of(call).map(|context| context.places).unwrap_or_default();
    args::parse(&places, call.call_source(), call.call_position(), function, map).map_err(|error| {
        // An option that is not known yet was noted as a deferral; it goes on as one.
        match deferral::pending() {
            Some(deferral) => carry(deferral, call.call_position()),
            None => fail(error),
        }
    })
}
