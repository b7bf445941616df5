//! Deployments: a ReplicaSet a template, and how the newest comes to have all the pods.

use serde_json::{Value, json};

use super::{
    Report, count, drop_condition, generation, has_condition, items, leaves, number, reference, selects, share,
    template_hash, text,
};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Hand, Key, timestamp};

/// Under which a Deployment and its ReplicaSets tell how often the template was changed.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The label that tells pods of one template from those of another.
const HASH: &str = "pod-template-hash";

/// A ReplicaSet of a Deployment, in numbers.
struct Part {
    key: Key,
    object: Value,
    replicas: u64,
    available: u64,
    is_new: bool,
}

impl Part {
    fn of((key, object): (Key, Value), hash: &str) -> Self {
        Part {
            replicas: number(&object, "/spec/replicas").unwrap_or(1),
            available: number(&object, "/status/availableReplicas").unwrap_or_default(),
            is_new: object["metadata"]["labels"][HASH] == hash,
            key,
            object,
        }
    }
}

/// How many pods there may be beside those that are wanted, and how many of these may be missing.
fn limits(deployment: &Value, wanted: u64) -> (u64, u64) {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let surge = share(&rolling["maxSurge"], wanted, true).unwrap_or_else(|| wanted.div_ceil(4));
    let missing = share(&rolling["maxUnavailable"], wanted, false).unwrap_or(wanted / 4);
    // Without either of them it would never get on.
    (surge, if surge == 0 && missing == 0 { 1 } else { missing })
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Cluster {
    pub(super) fn run_deployments(&mut self, now: u64) {
        for (key, deployment) in self.all("deployments.apps") {
            if !leaves(&deployment) {
                self.run_deployment(&key, &deployment, now);
            }
        }
    }

    fn run_deployment(&mut self, key: &Key, deployment: &Value, now: u64) {
        let hash = template_hash(&deployment["spec"]["template"]);
        let uid = text(deployment, "/metadata/uid").to_owned();
        self.adopt_sets(key, deployment);
        let paused = deployment["spec"]["paused"] == true;
        let own = self.owned("replicasets.apps", &key.namespace, &uid);
        let mut created = false;
        if !paused && !own.iter().any(|(_, set)| set["metadata"]["labels"][HASH] == hash.as_str()) {
            self.make_set(key, deployment, &hash, &own, now);
            created = true;
        }
        let own = self.owned("replicasets.apps", &key.namespace, &uid);
        let parts: Vec<Part> = own.into_iter().map(|one| Part::of(one, &hash)).collect();
        if !created {
            self.number_set(key, deployment, &parts);
            self.roll(deployment, &parts, paused, now);
            self.forget_sets(deployment, &parts);
        }
        self.tell_deployment(key, &uid, &hash, created, now);
    }

    /// ReplicaSets that have the labels, and belong to nobody, are taken over.
    fn adopt_sets(&mut self, key: &Key, deployment: &Value) {
        let owner = reference(deployment, "apps/v1", "Deployment");
        let is_free = |set: &&Value| {
            set["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
                && !leaves(set)
                && selects(&deployment["spec"]["selector"], &set["metadata"]["labels"])
        };
        let free: Vec<Key> = self
            .store
            .list("replicasets.apps", Some(&key.namespace))
            .filter(is_free)
            .map(|set| Key::new("replicasets.apps", &key.namespace, text(set, "/metadata/name")))
            .collect();
        for set in free {
            self.store.change(&set, |set| set["metadata"]["ownerReferences"] = owner.clone());
        }
    }

    /// Makes the ReplicaSet of a template that is new.
    fn make_set(&mut self, key: &Key, deployment: &Value, hash: &str, own: &[(Key, Value)], now: u64) {
        let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
        let (surge, _) = limits(deployment, wanted);
        let others: u64 = own.iter().filter_map(|(_, set)| number(set, "/spec/replicas")).sum();
        let recreates = text(deployment, "/spec/strategy/type") == "Recreate";
        let first = if recreates && others > 0 { 0 } else { (wanted + surge).saturating_sub(others).min(wanted) };
        let next = own.iter().map(|(_, set)| revision(set)).max().unwrap_or_default() + 1;
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let name = format!("{}-{hash}", key.name);
        let object = json!({
            "kind": "ReplicaSet", "apiVersion": "apps/v1",
            "metadata": {
                "labels": template["metadata"]["labels"], "generation": 1,
                "annotations": {
                    "deployment.kubernetes.io/desired-replicas": wanted.to_string(),
                    "deployment.kubernetes.io/max-replicas": (wanted + surge).to_string(),
                    REVISION: next.to_string(),
                },
                "ownerReferences": reference(deployment, "apps/v1", "Deployment"),
            },
            "spec": { "replicas": first, "selector": selector, "template": template },
            "status": { "replicas": 0 },
        });
        self.store.make(&Key::new("replicasets.apps", &key.namespace, &name), object, now);
        self.note_revision(key, next);
        self.note_scaling(deployment, &format!("Scaled up replica set {name} from 0 to {first}"), now);
    }

    /// Notes at a Deployment how often its template was changed: that is written together with its status.
    fn note_revision(&mut self, key: &Key, revision: u64) {
        let hand = self.store.work_as(None);
        let with_status = hand.clone().map(|hand| Hand { with_status: true, ..hand });
        self.store.work_as(with_status);
        self.store.change(key, |deployment| {
            deployment["metadata"]["annotations"][REVISION] = json!(revision.to_string());
        });
        self.store.work_as(hand);
    }

    /// An earlier template that is wanted again has the newest number.
    fn number_set(&mut self, key: &Key, deployment: &Value, parts: &[Part]) {
        let Some(new) = parts.iter().find(|part| part.is_new) else { return };
        let newest = parts.iter().map(|part| revision(&part.object)).max().unwrap_or_default();
        let own = revision(&new.object);
        let next = if own < newest { newest + 1 } else { own };
        if own != next {
            self.store.change(&new.key, |set| set["metadata"]["annotations"][REVISION] = json!(next.to_string()));
        }
        if revision(deployment) != next {
            self.note_revision(key, next);
        }
    }

    /// Gives the newest ReplicaSet more pods, and takes them from the others, as far as that may go in one step.
    fn roll(&mut self, deployment: &Value, parts: &[Part], paused: bool, now: u64) {
        let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
        let all: u64 = parts.iter().map(|part| part.replicas).sum();
        let available: u64 = parts.iter().map(|part| part.available).sum();
        let new = parts.iter().find(|part| part.is_new);
        let others: u64 = all - new.map_or(0, |new| new.replicas);
        let recreates = text(deployment, "/spec/strategy/type") == "Recreate";
        if paused || others == 0 {
            // Only a change of the number goes on, and it concerns whoever has the pods.
            let with_pods: Vec<&Part> = parts.iter().filter(|part| part.replicas > 0).collect();
            let target = match with_pods.as_slice() {
                [] => new,
                [one] => Some(*one),
                _ => None,
            };
            let lingers = |part: &Part| {
                !part.is_new
                    && ["/status/replicas", "/status/terminatingReplicas"]
                        .iter()
                        .any(|field| number(&part.object, field).unwrap_or_default() > 0)
            };
            let waits = recreates && parts.iter().any(lingers);
            if let Some(part) = target.filter(|part| part.replicas != wanted && !waits) {
                self.scale(deployment, part, wanted, now);
            }
            return;
        }
        let Some(new) = new else { return };
        if recreates {
            for part in parts.iter().filter(|part| !part.is_new && part.replicas > 0) {
                self.scale(deployment, part, 0, now);
            }
            return;
        }
        let (surge, missing) = limits(deployment, wanted);
        if new.replicas > wanted {
            self.scale(deployment, new, wanted, now);
        } else if new.replicas < wanted && all < wanted + surge {
            let target = wanted.min(new.replicas + (wanted + surge - all));
            self.scale(deployment, new, target, now);
        }
        let least = wanted.saturating_sub(missing);
        let waiting = new.replicas.saturating_sub(new.available);
        let mut room = all.saturating_sub(least).saturating_sub(waiting);
        let mut spare = available.saturating_sub(least);
        for part in parts.iter().filter(|part| !part.is_new && part.replicas > 0) {
            let useless = part.replicas.saturating_sub(part.available).min(room);
            let useful = (part.replicas - useless).min(spare).min(room - useless);
            room -= useless + useful;
            spare -= useful;
            if useless + useful > 0 {
                self.scale(deployment, part, part.replicas - useless - useful, now);
            }
        }
    }

    fn scale(&mut self, deployment: &Value, part: &Part, target: u64, now: u64) {
        let was = part.replicas;
        self.store.change(&part.key, |set| {
            set["spec"]["replicas"] = json!(target);
            set["metadata"]["generation"] = json!(generation(set) + 1);
        });
        let way = if target > was { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {} from {was} to {target}", part.key.name);
        self.note_scaling(deployment, &message, now);
    }

    fn note_scaling(&mut self, deployment: &Value, message: &str, now: u64) {
        let report = Report {
            kind: "Deployment",
            version: "apps/v1",
            reason: "ScalingReplicaSet",
            message,
            by: "deployment-controller",
            warns: false,
        };
        self.report_on(deployment, &report, now);
    }

    /// Takes out ReplicaSets without pods, beyond those that are to be kept to go back to. And where nothing but the newest
    /// has pods, a Recreate goes on.
    fn forget_sets(&mut self, deployment: &Value, parts: &[Part]) {
        let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
        let keep = number(deployment, "/spec/revisionHistoryLimit").unwrap_or(10) as usize;
        let is_done = parts.iter().any(|part| part.is_new && part.available >= wanted);
        let mut old: Vec<&Part> = parts
            .iter()
            .filter(|part| !part.is_new && part.replicas == 0 && number(&part.object, "/status/replicas") == Some(0))
            .collect();
        old.sort_by_key(|part| revision(&part.object));
        if is_done {
            for part in old.iter().take(old.len().saturating_sub(keep)) {
                self.store.remove(&part.key);
            }
        }
    }

    /// Tells how far a Deployment has come.
    fn tell_deployment(&mut self, key: &Key, uid: &str, hash: &str, created: bool, now: u64) {
        let sets = self.owned("replicasets.apps", &key.namespace, uid);
        let sum = |pointer: &str| sets.iter().filter_map(|(_, set)| number(set, pointer)).sum::<u64>();
        let new = sets.iter().find(|(_, set)| set["metadata"]["labels"][HASH] == hash).map(|(_, set)| set);
        let figures = Figures {
            replicas: sum("/status/replicas"),
            updated: new.and_then(|set| number(set, "/status/replicas")).unwrap_or_default(),
            ready: sum("/status/readyReplicas"),
            available: sum("/status/availableReplicas"),
            leaving: sum("/status/terminatingReplicas"),
            name: new.map(|set| text(set, "/metadata/name").to_owned()).unwrap_or_default(),
            failure: new
                .and_then(|set| items(set, "/status/conditions").iter().find(|one| one["type"] == "ReplicaFailure"))
                .cloned(),
            created,
        };
        let Some(before) = self.store.get(key).cloned() else { return };
        let progressed = self.progressed.get(uid).copied();
        let mut progress = progressed.unwrap_or(now);
        self.store.change(key, |deployment| figures.tell(deployment, &before, &mut progress, now));
        self.progressed.insert(uid.to_owned(), progress);
    }
}

/// How many pods of each sort a Deployment has.
struct Figures {
    replicas: u64,
    updated: u64,
    ready: u64,
    available: u64,
    leaving: u64,
    /// The newest ReplicaSet.
    name: String,
    failure: Option<Value>,
    created: bool,
}

impl Figures {
    fn tell(&self, deployment: &mut Value, before: &Value, progress: &mut u64, now: u64) {
        let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
        let (_, missing) = limits(deployment, wanted);
        let seen = generation(deployment);
        let limit = number(deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let paused = deployment["spec"]["paused"] == true;
        let status = &mut deployment["status"];
        status["observedGeneration"] = json!(seen);
        for (field, value) in [
            ("replicas", self.replicas),
            ("updatedReplicas", self.updated),
            ("readyReplicas", self.ready),
            ("availableReplicas", self.available),
            ("unavailableReplicas", self.replicas.max(wanted).saturating_sub(self.available)),
        ] {
            count(status, field, value);
        }
        status["terminatingReplicas"] = json!(self.leaving);
        let enough = self.available >= wanted.saturating_sub(missing);
        let name = &self.name;
        if self.created && !paused {
            let message = format!("Created new replica set \"{name}\"");
            dated(status, ("Progressing", "True", "NewReplicaSetCreated", &message), now);
        }
        let (value, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        dated(status, ("Available", value, reason, message), now);
        match &self.failure {
            Some(failure) => {
                let message = text(failure, "/message").to_owned();
                dated(status, ("ReplicaFailure", "True", "FailedCreate", &message), now);
            }
            None => drop_condition(status, "ReplicaFailure"),
        }
        if paused {
            dated(status, ("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"), now);
            return;
        }
        // Who has come to the end of a rollout stays there, whatever becomes of its pods.
        let is_through = items(before, "/status/conditions")
            .iter()
            .any(|one| one["type"] == "Progressing" && one["reason"] == "NewReplicaSetAvailable");
        if is_through && self.replicas == self.updated && !self.created {
            *progress = now;
            return;
        }
        let is_done = self.updated == wanted && self.replicas == wanted && self.available == wanted;
        let moved = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
            .iter()
            .any(|field| status.get(*field) != before["status"].get(*field));
        let was_seen = number(before, "/status/observedGeneration") == Some(seen);
        let timed_out = has_condition(before, "Progressing", "False");
        if self.created || moved || !was_seen {
            *progress = now;
        }
        if is_done {
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            dated(status, ("Progressing", "True", "NewReplicaSetAvailable", &message), now);
        } else if self.created {
            // That was told.
        } else if now >= *progress + limit * 1000 {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            dated(status, ("Progressing", "False", "ProgressDeadlineExceeded", &message), now);
        } else if moved
            || (!timed_out && items(before, "/status/conditions").iter().all(|one| one["type"] != "Progressing"))
        {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            dated(status, ("Progressing", "True", "ReplicaSetUpdated", &message), now);
        }
    }
}

/// Puts in a condition that also tells when it was last looked at anew. One that says something else stands behind the others.
fn dated(status: &mut Value, (kind, value, reason, message): (&str, &str, &str, &str), now: u64) {
    let all = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    if all.iter().any(|one| {
        one["type"] == kind && one["status"] == value && one["reason"] == reason && one["message"] == message
    }) {
        return;
    }
    let (own, mut others): (Vec<Value>, Vec<Value>) = all.into_iter().partition(|one| one["type"] == kind);
    let time = json!(timestamp(now));
    let passed = own.first().filter(|own| own["status"] == value).map(|own| own["lastTransitionTime"].clone());
    others.push(json!({
        "type": kind, "status": value, "lastUpdateTime": time, "lastTransitionTime": passed.unwrap_or(time.clone()),
        "reason": reason, "message": message,
    }));
    status["conditions"] = json!(others);
}
