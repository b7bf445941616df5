//! What namespaces let in, and who owns what of objects that nobody applied.

use serde_json::{Value, json};

use super::lab::json;
use super::stand_in::{self, PLANE};
use crate::sim::kubernetes::api::Reply;

const APPLY: &str = "application/apply-patch+yaml";

fn pod(resources: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "c", "image": "x", "resources": resources }] },
    })
}

fn message(reply: Reply) -> (u16, String) {
    (reply.status, json(reply)["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_namespace_lets_in_what_its_labels_and_quotas_allow() {
    let (mut lab, mut kubelet) = stand_in::bare();
    let labels =
        json!({ "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a", "labels": labels } });
    lab.send(PLANE, "PATCH", "/api/v1/namespaces/a?fieldManager=t", APPLY, namespace);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" }, "spec": { "hard": { "pods": "1", "requests.cpu": "1" } },
    });
    lab.send(PLANE, "PATCH", "/api/v1/namespaces/a/resourcequotas/q?fieldManager=t", APPLY, quota);
    kubelet.pass(&mut lab, 100);
    let path = "/api/v1/namespaces/a/pods/p?fieldManager=t";
    let untold = message(lab.send(PLANE, "PATCH", path, APPLY, pod(json!({}))));
    assert_eq!(untold, (403, "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c".to_owned()));
    let greedy = message(lab.send(PLANE, "PATCH", path, APPLY, pod(json!({ "requests": { "cpu": "2" } }))));
    let why = "exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=0, limited: requests.cpu=1";
    assert_eq!(greedy, (403, format!("pods \"p\" is forbidden: {why}")));
    let mut mighty = pod(json!({ "requests": { "cpu": "1" } }));
    mighty["spec"]["hostNetwork"] = json!(true);
    let refused = message(lab.send(PLANE, "PATCH", path, APPLY, mighty));
    let why = "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    assert_eq!(refused, (403, format!("pods \"p\" is forbidden: {why}")));
    let let_in = lab.send(PLANE, "PATCH", path, APPLY, pod(json!({ "requests": { "cpu": "500m" } })));
    assert_eq!(let_in.status, 201);
    assert!(let_in.headers.iter().any(|(name, text)| *name == "warning" && text.contains("restricted:latest")));
    kubelet.pass(&mut lab, 100);
    let quota = lab.get(PLANE, "/api/v1/namespaces/a/resourcequotas/q");
    assert_eq!(quota["status"]["used"], json!({ "pods": "1", "requests.cpu": "500m" }));
}

#[test]
fn controllers_own_what_they_change_and_the_status_apart() {
    let (mut lab, mut kubelet) = stand_in::bare();
    let labels = json!({ "app": "web" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "x" }] } },
        },
    });
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    lab.send(PLANE, "PATCH", &format!("{path}?fieldManager=t"), APPLY, deployment);
    kubelet.pass(&mut lab, 1000);
    let owners = |object: &Value| -> Vec<(String, String)> {
        let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries.map(|entry| (text(&entry["manager"]), text(&entry["subresource"]))).collect()
    };
    let pair = |manager: &str, part: &str| (manager.to_owned(), part.to_owned());
    let live = lab.get(PLANE, path);
    assert_eq!(owners(&live), [pair("t", ""), pair("kube-controller-manager", "status")]);
    let pods = lab.get(PLANE, "/api/v1/namespaces/default/pods");
    assert_eq!(owners(&pods["items"][0]).len(), 2, "{pods}");
    let volume = &pods["items"][0]["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"];
    assert_eq!(volume, "token");
}

#[test]
fn who_applies_to_what_nobody_owns_meets_whoever_was_before() {
    let (mut lab, _) = stand_in::bare();
    let config = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": value } });
    let path = "/api/v1/namespaces/default/configmaps/a";
    lab.send(PLANE, "POST", "/api/v1/namespaces/default/configmaps", "application/json", config("1"));
    let reset = json!({ "metadata": { "managedFields": [{}] } });
    let bare = json(lab.send(PLANE, "PATCH", path, "application/merge-patch+json", reset));
    assert!(bare["metadata"].get("managedFields").is_none(), "{bare}");
    let told = lab.send(PLANE, "PATCH", &format!("{path}?fieldManager=t"), APPLY, config("2"));
    let (status, why) = message(told);
    assert_eq!(status, 409);
    assert!(why.contains("conflict with \"before-first-apply\" using v1: .data.k"), "{why}");
}

#[test]
fn the_pages_of_a_list_tell_of_one_moment() {
    let (mut lab, _) = stand_in::bare();
    for name in ["a", "b", "c"] {
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
        lab.send(PLANE, "POST", "/api/v1/namespaces/kube-public/configmaps", "application/json", config);
    }
    let path = "/api/v1/namespaces/kube-public/configmaps?limit=2";
    let first = lab.get(PLANE, path);
    lab.api(PLANE, "DELETE", "/api/v1/namespaces/kube-public/configmaps/c");
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = lab.get(PLANE, &format!("{path}&continue={token}"));
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let names: Vec<&Value> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]))
        .collect();
    assert_eq!(names, ["a", "b", "c", "kube-root-ca.crt"]);
    for token in ["sim", "sim1-x", "sim9999999-1", "x", "sim-1"] {
        let status = lab.api(PLANE, "GET", &format!("{path}&continue={token}")).status;
        assert!(matches!(status, 400 | 410), "{token}: {status}");
    }
}
