//! Objects that are taken away.

use std::sync::Arc;
use std::time::Instant;

use rhai::{Dynamic, FnPtr, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::handle::{Asked, Kubernetes, REALM};
use super::reads::{check_path, text};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{ensure, permit};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::closure::with_copy_of_receiver;
use crate::script::failure::fail;
use crate::script::{RhaiResult, args};

/// What is taken away.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteOptions {
    /// Its path, as in `/api/v1/nodes/k3s-cp-03`.
    pub path: String,
    /// Whether it may be destroyed. The run has to name it, too: `--allow-destroy ADDRESS`. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
    /// How long it may linger. Default: 2 minutes.
    #[serde(default = "two_minutes")]
    pub timeout: args::Duration,
}

fn two_minutes() -> args::Duration {
    args::Duration::from_secs(120)
}

/// An object that should not be there.
struct Gone {
    k: Kubernetes,
    options: DeleteOptions,
}

/// Takes an object away.
pub(super) fn delete(k: &Kubernetes, options: DeleteOptions) -> Result<ScriptMap> {
    check_path(&options.path)?;
    ensure(&Arc::new(Gone { k: k.clone(), options })).map(outcome::to_map)
}

/// The same with what has to be done before: it is only begun where the run may destroy the object.
pub(super) fn delete_after(
    call: &NativeCallContext<'_>,
    k: &Kubernetes,
    options: DeleteOptions,
    before: &FnPtr,
) -> RhaiResult<ScriptMap> {
    check_path(&options.path).map_err(fail)?;
    let gone = Arc::new(Gone { k: k.clone(), options });
    permit(&*gone).map_err(fail)?;
    let before = with_copy_of_receiver(before, &Dynamic::from(k.clone()));
    let _prepared = before.call_within_context::<Dynamic>(call, ())?;
    ensure(&gone).map(outcome::to_map).map_err(fail)
}

impl Gone {
    fn found(&self) -> Result<Option<Json>> {
        match self.k.ask(&Reader::default(), &self.options.path)? {
            Asked::Answered(object) => Ok(Some(object)),
            Asked::Absent => Ok(None),
            Asked::NotYet(unknown) => Err(unknown.needed(&self.address())),
        }
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
        format!("{REALM}:{}", self.options.path)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, self.options.path.clone())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        Ok(match self.k.ask(reader, &self.options.path)? {
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
        let Some(object) = self.found()? else { return Ok(Map::new()) };
        let uid = text(&object, "/metadata/uid");
        let client = self.k.writing()?;
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": { "uid": uid },
        });
        match scope::wait(async { Ok(client.delete(&self.options.path, &options, writer).await) })? {
            Ok(_) => {}
            Err(failure) if failure.is_absent() => {}
            Err(failure) => return Err(failure.into()),
        }
        self.await_end(&uid)?;
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
