//! What every cluster of K3s has from its beginning.

use serde_json::{Value, json};

use super::api::status::Refusal;
use super::api::{Call, Outcome, Place, Reply};
use super::cluster::Cluster;
use super::flags::Settings;
use super::nodes::readiness;
use super::store::{Key, timestamp};

/// The runtimes that K3s knows classes for, whether or not a node has them.
const RUNTIMES: &[&str] = &["crun", "nvidia", "nvidia-experimental", "spin", "wasmedge", "wasmtime"];

impl Cluster {
    /// Puts in what is there from the beginning, once.
    pub(super) fn furnish(&mut self, settings: &Settings, has_classes: bool, now: u64) {
        if self.is_furnished {
            return;
        }
        self.is_furnished = true;
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
                "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
            });
            self.store.make(&Key::new("namespaces", "", name), namespace, now);
        }
        let plain =
            |ports: Value, address: &str, labels: Value, selector: Value| service(ports, address, labels, selector);
        let https = json!([{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443 }]);
        let own = json!({ "component": "apiserver", "provider": "kubernetes" });
        self.store.make(
            &Key::new("services", "default", "kubernetes"),
            plain(https, "10.43.0.1", own, Value::Null),
            now,
        );
        let disabled = settings.list("disable");
        let has = |part: &str| !disabled.iter().any(|one| one == part);
        if has("coredns") {
            let dns = json!({ "k8s-app": "kube-dns" });
            self.deploy("coredns", "rancher/mirrored-coredns-coredns:1.14.0", &dns, now);
            let ports = json!([
                { "name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53 },
                { "name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53 },
                { "name": "metrics", "protocol": "TCP", "port": 9153, "targetPort": 9153 },
            ]);
            let address =
                settings.list("cluster-dns").first().cloned().unwrap_or_else(|| super::containers::NAMES.into());
            self.store.make(
                &Key::new("services", "kube-system", "kube-dns"),
                plain(ports, &address, dns.clone(), dns),
                now,
            );
        }
        if has("local-storage") {
            self.deploy(
                "local-path-provisioner",
                "rancher/local-path-provisioner:v0.0.33",
                &json!({ "app": "local-path-provisioner" }),
                now,
            );
            let class = json!({
                "kind": "StorageClass", "apiVersion": "storage.k8s.io/v1",
                "metadata": { "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
                "provisioner": "rancher.io/local-path", "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
            });
            self.store.make(&Key::new("storageclasses.storage.k8s.io", "", "local-path"), class, now);
        }
        if has("metrics-server") {
            let labels = json!({ "k8s-app": "metrics-server" });
            self.deploy("metrics-server", "rancher/mirrored-metrics-server:v0.8.0", &labels, now);
            let ports = json!([{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": "https" }]);
            self.store.make(
                &Key::new("services", "kube-system", "metrics-server"),
                plain(ports, "10.43.0.20", labels.clone(), labels),
                now,
            );
        }
        if has("traefik") {
            for name in ["traefik-crd", "traefik"] {
                self.store.make(&Key::new("helmcharts.helm.cattle.io", "kube-system", name), packaged(name), now);
            }
        }
        if has("runtimes") && has_classes {
            for name in RUNTIMES {
                let class =
                    json!({ "kind": "RuntimeClass", "apiVersion": "node.k8s.io/v1", "metadata": {}, "handler": name });
                self.store.make(&Key::new("runtimeclasses.node.k8s.io", "", name), class, now);
            }
        }
        self.balances = has("servicelb");
    }

    fn deploy(&mut self, name: &str, image: &str, labels: &Value, now: u64) {
        let deployment = json!({
            "kind": "Deployment", "apiVersion": "apps/v1", "metadata": { "labels": labels, "generation": 1 },
            "spec": {
                "replicas": 1, "selector": { "matchLabels": labels }, "template": template(image, name, labels),
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": "25%" } },
                "revisionHistoryLimit": 0, "progressDeadlineSeconds": 600,
            },
            "status": {},
        });
        self.store.make(&Key::new("deployments.apps", "kube-system", name), deployment, now);
    }

    /// Where the API is said to be.
    pub(super) fn address(&self) -> String {
        let first = self.members.first().map(|member| member.address.as_str()).unwrap_or("127.0.0.1");
        format!("{first}:{}", super::PORT)
    }

    /// Whether somebody measures what nodes and pods use.
    pub(super) fn has_metrics(&self) -> bool {
        let deployment = self.store.get(&Key::new("deployments.apps", "kube-system", "metrics-server"));
        deployment.is_some_and(|one| one["status"]["availableReplicas"].as_u64() > Some(0))
    }

    /// Tells what nodes or pods use.
    pub(super) fn measured(&self, call: &Call, place: Place<'_>) -> Outcome {
        if !self.has_metrics() {
            return Err(Refusal::unavailable());
        }
        if place.kind.resource != "nodes" {
            return Err(Refusal::not_simulated("what pods use"));
        }
        let one = |node: &Value| {
            let memory = node["status"]["capacity"]["memory"]
                .as_str()
                .and_then(|text| text.strip_suffix("Ki")?.parse::<u64>().ok());
            json!({
                "metadata": { "name": node["metadata"]["name"], "creationTimestamp": timestamp(call.now), "labels": node["metadata"]["labels"] },
                "timestamp": timestamp(call.now), "window": "10.0s",
                "usage": { "cpu": "120000000n", "memory": format!("{}Ki", memory.unwrap_or_default() / 4) },
            })
        };
        let nodes = self.store.list("nodes", None).filter(|node| readiness(node) == "True");
        let Some(name) = place.name else {
            let items: Vec<Value> = nodes.map(one).collect();
            let list = json!({ "kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items });
            return Ok(Reply::json(200, list));
        };
        let node = nodes
            .into_iter()
            .find(|node| node["metadata"]["name"] == name)
            .ok_or_else(|| Refusal::not_found(place.kind, name))?;
        let mut value = one(node);
        value["kind"] = json!("NodeMetrics");
        value["apiVersion"] = json!("metrics.k8s.io/v1beta1");
        Ok(Reply::json(200, value))
    }
}

fn service(ports: Value, address: &str, labels: Value, selector: Value) -> Value {
    let mut spec = json!({
        "ports": ports, "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None",
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
    });
    if !selector.is_null() {
        spec["selector"] = selector;
    }
    json!({
        "kind": "Service", "apiVersion": "v1", "metadata": { "labels": labels }, "spec": spec, "status": { "loadBalancer": {} },
    })
}

fn template(image: &str, name: &str, labels: &Value) -> Value {
    json!({
        "metadata": { "labels": labels },
        "spec": {
            "containers": [{ "name": name, "image": image }], "priorityClassName": "system-cluster-critical",
            "tolerations": [
                { "key": "CriticalAddonsOnly", "operator": "Exists" },
                { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
            ],
        },
    })
}

/// A chart that K3s brings along.
fn packaged(name: &str) -> Value {
    json!({
        "kind": "HelmChart", "apiVersion": "helm.cattle.io/v1",
        "metadata": { "generation": 1, "annotations": { "objectset.rio.cattle.io/owner-name": name } },
        "spec": { "chart": format!("https://%{{KUBERNETES_API}}%/static/charts/{name}-40.0.0+up40.0.0.tgz") },
        "status": {},
    })
}
