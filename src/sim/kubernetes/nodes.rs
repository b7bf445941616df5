//! The nodes of a cluster as time passes: whether they are heard of, and what becomes of them when they are taken out.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::controllers::MANAGER;
use super::registration::MEMBER;
use super::store::{Key, timestamp};

/// How long things take, in milliseconds at the usual pace.
const READY_AFTER: u64 = 200;
const GRACE: u64 = 2000;

/// Conditions beside the one that a node is ready: their types, and why all is well.
const PRESSURES: &[(&str, &str, &str)] = &[
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
];

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: u64) -> Value {
    let time = timestamp(now);
    json!({
        "type": kind, "status": status, "lastHeartbeatTime": time, "lastTransitionTime": time,
        "reason": reason, "message": message,
    })
}

fn pressures(now: u64) -> impl Iterator<Item = Value> {
    PRESSURES.iter().map(move |(kind, reason, message)| condition(kind, "False", reason, message, now))
}

/// The conditions of a node that has just come.
pub(super) fn fresh(now: u64) -> Value {
    let why = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";
    pressures(now).chain([condition("Ready", "False", "KubeletNotReady", why, now)]).collect()
}

/// The conditions of a node that is not heard of.
pub(super) fn unknown(now: u64) -> Value {
    let one = |kind: &str| condition(kind, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.", now);
    PRESSURES.iter().map(|(kind, ..)| one(kind)).chain([one("Ready")]).collect()
}

/// The conditions of a node that is well.
fn well(now: u64) -> Value {
    pressures(now).chain([condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", now)]).collect()
}

/// Whether a node is ready: `True`, `False` or `Unknown`.
pub(super) fn readiness(node: &Value) -> &str {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|one| one["type"] == "Ready").find_map(|one| one["status"].as_str()).unwrap_or("Unknown")
}

/// Adds or takes away a taint that a controller keeps.
fn set_taint(node: &mut Value, key: &str, effect: &str, on: bool, now: u64) {
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let is_own = |taint: &Value| taint["key"] == key && taint["effect"] == effect;
    match (taints.iter().any(is_own), on) {
        (true, false) => taints.retain(|taint| !is_own(taint)),
        (false, true) => {
            let mut taint = json!({ "key": key, "effect": effect });
            // What is for those only that come is not dated, but for the one that an administrator asks for.
            if effect == "NoExecute" || key == "node.kubernetes.io/unschedulable" {
                taint["timeAdded"] = json!(timestamp(now));
            }
            taints.push(taint);
        }
        _ => return,
    }
    if taints.is_empty() {
        if let Some(spec) = node["spec"].as_object_mut() {
            spec.shift_remove("taints");
        }
    } else {
        node["spec"]["taints"] = json!(taints);
    }
}

/// Gives a node the older names of what its labels say, and how long what is mounted is believed.
fn set_beta_labels(node: &mut Value) {
    for name in ["arch", "os"] {
        let own = node["metadata"]["labels"].get(format!("kubernetes.io/{name}")).cloned();
        if let Some(own) = own {
            node["metadata"]["labels"][format!("beta.kubernetes.io/{name}")] = own;
        }
    }
    node["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"] = json!("0");
}

impl Cluster {
    /// The nodes that no machine of the simulator runs, and whose kubelets have renewed their leases of late.
    pub(super) fn renewed(&self, now: u64, pace: f64) -> Vec<String> {
        let since = timestamp(now.saturating_sub((GRACE as f64 * pace) as u64));
        let leases = self.store.list("leases.coordination.k8s.io", Some("kube-node-lease"));
        let late = leases.filter(|lease| {
            let renewed = lease["spec"]["renewTime"].as_str().unwrap_or_default();
            // Both are told in seconds, and one of them beyond.
            renewed.get(..19) >= since.get(..19)
        });
        let names = late.filter_map(|lease| lease["metadata"]["name"].as_str());
        let is_foreign = |name: &&str| {
            let node = self.store.get(&Key::new("nodes", "", name));
            node.is_some_and(|node| node["metadata"]["annotations"].get("k3s.io/hostname").is_none())
        };
        names.filter(is_foreign).map(str::to_owned).collect()
    }

    /// Looks at all nodes; `heard` are those whose kubelets are heard of. Tells whether anything changed.
    pub(super) fn watch_nodes(&mut self, heard: &BTreeSet<String>, now: u64, pace: f64) -> bool {
        let before = self.store.version();
        let names: Vec<String> = self
            .store
            .list("nodes", None)
            .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        for name in &names {
            let key = Key::new("nodes", "", name);
            if self.store.get(&key).is_some_and(|node| !node["metadata"]["deletionTimestamp"].is_null()) {
                self.take_out(&key);
                continue;
            }
            let is_heard = heard.contains(name);
            let since = *self.seen.entry(name.clone()).or_insert(if is_heard { now } else { 0 });
            let passed = |millis: u64| now >= since + (millis as f64 * pace) as u64;
            self.work_as(if is_heard { "kubelet" } else { MANAGER }, now);
            let is_foreign =
                self.store.get(&key).is_some_and(|node| node["metadata"]["annotations"]["k3s.io/hostname"].is_null());
            self.store.change(&key, |node| {
                match (is_heard, readiness(node)) {
                    (true, "True") => {}
                    // It tells of itself.
                    (true, _) if is_foreign => {}
                    (true, _) if !passed(READY_AFTER) => {}
                    (true, _) => node["status"]["conditions"] = well(now),
                    (false, "Unknown") => {}
                    (false, _) if !passed(GRACE) => {}
                    (false, _) => node["status"]["conditions"] = unknown(now),
                }
            });
            self.work_as(MANAGER, now);
            self.store.change(&key, |node| {
                set_beta_labels(node);
                let state = readiness(node).to_owned();
                for effect in ["NoSchedule", "NoExecute"] {
                    set_taint(node, "node.kubernetes.io/unreachable", effect, state == "Unknown", now);
                    set_taint(node, "node.kubernetes.io/not-ready", effect, state == "False", now);
                }
                let cordoned = node["spec"]["unschedulable"] == true;
                set_taint(node, "node.kubernetes.io/unschedulable", "NoSchedule", cordoned, now);
            });
            self.rest_hand();
            // Since when a node is heard of counts until it is ready; since when it is not, from when it last was.
            let settled = self.store.get(&key).is_some_and(|node| readiness(node) == "True");
            if is_heard && settled {
                self.seen.insert(name.clone(), now);
            }
        }
        self.seen.retain(|name, _| names.contains(name));
        self.store.version() != before
    }

    /// Ends what was asked to be deleted: with a node its member of etcd goes, and the password that it was known by.
    fn take_out(&mut self, key: &Key) {
        let Some(node) = self.store.remove(key) else { return };
        if let Some(member) = node["metadata"]["annotations"][MEMBER].as_str() {
            self.members.retain(|known| known.name != member);
        }
        self.store.remove(&Key::new("secrets", "kube-system", &format!("{}.node-password.k3s", key.name)));
        self.store.remove(&Key::new("leases.coordination.k8s.io", "kube-node-lease", &key.name));
        self.seen.remove(&key.name);
    }

    /// An object with what its owner renews all the time: nobody keeps a count of that.
    pub(super) fn freshened(&self, resource: &str, mut object: Value, now: u64) -> Value {
        if resource == "nodes" && readiness(&object) == "True" {
            for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition["lastHeartbeatTime"] = json!(timestamp(now));
            }
        }
        let holder = object["metadata"]["name"].as_str().map(|name| Key::new("nodes", "", name));
        let is_alive = |key: Key| self.store.get(&key).is_some_and(|node| readiness(node) == "True");
        if resource == "leases.coordination.k8s.io" && holder.is_some_and(is_alive) {
            let micros = timestamp(now).replace('Z', ".000000Z");
            object["spec"]["renewTime"] = json!(micros);
        }
        object
    }
}
