//! What the objects of built-in kinds get that nobody told.

use serde_json::{Map, Value, json};

use super::defaults::complete_pod;
use super::kinds::Kind;
use super::quantity;
use super::types::Type;

/// Puts a value where there is none.
fn usual(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut()
        && map.get(name).is_none_or(Value::is_null)
    {
        map.insert(name.to_owned(), value);
    }
}

/// Puts several values where there are none.
fn all_usual(object: &mut Value, told: &Value) {
    for (name, value) in told.as_object().into_iter().flatten() {
        usual(object, name, value.clone());
    }
}

/// Kinds whose objects count their changes.
const COUNTED: [&str; 15] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "CronJob",
    "Ingress",
    "IngressClass",
    "NetworkPolicy",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "PriorityClass",
];

/// Completes an object of a built-in kind, which is new or was another before.
pub(super) fn complete(kind: &Kind, object: &mut Value, live: Option<&Value>) {
    if COUNTED.contains(&kind.kind.as_str()) {
        usual(&mut object["metadata"], "generation", json!(1));
    }
    match kind.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => workload(&kind.kind, object, live),
        "CronJob" => {
            usual(object, "status", json!({}));
            let spec = &mut object["spec"];
            all_usual(
                spec,
                &json!({ "concurrencyPolicy": "Allow", "suspend": false, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1 }),
            );
            usual(&mut spec["jobTemplate"], "metadata", json!({}));
            template(&mut spec["jobTemplate"]["spec"]);
        }
        "Service" => service(object, live),
        "PersistentVolumeClaim" => {
            usual(&mut object["spec"], "volumeMode", json!("Filesystem"));
            usual(object, "status", json!({ "phase": "Pending" }));
        }
        "PersistentVolume" => {
            all_usual(
                &mut object["spec"],
                &json!({ "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain" }),
            );
            if object["spec"]["storageClassName"] == ""
                && let Some(spec) = object["spec"].as_object_mut()
            {
                spec.shift_remove("storageClassName");
            }
            let since = object["metadata"]["creationTimestamp"].clone();
            usual(object, "status", json!({ "phase": "Pending", "lastPhaseTransitionTime": since }));
        }
        "StorageClass" => {
            all_usual(object, &json!({ "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate" }));
        }
        "Ingress" => usual(object, "status", json!({ "loadBalancer": {} })),
        "NetworkPolicy" => network_policy(&mut object["spec"]),
        "RoleBinding" | "ClusterRoleBinding" => {
            usual(&mut object["roleRef"], "apiGroup", json!("rbac.authorization.k8s.io"));
            for subject in object["subjects"].as_array_mut().into_iter().flatten() {
                if subject["kind"] != "ServiceAccount" {
                    usual(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
                }
            }
        }
        "CustomResourceDefinition" => definition(object),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => webhooks(&kind.kind, object),
        "PriorityClass" => usual(object, "preemptionPolicy", json!("PreemptLowerPriority")),
        "ResourceQuota" => usual(object, "status", json!({})),
        "PodDisruptionBudget" => usual(
            object,
            "status",
            json!({ "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0 }),
        ),
        "CSIDriver" => all_usual(
            &mut object["spec"],
            &json!({
                "attachRequired": true, "podInfoOnMount": false, "volumeLifecycleModes": ["Persistent"],
                "storageCapacity": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "requiresRepublish": false,
                "seLinuxMount": false,
            }),
        ),
        _ => {}
    }
}

/// An object without what the server itself makes of it, which nobody gets to own who makes it.
pub(super) fn told(kind: &Kind, object: &Value, live: Option<&Value>) -> Value {
    let mut object = object.clone();
    if live.is_some() {
        return object;
    }
    let drop_from = |value: &mut Value, names: &[&str]| {
        if let Some(map) = value.as_object_mut() {
            map.retain(|name, _| !names.contains(&name.as_str()));
        }
    };
    drop_from(&mut object, &["status"]);
    match kind.kind.as_str() {
        "Service" => drop_from(&mut object["spec"], &["ipFamilies", "ipFamilyPolicy"]),
        "Namespace" => drop_from(&mut object, &["spec"]),
        "Job" => {
            const OWN: [&str; 4] =
                ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];
            drop_from(&mut object["spec"], &["selector"]);
            for at in ["/metadata/labels", "/spec/template/metadata/labels"] {
                if let Some(labels) = object.pointer_mut(at) {
                    drop_from(labels, &OWN);
                }
                // Where nobody told any, there is nothing to own, be it what would hold them.
                let holder = at.trim_end_matches("/labels");
                if let Some(Value::Object(holder)) = object.pointer_mut(holder)
                    && holder.get("labels").and_then(Value::as_object).is_some_and(Map::is_empty)
                {
                    holder.shift_remove("labels");
                }
            }
            let template = &mut object["spec"]["template"];
            if template["metadata"].as_object().is_some_and(Map::is_empty) {
                drop_from(template, &["metadata"]);
            }
        }
        "DaemonSet" => {
            if let Some(annotations) = object.pointer_mut("/metadata/annotations") {
                drop_from(annotations, &["deprecated.daemonset.template.generation"]);
            }
        }
        _ => {}
    }
    object
}

/// Completes what pods are made after.
fn template(spec: &mut Value) {
    usual(&mut spec["template"], "metadata", json!({}));
    complete_pod(&mut spec["template"]["spec"]);
}

fn workload(kind: &str, object: &mut Value, live: Option<&Value>) {
    if live.is_none() {
        let status = match kind {
            "StatefulSet" => json!({ "replicas": 0, "availableReplicas": 0 }),
            "DaemonSet" => json!({
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            }),
            "ReplicaSet" => json!({ "replicas": 0 }),
            _ => json!({}),
        };
        usual(object, "status", status);
    }
    let spec = &mut object["spec"];
    template(spec);
    match kind {
        "Deployment" => {
            all_usual(spec, &json!({ "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600 }));
            usual(spec, "strategy", json!({}));
            rolls(&mut spec["strategy"], &json!({ "maxUnavailable": "25%", "maxSurge": "25%" }));
        }
        "StatefulSet" => {
            all_usual(
                spec,
                &json!({ "replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady", "updateStrategy": {} }),
            );
            rolls(&mut spec["updateStrategy"], &json!({ "partition": 0 }));
            usual(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
            let kept = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
            all_usual(&mut spec["persistentVolumeClaimRetentionPolicy"], &kept);
            for claim in spec["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
                all_usual(
                    claim,
                    &json!({ "kind": "PersistentVolumeClaim", "apiVersion": "v1", "status": { "phase": "Pending" } }),
                );
                usual(&mut claim["spec"], "volumeMode", json!("Filesystem"));
            }
            drop_null(spec, "volumeClaimTemplates");
        }
        "DaemonSet" => {
            all_usual(spec, &json!({ "revisionHistoryLimit": 10, "updateStrategy": {} }));
            rolls(&mut spec["updateStrategy"], &json!({ "maxUnavailable": 1, "maxSurge": 0 }));
            let count = object["metadata"]["generation"].as_u64().unwrap_or(1);
            const GENERATION: &str = "deprecated.daemonset.template.generation";
            let before = live.map(|live| {
                let own =
                    live["metadata"]["annotations"][GENERATION].as_str().and_then(|text| text.parse::<u64>().ok());
                let is_other = live["spec"]["template"] != object["spec"]["template"];
                own.unwrap_or(1).saturating_add(u64::from(is_other))
            });
            object["metadata"]["annotations"][GENERATION] = json!(before.unwrap_or(count).to_string());
        }
        _ => usual(spec, "replicas", json!(1)),
    }
}

/// Indexing puts a null where nothing is.
fn drop_null(object: &mut Value, name: &str) {
    if object[name].is_null()
        && let Some(map) = object.as_object_mut()
    {
        map.shift_remove(name);
    }
}

/// Completes how pods are replaced by newer ones.
fn rolls(strategy: &mut Value, steps: &Value) {
    usual(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        usual(strategy, "rollingUpdate", json!({}));
        all_usual(&mut strategy["rollingUpdate"], steps);
    }
}

fn service(object: &mut Value, live: Option<&Value>) {
    usual(object, "status", json!({ "loadBalancer": {} }));
    for own in object.pointer_mut("/status/loadBalancer/ingress").and_then(Value::as_array_mut).into_iter().flatten() {
        if own["ip"].is_string() {
            usual(own, "ipMode", json!("VIP"));
        }
    }
    let spec = &mut object["spec"];
    all_usual(spec, &json!({ "type": "ClusterIP", "sessionAffinity": "None" }));
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    // What only services of its former type have does not stay.
    let was_open = live.is_some_and(|live| matches!(live["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer")));
    if was_open && !matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        if let Some(map) = spec.as_object_mut() {
            map.retain(|name, _| name != "externalTrafficPolicy" && name != "allocateLoadBalancerNodePorts");
        }
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(map) = port.as_object_mut() {
                map.shift_remove("nodePort");
            }
        }
    }
    if kind != "ExternalName" {
        all_usual(
            spec,
            &json!({ "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster" }),
        );
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        usual(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        usual(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["clusterIP"] == "None" {
        usual(spec, "clusterIPs", json!(["None"]));
    }
    drop_null(spec, "clusterIP");
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        usual(port, "protocol", json!("TCP"));
        let own = port["port"].clone();
        usual(port, "targetPort", own);
    }
    drop_null(spec, "ports");
}

fn network_policy(spec: &mut Value) {
    for side in ["ingress", "egress"] {
        for rule in spec.get_mut(side).and_then(Value::as_array_mut).into_iter().flatten() {
            for port in rule.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                usual(port, "protocol", json!("TCP"));
            }
        }
    }
    let both = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
    drop_null(spec, "egress");
    usual(spec, "policyTypes", if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
}

fn definition(object: &mut Value) {
    let spec = &mut object["spec"];
    usual(spec, "conversion", json!({ "strategy": "None" }));
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    usual(&mut spec["names"], "singular", json!(kind.to_lowercase()));
    usual(&mut spec["names"], "listKind", json!(format!("{kind}List")));
    let versions = spec["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> =
        versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone()).collect();
    let status = json!({ "conditions": null, "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": stored });
    usual(object, "status", status);
    if let Some(known) = object["status"]["storedVersions"].as_array_mut() {
        let new: Vec<Value> = stored.into_iter().filter(|name| !known.contains(name)).collect();
        known.extend(new);
    }
}

fn webhooks(kind: &str, object: &mut Value) {
    for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
        all_usual(
            webhook,
            &json!({
                "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
                "timeoutSeconds": 10,
            }),
        );
        if kind == "MutatingWebhookConfiguration" {
            usual(webhook, "reinvocationPolicy", json!("Never"));
        }
        if let Some(service) = webhook["clientConfig"].get_mut("service") {
            usual(service, "port", json!(443));
        }
        for rule in webhook["rules"].as_array_mut().into_iter().flatten() {
            usual(rule, "scope", json!("*"));
        }
    }
}

/// Brings an object into the form in which it is kept: amounts in their usual spelling, and no maps and lists with nothing in
/// them. Tells whether all amounts are amounts.
pub(super) fn normalize(of: &Type, value: &mut Value) -> bool {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let Some((field, _)) = of.field(name) else { continue };
                if matches!(field.resolved(), Type::Quantity) {
                    let Some(usual) = quantity::kept(value) else { return false };
                    *value = json!(usual);
                } else if !normalize(&field, value) {
                    return false;
                }
            }
            drop_empty(of, map);
            true
        }
        Value::Array(items) => {
            let item_of = of.items().0.clone();
            items.iter_mut().all(|item| normalize(&item_of, item))
        }
        _ => true,
    }
}

/// Takes out maps of entries, and lists, that are empty: they are kept as if they were not there.
fn drop_empty(of: &Type, map: &mut Map<String, Value>) {
    map.retain(|name, value| {
        let Some((field, _)) = of.field(name) else { return true };
        match (field.resolved(), &*value) {
            (Type::Map { fields, rest: Some(rest), .. }, Value::Object(own)) => {
                let holds_texts = matches!(rest.resolved(), Type::Text | Type::Quantity);
                !fields.is_empty() || !own.is_empty() || !holds_texts
            }
            (Type::List(..), Value::Array(items)) => !items.is_empty(),
            _ => true,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_maps_of_texts_go_when_they_are_empty() {
        let of = super::super::types::of("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let mut definition =
            json!({ "metadata": { "labels": {} }, "spec": { "versions": [{ "subresources": { "status": {} } }] } });
        assert!(normalize(&of, &mut definition));
        let kept = json!({ "metadata": {}, "spec": { "versions": [{ "subresources": { "status": {} } }] } });
        assert_eq!(definition, kept);
    }
}
