//! What is below pods: their logs, and letting them go elsewhere.

use serde_json::{Value, json};

use super::status::{Cause, Refusal};
use super::{Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    /// What a container has printed.
    pub(super) fn log(&self, call: &Call, place: Place<'_>) -> Outcome {
        let name = place.name.unwrap_or_default();
        let key = Key::new("pods", place.namespace.unwrap_or_default(), name);
        let pod = self.store.get(&key).ok_or_else(|| Refusal::not_found(place.kind, name))?;
        let containers: Vec<&str> =
            pod["spec"]["containers"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
        let wanted = call.query.get("container").map(String::as_str).filter(|text| !text.is_empty());
        let container = match (wanted, containers.as_slice()) {
            (Some(wanted), _) if !containers.contains(&wanted) => {
                return Err(Refusal::bad(format!("container {wanted} is not valid for pod {name}")));
            }
            (Some(wanted), _) => wanted,
            (None, [only]) => only,
            (None, several) => {
                let several = several.join(" ");
                return Err(Refusal::bad(format!(
                    "a container name must be specified for pod {name}, choose one of: [{several}]"
                )));
            }
        };
        let lines = match call.query.get("tailLines") {
            None => usize::MAX,
            Some(text) => text.parse::<usize>().map_err(|_| {
                let message = format!("Invalid value: {text}: must be greater than or equal to 0");
                let cause = Cause { reason: "FieldValueInvalid", message, field: "tailLines".into() };
                Refusal::invalid("", "PodLogOptions", name, &[cause])
            })?,
        };
        if pod["spec"]["nodeName"].is_null() {
            return Ok(Reply::text(204, ""));
        }
        if pod["status"]["phase"] == "Pending" {
            let why = "ContainerCreating";
            return Err(Refusal::bad(format!(
                "container \"{container}\" in pod \"{name}\" is waiting to start: {why}"
            )));
        }
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let text = self.known.get(uid).and_then(|known| known.logs.get(container)).cloned().unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        let last: String = all[all.len().saturating_sub(lines)..].iter().map(|line| format!("{line}\n")).collect();
        Ok(Reply::text(200, last))
    }

    /// Lets a pod go, if no budget needs it.
    pub(super) fn evict(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let name = place.name.unwrap_or_default();
        let key = Key::new("pods", place.namespace.unwrap_or_default(), name);
        let pod = self.store.get(&key).cloned().ok_or_else(|| Refusal::not_found(place.kind, name))?;
        let asked = call.object(place.kind)?;
        let options = &asked["deleteOptions"];
        if asked["metadata"]["name"].as_str().is_some_and(|other| other != name) {
            return Err(Refusal::bad("name in URL does not match name in Eviction object"));
        }
        let budgets: Vec<Value> = self
            .store
            .list("poddisruptionbudgets.policy", place.namespace)
            .filter(|budget| {
                let labels = budget["spec"]["selector"]["matchLabels"].as_object();
                labels.is_some_and(|labels| {
                    labels.iter().all(|(name, value)| pod["metadata"]["labels"].get(name) == Some(value))
                })
            })
            .cloned()
            .collect();
        if budgets.len() > 1 {
            return Err(Refusal::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let goes = !pod["metadata"]["deletionTimestamp"].is_null() || pod["status"]["phase"] != "Running";
        if let Some(budget) = budgets.first().filter(|_| !goes) {
            let own = budget["metadata"]["name"].as_str().unwrap_or_default();
            let status = &budget["status"];
            if status["observedGeneration"] != budget["metadata"]["generation"] {
                return Err(Refusal::budget(
                    format!("The disruption budget {own} is still being processed by the server."),
                    Some(10),
                ));
            }
            if status["disruptionsAllowed"].as_u64() == Some(0) {
                let why = format!(
                    "The disruption budget {own} needs {} healthy pods and has {} currently",
                    status["desiredHealthy"], status["currentHealthy"]
                );
                return Err(Refusal::budget(why, None));
            }
        }
        let uid = &pod["metadata"]["uid"];
        if let Some(wanted) = options["preconditions"]["uid"].as_str().filter(|wanted| Some(*wanted) != uid.as_str()) {
            let why = format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {}",
                uid.as_str().unwrap_or_default()
            );
            return Err(Refusal::conflict(place.kind, name, &why));
        }
        let is_dry = call.is_dry() || options["dryRun"].as_array().is_some_and(|all| all.contains(&json!("All")));
        if !is_dry {
            self.let_go(&key, &pod, call.now);
            if let Some(budget) = budgets.first() {
                let key = Key::new(
                    "poddisruptionbudgets.policy",
                    &key.namespace,
                    budget["metadata"]["name"].as_str().unwrap_or_default(),
                );
                self.store.change(&key, |budget| {
                    let left = budget["status"]["disruptionsAllowed"].as_u64().unwrap_or_default().saturating_sub(1);
                    budget["status"]["disruptionsAllowed"] = json!(left);
                });
            }
        }
        Ok(Reply::json(
            201,
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }),
        ))
    }

    /// Has a pod end: where it runs, its kubelet sees to it. Gives it as it is meanwhile, or nothing where it is gone.
    pub(in crate::sim::kubernetes) fn let_go(&mut self, key: &Key, pod: &Value, now: u64) -> Option<Value> {
        self.let_go_within(key, pod, None, now)
    }

    /// The same within a number of seconds, or those that the pod itself tells.
    pub(super) fn let_go_within(&mut self, key: &Key, pod: &Value, grace: Option<u64>, now: u64) -> Option<Value> {
        let runs = !pod["spec"]["nodeName"].is_null()
            && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let grace = grace.or(pod["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(30);
        if !runs || grace == 0 {
            self.store.remove(key);
            return None;
        }
        if pod["metadata"]["deletionTimestamp"].is_null() {
            self.store.change(key, |pod| super::mark(pod, grace, now));
            if let Some(known) = pod["metadata"]["uid"].as_str().and_then(|uid| self.known.get_mut(uid)) {
                known.begin_to_end(now);
            }
        }
        self.store.get(key).cloned()
    }
}
