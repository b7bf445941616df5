//! Quotas: what they allow, and what there is.

use serde_json::json;

use super::MANAGER;
use crate::sim::kubernetes::api::QUOTAS;
use crate::sim::kubernetes::cluster::Cluster;

impl Cluster {
    /// Counts what is in the namespaces that have quotas. What comes is counted as it is let in, by the server itself.
    pub(super) fn count_quotas(&mut self, now: u64) {
        for (key, quota) in self.all(QUOTAS) {
            let hard = &quota["spec"]["hard"];
            let used = self.used(&key.namespace, hard);
            let same = quota["status"]["hard"] == *hard;
            self.work_as(if same { "kube-apiserver" } else { MANAGER }, now);
            self.store.change(&key, |quota| quota["status"] = json!({ "hard": hard, "used": used }));
        }
        self.rest_hand();
    }
}
