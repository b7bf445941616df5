//! ReplicaSets: as many pods as they are to be.

use serde_json::{Value, json};

use super::{
    Report, count, drop_condition, generation, is_alive, is_ready, leaves, number, pod_of, reference, selects,
    set_condition, text,
};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    pub(super) fn run_replica_sets(&mut self, now: u64) {
        for (key, set) in self.all("replicasets.apps") {
            if !leaves(&set) {
                self.run_replica_set(&key, &set, now);
            }
        }
    }

    fn run_replica_set(&mut self, key: &Key, set: &Value, now: u64) {
        let uid = text(set, "/metadata/uid").to_owned();
        self.adopt_pods(&key.namespace, set, now);
        let pods = self.owned("pods", &key.namespace, &uid);
        let wanted = number(set, "/spec/replicas").unwrap_or(1);
        let mut alive: Vec<&(Key, Value)> = pods.iter().filter(|(_, pod)| is_alive(pod)).collect();
        let mut failure = None;
        for _ in (alive.len() as u64)..wanted {
            let prefix = format!("{}-", key.name);
            let pod = pod_of(&set["spec"]["template"], reference(set, "apps/v1", "ReplicaSet"), &prefix);
            let (reason, message, warns) = match self.make_any_pod(&key.namespace, &prefix, pod, now) {
                Ok(name) => ("SuccessfulCreate", format!("Created pod: {name}"), false),
                Err(why) => ("FailedCreate", format!("Error creating: {why}"), true),
            };
            let by = "replicaset-controller";
            self.report_on(
                set,
                &Report { kind: "ReplicaSet", version: "apps/v1", reason, message: &message, by, warns },
                now,
            );
            if warns {
                failure = Some(message.trim_start_matches("Error creating: ").to_owned());
                break;
            }
        }
        if alive.len() as u64 > wanted {
            // Those that are of least use go first.
            alive.sort_by_key(|(_, pod)| is_ready(pod));
            let surplus = alive.len().saturating_sub(usize::try_from(wanted).unwrap_or(usize::MAX));
            for (own, pod) in alive.iter().take(surplus) {
                self.let_go(own, pod, now);
            }
        }
        self.count_replicas(key, &uid, failure, now);
    }

    /// Pods that have the labels, and belong to nobody, are taken over.
    fn adopt_pods(&mut self, namespace: &str, set: &Value, _now: u64) {
        let owner = reference(set, "apps/v1", "ReplicaSet");
        let is_free = |pod: &&Value| {
            pod["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
                && is_alive(pod)
                && selects(&set["spec"]["selector"], &pod["metadata"]["labels"])
        };
        let free: Vec<Key> = self
            .store
            .list("pods", Some(namespace))
            .filter(is_free)
            .map(|pod| Key::new("pods", namespace, text(pod, "/metadata/name")))
            .collect();
        for key in free {
            self.store.change(&key, |pod| pod["metadata"]["ownerReferences"] = owner.clone());
        }
    }

    fn count_replicas(&mut self, key: &Key, uid: &str, failure: Option<String>, now: u64) {
        let pods = self.owned("pods", &key.namespace, uid);
        let all = pods.iter().filter(|(_, pod)| is_alive(pod)).count() as u64;
        let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count() as u64;
        let leaving = pods.iter().filter(|(_, pod)| leaves(pod)).count() as u64;
        self.store.change(key, |set| {
            let seen = generation(set);
            let status = &mut set["status"];
            status["replicas"] = json!(all);
            for (field, value) in
                [("fullyLabeledReplicas", all), ("readyReplicas", ready), ("availableReplicas", ready)]
            {
                count(status, field, value);
            }
            status["terminatingReplicas"] = json!(leaving);
            status["observedGeneration"] = json!(seen);
            match failure {
                Some(message) => set_condition(
                    status,
                    json!({ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message }),
                    now,
                ),
                None => drop_condition(status, "ReplicaFailure"),
            }
            if status.get("conditions").and_then(Value::as_array).is_some_and(Vec::is_empty)
                && let Some(map) = status.as_object_mut()
            {
                map.shift_remove("conditions");
            }
        });
    }
}
