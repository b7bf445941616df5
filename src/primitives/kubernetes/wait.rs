//! Waiting for objects: until they are ready, gone, or say what is waited for.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::apply::manifest::{address, split_version};
use super::evidence;
use super::find::{FindOptions, find};
use super::handle::Kubernetes;
use super::kinds::{Kind, Served, served};
use super::reads::text;
use super::ready::{Verdict, condition, verdict};
use crate::clients::kubernetes::{Client, Failure};
use crate::error::{Class, Error, Result};
use crate::run::event::What;
use crate::run::scope::{self, Phase};
use crate::run::value::Value;
use crate::script::args;

/// The first pause between two looks.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST: Duration = Duration::from_secs(2);
/// How many looks in a row have to find a failure: controllers try again.
const LOOKS: u32 = 3;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;

/// What is waited for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitOptions {
    /// The kind of the object, as in `Deployment`.
    pub kind: String,
    /// Group and version, as in `apps/v1`. Default: `v1`.
    #[serde(default = "v1")]
    pub api_version: String,
    /// The namespace, where its kind has one. Default: `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// `"ready"`, `"deleted"`, or a condition: `#{ condition: "Ready", status: "True" }`. Default: `"ready"`, as its kind means it.
    #[serde(default = "ready", rename = "for")]
    pub wanted: Value,
    /// How long it may take. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub timeout: args::Duration,
}

fn v1() -> String {
    "v1".to_owned()
}

fn ready() -> Value {
    Value::text("ready")
}

pub(super) fn two_minutes() -> args::Duration {
    args::Duration::from_secs(120)
}

pub(super) fn five_minutes() -> args::Duration {
    args::Duration::from_secs(300)
}

/// What is waited for of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Until {
    /// It is ready, as its kind means it.
    Ready,
    /// It is gone, or another one has its name.
    Deleted,
    /// A condition has a status.
    Condition(String, String),
}

/// An object that is waited for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// What people call it.
    pub address: String,
    /// Its path.
    pub path: String,
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
}

/// Waits for an object, and gives it as it is then. A dry run gives what it can know of it.
pub(super) fn wait(k: &Kubernetes, options: &WaitOptions) -> Result<Value> {
    let until = until(&options.wanted)?;
    let (group, version) = split_version(&options.api_version);
    let shown = address(&group, &options.kind, options.namespace.as_deref(), &options.name);
    scope::require(&[Phase::Script, Phase::Change], &format!("waiting for {shown}"))?;
    if scope::is_planning()? {
        return find(k, &find_options(options));
    }
    let began = Instant::now();
    let kind = Kind { group: &group, version: &version, kind: &options.kind };
    let resource = loop {
        match served(k, kind) {
            Ok(Served::Here(resource)) => break resource,
            Ok(Served::Planned(unknown) | Served::NotYet(unknown)) => return Err(unknown.needed(&shown)),
            Err(error) if began.elapsed() >= options.timeout.0 => {
                return Err(error.context(format!("{shown}: it is waited for")));
            }
            // What brings the kind may be on its way.
            Err(_) => scope::pause(LONGEST)?,
        }
    };
    let namespace = resource.namespaced.then(|| options.namespace.clone().unwrap_or_else(|| "default".to_owned()));
    let target = Target {
        address: address(&group, &options.kind, namespace.as_deref(), &options.name),
        path: resource.path(namespace.as_deref(), &options.name),
        group,
        kind: options.kind.clone(),
    };
    let left = options.timeout.0.saturating_sub(began.elapsed());
    let found = until_all(k, vec![target], &until, left)?;
    Ok(found.into_iter().next().map_or(Value::Null, |object| super::apply::shape::seen(&object)))
}

fn find_options(options: &WaitOptions) -> FindOptions {
    FindOptions {
        kind: options.kind.clone(),
        api_version: options.api_version.clone(),
        namespace: options.namespace.clone(),
        name: options.name.clone(),
    }
}

fn until(wanted: &Value) -> Result<Until> {
    let text = |key: &str| wanted.get(key).and_then(Value::as_text).map(str::to_owned);
    match (wanted, text("condition")) {
        (Value::Text(word), _) if word == "ready" => Ok(Until::Ready),
        (Value::Text(word), _) if word == "deleted" => Ok(Until::Deleted),
        (Value::Map(map), Some(condition)) if map.keys().all(|key| key == "condition" || key == "status") => {
            Ok(Until::Condition(condition, text("status").unwrap_or_else(|| "True".to_owned())))
        }
        _ => Err(Error::new(Class::Script, "`wait`: option `for` is \"ready\", \"deleted\" or a condition")
            .help("as in `for: #{ condition: \"Ready\", status: \"True\" }`")),
    }
}

/// One that is waited for, and what was seen of it.
struct Pending {
    target: Target,
    object: Option<Json>,
    said: String,
    failures: u32,
}

/// Waits for objects, and gives them as they are then, in order; those that are gone are left out.
pub(super) fn until_all(k: &Kubernetes, targets: Vec<Target>, until: &Until, timeout: Duration) -> Result<Vec<Json>> {
    let client = k.writing()?;
    let began = Instant::now();
    let mut pause = SHORTEST;
    let mut uids: Vec<Option<String>> = vec![None; targets.len()];
    let mut all: Vec<Pending> =
        targets.into_iter().map(|target| Pending { target, object: None, said: String::new(), failures: 0 }).collect();
    let mut open: Vec<usize> = (0..all.len()).collect();
    loop {
        let paths: Vec<(usize, String)> = open.iter().map(|place| (*place, all[*place].target.path.clone())).collect();
        for (place, found) in scope::wait(async { Ok(look(&client, paths).await) })? {
            let found = match found {
                Ok(found) => found,
                // Servers restart; whoever waits asks again.
                Err(failure) if failure.is_passing() && began.elapsed() < timeout => continue,
                Err(failure) => return Err(failure.into()),
            };
            if judge(&client, &mut all[place], found, until, &mut uids[place])? {
                open.retain(|other| *other != place);
            }
        }
        let Some(first) = open.first().map(|place| &all[*place]) else { break };
        if began.elapsed() >= timeout {
            return Err(late(&client, &all, &open, until, timeout)?);
        }
        let others = open.len() - 1;
        let and_others = if others == 0 { String::new() } else { format!(", and {others} more") };
        scope::emit(What::Waiting {
            step: scope::step(),
            what: format!("{} {}{and_others}", first.target.address, aim(until)),
            observed: first.said.clone(),
            milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })?;
        scope::pause(pause)?;
        pause = (pause * 2).min(LONGEST);
    }
    Ok(all.into_iter().filter_map(|one| one.object).collect())
}

fn aim(until: &Until) -> String {
    match until {
        Until::Ready => "is ready".to_owned(),
        Until::Deleted => "is gone".to_owned(),
        Until::Condition(kind, status) => format!("has the condition {kind}={status}"),
    }
}

async fn look(client: &Client, paths: Vec<(usize, String)>) -> Vec<(usize, Result<Option<Json>, Failure>)> {
    let looks = paths.into_iter().map(|(place, path)| async move {
        let found = match client.get(&path).await {
            Ok(answer) => Ok(answer.json()),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure),
        };
        (place, found)
    });
    stream::iter(looks).buffer_unordered(AT_ONCE).collect().await
}

/// Whether one is as it is waited for. An error where it never will be.
fn judge(
    client: &Client,
    one: &mut Pending,
    found: Option<Json>,
    until: &Until,
    uid: &mut Option<String>,
) -> Result<bool> {
    let Some(object) = found else {
        one.object = None;
        one.said = "it is not there".to_owned();
        return Ok(*until == Until::Deleted);
    };
    let how = match until {
        Until::Deleted => {
            let now = text(&object, "/metadata/uid");
            let first = uid.get_or_insert_with(|| now.clone());
            if *first == now { Verdict::Waiting(held(&object)) } else { Verdict::Ready }
        }
        Until::Ready => verdict(&object, &one.target.group, &one.target.kind),
        Until::Condition(kind, status) if condition(&object, kind, status).is_some() => Verdict::Ready,
        Until::Condition(kind, _) => {
            let said = ["True", "False", "Unknown"]
                .into_iter()
                .find_map(|status| condition(&object, kind, status).map(|why| format!("{kind} is {status}: {why}")));
            Verdict::Waiting(said.unwrap_or_else(|| format!("it says nothing of {kind}")))
        }
    };
    let how = if is_first_to_wait(client, &object, &one.target, &how)? { Verdict::Ready } else { how };
    one.object = (*until != Until::Deleted).then_some(object);
    match how {
        Verdict::Ready => return Ok(true),
        Verdict::Waiting(said) => (one.said, one.failures) = (said, 0),
        Verdict::Failed(said) => (one.said, one.failures) = (said, one.failures + 1),
    }
    if one.failures < LOOKS {
        return Ok(false);
    }
    let failed = Error::new(Class::Failed, format!("{}: {}", one.target.address, one.said));
    Err(with_evidence(client, failed, one.object.as_ref())?)
}

/// A volume whose class waits for its first pod is as ready as it gets before there is one.
fn is_first_to_wait(client: &Client, object: &Json, target: &Target, how: &Verdict) -> Result<bool> {
    let class = text(object, "/spec/storageClassName");
    if target.kind != "PersistentVolumeClaim" || !matches!(how, Verdict::Waiting(_)) || class.is_empty() {
        return Ok(false);
    }
    let path = format!("/apis/storage.k8s.io/v1/storageclasses/{}", crate::clients::kubernetes::segment(&class));
    let class = scope::wait(async { Ok(client.get(&path).await.ok().and_then(|answer| answer.json())) })?;
    Ok(class.is_some_and(|class| text(&class, "/volumeBindingMode") == "WaitForFirstConsumer"))
}

fn held(object: &Json) -> String {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Json::as_array).cloned().unwrap_or_default();
    let held: Vec<&str> = finalizers.iter().filter_map(Json::as_str).collect();
    match (object.pointer("/metadata/deletionTimestamp"), held.is_empty()) {
        (None, _) => "nobody has deleted it".to_owned(),
        (Some(_), true) => "it is going".to_owned(),
        (Some(_), false) => format!("held by {}", held.join(", ")),
    }
}

fn late(client: &Client, all: &[Pending], open: &[usize], until: &Until, timeout: Duration) -> Result<Error> {
    let one = &all[open[0]];
    let timeout = args::Duration(timeout);
    let error = Error::new(
        Class::Timeout,
        format!("{}: after {timeout} it is not so that it {}", one.target.address, aim(until)),
    );
    let error = if one.said.is_empty() { error } else { error.cause(&one.said) };
    let others = open[1..].iter().map(|place| &all[*place]);
    let error = others.fold(error, |error, other| error.cause(format!("{}: {}", other.target.address, other.said)));
    with_evidence(client, error, one.object.as_ref())
}

pub(super) fn with_evidence(client: &Client, error: Error, object: Option<&Json>) -> Result<Error> {
    let Some(object) = object else { return Ok(error.help("see that something makes it")) };
    let run = scope::run()?;
    let said = scope::wait(async { Ok(evidence::of(client, object, &run.redactor).await) })?;
    let error = said.into_iter().fold(error, Error::cause);
    Ok(error.help("the words are the cluster's own: mend what they name, then run again"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_waited_for_is_a_word_or_a_condition() {
        assert_eq!(until(&Value::text("deleted")).unwrap(), Until::Deleted);
        let condition = Value::from(json!({ "condition": "Ready" }));
        assert_eq!(until(&condition).unwrap(), Until::Condition("Ready".into(), "True".into()));
        for wrong in [json!("gone"), json!({ "status": "True" }), json!({ "condition": "A", "state": "B" })] {
            assert!(until(&Value::from(wrong)).unwrap_err().message().contains("option `for`"));
        }
    }
}
