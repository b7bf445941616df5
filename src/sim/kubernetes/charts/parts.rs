//! What charts are made of.

use serde_json::{Map, Value, json};

use super::Release;

/// The labels of a part of a release.
pub(in crate::sim::kubernetes) fn labels(release: &Release<'_>, component: &str) -> Value {
    let mut all = selector(release, component);
    all["app.kubernetes.io/version"] = json!(release.app);
    all["helm.sh/chart"] = json!(format!("{}-{}", release.name, release.version));
    all
}

/// The labels that tell the pods of a part of a release from others.
pub(in crate::sim::kubernetes) fn selector(release: &Release<'_>, component: &str) -> Value {
    let mut all = json!({ "app.kubernetes.io/name": release.name, "app.kubernetes.io/instance": release.name });
    if !component.is_empty() {
        all["app.kubernetes.io/component"] = json!(component);
    }
    all
}

/// A container with ports by their names.
pub(in crate::sim::kubernetes) fn container(name: &str, image: &str, ports: &[(&str, u16)]) -> Value {
    let mut container = json!({ "name": name, "image": image });
    if !ports.is_empty() {
        let one = |(name, port): &(&str, u16)| json!({ "name": name, "containerPort": port, "protocol": "TCP" });
        container["ports"] = ports.iter().map(one).collect();
    }
    container
}

fn workload(kind: &str, name: &str, (labels, selector): (Value, Value), containers: Value) -> Value {
    json!({
        "kind": kind, "apiVersion": "apps/v1", "metadata": { "name": name, "labels": labels },
        "spec": {
            "selector": { "matchLabels": selector },
            "template": { "metadata": { "labels": selector }, "spec": { "containers": containers, "serviceAccountName": name } },
        },
    })
}

/// A Deployment with so many pods.
pub(in crate::sim::kubernetes) fn deployment(
    release: &Release<'_>,
    name: &str,
    component: &str,
    replicas: u64,
    containers: Value,
) -> Value {
    let told = (labels(release, component), selector(release, component));
    let mut object = workload("Deployment", name, told, containers);
    object["spec"]["replicas"] = json!(replicas);
    object["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } });
    object["spec"]["revisionHistoryLimit"] = json!(10);
    object["spec"]["progressDeadlineSeconds"] = json!(600);
    object
}

/// A StatefulSet with so many pods, whose service has its name.
pub(in crate::sim::kubernetes) fn stateful_set(
    release: &Release<'_>,
    name: &str,
    component: &str,
    replicas: u64,
    containers: Value,
) -> Value {
    let told = (labels(release, component), selector(release, component));
    let mut object = workload("StatefulSet", name, told, containers);
    object["spec"]["replicas"] = json!(replicas);
    object["spec"]["serviceName"] = json!(name);
    object["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } });
    object
}

/// A DaemonSet.
pub(in crate::sim::kubernetes) fn daemon_set(
    release: &Release<'_>,
    name: &str,
    component: &str,
    containers: Value,
) -> Value {
    let told = (labels(release, component), selector(release, component));
    let mut object = workload("DaemonSet", name, told, containers);
    object["spec"]["updateStrategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } });
    object
}

/// An account.
pub(in crate::sim::kubernetes) fn account(release: &Release<'_>, name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": { "name": name, "labels": labels(release, "") } })
}

/// A claim for a volume.
pub(in crate::sim::kubernetes) fn claim(name: &str, class: &Value, size: &str, mode: &str) -> Value {
    let mut spec = json!({ "accessModes": [mode], "resources": { "requests": { "storage": size } } });
    if class.as_str().is_some_and(|class| !class.is_empty()) {
        spec["storageClassName"] = class.clone();
    }
    json!({
        "kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "metadata": { "name": name, "finalizers": ["kubernetes.io/pvc-protection"] }, "spec": spec,
        "status": { "phase": "Pending" },
    })
}

/// A Service with ports: name, port, and where that leads.
pub(in crate::sim::kubernetes) fn service(
    release: &Release<'_>,
    name: &str,
    component: &str,
    ports: &[(&str, u16, Value)],
) -> Value {
    let one = |(name, port, target): &(&str, u16, Value)| json!({ "name": name, "port": port, "targetPort": target, "protocol": "TCP" });
    let ports: Vec<Value> = ports.iter().map(one).collect();
    json!({
        "kind": "Service", "apiVersion": "v1", "metadata": { "name": name, "labels": labels(release, component) },
        "spec": {
            "type": "ClusterIP", "ports": ports, "selector": selector(release, component), "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
        "status": { "loadBalancer": {} },
    })
}

/// An Ingress to a service, where the values ask for one.
pub(in crate::sim::kubernetes) fn ingress(release: &Release<'_>, name: &str, port: &str) -> Option<Value> {
    if !release.is("ingress.enabled") {
        return None;
    }
    let backend = json!({ "service": { "name": name, "port": { "name": port } } });
    let path = |path: &Value| json!({ "path": path["path"].as_str().unwrap_or("/"), "pathType": path["pathType"].as_str().unwrap_or("Prefix"), "backend": backend });
    let hosts = release.value("ingress.hosts").as_array().into_iter().flatten();
    let rules: Vec<Value> = hosts
        .map(|host| {
            let paths: Vec<Value> = host["paths"].as_array().into_iter().flatten().map(path).collect();
            json!({ "host": host["host"], "http": { "paths": paths } })
        })
        .collect();
    let mut spec = json!({ "rules": rules });
    if !release.text("ingress.className").is_empty() {
        spec["ingressClassName"] = release.value("ingress.className").clone();
    }
    Some(json!({
        "kind": "Ingress", "apiVersion": "networking.k8s.io/v1",
        "metadata": { "name": name, "labels": labels(release, "") }, "spec": spec, "status": { "loadBalancer": {} },
    }))
}

/// A kind of objects that comes with a chart.
pub(in crate::sim::kubernetes) struct Custom {
    pub(in crate::sim::kubernetes) group: &'static str,
    /// The versions that are served; the last is the one that objects are kept in.
    pub(in crate::sim::kubernetes) versions: &'static [&'static str],
    pub(in crate::sim::kubernetes) kind: &'static str,
    pub(in crate::sim::kubernetes) plural: &'static str,
    pub(in crate::sim::kubernetes) short: &'static [&'static str],
    pub(in crate::sim::kubernetes) namespaced: bool,
    /// The fields of the specification with their types (`string`, `integer`, `boolean`, `object`, `array`, `strings`,
    /// `any`); nothing where it may hold anything.
    pub(in crate::sim::kubernetes) fields: &'static [(&'static str, &'static str)],
    pub(in crate::sim::kubernetes) required: &'static [&'static str],
}

impl Custom {
    /// The definition of the kind.
    pub(in crate::sim::kubernetes) fn definition(&self) -> Value {
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let mut spec = open.clone();
        if !self.fields.is_empty() {
            let fields: Map<String, Value> =
                self.fields.iter().map(|(name, kind)| ((*name).to_owned(), schema(kind))).collect();
            spec = json!({ "type": "object", "properties": fields });
            if !self.required.is_empty() {
                spec["required"] = json!(self.required);
            }
        }
        let last = self.versions.last().copied().unwrap_or_default();
        let version = |name: &&str| {
            json!({
                "name": name, "served": true, "storage": **name == *last,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "apiVersion": { "type": "string" }, "kind": { "type": "string" }, "metadata": { "type": "object" },
                        "spec": spec, "status": open,
                    },
                } },
                "subresources": { "status": {} },
            })
        };
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        let singular = self.kind.to_ascii_lowercase();
        json!({
            "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
            "metadata": { "name": format!("{}.{}", self.plural, self.group) },
            "spec": {
                "group": self.group, "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "names": { "kind": self.kind, "listKind": format!("{}List", self.kind), "plural": self.plural, "singular": singular, "shortNames": self.short },
                "conversion": { "strategy": "None" }, "versions": versions,
            },
        })
    }
}

fn schema(kind: &str) -> Value {
    match kind {
        "array" => {
            json!({ "type": "array", "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } })
        }
        "strings" => json!({ "type": "array", "items": { "type": "string" } }),
        "object" => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        "any" => json!({ "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-int-or-string": true }),
        plain => json!({ "type": plain }),
    }
}
