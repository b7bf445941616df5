//! What a pod is given of Secrets is secret wherever it shows: in its log, and in what a command inside of it prints. This run may
//! never have seen those values, so they are looked up before anything of the pod is told.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::objects::WORTH_HIDING;
use crate::clients::kubernetes::{Client, segment};
use crate::error::Result;
use crate::inputs::formats::base64;
use crate::run::scope;
use crate::run::secret::Redactor;

/// Where containers name Secrets: the lists that hold such names, and where in an item.
const PLACES: [(&str, &str); 2] = [("/env", "/valueFrom/secretKeyRef/name"), ("/envFrom", "/secretRef/name")];

/// Sees to it that nothing shows which a pod, by its name, was given of Secrets.
pub(super) fn over_pod(client: &Client, namespace: &str, pod: &str) -> Result<()> {
    let run = scope::run()?;
    let path = format!("/api/v1/namespaces/{}/pods/{}", segment(namespace), segment(pod));
    scope::wait(async {
        if let Some(pod) = client.get(&path).await.ok().and_then(|answer| answer.json()) {
            over(client, &pod, namespace, &run.redactor).await;
        }
        Ok(())
    })
}

/// The same for a pod as it is. What may not be read, cannot be known here either.
pub(super) async fn over(client: &Client, pod: &Json, namespace: &str, redactor: &Redactor) {
    for name in named(pod) {
        let path = format!("/api/v1/namespaces/{}/secrets/{}", segment(namespace), segment(&name));
        let Some(secret) = client.get(&path).await.ok().and_then(|answer| answer.json()) else { continue };
        for value in secret.get("data").and_then(Json::as_object).into_iter().flat_map(|data| data.values()) {
            let plain = value.as_str().and_then(|value| base64::decode(value).ok());
            let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            if plain.chars().count() >= WORTH_HIDING {
                redactor.learn(&plain);
            }
        }
    }
}

/// The Secrets that a pod is given.
fn named(pod: &Json) -> BTreeSet<String> {
    let list =
        |object: &Json, pointer: &str| object.pointer(pointer).and_then(Json::as_array).cloned().unwrap_or_default();
    let text = |object: &Json, pointer: &str| object.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
    let mut names = BTreeSet::new();
    for container in ["/spec/initContainers", "/spec/containers"].iter().flat_map(|kind| list(pod, kind)) {
        for (place, pointer) in PLACES {
            names.extend(list(&container, place).iter().filter_map(|item| text(item, pointer)));
        }
    }
    for volume in list(pod, "/spec/volumes") {
        names.extend(text(&volume, "/secret/secretName"));
        names.extend(list(&volume, "/projected/sources").iter().filter_map(|source| text(source, "/secret/name")));
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_given_secrets_by_variables_and_volumes() {
        let pod = json!({ "spec": {
            "initContainers": [{ "envFrom": [{ "secretRef": { "name": "a" } }, { "configMapRef": { "name": "x" } }] }],
            "containers": [{ "env": [{ "name": "B", "valueFrom": { "secretKeyRef": { "name": "b", "key": "k" } } }] }],
            "volumes": [
                { "secret": { "secretName": "c" } }, { "projected": { "sources": [{ "secret": { "name": "d" } }] } },
            ],
        } });
        assert_eq!(named(&pod).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
