//! Controllers: what is to be made of objects that others are made for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::api::defaults::complete_pod;
use super::cluster::Cluster;
use super::store::{Key, fresh_uid, timestamp};
use crate::sim::chance::{hex, sha256};

/// How long controllers do without looking, in milliseconds.
const LOOK: u64 = 1000;

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an object belongs to the one with this uid.
fn is_of(object: &Value, uid: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().any(|owner| owner["uid"] == uid)
}

/// A reference to whom an object belongs.
fn reference(owner: &Value, version: &str, kind: &str) -> Value {
    json!([{
        "apiVersion": version, "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Letters that tell pods of one owner apart.
fn letters() -> String {
    fresh_uid().replace('-', "").chars().take(5).collect()
}

/// A pod made after a template.
fn pod_of(template: &Value, owners: Value, prefix: &str) -> Value {
    let mut spec = template["spec"].clone();
    complete_pod(&mut spec);
    spec["enableServiceLinks"] = json!(true);
    spec["serviceAccountName"] =
        template["spec"].get("serviceAccountName").cloned().unwrap_or_else(|| json!("default"));
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "generateName": prefix, "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"], "ownerReferences": owners, "generation": 1,
        },
        "spec": spec, "status": { "phase": "Pending", "qosClass": "BestEffort" },
    })
}

fn is_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
}

impl Cluster {
    /// Whether there is anything for controllers to do: something has changed, or may have come to an end.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let (version, at) = self.looked;
        version != self.store.version() || !self.runs.is_empty() || self.has_restless_pods() || now >= at + LOOK
    }

    /// Lets all controllers look, one after the other.
    pub(super) fn run_controllers(&mut self, now: u64) {
        self.keep_namespaces(now);
        self.collect_orphans();
        self.run_deployments(now);
        self.run_daemon_sets(now);
        self.run_jobs(now);
        self.watch_budgets(now);
    }

    fn all(&self, resource: &str) -> Vec<(Key, Value)> {
        let key =
            |object: &Value| Key::new(resource, text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        self.store.list(resource, None).map(|object| (key(object), object.clone())).collect()
    }

    /// Every namespace gets an account and the authority; one that is to go takes along what is in it.
    fn keep_namespaces(&mut self, now: u64) {
        for (key, namespace) in self.all("namespaces") {
            if namespace["metadata"]["deletionTimestamp"].is_null() {
                let account = json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": {} });
                self.store.make(&Key::new("serviceaccounts", &key.name, "default"), account, now);
                let root = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": { "ca.crt": self.server_ca.pem } });
                self.store.make(&Key::new("configmaps", &key.name, "kube-root-ca.crt"), root, now);
                continue;
            }
            self.store.change(&key, |namespace| namespace["status"]["phase"] = json!("Terminating"));
            let mut left = false;
            for kind in super::api::kinds::all().iter().filter(|kind| kind.namespaced) {
                let stored = kind.stored();
                let names: Vec<String> = self
                    .store
                    .list(&stored, Some(&key.name))
                    .map(|object| text(object, "/metadata/name").to_owned())
                    .collect();
                for name in names {
                    let own = Key::new(&stored, &key.name, &name);
                    let lingers = self.store.get(&own).is_some_and(|object| {
                        object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
                    });
                    if lingers {
                        left = true;
                        self.store
                            .change(&own, |object| object["metadata"]["deletionTimestamp"] = json!(timestamp(now)));
                    } else {
                        self.store.remove(&own);
                    }
                }
            }
            if !left {
                self.store.remove(&key);
            }
        }
    }

    /// What belonged to somebody who is gone goes too.
    fn collect_orphans(&mut self) {
        let uids: BTreeSet<String> =
            self.store.everything().map(|(_, object)| text(object, "/metadata/uid").to_owned()).collect();
        let orphan = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array()?;
            (!owners.is_empty() && owners.iter().all(|owner| !uids.contains(owner["uid"].as_str().unwrap_or_default())))
                .then_some(())
        };
        let gone: Vec<Key> =
            self.store.everything().filter(|(_, object)| orphan(object).is_some()).map(|(key, _)| key).collect();
        for key in gone {
            self.store.remove(&key);
        }
    }

    fn make_pod(&mut self, namespace: &str, prefix: &str, pod: Value, now: u64) {
        self.store.make(&Key::new("pods", namespace, &format!("{prefix}{}", letters())), pod, now);
    }

    fn pods_of(&self, uid: &str) -> Vec<(Key, Value)> {
        let own = self.store.list("pods", None).filter(|pod| is_of(pod, uid));
        own.map(|pod| (Key::new("pods", text(pod, "/metadata/namespace"), text(pod, "/metadata/name")), pod.clone()))
            .collect()
    }

    fn run_deployments(&mut self, now: u64) {
        for (key, deployment) in self.all("deployments.apps") {
            let template = &deployment["spec"]["template"];
            let hash = hex(&sha256(template.to_string())[..5]);
            let name = format!("{}-{hash}", key.name);
            let set = Key::new("replicasets.apps", &key.namespace, &name);
            let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
            let object = json!({
                "kind": "ReplicaSet", "apiVersion": "apps/v1",
                "metadata": {
                    "labels": template["metadata"]["labels"], "generation": 1,
                    "ownerReferences": reference(&deployment, "apps/v1", "Deployment"),
                },
                "spec": { "replicas": wanted, "selector": deployment["spec"]["selector"], "template": template },
                "status": { "replicas": 0 },
            });
            self.store.make(&set, object, now);
            let owner = self.store.get(&set).cloned().unwrap_or_default();
            let pods = self.pods_of(text(&owner, "/metadata/uid"));
            // One that has ended, or is on its way out, is made up for.
            let alive = pods.iter().filter(|(_, pod)| {
                pod["metadata"]["deletionTimestamp"].is_null()
                    && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
            });
            for _ in (alive.count() as u64)..wanted {
                let prefix = format!("{name}-");
                let pod = pod_of(template, reference(&owner, "apps/v1", "ReplicaSet"), &prefix);
                self.make_pod(&key.namespace, &prefix, pod, now);
            }
            let all = pods.len() as u64;
            let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count() as u64;
            let count = |status: &mut Value| {
                for (field, number) in [("replicas", all), ("readyReplicas", ready), ("availableReplicas", ready)] {
                    if number > 0 {
                        status[field] = json!(number);
                    } else if let Some(map) = status.as_object_mut() {
                        map.shift_remove(field);
                    }
                }
                status["observedGeneration"] = json!(1);
            };
            self.store.change(&set, |set| count(&mut set["status"]));
            self.store.change(&key, |deployment| {
                let status = &mut deployment["status"];
                count(status);
                if all > 0 {
                    status["updatedReplicas"] = json!(all);
                }
                let available = ready >= wanted;
                let before = status["conditions"][0]["status"].as_str().map(str::to_owned);
                let now_is = if available { "True" } else { "False" };
                if before.as_deref() != Some(now_is) {
                    let time = timestamp(now);
                    let reason = if available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
                    let message = if available { "Deployment has minimum availability." } else { "Deployment does not have minimum availability." };
                    status["conditions"] = json!([
                        { "type": "Available", "status": now_is, "lastUpdateTime": time, "lastTransitionTime": time, "reason": reason, "message": message },
                        { "type": "Progressing", "status": "True", "lastUpdateTime": time, "lastTransitionTime": time,
                          "reason": if available { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" }, "message": format!("ReplicaSet \"{name}\" is progressing.") },
                    ]);
                }
            });
        }
    }

    fn run_daemon_sets(&mut self, now: u64) {
        for (key, set) in self.all("daemonsets.apps") {
            let uid = text(&set, "/metadata/uid").to_owned();
            let pods = self.pods_of(&uid);
            let nodes: Vec<String> =
                self.store.list("nodes", None).map(|node| text(node, "/metadata/name").to_owned()).collect();
            for node in &nodes {
                if !pods.iter().any(|(_, pod)| text(pod, "/spec/nodeName") == node) {
                    let prefix = format!("{}-", key.name);
                    let mut pod = pod_of(&set["spec"]["template"], reference(&set, "apps/v1", "DaemonSet"), &prefix);
                    pod["spec"]["nodeName"] = json!(node);
                    self.make_pod(&key.namespace, &prefix, pod, now);
                }
            }
            let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count();
            self.store.change(&key, |set| {
                set["status"] = json!({
                    "currentNumberScheduled": pods.len(), "desiredNumberScheduled": nodes.len(), "numberMisscheduled": 0,
                    "numberReady": ready, "numberAvailable": ready, "updatedNumberScheduled": pods.len(), "observedGeneration": 1,
                });
            });
        }
    }

    fn run_jobs(&mut self, now: u64) {
        for (key, job) in self.all("jobs.batch") {
            let has = |kind: &str| {
                let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
                conditions.into_iter().any(|one| one["type"] == kind && one["status"] == "True")
            };
            if has("Complete") || has("Failed") {
                self.expire(&key, &job, now);
                continue;
            }
            if job["spec"]["suspend"] == true {
                self.store.change(&key, |job| {
                    job["status"]["conditions"] = json!([condition("Suspended", "JobSuspended", "Job suspended", now)]);
                });
                continue;
            }
            let uid = text(&job, "/metadata/uid").to_owned();
            let pods = self.pods_of(&uid);
            let ended = |phase: &str| pods.iter().filter(|(_, pod)| text(pod, "/status/phase") == phase).count() as u64;
            let (succeeded, failed) = (ended("Succeeded"), ended("Failed"));
            let number = |field: &str, usual: u64| job["spec"][field].as_u64().unwrap_or(usual);
            let (wanted, limit) = (number("completions", 1), number("backoffLimit", 6));
            let active = pods.len() as u64 - succeeded - failed;
            let began = *self.begun.entry(uid.clone()).or_insert(now);
            let late =
                job["spec"]["activeDeadlineSeconds"].as_u64().is_some_and(|seconds| now >= began + seconds * 1000);
            let outcome = if succeeded >= wanted {
                Some((
                    "Complete",
                    "SuccessCriteriaMet",
                    "CompletionsReached",
                    "Reached expected number of succeeded pods",
                ))
            } else if failed > limit {
                Some(("Failed", "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
            } else if late {
                Some(("Failed", "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"))
            } else {
                None
            };
            if outcome.is_none() {
                for _ in active..number("parallelism", 1).min(wanted - succeeded) {
                    let prefix = format!("{}-", key.name);
                    let pod = pod_of(&job["spec"]["template"], reference(&job, "batch/v1", "Job"), &prefix);
                    self.make_pod(&key.namespace, &prefix, pod, now);
                }
            } else {
                for (pod, _) in
                    pods.iter().filter(|(_, pod)| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
                {
                    self.store.remove(pod);
                }
            }
            self.store.change(&key, |job| {
                let status = &mut job["status"];
                if status["startTime"].is_null() {
                    status["startTime"] = json!(timestamp(began));
                }
                for (field, number) in [
                    ("active", if outcome.is_some() { 0 } else { active }),
                    ("succeeded", succeeded),
                    ("failed", failed),
                ] {
                    if number > 0 {
                        status[field] = json!(number);
                    } else if let Some(map) = status.as_object_mut() {
                        map.shift_remove(field);
                    }
                }
                status["ready"] = json!(pods.iter().filter(|(_, pod)| is_ready(pod)).count());
                status["terminating"] = json!(0);
                status["uncountedTerminatedPods"] = json!({});
                if let Some((kind, before, reason, message)) = outcome {
                    status["conditions"] =
                        json!([condition(before, reason, message, now), condition(kind, reason, message, now)]);
                    if kind == "Complete" {
                        status["completionTime"] = json!(timestamp(now));
                    }
                }
            });
            if outcome.is_some() {
                self.begun.insert(uid, now);
            }
        }
        let jobs: BTreeSet<String> =
            self.store.list("jobs.batch", None).map(|job| text(job, "/metadata/uid").to_owned()).collect();
        self.begun.retain(|uid, _| jobs.contains(uid));
    }

    /// Removes a Job that has been over for as long as it was to stay.
    fn expire(&mut self, key: &Key, job: &Value, now: u64) {
        let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_u64() else { return };
        let ended = self.begun.get(text(job, "/metadata/uid")).copied().unwrap_or(now);
        if now >= ended + seconds * 1000 {
            self.store.remove(key);
        }
    }

    /// Counts how many pods each budget can do without.
    fn watch_budgets(&mut self, now: u64) {
        for (key, budget) in self.all("poddisruptionbudgets.policy") {
            let labels = budget["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
            let chosen =
                |pod: &&Value| labels.iter().all(|(name, value)| pod["metadata"]["labels"].get(name) == Some(value));
            let pods: Vec<&Value> = self.store.list("pods", Some(&key.namespace)).filter(chosen).collect();
            let (all, healthy) = (pods.len() as u64, pods.iter().filter(|pod| is_ready(pod)).count() as u64);
            let number = |value: &Value, up: bool| match value {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => text
                    .strip_suffix('%')
                    .and_then(|text| text.parse::<u64>().ok())
                    .map(|percent| if up { (all * percent).div_ceil(100) } else { all * percent / 100 }),
                _ => None,
            };
            let least = number(&budget["spec"]["minAvailable"], true)
                .or_else(|| number(&budget["spec"]["maxUnavailable"], true).map(|most| all.saturating_sub(most)))
                .unwrap_or_default();
            let allowed = healthy.saturating_sub(least);
            self.store.change(&key, |budget| {
                let generation = budget["metadata"]["generation"].clone();
                let status = &mut budget["status"];
                status["observedGeneration"] = generation;
                status["disruptionsAllowed"] = json!(allowed);
                status["currentHealthy"] = json!(healthy);
                status["desiredHealthy"] = json!(least);
                status["expectedPods"] = json!(all);
                let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
                if status["conditions"][0]["status"] != value {
                    status["conditions"] = json!([{
                        "type": "DisruptionAllowed", "status": value, "lastTransitionTime": timestamp(now), "reason": reason, "message": "",
                    }]);
                }
            });
        }
    }
}

fn condition(kind: &str, reason: &str, message: &str, now: u64) -> Value {
    let time = timestamp(now);
    json!({
        "type": kind, "status": "True", "lastProbeTime": time, "lastTransitionTime": time, "reason": reason, "message": message,
    })
}
