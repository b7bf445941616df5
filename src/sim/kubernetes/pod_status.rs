//! What is told of pods and their containers.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::controllers::{items, set_condition, text};
use super::kubelet::{Here, Known, Obstacle};

impl Cluster {
    /// Says what a pod waits for.
    pub(super) fn wait(&mut self, here: &Here<'_>, obstacles: &[Obstacle]) {
        let told = items(here.pod, "/status/containerStatuses");
        if !told.is_empty()
            && obstacles.is_empty()
            && told.iter().all(|one| text(one, "/state/waiting/message").is_empty())
        {
            return;
        }
        let host = self.host_address(&here.node);
        let known = self.known.get(&here.uid).cloned().unwrap_or_default();
        self.store.change(&here.key, |pod| {
            let states = |list: &str| -> Vec<Value> {
                let one = |container: &Value| {
                    let name = text(container, "/name");
                    let found = obstacles.iter().find(|one| one.container == name);
                    let waiting = match found {
                        Some(one) => json!({ "reason": one.reason, "message": one.message }),
                        None => json!({ "reason": if list == "/spec/containers" && has_first(here.pod) { "PodInitializing" } else { "ContainerCreating" } }),
                    };
                    state(container, json!({ "waiting": waiting }), &known, false)
                };
                items(here.pod, list).iter().map(one).collect()
            };
            let (first, all) = (states("/spec/initContainers"), states("/spec/containers"));
            let status = &mut pod["status"];
            status["phase"] = json!("Pending");
            status["hostIP"] = json!(host);
            status["containerStatuses"] = json!(all);
            if !first.is_empty() {
                status["initContainerStatuses"] = json!(first);
            }
            let names: Vec<&str> = items(here.pod, "/spec/containers").iter().map(|one| text(one, "/name")).collect();
            for kind in ["Ready", "ContainersReady"] {
                set_ready(status, kind, &names, here.now);
            }
        });
    }

    /// Tells how the containers of a pod that runs are.
    pub(super) fn tell_states(&mut self, here: &Here<'_>, time: &str) {
        let known = self.known.get(&here.uid).cloned().unwrap_or_default();
        let crashes: Vec<Obstacle> = known.retries.keys().map(|name| self.crash(here, name)).collect();
        self.store.change(&here.key, |pod| {
            let before = items(pod, "/status/containerStatuses").to_vec();
            let mut waiting = Vec::new();
            let one = |container: &Value| {
                let name = text(container, "/name");
                let own = before.iter().find(|one| one["name"] == name).cloned().unwrap_or_default();
                let started = match text(&own, "/state/running/startedAt") {
                    "" => time,
                    earlier => earlier,
                };
                let crash = crashes.iter().find(|one| one.container == name);
                let exit = known.exits.get(name);
                if crash.is_some() || exit.is_some() {
                    waiting.push(name.to_owned());
                }
                let now = match (crash, exit) {
                    (Some(crash), _) => json!({ "waiting": { "reason": crash.reason, "message": crash.message } }),
                    (None, Some(_)) if own["state"]["terminated"].is_object() => own["state"].clone(),
                    (None, Some(exit)) => json!({ "terminated": ended(*exit, started, time) }),
                    (None, None) => json!({ "running": { "startedAt": started } }),
                };
                let is_ready = crash.is_none() && exit.is_none();
                let mut next = state(container, now, &known, is_ready);
                if let Some(exit) = known.last.get(name) {
                    let was = &own["lastState"]["terminated"];
                    let same = own["restartCount"] == next["restartCount"] && was.is_object();
                    next["lastState"] = if same {
                        own["lastState"].clone()
                    } else {
                        json!({ "terminated": ended(*exit, started, time) })
                    };
                }
                next
            };
            let all: Vec<Value> = items(here.pod, "/spec/containers").iter().map(one).collect();
            let status = &mut pod["status"];
            status["containerStatuses"] = json!(all);
            let names: Vec<&str> = waiting.iter().map(String::as_str).collect();
            for kind in ["Ready", "ContainersReady"] {
                set_ready(status, kind, &names, here.now);
            }
            let first: Vec<Value> = items(here.pod, "/spec/initContainers")
                .iter()
                .map(|container| {
                    let own =
                        items(status, "/initContainerStatuses").iter().find(|one| one["name"] == container["name"]);
                    match own.filter(|own| own["state"]["terminated"].is_object()) {
                        Some(own) => own.clone(),
                        None => {
                            let exit = known.exits.get(text(container, "/name")).copied().unwrap_or_default();
                            state(container, json!({ "terminated": ended(exit, time, time) }), &known, true)
                        }
                    }
                })
                .collect();
            if !first.is_empty() {
                status["initContainerStatuses"] = json!(first);
            }
        });
    }
}

/// Whether a pod has containers that have to be done before the others begin.
fn has_first(pod: &Value) -> bool {
    !items(pod, "/spec/initContainers").is_empty()
}

fn ended(exit: i32, started: &str, time: &str) -> Value {
    let reason = if exit == 0 { "Completed" } else { "Error" };
    json!({ "exitCode": exit, "reason": reason, "startedAt": started, "finishedAt": time })
}

fn state(container: &Value, state: Value, known: &Known, ready: bool) -> Value {
    let (name, image) = (text(container, "/name"), text(container, "/image"));
    let runs = state["running"].is_object();
    let id = format!("containerd://{name}");
    json!({
        "name": name, "state": state, "lastState": {}, "ready": ready,
        "restartCount": known.again.get(name).copied().unwrap_or_default(),
        "image": image, "imageID": if runs { image } else { "" }, "containerID": if runs { id } else { String::new() },
        "started": runs,
    })
}

/// Tells whether a pod is ready, for want of which containers it is not.
fn set_ready(status: &mut Value, kind: &str, waiting: &[&str], now: u64) {
    let mut condition =
        json!({ "type": kind, "status": if waiting.is_empty() { "True" } else { "False" }, "lastProbeTime": null });
    if !waiting.is_empty() {
        condition["reason"] = json!("ContainersNotReady");
        condition["message"] = json!(format!("containers with unready status: [{}]", waiting.join(" ")));
    }
    set_condition(status, condition, now);
}
