//! Looking for objects: what is there, or what a dry run has planned.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::apply::manifest::{address, split_version};
use super::apply::shape::open;
use super::handle::Kubernetes;
use super::kinds::{Kind, Served, object_cell, pointed, served};
use super::reads;
use crate::error::{Class, Error, Result};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// Which object is looked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindOptions {
    /// Its kind, as in `Deployment`.
    pub kind: String,
    /// Group and version, as in `apps/v1`. Default: `v1`.
    #[serde(default = "v1")]
    pub api_version: String,
    /// The namespace, where its kind has one. Default: `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// Which objects are looked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOptions {
    /// Their kind, as in `Deployment`.
    pub kind: String,
    /// Group and version, as in `apps/v1`. Default: `v1`.
    #[serde(default = "v1")]
    pub api_version: String,
    /// The namespace. Default: all.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Only those with these labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Only those with these fields, as in `#{ "status.phase": "Running" }`. What fields there are depends on the kind.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

fn v1() -> String {
    "v1".to_owned()
}

/// The most objects that are asked for at once.
const PAGE: usize = 500;

/// An object, `()` where there is none.
pub(super) fn find(k: &Kubernetes, options: &FindOptions) -> Result<Value> {
    let (group, version) = split_version(&options.api_version);
    let kind = Kind { group: &group, version: &version, kind: &options.kind };
    let resource = match served(k, kind)? {
        Served::Here(resource) => resource,
        Served::Planned(cause) => {
            let namespace = options.namespace.as_deref();
            let planned = planned(
                &address(&group, &options.kind, namespace, &options.name),
                &options.api_version,
                &options.kind,
                namespace,
                &options.name,
            )?;
            return Ok(planned.unwrap_or_else(|| Value::Unknown(cause.part(&options.name).maybe_absent())));
        }
        Served::NotYet(unknown) => return Ok(Value::Unknown(unknown.maybe_absent())),
    };
    let namespace = resource.namespaced.then(|| options.namespace.clone().unwrap_or_else(|| "default".to_owned()));
    let shown = address(&group, &options.kind, namespace.as_deref(), &options.name);
    match planned(&shown, &options.api_version, &options.kind, namespace.as_deref(), &options.name)? {
        Some(planned) => Ok(planned),
        None => reads::object(k, &resource.path(namespace.as_deref(), &options.name)),
    }
}

/// What a dry run has planned at a path, where it leads to one object.
pub(super) fn planned_at(k: &Kubernetes, path: &str) -> Result<Option<Value>> {
    if !scope::is_planning()? || path.contains('?') {
        return Ok(None);
    }
    let Ok(client) = k.client()? else { return Ok(None) };
    let known = match scope::wait(async { Ok(client.discovery().await) })? {
        Ok(known) => known,
        // Whoever reads the path finds out the same.
        Err(_) => return Ok(None),
    };
    let Some(pointed) = pointed(&known, path) else { return Ok(None) };
    let resource = &pointed.resource;
    let namespace = pointed.namespace.as_deref();
    let shown = address(&resource.group, &resource.kind, namespace, &pointed.name);
    planned(&shown, &resource.api_version(), &resource.kind, namespace, &pointed.name)
}

/// An object as this dry run has planned it. What the API will add to it is not known.
fn planned(shown: &str, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Result<Option<Value>> {
    if !scope::is_planning()? {
        return Ok(None);
    }
    let cell = object_cell(shown);
    let (planned, declared) = scope::with(|branch| {
        let overlay = &branch.overlay;
        (overlay.cell(&cell).cloned(), overlay.declared_unknown(&cell).cloned())
    })?;
    if let Some(unknown) = declared {
        return Ok(Some(Value::Unknown(unknown.maybe_absent())));
    }
    let Some(planned) = planned else { return Ok(None) };
    let origin = Unknown::from_origin(&planned.by);
    Ok(Some(match planned.state {
        State::Absent => Value::Null,
        State::Unknown(unknown) => Value::Unknown(unknown.maybe_absent()),
        State::Here(Value::Map(mut object)) => {
            let mut metadata = match object.remove("metadata") {
                Some(Value::Map(metadata)) => metadata,
                _ => Map::new(),
            };
            metadata.insert("name".to_owned(), Value::text(name));
            metadata.extend(namespace.map(|namespace| ("namespace".to_owned(), Value::text(namespace))));
            object.insert("metadata".to_owned(), Value::Map(metadata));
            object.insert("kind".to_owned(), Value::text(kind));
            object.insert("apiVersion".to_owned(), Value::text(api_version));
            open(&Value::Map(object), &origin)
        }
        State::Here(other) => other,
    }))
}

/// The objects of a kind.
pub(super) fn list(k: &Kubernetes, options: &ListOptions) -> Result<Value> {
    let (group, version) = split_version(&options.api_version);
    let kind = Kind { group: &group, version: &version, kind: &options.kind };
    let resource = match served(k, kind)? {
        Served::Here(resource) => resource,
        Served::Planned(unknown) | Served::NotYet(unknown) => return Ok(Value::Unknown(unknown.part(&options.kind))),
    };
    if options.namespace.is_some() && !resource.namespaced {
        let wrong = Error::new(Class::Script, format!("`list`: a {} belongs to no namespace", options.kind));
        return Err(wrong.help("leave `namespace` out"));
    }
    let mut query = vec![format!("limit={PAGE}")];
    for (name, wanted) in [("labelSelector", &options.labels), ("fieldSelector", &options.fields)] {
        if !wanted.is_empty() {
            let all: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
            query.push(format!(
                "{name}={}",
                form_urlencoded::byte_serialize(all.join(",").as_bytes()).collect::<String>()
            ));
        }
    }
    let collection = resource.collection(options.namespace.as_deref());
    reads::pages(k, &format!("{collection}?{}", query.join("&")), &resource)
}
