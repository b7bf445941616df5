//! How a machine becomes a node, and what a node is seen to be.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::cluster::{Cluster, Datastore, Member};
use super::flags::{Role, Settings};
use super::life::Instance;
use super::store::{Key, timestamp};
use super::{Host, disk};
use crate::sim::chance::{hex, sha256};

/// Under which K3s notes which member of etcd a node is.
pub(super) const MEMBER: &str = "etcd.k3s.cattle.io/node-name";

/// The labels below `kubernetes.io` that a node may give itself.
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// The labels among these that no node may give itself.
pub(super) fn foreign_labels(labels: &[String]) -> Vec<String> {
    let key = |label: &String| label.split('=').next().unwrap_or_default().to_owned();
    let is_foreign = |key: &String| {
        let Some((domain, _)) = key.split_once('/') else { return false };
        let of_kubernetes =
            ["kubernetes.io", "k8s.io"].iter().any(|of| domain == *of || domain.ends_with(&format!(".{of}")));
        let own = ["kubelet.kubernetes.io", "node.kubernetes.io"]
            .iter()
            .any(|of| domain == *of || domain.ends_with(&format!(".{of}")));
        of_kubernetes && !own && !OWN_LABELS.contains(&key.as_str())
    };
    labels.iter().map(key).filter(is_foreign).collect()
}

/// A taint as flags have it: `key=value:effect`.
fn taint(text: &str) -> Option<Value> {
    let (key, effect) = text.rsplit_once(':')?;
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    let mut taint = json!({ "key": key });
    if !value.is_empty() {
        taint["value"] = json!(value);
    }
    taint["effect"] = json!(effect);
    Some(taint)
}

fn owned(of: &str, subresource: &str, fields: Value, now: u64) -> Value {
    let mut entry = json!({
        "manager": of, "operation": "Update", "apiVersion": "v1", "time": timestamp(now),
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    if !subresource.is_empty() {
        entry["subresource"] = json!(subresource);
    }
    entry
}

/// Every key of a map as a field that somebody owns.
fn keys(map: &Map<String, Value>) -> Value {
    let mut fields = json!({ ".": {} });
    for key in map.keys() {
        fields[format!("f:{key}")] = json!({});
    }
    fields
}

impl Cluster {
    /// Lets a machine in as the node that it says it is, or tells why not.
    pub(super) fn admit(&mut self, host: &Host, instance: &Instance, now: u64) -> Result<(), String> {
        let password = hex(&sha256(disk::password(host)));
        let secret = Key::new("secrets", "kube-system", &format!("{}.node-password.k3s", instance.node));
        let known = self.store.get(&secret).and_then(|secret| secret["data"]["hash"].as_str().map(str::to_owned));
        let hash = BASE64_STANDARD.encode(&password);
        if known.as_ref().is_some_and(|known| *known != hash) {
            return Err("Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag".into());
        }
        let kept = json!({ "kind": "Secret", "apiVersion": "v1", "metadata": {}, "immutable": true, "data": { "hash": hash }, "type": "Opaque" });
        self.store.make(&secret, kept, now);
        let key = Key::new("nodes", "", &instance.node);
        if self.store.get(&key).is_none() {
            self.register(&key, instance, now);
        }
        self.describe(&key, host, instance, now);
        let lease = json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {},
            "spec": { "holderIdentity": instance.node, "leaseDurationSeconds": 40, "renewTime": timestamp(now).replace('Z', ".000000Z") },
        });
        self.store.make(&Key::new("leases.coordination.k8s.io", "kube-node-lease", &instance.node), lease, now);
        self.seen.insert(instance.node.clone(), now);
        Ok(())
    }

    /// Makes the node: what it gives itself, it gives itself here alone.
    fn register(&mut self, key: &Key, instance: &Instance, now: u64) {
        let node = &instance.node;
        let mut labels = Map::new();
        for (name, value) in [
            ("beta.kubernetes.io/arch", "amd64"),
            ("beta.kubernetes.io/instance-type", "k3s"),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/hostname", node),
            ("kubernetes.io/os", "linux"),
            ("node.kubernetes.io/instance-type", "k3s"),
        ] {
            labels.insert(name.to_owned(), json!(value));
        }
        for label in instance.settings.list("node-label") {
            let (name, value) = label.split_once('=').unwrap_or((&label, ""));
            labels.insert(name.to_owned(), json!(value));
        }
        let kubelet = owned("k3s", "", json!({ "f:metadata": { "f:labels": keys(&labels) } }), now);
        if instance.role == Role::Server {
            labels.insert("node-role.kubernetes.io/control-plane".into(), json!("true"));
            if self.datastore == Datastore::Etcd {
                labels.insert("node-role.kubernetes.io/etcd".into(), json!("true"));
            }
        }
        let mut used: Vec<u64> = Vec::new();
        for other in self.store.list("nodes", None) {
            let third: Option<u64> =
                other["spec"]["podCIDR"].as_str().and_then(|text| text.split('.').nth(2)?.parse().ok());
            used.extend(third);
        }
        let number = (0..).find(|number| !used.contains(number)).unwrap_or_default();
        let cidr = format!("10.42.{number}.0/24");
        let mut spec = json!({
            "podCIDR": cidr, "podCIDRs": [cidr], "providerID": format!("k3s://{node}"),
        });
        let mut taints: Vec<Value> =
            instance.settings.whole("node-taint").iter().filter_map(|text| taint(text)).collect();
        taints.push(json!({ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }));
        spec["taints"] = json!(taints);
        let object = json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {
                "name": node, "labels": labels, "finalizers": ["wrangler.cattle.io/node"], "managedFields": [kubelet],
            },
            "spec": spec, "status": {},
        });
        self.store.make(key, object, now);
    }

    /// Writes down what a node is by now.
    fn describe(&mut self, key: &Key, host: &Host, instance: &Instance, now: u64) {
        let facts = host.with(|machine| {
            (
                machine.processors,
                machine.memory_kib,
                machine.disk_bytes,
                machine.kernel.clone(),
                machine.fs.text("/etc/machine-id"),
            )
        });
        let (processors, memory, bytes, kernel, machine_id) = facts;
        let room = json!({
            "cpu": processors.to_string(), "ephemeral-storage": format!("{}Ki", bytes / 1024),
            "hugepages-1Gi": "0", "hugepages-2Mi": "0", "memory": format!("{memory}Ki"), "pods": pods(&instance.settings),
        });
        let mut annotations: BTreeMap<&str, String> = BTreeMap::from([
            ("flannel.alpha.coreos.com/backend-type", "vxlan".into()),
            ("flannel.alpha.coreos.com/kube-subnet-manager", "true".into()),
            ("flannel.alpha.coreos.com/public-ip", instance.address.clone()),
            ("k3s.io/hostname", instance.node.clone()),
            ("k3s.io/internal-ip", instance.address.clone()),
            ("node.alpha.kubernetes.io/ttl", "0".into()),
            ("volumes.kubernetes.io/controller-managed-attach-detach", "true".into()),
        ]);
        if let Some(member) = &instance.member {
            annotations.insert(MEMBER, member.clone());
            annotations.insert("etcd.k3s.cattle.io/node-address", instance.address.clone());
        }
        let info = json!({
            "machineID": machine_id.trim(), "systemUUID": machine_id.trim(), "bootID": machine_id.trim(),
            "kernelVersion": kernel, "osImage": host.os(), "containerRuntimeVersion": "containerd://2.3.0-k3s1",
            "kubeletVersion": instance.version, "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
        });
        let member = instance.member.is_some();
        self.store.change(key, |node| {
            for (name, value) in annotations {
                node["metadata"]["annotations"][name] = json!(value);
            }
            let finalizer = json!("wrangler.cattle.io/managed-etcd-controller");
            if let Some(all) = node["metadata"]["finalizers"].as_array_mut().filter(|all| member && !all.contains(&finalizer)) {
                all.push(finalizer);
            }
            let status = &mut node["status"];
            status["capacity"] = room.clone();
            status["allocatable"] = room;
            status["addresses"] = json!([
                { "type": "InternalIP", "address": instance.address }, { "type": "Hostname", "address": instance.node },
            ]);
            status["daemonEndpoints"] = json!({ "kubeletEndpoint": { "Port": 10250 } });
            status["nodeInfo"] = info;
            if status["conditions"].is_null() {
                status["conditions"] = super::nodes::fresh(now);
                let fields = json!({ "f:status": { "f:addresses": {}, "f:allocatable": {}, "f:capacity": {}, "f:conditions": {}, "f:nodeInfo": {} } });
                if let Some(all) = node["metadata"]["managedFields"].as_array_mut() {
                    all.push(owned("k3s", "status", fields, now));
                }
            }
        });
    }

    /// Puts in the node of a member that is not there any more.
    pub(super) fn leave_behind(&mut self, member: &Member, now: u64) {
        let instance = Instance {
            node: member.node.clone(),
            address: member.address.clone(),
            member: Some(member.name.clone()),
            ..Instance::default()
        };
        let key = Key::new("nodes", "", &member.node);
        self.register(&key, &instance, now);
        self.store.change(&key, |node| {
            node["metadata"]["annotations"][MEMBER] = json!(member.name);
            node["metadata"]["annotations"]["etcd.k3s.cattle.io/node-address"] = json!(member.address);
            node["status"]["conditions"] = super::nodes::unknown(now);
            node["status"]["addresses"] = json!([
                { "type": "InternalIP", "address": member.address }, { "type": "Hostname", "address": member.node },
            ]);
        });
    }
}

/// How many pods a node takes.
fn pods(settings: &Settings) -> String {
    let told = settings.whole("kubelet-arg").iter().find_map(|arg| arg.strip_prefix("max-pods=").map(str::to_owned));
    told.unwrap_or_else(|| "110".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_not_give_itself_a_role() {
        let labels = [
            "homelab/gpu=true",
            "nvidia.com/gpu.present=true",
            "node-role.kubernetes.io/gpu=true",
            "node.kubernetes.io/x=1",
        ];
        assert_eq!(foreign_labels(&labels.map(str::to_owned)), ["node-role.kubernetes.io/gpu"]);
    }

    #[test]
    fn a_taint_has_a_key_an_effect_and_maybe_a_value() {
        assert_eq!(taint("a=b:NoSchedule"), Some(json!({ "key": "a", "value": "b", "effect": "NoSchedule" })));
        assert_eq!(taint("a:NoExecute"), Some(json!({ "key": "a", "effect": "NoExecute" })));
        assert_eq!(taint("a"), None);
    }
}
