//! What every cluster of K3s has from its beginning.

use serde_json::{Value, json};

use super::api::status::Refusal;
use super::api::{Call, Outcome, Place, Reply};
use super::cluster::Cluster;
use super::flags::Settings;
use super::nodes::readiness;
use super::store::{Key, timestamp};

/// The Job that brings Traefik.
const TRAEFIK_JOB: &str = "helm-install-traefik";

impl Cluster {
    /// Puts in what is there from the beginning, once.
    pub(super) fn furnish(&mut self, settings: &Settings, version: &str, now: u64) {
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
            for name in ["helm-install-traefik-crd", TRAEFIK_JOB] {
                self.store.make(&Key::new("jobs.batch", "kube-system", name), helm_job(name, version), now);
            }
        }
        self.balances = has("servicelb");
    }

    /// Puts in what comes later: Traefik once its Job is done, and what balances its load.
    pub(super) fn furnish_later(&mut self, now: u64) {
        let job = self.store.get(&Key::new("jobs.batch", "kube-system", TRAEFIK_JOB));
        let done = job.is_some_and(|job| {
            let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|one| one["type"] == "Complete" && one["status"] == "True")
        });
        let key = Key::new("services", "kube-system", "traefik");
        if !done || self.store.get(&key).is_some() {
            return;
        }
        let labels =
            json!({ "app.kubernetes.io/instance": "traefik-kube-system", "app.kubernetes.io/name": "traefik" });
        self.deploy("traefik", "rancher/mirrored-library-traefik:3.7.0", &labels, now);
        let ports = json!([
            { "name": "web", "protocol": "TCP", "port": 80, "targetPort": "web", "nodePort": 31080 },
            { "name": "websecure", "protocol": "TCP", "port": 443, "targetPort": "websecure", "nodePort": 31443 },
        ]);
        let mut traefik = service(ports, "10.43.0.30", labels.clone(), labels);
        traefik["spec"]["type"] = json!("LoadBalancer");
        self.store.make(&key, traefik, now);
        if self.balances {
            let labels = json!({ "app": "svclb-traefik" });
            let set = json!({
                "kind": "DaemonSet", "apiVersion": "apps/v1", "metadata": { "labels": labels, "generation": 1 },
                "spec": { "selector": { "matchLabels": labels }, "template": template("rancher/klipper-lb:v0.4.13", "lb", &labels) },
                "status": {},
            });
            self.store.make(&Key::new("daemonsets.apps", "kube-system", "svclb-traefik"), set, now);
        }
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

fn helm_job(name: &str, version: &str) -> Value {
    let labels =
        json!({ "helmcharts.helm.cattle.io/chart": name.trim_start_matches("helm-install-"), "job-name": name });
    let mut template = template("rancher/klipper-helm:v0.9.8-build20250709", "helm", &labels);
    template["spec"]["restartPolicy"] = json!("OnFailure");
    template["spec"]["containers"][0]["args"] = json!(["install"]);
    json!({
        "kind": "Job", "apiVersion": "batch/v1",
        "metadata": { "labels": labels, "annotations": { "objectset.rio.cattle.io/owner-name": name, "k3s.io/version": version }, "generation": 1 },
        "spec": { "parallelism": 1, "completions": 1, "backoffLimit": 1000, "completionMode": "NonIndexed", "suspend": false, "template": template },
        "status": {},
    })
}
