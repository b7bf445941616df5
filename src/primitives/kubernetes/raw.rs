//! Raw calls: carried out inside a change, or a change of their own that nobody can look into.

use std::sync::Arc;

use rhai::{Dynamic, Map};
use serde_json::Value as Json;

use super::handle::{Kubernetes, REALM};
use super::reads::check_path;
use crate::error::{Class, Error, Result};
use crate::run::raw::{Raw, mutate};
use crate::run::scope;
use crate::run::value::Value;
use crate::script::convert::from_dynamic;

/// A method that changes something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Post,
    Patch,
}

/// Sends a raw call.
pub(super) fn send(k: &Kubernetes, method: Method, path: &str, body: Map) -> Result<Value> {
    check_path(path)?;
    let name = match method {
        Method::Post => "POST",
        Method::Patch => "PATCH",
    };
    let address = format!("{REALM}:{name} {path}");
    let details = from_dynamic(&Dynamic::from(body))
        .map_err(|error| Error::new(Class::Script, format!("{address}: the body must be plain")).cause(error))?;
    let (k, path, body) = (k.clone(), path.to_owned(), details.clone());
    let place = address.clone();
    mutate(Raw {
        address,
        realm: REALM.to_owned(),
        details,
        send: Arc::new(move |writer| {
            let client = k.writing()?;
            let unknown = || Error::new(Class::InputMissing, format!("{place}: something in the body is not known"));
            let body: Json = body.to_json().ok_or_else(unknown)?;
            let answer = scope::wait(async {
                Ok(match method {
                    Method::Post => client.post(&path, &body, writer).await?,
                    Method::Patch => client.patch(&path, &body, writer).await?,
                })
            })?;
            Ok(answer.json().map_or(Value::Null, Value::from))
        }),
    })
}
