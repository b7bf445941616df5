//! Kubernetes as K3s brings it: servers and agents on simulated machines, the etcd between them, and the API of the clusters
//! that they are.
//!
//! A machine knows of K3s that a unit runs it. What it does there, here is decided: whoever runs the world lets time pass, and
//! each process comes as far as its configuration, its disk and the others let it.

mod api;
mod apps;
mod around;
mod certificates;
mod charts;
mod cluster;
mod containers;
mod controllers;
mod disk;
mod errands;
mod etcd;
mod files;
mod flags;
mod furniture;
mod helm;
mod host;
mod images;
mod joining;
mod kubelet;
mod life;
mod mounts;
mod network;
mod nodes;
mod pod_status;
mod programs;
mod proxy;
mod registration;
mod releases;
mod scheduler;
mod serve;
mod shell;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod vip;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) use around::Around;
pub(crate) use controllers::Outside;
pub(crate) use host::Host;
pub(crate) use serve::serve;
pub(crate) use vip::serve_address;

use super::seed::Scenario;
use cluster::Cluster;
use flags::Role;
use life::{Instance, Stage};

/// The port of servers.
pub(crate) const PORT: u16 = 6443;

/// What all clusters are, and the processes of K3s by the files of their machines.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kubernetes {
    clusters: BTreeMap<String, Cluster>,
    instances: BTreeMap<String, Instance>,
    twist: Twist,
    /// What clusters find around them.
    #[serde(skip)]
    pub(crate) around: Around,
    /// The authority for trials of certificates.
    staging: Option<certificates::Authority>,
    /// What is to be written to the log.
    #[serde(skip)]
    notices: Vec<Notice>,
}

/// What is odd about clusters that begin in this world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Twist {
    #[default]
    None,
    /// The token was changed, and the files of the first server still tell the earlier one.
    OtherToken,
    /// The third server had a predecessor of its name, which nobody took out.
    StaleMember,
    /// Certificates are almost a year old.
    OldCertificates,
    /// What is written into a zone is never seen by others.
    StuckChallenge,
    /// The repositories of charts cannot be reached.
    NoRepositories,
    /// K3s does not find the runtimes of graphics cards.
    NoRuntime,
    /// There are no classes for runtimes.
    NoClass,
    /// The image of the device plugin cannot be had.
    NoPlugin,
}

/// Something that happened to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The first server's name.
    pub(crate) cluster: String,
    /// `lost` or `regained`.
    pub(crate) what: &'static str,
    /// Who runs, and how many there are: `1 of 3 members`.
    pub(crate) members: String,
}

/// What comes of a try to go on.
enum Step {
    Done,
    /// It has to wait: at which level it says so, and what.
    Wait(&'static str, String),
    /// It cannot go on.
    Fail(String),
}

impl Kubernetes {
    /// What a world of a scenario begins with.
    pub(crate) fn found(scenario: Scenario) -> Self {
        let twist = match scenario {
            Scenario::S16Token => Twist::OtherToken,
            Scenario::S16Member => Twist::StaleMember,
            Scenario::S17 => Twist::OldCertificates,
            Scenario::S19Stuck => Twist::StuckChallenge,
            Scenario::S21 => Twist::NoRepositories,
            Scenario::GpuRuntime => Twist::NoRuntime,
            Scenario::GpuClass => Twist::NoClass,
            Scenario::GpuPlugin => Twist::NoPlugin,
            _ => Twist::None,
        };
        Kubernetes { twist, ..Kubernetes::default() }
    }

    /// Whether what is written into a zone is never seen by others.
    pub(crate) fn is_stuck(&self) -> bool {
        self.twist == Twist::StuckChallenge
    }

    /// What is to be written to the log, once.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Lets every process on these machines, which are all that run, come as far as it can. Tells whether anything changed.
    pub(crate) fn settle(&mut self, hosts: &[Host], now: u64, pace: f64) -> bool {
        let mut any = self.follow(hosts, now, pace);
        for host in hosts {
            let Some(mut instance) = self.instances.remove(&host.file) else { continue };
            let before = instance.stage;
            let goes_on = self.step(hosts, host, &mut instance, now, pace);
            any |= !goes_on || instance.stage != before;
            if goes_on {
                self.instances.insert(host.file.clone(), instance);
            }
        }
        any |= self.look_at_etcd(hosts, now, pace);
        any | self.control(hosts, now, pace)
    }

    /// Whether anybody has asked for anything that is found outside: certificates, or a repository that is followed.
    pub(crate) fn wants_certificates(&self) -> bool {
        self.clusters.values().any(|cluster| cluster.wants_certificates() || cluster.follows_repositories())
    }

    /// The authority for trials, made when it is needed first.
    pub(crate) fn staging(&mut self, now: u64) -> Option<certificates::Authority> {
        if self.staging.is_none() {
            self.staging = certificates::Authority::new("(STAGING) Pretend Pear", now).ok();
        }
        self.staging.clone()
    }

    /// Lets those look after certificates and repositories that do so in clusters whose API is there.
    pub(crate) fn run_certificates(&mut self, outside: &mut Outside<'_>) -> bool {
        let mut any = false;
        for cluster in self.clusters.values_mut() {
            if cluster.has_quorum() && cluster.wants_certificates() {
                any |= cluster.run_certificates(outside);
            }
            if cluster.has_quorum() && cluster.follows_repositories() {
                any |= cluster.run_flux(outside);
            }
        }
        any
    }

    /// Lets the controllers of every cluster look whose API is there.
    fn control(&mut self, hosts: &[Host], now: u64, pace: f64) -> bool {
        let mut any = false;
        for (id, cluster) in &mut self.clusters {
            let own = |instance: &&Instance| instance.cluster.as_ref() == Some(id) && instance.stage == Stage::Ready;
            let has_api = self.instances.values().filter(own).any(|instance| instance.role == Role::Server);
            if !has_api || !cluster.has_quorum() {
                continue;
            }
            let heard = hosts.iter().filter(|host| host.connected);
            let heard = heard.filter_map(|host| self.instances.get(&host.file)).filter(own);
            let heard: BTreeSet<String> = heard.map(|instance| instance.node.clone()).collect();
            let mut alive = heard.clone();
            alive.extend(cluster.renewed(now, pace));
            any |= cluster.watch_nodes(&alive, now, pace);
            if !cluster.is_due(now) {
                continue;
            }
            let before = cluster.store.version();
            let nodes = hosts.iter().filter_map(|host| Some((host, self.instances.get(&host.file)?)));
            let nodes: Vec<(&Host, &Instance)> = nodes.filter(|(_, instance)| own(instance)).collect();
            cluster.around = self.around.of(&nodes);
            cluster.around.lacks_repositories = self.twist == Twist::NoRepositories;
            cluster.around.lacks_plugin = self.twist == Twist::NoPlugin;
            let far = nodes.iter().map(|(host, instance)| (instance.node.clone(), host.far())).collect();
            cluster.run_controllers(now);
            cluster.schedule(now);
            cluster.work_as("kubelet", now);
            cluster.run_pods(&heard, &far, now, pace);
            cluster.rest_hand();
            // What came of this look is looked at once more.
            cluster.looked = (before, now);
            any |= cluster.store.version() != before;
        }
        any
    }

    /// Takes note of what machines run by now.
    fn follow(&mut self, hosts: &[Host], now: u64, pace: f64) -> bool {
        let mut any = false;
        let mut running = BTreeMap::new();
        for host in hosts {
            let first = host.with(|machine| {
                machine.restart_daemons(now, pace);
                let mut all = machine.daemons.iter().filter(|(_, daemon)| daemon.runs() && daemon.program == "k3s");
                all.next().map(|(unit, daemon)| (unit.clone(), daemon.clone()))
            });
            if let Some((unit, daemon)) = first {
                running.insert(host.file.clone(), (host, unit, daemon));
            }
        }
        let is_same = |file: &str, instance: &Instance| {
            running.get(file).is_some_and(|(_, unit, daemon)| *unit == instance.unit && daemon.run == instance.run)
        };
        let known = self.instances.len();
        self.instances.retain(|file, instance| is_same(file, instance));
        any |= self.instances.len() != known;
        for (file, (host, unit, daemon)) in running {
            if self.instances.contains_key(&file) {
                continue;
            }
            any = true;
            if let Some(instance) = Instance::begin(host, &unit, &daemon, now) {
                self.instances.insert(file, instance);
            }
        }
        any
    }

    /// Lets a process come further. Tells whether it goes on.
    fn step(&mut self, hosts: &[Host], host: &Host, instance: &mut Instance, now: u64, pace: f64) -> bool {
        let wait = match instance.stage {
            Stage::Starting if instance.said.is_empty() => life::START,
            Stage::Etcd => life::ETCD,
            Stage::Serving if instance.said.is_empty() => life::SERVE,
            _ => life::RETRY,
        };
        if !instance.has_waited(wait, now, pace) {
            return true;
        }
        let step = match instance.stage {
            Stage::Starting => self.bootstrap(hosts, host, instance, now),
            Stage::Etcd => Step::Done,
            Stage::Serving => self.come_up(host, instance, now),
            Stage::Ready => return self.keep_on(host, instance, now, pace),
        };
        match step {
            Step::Done => {
                let next = match (instance.stage, instance.role) {
                    (Stage::Starting, Role::Server) => Stage::Etcd,
                    (Stage::Starting, Role::Agent) | (Stage::Etcd, _) => Stage::Serving,
                    (Stage::Serving | Stage::Ready, _) => Stage::Ready,
                };
                instance.come_to(next, now);
                true
            }
            Step::Wait(level, text) => {
                instance.repeat(host, level, &text, now);
                true
            }
            Step::Fail(why) => {
                instance.end(host, "fatal", &why, now);
                false
            }
        }
    }

    /// What a process does whose cluster lets it: it serves, and says that it is ready.
    fn come_up(&mut self, host: &Host, instance: &mut Instance, now: u64) -> Step {
        let cluster = instance.cluster.clone().unwrap_or_default();
        let Some(cluster) = self.clusters.get_mut(&cluster) else {
            return Step::Fail("homelab sim: not simulated: the data of a cluster that nobody here began".into());
        };
        if !cluster.has_quorum() {
            let why = "Failed to test data store connection: failed to get etcd status: context deadline exceeded";
            return Step::Wait("info", format!("Waiting for etcd server to become available: {why}"));
        }
        let learns =
            |member: &cluster::Member| instance.member.as_ref() == Some(&member.name) && member.learns.is_some();
        if cluster.members.iter().any(learns) {
            return Step::Wait(
                "info",
                "Waiting for etcd learner promotion: etcdserver: rpc not supported for learner".into(),
            );
        }
        let has_classes = self.twist != Twist::NoClass;
        cluster.furnish(&instance.settings, has_classes, now);
        match cluster.admit(host, instance, now) {
            Err(why) if instance.role == Role::Agent => return Step::Wait("info", why),
            Err(why) => instance.say(host, "info", &why, now),
            Ok(()) => {}
        }
        disk::write_agent(host, cluster, self.twist != Twist::NoRuntime);
        if instance.role == Role::Server {
            disk::write_ready(host, instance, cluster);
            instance.say(host, "info", "Wrote kubeconfig /etc/rancher/k3s/k3s.yaml", now);
            instance.say(host, "info", "k3s is up and running", now);
        }
        host.with(|machine| machine.daemon_is_ready(&instance.unit));
        Step::Done
    }

    /// A process that does what it is for. Who leads cannot do so for long without the others.
    fn keep_on(&mut self, host: &Host, instance: &mut Instance, now: u64, pace: f64) -> bool {
        let Some(cluster) = instance.cluster.as_ref().and_then(|id| self.clusters.get_mut(id)) else { return true };
        if instance.role == Role::Server && cluster.datastore == cluster::Datastore::Etcd {
            let is_member = cluster.members.iter().any(|member| instance.member.as_ref() == Some(&member.name));
            if !is_member {
                disk::bury(host);
                let why = "this server has been removed from the cluster please restart k3s to rejoin the cluster";
                instance.end(host, "fatal", why, now);
                return false;
            }
            let leads = cluster.leader().is_some_and(|leader| instance.member.as_ref() == Some(&leader.name));
            let lost = cluster.lost.is_some_and(|since| now >= since + (etcd::LEASE as f64 * pace) as u64);
            if lost && leads {
                instance.end(host, "fatal", "leaderelection lost for k3s", now);
                return false;
            }
        }
        true
    }

    /// The process on the machine with this file, if it is a server that takes connections, and which run it is.
    pub(crate) fn server_at(&self, file: &str) -> Option<u64> {
        self.instances.get(file).filter(|instance| instance.listens()).map(|instance| instance.run)
    }

    /// The ports that K3s has open on the machine with this file.
    pub(crate) fn ports(&self, file: &str) -> Vec<u16> {
        self.instances.get(file).map(Instance::ports).unwrap_or_default()
    }
}
