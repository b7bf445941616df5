//! The order in which objects are applied, and what is waited for on the way: a namespace before what is in it, a kind before its
//! objects, what serves a webhook before the webhook.

use std::time::{Duration, Instant};

use super::super::handle::Kubernetes;
use super::super::helm::Release;
use super::super::kinds::{Kind, Served, served};
use super::super::wait::{Target, Until, until_all};
use super::manifest::Manifest;
use super::object::{Applied, Objects};
use crate::error::Result;
use crate::run::ensure::{Changed, Outcome};
use crate::run::resource::Fact as _;
use crate::run::scope;
use crate::run::value::Value;
use crate::script::args;

/// How long what others rest on may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before it is looked whether a new kind is served.
const PAUSE: Duration = Duration::from_millis(250);

/// In which stage the objects of a kind come.
pub(in crate::primitives::kubernetes) fn stage(group: &str, kind: &str) -> usize {
    match (group, kind) {
        ("", "Namespace")
        | ("apiextensions.k8s.io", "CustomResourceDefinition")
        | ("rbac.authorization.k8s.io", "ClusterRole") => 0,
        ("storage.k8s.io", "StorageClass")
        | ("networking.k8s.io", "IngressClass")
        | ("node.k8s.io", "RuntimeClass")
        | ("scheduling.k8s.io", "PriorityClass") => 1,
        ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", _) => 3,
        _ => 2,
    }
}

/// The objects by stage. Within one they keep their order.
pub(super) fn in_order(manifests: Vec<Manifest>) -> Vec<Vec<Manifest>> {
    let mut stages: Vec<Vec<Manifest>> = vec![Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for manifest in manifests {
        stages[stage(&manifest.group, &manifest.kind)].push(manifest);
    }
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// Waits until what was made of a stage can be used: namespaces and kinds.
pub(super) fn settle(k: &Kubernetes, objects: &Objects, outcomes: &[Outcome]) -> Result<()> {
    if scope::is_planning()? {
        return Ok(());
    }
    let made = objects.iter().zip(outcomes).filter(|(_, outcome)| outcome.changed == Changed::Yes);
    let made: Vec<&Applied> = made
        .map(|(object, _)| &**object)
        .filter(|object| matches!(object.manifest.kind.as_str(), "Namespace" | "CustomResourceDefinition"))
        .collect();
    let targets = made.iter().filter(|object| !object.was_ready()).map(|object| object.target());
    let targets: Vec<Target> = targets.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    if !targets.is_empty() {
        until_all(k, targets, &Until::Ready, PATIENCE)?;
    }
    made.into_iter()
        .filter(|object| object.manifest.kind == "CustomResourceDefinition")
        .try_for_each(|crd| until_served(k, crd))
}

/// Waits until the kinds of a definition are served: that comes a moment after it is established.
fn until_served(k: &Kubernetes, crd: &Applied) -> Result<()> {
    let spec = crd.manifest.body.get("spec");
    let text = |value: Option<&Value>| value.and_then(Value::as_text).unwrap_or_default().to_owned();
    let group = text(spec.and_then(|spec| spec.get("group")));
    let kind = text(spec.and_then(|spec| spec.get("names")?.get("kind")));
    let Some(Value::List(versions)) = spec.and_then(|spec| spec.get("versions")) else { return Ok(()) };
    for version in versions.iter().filter(|version| version.get("served") != Some(&Value::Bool(false))) {
        let version = text(version.get("name"));
        let began = Instant::now();
        loop {
            match served(k, Kind { group: &group, version: &version, kind: &kind }) {
                Ok(Served::Here(_)) => break,
                Err(error) if began.elapsed() >= PATIENCE => {
                    return Err(error.context(format!("{}: its kind is not served", crd.address())));
                }
                _ => scope::pause(PAUSE)?,
            }
        }
    }
    Ok(())
}

/// Waits until objects are ready. Those that were, are not looked at again.
pub(super) fn until_ready(k: &Kubernetes, objects: &Objects, timeout: args::Duration) -> Result<()> {
    let is_chart = |object: &Applied| object.manifest.group == "helm.cattle.io" && object.manifest.kind == "HelmChart";
    let unready = objects.iter().filter(|object| !is_chart(object) && !object.was_ready());
    let targets: Vec<Target> =
        unready.map(|object| object.target()).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let began = Instant::now();
    if !targets.is_empty() {
        until_all(k, targets, &Until::Ready, timeout.0)?;
    }
    for chart in objects.iter().filter(|object| is_chart(object)) {
        let release = Release {
            address: chart.address(),
            namespace: chart.manifest.namespace.clone().unwrap_or_default(),
            name: chart.manifest.name.clone(),
        };
        release.follow(k, None, args::Duration(timeout.0.saturating_sub(began.elapsed())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_rest_on_comes_first_and_webhooks_come_last() {
        let object = |api_version: &str, kind: &str, name: &str| {
            let json = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
            Manifest::all(Value::from(json), "it").unwrap().remove(0)
        };
        let all = vec![
            object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "hook"),
            object("apps/v1", "Deployment", "app"),
            object("v1", "ConfigMap", "map"),
            object("storage.k8s.io/v1", "StorageClass", "class"),
            object("v1", "Namespace", "n"),
        ];
        let order: Vec<String> = in_order(all).into_iter().flatten().map(|manifest| manifest.name).collect();
        assert_eq!(order, ["n", "class", "app", "map", "hook"]);
    }
}
