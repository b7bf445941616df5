//! What playbooks ask of the API of a cluster: by this rule, not by name, an exchange has to be alike or may differ.

use serde_json::Value;

/// Kinds that playbooks and the programs they bring apply, read, wait for, and take out. Custom ones are used whatever they are.
const KINDS: [&str; 36] = [
    "namespaces",
    "secrets",
    "configmaps",
    "services",
    "serviceaccounts",
    "pods",
    "nodes",
    "events",
    "resourcequotas",
    "persistentvolumeclaims",
    "persistentvolumes",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "jobs.batch",
    "cronjobs.batch",
    "ingresses.networking.k8s.io",
    "ingressclasses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "storageclasses.storage.k8s.io",
    "csidrivers.storage.k8s.io",
    "runtimeclasses.node.k8s.io",
    "priorityclasses.scheduling.k8s.io",
    "poddisruptionbudgets.policy",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "endpointslices.discovery.k8s.io",
    "horizontalpodautoscalers.autoscaling",
    "leases.coordination.k8s.io",
    "limitranges",
    "controllerrevisions.apps",
    "replicationcontrollers",
];

/// What playbooks do with them, as far as a request tells: the method, and the media type of its body.
const VERBS: [(&str, &str); 5] = [
    ("GET", ""),
    ("PATCH", "application/apply-patch+yaml"),
    ("PATCH", "application/merge-patch+json"),
    ("PATCH", "application/json-patch+json"),
    ("DELETE", ""),
];

/// What they do below them.
const PARTS: [(&str, &str, &str); 2] = [("POST", "pods", "eviction"), ("GET", "pods", "log")];

/// The resource that a path leads to, with its group, and what is below its object.
fn led_to(path: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, resource, ..] if !matches!(*resource, "status" | "finalize") => &rest[2..],
        rest => rest,
    };
    let (resource, part) = (rest.first()?, rest.get(2).copied().unwrap_or_default());
    let full = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
    Some((full, part.to_owned()))
}

/// Whether playbooks make requests of this kind: with the rights of an administrator, for whole objects as JSON, without
/// watching, and in bodies that are objects.
pub(super) fn is_used(exchange: &Value) -> bool {
    let request = &exchange["request"];
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let (method, path, accept) = (text("method"), text("path"), text("accept"));
    if !matches!(exchange["as"].as_str(), Some("admin" | "token")) || request["query"].get("watch").is_some() {
        return false;
    }
    let Some((kind, part)) = led_to(path) else {
        // What kinds there are is asked in two requests.
        return method == "GET" && matches!(path, "/api" | "/apis") && accept.contains("v=v2;as=APIGroupDiscoveryList");
    };
    let plain = accept.is_empty()
        || accept == "application/json"
        || accept.contains("as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let body = request["body"].is_null() || request["body"].is_object() || request["body"].is_array();
    if !plain || !body {
        return false;
    }
    let group = kind.split_once('.').map_or("", |(_, group)| group);
    let is_custom = group.contains('.') && !group.ends_with(".k8s.io");
    let media = if method == "PATCH" { text("content_type").split(';').next().unwrap_or_default() } else { "" };
    if part.is_empty() {
        (is_custom || KINDS.contains(&kind.as_str())) && VERBS.contains(&(method, media))
    } else {
        PARTS.contains(&(method, kind.as_str(), part.as_str()))
    }
}

#[test]
fn what_is_in_use_is_told_by_kind_and_verb() {
    let exchange = |caller: &str, method: &str, path: &str, media: &str| {
        serde_json::json!({
            "as": caller,
            "request": { "method": method, "path": path, "query": {}, "content_type": media, "accept": null, "body": null },
        })
    };
    let apply = "application/apply-patch+yaml";
    assert!(is_used(&exchange("admin", "PATCH", "/apis/apps/v1/namespaces/a/deployments/b", apply)));
    assert!(is_used(&exchange("admin", "PATCH", "/apis/metallb.io/v1beta1/namespaces/a/ipaddresspools/b", apply)));
    assert!(is_used(&exchange("admin", "POST", "/api/v1/namespaces/a/pods/b/eviction", "application/json")));
    assert!(is_used(&exchange("admin", "GET", "/api/v1/namespaces/a", "")));
    assert!(!is_used(&exchange("viewer", "GET", "/api/v1/namespaces/a", "")));
    assert!(!is_used(&exchange("admin", "PUT", "/apis/apps/v1/namespaces/a/deployments/b", "application/json")));
    assert!(!is_used(&exchange("admin", "GET", "/apis/apps/v1/namespaces/a/deployments/b/status", "")));
    let strategic = "application/strategic-merge-patch+json";
    assert!(!is_used(&exchange("admin", "PATCH", "/api/v1/nodes/a", strategic)));
}
