//! What every cluster of K3s has from its beginning.

use serde_json::{Value, json};

use super::api::status::Refusal;
use super::api::{Call, Outcome, Place};
use super::cluster::Cluster;
use super::flags::Settings;
use super::store::Key;

impl Cluster {
    /// Puts in what is there from the beginning, once.
    pub(super) fn furnish(&mut self, _settings: &Settings, _version: &str, now: u64) {
        if self.is_furnished {
            return;
        }
        self.is_furnished = true;
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
                "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
            });
            self.store.make(&Key::new("namespaces", "", name), namespace, now);
            let account = json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": {} });
            self.store.make(&Key::new("serviceaccounts", name, "default"), account, now);
            let root = json!({
                "kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": { "ca.crt": self.server_ca.pem },
            });
            self.store.make(&Key::new("configmaps", name, "kube-root-ca.crt"), root, now);
        }
        self.store.make(&Key::new("services", "default", "kubernetes"), kubernetes(), now);
    }

    /// Where the API is said to be.
    pub(super) fn address(&self) -> String {
        let first = self.members.first().map(|member| member.address.as_str()).unwrap_or("127.0.0.1");
        format!("{first}:{}", super::PORT)
    }

    /// Whether somebody measures what nodes and pods use.
    pub(super) fn has_metrics(&self) -> bool {
        false
    }

    /// Tells what nodes or pods use.
    pub(super) fn measured(&self, _: &Call, _: Place<'_>) -> Outcome {
        Err(Refusal::unavailable())
    }
}

/// The service of the API.
fn kubernetes() -> Value {
    json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": { "labels": { "component": "apiserver", "provider": "kubernetes" } },
        "spec": {
            "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443 }],
            "clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
        "status": { "loadBalancer": {} },
    })
}
