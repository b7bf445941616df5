//! Finding nodes for pods.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::api::nanos;
use super::cluster::Cluster;
use super::controllers::{follows, items, key_of, leaves, text};
use super::store::{Key, timestamp};

/// Under which name it changes objects.
const SCHEDULER: &str = "kube-scheduler";

/// One of something, as [`quantity`] counts.
const ONE: u128 = 1_000_000_000;

/// An amount in billionths. What is told as no number is nothing.
pub(super) fn quantity(value: &Value) -> u128 {
    nanos(value).and_then(|nanos| u128::try_from(nanos).ok()).unwrap_or_default()
}

/// Whether a pod bears the taints of a node.
pub(super) fn bears(pod: &Value, node: &Value) -> bool {
    unborne(pod, node).is_none()
}

/// The first taint of a node that a pod does not bear.
fn unborne<'n>(pod: &Value, node: &'n Value) -> Option<&'n Value> {
    let tolerations = items(pod, "/spec/tolerations");
    items(node, "/spec/taints").iter().filter(|taint| taint["effect"] != "PreferNoSchedule").find(|taint| {
        !tolerations.iter().any(|one| {
            let any = one["operator"] == "Exists" && text(one, "/key").is_empty();
            let value = text(one, "/value") == text(taint, "/value");
            let key = one["key"] == taint["key"] && (one["operator"] == "Exists" || value);
            (any || key) && (text(one, "/effect").is_empty() || one["effect"] == taint["effect"])
        })
    })
}

/// Whether a node is one of those that some terms mean.
fn meets(terms: &[Value], node: &Value) -> bool {
    terms.iter().any(|term| {
        let labels = items(term, "/matchExpressions").iter().all(|rule| follows(rule, &node["metadata"]["labels"]));
        let name = json!({ "metadata.name": node["metadata"]["name"] });
        labels && items(term, "/matchFields").iter().all(|rule| follows(rule, &name))
    })
}

/// Whether a pod wants to be on a node.
pub(super) fn wants(pod: &Value, node: &Value) -> bool {
    let selector = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let affinity = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    selector.into_iter().all(|(name, value)| node["metadata"]["labels"].get(name) == Some(value))
        && pod.pointer(affinity).is_none_or(|terms| terms.as_array().is_none_or(|terms| meets(terms, node)))
}

/// What a pod asks for.
pub(super) fn requests(pod: &Value) -> BTreeMap<String, u128> {
    let mut all: BTreeMap<String, u128> = BTreeMap::new();
    for container in items(pod, "/spec/containers") {
        let resources = &container["resources"];
        let mut own: BTreeMap<&str, &Value> = BTreeMap::new();
        // What has a limit, and no request, asks for as much.
        for part in ["limits", "requests"] {
            own.extend(resources[part].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)));
        }
        for (name, value) in own {
            *all.entry(name.to_owned()).or_default() += quantity(value);
        }
    }
    all
}

/// What the pods on a node ask for, and how many they are.
#[derive(Debug, Default)]
struct Load {
    pods: usize,
    asked: BTreeMap<String, u128>,
}

impl Load {
    fn add(&mut self, pod: &Value) {
        self.pods += 1;
        for (name, amount) in requests(pod) {
            *self.asked.entry(name).or_default() += amount;
        }
    }
}

/// The loads of nodes by their names.
type Loads = BTreeMap<String, Load>;

/// What of the claims of a pod is in the way.
enum Claims {
    /// Nothing, on nodes that meet these terms.
    On(Vec<Vec<Value>>),
    /// These have to wait for a node.
    Waiting(Vec<Key>),
    No(String),
}

impl Cluster {
    /// Finds nodes for pods that have none.
    pub(super) fn schedule(&mut self, now: u64) {
        let is_waiting = |pod: &&Value| text(pod, "/spec/nodeName").is_empty() && !leaves(pod);
        let waiting: Vec<Value> = self.store.list("pods", None).filter(is_waiting).cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let mut loads = Loads::new();
        for pod in self.store.list("pods", None) {
            if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
                loads.entry(text(pod, "/spec/nodeName").to_owned()).or_default().add(pod);
            }
        }
        self.work_as(SCHEDULER, now);
        for pod in waiting {
            if matches!(text(&pod, "/spec/schedulerName"), "default-scheduler" | "") {
                self.place(&pod, &mut loads, now);
            }
        }
        self.rest_hand();
    }

    fn place(&mut self, pod: &Value, loads: &mut Loads, now: u64) {
        let key = key_of("pods", pod);
        let (terms, waiting) = match self.claims(pod) {
            Claims::On(terms) => (terms, Vec::new()),
            Claims::Waiting(keys) => (Vec::new(), keys),
            Claims::No(why) => {
                let count = self.store.list("nodes", None).count();
                let message = format!("0/{count} nodes are available: {why}. not found");
                return self.not_placed(&key, pod, &message, now);
            }
        };
        match self.choose(pod, &terms, loads) {
            Ok(node) if waiting.is_empty() => {
                // A binding is nobody's.
                self.rest_hand();
                self.store.change(&key, |pod| {
                    pod["spec"]["nodeName"] = json!(node);
                    set_scheduled(pod, None, now);
                });
                self.work_as(SCHEDULER, now);
                let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
                self.report(pod, "Scheduled", &message, "default-scheduler", now);
                loads.entry(node).or_default().add(pod);
            }
            Ok(node) => {
                // It comes to this node once its volumes are there.
                for claim in waiting {
                    self.store.change(&claim, |claim| {
                        claim["metadata"]["annotations"][super::controllers::NODE] = json!(node);
                    });
                }
            }
            Err(message) => self.not_placed(&key, pod, &message, now),
        }
    }

    fn not_placed(&mut self, key: &Key, pod: &Value, message: &str, now: u64) {
        if items(pod, "/status/conditions").iter().any(|one| one["type"] == "PodScheduled" && one["message"] == message)
        {
            return;
        }
        self.store.change(key, |pod| set_scheduled(pod, Some(message), now));
        self.report(pod, "FailedScheduling", message, "default-scheduler", now);
    }

    /// What of a pod's claims is bound, and where.
    fn claims(&self, pod: &Value) -> Claims {
        let namespace = text(pod, "/metadata/namespace");
        let mut terms = Vec::new();
        let mut waiting = Vec::new();
        for volume in items(pod, "/spec/volumes") {
            let name = text(volume, "/persistentVolumeClaim/claimName");
            if name.is_empty() {
                continue;
            }
            let key = Key::new("persistentvolumeclaims", namespace, name);
            let Some(claim) = self.store.get(&key).filter(|claim| !leaves(claim)) else {
                return Claims::No(format!("persistentvolumeclaim \"{name}\" not found"));
            };
            if text(claim, "/status/phase") == "Bound" {
                let volume = self.store.get(&Key::new("persistentvolumes", "", text(claim, "/spec/volumeName")));
                let own = volume.map(|volume| items(volume, "/spec/nodeAffinity/required/nodeSelectorTerms").to_vec());
                terms.extend(own.filter(|own| !own.is_empty()));
                continue;
            }
            let class = Key::new("storageclasses.storage.k8s.io", "", text(claim, "/spec/storageClassName"));
            let waits =
                self.store.get(&class).is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer");
            if !waits {
                return Claims::No("pod has unbound immediate PersistentVolumeClaims".to_owned());
            }
            waiting.push(key);
        }
        if waiting.is_empty() { Claims::On(terms) } else { Claims::Waiting(waiting) }
    }

    /// The node with the least to do of those that fit; or how many of them do not, and why.
    fn choose(&self, pod: &Value, terms: &[Vec<Value>], loads: &Loads) -> Result<String, String> {
        let wanted = requests(pod);
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut fitting: Vec<(usize, &str)> = Vec::new();
        let mut count = 0;
        let none = Load::default();
        for node in self.store.list("nodes", None) {
            count += 1;
            let name = text(node, "/metadata/name");
            let load = loads.get(name).unwrap_or(&none);
            let against = objections(pod, node, (terms, &wanted, load));
            if against.is_empty() {
                fitting.push((load.pods, name));
            }
            for why in against {
                *reasons.entry(why).or_default() += 1;
            }
        }
        if let Some((_, name)) = fitting.into_iter().min() {
            return Ok(name.to_owned());
        }
        let each: Vec<String> = reasons.iter().map(|(why, times)| format!("{times} {why}")).collect();
        let each = if each.is_empty() { String::new() } else { format!(": {}", each.join(", ")) };
        Err(format!(
            "0/{count} nodes are available{each}. no new claims to deallocate, preemption: 0/{count} nodes are available: {count} Preemption is not helpful for scheduling."
        ))
    }
}

/// What speaks against a node. What it has too little of is told only where nothing else does.
fn objections(
    pod: &Value,
    node: &Value,
    (terms, wanted, load): (&[Vec<Value>], &BTreeMap<String, u128>, &Load),
) -> Vec<String> {
    let borne =
        |key: &str| items(pod, "/spec/tolerations").iter().any(|one| one["key"] == key || text(one, "/key").is_empty());
    if node["spec"]["unschedulable"] == true && !borne("node.kubernetes.io/unschedulable") {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    if let Some(taint) = unborne(pod, node) {
        let value = text(taint, "/value");
        return vec![format!("node(s) had untolerated taint {{{}: {value}}}", text(taint, "/key"))];
    }
    if !wants(pod, node) {
        return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
    }
    if !terms.iter().all(|terms| meets(terms, node)) {
        return vec!["node(s) didn't match PersistentVolume's node affinity".to_owned()];
    }
    let mut short = Vec::new();
    let room = |name: &str| quantity(&node["status"]["allocatable"][name]);
    for (name, amount) in wanted {
        if load.asked.get(name).copied().unwrap_or_default() + amount > room(name) {
            short.push(format!("Insufficient {name}"));
        }
    }
    if load.pods as u128 * ONE >= room("pods") {
        short.push("Too many pods".to_owned());
    }
    short
}

/// Tells that a pod has a node, or why it has none.
fn set_scheduled(pod: &mut Value, why: Option<&str>, now: u64) {
    let mut condition = json!({
        "type": "PodScheduled", "status": if why.is_some() { "False" } else { "True" }, "lastProbeTime": null,
        "lastTransitionTime": timestamp(now),
    });
    if let Some(message) = why {
        condition["observedGeneration"] = pod["metadata"]["generation"].clone();
        condition["reason"] = json!("Unschedulable");
        condition["message"] = json!(message);
    }
    super::controllers::set_condition(&mut pod["status"], condition, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_amount_is_nothing() {
        assert_eq!((quantity(&json!("")), quantity(&json!("-1")), quantity(&json!(1))), (0, 0, ONE));
    }

    #[test]
    fn what_has_a_limit_and_no_request_asks_for_as_much() {
        let pod = json!({ "spec": { "containers": [
            { "resources": { "limits": { "nvidia.com/gpu": "1", "cpu": "2" }, "requests": { "cpu": "500m" } } },
            { "resources": { "limits": { "nvidia.com/gpu": 1 } } },
        ] } });
        let all = requests(&pod);
        assert_eq!(all["nvidia.com/gpu"], 2 * ONE);
        assert_eq!(all["cpu"], ONE / 2);
    }
}
