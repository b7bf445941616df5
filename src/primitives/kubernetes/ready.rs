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
    match kind {
        "Deployment" => {
            if let Some(message) =
                condition(json, "Progressing", "False").or_else(|| condition(json, "ReplicaFailure", "True"))
            {
                return (false, true, message);
            }
            let wanted = number("/spec/replicas").unwrap_or(1);
            let (updated, available) = (count("updatedReplicas"), count("availableReplicas"));
            let ready = observed.is_some() && updated == wanted && available == wanted && count("replicas") == wanted;
            (ready, false, format!("{available} of {wanted} are available"))
        }
        "StatefulSet" => {
            let wanted = number("/spec/replicas").unwrap_or(1);
            let ready = count("readyReplicas");
            let same = text(json, "/status/currentRevision") == text(json, "/status/updateRevision");
            (observed.is_some() && ready == wanted && same, false, format!("{ready} of {wanted} are ready"))
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
