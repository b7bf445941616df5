//! Kinds of objects that were defined in the cluster: when they are there.

use serde_json::json;

use super::{has_condition, leaves, set_condition, text};
use crate::sim::kubernetes::cluster::Cluster;

impl Cluster {
    /// Accepts the names of kinds that are new, and tells that they are served.
    pub(super) fn establish_kinds(&mut self, now: u64) {
        for (key, definition) in self.all("customresourcedefinitions.apiextensions.k8s.io") {
            if leaves(&definition) || has_condition(&definition, "Established", "True") {
                continue;
            }
            let is_taken = self.store.list("customresourcedefinitions.apiextensions.k8s.io", None).any(|other| {
                other["metadata"]["name"] != definition["metadata"]["name"]
                    && other["spec"]["group"] == definition["spec"]["group"]
                    && other["spec"]["names"]["kind"] == definition["spec"]["names"]["kind"]
                    && has_condition(other, "NamesAccepted", "True")
            });
            let kind = text(&definition, "/spec/names/kind").to_owned();
            self.store.change(&key, |definition| {
                let names = definition["spec"]["names"].clone();
                let stored: Vec<_> = definition["spec"]["versions"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|version| version["storage"] == true)
                    .map(|version| version["name"].clone())
                    .collect();
                let status = &mut definition["status"];
                let (value, reason, message) = match is_taken {
                    false => ("True", "NoConflicts", "no conflicts found".to_owned()),
                    true => ("False", "KindConflict", format!("\"{kind}\" is already in use")),
                };
                set_condition(
                    status,
                    json!({ "type": "NamesAccepted", "status": value, "reason": reason, "message": message }),
                    now,
                );
                let (value, reason, message) = match is_taken {
                    false => ("True", "InitialNamesAccepted", "the initial names have been accepted"),
                    true => ("False", "NotAccepted", "not all names are accepted"),
                };
                set_condition(
                    status,
                    json!({ "type": "Established", "status": value, "reason": reason, "message": message }),
                    now,
                );
                if !is_taken {
                    status["acceptedNames"] = names;
                    status["storedVersions"] = json!(stored);
                }
            });
        }
    }
}
