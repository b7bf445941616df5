//! What clients ask before they send objects: which parameters the paths of a group take, and what its objects consist of.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::kinds::{self, Kind};
use super::schemas;
use super::{Call, Reply};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::cluster::Cluster;

/// Answers a path below `/openapi/v3`, if it is one.
pub(super) fn answer(cluster: &Cluster, call: &Call) -> Option<Reply> {
    let rest = call.path.strip_prefix("/openapi/v3")?.trim_matches('/');
    let all = cluster.kinds();
    if rest.is_empty() {
        let mut paths = serde_json::Map::new();
        for (group, versions) in kinds::groups(&all) {
            for version in versions {
                let place = place(group, version);
                let tag = &told(&all, group, version).tag;
                let target = format!("/openapi/v3/{place}?hash={tag}");
                paths.insert(place, json!({ "serverRelativeURL": target }));
            }
        }
        return Some(Reply::json(200, json!({ "paths": paths })));
    }
    let found = kinds::groups(&all)
        .into_iter()
        .flat_map(|(group, versions)| versions.into_iter().map(move |version| (group, version)))
        .find(|(group, version)| place(group, version) == rest);
    let Some((group, version)) = found else { return Some(Reply::no_page()) };
    let told = told(&all, group, version);
    let (tag, document) = (told.tag.clone(), told.document.clone());
    let etag = ("etag", format!("\"{tag}\""));
    let vary = ("vary", "Accept".to_owned());
    match call.query.get("hash") {
        Some(wanted) if *wanted != tag => {
            let target = ("location", format!("/openapi/v3/{rest}?hash={tag}"));
            Some(Reply { headers: vec![etag, vary, target], ..Reply::text(301, "") })
        }
        Some(_) => {
            let kept = ("cache-control", "public, immutable".to_owned());
            Some(Reply { headers: vec![etag, vary, kept], ..Reply::json(200, document) })
        }
        None => Some(Reply { headers: vec![etag, vary], ..Reply::json(200, document) }),
    }
}

fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn tag(document: &Value) -> String {
    hex(&sha256(document.to_string())).to_uppercase()
}

/// A document, and by what it is told from others.
struct Told {
    document: Value,
    tag: String,
}

/// The document of a group and version. Those without custom kinds never change.
fn told(all: &[Arc<Kind>], group: &str, version: &str) -> Arc<Told> {
    static FIXED: OnceLock<BTreeMap<(String, String), Arc<Told>>> = OnceLock::new();
    let make = |all: &[Arc<Kind>], group: &str, version: &str| {
        let document = document(all, group, version);
        Arc::new(Told { tag: tag(&document), document })
    };
    if all.iter().any(|kind| kind.group == group && kind.version == version && kind.custom.is_some()) {
        return make(all, group, version);
    }
    let fixed = FIXED.get_or_init(|| {
        let built_in = kinds::groups(kinds::all());
        let each = built_in.into_iter().flat_map(|(group, all)| all.into_iter().map(move |version| (group, version)));
        each.map(|(group, version)| ((group.to_owned(), version.to_owned()), make(kinds::all(), group, version)))
            .collect()
    });
    match fixed.get(&(group.to_owned(), version.to_owned())) {
        Some(told) => Arc::clone(told),
        None => make(all, group, version),
    }
}

/// The paths of a group and version with what they take, and the types of their objects.
fn document(all: &[Arc<Kind>], group: &str, version: &str) -> Value {
    let parameter =
        |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } });
    let writes: Vec<Value> =
        ["dryRun", "fieldManager", "fieldValidation", "pretty"].into_iter().map(parameter).collect();
    let applies: Vec<Value> = writes.iter().cloned().chain([parameter("force")]).collect();
    let mut paths = serde_json::Map::new();
    for kind in all.iter().filter(|kind| kind.group == group && kind.version == version) {
        let own = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        let one = |action: &str, parameters: &[Value]| {
            json!({
                "parameters": parameters, "responses": { "200": { "description": "OK" } },
                "x-kubernetes-action": action, "x-kubernetes-group-version-kind": own,
            })
        };
        let base = match kind.namespaced {
            true => format!("/{}/namespaces/{{namespace}}/{}", place(group, version), kind.resource),
            false => format!("/{}/{}", place(group, version), kind.resource),
        };
        let mut many = json!({ "get": one("list", &[parameter("pretty")]) });
        let mut single = json!({ "get": one("get", &[parameter("pretty")]) });
        if kind.verbs.contains(&"create") {
            many["post"] = one("post", &writes);
        }
        if kind.verbs.contains(&"patch") {
            single["patch"] = one("patch", &applies);
            single["put"] = one("put", &writes);
            single["delete"] = one("delete", &[parameter("dryRun")]);
        }
        paths.insert(base.clone(), many);
        paths.insert(format!("{base}/{{name}}"), single);
    }
    let own = all.iter().filter(|kind| kind.group == group && kind.version == version);
    json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "1.36" }, "paths": paths,
        "components": { "schemas": schemas::of(own.map(|kind| &**kind)) },
    })
}
