//! Namespaces: what each of them has from its beginning, and how one ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{items, leaves, set_condition};
use crate::sim::kubernetes::api::mark;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    /// Every namespace gets an account and the authority; one that is to go takes along what is in it.
    pub(super) fn keep_namespaces(&mut self, now: u64) {
        for (key, namespace) in self.all("namespaces") {
            if leaves(&namespace) {
                self.end_namespace(&key, now);
                continue;
            }
            let account = json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": {} });
            self.store.make(&Key::new("serviceaccounts", &key.name, "default"), account, now);
            let root = json!({
                "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": { "annotations": { "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters." } },
                "data": { "ca.crt": self.server_ca.pem },
            });
            self.store.make(&Key::new("configmaps", &key.name, "kube-root-ca.crt"), root, now);
        }
    }

    /// Takes out what is in a namespace, and the namespace once nothing is left that somebody holds.
    fn end_namespace(&mut self, key: &Key, now: u64) {
        let content: Vec<Key> =
            self.store.everything().map(|(key, _)| key).filter(|own| own.namespace == key.name).collect();
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        let mut remaining: BTreeMap<String, u64> = BTreeMap::new();
        for own in content {
            let Some(object) = self.store.get(&own) else { continue };
            let finalizers: Vec<String> = items(object, "/metadata/finalizers")
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            if finalizers.is_empty() {
                self.store.remove(&own);
                continue;
            }
            *remaining.entry(format!("{}.", own.resource)).or_default() += 1;
            for finalizer in finalizers {
                *held.entry(finalizer).or_default() += 1;
            }
            if !leaves(object) {
                self.store.change(&own, |object| mark(object, 0, now));
            }
        }
        if remaining.is_empty() {
            self.store.remove(key);
            return;
        }
        self.store.change(key, |namespace| tell(&mut namespace["status"], &remaining, &held, now));
    }
}

/// Tells why a namespace is still there.
fn tell(status: &mut Value, remaining: &BTreeMap<String, u64>, held: &BTreeMap<String, u64>, now: u64) {
    status["phase"] = json!("Terminating");
    let list = |all: &BTreeMap<String, u64>, word: &str| {
        let each: Vec<String> =
            all.iter().map(|(name, count)| format!("{name} {word} {count} resource instances")).collect();
        each.join(", ")
    };
    let left = format!("Some resources are remaining: {}", list(remaining, "has"));
    let stuck = format!("Some content in the namespace has finalizers remaining: {}", list(held, "in"));
    for (kind, value, reason, message) in [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", &left),
        ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &stuck),
    ] {
        set_condition(status, json!({ "type": kind, "status": value, "reason": reason, "message": message }), now);
    }
}
