//! What a cluster says about something that does not get ready: its events, why its containers wait, the end of their logs.

use serde_json::Value as Json;

use super::reads::text;
use super::ready::condition;
use super::veil;
use crate::clients::kubernetes::{Client, segment};
use crate::run::secret::Redactor;

/// How many lines of each log are kept.
const LINES: usize = 10;
/// Of how many pods something is told.
const PODS: usize = 3;
/// How many events are told of each thing.
const EVENTS: usize = 3;

/// Why the containers of a pod do not run, as far as the pod says it.
pub(super) fn reasons(pod: &Json) -> Vec<String> {
    let mut reasons: Vec<String> = statuses(pod).filter_map(waits).collect();
    reasons.extend(condition(pod, "PodScheduled", "False"));
    reasons
}

fn statuses(pod: &Json) -> impl Iterator<Item = &Json> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten()
}

fn waits(status: &Json) -> Option<String> {
    let (reason, message) = (text(status, "/state/waiting/reason"), text(status, "/state/waiting/message"));
    match (reason.as_str(), message.as_str()) {
        ("", _) => None,
        (_, "") => Some(reason),
        _ => Some(format!("{reason}: {message}")),
    }
}

/// Everything that can be said of an object, for the error that ends a wait. What cannot be asked is left out: the error is another.
pub(super) async fn of(client: &Client, object: &Json, redactor: &Redactor) -> Vec<String> {
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let mut said = events(client, &namespace, &text(object, "/kind"), &name).await;
    for pod in pods(client, object, &namespace).await {
        veil::over(client, &pod, &namespace, redactor).await;
        let shown = text(&pod, "/metadata/name");
        let known = said.len();
        said.extend(reasons(&pod).into_iter().map(|why| format!("pod {shown}: {why}")));
        said.extend(
            events(client, &namespace, "Pod", &shown).await.into_iter().map(|event| format!("pod {shown}: {event}")),
        );
        for (container, log) in logs(client, &namespace, &pod).await {
            said.push(format!("the end of the log of {shown}, {container}:\n{log}"));
        }
        if said.len() == known {
            said.push(format!("pod {shown}: {}", text(&pod, "/status/phase")));
        }
    }
    said
}

async fn get(client: &Client, path: &str) -> Option<Json> {
    client.get(path).await.ok()?.json()
}

/// The warnings of an object, the newest last.
async fn events(client: &Client, namespace: &str, kind: &str, name: &str) -> Vec<String> {
    let within = if namespace.is_empty() { "default" } else { namespace };
    let mut selector = format!("involvedObject.name={name},type=Warning");
    if !kind.is_empty() {
        selector.push_str(&format!(",involvedObject.kind={kind}"));
    }
    let path = format!("/api/v1/namespaces/{}/events?fieldSelector={}", segment(within), segment(&selector));
    let Some(list) = get(client, &path).await else { return Vec::new() };
    let mut all = list.get("items").and_then(Json::as_array).cloned().unwrap_or_default();
    all.sort_by_key(when);
    let shown = all.iter().map(|event| format!("{}: {}", text(event, "/reason"), text(event, "/message")));
    let mut shown: Vec<String> = shown.collect();
    shown.dedup();
    shown.split_off(shown.len().saturating_sub(EVENTS))
}

/// When an event happened last.
pub(super) fn when(event: &Json) -> String {
    let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.into_iter().map(|pointer| text(event, pointer)).find(|time| !time.is_empty()).unwrap_or_default()
}

/// The pods of an object that are not ready.
async fn pods(client: &Client, object: &Json, namespace: &str) -> Vec<Json> {
    if text(object, "/kind") == "Pod" {
        return vec![object.clone()];
    }
    let Some(labels) = selector(object) else { return Vec::new() };
    let path = format!("/api/v1/namespaces/{}/pods?labelSelector={}", segment(namespace), segment(&labels));
    let list = get(client, &path).await.unwrap_or_default();
    let items = list.get("items").and_then(Json::as_array).cloned().unwrap_or_default();
    let unready = items
        .into_iter()
        .filter(|pod| condition(pod, "Ready", "True").is_none() && text(pod, "/status/phase") != "Succeeded");
    // The items of a list do not say what they are.
    unready.take(PODS).collect()
}

/// The labels by which an object knows its pods.
fn selector(object: &Json) -> Option<String> {
    let labels = object.pointer("/spec/selector/matchLabels")?.as_object()?;
    let pairs: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

/// The end of the logs of the containers that do not run as they should.
async fn logs(client: &Client, namespace: &str, pod: &Json) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for status in statuses(pod) {
        if status.get("ready").and_then(Json::as_bool) == Some(true) {
            continue;
        }
        let container = text(status, "/name");
        let restarted = status.get("restartCount").and_then(Json::as_u64).unwrap_or_default() > 0;
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&tailLines={LINES}",
            segment(namespace),
            segment(&text(pod, "/metadata/name")),
            segment(&container)
        );
        let mut log = client.get(&path).await.map(|answer| answer.text).unwrap_or_default();
        if log.trim().is_empty() && restarted {
            log = client.get(&format!("{path}&previous=true")).await.map(|answer| answer.text).unwrap_or_default();
        }
        if !log.trim().is_empty() {
            all.push((container, log.trim_end().to_owned()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_says_why_its_containers_wait_and_why_no_node_takes_it() {
        let pod = json!({ "status": {
            "containerStatuses": [{ "name": "a", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling x" } } }],
            "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" }],
        } });
        assert_eq!(reasons(&pod), ["ImagePullBackOff: Back-off pulling x", "Unschedulable: 0/3 nodes"]);
    }
}
