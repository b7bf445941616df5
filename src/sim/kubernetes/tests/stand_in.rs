//! A kubelet that runs nothing, as the one of the recordings: two nodes are its own, and it tells of pods on them what they
//! would come to. It speaks to the API as any other client.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::lab::{Lab, json};
use crate::sim::kubernetes::api::{Call, Caller};
use crate::sim::kubernetes::cluster::Client;
use crate::sim::kubernetes::store::{Key, timestamp};

/// The nodes that it has.
pub(super) const NODES: [&str; 2] = ["bench-1", "bench-2"];

/// The machine with the API.
pub(super) const PLANE: &str = "plane";

/// After how long pods are ready, in milliseconds, where they do not say.
const READY_AFTER: u64 = 200;

/// After how long it sees pods that were given to it.
const LOOKS_AFTER: u64 = 60;

/// How long after one renewal of its leases it renews them again.
const RENEWS_AFTER: u64 = 500;

/// How far it has come with a pod.
#[derive(Debug, Clone, Default)]
struct Seen {
    since: u64,
    address: String,
    told: &'static str,
    ends: Option<u64>,
}

/// What it knows.
#[derive(Debug, Clone, Default)]
pub(super) struct StandIn {
    pods: BTreeMap<String, Seen>,
    renewed: u64,
    last: u64,
}

/// A control plane without anything that K3s adds, and the two nodes.
pub(super) fn bare() -> (Lab, StandIn) {
    let mut lab = Lab::of(&[PLANE]);
    let parts = "coredns, local-storage, metrics-server, traefik, runtimes, servicelb";
    lab.install(PLANE, "server", &format!("token: t0ken\ndisable: [{parts}]\ndisable-helm-controller: true\n"));
    lab.start(PLANE, "k3s");
    lab.pass(4000);
    let cluster = lab.kubernetes.clusters.values_mut().next().unwrap();
    let is_own = |key: &Key| {
        let kept = key.name == "default" || key.name == "kube-root-ca.crt";
        key.resource == "nodes"
            || (key.namespace == "kube-system" && !kept)
            || key.namespace == "kube-node-lease" && !kept
    };
    let own: Vec<Key> = cluster.store.everything().map(|(key, _)| key).filter(is_own).collect();
    own.iter().for_each(|key| drop(cluster.store.remove(key)));
    let mut stand_in = StandIn::default();
    NODES.iter().for_each(|name| stand_in.join(&mut lab, name));
    for _ in 0..20 {
        stand_in.pass(&mut lab, 20);
    }
    (lab, stand_in)
}

fn ask(lab: &mut Lab, method: &str, path: &str, media: &str, body: &Value) -> Value {
    let caller = Caller::User(Client { user: "fake-kubelet".into(), groups: vec!["system:masters".into()] });
    let mut call = Call::plain(method, path, caller, lab.now);
    call.agent = "fake-kubelet".to_owned();
    if !body.is_null() {
        call.content_type = Some(media.to_owned());
        call.body = body.to_string().into_bytes();
    }
    json(lab.kubernetes.answer(PLANE, &call))
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// A time as annotations of pods tell it, in milliseconds: `600ms`, `2s`.
fn told(pod: &Value, name: &str) -> Option<u64> {
    let text = pod["metadata"]["annotations"][name].as_str()?;
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok(),
        None => text.strip_suffix('s')?.parse::<u64>().ok().map(|seconds| seconds * 1000),
    }
}

impl StandIn {
    /// Lets time pass.
    pub(super) fn pass(&mut self, lab: &mut Lab, millis: u64) {
        let until = lab.now + millis;
        while lab.now < until {
            lab.pass(20);
            self.act(lab);
        }
    }

    fn join(&mut self, lab: &mut Lab, name: &str) {
        let labels =
            json!({ "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" });
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
        ask(lab, "POST", "/api/v1/nodes", JSON, &node);
        let time = timestamp(lab.now);
        let room = json!({ "cpu": "64", "ephemeral-storage": "1Ti", "memory": "256Gi", "pods": "500" });
        let is = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastHeartbeatTime": time, "lastTransitionTime": time, "reason": "FakeKubelet" });
        let status = json!({
            "capacity": room, "allocatable": room,
            "conditions": [is("Ready", "True"), is("MemoryPressure", "False"), is("DiskPressure", "False"), is("PIDPressure", "False")],
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": name }],
            "nodeInfo": {
                "containerRuntimeVersion": "fake://0", "kubeletVersion": "v1.36.2-fake", "operatingSystem": "linux",
                "architecture": "amd64",
            },
        });
        ask(lab, "PATCH", &format!("/api/v1/nodes/{name}/status"), MERGE, &json!({ "status": status }));
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": timestamp(lab.now).replace('Z', ".000000Z") },
        });
        ask(lab, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", JSON, &lease);
    }

    fn act(&mut self, lab: &mut Lab) {
        if lab.now >= self.renewed + RENEWS_AFTER {
            self.renewed = lab.now;
            for name in NODES {
                let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}");
                let spec = json!({ "spec": { "renewTime": timestamp(lab.now).replace('Z', ".000000Z") } });
                ask(lab, "PATCH", &path, MERGE, &spec);
            }
        }
        let pods: Vec<Value> = lab.cluster().store.list("pods", None).cloned().collect();
        self.pods.retain(|uid, _| pods.iter().any(|pod| pod["metadata"]["uid"] == uid.as_str()));
        for pod in pods.iter().filter(|pod| NODES.iter().any(|name| pod["spec"]["nodeName"] == *name)) {
            // It tells of one after the other.
            if self.run(lab, pod) {
                break;
            }
        }
    }

    /// Tells of a pod, if there is anything new to tell.
    fn run(&mut self, lab: &mut Lab, pod: &Value) -> bool {
        let now = lab.now;
        let text = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/pods/{}", text("namespace"), text("name"));
        let next = &mut self.last;
        let seen = self.pods.entry(text("uid").to_owned()).or_insert_with(|| {
            *next += 1;
            Seen { since: now, address: format!("10.244.0.{next}"), ..Seen::default() }
        });
        let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let ends = *seen.ends.get_or_insert(now + told(pod, "bench/stop-after").unwrap_or(100));
            if now >= ends {
                ask(lab, "DELETE", &format!("{path}?gracePeriodSeconds=0"), JSON, &Value::Null);
            }
            return now >= ends;
        }
        if over || now < seen.since + LOOKS_AFTER {
            return false;
        }
        let fails = pod["metadata"]["annotations"]["bench/fail"] == "true";
        let stays = pod["spec"]["restartPolicy"] == "Always";
        let is_time = now >= seen.since + told(pod, "bench/ready-after").unwrap_or(READY_AFTER);
        let step = match (is_time, stays, fails) {
            (false, ..) => "begins",
            (true, true, false) => "runs",
            (true, true, true) => "crashes",
            (true, false, false) => "succeeds",
            (true, false, true) => "fails",
        };
        if seen.told == step {
            return false;
        }
        let (since, address) = (seen.since, seen.address.clone());
        seen.told = step;
        ask(
            lab,
            "PATCH",
            &format!("{path}/status"),
            MERGE,
            &json!({ "status": status(pod, step, since, &address, now) }),
        );
        true
    }
}

/// What is told of a pod that has come so far.
fn status(pod: &Value, step: &str, since: u64, address: &str, now: u64) -> Value {
    let time = timestamp(now);
    let runs = step == "runs";
    let state = match step {
        "crashes" => {
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container" } })
        }
        "succeeds" => {
            json!({ "terminated": { "exitCode": 0, "reason": "Completed", "startedAt": null, "finishedAt": time } })
        }
        "fails" => json!({ "terminated": { "exitCode": 1, "reason": "Error", "startedAt": null, "finishedAt": time } }),
        _ => json!({ "running": { "startedAt": time } }),
    };
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let container = |one: &Value| {
        json!({
            "name": one["name"], "state": state, "lastState": {}, "ready": runs, "restartCount": if step == "crashes" { 3 } else { 0 },
            "image": one["image"], "imageID": "fake", "containerID": format!("fake://{uid}"), "started": runs,
        })
    };
    let containers: Vec<Value> = pod["spec"]["containers"].as_array().into_iter().flatten().map(container).collect();
    let mut conditions: Vec<Value> = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|one| one["type"] == "PodScheduled");
    let ready = if runs { "True" } else { "False" };
    for (kind, status) in
        [("PodReadyToStartContainers", "True"), ("Initialized", "True"), ("Ready", ready), ("ContainersReady", ready)]
    {
        conditions.push(json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": time }));
    }
    let phase = match step {
        "succeeds" => "Succeeded",
        "fails" => "Failed",
        _ => "Running",
    };
    json!({
        "phase": phase, "conditions": conditions, "hostIP": "127.0.0.1", "hostIPs": [{ "ip": "127.0.0.1" }],
        "podIP": address, "podIPs": [{ "ip": address }], "startTime": timestamp(since), "containerStatuses": containers,
    })
}
