//! Which kinds a cluster serves, or will once what is planned has been done.

use super::handle::{Kubernetes, REALM, planned_on_hosts};
use crate::clients::kubernetes::{Discovery, Resource};
use crate::error::{Class, Error, Result};
use crate::run::resource::Cell;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{State, Value};

/// Charts and the like: what they bring with them, nobody knows before they are there.
const BRINGERS: [&str; 3] =
    ["helm.cattle.io/HelmChart:", "helm.toolkit.fluxcd.io/HelmRelease:", "kustomize.toolkit.fluxcd.io/Kustomization:"];

/// A kind by its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind<'a> {
    /// The group; empty for the core.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The kind.
    pub kind: &'a str,
}

/// Whether a kind is served.
#[derive(Debug, Clone)]
pub(super) enum Served {
    /// It is.
    Here(Resource),
    /// Not before something is done that is planned: there are no objects of it.
    Planned(Unknown),
    /// That cannot be told yet.
    NotYet(Unknown),
}

impl Kind<'_> {
    fn shown(self) -> String {
        let Kind { group, version, kind } = self;
        if group.is_empty() { format!("{version} {kind}") } else { format!("{group}/{version} {kind}") }
    }

    fn within(self, known: &Discovery) -> Option<Resource> {
        known.kind(self.group, self.version, self.kind).cloned()
    }
}

/// The cell of an object, by what people call it.
pub(super) fn object_cell(address: &str) -> Cell {
    Cell::new(REALM, address)
}

/// Whether a kind is served. What is missed is asked for once more: it may have come in the meantime.
pub(super) fn served(k: &Kubernetes, kind: Kind<'_>) -> Result<Served> {
    let client = match k.client()? {
        Ok(client) => client,
        Err(unknown) => return Ok(Served::Planned(unknown)),
    };
    let known = match scope::wait(async { Ok(client.discovery().await) })? {
        Ok(known) => known,
        Err(failure) => return k.later(failure).map(Served::NotYet),
    };
    if let Some(resource) = kind.within(&known) {
        return Ok(Served::Here(resource));
    }
    if scope::is_planning()?
        && let Some(cause) = planned(kind)?
    {
        return Ok(Served::Planned(cause));
    }
    let known = k.discover_anew(&client)?;
    if let Some(resource) = kind.within(&known) {
        return Ok(Served::Here(resource));
    }
    match scope::with(|branch| branch.overlay.fog_over_realm(REALM).cloned())? {
        Some(fog) => Ok(Served::NotYet(fog)),
        None => Err(unserved(kind, &known)),
    }
}

fn unserved(kind: Kind<'_>, known: &Discovery) -> Error {
    let error = Error::new(Class::Failed, format!("{}: the cluster serves no such kind", kind.shown()));
    let elsewhere: Vec<String> = known.elsewhere(kind.kind).into_iter().filter(|version| !version.is_empty()).collect();
    if elsewhere.is_empty() {
        return error.help("apply its CustomResourceDefinition, or the chart that brings it, before");
    }
    error.cause(format!("it serves {} as {}", kind.kind, elsewhere.join(", "))).help("correct `apiVersion`")
}

/// What is planned that will bring a kind.
fn planned(kind: Kind<'_>) -> Result<Option<Unknown>> {
    if let Some(cause) = planned_on_hosts()? {
        return Ok(Some(cause));
    }
    scope::with(|branch| {
        let mut cells = branch.overlay.cells().filter(|(cell, _)| cell.realm == REALM);
        let brings = |cell: &Cell, state: &State| {
            BRINGERS.iter().any(|bringer| cell.path.starts_with(bringer))
                || (cell.path.starts_with("apiextensions.k8s.io/CustomResourceDefinition:") && defines(state, kind))
        };
        cells.find(|(cell, planned)| brings(cell, &planned.state)).map(|(_, planned)| Unknown::from_origin(&planned.by))
    })
}

/// A chart or the like that is planned: which objects it brings, nobody knows before.
pub(super) fn planned_bringer() -> Result<Option<Unknown>> {
    scope::with(|branch| {
        let mut cells = branch.overlay.cells().filter(|(cell, _)| cell.realm == REALM);
        let found = cells.find(|(cell, _)| BRINGERS.iter().any(|bringer| cell.path.starts_with(bringer)));
        found.map(|(_, planned)| Unknown::from_origin(&planned.by))
    })
}

/// Whether a definition of the cluster is that of a kind.
fn defines(state: &State, kind: Kind<'_>) -> bool {
    let Some(spec) = state.here().and_then(|crd| crd.get("spec")) else { return false };
    let text = |value: Option<&Value>| value.and_then(Value::as_text).map(str::to_owned);
    let Some(Value::List(versions)) = spec.get("versions") else { return false };
    text(spec.get("group")).as_deref() == Some(kind.group)
        && text(spec.get("names").and_then(|names| names.get("kind"))).as_deref() == Some(kind.kind)
        && versions.iter().any(|version| text(version.get("name")).as_deref() == Some(kind.version))
}

/// The kind that a path leads to, and which object: `None` where it leads to no single one.
pub(super) struct Pointed {
    /// The kind.
    pub resource: Resource,
    /// The namespace, where it has one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// What a path points at, as far as the kinds are known.
pub(super) fn pointed(known: &Discovery, path: &str) -> Option<Pointed> {
    let path = path.split('?').next()?;
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural, name] => (Some((*namespace).to_owned()), *plural, *name),
        [plural, name] => (None, *plural, *name),
        _ => return None,
    };
    let resource = known.plural(group, version, plural)?.clone();
    Some(Pointed { resource, namespace, name: name.to_owned() })
}
