//! Disruption budgets: how many pods each of them can do without.

use serde_json::{Value, json};

use super::{is_ready, selects, set_condition, share};
use crate::sim::kubernetes::cluster::Cluster;

impl Cluster {
    /// Counts how many pods each budget can do without.
    pub(super) fn watch_budgets(&mut self, now: u64) {
        for (key, budget) in self.all("poddisruptionbudgets.policy") {
            let selector = &budget["spec"]["selector"];
            let pods: Vec<&Value> = self
                .store
                .list("pods", Some(&key.namespace))
                .filter(|pod| selector.is_object() && selects(selector, &pod["metadata"]["labels"]))
                .collect();
            let (all, healthy) = (pods.len() as u64, pods.iter().filter(|pod| is_ready(pod)).count() as u64);
            let least = share(&budget["spec"]["minAvailable"], all, true)
                .or_else(|| share(&budget["spec"]["maxUnavailable"], all, true).map(|most| all.saturating_sub(most)))
                .unwrap_or_default();
            let allowed = healthy.saturating_sub(least);
            self.store.change(&key, |budget| {
                let generation = budget["metadata"]["generation"].clone();
                let status = &mut budget["status"];
                status["observedGeneration"] = generation.clone();
                status["disruptionsAllowed"] = json!(allowed);
                status["currentHealthy"] = json!(healthy);
                status["desiredHealthy"] = json!(least);
                status["expectedPods"] = json!(all);
                let (value, reason) =
                    if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
                let condition = json!({ "type": "DisruptionAllowed", "status": value, "observedGeneration": generation, "reason": reason, "message": "" });
                set_condition(status, condition, now);
            });
        }
    }
}
