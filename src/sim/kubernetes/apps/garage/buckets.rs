//! The buckets of Garage, as its admin API keeps them, and who may do what with them.

use serde_json::{Value, json};

use super::super::{Ask, Site};
use super::{Refusal, keys};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::controllers::{items, text};

/// What a key may be allowed.
const PERMISSIONS: [&str; 3] = ["read", "write", "owner"];

/// Whether this is asked here.
pub(super) fn knows(method: &str, verb: &str) -> bool {
    matches!(
        (method, verb),
        ("GET", "ListBuckets" | "GetBucketInfo") | ("POST", "CreateBucket" | "AllowBucketKey" | "DenyBucketKey")
    )
}

pub(super) fn answer(site: &mut Site<'_>, verb: &str, ask: &Ask, body: &Value) -> Result<Value, Refusal> {
    match verb {
        "ListBuckets" => {
            let listed = |one: &Value| json!({ "id": one["id"], "created": one["created"], "globalAliases": [one["name"]], "localAliases": [] });
            Ok(items(site.state, "/buckets").iter().map(listed).collect())
        }
        "GetBucketInfo" => {
            let told = |name: &str| ask.query.get(name).map(String::as_str);
            let found = match (told("id"), told("globalAlias")) {
                (Some(id), None) => find(site.state, "id", id),
                (None, Some(name)) => find(site.state, "name", name),
                _ => {
                    return Err(Refusal::bad(
                        "Either id, globalAlias or search must be provided (but not several of them)",
                    ));
                }
            };
            let found =
                found.ok_or_else(|| Refusal::no_bucket(told("id").or(told("globalAlias")).unwrap_or_default()))?;
            Ok(info(site.state, found))
        }
        "CreateBucket" => create(site, ask, body),
        _ => change(site, body, verb == "AllowBucketKey"),
    }
}

/// A bucket by what it is called or by its number.
pub(super) fn find<'a>(state: &'a Value, field: &str, wanted: &str) -> Option<&'a Value> {
    items(state, "/buckets").iter().find(|bucket| bucket[field] == wanted)
}

/// What a key may do, as it is told.
pub(super) fn permissions(own: &Value) -> Value {
    PERMISSIONS
        .iter()
        .map(|name| ((*name).to_owned(), json!(own[*name] == true)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn info(state: &Value, bucket: &Value) -> Value {
    let own = bucket["keys"].as_object().into_iter().flatten().map(|(id, own)| {
        let name = keys::find(state, id).map(|key| key["name"].clone());
        json!({ "accessKeyId": id, "name": name, "permissions": permissions(own), "bucketLocalAliases": [] })
    });
    let objects = state["objects"][text(bucket, "/id")].as_object();
    let bytes: usize = objects.into_iter().flatten().filter_map(|(_, object)| object.as_str().map(str::len)).sum();
    json!({
        "id": bucket["id"], "created": bucket["created"], "globalAliases": [bucket["name"]],
        "websiteAccess": false, "websiteConfig": null, "keys": own.collect::<Vec<Value>>(),
        "objects": objects.map_or(0, serde_json::Map::len), "bytes": bytes, "unfinishedUploads": 0,
        "unfinishedMultipartUploads": 0, "unfinishedMultipartUploadParts": 0, "unfinishedMultipartUploadBytes": 0,
        "quotas": { "maxSize": null, "maxObjects": null },
    })
}

/// Whether a bucket may be called so.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| is_plain(*byte) || matches!(byte, b'-' | b'.'))
        && bytes.first().zip(bytes.last()).is_some_and(|(first, last)| is_plain(*first) && is_plain(*last))
}

fn create(site: &mut Site<'_>, ask: &Ask, body: &Value) -> Result<Value, Refusal> {
    let name = text(body, "/globalAlias");
    if !is_name(name) {
        let rules = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html";
        let why =
            format!("{name}: Invalid bucket name. See AWS documentation for constraints on S3 bucket names:\n{rules}");
        return Err(Refusal::bad(&why));
    }
    if find(site.state, "name", name).is_some() {
        return Err(Refusal::new(409, "BucketAlreadyExists", "Bucket already exists"));
    }
    let created = crate::sim::kubernetes::store::timestamp(ask.now);
    let bucket =
        json!({ "id": hex(&sha256(format!("{name} {created}"))), "name": name, "created": created, "keys": {} });
    let told = info(site.state, &bucket);
    super::push(site.state, "buckets", bucket);
    Ok(told)
}

/// Allows a key what is named, or takes it from it; the rest stays as it is.
fn change(site: &mut Site<'_>, body: &Value, allows: bool) -> Result<Value, Refusal> {
    let (bucket, key) = (text(body, "/bucketId"), text(body, "/accessKeyId"));
    if find(site.state, "id", bucket).is_none() {
        return Err(Refusal::no_bucket(bucket));
    }
    keys::find(site.state, key).ok_or_else(|| keys::missing(key))?;
    for own in site.state["buckets"].as_array_mut().into_iter().flatten().filter(|one| one["id"] == bucket) {
        for name in PERMISSIONS.iter().filter(|name| body["permissions"][**name] == true) {
            own["keys"][key][*name] = json!(allows);
        }
    }
    find(site.state, "id", bucket).map(|own| info(site.state, own)).ok_or_else(|| Refusal::no_bucket(bucket))
}
