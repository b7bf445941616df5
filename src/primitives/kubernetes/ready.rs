//! When a workload is ready, by its kind. What it wants counts first: the status of an older generation says nothing.

use serde_json::Value as Json;

use super::reads::text;
use crate::run::value::{Map, Value};

/// What a script sees of a workload: `kind`, `namespace`, `name`, `ready`, `failed`, `message`.
pub(super) fn workload(json: &Json, kind: &str) -> Value {
    let (ready, failed, message) = judge(json, kind);
    Value::Map(Map::from([
        ("kind".to_owned(), Value::text(kind)),
        ("namespace".to_owned(), Value::Text(text(json, "/metadata/namespace"))),
        ("name".to_owned(), Value::Text(text(json, "/metadata/name"))),
        ("ready".to_owned(), Value::Bool(ready)),
        ("failed".to_owned(), Value::Bool(failed)),
        ("message".to_owned(), Value::Text(message)),
    ]))
}

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it should be.
    Ready,
    /// It is on its way, and this is what can be said of it.
    Waiting(String),
    /// It will not get there by itself.
    Failed(String),
}

/// How far an object of any kind is. `group` is empty for the core.
pub(super) fn verdict(json: &Json, group: &str, kind: &str) -> Verdict {
    let waiting = |text: &str| Verdict::Waiting(text.to_owned());
    if matches!((group, kind), ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch", "Job")) {
        let (ready, failed, message) = judge(json, kind);
        return match (ready, failed) {
            (true, _) => Verdict::Ready,
            (_, true) => Verdict::Failed(message),
            _ => Verdict::Waiting(message),
        };
    }
    let phase = text(json, "/status/phase");
    if kind == "Namespace" && group.is_empty() {
        return match phase.as_str() {
            "Active" => Verdict::Ready,
            "Terminating" => Verdict::Failed("it is being deleted".to_owned()),
            _ => waiting("it is not active yet"),
        };
    }
    if json.pointer("/metadata/deletionTimestamp").is_some() {
        return waiting("it is being deleted");
    }
    match (group, kind) {
        ("", "Pod") => pod(json, &phase),
        ("", "PersistentVolumeClaim") if phase == "Bound" => Verdict::Ready,
        ("", "PersistentVolumeClaim") => {
            waiting(&format!("it is {}", if phase.is_empty() { "not bound" } else { &phase }))
        }
        ("", "Service") if text(json, "/spec/type") == "LoadBalancer" => {
            let has_address = json.pointer("/status/loadBalancer/ingress/0").is_some();
            if has_address { Verdict::Ready } else { waiting("it has no address yet") }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => match condition(json, "NamesAccepted", "False") {
            Some(why) => Verdict::Failed(why),
            None if condition(json, "Established", "True").is_some() => Verdict::Ready,
            None => waiting("it is not served yet"),
        },
        ("apiregistration.k8s.io", "APIService") => by_condition(json, "Available"),
        _ => custom(json, group),
    }
}

fn pod(json: &Json, phase: &str) -> Verdict {
    if phase == "Failed" {
        let why = [text(json, "/status/reason"), text(json, "/status/message")].join(" ");
        return Verdict::Failed(format!("it failed {}", why.trim()).trim_end().to_owned());
    }
    if phase == "Succeeded" || condition(json, "Ready", "True").is_some() {
        return Verdict::Ready;
    }
    let why = super::evidence::reasons(json);
    Verdict::Waiting(why.into_iter().next().unwrap_or_else(|| format!("it is {phase}").trim_end().to_owned()))
}

/// Controllers of these groups always say how far they are.
fn always_tells(group: &str) -> bool {
    group == "cert-manager.io" || group.ends_with(".toolkit.fluxcd.io")
}

/// An object that nothing more is known of than what its conditions say.
fn custom(json: &Json, group: &str) -> Verdict {
    let number = |pointer: &str| json.pointer(pointer).and_then(Json::as_i64);
    let generation = number("/metadata/generation").unwrap_or_default();
    if number("/status/observedGeneration").is_some_and(|observed| observed >= 0 && observed < generation) {
        return Verdict::Waiting("its controller has not seen the last change yet".to_owned());
    }
    if let Some(why) = condition(json, "Stalled", "True") {
        // Flux says there how often it has tried, and of what came of it elsewhere.
        let more = condition(json, "Ready", "False").filter(|more| *more != why && !more.is_empty());
        return Verdict::Failed(more.map_or_else(|| why.clone(), |more| format!("{why}: {more}")));
    }
    let conditions = json.pointer("/status/conditions").and_then(Json::as_array).cloned().unwrap_or_default();
    match conditions.iter().find(|it| text(it, "/type") == "Ready") {
        Some(ready) => {
            let observed = ready.get("observedGeneration").and_then(Json::as_i64);
            if observed.is_some_and(|observed| observed < generation) {
                return Verdict::Waiting("its controller has not seen the last change yet".to_owned());
            }
            by_condition(json, "Ready")
        }
        None if always_tells(group) => Verdict::Waiting("its controller has said nothing yet".to_owned()),
        None => Verdict::Ready,
    }
}

fn by_condition(json: &Json, kind: &str) -> Verdict {
    if condition(json, kind, "True").is_some() {
        return Verdict::Ready;
    }
    let why = condition(json, kind, "False").or_else(|| condition(json, kind, "Unknown"));
    Verdict::Waiting(why.filter(|why| !why.is_empty()).unwrap_or_else(|| format!("it is not {kind} yet")))
}

/// Ready or not, failed or not, and what can be said of it.
fn judge(json: &Json, kind: &str) -> (bool, bool, String) {
    // Counters that are 0 are left out.
    let number = |pointer: &str| json.pointer(pointer).and_then(Json::as_i64);
    let count = |field: &str| number(&format!("/status/{field}")).unwrap_or_default();
    if json.pointer("/metadata/deletionTimestamp").is_some() {
        return (false, false, "it is being deleted".to_owned());
    }
    let observed = number("/status/observedGeneration");
    if observed.is_some_and(|observed| observed < number("/metadata/generation").unwrap_or_default()) {
        return (false, false, "its controller has not seen the last change yet".to_owned());
    }
    let wanted = number("/spec/replicas").unwrap_or(1);
    match kind {
        "Deployment" => {
            if let Some(message) =
                condition(json, "Progressing", "False").or_else(|| condition(json, "ReplicaFailure", "True"))
            {
                return (false, true, message);
            }
            if json.pointer("/spec/paused").and_then(Json::as_bool) == Some(true) {
                return (false, true, "it is paused".to_owned());
            }
            let (updated, available) = (count("updatedReplicas"), count("availableReplicas"));
            let ready = observed.is_some() && updated == wanted && available == wanted && count("replicas") == wanted;
            (ready, false, format!("{available} of {wanted} are available"))
        }
        "StatefulSet" => {
            let (ready, updated) = (count("readyReplicas"), count("updatedReplicas"));
            let strategy = "/spec/updateStrategy";
            let rolled = match number(&format!("{strategy}/rollingUpdate/partition")).filter(|partition| *partition > 0)
            {
                _ if text(json, &format!("{strategy}/type")) == "OnDelete" => true,
                Some(partition) => updated >= wanted - partition,
                None => text(json, "/status/currentRevision") == text(json, "/status/updateRevision"),
            };
            (observed.is_some() && ready == wanted && rolled, false, format!("{ready} of {wanted} are ready"))
        }
        "DaemonSet" => {
            let wanted = count("desiredNumberScheduled");
            let (updated, available) = (count("updatedNumberScheduled"), count("numberAvailable"));
            let ready = observed.is_some() && updated == wanted && available == wanted;
            (ready, false, format!("{available} of {wanted} are available"))
        }
        "Job" => {
            let failed = condition(json, "Failed", "True");
            let complete = condition(json, "Complete", "True").is_some();
            if condition(json, "Suspended", "True").is_some() {
                return (true, false, "suspended".to_owned());
            }
            (
                complete,
                failed.is_some(),
                failed.unwrap_or_else(|| if complete { "complete" } else { "not complete" }.to_owned()),
            )
        }
        _ => (true, false, String::new()),
    }
}

/// The words of a condition that has this status: its reason, and its message.
pub(super) fn condition(json: &Json, kind: &str, status: &str) -> Option<String> {
    let conditions = json.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|it| text(it, "/type") == kind && text(it, "/status") == status)?;
    Some(
        [text(found, "/reason"), text(found, "/message")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(status: Json) -> (bool, bool, String) {
        judge(&json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 2 }, "status": status }), "Deployment")
    }

    #[test]
    fn the_status_of_an_older_generation_is_not_believed() {
        let complete = json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        assert!(!deployment(complete.clone()).0);
        let mut seen = complete;
        seen["observedGeneration"] = json!(2);
        assert!(deployment(seen).0);
    }

    #[test]
    fn an_empty_status_is_in_progress_and_a_deadline_a_failure() {
        assert_eq!(deployment(json!({})), (false, false, "0 of 2 are available".to_owned()));
        let late = json!({ "observedGeneration": 2, "conditions": [
            { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too long" },
        ] });
        assert_eq!(deployment(late), (false, true, "ProgressDeadlineExceeded: too long".to_owned()));
    }

    #[test]
    fn what_is_ready_differs_by_kind() {
        let wait = |text: &str| Verdict::Waiting(text.to_owned());
        let cases = [
            ("", "Namespace", json!({ "status": { "phase": "Active" } }), Verdict::Ready),
            (
                "",
                "Namespace",
                json!({ "status": { "phase": "Terminating" } }),
                Verdict::Failed("it is being deleted".into()),
            ),
            (
                "",
                "Service",
                json!({ "spec": { "type": "LoadBalancer" }, "status": { "loadBalancer": {} } }),
                wait("it has no address yet"),
            ),
            ("", "Service", json!({ "spec": { "type": "ClusterIP" } }), Verdict::Ready),
            ("", "ConfigMap", json!({ "data": {} }), Verdict::Ready),
            ("", "PersistentVolumeClaim", json!({ "status": { "phase": "Pending" } }), wait("it is Pending")),
            (
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                json!({ "status": { "conditions": null } }),
                wait("it is not served yet"),
            ),
            ("cert-manager.io", "Certificate", json!({}), wait("its controller has said nothing yet")),
            ("example.org", "Thing", json!({ "status": { "anything": 1 } }), Verdict::Ready),
            (
                "x.toolkit.fluxcd.io",
                "Kustomization",
                json!({ "status": { "conditions": [{ "type": "Stalled", "status": "True", "reason": "NoPath" }] } }),
                Verdict::Failed("NoPath".into()),
            ),
            (
                "helm.toolkit.fluxcd.io",
                "HelmRelease",
                json!({ "status": { "conditions": [
                    { "type": "Ready", "status": "False", "reason": "InstallFailed", "message": "no such chart" },
                    { "type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": "Failed after 1 attempt(s)" },
                ] } }),
                Verdict::Failed("RetriesExceeded: Failed after 1 attempt(s): InstallFailed: no such chart".into()),
            ),
        ];
        for (group, kind, object, wanted) in cases {
            assert_eq!(verdict(&object, group, kind), wanted, "{kind}");
        }
    }

    #[test]
    fn a_condition_of_an_older_generation_is_not_believed() {
        let object = |observed: i64| {
            json!({ "metadata": { "generation": 2 }, "status": { "conditions": [
                { "type": "Ready", "status": "True", "observedGeneration": observed },
            ] } })
        };
        assert_eq!(verdict(&object(2), "cert-manager.io", "Certificate"), Verdict::Ready);
        assert!(matches!(verdict(&object(1), "cert-manager.io", "Certificate"), Verdict::Waiting(_)));
    }

    #[test]
    fn a_stateful_set_with_a_partition_is_ready_when_those_above_it_are_new() {
        let set = |partition: i64, updated: i64| {
            json!({ "metadata": { "generation": 1 }, "spec": { "replicas": 3, "updateStrategy": { "rollingUpdate": { "partition": partition } } },
                "status": { "observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": updated, "currentRevision": "a", "updateRevision": "b" } })
        };
        assert!(judge(&set(2, 1), "StatefulSet").0);
        assert!(!judge(&set(1, 1), "StatefulSet").0);
        assert!(!judge(&set(0, 3), "StatefulSet").0, "without one the revisions have to agree");
    }

    #[test]
    fn a_job_is_at_its_end_when_it_is_complete_or_failed() {
        let job = |kind: &str| {
            let status = json!({ "conditions": [{ "type": kind, "status": "True" }] });
            let (ready, failed, _) = judge(&json!({ "status": status }), "Job");
            (ready, failed)
        };
        assert_eq!(job("Complete"), (true, false));
        assert_eq!(job("Failed"), (false, true));
        assert_eq!(job("FailureTarget"), (false, false), "that comes before the end");
    }
}
