//! What runs on machines and reaches beyond them: K3s, and programs that want something of the network.

use std::net::Ipv4Addr;

use super::host::errands::{Errand, Told, Trust};
use super::kubernetes::{self, Host};
use super::web::Ask;
use super::world::{Target, World};

impl World {
    /// How much slower than usual things take.
    pub(crate) fn pace(&self) -> f64 {
        self.clusters.first().map_or(1.0, |cluster| cluster.pace)
    }

    /// The guests that run.
    fn running(&self) -> Vec<Host> {
        let mut all = Vec::new();
        for cluster in &self.clusters {
            for (vmid, vm) in cluster.vms.iter().filter(|(_, vm)| vm.running.is_some()) {
                let machine = cluster.machines.guest(*vmid).and_then(|machine| machine.posix());
                let file = cluster.machines.file_of(*vmid);
                if let (Some(machine), Some(file)) = (machine, file) {
                    all.push(Host { file, machine, connected: cluster.is_connected(&vm.node) });
                }
            }
        }
        all
    }

    /// The nodes that are on.
    fn nodes_on(&self) -> Vec<Host> {
        let mut all = Vec::new();
        for cluster in &self.clusters {
            for name in cluster.nodes.keys().filter(|name| cluster.is_on(name)) {
                if let Some(machine) = cluster.machines.node(name).and_then(|machine| machine.posix()) {
                    all.push(Host { file: String::new(), machine, connected: cluster.is_connected(name) });
                }
            }
        }
        all
    }

    /// A site of the web. A console is dark while its node has no power.
    pub(super) fn dial_site(&self, host: &str) -> Target {
        let Some(node) = self.internet.console_of(host) else { return Target::Web(0) };
        let cluster = self.clusters.iter().find(|cluster| cluster.nodes.contains_key(node));
        match cluster.and_then(|cluster| cluster.nodes.get(node).filter(|_| cluster.is_on(node))) {
            Some(node) => Target::Web(node.booted),
            None => Target::Nobody,
        }
    }

    /// What a console answers at ports that it has closed.
    pub(super) fn console_behind(&self, node: &str) -> Target {
        if self.clusters.iter().any(|cluster| cluster.is_on(node)) { Target::Closed } else { Target::Nobody }
    }

    /// The node that a host is, or that the guest with its address is on.
    pub(crate) fn node_behind(&self, host: &str) -> Option<String> {
        if let Some(node) = self.node_called(host) {
            return Some(node.name.clone());
        }
        let address = host.parse::<Ipv4Addr>().ok()?;
        let guests = self
            .clusters
            .iter()
            .flat_map(|cluster| cluster.machines.guests_at(address).filter_map(|vmid| cluster.vms.get(&vmid)));
        guests.filter(|vm| vm.running.is_some()).map(|vm| vm.node.clone()).next()
    }

    /// What answers at the address of a guest.
    pub(super) fn dial_guest(&self, address: Ipv4Addr, port: u16, now: u64) -> Target {
        for cluster in &self.clusters {
            for vmid in cluster.machines.guests_at(address) {
                let Some(running) = cluster.vms.get(&vmid).and_then(|vm| vm.running.as_ref()) else { continue };
                if !cluster.is_connected(&cluster.vms[&vmid].node) {
                    return Target::Nobody;
                }
                let file = cluster.machines.file_of(vmid).unwrap_or_default();
                if let (kubernetes::PORT, Some(run)) = (port, self.kubernetes.server_at(&file)) {
                    return Target::Kubernetes(file, run);
                }
                let up = port == 22 && cluster.guest_answers(vmid, now);
                return match cluster.machines.guest(vmid) {
                    Some(machine) if up => Target::Ssh { machine, node: None, since: running.since },
                    _ => Target::Closed,
                };
            }
        }
        Target::Nobody
    }

    /// What answers at the address of a service.
    pub(super) fn dial_service(&self, address: &str, port: u16) -> Target {
        let all = self.kubernetes.announced();
        match all.into_iter().find(|one| one.address == address) {
            Some(found) if found.ports.contains(&port) => Target::Service(found.address),
            Some(_) => Target::Closed,
            None => Target::Nobody,
        }
    }

    /// Lets those go on who get certificates for clusters. Tells whether anything changed.
    fn run_certificates(&mut self, now: u64) -> bool {
        let signer = self.signer.clone();
        let (pace, is_stuck) = (self.pace(), self.kubernetes.is_stuck());
        let staging = self.kubernetes.staging(now / 1000);
        let mut vouch = |trusted: bool, names: &[String], from: u64, until: u64| match trusted {
            true => signer.as_ref()?.vouch(names, from, until),
            false => staging.as_ref()?.for_names(names, from, until),
        };
        let mut outside = kubernetes::Outside {
            internet: &mut self.internet,
            token: &self.secrets.cloudflare,
            vouch: &mut vouch,
            is_stuck,
            now,
            pace,
        };
        self.kubernetes.run_certificates(&mut outside)
    }

    /// What clusters find around their nodes.
    fn around_clusters(&self) -> kubernetes::Around {
        kubernetes::Around { nfs: self.exports(), ..kubernetes::Around::default() }
    }

    /// Lets K3s go on, and does what programs wait for. Tells whether anything changed.
    pub(super) fn run_kubernetes(&mut self, now: u64) -> bool {
        let hosts = self.running();
        let pace = self.pace();
        let card = self.card_state();
        hosts.iter().for_each(|host| host.twist_card(card));
        self.kubernetes.around = self.around_clusters();
        let mut any = self.kubernetes.settle(&hosts, now, pace);
        if self.kubernetes.wants_certificates() {
            any |= self.run_certificates(now);
        }
        for host in hosts.iter().chain(&self.nodes_on()) {
            for (number, errand) in host.errands() {
                let told = match &errand {
                    Errand::Fetch { url, trust } => self.fetch(&hosts, url, trust, now),
                    other => self.kubernetes.run_errand(host, other, now),
                };
                host.tell(number, told);
                any = true;
            }
        }
        any
    }

    /// Fetches something for a program on a machine: from the web, or from another machine.
    fn fetch(&mut self, hosts: &[Host], url: &str, trust: &Trust, now: u64) -> Told {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (authority, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
        let usual = if scheme == "https" { 443 } else { 80 };
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) => (name, port.parse().unwrap_or(usual)),
            None => (authority, usual),
        };
        if port == kubernetes::PORT && scheme == "https" {
            let file = hosts.iter().find(|host| host.has(name)).map(|host| host.file.clone()).unwrap_or_default();
            return self.kubernetes.fetch(&file, path, name, trust, now);
        }
        if self.kubernetes.announced().iter().any(|one| one.address == name && one.ports.contains(&port)) {
            return match scheme {
                "http" => self.kubernetes.fetch_from(name, port, path, now),
                _ => Told::failed("homelab sim: not simulated: HTTPS to a service for a program of a machine"),
            };
        }
        if !self.internet.has(name, port) {
            return Told::failed("Couldn't connect to server");
        }
        if matches!(trust, Trust::These(_)) && scheme == "https" {
            return Told::failed("unable to get local issuer certificate");
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let ask = Ask {
            host: name.to_ascii_lowercase(),
            method: "GET".into(),
            path: path.to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            ..Ask::default()
        };
        let answer = self.internet.answer(&ask, "");
        let body = answer.location.unwrap_or(answer.body);
        Told { status: answer.status, body: body.into_bytes() }
    }
}
