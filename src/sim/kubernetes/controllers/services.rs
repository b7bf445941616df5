//! Services: an address inside of the cluster, and the pods behind it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{is_ready, items, key_of, leaves, letters, number, selects, text};
use crate::sim::chance::sha256;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};

/// The label that tells whose addresses an EndpointSlice holds.
const SERVICE: &str = "kubernetes.io/service-name";

/// The ports that nodes lend to services.
const NODE_PORTS: std::ops::Range<u64> = 30_000..32_768;

/// The port of a pod that a service leads to.
pub(in crate::sim::kubernetes) fn target_port(pod: &Value, port: &Value) -> Option<u64> {
    let target = &port["targetPort"];
    let Some(name) = target.as_str() else { return target.as_u64().or_else(|| port["port"].as_u64()) };
    let ports = items(pod, "/spec/containers").iter().flat_map(|container| items(container, "/ports"));
    ports.into_iter().find(|one| one["name"] == name).and_then(|one| one["containerPort"].as_u64())
}

impl Cluster {
    pub(super) fn run_services(&mut self, now: u64) {
        for (key, service) in self.all("services") {
            if leaves(&service) || text(&service, "/spec/type") == "ExternalName" {
                continue;
            }
            self.lend_addresses(&key, &service);
            if service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty()) {
                self.keep_endpoints(&key, &service, now);
            }
        }
    }

    /// Gives a service that somebody else put in its place what it has not been given.
    fn lend_addresses(&mut self, key: &Key, service: &Value) {
        let mut lent = service.clone();
        self.lend(&mut lent);
        if lent != *service {
            self.store.put(key, lent);
        }
    }

    /// Gives a service the address and ports that it has not been given.
    pub(in crate::sim::kubernetes) fn lend(&self, service: &mut Value) {
        if text(service, "/spec/type") == "ExternalName" {
            return;
        }
        let needs_ports = matches!(text(service, "/spec/type"), "LoadBalancer" | "NodePort")
            && service["spec"]["allocateLoadBalancerNodePorts"] != false;
        let lacks_port = needs_ports && items(service, "/spec/ports").iter().any(|port| port["nodePort"].is_null());
        if !text(service, "/spec/clusterIP").is_empty() && !lacks_port {
            return;
        }
        let taken: BTreeSet<String> =
            self.store.list("services", None).map(|one| text(one, "/spec/clusterIP").to_owned()).collect();
        let used: BTreeSet<u64> = self
            .store
            .list("services", None)
            .flat_map(|one| items(one, "/spec/ports"))
            .filter_map(|port| port["nodePort"].as_u64())
            .collect();
        let seed = sha256(text(service, "/metadata/uid"));
        let start = u16::from_be_bytes([seed[0], seed[1]]);
        let address = (0..=u16::MAX)
            .map(|more| start.wrapping_add(more).to_be_bytes())
            .filter(|[third, last]| (*third > 0 || *last > 20) && *last != 0 && *last != 255)
            .map(|[third, last]| format!("10.43.{third}.{last}"))
            .find(|address| !taken.contains(address))
            .unwrap_or_default();
        let mut free = NODE_PORTS.skip(usize::from(start) % 2000).filter(|port| !used.contains(port));
        let spec = &mut service["spec"];
        if text(spec, "/clusterIP").is_empty() {
            spec["clusterIP"] = json!(address);
            spec["clusterIPs"] = json!([address]);
        }
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if needs_ports && port["nodePort"].is_null() {
                port["nodePort"] = json!(free.next());
            }
        }
    }

    /// The first port of nodes that a service asks for and another has.
    pub(in crate::sim::kubernetes) fn lent_already(&self, service: &Value) -> Option<(usize, u64)> {
        let uid = text(service, "/metadata/uid");
        let others = self.store.list("services", None).filter(|one| text(one, "/metadata/uid") != uid);
        let used: BTreeSet<u64> =
            others.flat_map(|one| items(one, "/spec/ports")).filter_map(|port| port["nodePort"].as_u64()).collect();
        let own = items(service, "/spec/ports").iter().map(|port| port["nodePort"].as_u64().unwrap_or_default());
        own.enumerate().find(|(_, port)| used.contains(port))
    }

    /// Tells which pods are behind a service.
    fn keep_endpoints(&mut self, key: &Key, service: &Value, now: u64) {
        let selector = json!({ "matchLabels": service["spec"]["selector"] });
        let pods: Vec<Value> = self
            .store
            .list("pods", Some(&key.namespace))
            .filter(|pod| selects(&selector, &pod["metadata"]["labels"]))
            .filter(|pod| !text(pod, "/status/podIP").is_empty())
            .filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
            .cloned()
            .collect();
        let ports = |named: &dyn Fn(&Value, u64) -> Value| -> Vec<Value> {
            let target = |port: &Value| pods.first().and_then(|pod| target_port(pod, port));
            items(service, "/spec/ports").iter().filter_map(|port| Some(named(port, target(port)?))).collect()
        };
        let port = |port: &Value, number: u64| {
            let mut one = json!({ "port": number, "protocol": port["protocol"].as_str().unwrap_or("TCP") });
            if port["name"].is_string() {
                one["name"] = port["name"].clone();
            }
            one
        };
        let all = ports(&port);
        let open = service["spec"]["publishNotReadyAddresses"] == true;
        self.keep_slice(key, service, (&pods, &all, open), now);
        let address = |pod: &Value| {
            json!({
                "ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"],
                "targetRef": { "kind": "Pod", "namespace": key.namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"] },
            })
        };
        let (ready, waiting): (Vec<&Value>, Vec<&Value>) =
            pods.iter().filter(|pod| !leaves(pod)).partition(|pod| is_ready(pod) || open);
        let mut subset = json!({});
        if !ready.is_empty() {
            subset["addresses"] = ready.into_iter().map(address).collect();
        }
        if !waiting.is_empty() {
            subset["notReadyAddresses"] = waiting.into_iter().map(address).collect();
        }
        subset["ports"] = json!(all);
        let has_any = subset["addresses"].is_array() || subset["notReadyAddresses"].is_array();
        let subsets = if has_any { json!([subset]) } else { Value::Null };
        let place = Key::new("endpoints", &key.namespace, &key.name);
        let labels = service["metadata"]["labels"].clone();
        self.store.make(
            &place,
            json!({ "kind": "Endpoints", "apiVersion": "v1", "metadata": { "labels": labels } }),
            now,
        );
        self.store.change(&place, |endpoints| {
            if subsets.is_null() {
                if let Some(map) = endpoints.as_object_mut() {
                    map.shift_remove("subsets");
                }
            } else {
                endpoints["subsets"] = subsets;
            }
        });
    }

    fn keep_slice(&mut self, key: &Key, service: &Value, (pods, ports, open): (&[Value], &[Value], bool), now: u64) {
        let resource = "endpointslices.discovery.k8s.io";
        let known = self
            .store
            .list(resource, Some(&key.namespace))
            .find(|slice| slice["metadata"]["labels"][SERVICE] == key.name.as_str())
            .map(|slice| key_of(resource, slice));
        let place = known.unwrap_or_else(|| Key::new(resource, &key.namespace, &format!("{}-{}", key.name, letters())));
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|pod| {
                let ready = is_ready(pod) || open;
                json!({
                    "addresses": [pod["status"]["podIP"]],
                    "conditions": { "ready": ready, "serving": ready, "terminating": leaves(pod) },
                    "nodeName": pod["spec"]["nodeName"],
                    "targetRef": { "kind": "Pod", "namespace": key.namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"] },
                })
            })
            .collect();
        let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.insert(SERVICE.into(), json!(key.name));
        labels.insert("endpointslice.kubernetes.io/managed-by".into(), json!("endpointslice-controller.k8s.io"));
        let object = json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "labels": labels, "generateName": format!("{}-", key.name), "generation": 1,
                "annotations": { "endpoints.kubernetes.io/last-change-trigger-time": timestamp(now) },
                "ownerReferences": super::reference(service, "v1", "Service"),
            },
            "addressType": "IPv4",
        });
        self.store.make(&place, object, now);
        self.store.change(&place, |slice| {
            slice["endpoints"] = json!(endpoints);
            slice["ports"] = json!(ports);
        });
    }

    /// The pods behind a port of a service that do what they are for, each with its port there.
    pub(in crate::sim::kubernetes) fn behind(&self, service: &Value, port: &Value) -> Vec<(Value, u64)> {
        let Some(selector) = service["spec"]["selector"].as_object().filter(|all| !all.is_empty()) else {
            return Vec::new();
        };
        let selector = json!({ "matchLabels": selector });
        let namespace = text(service, "/metadata/namespace");
        let heard = |pod: &Value| {
            let node = self.store.get(&Key::new("nodes", "", text(pod, "/spec/nodeName")));
            node.is_some_and(|node| crate::sim::kubernetes::nodes::readiness(node) == "True")
        };
        self.store
            .list("pods", Some(namespace))
            .filter(|pod| selects(&selector, &pod["metadata"]["labels"]) && is_ready(pod) && heard(pod))
            .filter_map(|pod| Some((pod.clone(), target_port(pod, port)?)))
            .collect()
    }

    /// The port of a service that is meant by a number or name; the only one where nothing is told.
    pub(in crate::sim::kubernetes) fn port_of(service: &Value, wanted: &str) -> Option<Value> {
        let ports = items(service, "/spec/ports");
        let is_it = |port: &&Value| port["name"] == wanted || number(port, "/port") == wanted.parse().ok();
        match (wanted, ports) {
            ("", [only]) => Some(only.clone()),
            ("", _) => None,
            _ => ports.iter().find(is_it).cloned(),
        }
    }
}
