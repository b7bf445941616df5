//! The keys of Garage, as its admin API keeps them.

use serde_json::{Value, json};

use super::super::{Ask, Site};
use super::{Refusal, buckets};
use crate::sim::kubernetes::controllers::{items, text};

/// Whether this is asked here.
pub(super) fn knows(method: &str, verb: &str) -> bool {
    matches!((method, verb), ("GET", "ListKeys" | "GetKeyInfo") | ("POST", "ImportKey"))
}

pub(super) fn answer(site: &mut Site<'_>, verb: &str, ask: &Ask, body: &Value) -> Result<Value, Refusal> {
    match verb {
        "ListKeys" => {
            let listed = |key: &Value| json!({ "id": key["id"], "name": key["name"], "created": key["created"], "expiration": null, "expired": false });
            Ok(items(site.state, "/keys").iter().map(listed).collect())
        }
        "GetKeyInfo" => {
            let id = ask.query.get("id").map(String::as_str).unwrap_or_default();
            let shows = ask.query.get("showSecretKey").is_some_and(|value| value == "true");
            let key = find(site.state, id).cloned();
            key.map(|key| info(site.state, &key, shows)).ok_or_else(|| missing(id))
        }
        _ => import(site, ask, body),
    }
}

/// A key by its id.
pub(super) fn find<'a>(state: &'a Value, id: &str) -> Option<&'a Value> {
    items(state, "/keys").iter().find(|key| key["id"] == id)
}

pub(super) fn missing(id: &str) -> Refusal {
    Refusal::new(404, "NoSuchAccessKey", format!("Access key not found: {id}"))
}

fn info(state: &Value, key: &Value, shows: bool) -> Value {
    let id = text(key, "/id");
    let may = |bucket: &&Value| bucket["keys"][id].is_object();
    let all = items(state, "/buckets").iter().filter(may).map(|bucket| {
        json!({
            "id": bucket["id"], "globalAliases": [bucket["name"]], "localAliases": [],
            "permissions": buckets::permissions(&bucket["keys"][id]),
        })
    });
    json!({
        "accessKeyId": id, "name": key["name"], "created": key["created"], "expiration": null, "expired": false,
        "secretAccessKey": if shows { key["secret"].clone() } else { Value::Null },
        "permissions": { "createBucket": false }, "buckets": all.collect::<Vec<Value>>(),
    })
}

/// Takes in a key that was made elsewhere.
fn import(site: &mut Site<'_>, ask: &Ask, body: &Value) -> Result<Value, Refusal> {
    let (id, secret) = (text(body, "/accessKeyId"), text(body, "/secretAccessKey"));
    if find(site.state, id).is_some() {
        let why = format!(
            "Key {id} already exists in data store. Even if it is deleted, we can't let you create a new key with the same ID. Sorry."
        );
        return Err(Refusal::new(409, "KeyAlreadyExists", why));
    }
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !id.strip_prefix("GK").is_some_and(|rest| is_hex(rest, 24)) {
        let why =
            "The specified key ID is not a valid Garage key ID (starts with `GK`, followed by 12 hex-encoded bytes)";
        return Err(Refusal::bad(&format!("Invalid key format: {why}")));
    }
    if !is_hex(secret, 64) {
        let why = "The specified secret key is not a valid Garage secret key (composed of 32 hex-encoded bytes)";
        return Err(Refusal::bad(&format!("Invalid key format: {why}")));
    }
    let name = body["name"].as_str().unwrap_or("Imported key");
    let created = crate::sim::kubernetes::store::timestamp(ask.now);
    let key = json!({ "id": id, "secret": secret, "name": name, "created": created });
    let told = info(site.state, &key, false);
    super::push(site.state, "keys", key);
    Ok(told)
}
