//! StatefulSets: pods with names and volumes of their own, one after the other.

use serde_json::{Value, json};

use super::{
    Report, count, generation, has_condition, is_alive, is_ready, items, leaves, number, pod_of, reference, spelt, text,
};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

/// The label that tells pods of one template from those of another.
const REVISION: &str = "controller-revision-hash";

/// A number of a pod beyond all that there can be.
fn ordinal(pod: &Value, set: &str) -> Option<u64> {
    text(pod, "/metadata/name").strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

impl Cluster {
    pub(super) fn run_stateful_sets(&mut self, now: u64) {
        for (key, set) in self.all("statefulsets.apps") {
            if leaves(&set) {
                continue;
            }
            let update = format!("{}-{}", key.name, spelt(set["spec"]["template"].to_string().as_bytes(), 10));
            self.keep_revision(&key, &set, &update, now);
            self.run_stateful_set(&key, &set, &update, now);
            self.tell_stateful_set(&key, &set, &update);
        }
    }

    /// What a template is kept under, so that one can go back to it.
    fn keep_revision(&mut self, key: &Key, set: &Value, name: &str, now: u64) {
        let own = self.owned("controllerrevisions.apps", &key.namespace, text(set, "/metadata/uid"));
        let newest = own.iter().filter_map(|(_, one)| number(one, "/revision")).max().unwrap_or_default();
        let object = json!({
            "kind": "ControllerRevision", "apiVersion": "apps/v1",
            "metadata": {
                "labels": set["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": reference(set, "apps/v1", "StatefulSet"),
            },
            "data": { "spec": { "template": set["spec"]["template"] } }, "revision": newest + 1,
        });
        let place = Key::new("controllerrevisions.apps", &key.namespace, name);
        self.store.make(&place, object, now);
        // One that is wanted again is the newest.
        self.store.change(&place, |one| {
            if number(one, "/revision").unwrap_or_default() < newest {
                one["revision"] = json!(newest + 1);
            }
        });
    }

    fn run_stateful_set(&mut self, key: &Key, set: &Value, update: &str, now: u64) {
        let uid = text(set, "/metadata/uid").to_owned();
        let wanted = number(set, "/spec/replicas").unwrap_or(1);
        let parallel = text(set, "/spec/podManagementPolicy") == "Parallel";
        let pods = self.owned("pods", &key.namespace, &uid);
        let at = |number: u64| pods.iter().find(|(_, pod)| ordinal(pod, &key.name) == Some(number));
        let current = match text(set, "/status/currentRevision") {
            "" => update.to_owned(),
            current => current.to_owned(),
        };
        let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default();
        for number in 0..wanted {
            match at(number) {
                None => {
                    let revision = if number < partition { &current } else { update };
                    self.make_member(key, set, number, revision, now);
                    if !parallel {
                        return;
                    }
                }
                Some((own, pod)) if !is_alive(pod) && !leaves(pod) => {
                    // It has ended, and one of the same name takes its place.
                    self.store.remove(own);
                    return;
                }
                Some((_, pod)) if !parallel && !is_ready(pod) => return,
                Some(_) => {}
            }
        }
        let mut surplus: Vec<&(Key, Value)> =
            pods.iter().filter(|(_, pod)| ordinal(pod, &key.name).is_none_or(|number| number >= wanted)).collect();
        surplus.sort_by_key(|(_, pod)| std::cmp::Reverse(ordinal(pod, &key.name)));
        for (own, pod) in surplus {
            if !leaves(pod) {
                self.let_go(own, pod, now);
            }
            if !parallel {
                return;
            }
        }
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        for number in (partition..wanted).rev() {
            match at(number) {
                Some((_, pod)) if leaves(pod) => return,
                Some((own, pod)) if pod["metadata"]["labels"][REVISION] != update => {
                    self.let_go(own, pod, now);
                    return;
                }
                Some((_, pod)) if !is_ready(pod) => return,
                _ => {}
            }
        }
    }

    /// Makes the pod with a number, and the claims that it has for itself.
    fn make_member(&mut self, key: &Key, set: &Value, number: u64, revision: &str, now: u64) {
        let name = format!("{}-{number}", key.name);
        let template = match self.store.get(&Key::new("controllerrevisions.apps", &key.namespace, revision)) {
            Some(kept) => kept["data"]["spec"]["template"].clone(),
            None => set["spec"]["template"].clone(),
        };
        let mut pod = pod_of(&template, reference(set, "apps/v1", "StatefulSet"), &format!("{}-", key.name));
        pod["metadata"]["labels"][REVISION] = json!(revision);
        pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
        pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!(number.to_string());
        pod["spec"]["hostname"] = json!(name);
        if set["spec"]["serviceName"].is_string() {
            pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
        }
        let mut volumes = items(&pod, "/spec/volumes").to_vec();
        for claim in items(set, "/spec/volumeClaimTemplates") {
            let own = text(claim, "/metadata/name");
            let full = format!("{own}-{name}");
            volumes.retain(|volume| volume["name"] != own);
            volumes.push(json!({ "name": own, "persistentVolumeClaim": { "claimName": full } }));
            let mut labels = claim["metadata"]["labels"].as_object().cloned().unwrap_or_default();
            for (name, value) in set["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten() {
                labels.insert(name.clone(), value.clone());
            }
            let mut object = json!({
                "kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": { "labels": labels },
                "spec": claim["spec"], "status": { "phase": "Pending" },
            });
            let place = Key::new("persistentvolumeclaims", &key.namespace, &full);
            self.store.sign(&place, &mut object);
            // What is admitted here are finalizers alone, which nothing forbids.
            drop(self.admit_made("PersistentVolumeClaim", &place, &mut object));
            self.store.make(&place, object, now);
        }
        if !volumes.is_empty() {
            pod["spec"]["volumes"] = json!(volumes);
        }
        let made = self.make_pod(&key.namespace, &name, pod, now);
        let (reason, message, warns) = match made {
            Ok(()) => ("SuccessfulCreate", format!("create Pod {name} in StatefulSet {} successful", key.name), false),
            Err(why) => {
                ("FailedCreate", format!("create Pod {name} in StatefulSet {} failed error: {why}", key.name), true)
            }
        };
        let by = "statefulset-controller";
        let report = Report { kind: "StatefulSet", version: "apps/v1", reason, message: &message, by, warns };
        self.report_on(set, &report, now);
    }

    fn tell_stateful_set(&mut self, key: &Key, set: &Value, update: &str) {
        let pods = self.owned("pods", &key.namespace, text(set, "/metadata/uid"));
        let wanted = number(set, "/spec/replicas").unwrap_or(1);
        let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default();
        let on_delete = text(set, "/spec/updateStrategy/type") == "OnDelete";
        let alive: Vec<&Value> = pods.iter().map(|(_, pod)| pod).filter(|pod| is_alive(pod)).collect();
        let with =
            |revision: &str| alive.iter().filter(|pod| pod["metadata"]["labels"][REVISION] == revision).count() as u64;
        let ready = alive.iter().filter(|pod| has_condition(pod, "Ready", "True")).count() as u64;
        let updated = with(update);
        let all = alive.len() as u64;
        self.store.change(key, |set| {
            let seen = generation(set);
            let status = &mut set["status"];
            let before = text(status, "/currentRevision").to_owned();
            let done = updated == all && ready == all && all == wanted && partition == 0 && !on_delete;
            let current = if before.is_empty() || done { update.to_owned() } else { before };
            status["observedGeneration"] = json!(seen);
            status["replicas"] = json!(all);
            status["availableReplicas"] = json!(ready);
            count(status, "readyReplicas", ready);
            count(status, "currentReplicas", with(&current));
            count(status, "updatedReplicas", updated);
            status["currentRevision"] = json!(current);
            status["updateRevision"] = json!(update);
            status["collisionCount"] = json!(0);
        });
    }
}
