//! `k.apply`: objects as they should be, by server-side apply.

mod conflict;
mod gather;
pub(super) mod manifest;
pub(super) mod object;
pub(super) mod shape;
pub(super) mod source;
pub(super) mod stages;
mod takeover;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rhai::{Dynamic, Map as ScriptMap};
use schemars::JsonSchema;
use serde::Deserialize;

use self::manifest::Manifest;
use self::object::{Applied, How, Objects};
use super::handle::Kubernetes;
use super::wait::five_minutes;
use crate::clients::kubernetes::MANAGER;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::batch::ensure_all;
use crate::run::ensure::{Changed, Outcome};
use crate::run::scope;
use crate::run::value::Value;
use crate::script::args;
use crate::script::convert::{from_dynamic, to_dynamic};

/// How objects are applied.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyOptions {
    /// Whether fields that somebody else has set are taken over. Those of `kubectl apply` go over to us with all that it knew of
    /// the object: what it set and this leaves out goes away. Default: false, then they are a conflict that names them.
    #[serde(default)]
    pub force: bool,
    /// Whether an object is deleted and made anew where a field has to become another one that cannot be changed, such as the
    /// parameters of a StorageClass or the template of a Job. The run has to name it, too: `--allow-destroy ADDRESS`.
    /// Default: false, then that is an error.
    #[serde(default)]
    pub replace: bool,
    /// Whether each object is waited for until it is ready, as its kind means it. One that fails, or takes too long, ends with what
    /// the cluster says of it: events, reasons, the end of logs. Default: false.
    #[serde(default)]
    pub wait: bool,
    /// How long that may take. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub timeout: args::Duration,
    /// The field manager. Default: `homelab`.
    #[serde(default)]
    pub field_manager: Option<String>,
    /// Whether values of a Secret that are there stay as they are: other ones are then an error.
    #[serde(skip)]
    pub keep: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        ApplyOptions {
            force: false,
            replace: false,
            wait: false,
            timeout: five_minutes(),
            field_manager: None,
            keep: false,
        }
    }
}

impl ApplyOptions {
    fn how(&self) -> Result<How> {
        let manager = self.field_manager.clone().unwrap_or_else(|| MANAGER.to_owned());
        if manager.is_empty() || manager.len() > 128 {
            return Err(Error::new(Class::Script, "`apply`: `field_manager` is a name of 1 to 128 bytes"));
        }
        Ok(How { manager, force: self.force, replace: self.replace, keep: self.keep })
    }
}

/// Applies what a script gives: a map, a list of maps, or YAML.
pub(super) fn apply(k: &Kubernetes, what: &Dynamic, options: &ApplyOptions) -> Result<ScriptMap> {
    let value = from_dynamic(what)?;
    let manifests = Manifest::all(value, "`apply`")?;
    apply_all(k, manifests, options)
}

/// Applies objects, in the order in which they need each other, and gives what came of them as one.
pub(super) fn apply_all(k: &Kubernetes, manifests: Vec<Manifest>, options: &ApplyOptions) -> Result<ScriptMap> {
    if manifests.is_empty() {
        return Err(Error::new(Class::Script, "`apply`: there is nothing to apply").help("the text or list is empty"));
    }
    let (objects, outcomes) = each(k, manifests, options)?;
    told(&objects, outcomes)
}

/// Applies objects, in the order in which they need each other.
pub(super) fn each(
    k: &Kubernetes,
    manifests: Vec<Manifest>,
    options: &ApplyOptions,
) -> Result<(Objects, Vec<Outcome>)> {
    let how = options.how()?;
    let (mut objects, mut outcomes) = (Objects::new(), Vec::new());
    for stage in stages::in_order(manifests) {
        let some: Objects =
            stage.into_iter().map(|manifest| Applied::new(k, manifest, &how).map(Arc::new)).collect::<Result<_>>()?;
        let came = ensure_all(&some, &|objects| gather::gather(objects))?;
        stages::settle(k, &some, &came)?;
        objects.extend(some);
        outcomes.extend(came);
    }
    if options.wait && !scope::is_planning()? {
        stages::until_ready(k, &objects, options.timeout)?;
    }
    Ok((objects, outcomes))
}

/// What came of objects: changed where one of them did, with the `objects` and the `outcomes` of each.
pub(super) fn told(objects: &Objects, outcomes: Vec<Outcome>) -> Result<ScriptMap> {
    let planning = scope::is_planning()?;
    let whole: Vec<Value> = objects
        .iter()
        .zip(&outcomes)
        .map(|(object, outcome)| object.object(planning && outcome.changed != Changed::No))
        .collect();
    let each: Vec<Dynamic> = outcomes.iter().cloned().map(outcome::to_map).map(Dynamic::from).collect();
    let mut outcomes = outcomes.into_iter();
    let Some(first) = outcomes.next() else { return Ok(ScriptMap::new()) };
    let mut map = outcome::together(first, outcomes);
    map.insert("objects".into(), to_dynamic(&Value::List(whole)));
    map.insert("outcomes".into(), Dynamic::from(each));
    Ok(map)
}
