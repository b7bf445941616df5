//! The whole simulated world, as it lies on disk: one file, and beside it one for each machine, which are large and
//! change on their own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::boards;
use super::guests::{NodeSpec, Setup, SharedMachine, Workshop};
use super::kubernetes::Kubernetes;
use super::oddities;
use super::proxmox::Cluster;
use super::seed::{HostSeed, NodeSeed, Scenario, Seed};
use super::tls::Certificates;
use super::web::{Internet, Signer};
use crate::error::{Class, Error, Result};

/// The form of the file. A world of another form cannot be read.
const VERSION: u32 = 5;

/// The file's name in the simulator's folder.
const FILE: &str = "world.json";

/// The folder of the machines' files.
const MACHINES: &str = "machines";

/// The world: clusters, or nodes alone, and the other machines of the network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct World {
    version: u32,
    /// What is odd about it.
    #[serde(default)]
    pub(super) scenario: Scenario,
    /// The nodes in the order of the seed.
    pub(crate) nodes: Vec<NodeSeed>,
    pub(crate) search_domain: String,
    pub(crate) gateway: String,
    /// The bridges that nodes are installed with.
    pub(crate) bridges: Vec<String>,
    pub(crate) hosts: Vec<HostSeed>,
    /// Directories of file servers beside those of the storages, as `server:/path`.
    #[serde(default)]
    pub(super) exports: Vec<String>,
    pub(crate) clusters: Vec<Cluster>,
    /// What is on the web.
    #[serde(default)]
    pub(crate) internet: Internet,
    /// What runs K3s on its machines, and the clusters that those are.
    #[serde(default)]
    pub(crate) kubernetes: Kubernetes,
    pub(crate) secrets: Secrets,
    /// What nodes are made of whose machines are still to be made.
    #[serde(skip)]
    setups: BTreeMap<String, Setup>,
    #[serde(skip)]
    pub(super) certificates: Option<Arc<Certificates>>,
    /// What vouches for names on the web.
    #[serde(skip)]
    pub(super) signer: Option<Arc<Signer>>,
    /// Counts the moments at which something may have gone that connections lead to.
    #[serde(skip)]
    moments: watch::Sender<u64>,
}

/// What the files of all versions have.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// What the simulator knows and the caller must prove to know.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) root_password: String,
    pub(crate) token: String,
    /// The token of the service that keeps the zones.
    #[serde(default)]
    pub(crate) cloudflare: String,
    /// The token of the service that keeps the repository.
    #[serde(default)]
    pub(crate) github: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// What is at an address.
pub(crate) enum Target {
    /// The API of a node, and since when it is up.
    Api(String, u64),
    /// The SSH server of a machine.
    Ssh {
        /// The machine.
        machine: SharedMachine,
        /// The node that it is, where it is no guest.
        node: Option<String>,
        /// Since when it is up.
        since: u64,
    },
    /// A server of Kubernetes, by the file of its machine, and which run of it.
    Kubernetes(String, u64),
    /// A site of the web, and since when it is there.
    Web(u64),
    /// The address of a service of Kubernetes.
    Service(String),
    /// The API of a node, which is being started again: it takes connections and ends them at once.
    Restarting,
    /// A machine that has this port closed, or is not up yet.
    Closed,
    /// Nobody.
    Nobody,
}

impl Target {
    /// Since when it is up. A connection to what was up before leads nowhere.
    pub(crate) fn since(&self) -> Option<u64> {
        match self {
            Target::Api(_, since) | Target::Kubernetes(_, since) | Target::Ssh { since, .. } | Target::Web(since) => {
                Some(*since)
            }
            // Which pod answers is found out with each request.
            Target::Service(_) => Some(0),
            Target::Restarting | Target::Closed | Target::Nobody => None,
        }
    }
}

impl World {
    /// Makes the world of a seed.
    pub(crate) fn found(seed: &Seed, certificates: &Certificates, secrets: Secrets) -> Result<Self> {
        Ok(World {
            version: VERSION,
            scenario: seed.scenario,
            nodes: seed.nodes.clone(),
            search_domain: seed.search_domain.clone(),
            gateway: seed.gateway.clone(),
            bridges: if seed.bridges.is_empty() { vec!["vmbr0".into()] } else { seed.bridges.clone() },
            hosts: oddities::hosts(seed),
            exports: seed.exports.clone(),
            clusters: super::proxmox::found(seed, certificates, &secrets)?,
            internet: oddities::internet(seed),
            kubernetes: Kubernetes::found(seed.scenario),
            setups: seed.nodes.iter().map(|node| (node.name.clone(), boards::setup(seed, &node.name))).collect(),
            secrets,
            certificates: None,
            signer: None,
            moments: watch::Sender::default(),
        })
    }

    /// Reads the world from its folder; `None` when there is none yet.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path, error)),
        };
        // What else is in a file of another form cannot be known.
        let Form { version } = serde_json::from_str(&text).map_err(|error| unusable(&path, error))?;
        if version != VERSION {
            return Err(unusable(
                &path,
                format!("it was made by another version: its form is {version}, not {VERSION}"),
            ));
        }
        Ok(Some(serde_json::from_str(&text).map_err(|error| unusable(&path, error))?))
    }

    /// The scenario of the world in a folder; `None` where there is no world, or one that cannot be read.
    pub(crate) fn scenario_of(dir: &Path) -> Option<Scenario> {
        #[derive(Deserialize)]
        struct Kind {
            scenario: Scenario,
        }
        let text = fs::read_to_string(dir.join(FILE)).ok()?;
        Some(serde_json::from_str::<Kind>(&text).ok()?.scenario)
    }

    /// All its machines, by the names of their files.
    pub(crate) fn machines(&self) -> Vec<(String, SharedMachine)> {
        self.clusters.iter().flat_map(|cluster| cluster.machines.all()).collect()
    }

    /// The text of its file.
    pub(crate) fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Class::Bug, "simulator: the world cannot be written").cause(error))
    }

    /// The nodes of each cluster.
    pub(crate) fn families(&self) -> Vec<Vec<NodeSeed>> {
        let mut families = Vec::new();
        for cluster in &self.clusters {
            let own = self.nodes.iter().filter(|node| cluster.nodes.contains_key(&node.name));
            families.push(own.cloned().collect());
        }
        families
    }

    /// Brings all machines to life, those that have been saved from their files in the folder.
    pub(crate) fn attach(
        &mut self,
        dir: &Path,
        certificates: &Arc<Certificates>,
        workshop: Option<Arc<dyn Workshop>>,
        authorized_keys: &[String],
    ) -> Result<()> {
        self.certificates = Some(Arc::clone(certificates));
        let saved = |file: &str| {
            let path = machine_file(dir, file);
            fs::read_to_string(&path).map_err(|error| unusable(&path, error))
        };
        let specs: Vec<NodeSpec> = self.nodes.iter().map(|node| self.spec(node, authorized_keys)).collect();
        for cluster in &mut self.clusters {
            let own: Vec<NodeSpec> =
                specs.iter().filter(|spec| cluster.nodes.contains_key(&spec.name)).cloned().collect();
            cluster.machines.attach(workshop.clone(), &own, &saved)?;
            cluster.bring_up_networks();
            cluster.write_members();
            cluster.look_at_disks();
        }
        Ok(())
    }

    fn spec(&self, node: &NodeSeed, authorized_keys: &[String]) -> NodeSpec {
        NodeSpec {
            name: node.name.clone(),
            fqdn: format!("{}.{}", node.name, self.search_domain),
            address_cidr: format!("{}/24", node.ip),
            gateway: self.gateway.clone(),
            bridges: self.bridges.clone(),
            // The second node has a user who was called away.
            has_pending: self.scenario == Scenario::S8
                && self.nodes.get(1).is_some_and(|second| second.name == node.name),
            authorized_keys: authorized_keys.to_vec(),
            setup: self.setups.get(&node.name).cloned().unwrap_or_default(),
        }
    }

    /// The cluster that a node is in.
    pub(crate) fn cluster_of(&mut self, node: &str) -> Option<&mut Cluster> {
        self.clusters.iter_mut().find(|cluster| cluster.nodes.contains_key(node))
    }

    /// Lets everything happen whose time has come. Tells whether anything did.
    pub(crate) fn settle(&mut self, now: u64) -> bool {
        let mut any = false;
        while let Some((node, at)) = self.clusters.iter().find_map(|cluster| cluster.switching(now)) {
            let was_on = self.clusters.iter().any(|cluster| cluster.is_on(&node));
            any |= self.power(&node, !was_on, at);
        }
        any |= self.settle_joins(now);
        any |= self.restart_apis(now);
        for cluster in &mut self.clusters {
            any |= cluster.settle(now);
            any |= cluster.look_at_disks();
        }
        any |= self.reload_networks();
        any |= self.run_kubernetes(now);
        self.tell_machines(now);
        if any {
            self.moments.send_modify(|count| *count += 1);
        }
        any
    }

    /// Stops and starts the APIs that are being started again, which then show what certificate they have. Tells whether
    /// anything changed.
    fn restart_apis(&mut self, now: u64) -> bool {
        let changed: Vec<(String, bool)> =
            self.clusters.iter_mut().flat_map(|cluster| cluster.restart_apis(now)).collect();
        for (name, _) in changed.iter().filter(|(_, is_there)| *is_there) {
            let seed = self.nodes.iter().find(|node| node.name == *name);
            if let Some((certificates, seed)) = self.certificates.as_ref().zip(seed) {
                // One that cannot be read leaves the node with the old one, which no client of its cluster takes.
                let _loaded = certificates.load(seed);
            }
        }
        !changed.is_empty()
    }

    /// Switches a node off, as if somebody pulled its plug, or on again. Tells whether it was not so before, which is
    /// never so for a node that there is not.
    pub(crate) fn power(&mut self, node: &str, on: bool, now: u64) -> bool {
        let Some(cluster) = self.cluster_of(node).filter(|cluster| cluster.is_on(node) != on) else { return false };
        // What was due before has happened.
        cluster.settle(now);
        if on {
            cluster.switch_on(node, now);
        } else {
            cluster.switch_off(node, now);
        }
        self.moments.send_modify(|count| *count += 1);
        true
    }

    /// Stops or starts the corosync of a node: without it the node runs, but hears no other.
    #[cfg(test)]
    pub(crate) fn corosync(&mut self, node: &str, runs: bool, now: u64) {
        self.settle(now);
        if let Some(cluster) = self.cluster_of(node) {
            cluster.set_corosync(node, runs, now);
        }
    }

    /// Hears of each moment at which something may have gone that connections lead to.
    pub(crate) fn moments(&self) -> watch::Receiver<u64> {
        self.moments.subscribe()
    }

    /// What answers at a host (an address or a node's name) and port.
    pub(crate) fn dial(&self, host: &str, port: u16, now: u64) -> Target {
        if let Some(node) = self.node_called(host) {
            return self.dial_node(&node.name, port);
        }
        if self.internet.has(host, port) {
            return self.dial_site(host);
        }
        if let Some(target) = self.internet.console_of(host).map(|node| self.console_behind(node)) {
            return target;
        }
        if self.hosts.iter().any(|known| known.ip == host || known.name == host) || self.gateway == host {
            return Target::Closed;
        }
        let told = host.parse::<Ipv4Addr>().ok().or_else(|| self.internet.resolved(host)?.parse().ok());
        let Some(address) = told else { return Target::Nobody };
        match self.dial_guest(address, port, now) {
            Target::Nobody => self.dial_service(&address.to_string(), port),
            found => found,
        }
    }

    pub(super) fn node_called(&self, host: &str) -> Option<&NodeSeed> {
        let short = host.split('.').next().unwrap_or(host);
        let is_name =
            |node: &&NodeSeed| node.name == host || (node.name == short && host.ends_with(&self.search_domain));
        // A name stands for the address that the node was installed with, whoever has that now.
        let address = self.nodes.iter().find(is_name).map_or(host, |node| &node.ip);
        self.nodes.iter().find(|node| self.has_address(node, address))
    }

    /// Whether a node has an address. One without an inside has the one that it was installed with.
    fn has_address(&self, node: &NodeSeed, address: &str) -> bool {
        let known = self.clusters.iter().find_map(|cluster| cluster.nodes.get(&node.name));
        match known.filter(|known| !known.links.is_empty()) {
            Some(known) => !known.cut && known.addresses.contains(address),
            None => node.ip == address,
        }
    }

    /// Whether a user of a node's system has this password.
    pub(crate) fn is_password(&self, node: &str, user: &str, password: &str) -> bool {
        let cluster = self.clusters.iter().find(|cluster| cluster.nodes.contains_key(node));
        let known = cluster.and_then(|cluster| cluster.access.users.get(&format!("{user}@pam")));
        known.and_then(|known| known.password.as_deref()) == Some(password)
    }

    fn dial_node(&self, name: &str, port: u16) -> Target {
        let Some(cluster) = self.clusters.iter().find(|cluster| cluster.nodes.contains_key(name)) else {
            return Target::Nobody;
        };
        let Some(node) = cluster.nodes.get(name).filter(|_| cluster.is_on(name)) else { return Target::Nobody };
        match (port, cluster.machines.node(name)) {
            (8006, _) if !node.has_api() => Target::Restarting,
            (8006, _) => Target::Api(name.to_string(), node.booted.max(node.api_since)),
            (22, Some(machine)) => Target::Ssh { machine, node: Some(name.to_string()), since: node.booted },
            _ => Target::Closed,
        }
    }
}

fn unusable(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Class::Failed, format!("simulator: {}: cannot be read", path.display()))
        .cause(cause)
        .help("start over with `homelab sim reset`")
}

/// Writes a world's text, whole or not at all.
pub(crate) fn save(dir: &Path, text: &str) -> Result<()> {
    write_private(&dir.join(FILE), text.as_bytes())
}

/// The file of a machine.
fn machine_file(dir: &Path, file: &str) -> PathBuf {
    dir.join(MACHINES).join(format!("{file}.json"))
}

/// Writes a machine's text, whole or not at all.
pub(crate) fn save_machine(dir: &Path, file: &str, text: &str) -> Result<()> {
    let path = machine_file(dir, file);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .map_err(|error| Error::new(Class::Failed, format!("{}: cannot be made", parent.display())).cause(error))?;
    }
    write_private(&path, text.as_bytes())
}

/// Removes the file of a machine that is gone.
pub(crate) fn remove_machine(dir: &Path, file: &str) {
    // What cannot be removed is only in the way of nothing: no other machine will have this name.
    let _left = fs::remove_file(machine_file(dir, file));
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(Class::Failed, format!("{}: cannot be written", path.display())).cause(error)
    };
    let fresh = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    drop(file);
    fs::rename(&fresh, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_of_an_earlier_form_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), r#"{"version":2,"nodes":[],"clusters":[{"volumes":[{"id":"local:1/vm-1-disk-0.raw"}]}]}"#)
            .unwrap();
        let error = World::load(dir.path()).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        assert_eq!(error.help_text(), Some("start over with `homelab sim reset`"));
        assert!(format!("{error:?}").contains("its form is 2, not 5"), "{error:?}");
    }
}
