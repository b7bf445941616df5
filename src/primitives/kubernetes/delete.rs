//! Objects that are taken away.

use std::sync::Arc;
use std::time::Instant;

use rhai::{Dynamic, FnPtr, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::apply::manifest::{address, split_version};
use super::handle::{Asked, Kubernetes, REALM};
use super::kinds::{Kind, Served, object_cell, served};
use super::reads::{check_path, text};
use super::wait::two_minutes;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{Outcome, ensure, permit};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::closure::with_copy_of_receiver;
use crate::script::failure::fail;
use crate::script::{RhaiResult, args};

/// What is taken away: by its `path`, or by `kind` and `name`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteOptions {
    /// Its path, as in `/api/v1/nodes/k3s-cp-03`.
    #[serde(default)]
    pub path: Option<String>,
    /// Its kind, as in `Deployment`.
    #[serde(default)]
    pub kind: Option<String>,
    /// Group and version, as in `apps/v1`. Default: `v1`.
    #[serde(default = "v1")]
    pub api_version: String,
    /// The namespace, where its kind has one. Default: `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Only the very one with this uid: another one of the same name is left alone. Default: whichever is there.
    #[serde(default)]
    pub uid: Option<String>,
    /// What becomes of what it owns: `background` and `foreground` delete that, too, after it or before it; `orphan` leaves it.
    /// Default: `background`.
    #[serde(default)]
    pub propagation: Propagation,
    /// Whether it may be destroyed. The run has to name it, too: `--allow-destroy ADDRESS`. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
    /// How long it may linger. Default: 2 minutes.
    #[serde(default = "two_minutes")]
    pub timeout: args::Duration,
}

/// What becomes of what an object owns.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// It is deleted afterwards.
    #[default]
    Background,
    /// It is deleted before.
    Foreground,
    /// It stays.
    Orphan,
}

impl Propagation {
    fn word(self) -> &'static str {
        match self {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        }
    }
}

fn v1() -> String {
    "v1".to_owned()
}

/// An object that should not be there.
struct Gone {
    k: Kubernetes,
    options: DeleteOptions,
    place: Place,
}

/// Where an object is.
enum Place {
    Path(String),
    Object {
        address: String,
        path: String,
    },
    /// Its kind is not served: there is none of it.
    Nowhere {
        address: String,
    },
    /// Only the run will know.
    NotYet {
        address: String,
        why: Unknown,
    },
}

/// Takes an object away.
pub(super) fn delete(k: &Kubernetes, options: DeleteOptions) -> Result<ScriptMap> {
    let place = place(k, &options)?;
    ensure(&Arc::new(Gone { k: k.clone(), options, place })).map(outcome::to_map)
}

fn place(k: &Kubernetes, options: &DeleteOptions) -> Result<Place> {
    let (kind, name) = match (&options.path, &options.kind, &options.name) {
        (Some(path), None, None) => {
            check_path(path)?;
            return Ok(Place::Path(path.clone()));
        }
        (None, Some(kind), Some(name)) => (kind, name),
        _ => {
            return Err(Error::new(Class::Script, "`delete`: it is not clear what is meant")
                .help("name its `path`, or its `kind` and `name`"));
        }
    };
    let (group, version) = split_version(&options.api_version);
    let called = |namespace: Option<&str>| address(&group, kind, namespace, name);
    Ok(match served(k, Kind { group: &group, version: &version, kind })? {
        Served::Here(resource) => {
            let namespace = options.namespace.as_deref().unwrap_or("default");
            let namespace = resource.namespaced.then_some(namespace);
            Place::Object { address: called(namespace), path: resource.path(namespace, name) }
        }
        Served::Planned(_) => Place::Nowhere { address: called(options.namespace.as_deref()) },
        Served::NotYet(why) => Place::NotYet { address: called(options.namespace.as_deref()), why },
    })
}

/// The same with what has to be done before: it is only begun where the run may destroy the object.
pub(super) fn delete_after(
    call: &NativeCallContext<'_>,
    k: &Kubernetes,
    options: DeleteOptions,
    before: &FnPtr,
) -> RhaiResult<ScriptMap> {
    let place = place(k, &options).map_err(fail)?;
    let gone = Arc::new(Gone { k: k.clone(), options, place });
    permit(&*gone).map_err(fail)?;
    let before = with_copy_of_receiver(before, &Dynamic::from(k.clone()));
    let _prepared = before.call_within_context::<Dynamic>(call, ())?;
    ensure(&gone).map(outcome::to_map).map_err(fail)
}

/// Takes an object away that is there, with what it owns, as a part of another change.
pub(super) fn take_away(k: &Kubernetes, address: &str, path: &str, writer: &Writer) -> Result<()> {
    let options = DeleteOptions { allow_destroy: true, ..DeleteOptions::of_path(path) };
    let place = Place::Object { address: address.to_owned(), path: path.to_owned() };
    Gone { k: k.clone(), options, place }.carry_out(writer)
}

/// Takes away the very object of this uid, and no other one of its name.
pub(super) fn delete_this(
    k: &Kubernetes,
    address: String,
    path: String,
    uid: String,
    allow_destroy: bool,
) -> Result<Outcome> {
    let options = DeleteOptions { uid: Some(uid), allow_destroy, ..DeleteOptions::of_path(&path) };
    ensure(&Arc::new(Gone { k: k.clone(), options, place: Place::Object { address, path } }))
}

impl DeleteOptions {
    fn of_path(path: &str) -> Self {
        DeleteOptions {
            path: Some(path.to_owned()),
            kind: None,
            api_version: v1(),
            namespace: None,
            name: None,
            uid: None,
            propagation: Propagation::default(),
            allow_destroy: false,
            timeout: two_minutes(),
        }
    }
}

impl Gone {
    fn carry_out(&self, writer: &Writer) -> Result<()> {
        let (Some(object), Some(path)) = (self.found()?, self.path()) else { return Ok(()) };
        let uid = text(&object, "/metadata/uid");
        let client = self.k.writing()?;
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": self.options.propagation.word(), "preconditions": { "uid": uid },
        });
        match scope::wait(async { Ok(client.delete(path, &options, writer).await) })? {
            Ok(_) => {}
            Err(failure) if failure.is_absent() => {}
            Err(failure) => return Err(failure.into()),
        }
        self.await_end(&uid)
    }

    fn path(&self) -> Option<&str> {
        match &self.place {
            Place::Path(path) | Place::Object { path, .. } => Some(path),
            Place::Nowhere { .. } | Place::NotYet { .. } => None,
        }
    }

    fn found(&self) -> Result<Option<Json>> {
        let Some(path) = self.path() else { return Ok(None) };
        match self.k.ask(&Reader::default(), path)? {
            Asked::Answered(object) => Ok(Some(object).filter(|object| self.is_meant(object))),
            Asked::Absent => Ok(None),
            Asked::NotYet(unknown) => Err(unknown.needed(&self.address())),
        }
    }

    fn is_meant(&self, object: &Json) -> bool {
        self.options.uid.as_ref().is_none_or(|uid| *uid == text(object, "/metadata/uid"))
    }

    /// Waits until it, and not another one of its name, is gone.
    fn await_end(&self, uid: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let object = match self.found()? {
                Some(object) if text(&object, "/metadata/uid") == uid => object,
                _ => return Ok(()),
            };
            if began.elapsed() >= self.options.timeout.0 {
                let holds = object.pointer("/metadata/finalizers").cloned().unwrap_or_default();
                return Err(Error::new(
                    Class::Timeout,
                    format!("{}: it is still there after {}", self.address(), self.options.timeout),
                )
                .cause(format!("its finalizers: {holds}"))
                .help("whoever set them has to let it go; see that their controllers run"));
            }
            scope::pause(std::time::Duration::from_secs(1))?;
        }
    }
}

impl Fact for Gone {
    fn address(&self) -> String {
        match &self.place {
            Place::Path(path) => format!("{REALM}:{path}"),
            Place::Object { address, .. } | Place::Nowhere { address } | Place::NotYet { address, .. } => {
                address.clone()
            }
        }
    }

    fn cell(&self) -> Cell {
        match &self.place {
            Place::Path(path) => Cell::new(REALM, path.clone()),
            Place::Object { address, .. } | Place::Nowhere { address } | Place::NotYet { address, .. } => {
                object_cell(address)
            }
        }
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let path = match &self.place {
            Place::Path(path) | Place::Object { path, .. } => path,
            Place::Nowhere { .. } => return Ok(State::Absent),
            Place::NotYet { why, .. } => return Ok(State::Unknown(why.clone())),
        };
        Ok(match self.k.ask(reader, path)? {
            Asked::Answered(object) if !self.is_meant(&object) => State::Absent,
            Asked::Answered(object) => State::Here(Value::Map(Map::from([
                ("kind".to_owned(), Value::Text(text(&object, "/kind"))),
                ("name".to_owned(), Value::Text(text(&object, "/metadata/name"))),
            ]))),
            Asked::Absent => State::Absent,
            Asked::NotYet(unknown) => State::Unknown(unknown),
        })
    }
}

impl Resource for Gone {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(State::Absent)
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        self.carry_out(writer)?;
        Ok(Map::new())
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        let found = |field: &str| difference.found(field).and_then(Value::as_text).unwrap_or_default().to_owned();
        Some(format!("deletes {} {}", found("kind"), found("name")))
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }
}
