//! The objects of Garage: its S3 API, as far as one object at a time goes, for whoever signs with a key.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Answer, Ask, Site};
use super::{Refusal, buckets, keys};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::controllers::text;
use crate::sim::kubernetes::store::timestamp;
use crate::sim::signature::{ALGORITHM, Signed};

/// What stands for the checksum of a body that was not looked at.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// How old a signature may be, in milliseconds.
const LASTS: u64 = 24 * 60 * 60 * 1000;

/// Answers a request for an object.
pub(super) fn answer(site: &mut Site<'_>, ask: &Ask, region: &str) -> Answer {
    match attempt(site, ask, region) {
        Ok(answer) => answer,
        Err(Refusal { status, code, message }) => {
            let told = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let (message, path) = (told(&message), told(&ask.path));
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message><Resource>{path}</Resource><Region>{region}</Region></Error>"
            );
            Answer { kind: "application/xml", ..Answer::text(status, &body) }
        }
    }
}

fn attempt(site: &mut Site<'_>, ask: &Ask, region: &str) -> Result<Answer, Refusal> {
    let key = signer(site.state, ask, region)?;
    let path = ask.path.trim_start_matches('/');
    let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
    let found = buckets::find(site.state, "name", bucket).ok_or_else(|| Refusal::no_bucket(bucket))?;
    let (id, own) = (text(found, "/id").to_owned(), &found["keys"][&key]);
    let needed = if matches!(ask.method.as_str(), "GET" | "HEAD") { "read" } else { "write" };
    if own[needed] != true {
        return Err(Refusal::forbidden("Operation is not allowed for this key."));
    }
    if name.is_empty() || !ask.query.is_empty() {
        return Ok(Answer::not_simulated("Garage", ask));
    }
    let kept = site.state["objects"][&id][name].as_str().map(str::to_owned);
    match ask.method.as_str() {
        "PUT" => {
            let Ok(text) = String::from_utf8(ask.body.clone()) else {
                return Ok(Answer::text(501, "homelab sim: not simulated: objects that are no text\n"));
            };
            site.state["objects"][&id][name] = json!(text);
            Ok(Answer::text(200, ""))
        }
        "GET" | "HEAD" => {
            let kept = kept.ok_or_else(|| Refusal::new(404, "NoSuchKey", "Key not found"))?;
            let body = if ask.method == "GET" { kept.as_str() } else { "" };
            Ok(Answer { kind: "application/octet-stream", ..Answer::text(200, body) })
        }
        "DELETE" => {
            if let Some(all) = site.state["objects"][&id].as_object_mut() {
                all.shift_remove(name);
            }
            Ok(Answer::text(204, ""))
        }
        _ => Ok(Answer::not_simulated("Garage", ask)),
    }
}

/// The key that a request is signed with, once the signature is found to be right.
fn signer(state: &Value, ask: &Ask, region: &str) -> Result<String, Refusal> {
    let Some(given) = &ask.authorization else {
        return Err(Refusal::forbidden("Garage does not support anonymous access yet"));
    };
    let (algorithm, rest) = given.split_once(' ').ok_or_else(|| Refusal::bad("Authorization field to short"))?;
    if algorithm != ALGORITHM {
        return Err(Refusal::bad("Unsupported authorization method"));
    }
    let parts: BTreeMap<&str, &str> = rest.split(',').filter_map(|part| part.trim().split_once('=')).collect();
    let part = |name: &str| {
        let missing = || Refusal::bad(&format!("Could not find {name} in Authorization field"));
        parts.get(name).copied().ok_or_else(missing)
    };
    let header = |name: &str| {
        let missing = || Refusal::bad(&format!("Missing {name} field"));
        ask.headers.get(&name.to_ascii_lowercase()).map(String::as_str).ok_or_else(missing)
    };
    let (id, scope) = part("Credential")?
        .split_once('/')
        .ok_or_else(|| Refusal::bad("Credentials does not contain '/' in authorization field"))?;
    let names: Vec<&str> = part("SignedHeaders")?.split(';').collect();
    let (payload, moment) = (header("X-Amz-Content-Sha256")?, header("X-Amz-Date")?);
    for name in ask.headers.keys().map(String::as_str).filter(|name| *name == "host" || name.starts_with("x-amz-")) {
        if !names.contains(&name) {
            return Err(Refusal::bad(&format!("Header `{name}` should be signed")));
        }
    }
    if moment < &*basic(ask.now.saturating_sub(LASTS)) {
        return Err(Refusal::bad("Date is too old"));
    }
    let signed = Signed {
        method: &ask.method,
        target: &ask.target,
        headers: &ask.headers,
        names: &names,
        payload,
        moment,
        region,
        service: "s3",
    };
    if scope != signed.scope() {
        let why = format!("Authorization header malformed, unexpected scope: {scope}");
        return Err(Refusal::new(400, "AuthorizationHeaderMalformed", why));
    }
    let key = keys::find(state, id).ok_or_else(|| Refusal::forbidden(&format!("No such key: {id}")))?;
    if part("Signature")? != signed.signature(text(key, "/secret")) {
        return Err(Refusal::forbidden("Invalid signature"));
    }
    if payload != UNSIGNED && payload != hex(&sha256(&ask.body)) {
        return Err(Refusal::bad("Request content hash does not match signed hash"));
    }
    Ok(id.to_owned())
}

/// A moment in the short form: `20260101T120000Z`.
fn basic(millis: u64) -> String {
    timestamp(millis).replace(['-', ':'], "")
}
