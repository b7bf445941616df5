//! What kinds there are: in one document for each group and version, or all in two.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::kinds::{self, Kind, Part};
use super::status::Refusal;
use super::{Body, Call, Reply};
use crate::sim::kubernetes::cluster::Cluster;

/// The form in which all is told at once.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// In which form somebody wants to hear.
enum Form {
    Aggregated,
    Plain,
}

/// The first form that there is of those that are accepted.
fn form(call: &Call) -> Result<Form, Refusal> {
    let Some(accept) = &call.accept else { return Ok(Form::Plain) };
    for one in accept.split(',') {
        let mut words = one.split(';').map(str::trim);
        let kind = words.next().unwrap_or_default();
        let given: Vec<&str> = words.filter(|word| !word.starts_with("q=")).collect();
        match kind {
            "application/json" if given.is_empty() => return Ok(Form::Plain),
            "application/json" if given.contains(&"v=v2") && given.contains(&"as=APIGroupDiscoveryList") => {
                return Ok(Form::Aggregated);
            }
            "*/*" | "application/*" => return Ok(Form::Plain),
            _ => {}
        }
    }
    // One form of it was there once; others never were.
    let known = accept.contains("apidiscovery.k8s.io");
    Err(if known { Refusal::no_such_list() } else { Refusal::not_acceptable() })
}

/// Answers what kinds there are, if that is asked.
pub(super) fn answer(cluster: &Cluster, call: &Call) -> Result<Option<Reply>, Refusal> {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    let all = match parts.as_slice() {
        ["api" | "apis", ..] if parts.len() < 4 => cluster.kinds(),
        [""] => cluster.kinds(),
        _ => return Ok(None),
    };
    let is_group = |name: &str| kinds::groups(&all).into_iter().find(|(group, _)| !group.is_empty() && *group == name);
    let reply = match parts.as_slice() {
        [""] => Reply::json(200, json!({ "paths": paths(&all) })),
        ["api"] => match form(call)? {
            Form::Aggregated => aggregated(cluster, &all, |group| group.is_empty()),
            Form::Plain => Reply::json(
                200,
                json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{
                    "clientCIDR": "0.0.0.0/0", "serverAddress": cluster.address(),
                }] }),
            ),
        },
        ["apis"] => match form(call)? {
            Form::Aggregated => aggregated(cluster, &all, |group| !group.is_empty()),
            Form::Plain => {
                let groups = kinds::groups(&all).into_iter().filter(|(group, _)| !group.is_empty());
                let groups: Vec<Value> = groups.map(|(name, versions)| group(name, &versions)).collect();
                Reply::json(200, json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
            }
        },
        ["apis", name] => match is_group(name) {
            Some((name, versions)) => {
                let mut value = json!({ "kind": "APIGroup", "apiVersion": "v1" });
                for (key, part) in group(name, &versions).as_object().into_iter().flatten() {
                    value[key] = part.clone();
                }
                Reply::json(200, value)
            }
            None => Reply::no_page(),
        },
        ["api", version] => of_version(cluster, &all, call, "", version)?,
        ["apis", name, version] => of_version(cluster, &all, call, name, version)?,
        _ => return Ok(None),
    };
    if call.method != "GET" && call.method != "HEAD" {
        return Err(Refusal::no_such_method());
    }
    Ok(Some(reply))
}

fn paths(kinds: &[Arc<Kind>]) -> Vec<String> {
    let mut all = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into(), "/apis/".into()];
    for (group, versions) in kinds::groups(kinds).into_iter().filter(|(group, _)| !group.is_empty()) {
        all.push(format!("/apis/{group}"));
        all.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    all.extend(["/healthz", "/livez", "/readyz", "/version"].map(str::to_owned));
    all
}

fn group(name: &str, versions: &[&str]) -> Value {
    let one = |version: &&str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<Value> = versions.iter().map(one).collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions[0] })
}

fn of_version(cluster: &Cluster, all: &[Arc<Kind>], call: &Call, group: &str, version: &str) -> Result<Reply, Refusal> {
    let own: Vec<&Arc<Kind>> = all.iter().filter(|kind| kind.group == group && kind.version == version).collect();
    if own.is_empty() {
        return Ok(Reply::no_page());
    }
    if matches!(form(call), Ok(Form::Aggregated)) {
        return Err(Refusal::no_such_list());
    }
    if is_absent(cluster, group) {
        return Ok(Reply::text(503, "service unavailable\n"));
    }
    let resources: Vec<Value> = own.into_iter().flat_map(|kind| plain(kind)).collect();
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({ "kind": "APIResourceList" });
    // The oldest group tells its own version only.
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    list["groupVersion"] = json!(version);
    list["resources"] = json!(resources);
    Ok(Reply::json(200, list))
}

/// Whether what answers for a group is not there.
fn is_absent(cluster: &Cluster, group: &str) -> bool {
    group == "metrics.k8s.io" && !cluster.has_metrics()
}

/// A kind and what is below it, as the older documents tell.
fn plain(kind: &Kind) -> Vec<Value> {
    let mut own = json!({
        "name": kind.resource, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": kind.verbs,
    });
    if !kind.short.is_empty() {
        own["shortNames"] = json!(kind.short);
    }
    if !kind.categories.is_empty() {
        own["categories"] = json!(kind.categories);
    }
    // What is kept tells by which version.
    if kind.verbs.contains(&"update") {
        let digest = crate::sim::chance::sha256(format!("{}/{}/{}", kind.group, kind.version, kind.kind));
        own["storageVersionHash"] = json!(BASE64_STANDARD.encode(&digest[..8]));
    }
    let part = |part: &Part| {
        let mut value = json!({
            "name": format!("{}/{}", kind.resource, part.name), "singularName": "", "namespaced": kind.namespaced,
        });
        if let Some((group, version)) = &part.of {
            value["group"] = json!(group);
            value["version"] = json!(version);
        }
        value["kind"] = json!(part.kind);
        value["verbs"] = json!(part.verbs);
        value
    };
    std::iter::once(own).chain(kind.parts.iter().map(part)).collect()
}

fn aggregated(cluster: &Cluster, all: &[Arc<Kind>], wanted: impl Fn(&str) -> bool) -> Reply {
    let items: Vec<Value> = kinds::groups(all)
        .into_iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            let versions: Vec<Value> = versions.iter().map(|version| at_once(cluster, all, group, version)).collect();
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let tag = crate::sim::chance::hex(&crate::sim::chance::sha256(document.to_string())).to_uppercase();
    let headers =
        vec![("etag", format!("\"{tag}\"")), ("vary", "Accept".to_owned()), ("cache-control", "public".to_owned())];
    Reply { status: 200, headers, body: Body::Typed(AGGREGATED, document) }
}

fn at_once(cluster: &Cluster, all: &[Arc<Kind>], group: &str, version: &str) -> Value {
    if is_absent(cluster, group) {
        return json!({ "version": version, "freshness": "Stale" });
    }
    let own = all.iter().filter(|kind| kind.group == group && kind.version == version);
    let answered = |of: Option<&(String, String)>, kind: &str| {
        let (group, version) = of.map_or(("", ""), |(group, version)| (group.as_str(), version.as_str()));
        json!({ "group": group, "version": version, "kind": kind })
    };
    let one = |kind: &Arc<Kind>| {
        let mut value = json!({
            "resource": kind.resource, "responseKind": answered(None, &kind.kind),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": kind.singular, "verbs": kind.verbs,
        });
        if !kind.short.is_empty() {
            value["shortNames"] = json!(kind.short);
        }
        if !kind.categories.is_empty() {
            value["categories"] = json!(kind.categories);
        }
        if !kind.parts.is_empty() {
            let part = |part: &Part| json!({ "subresource": part.name, "responseKind": answered(part.of.as_ref(), &part.kind), "verbs": part.verbs });
            value["subresources"] = kind.parts.iter().map(part).collect();
        }
        value
    };
    let resources: Vec<Value> = own.map(one).collect();
    json!({ "version": version, "resources": resources, "freshness": "Current" })
}
