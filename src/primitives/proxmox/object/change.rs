//! Carrying out a difference between an object and what is wanted of it.

use super::form::Setting;
use super::{Clears, Object};
use crate::clients::proxmox::{Answer, Failure};
use crate::error::{Error, Result};
use crate::primitives::proxmox::handle::TASK_TIMEOUT;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::resource::{Fact, Reader};
use crate::run::scope;
use crate::run::session::lock;
use crate::run::value::{Map, State, Value};

/// Makes it, changes it, takes it away, or takes it away and makes it anew.
pub(super) fn carry_out(object: &Object, difference: &Difference, writer: &Writer) -> Result<()> {
    let empty = Map::new();
    let have = difference.have.here().and_then(Value::as_map).unwrap_or(&empty);
    let want = difference.want.here().and_then(Value::as_map).unwrap_or(&empty);
    match (&difference.have, &difference.want) {
        (_, State::Absent) => take_away(object, writer),
        (State::Here(_), _) if object.stuck(have, want).is_empty() => update(object, have, want, writer),
        (State::Here(_), _) => {
            take_away(object, writer)?;
            create(object, want, writer)
        }
        _ => create(object, want, writer),
    }
}

fn create(object: &Object, want: &Map, writer: &Writer) -> Result<()> {
    // What is always there is never absent.
    let Some((collection, naming)) = &object.birth else { return update(object, &Map::new(), want, writer) };
    let mut params = naming.clone();
    for (setting, value) in known(object, want) {
        setting.write(value, &mut params);
    }
    let client = object.pve.client();
    let answer = scope::wait(async { Ok(client.post(collection, &params, writer).await) })?;
    finish(object, "cannot be made", answer)
}

/// Sends what differs, or everything where a write replaces everything.
fn update(object: &Object, have: &Map, want: &Map, writer: &Writer) -> Result<()> {
    let replaces = object.kind.clears == Clears::LeftOut;
    let mut params = object.query.clone();
    for (setting, value) in known(object, want) {
        if replaces || object.kind.always.contains(&setting.name) || have.get(setting.name) != Some(value) {
            setting.write(value, &mut params);
        }
    }
    let gone = object.kind.settings.iter().filter(|one| have.contains_key(one.name) && !want.contains_key(one.name));
    let gone: Vec<&str> = gone.map(|setting| setting.wire).collect();
    match object.kind.clears {
        Clears::Deleted if !gone.is_empty() => params.push("delete", gone.join(",")),
        Clears::Emptied => gone.iter().for_each(|wire| params.push(wire, "")),
        Clears::Deleted | Clears::LeftOut => {}
    }
    if let Some(digest) = lock(&object.digest).as_deref() {
        params.push("digest", digest);
    }
    let client = object.pve.client();
    let answer = scope::wait(async { Ok(client.put(&object.path, &params, writer).await) })?;
    finish(object, "cannot be changed", answer)
}

fn take_away(object: &Object, writer: &Writer) -> Result<()> {
    if let Some(release) = object.release {
        release(object, &Reader::default())?;
    }
    let client = object.pve.client();
    let answer = scope::wait(async { Ok(client.delete(&object.path, &object.query, writer).await) })?;
    finish(object, "cannot be taken away", answer)
}

/// The settings that the API takes, in the order of the table.
fn known<'a>(object: &Object, settings: &'a Map) -> impl Iterator<Item = (&'static Setting, &'a Value)> {
    object.kind.settings.iter().filter_map(|setting| Some((setting, settings.get(setting.name)?)))
}

fn finish(object: &Object, what: &str, answer: Result<Answer, Failure>) -> Result<()> {
    let refused = |error: Error| error.context(format!("{}: {what}", object.address()));
    let answer = answer.map_err(|failure| refused(failure.into()))?;
    // Some answer with what they have made, some with a task, most with nothing.
    match answer.data.as_str() {
        Some(text) if text.starts_with("UPID:") => object.pve.finish_task(&answer, TASK_TIMEOUT).map_err(refused),
        _ => Ok(()),
    }
}
