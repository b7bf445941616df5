//! The helm-controller of K3s: a Job for each chart, and what becomes of it.

use serde_json::{Value, json};

use super::{Report, has_condition, items, leaves, text};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::api::defaults::complete_job;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, fresh_uid};

const CHARTS: &str = "helmcharts.helm.cattle.io";
const CONFIGS: &str = "helmchartconfigs.helm.cattle.io";

/// The label of everything that is made for a chart.
pub(in crate::sim::kubernetes) const LABEL: &str = "helmcharts.helm.cattle.io/chart";

/// Under which a Job tells what it was made from.
const HASH: &str = "helmcharts.helm.cattle.io/configHash";

/// Under which a chart tells that somebody else looks after it.
const UNMANAGED: &str = "helmcharts.helm.cattle.io/unmanaged";

/// Under which a chart tells who looks after it.
const MANAGER: &str = "helmcharts.cattle.io/managed-by";

/// What holds a chart until its release is gone.
const FINALIZER: &str = "wrangler.cattle.io/on-helm-chart-remove";

const IMAGE: &str = "rancher/klipper-helm:v0.9.8-build20250709";

impl Cluster {
    /// Whether K3s looks after charts here.
    pub(in crate::sim::kubernetes) fn has_helm_controller(&self) -> bool {
        self.critical.get("disable-helm-controller").is_none_or(|told| told != "true")
    }

    pub(super) fn run_charts(&mut self, now: u64) {
        if !self.has_helm_controller() {
            return;
        }
        for (key, chart) in self.all(CHARTS) {
            let has_source = !text(&chart, "/spec/chart").is_empty() || !text(&chart, "/spec/chartContent").is_empty();
            if !chart["metadata"]["annotations"][UNMANAGED].is_null() || !has_source {
                continue;
            }
            if leaves(&chart) {
                self.remove_chart(&key, &chart, now);
            } else {
                self.keep_chart(&key, &chart, now);
            }
        }
    }

    fn keep_chart(&mut self, key: &Key, chart: &Value, now: u64) {
        self.store.change(key, |chart| {
            chart["metadata"]["annotations"][MANAGER] = json!("helm-controller");
            let mut finalizers = items(chart, "/metadata/finalizers").to_vec();
            if !finalizers.iter().any(|one| one == FINALIZER) {
                finalizers.push(json!(FINALIZER));
                chart["metadata"]["finalizers"] = json!(finalizers);
            }
        });
        let config = self.store.get(&Key::new(CONFIGS, &key.namespace, &key.name)).map(|config| config["spec"].clone());
        let policy = config
            .as_ref()
            .and_then(|config| config["failurePolicy"].as_str().map(str::to_owned))
            .or_else(|| chart["spec"]["failurePolicy"].as_str().map(str::to_owned))
            .unwrap_or_else(|| "reinstall".to_owned());
        let told = json!([chart["spec"], config, self.told_values(key, chart)]).to_string();
        let hash = format!("SHA256={}", hex(&sha256(told)).to_ascii_uppercase());
        let place = Key::new("jobs.batch", &key.namespace, &format!("helm-install-{}", key.name));
        let known = self.store.get(&place);
        if known.is_some_and(|job| job["spec"]["template"]["metadata"]["annotations"][HASH] == hash.as_str()) {
            return;
        }
        self.drop_job(&place);
        let job = job(key, chart, "install", (&hash, &policy));
        self.store.make(&place, job, now);
        let message = format!("Applying HelmChart using Job {}/{}", place.namespace, place.name);
        self.store.change(key, |chart| {
            chart["status"]["jobName"] = json!(place.name);
            chart["status"]["conditions"] = json!([
                { "type": "JobCreated", "status": "True", "reason": "Job created", "message": message },
                { "type": "Failed", "status": "False" },
            ]);
        });
        let (reason, by) = ("ApplyJob", "helm-controller");
        let report =
            Report { kind: "HelmChart", version: "helm.cattle.io/v1", reason, message: &message, by, warns: false };
        self.report_on(chart, &report, now);
    }

    /// What Secrets tell of the values of a chart.
    fn told_values(&self, key: &Key, chart: &Value) -> Vec<Value> {
        let all = items(chart, "/spec/valuesSecrets").iter().filter(|one| one["ignoreUpdates"] != true);
        all.map(|one| {
            self.store
                .get(&Key::new("secrets", &key.namespace, text(one, "/name")))
                .map_or(Value::Null, |secret| secret["data"].clone())
        })
        .collect()
    }

    /// Has the release of a chart taken down that is to go, and then lets it go.
    fn remove_chart(&mut self, key: &Key, chart: &Value, now: u64) {
        if !items(chart, "/metadata/finalizers").iter().any(|one| one == FINALIZER) {
            if items(chart, "/metadata/finalizers").is_empty() {
                self.store.remove(key);
            }
            return;
        }
        self.drop_job(&Key::new("jobs.batch", &key.namespace, &format!("helm-install-{}", key.name)));
        let place = Key::new("jobs.batch", &key.namespace, &format!("helm-delete-{}", key.name));
        let Some(known) = self.store.get(&place) else {
            let job = job(key, chart, "delete", ("", "abort"));
            self.store.make(&place, job, now);
            return;
        };
        if !has_condition(known, "Complete", "True") {
            return;
        }
        self.drop_job(&place);
        self.store.change(key, |chart| {
            if let Some(all) = chart["metadata"]["finalizers"].as_array_mut() {
                all.retain(|one| one != FINALIZER);
            }
        });
        if self.store.get(key).is_some_and(|chart| items(chart, "/metadata/finalizers").is_empty()) {
            self.store.remove(key);
        }
    }

    /// Takes a Job out, with its pods.
    fn drop_job(&mut self, key: &Key) {
        let Some(job) = self.store.remove(key) else { return };
        for (pod, _) in self.owned("pods", &key.namespace, text(&job, "/metadata/uid")) {
            self.store.remove(&pod);
        }
    }
}

/// The Job that does something with a chart.
fn job(key: &Key, chart: &Value, action: &str, (hash, policy): (&str, &str)) -> Value {
    let spec = &chart["spec"];
    let env = |name: &str, value: &str| json!({ "name": name, "value": value });
    let target = match text(spec, "/targetNamespace") {
        "" => key.namespace.as_str(),
        target => target,
    };
    let name = match text(spec, "/repo") {
        "" => text(spec, "/chart").to_owned(),
        _ => format!("{}/{}", key.name, text(spec, "/chart")),
    };
    let mut args = vec![action.to_owned()];
    if action == "install" {
        if spec["createNamespace"] == true {
            args.push("--create-namespace".into());
        }
        if !text(spec, "/targetNamespace").is_empty() {
            args.extend(["--namespace".into(), target.to_owned()]);
        }
        if !text(spec, "/repo").is_empty() {
            args.extend(["--repo".into(), text(spec, "/repo").to_owned()]);
        }
        if !text(spec, "/version").is_empty() {
            args.extend(["--version".into(), text(spec, "/version").to_owned()]);
        }
    }
    let image = match text(spec, "/jobImage") {
        "" => IMAGE,
        own => own,
    };
    let mut job = json!({
        "kind": "Job", "apiVersion": "batch/v1",
        "metadata": {
            "name": format!("helm-{action}-{}", key.name), "namespace": key.namespace, "uid": fresh_uid(),
            "labels": { LABEL: key.name },
            "ownerReferences": super::reference(chart, "helm.cattle.io/v1", "HelmChart"),
        },
        "spec": {
            "backoffLimit": spec["backOffLimit"].as_u64().unwrap_or(1000),
            "template": {
                "metadata": { "labels": { LABEL: key.name }, "annotations": { HASH: hash } },
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [{
                        "name": "helm", "image": image, "imagePullPolicy": "IfNotPresent", "args": args,
                        "env": [
                            env("NAME", &key.name), env("VERSION", text(spec, "/version")), env("REPO", text(spec, "/repo")),
                            env("HELM_DRIVER", "secret"), env("CHART_NAMESPACE", &key.namespace), env("CHART", &name),
                            env("HELM_VERSION", text(spec, "/helmVersion")), env("TARGET_NAMESPACE", target),
                            env("FAILURE_POLICY", policy),
                        ],
                    }],
                    "tolerations": [
                        { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule" },
                        { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
                        { "key": "node-role.kubernetes.io/etcd", "operator": "Exists", "effect": "NoExecute" },
                        { "key": "CriticalAddonsOnly", "operator": "Exists" },
                    ],
                    "nodeSelector": { "kubernetes.io/os": "linux" },
                },
            },
        },
    });
    complete_job(&mut job, None);
    job
}
