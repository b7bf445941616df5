//! MetalLB: gives services of the type LoadBalancer addresses out of pools, and has a node announce each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Report, has_condition, is_ready, items, leaves, selects, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::nodes::readiness;
use crate::sim::kubernetes::store::Key;

const POOLS: &str = "ipaddresspools.metallb.io";
const ADVERTISEMENTS: &str = "l2advertisements.metallb.io";
const STATES: &str = "servicel2statuses.metallb.io";

/// Nodes with this label announce nothing.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Annotations of services: the addresses or the pool that they want, and the pool that they got one from.
const WANTED: [&str; 2] = ["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];
const POOL: &str = "metallb.io/address-pool";
const FROM: &str = "metallb.io/ip-allocated-from-pool";

/// A pool of addresses.
struct Pool {
    name: String,
    ranges: Vec<(u32, u32)>,
    auto: bool,
    /// Whether addresses that end in 0 or 255 are left out.
    careful: bool,
}

impl Pool {
    fn of(object: &Value) -> Self {
        let ranges = items(object, "/spec/addresses").iter().filter_map(|text| range(text.as_str()?)).collect();
        Pool {
            name: text(object, "/metadata/name").to_owned(),
            ranges,
            auto: object["spec"]["autoAssign"] != false,
            careful: object["spec"]["avoidBuggyIPs"] == true,
        }
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        let number = u32::from(address);
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let careful = self.careful;
        let all = self.ranges.iter().flat_map(|(first, last)| *first..=*last);
        all.filter(move |number| !careful || !matches!(number & 255, 0 | 255)).map(Ipv4Addr::from)
    }
}

/// The first and last address of a range: `10.0.0.1-10.0.0.9` or `10.0.0.0/28`.
fn range(text: &str) -> Option<(u32, u32)> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        return (first <= last).then(|| (first.into(), last.into()));
    }
    let net: ipnet::Ipv4Net = text.trim().parse().ok()?;
    Some((net.network().into(), net.broadcast().into()))
}

/// An address that a service has, and who announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) address: String,
    /// The service.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The address of the node that answers for it.
    pub(crate) node: String,
    /// The ports of the service.
    pub(crate) ports: Vec<u16>,
}

impl Cluster {
    pub(super) fn run_metallb(&mut self, now: u64) {
        let Some(home) = self.metallb_home() else { return };
        let pools: Vec<Pool> = self.store.list(POOLS, Some(&home)).filter(|pool| !leaves(pool)).map(Pool::of).collect();
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (key, service) in self.all("services") {
            for address in addresses(&service) {
                taken.insert(address, format!("{}/{}", key.namespace, key.name));
            }
        }
        for (key, service) in self.all("services") {
            if leaves(&service) {
                continue;
            }
            if wants_address(&service) {
                self.assign(&key, &service, &pools, &mut taken, now);
            } else if !addresses(&service).is_empty() && !self.balances {
                self.store.change(&key, |service| {
                    service["status"]["loadBalancer"] = json!({});
                    if let Some(all) = service["metadata"]["annotations"].as_object_mut() {
                        all.shift_remove(FROM);
                    }
                });
            }
        }
        self.announce(&home, &pools, now);
        self.count_pools(&home, &pools);
    }

    /// The namespace in which MetalLB does its work.
    fn metallb_home(&self) -> Option<String> {
        let is_controller = |one: &&Value| {
            let labels = &one["spec"]["selector"]["matchLabels"];
            labels["app.kubernetes.io/name"] == "metallb"
                && labels["app.kubernetes.io/component"] == "controller"
                && has_condition(one, "Available", "True")
        };
        let found = self.store.list("deployments.apps", None).find(is_controller)?;
        Some(text(found, "/metadata/namespace").to_owned())
    }

    /// Gives a service the address that it is to have.
    fn assign(&mut self, key: &Key, service: &Value, pools: &[Pool], taken: &mut BTreeMap<String, String>, now: u64) {
        let own = format!("{}/{}", key.namespace, key.name);
        let notes = &service["metadata"]["annotations"];
        let told =
            WANTED.iter().find_map(|name| notes[*name].as_str()).or_else(|| service["spec"]["loadBalancerIP"].as_str());
        let is_free = |address: &str, taken: &BTreeMap<String, String>| taken.get(address).is_none_or(|by| *by == own);
        let present = addresses(service).into_iter().next();
        let found: Result<(String, String), String> = match told.map(str::trim).filter(|told| !told.is_empty()) {
            Some(wanted) => {
                match wanted.parse::<Ipv4Addr>().ok().and_then(|address| pools.iter().find(|pool| pool.has(address))) {
                    None => {
                        Err(format!("Failed to allocate IP for \"{own}\": [\"{wanted}\"] is not allowed in config"))
                    }
                    Some(_) if !is_free(wanted, taken) => {
                        let by = taken.get(wanted).cloned().unwrap_or_default();
                        Err(format!(
                            "Failed to allocate IP for \"{own}\": can't change sharing key for \"{own}\", address also in use by {by}"
                        ))
                    }
                    Some(pool) => Ok((wanted.to_owned(), pool.name.clone())),
                }
            }
            None => {
                let wanted = notes[POOL].as_str();
                let usable = |pool: &&Pool| wanted.map_or(pool.auto, |wanted| pool.name == wanted);
                let kept = present.as_ref().and_then(|text| {
                    let address: Ipv4Addr = text.parse().ok()?;
                    let pool = pools
                        .iter()
                        .find(|pool| pool.has(address) && wanted.is_none_or(|wanted| pool.name == wanted))?;
                    Some((text.clone(), pool.name.clone()))
                });
                let fresh = || {
                    pools.iter().filter(usable).find_map(|pool| {
                        let address = pool
                            .addresses()
                            .map(|address| address.to_string())
                            .find(|address| !taken.contains_key(address))?;
                        Some((address, pool.name.clone()))
                    })
                };
                kept.or_else(fresh).ok_or_else(|| format!("Failed to allocate IP for \"{own}\": no available IPs"))
            }
        };
        match found {
            Ok((address, pool)) => {
                let is_new = present.as_deref() != Some(&address);
                taken.retain(|_, by| *by != own);
                taken.insert(address.clone(), own);
                self.store.change(key, |service| {
                    service["status"]["loadBalancer"] = json!({ "ingress": [{ "ip": address, "ipMode": "VIP" }] });
                    service["metadata"]["annotations"][FROM] = json!(pool);
                });
                if is_new {
                    let message = format!("Assigned IP [\"{address}\"]");
                    self.report_service(service, ("IPAllocated", &message), false, "metallb-controller", now);
                }
            }
            Err(why) => {
                self.store.change(key, |service| service["status"]["loadBalancer"] = json!({}));
                taken.retain(|_, by| *by != own);
                self.report_service(service, ("AllocationFailed", &why), true, "metallb-controller", now);
            }
        }
    }

    fn report_service(&mut self, service: &Value, (reason, message): (&str, &str), warns: bool, by: &str, now: u64) {
        self.report_on(service, &Report { kind: "Service", version: "v1", reason, message, by, warns }, now);
    }

    /// Has one node answer for each address that is advertised.
    fn announce(&mut self, home: &str, pools: &[Pool], now: u64) {
        let advertisements: Vec<Value> =
            self.store.list(ADVERTISEMENTS, Some(home)).filter(|one| !leaves(one)).cloned().collect();
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for (key, service) in self.all("services") {
            let Some(address) = addresses(&service).into_iter().next().filter(|_| wants_address(&service)) else {
                continue;
            };
            let pool = pools.iter().find(|pool| address.parse().is_ok_and(|address| pool.has(address)));
            let Some(pool) = pool else { continue };
            let meant = |one: &&Value| {
                let named = items(one, "/spec/ipAddressPools");
                named.is_empty() || named.iter().any(|name| *name == pool.name.as_str())
            };
            let nodes: Vec<String> =
                advertisements.iter().filter(meant).flat_map(|one| self.speakers(home, one)).collect();
            let has_pods = items(&service, "/spec/ports").iter().any(|port| !self.behind(&service, port).is_empty());
            let before = self
                .store
                .list(STATES, Some(home))
                .find(|one| {
                    one["status"]["serviceName"] == key.name.as_str()
                        && one["status"]["serviceNamespace"] == key.namespace.as_str()
                })
                .map(|one| (text(one, "/metadata/name").to_owned(), text(one, "/status/node").to_owned()));
            // Who answers goes on answering; else it is one of them, whichever the address stands for.
            let tag = usize::from(crate::sim::chance::sha256(format!("{}/{}", key.namespace, key.name))[0]);
            let chosen = match &before {
                Some((_, node)) if nodes.contains(node) => Some(node.clone()),
                _ if nodes.is_empty() || !has_pods => None,
                _ => nodes.get(tag % nodes.len()).cloned(),
            };
            let Some(node) = chosen.filter(|_| has_pods) else { continue };
            let name = match &before {
                Some((name, _)) => name.clone(),
                None => format!("l2-{}", super::letters()),
            };
            kept.insert(name.clone());
            if before.is_none_or(|(_, earlier)| earlier != node) {
                let message = format!("announcing from node \"{node}\" with protocol \"layer2\"");
                self.report_service(&service, ("nodeAssigned", &message), false, "metallb-speaker", now);
            }
            let state = json!({
                "kind": "ServiceL2Status", "apiVersion": "metallb.io/v1beta1",
                "metadata": { "generateName": "l2-", "generation": 1, "labels": {
                    "metallb.io/node": node, "metallb.io/service-name": key.name, "metallb.io/service-namespace": key.namespace,
                } },
                "spec": {},
                "status": { "node": node, "serviceName": key.name, "serviceNamespace": key.namespace },
            });
            let place = Key::new(STATES, home, &name);
            self.store.make(&place, state.clone(), now);
            self.store.change(&place, |one| {
                one["status"] = state["status"].clone();
                one["metadata"]["labels"] = state["metadata"]["labels"].clone();
            });
        }
        let gone: Vec<Key> = self
            .store
            .list(STATES, Some(home))
            .map(|one| Key::new(STATES, home, text(one, "/metadata/name")))
            .filter(|key| !kept.contains(&key.name))
            .collect();
        gone.iter().for_each(|key| drop(self.store.remove(key)));
    }

    /// The nodes whose speakers an advertisement means.
    fn speakers(&self, home: &str, advertisement: &Value) -> Vec<String> {
        let selectors = items(advertisement, "/spec/nodeSelectors");
        let speaks = |node: &str| {
            self.store.list("pods", Some(home)).any(|pod| {
                pod["metadata"]["labels"]["app.kubernetes.io/component"] == "speaker"
                    && text(pod, "/spec/nodeName") == node
                    && is_ready(pod)
            })
        };
        let meant = |node: &&Value| {
            let labels = &node["metadata"]["labels"];
            labels.get(EXCLUDED).is_none()
                && readiness(node) == "True"
                && (selectors.is_empty() || selectors.iter().any(|selector| selects(selector, labels)))
        };
        let nodes = self.store.list("nodes", None).filter(meant).map(|node| text(node, "/metadata/name").to_owned());
        nodes.filter(|node| speaks(node)).collect()
    }

    fn count_pools(&mut self, home: &str, pools: &[Pool]) {
        let all: Vec<Ipv4Addr> =
            self.store.list("services", None).flat_map(addresses).filter_map(|text| text.parse().ok()).collect();
        for pool in pools {
            let assigned = all.iter().filter(|address| pool.has(**address)).count();
            let available = pool.addresses().count().saturating_sub(assigned);
            self.store.change(&Key::new(POOLS, home, &pool.name), |object| {
                object["status"] = json!({
                    "assignedIPv4": assigned, "availableIPv4": available, "assignedIPv6": 0, "availableIPv6": 0,
                });
            });
        }
    }

    /// The addresses of services for which a node answers.
    pub(in crate::sim::kubernetes) fn announced(&self) -> Vec<Announced> {
        let mut all = Vec::new();
        for state in self.store.list(STATES, None) {
            let (namespace, name) = (text(state, "/status/serviceNamespace"), text(state, "/status/serviceName"));
            let Some(service) = self.store.get(&Key::new("services", namespace, name)) else { continue };
            let node = self.store.get(&Key::new("nodes", "", text(state, "/status/node")));
            let Some(node) = node.filter(|node| readiness(node) == "True") else { continue };
            let ports = items(service, "/spec/ports").iter();
            let ports: Vec<u16> = ports
                .filter(|port| !self.behind(service, port).is_empty())
                .filter_map(|port| port["port"].as_u64().and_then(|port| u16::try_from(port).ok()))
                .collect();
            for address in addresses(service) {
                let node = text(node, "/status/addresses/0/address").to_owned();
                all.push(Announced {
                    address,
                    namespace: namespace.into(),
                    name: name.into(),
                    node,
                    ports: ports.clone(),
                });
            }
        }
        all
    }
}

fn wants_address(service: &Value) -> bool {
    let class = text(service, "/spec/loadBalancerClass");
    text(service, "/spec/type") == "LoadBalancer" && matches!(class, "" | "metallb" | "metallb.io/metallb")
}

/// The addresses that a service has.
fn addresses(service: &Value) -> Vec<String> {
    let all = items(service, "/status/loadBalancer/ingress").iter();
    all.filter_map(|one| one["ip"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_by_its_ends_or_as_a_network() {
        let pool = Pool::of(
            &json!({ "metadata": { "name": "p" }, "spec": { "addresses": ["10.0.0.254-10.0.1.1", "10.0.2.0/30", "nonsense"], "avoidBuggyIPs": true } }),
        );
        let all: Vec<String> = pool.addresses().map(|address| address.to_string()).collect();
        assert_eq!(all, ["10.0.0.254", "10.0.1.1", "10.0.2.1", "10.0.2.2", "10.0.2.3"]);
        assert!(pool.has("10.0.1.0".parse().unwrap()));
        assert!(!pool.has("10.0.3.0".parse().unwrap()));
    }
}
