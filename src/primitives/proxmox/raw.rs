//! Raw calls: carried out inside a change, or a change of their own that nobody can look into.

use std::sync::Arc;

use rhai::{Array, Dynamic, Map};

use super::handle::{Proxmox, REALM, TASK_TIMEOUT};
use crate::clients::proxmox::Params;
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::raw::{Raw, mutate};
use crate::run::scope;
use crate::run::value::Value;
use crate::script::convert::from_dynamic;

/// A method that changes something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Post,
    Put,
    Delete,
}

/// Refuses what is no path of the API.
pub(super) fn check_path(path: &str) -> Result<()> {
    if path.starts_with('/') && !path.contains(['?', '#']) && !path.split('/').any(|part| part == "..") {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`{path}` is not a path of the API"))
        .help("write it from the root, as in `/nodes/pve-01/status`, and give parameters as a map"))
}

/// Parameters of a call, as a script gives them: a list is a repeated key.
pub(super) fn params(map: &Map) -> Result<Params> {
    let mut params = Params::new();
    for (key, value) in map {
        match value.read_lock::<Array>() {
            Some(items) => items.iter().try_for_each(|item| push(&mut params, key, item))?,
            None => push(&mut params, key, value)?,
        }
    }
    Ok(params)
}

fn push(params: &mut Params, key: &str, value: &Dynamic) -> Result<()> {
    let plain = from_dynamic(value)
        .map_err(|error| Error::new(Class::Script, format!("parameter `{key}` is no plain value")).cause(error))?;
    match plain {
        Value::Bool(flag) => params.push(key, flag),
        Value::Int(number) => params.push(key, number),
        Value::Float(number) => params.push(key, number.to_string()),
        Value::Text(text) => params.push(key, text),
        Value::Secret(secret) => params.push(key, secret.expose()),
        Value::Null => {}
        Value::Unknown(unknown) => {
            return Err(Error::new(Class::InputMissing, format!("parameter `{key}` needs {}", unknown.origin())));
        }
        Value::List(_) | Value::Map(_) => {
            return Err(Error::new(
                Class::Script,
                format!("parameter `{key}` must be a text, a number or a truth value"),
            ));
        }
    }
    Ok(())
}

/// Sends a raw call. An answer that names a task is waited for; the script gets the answer all the same.
pub(super) fn send(pve: &Proxmox, method: Method, path: &str, map: &Map) -> Result<Value> {
    check_path(path)?;
    let name = match method {
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    };
    let details = from_dynamic(&Dynamic::from(map.clone())).map_err(|error| {
        Error::new(Class::Script, format!("pve {name} {path}: parameters must be plain")).cause(error)
    })?;
    let (pve, path, map) = (pve.clone(), path.to_owned(), map.clone());
    mutate(Raw {
        address: format!("{REALM}:{name} {path}"),
        realm: REALM.to_owned(),
        details,
        send: Arc::new(move |writer| call(&pve, method, &path, &params(&map)?, writer)),
    })
}

fn call(pve: &Proxmox, method: Method, path: &str, params: &Params, writer: &Writer) -> Result<Value> {
    let client = pve.client();
    let answer = scope::wait(async {
        Ok(match method {
            Method::Post => client.post(path, params, writer).await?,
            Method::Put => client.put(path, params, writer).await?,
            Method::Delete => client.delete(path, params, writer).await?,
        })
    })?;
    if answer.data.as_str().is_some_and(|text| text.starts_with("UPID:")) {
        pve.finish_task(&answer, TASK_TIMEOUT)?;
    }
    pve.forget_guests();
    veiled(path, Value::from(answer.data))
}

/// The answer, with what must not show made secret: a new token's secret, a login.
fn veiled(path: &str, answer: Value) -> Result<Value> {
    let Value::Map(mut map) = answer else { return Ok(answer) };
    let redactor = scope::run()?.redactor.clone();
    for (key, field) in &mut map {
        let must_not_show = match key.as_str() {
            "value" => path.contains("/token/"),
            "ticket" | "CSRFPreventionToken" | "password" => true,
            _ => false,
        };
        if let Value::Text(text) = field
            && must_not_show
        {
            *field = Value::Secret(redactor.secret(text));
        }
    }
    Ok(Value::Map(map))
}
