//! Commands that somebody runs in a container. They run on its own small machine; one whose program is no command but a server
//! has none, so a fresh one with its files and variables stands in for it, which knows the usual tools, and of the server what its
//! application says to commands.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Kubernetes;
use super::api::kinds;
use super::api::status::Refusal;
use super::apps::{self, Answer, Ask};
use super::cluster::Cluster;
use super::containers::{self, Run};
use super::controllers::{is_ready, items, key_of, text};
use super::kubelet::Here;
use super::store::Key;
use crate::sim::chance::now;
use crate::sim::host::{self, ExecResult, SharedMachine};

/// Where a command is run.
pub(crate) struct Shell {
    machine: SharedMachine,
    env: BTreeMap<String, String>,
    image: String,
    has_card: bool,
}

impl Shell {
    /// Runs a command.
    pub(crate) fn run(&self, command: &[String], stdin: &[u8]) -> ExecResult {
        if let Some(said) = apps::run(&self.image, command, self.has_card) {
            return said;
        }
        host::run_shared(&self.machine, "root", &containers::with_variables(&self.env, command.to_vec()), stdin)
    }
}

impl Kubernetes {
    fn cluster_of(&mut self, file: &str) -> Option<&mut Cluster> {
        let cluster = self.instances.get(file)?.cluster.clone()?;
        self.clusters.get_mut(&cluster)
    }

    /// The shell in a container.
    pub(crate) fn shell(
        &mut self,
        file: &str,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
    ) -> Result<Shell, Refusal> {
        self.cluster_of(file).ok_or_else(Refusal::not_ready)?.shell(namespace, pod, container)
    }

    /// What a pod answers at a port; nothing where nobody listens.
    pub(crate) fn ask_port(&mut self, file: &str, namespace: &str, pod: &str, ask: &Ask) -> Option<Answer> {
        let cluster = self.cluster_of(file)?;
        let pod = cluster.store.get(&Key::new("pods", namespace, pod)).filter(|pod| is_ready(pod)).cloned()?;
        Some(cluster.ask_pod(&pod, ask.port, ask))
    }
}

impl Cluster {
    fn shell(&mut self, namespace: &str, name: &str, wanted: Option<&str>) -> Result<Shell, Refusal> {
        let absent = || match kinds::find("", "v1", "pods") {
            Some(kind) => Refusal::not_found(kind, name),
            None => Refusal::not_ready(),
        };
        let pod = self.store.get(&Key::new("pods", namespace, name)).cloned().ok_or_else(absent)?;
        let container = chosen(&pod, name, wanted)?;
        let phase = text(&pod, "/status/phase");
        if matches!(phase, "Succeeded" | "Failed") {
            let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
            return Err(Refusal::bad(why));
        }
        let uid = text(&pod, "/metadata/uid").to_owned();
        let here = Here {
            key: key_of("pods", &pod),
            uid: uid.clone(),
            node: text(&pod, "/spec/nodeName").to_owned(),
            pod: &pod,
            far: None,
            now: now(),
            pace: 1.0,
        };
        let called = text(container, "/name");
        let begun = self.runs.get(&(uid.clone(), called.to_owned())).map(|run: &Run| run.machine.clone());
        let stands = self.known.get(&uid).is_some_and(|known| known.logs.contains_key(called));
        if begun.is_none() && (phase != "Running" || !stands) {
            return Err(Refusal::bad(format!("container not found (\"{called}\")")));
        }
        let surroundings = self.surroundings(&here, container);
        let env = surroundings.env.clone();
        Ok(Shell {
            machine: begun.unwrap_or_else(|| surroundings.machine()),
            env,
            image: text(container, "/image").to_owned(),
            has_card: self.has_card(&pod),
        })
    }
}

/// The container that is meant.
fn chosen<'a>(pod: &'a Value, name: &str, wanted: Option<&str>) -> Result<&'a Value, Refusal> {
    let all = items(pod, "/spec/containers");
    match wanted {
        Some(wanted) => all
            .iter()
            .find(|one| text(one, "/name") == wanted)
            .ok_or_else(|| Refusal::bad(format!("container {wanted} is not valid for pod {name}"))),
        None => all.first().ok_or_else(|| Refusal::bad(format!("pod {name} has no container"))),
    }
}
