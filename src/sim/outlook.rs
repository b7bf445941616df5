//! What each machine finds around it, as the world has it at this moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chance::sha256;
use super::guests::{ClusterView, Member, Neighbour, Outlook};
use super::proxmox::Cluster;
use super::world::World;

/// The largest packet that the switches pass, in bytes.
const USUAL_MTU: u32 = 1500;

/// The name that installed systems ask for the time, and where on the web it is.
const TIME: (&str, &str) = ("2.debian.pool.ntp.org", "192.0.2.254");

/// Ports by what answers there.
const GATEWAY: [u16; 4] = [53, 80, 123, 443];
const NODE: [u16; 2] = [22, 8006];
const NFS: [u16; 2] = [111, 2049];

impl World {
    /// Has interfaces brought up where somebody on a node waits for that. Tells whether anybody did.
    pub(super) fn reload_networks(&mut self) -> bool {
        let mut any = false;
        for cluster in &mut self.clusters {
            for name in cluster.nodes.keys().cloned().collect::<Vec<_>>() {
                let Some(machine) = cluster.machines.node(&name).filter(|machine| machine.wants_reload()) else {
                    continue;
                };
                machine.reloaded(cluster.reload_network(&name).err().map(|refusal| refusal.reason));
                any = true;
            }
        }
        any
    }

    /// Tells all machines what is around them now.
    pub(super) fn tell_machines(&mut self, now: u64) {
        let everybody = self.everybody(now);
        let names = self.names();
        for cluster in &self.clusters {
            for name in cluster.nodes.keys() {
                let mut outlook = Outlook { names: names.clone(), ..own(cluster, name) };
                if cluster.is_connected(name) {
                    outlook.neighbours = everybody.clone();
                    outlook.neighbours.retain(|address, _| cluster.outside.reaches(name, address));
                }
                let told = Arc::new(outlook);
                if let Some(machine) = cluster.machines.node(name) {
                    machine.see(&told);
                }
                let around = Outlook { cluster: None, pools: Vec::new(), groups: Vec::new(), ..(*told).clone() };
                let around = Arc::new(around);
                for vmid in
                    cluster.vms.iter().filter(|(_, vm)| vm.node == *name && vm.running.is_some()).map(|(vmid, _)| *vmid)
                {
                    if let Some(machine) = cluster.machines.guest(vmid) {
                        machine.see(&around);
                    }
                }
            }
        }
    }

    /// Everybody who answers on the network of the homelab, and behind its gateway.
    fn everybody(&self, now: u64) -> BTreeMap<String, Neighbour> {
        let mut all = BTreeMap::new();
        let mut add = |address: &str, ports: &[u16]| {
            all.insert(address.to_owned(), Neighbour { mac: mac(address), ports: ports.to_vec(), ..usual() });
        };
        for host in &self.hosts {
            match self.internet.console_of(&host.ip) {
                Some(node) if self.clusters.iter().any(|cluster| cluster.is_on(node)) => add(&host.ip, &[80]),
                Some(_) => {}
                None => add(&host.ip, &[]),
            }
        }
        add(&self.gateway, &GATEWAY);
        for name in self.internet.names() {
            self.internet.addresses(&name).iter().for_each(|address| add(address, &[443]));
        }
        add(TIME.1, &[123]);
        for cluster in &self.clusters {
            for (address, server) in &cluster.outside.servers {
                add(address, if server.exports.is_empty() { &[] } else { &NFS });
            }
            for name in cluster.nodes.keys().filter(|name| cluster.is_connected(name)) {
                cluster.nodes[name].addresses.iter().for_each(|address| add(address, &NODE));
            }
            let runs = cluster.vms.iter().filter(|(_, vm)| vm.running.is_some() && cluster.is_connected(&vm.node));
            for vmid in runs.map(|(vmid, _)| vmid) {
                let file = cluster.machines.file_of(*vmid).unwrap_or_default();
                let mut ports = self.kubernetes.ports(&file);
                if cluster.guest_answers(*vmid, now) {
                    ports.push(22);
                }
                if let Some(address) = cluster.machines.address_of(*vmid) {
                    add(&address, &ports);
                }
            }
        }
        // A node of Kubernetes answers for the addresses of services, beside whoever has them already.
        for service in self.kubernetes.announced() {
            let own = Neighbour { mac: mac(&service.node), ports: service.ports, ..usual() };
            match all.get_mut(&service.address) {
                Some(other) => other.rivals.push(own.mac),
                None => drop(all.insert(service.address, own)),
            }
        }
        all
    }

    /// What the name server of the gateway knows.
    fn names(&self) -> BTreeMap<String, String> {
        let local = self
            .nodes
            .iter()
            .map(|node| (&node.name, &node.ip))
            .chain(self.hosts.iter().map(|host| (&host.name, &host.ip)));
        let local = local.map(|(name, ip)| (format!("{name}.{}", self.search_domain), ip.clone()));
        let far = self.internet.names().into_iter().filter_map(|name| {
            let address = self.internet.addresses(&name).into_iter().next()?;
            Some((name, address))
        });
        local.chain(far).chain([(TIME.0.to_owned(), TIME.1.to_owned())]).collect()
    }
}

/// A hardware address that stands for one of the network.
fn mac(address: &str) -> String {
    let mac = sha256(address);
    format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4])
}

/// Somebody who takes packets of the usual size.
fn usual() -> Neighbour {
    Neighbour { mtu: USUAL_MTU, ..Neighbour::default() }
}

/// What a node sees of itself and of its cluster.
fn own(cluster: &Cluster, name: &str) -> Outlook {
    let Some(node) = cluster.nodes.get(name) else { return Outlook::default() };
    let view = cluster.corosync.as_ref().map(|corosync| {
        let members = cluster.nodes.iter().map(|(other, node)| Member {
            number: node.number,
            address: node.rings.values().next().unwrap_or(&node.ip).clone(),
            votes: node.votes,
            is_heard: cluster.hears(name, other),
            is_local: other == name,
        });
        let mut members: Vec<Member> = members.collect();
        members.sort_by_key(|member| member.number);
        ClusterView {
            name: corosync.name.clone(),
            version: corosync.version,
            is_quorate: cluster.is_quorate(name),
            members,
        }
    });
    let first = |names: &BTreeMap<String, u64>| {
        let mut found: Vec<String> = names.keys().filter_map(|name| Some(name.split('/').next()?.to_owned())).collect();
        found.dedup();
        found
    };
    Outlook { cluster: view, pools: first(&node.pools), groups: first(&node.thin_pools), ..Outlook::default() }
}
