//! Asking for many objects in few requests: lists where there are several of a kind, and one dry run of the API for each.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;

use futures::StreamExt as _;
use futures::stream;
use serde_json::Value as Json;

use super::super::kinds::{Served, object_cell};
use super::super::reads::text;
use super::manifest::address;
use super::object::Applied;
use super::{conflict, shape, takeover};
use crate::clients::kubernetes::{Answer, Client, Failure, Resource};
use crate::error::{Class, Error, Result};
use crate::run::event::Level;
use crate::run::resource::Fact as _;
use crate::run::scope;
use crate::run::value::{State, Value};

/// How many requests are under way at once.
const AT_ONCE: usize = 16;
/// From how many objects of a kind and namespace on a list is asked for.
const WORTH_A_LIST: usize = 3;
/// The longest list. What it does not hold is asked for by itself.
const LONGEST: usize = 500;

/// An object whose kind is served.
struct Asked<'a> {
    object: &'a Applied,
    resource: Resource,
    path: String,
}

type Found = std::result::Result<Option<Json>, Failure>;

/// Asks what is there of each, and what the API says that it would become. Each object keeps what is its own.
pub(super) fn gather<O: Deref<Target = Applied>>(objects: &[O]) -> Result<()> {
    let Some(first) = objects.first() else { return Ok(()) };
    let planning = scope::is_planning()?;
    let proving = scope::with(|branch| branch.change.is_some())?;
    let mut asked = Vec::with_capacity(objects.len());
    for object in objects {
        if planning && is_planned(object)? {
            continue;
        }
        match object.served() {
            Ok(Served::Here(resource)) => {
                let path = resource.path(object.manifest.namespace.as_deref(), &object.manifest.name);
                asked.push(Asked { object, resource, path });
            }
            Ok(Served::Planned(unknown)) if is_of_every_cluster(object) => object.note(Ok(State::Unknown(unknown))),
            Ok(Served::Planned(_)) => object.note(Ok(State::Absent)),
            Ok(Served::NotYet(unknown)) => object.note(Ok(State::Unknown(unknown))),
            Err(error) => object.note(Err(error)),
        }
    }
    let client = match first.k.client()? {
        Ok(client) if !asked.is_empty() => client,
        _ => return Ok(()),
    };
    let mut found = scope::wait(async { Ok(live(&client, &asked).await) })?;
    let tried = if proving {
        HashMap::new()
    } else {
        scope::wait(async { Ok(tried(&client, &asked, &found, planning).await) })?
    };
    let mut tried = tried;
    for one in asked {
        let live = found.remove(&one.path).unwrap_or(Ok(None));
        let answer = tried.remove(&one.path);
        if let Err(error) = settle(one.object, live, answer) {
            one.object.note(Err(error));
        }
    }
    Ok(())
}

fn is_planned(object: &Applied) -> Result<bool> {
    let cell = object.cell();
    scope::with(|branch| branch.overlay.cell(&cell).is_some() || branch.overlay.declared_unknown(&cell).is_some())
}

/// What a cluster has from its beginning.
fn is_of_every_cluster(object: &Applied) -> bool {
    let manifest = &object.manifest;
    manifest.group.is_empty()
        && manifest.kind == "Namespace"
        && matches!(manifest.name.as_str(), "default" | "kube-system" | "kube-public" | "kube-node-lease")
}

/// What is there, by path.
async fn live(client: &Client, asked: &[Asked<'_>]) -> HashMap<String, Found> {
    let mut groups: BTreeMap<String, Vec<&Asked<'_>>> = BTreeMap::new();
    for one in asked {
        groups.entry(one.resource.collection(one.object.manifest.namespace.as_deref())).or_default().push(one);
    }
    let lists = groups.into_iter().map(|(collection, group)| async move {
        let listed = if group.len() < WORTH_A_LIST { None } else { list(client, &collection, &group).await };
        let (mut found, whole) = listed.unwrap_or_default();
        let missing: Vec<&str> =
            group.iter().map(|one| one.path.as_str()).filter(|path| !whole && !found.contains_key(*path)).collect();
        let single = stream::iter(missing).map(|path| async move { (path.to_owned(), get(client, path).await) });
        found.extend(single.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        found
    });
    stream::iter(lists).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten().collect()
}

async fn get(client: &Client, path: &str) -> Found {
    match client.get(path).await {
        Ok(answer) => Ok(answer.json()),
        Err(failure) if failure.is_absent() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The objects of a group by a list, and whether it was all of them. `None` where that is not answered.
async fn list(client: &Client, collection: &str, group: &[&Asked<'_>]) -> Option<(HashMap<String, Found>, bool)> {
    let list = client.get(&format!("{collection}?limit={LONGEST}")).await.ok()?.json()?;
    let whole = text(&list, "/metadata/continue").is_empty();
    let mut found = HashMap::new();
    for item in list.get("items")?.as_array()? {
        let Some(one) = group.iter().find(|one| text(item, "/metadata/name") == one.object.manifest.name) else {
            continue;
        };
        let mut item = item.clone();
        // The items of a list do not say what they are.
        if let Some(map) = item.as_object_mut() {
            map.insert("apiVersion".to_owned(), Json::String(one.resource.api_version()));
            map.insert("kind".to_owned(), Json::String(one.resource.kind.clone()));
        }
        found.insert(one.path.clone(), Ok(Some(item)));
    }
    Some((found, whole))
}

/// What the API says that would become of each, by path. A run creates without asking: the API looks at it then.
async fn tried(
    client: &Client,
    asked: &[Asked<'_>],
    found: &HashMap<String, Found>,
    planning: bool,
) -> HashMap<String, std::result::Result<Answer, Failure>> {
    let tries = asked.iter().filter_map(|one| {
        let live = match found.get(&one.path) {
            Some(Ok(Some(live))) if live.pointer("/metadata/deletionTimestamp").is_none() => Some(shape::seen(live)),
            Some(Ok(None)) | None if planning => None,
            _ => return None,
        };
        let body = Value::Map(one.object.manifest.body.clone());
        // What is to be made of something unknown cannot be tried.
        if live.is_none() && !body.unknowns().is_empty() {
            return None;
        }
        Some((one, shape::sendable(&body, live.as_ref())?))
    });
    let sent = tries.map(|(one, body)| async move {
        let live = found.get(&one.path).and_then(|found| found.as_ref().ok()?.as_ref());
        (one.path.clone(), try_one(client, one, &body, live).await)
    });
    stream::iter(sent).buffer_unordered(AT_ONCE).collect().await
}

/// What the API says that would become of one. What `kubectl apply` has set and is left out goes away with the rest: for that
/// there is no dry run, so it is asked what would be left.
async fn try_one(
    client: &Client,
    one: &Asked<'_>,
    body: &Json,
    live: Option<&Json>,
) -> std::result::Result<Answer, Failure> {
    let how = &one.object.how;
    let answer = client.try_apply(&one.path, body, how.applying()).await?;
    let Some(live) = live.filter(|live| how.force && takeover::is_of_kubectl(live)) else { return Ok(answer) };
    one.object.note_heritage();
    let json = answer.json().unwrap_or_default();
    let left = takeover::without_left_out(&json, live, body, &how.manager);
    if left == json { Ok(answer) } else { client.try_put(&one.path, &left).await }
}

/// Gives an object what was found of it.
fn settle(object: &Applied, live: Found, tried: Option<std::result::Result<Answer, Failure>>) -> Result<()> {
    let live = match live {
        Ok(live) => live,
        Err(failure) => {
            object.note(object.k.later(failure).map(State::Unknown));
            return Ok(());
        }
    };
    if let Some(live) = live.as_ref().filter(|live| live.pointer("/metadata/deletionTimestamp").is_some()) {
        return Err(is_going(object, live));
    }
    let answer = match tried {
        None => None,
        Some(Ok(answer)) => Some(answer),
        Some(Err(failure)) => return stands_in_the_way(object, live.as_ref(), failure),
    };
    let json = answer.as_ref().and_then(Answer::json);
    match (&live, &json) {
        (Some(live), answer) => object.note_live(live, answer.as_ref()),
        (None, Some(answer)) => object.note_new(answer),
        (None, None) => object.note(Ok(State::Absent)),
    }
    let changes = live.as_ref().map(shape::seen).map(|live| shape::bare(&live))
        != json.as_ref().map(shape::seen).map(|answer| shape::bare(&answer));
    if scope::is_planning()? && changes {
        for warning in answer.iter().flat_map(|answer| &answer.warnings) {
            scope::say(Level::Warn, format!("{}: {warning}", object.address()))?;
        }
    }
    Ok(())
}

/// A refusal, unless it is about what is only planned.
fn stands_in_the_way(object: &Applied, live: Option<&Json>, failure: Failure) -> Result<()> {
    let fixed = failure.api().filter(|error| error.is_about_what_cannot_change());
    if let (Some(live), Some(fixed)) = (live, fixed) {
        if !object.how.replace {
            return Err(conflict::must_be_replaced(failure, object));
        }
        object.note_replacement(live, conflict::what_cannot_change(fixed));
        return Ok(());
    }
    let absent = failure.api().filter(|error| error.is_about_absent_namespace());
    if let (Some(_), Some(namespace)) = (absent, &object.manifest.namespace) {
        let cell = object_cell(&address("", "Namespace", None, namespace));
        let (planned, fog) = scope::with(|branch| {
            let overlay = &branch.overlay;
            let planned = overlay.cell(&cell).is_some_and(|planned| planned.state != State::Absent);
            (planned, overlay.fog_over(&cell).cloned())
        })?;
        if planned {
            object.note(Ok(State::Absent));
            return Ok(());
        }
        if let Some(fog) = fog {
            object.note(Ok(State::Unknown(fog)));
            return Ok(());
        }
        return Err(Error::from(failure)
            .context(format!("{}: there is no namespace {namespace}", object.address()))
            .help(format!("make it before: `k.namespace(#{{ name: \"{namespace}\" }})`")));
    }
    Err(conflict::explain(failure, object))
}

fn is_going(object: &Applied, live: &Json) -> Error {
    let error = Error::new(Class::Blocked, format!("{}: it is being deleted", object.address()));
    let finalizers = live.pointer("/metadata/finalizers").and_then(Json::as_array).cloned().unwrap_or_default();
    let held: Vec<&str> = finalizers.iter().filter_map(Json::as_str).collect();
    let error = if held.is_empty() { error } else { error.cause(format!("held by {}", held.join(", "))) };
    error.help("run again when it is gone; `k.wait` with `for: \"deleted\"` waits for that")
}
