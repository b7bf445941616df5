//! Roles that are put together of others, which their labels choose.

use serde_json::{Value, json};

use super::{items, leaves, selects};
use crate::sim::kubernetes::api::own_field;
use crate::sim::kubernetes::cluster::Cluster;

const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";

impl Cluster {
    /// Gives roles that are put together the rules of those that they are to have.
    pub(super) fn gather_roles(&mut self, now: u64) {
        let all = self.all(ROLES);
        for (key, role) in all.iter().filter(|(_, role)| role["aggregationRule"].is_object() && !leaves(role)) {
            let mut rules: Vec<Value> = Vec::new();
            for selector in items(role, "/aggregationRule/clusterRoleSelectors") {
                let chosen = all
                    .iter()
                    .filter(|(own, other)| own.name != key.name && selects(selector, &other["metadata"]["labels"]));
                for rule in chosen.flat_map(|(_, other)| items(other, "/rules")) {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
            let wanted = if rules.is_empty() { Value::Null } else { json!(rules) };
            if role["rules"] != wanted {
                self.store.change(key, |role| {
                    role["rules"] = wanted;
                    own_field(role, "clusterrole-aggregation-controller", ROLES, "f:rules", now);
                });
            }
        }
    }
}
