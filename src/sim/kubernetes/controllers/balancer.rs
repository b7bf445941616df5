//! The load balancer of K3s, where nobody has switched it off: a port on every node for each service that wants one.

use serde_json::{Value, json};

use super::{is_ready, leaves, reference, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    pub(super) fn balance(&mut self, now: u64) {
        if !self.balances {
            return;
        }
        for (key, service) in self.all("services") {
            let wants =
                text(&service, "/spec/type") == "LoadBalancer" && service["spec"]["loadBalancerClass"].is_null();
            if !wants || leaves(&service) {
                continue;
            }
            let tag: String = text(&service, "/metadata/uid").chars().take(8).collect();
            let name = format!("svclb-{}-{tag}", key.name);
            let labels = json!({ "app": name, "svccontroller.k3s.cattle.io/svcname": key.name });
            let set = json!({
                "kind": "DaemonSet", "apiVersion": "apps/v1",
                "metadata": { "labels": labels, "generation": 1, "ownerReferences": reference(&service, "v1", "Service") },
                "spec": {
                    "selector": { "matchLabels": { "app": name } },
                    "template": { "metadata": { "labels": labels }, "spec": {
                        "containers": [{ "name": "lb-tcp-80", "image": "rancher/klipper-lb:v0.4.13" }],
                        "tolerations": [
                            { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
                            { "key": "CriticalAddonsOnly", "operator": "Exists" },
                        ],
                    } },
                    "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
                },
                "status": {},
            });
            self.store.make(&Key::new("daemonsets.apps", "kube-system", &name), set, now);
            let mut addresses: Vec<Value> = self
                .store
                .list("pods", Some("kube-system"))
                .filter(|pod| pod["metadata"]["labels"]["app"] == name.as_str() && is_ready(pod))
                .map(|pod| json!({ "ip": pod["status"]["hostIP"], "ipMode": "VIP" }))
                .collect();
            addresses.sort_by_key(ToString::to_string);
            self.store.change(&key, |service| {
                service["status"]["loadBalancer"] =
                    if addresses.is_empty() { json!({}) } else { json!({ "ingress": addresses }) };
            });
        }
    }
}
