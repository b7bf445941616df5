//! DaemonSets: a pod on every node that fits.

use serde_json::{Value, json};

use super::{Report, generation, is_alive, is_ready, leaves, pod_of, reference, share, spelt, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::scheduler;
use crate::sim::kubernetes::store::Key;

/// The label that tells pods of one template from those of another.
const REVISION: &str = "controller-revision-hash";

/// What pods of a DaemonSet bear on top of what their template says.
const BORNE: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The node that a pod is on, or is meant for.
fn node_of(pod: &Value) -> &str {
    match text(pod, "/spec/nodeName") {
        "" => {
            let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
            text(pod, &format!("{terms}/0/matchFields/0/values/0"))
        }
        node => node,
    }
}

/// The pod that a node would get.
fn pod_for(set: &Value, prefix: &str, node: &str, revision: &str) -> Value {
    let mut pod = pod_of(&set["spec"]["template"], reference(set, "apps/v1", "DaemonSet"), prefix);
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let borne = BORNE.iter().map(|(key, effect)| json!({ "key": key, "operator": "Exists", "effect": effect }));
    tolerations.extend(borne);
    pod["spec"]["tolerations"] = json!(tolerations);
    pod["metadata"]["labels"][REVISION] = json!(revision);
    pod["metadata"]["labels"]["pod-template-generation"] = json!(generation(set).to_string());
    if !node.is_empty() {
        let term = json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] });
        let wanted = "requiredDuringSchedulingIgnoredDuringExecution";
        let terms = &mut pod["spec"]["affinity"]["nodeAffinity"][wanted]["nodeSelectorTerms"];
        match terms.as_array_mut().filter(|terms| !terms.is_empty()) {
            Some(terms) => terms.iter_mut().for_each(|own| own["matchFields"] = term["matchFields"].clone()),
            None => *terms = json!([term]),
        }
    }
    pod
}

impl Cluster {
    pub(super) fn run_daemon_sets(&mut self, now: u64) {
        for (key, set) in self.all("daemonsets.apps") {
            if !leaves(&set) {
                self.run_daemon_set(&key, &set, now);
            }
        }
    }

    fn run_daemon_set(&mut self, key: &Key, set: &Value, now: u64) {
        let uid = text(set, "/metadata/uid").to_owned();
        let prefix = format!("{}-", key.name);
        let revision = spelt(set["spec"]["template"].to_string().as_bytes(), 10);
        let nodes: Vec<Value> = self.store.list("nodes", None).cloned().collect();
        let pods = self.owned("pods", &key.namespace, &uid);
        let fits = |node: &&Value| {
            let pod = pod_for(set, &prefix, "", &revision);
            scheduler::wants(&pod, node) && scheduler::bears(&pod, node)
        };
        let wanted: Vec<String> =
            nodes.iter().filter(fits).map(|node| text(node, "/metadata/name").to_owned()).collect();
        for node in &wanted {
            let there = pods.iter().find(|(_, pod)| node_of(pod) == node);
            match there {
                Some((own, pod)) if !is_alive(pod) && !leaves(pod) => drop(self.store.remove(own)),
                Some(_) => {}
                None => self.make_daemon(key, set, (&prefix, node, &revision), now),
            }
        }
        for (own, pod) in pods.iter().filter(|(_, pod)| !leaves(pod)) {
            if !wanted.iter().any(|node| node_of(pod) == node) {
                self.let_go(own, pod, now);
            }
        }
        if text(set, "/spec/updateStrategy/type") != "OnDelete" {
            self.renew_daemons(set, &pods, &revision, wanted.len() as u64, now);
        }
        self.tell_daemon_set(key, &uid, &revision, &wanted);
    }

    fn make_daemon(&mut self, key: &Key, set: &Value, (prefix, node, revision): (&str, &str, &str), now: u64) {
        let pod = pod_for(set, prefix, node, revision);
        if let Err(why) = self.make_any_pod(&key.namespace, prefix, pod, now) {
            let message = format!("Error creating: {why}");
            let (reason, by) = ("FailedCreate", "daemonset-controller");
            let report = Report { kind: "DaemonSet", version: "apps/v1", reason, message: &message, by, warns: true };
            self.report_on(set, &report, now);
        }
    }

    /// Lets pods of an earlier template go, as many at once as may be missing.
    fn renew_daemons(&mut self, set: &Value, pods: &[(Key, Value)], revision: &str, wanted: u64, now: u64) {
        let missing =
            share(&set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], wanted, true).unwrap_or(1);
        let is_old =
            |pod: &Value| pod["metadata"]["labels"].get(REVISION).is_none_or(|own| own != revision) && !leaves(pod);
        let (useless, useful): (Vec<_>, Vec<_>) =
            pods.iter().filter(|(_, pod)| is_old(pod)).partition(|(_, pod)| !is_ready(pod));
        for (own, pod) in useless {
            self.let_go(own, pod, now);
        }
        let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count() as u64;
        let room = missing.saturating_sub(wanted.saturating_sub(ready));
        for (own, pod) in useful.into_iter().take(usize::try_from(room).unwrap_or(usize::MAX)) {
            self.let_go(own, pod, now);
        }
    }

    fn tell_daemon_set(&mut self, key: &Key, uid: &str, revision: &str, wanted: &[String]) {
        let pods = self.owned("pods", &key.namespace, uid);
        let alive: Vec<&Value> = pods.iter().map(|(_, pod)| pod).filter(|pod| is_alive(pod)).collect();
        let on_wanted = |pod: &&&Value| wanted.iter().any(|node| node_of(pod) == node);
        let scheduled = alive.iter().filter(on_wanted).count() as u64;
        let ready = alive.iter().filter(|pod| is_ready(pod)).count() as u64;
        let updated = alive.iter().filter(|pod| pod["metadata"]["labels"][REVISION] == revision).count() as u64;
        self.store.change(key, |set| {
            let seen = generation(set);
            let mut status = json!({
                "currentNumberScheduled": scheduled, "numberMisscheduled": alive.len() as u64 - scheduled,
                "desiredNumberScheduled": wanted.len(), "numberReady": ready, "observedGeneration": seen,
            });
            super::count(&mut status, "updatedNumberScheduled", updated);
            super::count(&mut status, "numberAvailable", ready);
            super::count(&mut status, "numberUnavailable", (wanted.len() as u64).saturating_sub(ready));
            set["status"] = status;
        });
    }
}
