//! Pods: where they go, and what becomes of them there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::containers::{self, Run, Surroundings};
use super::nodes::readiness;
use super::store::{Key, timestamp};
use crate::sim::host::errands::{Errand, Told};

/// How long it takes until a pod runs, in milliseconds at the usual pace: its image is fetched meanwhile.
const STARTS_AFTER: u64 = 250;
/// How long a pod takes to end that was asked to.
const ENDS_AFTER: u64 = 100;

/// What a kubelet knows of a pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Since when it is in its phase, in milliseconds.
    since: u64,
    /// What its containers have printed.
    pub(crate) logs: BTreeMap<String, String>,
    restarts: u32,
}

impl Known {
    /// Notes that a pod is to end.
    pub(crate) fn begin_to_end(&mut self, now: u64) {
        self.since = now;
    }
}

/// The commands that run, by the pod's uid and the container's name.
pub(crate) type Runs = BTreeMap<(String, String), Run>;

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The containers of a pod.
fn containers_of(pod: &Value) -> Vec<Value> {
    pod["spec"]["containers"].as_array().cloned().unwrap_or_default()
}

/// Whether a pod bears the taints of a node.
fn bears(pod: &Value, node: &Value) -> bool {
    let tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    taints.filter(|taint| taint["effect"] != "PreferNoSchedule").all(|taint| {
        tolerations.iter().any(|one| {
            let any = one["operator"] == "Exists" && one["key"].is_null();
            let key = one["key"] == taint["key"] && (one["operator"] == "Exists" || one["value"] == taint["value"]);
            (any || key) && (one["effect"].is_null() || one["effect"] == taint["effect"])
        })
    })
}

/// Whether a pod wants to be on a node.
fn wants(pod: &Value, node: &Value) -> bool {
    let selector = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    selector.into_iter().all(|(name, value)| node["metadata"]["labels"].get(name) == Some(value))
}

fn state(name: &str, image: &str, state: Value, ready: bool, restarts: u32) -> Value {
    json!({
        "name": name, "state": state, "lastState": {}, "ready": ready, "restartCount": restarts,
        "image": image, "imageID": image, "containerID": format!("containerd://{name}"), "started": ready,
    })
}

impl Cluster {
    /// Whether there are pods that will soon be others.
    pub(super) fn has_restless_pods(&self) -> bool {
        let leaves = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        self.store.list("pods", None).any(|pod| leaves(pod) || text(pod, "/status/phase") == "Pending")
    }

    /// Finds nodes for pods that have none.
    pub(super) fn schedule(&mut self, now: u64) {
        let waiting: Vec<Value> = self
            .store
            .list("pods", None)
            .filter(|pod| text(pod, "/spec/nodeName").is_empty() && pod["metadata"]["deletionTimestamp"].is_null())
            .cloned()
            .collect();
        for pod in waiting {
            let nodes: Vec<&Value> = self.store.list("nodes", None).collect();
            let fits = |node: &&&Value| wants(&pod, node) && bears(&pod, node) && node["spec"]["unschedulable"] != true;
            let load = |node: &&&Value| {
                let name = text(node, "/metadata/name");
                self.store.list("pods", None).filter(|other| text(other, "/spec/nodeName") == name).count()
            };
            let chosen = nodes.iter().filter(fits).min_by_key(load).map(|node| text(node, "/metadata/name").to_owned());
            let key = Key::new("pods", text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
            let count = nodes.len();
            let (status, extra) = match &chosen {
                Some(_) => ("True", None),
                None => (
                    "False",
                    Some(format!(
                        "0/{count} nodes are available: {count} node(s) didn't match Pod's node affinity/selector or had untolerated taint(s). preemption: 0/{count} nodes are available."
                    )),
                ),
            };
            self.store.change(&key, |pod| {
                if let Some(chosen) = &chosen {
                    pod["spec"]["nodeName"] = json!(chosen);
                }
                let known = &pod["status"]["conditions"];
                if known.as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "PodScheduled" && one["status"] == status)) {
                    return;
                }
                let mut condition = json!({
                    "type": "PodScheduled", "status": status, "lastProbeTime": null, "lastTransitionTime": timestamp(now),
                });
                if let Some(message) = &extra {
                    condition["reason"] = json!("Unschedulable");
                    condition["message"] = json!(message);
                }
                pod["status"]["conditions"] = json!([condition]);
            });
            let reason = if chosen.is_some() { "Scheduled" } else { "FailedScheduling" };
            let message = match (&chosen, extra) {
                (Some(node), _) => format!("Successfully assigned {}/{} to {node}", key.namespace, key.name),
                (None, extra) => extra.unwrap_or_default(),
            };
            self.report(&pod, reason, &message, "default-scheduler", now);
        }
    }

    /// Writes down an event, or that it came once more.
    pub(super) fn report(&mut self, about: &Value, reason: &str, message: &str, by: &str, now: u64) {
        let name = text(about, "/metadata/name");
        let tag = crate::sim::chance::hex(&crate::sim::chance::sha256(format!("{reason}{message}"))[..8]);
        let uid = text(about, "/metadata/uid");
        let key = Key::new("events", text(about, "/metadata/namespace"), &format!("{name}.{tag}"));
        if self.store.get(&key).is_some_and(|event| event["involvedObject"]["uid"] == uid) {
            return;
        }
        self.store.remove(&key);
        let kind = about["kind"].as_str().unwrap_or("Pod");
        let warns = reason.starts_with("Failed") || reason == "BackOff";
        let event = json!({
            "kind": "Event", "apiVersion": "v1", "metadata": {},
            "involvedObject": { "kind": kind, "namespace": key.namespace, "name": name, "uid": uid, "apiVersion": "v1" },
            "reason": reason, "message": message, "source": { "component": by },
            "firstTimestamp": timestamp(now), "lastTimestamp": timestamp(now), "count": 1,
            "type": if warns { "Warning" } else { "Normal" }, "reportingComponent": by, "reportingInstance": "",
        });
        self.store.make(&key, event, now);
    }

    /// Lets the kubelets that are heard of do what they do. `far` are the names that each node finds outside of the cluster.
    pub(super) fn run_pods(
        &mut self,
        heard: &BTreeSet<String>,
        far: &BTreeMap<String, BTreeMap<String, String>>,
        now: u64,
        pace: f64,
    ) {
        let pods: Vec<Value> = self.store.list("pods", None).cloned().collect();
        let uids: BTreeSet<String> = pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect();
        self.known.retain(|uid, _| uids.contains(uid));
        for (_, run) in self.runs.iter().filter(|((uid, _), _)| !uids.contains(uid)) {
            run.kill();
        }
        self.runs.retain(|(uid, _), _| uids.contains(uid));
        self.answer_containers(now);
        for pod in pods {
            let node = text(&pod, "/spec/nodeName").to_owned();
            let leaves = !pod["metadata"]["deletionTimestamp"].is_null();
            if node.is_empty() || !heard.contains(&node) {
                // Nobody is there whose leave could be waited for.
                if leaves && node.is_empty() {
                    self.store.remove(&Key::new(
                        "pods",
                        text(&pod, "/metadata/namespace"),
                        text(&pod, "/metadata/name"),
                    ));
                }
                continue;
            }
            self.run_pod(&pod, &node, far, now, pace);
        }
    }

    fn run_pod(
        &mut self,
        pod: &Value,
        node: &str,
        far: &BTreeMap<String, BTreeMap<String, String>>,
        now: u64,
        pace: f64,
    ) {
        let uid = text(pod, "/metadata/uid").to_owned();
        let key = Key::new("pods", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let known = self.known.entry(uid.clone()).or_insert_with(|| Known { since: now, ..Known::default() });
        let passed = |millis: u64| now >= known.since + (millis as f64 * pace) as u64;
        let phase = text(pod, "/status/phase").to_owned();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if passed(ENDS_AFTER) {
                self.store.remove(&key);
            }
            return;
        }
        match phase.as_str() {
            // What it ran has told all it had to.
            "Succeeded" | "Failed" => self.runs.retain(|(of, _), _| *of != uid),
            "Running" => self.follow(pod, &key, &uid, far.get(node), now),
            _ if passed(STARTS_AFTER) => self.start_pod(pod, &key, &uid, node, far.get(node), now),
            _ => {}
        }
    }

    /// Begins the containers of a pod.
    fn start_pod(
        &mut self,
        pod: &Value,
        key: &Key,
        uid: &str,
        node: &str,
        far: Option<&BTreeMap<String, String>>,
        now: u64,
    ) {
        let third = self.store.get(&Key::new("nodes", "", node)).map(|node| text(node, "/spec/podCIDR").to_owned());
        let net = third
            .and_then(|cidr| cidr.rsplit_once('.').map(|(net, _)| net.to_owned()))
            .unwrap_or_else(|| "10.42.0".into());
        let last = 2 + usize::from(crate::sim::chance::sha256(uid)[0]) % 250;
        let address = format!("{net}.{last}");
        let host = self
            .store
            .get(&Key::new("nodes", "", node))
            .map(|node| text(node, "/status/addresses/0/address").to_owned())
            .unwrap_or_default();
        for container in containers_of(pod) {
            let (command, _) = containers::command(&container);
            if !command.is_empty() {
                let names = self.names_inside(far);
                let surroundings = Surroundings {
                    pod: key.name.clone(),
                    namespace: key.namespace.clone(),
                    address: address.clone(),
                    names,
                };
                let place = (uid.to_owned(), text(&container, "/name").to_owned());
                self.runs.insert(place, Run::begin(surroundings, command));
            }
            self.report(pod, "Started", "Container started", "kubelet", now);
        }
        let time = timestamp(now);
        self.store.change(key, |pod| {
            let statuses: Vec<Value> = containers_of(pod)
                .iter()
                .map(|one| {
                    state(text(one, "/name"), text(one, "/image"), json!({ "running": { "startedAt": time } }), true, 0)
                })
                .collect();
            let status = &mut pod["status"];
            status["phase"] = json!("Running");
            status["hostIP"] = json!(host);
            status["hostIPs"] = json!([{ "ip": host }]);
            status["podIP"] = json!(address);
            status["podIPs"] = json!([{ "ip": address }]);
            status["startTime"] = json!(time);
            status["containerStatuses"] = json!(statuses);
            for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"] {
                set_condition(status, kind, "True", &time);
            }
        });
        if let Some(known) = self.known.get_mut(uid) {
            known.since = now;
        }
    }

    /// Looks whether the containers of a pod have ended.
    fn follow(&mut self, pod: &Value, key: &Key, uid: &str, far: Option<&BTreeMap<String, String>>, now: u64) {
        let mut exits: Vec<Option<i32>> = Vec::new();
        for container in containers_of(pod) {
            let name = text(&container, "/name").to_owned();
            let (command, ends) = containers::command(&container);
            let place = (uid.to_owned(), name.clone());
            let exit = match (command.is_empty(), self.runs.get(&place).map(Run::ended)) {
                (true, _) if ends => Some(0),
                (true, _) => None,
                (false, Some(Some(result))) => {
                    let output = [result.stdout, result.stderr].concat();
                    let known = self.known.entry(uid.to_owned()).or_default();
                    known.logs.insert(name, String::from_utf8_lossy(&output).into_owned());
                    Some(result.exit)
                }
                (false, Some(None)) => None,
                (false, None) => {
                    // It ran when the simulator was stopped, and begins again.
                    let names = self.names_inside(far);
                    let address = text(pod, "/status/podIP").to_owned();
                    let surroundings =
                        Surroundings { pod: key.name.clone(), namespace: key.namespace.clone(), address, names };
                    self.runs.insert(place, Run::begin(surroundings, command));
                    None
                }
            };
            exits.push(exit);
        }
        if exits.iter().any(Option::is_none) || exits.is_empty() {
            return;
        }
        let worst = exits.iter().flatten().copied().max().unwrap_or_default();
        let again = match text(pod, "/spec/restartPolicy") {
            "Never" => false,
            "OnFailure" => worst != 0,
            _ => true,
        };
        if again {
            self.runs.retain(|(of, _), _| of != uid);
            let known = self.known.entry(uid.to_owned()).or_default();
            known.restarts += 1;
            let (restarts, time) = (known.restarts, timestamp(now));
            self.report(pod, "BackOff", "Back-off restarting failed container", "kubelet", now);
            self.store.change(key, |pod| {
                for status in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
                    status["restartCount"] = json!(restarts);
                    status["lastState"] = json!({ "terminated": { "exitCode": worst, "reason": if worst == 0 { "Completed" } else { "Error" }, "finishedAt": time } });
                }
            });
            return;
        }
        let time = timestamp(now);
        self.store.change(key, |pod| {
            let reason = if worst == 0 { "Completed" } else { "Error" };
            for (status, exit) in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten().zip(&exits) {
                let started = status["state"]["running"]["startedAt"].clone();
                let end = json!({ "exitCode": exit.unwrap_or_default(), "reason": reason, "startedAt": started, "finishedAt": time });
                status["state"] = json!({ "terminated": end });
                status["ready"] = json!(false);
                status["started"] = json!(false);
            }
            pod["status"]["phase"] = json!(if worst == 0 { "Succeeded" } else { "Failed" });
            for kind in ["Ready", "ContainersReady"] {
                set_condition(&mut pod["status"], kind, "False", &time);
            }
        });
    }

    /// What the name server of the cluster knows, if it runs: services, and what its node finds.
    fn names_inside(&self, far: Option<&BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
        let is_up = |pod: &&Value| {
            pod["metadata"]["labels"]["k8s-app"] == "kube-dns" && text(pod, "/status/phase") == "Running"
        };
        self.store.list("pods", Some("kube-system")).find(is_up)?;
        let mut names = far.cloned().unwrap_or_default();
        for service in self.store.list("services", None) {
            let (name, namespace) = (text(service, "/metadata/name"), text(service, "/metadata/namespace"));
            let address = text(service, "/spec/clusterIP");
            if !matches!(address, "" | "None") {
                names.insert(format!("{name}.{namespace}.svc.cluster.local"), address.to_owned());
            }
        }
        Some(names)
    }

    /// Answers what commands in containers want of the network: services of the cluster, behind which pods run.
    fn answer_containers(&mut self, _now: u64) {
        for run in self.runs.values() {
            let take = |machine: &mut crate::sim::host::Machine| machine.errands.take();
            let errands = take(&mut run.machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            for (number, errand) in errands {
                let told = match &errand {
                    Errand::Fetch { url, .. } => self.reach(url),
                    _ => Told::failed("nobody is there"),
                };
                run.machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner).errands.answer(number, told);
            }
        }
    }

    /// What a service answers, by its address.
    fn reach(&self, url: &str) -> Told {
        let place = url.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
        let (address, port) = place.split_once(':').unwrap_or((place, "80"));
        let service = self.store.list("services", None).find(|service| text(service, "/spec/clusterIP") == address);
        let Some(service) = service else { return Told::failed("no route to host") };
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        if !ports.into_iter().any(|one| one["port"].as_u64() == port.parse().ok()) {
            return Told::failed("connection refused");
        }
        let selector = &service["spec"]["selector"];
        let chosen = |pod: &&Value| {
            let fits = selector
                .as_object()
                .is_some_and(|all| all.iter().all(|(name, value)| pod["metadata"]["labels"].get(name) == Some(value)));
            let node = self.store.get(&Key::new("nodes", "", text(pod, "/spec/nodeName")));
            fits && text(pod, "/status/phase") == "Running" && node.is_some_and(|node| readiness(node) == "True")
        };
        if self.store.list("pods", Some(text(service, "/metadata/namespace"))).any(|pod| chosen(&pod)) {
            Told { status: 200, body: format!("{}\n", text(service, "/metadata/name")).into_bytes() }
        } else {
            Told::failed("connection refused")
        }
    }
}

fn set_condition(status: &mut Value, kind: &str, value: &str, time: &str) {
    let condition = json!({ "type": kind, "status": value, "lastProbeTime": null, "lastTransitionTime": time });
    let Some(all) = status["conditions"].as_array_mut() else {
        status["conditions"] = json!([condition]);
        return;
    };
    match all.iter_mut().find(|one| one["type"] == kind) {
        Some(known) if known["status"] == value => {}
        Some(known) => *known = condition,
        None => all.push(condition),
    }
}
