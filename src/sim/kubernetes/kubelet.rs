//! Kubelets: what becomes of pods on their nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::containers::{Run, Surroundings};
use super::controllers::{items, key_of, leaves, set_condition, text};
use super::programs::Program;
use super::store::{Key, timestamp};

/// How long it takes until a pod runs, in milliseconds at the usual pace: its image is fetched meanwhile.
const STARTS_AFTER: u64 = 250;
/// How long a pod takes to end that was asked to.
const ENDS_AFTER: u64 = 100;
/// How long a container waits that has failed once; each further time it waits twice as long, up to eight times.
const RESTARTS_AFTER: u64 = 250;

/// What a kubelet knows of a pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    /// Since when it is in its phase, in milliseconds.
    since: u64,
    /// What its containers have printed.
    pub(crate) logs: BTreeMap<String, String>,
    /// What they had printed before they were begun anew.
    pub(crate) earlier: BTreeMap<String, String>,
    /// How often each was begun anew.
    pub(super) again: BTreeMap<String, u32>,
    /// With what each has ended.
    pub(super) exits: BTreeMap<String, i32>,
    /// With what each had ended before it was begun anew, or is to be.
    pub(super) last: BTreeMap<String, i32>,
    /// When each that has failed is begun anew, in milliseconds.
    pub(super) retries: BTreeMap<String, u64>,
    /// How many of those that run first are done.
    prepared: usize,
}

impl Known {
    /// Notes that a pod is to end.
    pub(crate) fn begin_to_end(&mut self, now: u64) {
        self.since = now;
    }
}

/// The commands that run, by the pod's uid and the container's name.
pub(crate) type Runs = BTreeMap<(String, String), Run>;

/// The names that each node finds outside of the cluster.
pub(super) type Far = BTreeMap<String, BTreeMap<String, String>>;

/// A pod on a node.
pub(super) struct Here<'a> {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) pod: &'a Value,
    pub(super) node: String,
    pub(super) far: Option<&'a BTreeMap<String, String>>,
    pub(super) now: u64,
    pub(super) pace: f64,
}

/// Why a container is not begun.
pub(super) struct Obstacle {
    pub(super) container: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Cluster {
    /// Whether there are pods that will soon be others.
    pub(super) fn has_restless_pods(&self) -> bool {
        let waits = |pod: &Value| {
            let uid = text(pod, "/metadata/uid");
            self.known.get(uid).is_some_and(|known| !known.retries.is_empty())
        };
        // One that has no node, or lacks something, waits for a change of something else.
        let begins = |pod: &Value| {
            let told = items(pod, "/status/containerStatuses").iter();
            text(pod, "/status/phase") == "Pending"
                && !text(pod, "/spec/nodeName").is_empty()
                && told.map(|one| text(one, "/state/waiting/message")).all(str::is_empty)
        };
        self.store.list("pods", None).any(|pod| leaves(pod) || begins(pod) || waits(pod))
    }

    /// Lets the kubelets that are heard of do what they do. `far` are the names that each node finds outside of the cluster.
    pub(super) fn run_pods(&mut self, heard: &BTreeSet<String>, far: &Far, now: u64, pace: f64) {
        let pods: Vec<Value> = self.store.list("pods", None).cloned().collect();
        let uids: BTreeSet<String> = pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect();
        self.known.retain(|uid, _| uids.contains(uid));
        for (_, run) in self.runs.iter().filter(|((uid, _), _)| !uids.contains(uid)) {
            run.kill();
        }
        self.runs.retain(|(uid, _), _| uids.contains(uid));
        self.answer_containers(now);
        for pod in &pods {
            let node = text(pod, "/spec/nodeName").to_owned();
            let key = key_of("pods", pod);
            if node.is_empty() || !heard.contains(&node) {
                // Nobody is there whose leave could be waited for.
                let is_gone = node.is_empty() || self.store.get(&Key::new("nodes", "", &node)).is_none();
                if leaves(pod) && is_gone {
                    self.store.remove(&key);
                }
                continue;
            }
            let uid = text(pod, "/metadata/uid").to_owned();
            self.run_pod(&Here { key, uid, pod, far: far.get(&node), node, now, pace });
        }
    }

    fn run_pod(&mut self, here: &Here<'_>) {
        let fresh = || Known { since: here.now, ..Known::default() };
        let known = self.known.entry(here.uid.clone()).or_insert_with(fresh);
        let passed = |millis: u64| here.now >= known.since + (millis as f64 * here.pace) as u64;
        if leaves(here.pod) {
            if passed(ENDS_AFTER) {
                self.store.remove(&here.key);
            }
            return;
        }
        match text(here.pod, "/status/phase") {
            // What it ran has told all it had to.
            "Succeeded" | "Failed" => self.runs.retain(|(of, _), _| *of != here.uid),
            "Running" => self.follow(here),
            _ if passed(STARTS_AFTER) => self.prepare(here),
            _ => self.wait(here, &[]),
        }
    }

    /// Gets everything ready that a pod needs, and begins its containers.
    fn prepare(&mut self, here: &Here<'_>) {
        if let Some((reason, message)) = self.missing(here) {
            self.report(here.pod, reason, &message, "kubelet", here.now);
            return self.wait(here, &[]);
        }
        let obstacles = self.obstacles(here);
        if !obstacles.is_empty() {
            return self.wait(here, &obstacles);
        }
        let first = items(here.pod, "/spec/initContainers").to_vec();
        let done = self.known.get(&here.uid).map_or(0, |known| known.prepared);
        if let Some(container) = first.get(done) {
            if container["restartPolicy"] == "Always" {
                self.begin(here, container);
            } else if !self.run_first(here, container) {
                return;
            }
            if let Some(known) = self.known.get_mut(&here.uid) {
                known.prepared = done + 1;
            }
            return;
        }
        for container in items(here.pod, "/spec/containers") {
            self.begin(here, container);
        }
        let (address, host) = (self.pod_address(here), self.host_address(&here.node));
        let time = timestamp(here.now);
        self.store.change(&here.key, |pod| {
            let status = &mut pod["status"];
            status["phase"] = json!("Running");
            status["hostIP"] = json!(host);
            status["hostIPs"] = json!([{ "ip": host }]);
            status["podIP"] = json!(address);
            status["podIPs"] = json!([{ "ip": address }]);
            status["startTime"] = json!(time);
            for kind in ["PodReadyToStartContainers", "Initialized"] {
                set_condition(status, json!({ "type": kind, "status": "True", "lastProbeTime": null }), here.now);
            }
        });
        self.tell_states(here, &time);
        if let Some(known) = self.known.get_mut(&here.uid) {
            known.since = here.now;
        }
    }

    /// Runs a container that has to be done before the others begin. Tells whether it is.
    fn run_first(&mut self, here: &Here<'_>, container: &Value) -> bool {
        let name = text(container, "/name").to_owned();
        let place = (here.uid.clone(), name.clone());
        let known = self.known.entry(here.uid.clone()).or_default();
        let is_begun = known.exits.contains_key(&name) || self.runs.contains_key(&place);
        if !is_begun {
            let due = known.retries.get(&name).is_none_or(|at| here.now >= *at);
            if due {
                known.retries.remove(&name);
                self.begin(here, container);
            }
            return false;
        }
        match self.exit_of(here, &name) {
            Some(0) => true,
            Some(_) => {
                self.retry_later(here, &name);
                let failed = self.crash(here, &name);
                self.wait(here, &[failed]);
                false
            }
            None => false,
        }
    }

    /// Begins a container.
    pub(super) fn begin(&mut self, here: &Here<'_>, container: &Value) {
        let name = text(container, "/name").to_owned();
        let program = self.program(here, container);
        let known = self.known.entry(here.uid.clone()).or_default();
        if let Some(log) = known.logs.remove(&name) {
            known.earlier.insert(name.clone(), log);
        }
        match program {
            Program::Command(command) => {
                let surroundings = self.surroundings(here, container);
                self.runs.insert((here.uid.clone(), name.clone()), Run::begin(surroundings, command));
            }
            Program::Stays(log) => drop(known.logs.insert(name.clone(), log)),
            Program::Ends(exit, log) => {
                known.logs.insert(name.clone(), log);
                known.exits.insert(name.clone(), exit);
            }
        }
        for (reason, message) in
            [("Created", format!("Created container: {name}")), ("Started", format!("Started container {name}"))]
        {
            self.report(here.pod, reason, &message, "kubelet", here.now);
        }
    }

    /// With what a container has ended, if it has.
    fn exit_of(&mut self, here: &Here<'_>, name: &str) -> Option<i32> {
        let place = (here.uid.clone(), name.to_owned());
        if let Some(run) = self.runs.get(&place) {
            let result = run.ended()?;
            let run = self.runs.remove(&place)?;
            self.keep_files(&run);
            let output = [result.stdout, result.stderr].concat();
            let known = self.known.entry(here.uid.clone()).or_default();
            known.logs.insert(name.to_owned(), String::from_utf8_lossy(&output).into_owned());
            known.exits.insert(name.to_owned(), result.exit);
        }
        self.known.get(&here.uid).and_then(|known| known.exits.get(name)).copied()
    }

    /// Looks whether the containers of a pod have ended, and begins those anew that are to run again.
    fn follow(&mut self, here: &Here<'_>) {
        let policy = text(here.pod, "/spec/restartPolicy").to_owned();
        let mut exits: Vec<Option<i32>> = Vec::new();
        for container in items(here.pod, "/spec/containers") {
            let name = text(container, "/name").to_owned();
            let known = self.known.entry(here.uid.clone()).or_default();
            if let Some(at) = known.retries.get(&name).copied() {
                if here.now >= at {
                    known.retries.remove(&name);
                    self.begin(here, container);
                }
                exits.push(None);
                continue;
            }
            let was_running = text(here.pod, "/status/phase") == "Running";
            let is_lost = !known.exits.contains_key(&name)
                && !known.logs.contains_key(&name)
                && !self.runs.contains_key(&(here.uid.clone(), name.clone()));
            if was_running && is_lost {
                // It ran when the simulator was stopped, and begins again.
                self.begin(here, container);
            }
            let exit = self.exit_of(here, &name);
            let again = match (exit, policy.as_str()) {
                (None, _) | (_, "Never") => false,
                (Some(exit), "OnFailure") => exit != 0,
                (Some(_), _) => true,
            };
            if again {
                self.retry_later(here, &name);
            }
            exits.push(exit.filter(|_| !again));
        }
        let time = timestamp(here.now);
        if exits.iter().any(Option::is_none) || exits.is_empty() {
            return self.tell_states(here, &time);
        }
        let worst = exits.iter().flatten().copied().max_by_key(|exit| exit.abs()).unwrap_or_default();
        self.tell_states(here, &time);
        self.store.change(&here.key, |pod| {
            pod["status"]["phase"] = json!(if worst == 0 { "Succeeded" } else { "Failed" });
        });
    }

    /// Has a container that has ended begin anew after a while.
    fn retry_later(&mut self, here: &Here<'_>, name: &str) {
        let known = self.known.entry(here.uid.clone()).or_default();
        let times = known.again.entry(name.to_owned()).or_default();
        *times += 1;
        let wait = RESTARTS_AFTER << (*times - 1).min(3);
        if let Some(exit) = known.exits.remove(name) {
            known.last.insert(name.to_owned(), exit);
        }
        known.retries.insert(name.to_owned(), here.now + (wait as f64 * here.pace) as u64);
        let message = format!(
            "Back-off restarting failed container {name} in pod {}_{}({})",
            here.key.name, here.key.namespace, here.uid
        );
        self.report(here.pod, "BackOff", &message, "kubelet", here.now);
    }

    /// What is said of a container that fails again and again.
    pub(super) fn crash(&self, here: &Here<'_>, name: &str) -> Obstacle {
        let times = self.known.get(&here.uid).and_then(|known| known.again.get(name)).copied().unwrap_or(1);
        let seconds = (10_u64 << times.saturating_sub(1).min(5)).min(300);
        let time = match seconds {
            300 => "5m0s".to_owned(),
            seconds if seconds >= 60 => format!("{}m{}s", seconds / 60, seconds % 60),
            seconds => format!("{seconds}s"),
        };
        let message = format!(
            "back-off {time} restarting failed container={name} pod={}_{}({})",
            here.key.name, here.key.namespace, here.uid
        );
        Obstacle { container: name.to_owned(), reason: "CrashLoopBackOff", message }
    }

    /// The address of a node.
    pub(super) fn host_address(&self, node: &str) -> String {
        let node = self.store.get(&Key::new("nodes", "", node));
        node.map(|node| text(node, "/status/addresses/0/address").to_owned()).unwrap_or_default()
    }

    /// The address of a pod.
    pub(super) fn pod_address(&self, here: &Here<'_>) -> String {
        if here.pod["spec"]["hostNetwork"] == true {
            return self.host_address(&here.node);
        }
        let node = self.store.get(&Key::new("nodes", "", &here.node));
        let net = node
            .and_then(|node| text(node, "/spec/podCIDR").rsplit_once('.').map(|(net, _)| net.to_owned()))
            .unwrap_or_else(|| "10.42.0".into());
        let taken: BTreeSet<&str> = self.store.list("pods", None).map(|pod| text(pod, "/status/podIP")).collect();
        let first = usize::from(crate::sim::chance::sha256(&here.uid)[0]);
        let free = (0..250).map(|more| format!("{net}.{}", 2 + (first + more) % 250));
        free.into_iter().find(|address| !taken.contains(address.as_str())).unwrap_or_default()
    }

    pub(super) fn surroundings(&self, here: &Here<'_>, container: &Value) -> Surroundings {
        Surroundings {
            pod: here.key.name.clone(),
            namespace: here.key.namespace.clone(),
            address: match text(here.pod, "/status/podIP") {
                "" => self.pod_address(here),
                own => own.to_owned(),
            },
            names: self.names_inside(here.far),
            // What cannot be read was told before.
            env: self.environment(here.pod, container).unwrap_or_default(),
            files: self.mounted(here.pod, container),
            kept: self.kept_mounts(here.pod, container),
        }
    }
}
