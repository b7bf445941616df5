//! What becomes of a process of K3s, from its start to its end.

use serde::{Deserialize, Serialize};

use super::flags::{self, Role, Settings};
use super::{Host, disk};
use crate::sim::host::daemons::{Daemon, commit};

/// How long things take, in milliseconds at the usual pace.
pub(crate) const START: u64 = 120;
pub(crate) const ETCD: u64 = 150;
pub(crate) const SERVE: u64 = 150;
pub(crate) const RETRY: u64 = 200;

/// How far a process has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// It has begun.
    #[default]
    Starting,
    /// It belongs to its cluster, and its etcd starts.
    Etcd,
    /// Its etcd runs, and it waits for the others, and then for itself.
    Serving,
    /// It does what it is for.
    Ready,
}

/// A process of K3s.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// The unit that runs it.
    pub(crate) unit: String,
    /// Which run of that unit it is.
    pub(crate) run: u64,
    pub(crate) pid: u32,
    pub(crate) role: Role,
    pub(crate) version: String,
    pub(crate) settings: Settings,
    pub(crate) stage: Stage,
    /// Since when it has come so far, or last tried to come further, in milliseconds.
    pub(crate) at: u64,
    /// The name of its node.
    pub(crate) node: String,
    pub(crate) address: String,
    /// The cluster that it belongs to.
    pub(crate) cluster: Option<String>,
    /// The member of etcd that it is.
    pub(crate) member: Option<String>,
    /// What it said last while it waits.
    pub(crate) said: String,
}

/// A line as K3s writes it.
pub(crate) fn line(level: &str, text: &str, now: u64) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("time=\"{}\" level={level} msg=\"{text}\"", crate::sim::host::rfc3339(now))
}

impl Instance {
    /// The process that a unit has begun on a machine. Where it has nothing to go by, it says why and ends.
    pub(crate) fn begin(host: &Host, unit: &str, daemon: &Daemon, now: u64) -> Option<Self> {
        let mut instance = Instance {
            unit: unit.to_owned(),
            run: daemon.run,
            pid: daemon.pid,
            version: daemon.version.clone(),
            at: now,
            address: host.address(),
            ..Instance::default()
        };
        let (verb, args) = daemon.args.split_first().map_or(("", &[][..]), |(verb, args)| (verb.as_str(), args));
        instance.role = match verb {
            "server" => Role::Server,
            "agent" => Role::Agent,
            other => {
                instance.end(host, "fatal", &format!("homelab sim: not simulated: a unit that runs k3s {other}"), now);
                return None;
            }
        };
        instance.say(
            host,
            "info",
            &format!("Starting k3s {verb} {} ({})", daemon.version, commit(&daemon.version)),
            now,
        );
        match flags::read(instance.role, args, &disk::configurations(host), &daemon.env) {
            Ok(told) => {
                for warning in told.warnings {
                    instance.say(host, "warning", &warning, now);
                }
                let hostname = host.with(|machine| machine.hostname.clone()).to_ascii_lowercase();
                instance.node = told.settings.text("node-name").map_or(hostname, str::to_ascii_lowercase);
                if let Some(address) = told.settings.list("node-ip").first() {
                    instance.address.clone_from(address);
                }
                instance.settings = told.settings;
            }
            Err(why) => {
                instance.end(host, "fatal", &why, now);
                return None;
            }
        }
        let foreign = super::registration::foreign_labels(&instance.settings.list("node-label"));
        if !foreign.is_empty() {
            let why = format!(
                "kubelet exited: failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [{}]",
                foreign.join(" ")
            );
            instance.end(host, "fatal", &why, now);
            return None;
        }
        if !host.has(&instance.address) {
            let why = format!("failed to find interface with specified node ip {}", instance.address);
            instance.end(host, "fatal", &why, now);
            return None;
        }
        Some(instance)
    }

    /// Writes to its journal.
    pub(crate) fn say(&self, host: &Host, level: &str, text: &str, now: u64) {
        let line = line(level, text, now);
        host.with(|machine| machine.log_of(&self.unit, &format!("k3s[{}]: {line}", self.pid)));
    }

    /// Writes to its journal what it waits for, if it did not say so last. Tells whether it did.
    pub(crate) fn repeat(&mut self, host: &Host, level: &str, text: &str, now: u64) {
        self.at = now;
        if self.said != text {
            self.say(host, level, text, now);
            text.clone_into(&mut self.said);
        }
    }

    /// Ends, and says why.
    pub(crate) fn end(&self, host: &Host, level: &str, text: &str, now: u64) {
        self.say(host, level, text, now);
        host.with(|machine| machine.daemon_ends(&self.unit, 1, now));
    }

    /// Comes to another stage.
    pub(crate) fn come_to(&mut self, stage: Stage, now: u64) {
        self.stage = stage;
        self.at = now;
        self.said.clear();
    }

    /// Whether so much time has passed since it came so far.
    pub(crate) fn has_waited(&self, millis: u64, now: u64, pace: f64) -> bool {
        now >= self.at + (millis as f64 * pace) as u64
    }

    /// Whether its etcd runs.
    pub(crate) fn has_etcd(&self) -> bool {
        self.member.is_some() && matches!(self.stage, Stage::Serving | Stage::Ready)
    }

    /// Whether it is a server that takes connections.
    pub(crate) fn listens(&self) -> bool {
        self.role == Role::Server && self.cluster.is_some() && self.stage != Stage::Starting
    }

    /// Its open ports.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        if self.listens() {
            ports.push(super::PORT);
        }
        if self.has_etcd() {
            ports.extend([2379, 2380]);
        }
        if self.stage == Stage::Ready {
            ports.push(10250);
        }
        ports
    }
}
