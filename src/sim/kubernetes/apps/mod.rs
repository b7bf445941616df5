//! What runs in pods answers over HTTP: one table, by the names of images.
//!
//! An application is a file here with an [`App`] in it, listed in [`ALL`]. What it remembers is its own and outlives its
//! pods, as what it keeps on its volume does. Whatever is in no table says that it is not simulated.

mod cards;
mod comfyui;
mod coredns;
mod databases;
mod garage;
mod home_assistant;
mod jupyter;
mod monitoring;
mod n8n;
mod ollama;
mod traefik;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::controllers::{items, text};
use super::images;
use super::store::Key;
use crate::sim::host::ExecResult;

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) method: String,
    /// With a slash at its beginning, decoded.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// The name that was asked for, in small letters and without a port.
    pub(crate) host: String,
    pub(crate) authorization: Option<String>,
    /// The path with its query as it was sent, where a signature is about it.
    pub(crate) target: String,
    /// The other headers, where a signature is about them, by their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The port of the pod.
    pub(crate) port: u64,
    /// In milliseconds.
    pub(crate) now: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    /// Where it is instead.
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn text(status: u16, text: &str) -> Self {
        Answer { status, kind: "text/plain; charset=utf-8", location: None, body: text.to_owned() }
    }

    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Answer { status, kind: "application/json", location: None, body: value.to_string() }
    }

    /// Nobody here answers this for that program.
    pub(super) fn not_simulated(program: &str, ask: &Ask) -> Self {
        Answer::text(501, &format!("homelab sim: not simulated: {} {} of {program}\n", ask.method, ask.path))
    }

    /// Nobody here answers for that program at this port.
    pub(super) fn not_simulated_at(program: &str, port: u64) -> Self {
        Answer::text(501, &format!("homelab sim: not simulated: what {program} answers at port {port}\n"))
    }

    pub(crate) fn moved(status: u16, location: String) -> Self {
        Answer { location: Some(location), ..Answer::text(status, "") }
    }
}

/// What answers: a pod, and what its workload remembers.
pub(super) struct Site<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) pod: &'a Value,
    pub(super) container: &'a Value,
    /// What it remembers.
    pub(super) state: &'a mut Value,
}

/// What its own programs say to a command in its container, where that has a card or none; nothing where the command is none of
/// its own.
type Run = fn(&[String], bool) -> Option<ExecResult>;

/// An application.
pub(super) struct App {
    /// The name of its image with its registry.
    repository: &'static str,
    answer: fn(&mut Site<'_>, &Ask) -> Answer,
    run: Option<Run>,
}

/// All of them.
const ALL: &[App] = &[
    coredns::APP,
    n8n::APP,
    home_assistant::APP,
    garage::APP,
    ollama::APP,
    comfyui::APP,
    jupyter::APP,
    traefik::APP,
    monitoring::PROMETHEUS,
    monitoring::ALERTMANAGER,
    monitoring::GRAFANA,
    monitoring::LOKI,
];

/// Why nobody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// There is no such service, or it has no such port.
    Nobody,
    /// No pod is behind it that does its work.
    Empty,
}

/// The application that an image is of.
fn find(image: &str) -> Option<&'static App> {
    let repository = images::repository(image);
    ALL.iter().find(|app| app.repository == repository)
}

/// What a program of an image says to a command in its container; nothing where the command is none of its own.
pub(super) fn run(image: &str, command: &[String], has_card: bool) -> Option<ExecResult> {
    find(image)?.run?(command, has_card)
}

/// What tells a workload from others, whichever of its pods it is asked through.
fn workload(pod: &Value) -> String {
    let namespace = text(pod, "/metadata/namespace");
    let owner = &pod["metadata"]["ownerReferences"][0];
    let name = text(owner, "/name");
    let name = match (text(owner, "/kind"), name.rsplit_once('-')) {
        ("ReplicaSet", Some((deployment, _))) => deployment,
        ("", _) => text(pod, "/metadata/name"),
        _ => name,
    };
    format!("{namespace}/{name}")
}

/// The container of a pod that has a port; the first where none says so.
fn container_with(pod: &Value, port: u64) -> Option<&Value> {
    let all = items(pod, "/spec/containers");
    let has =
        |container: &&Value| items(container, "/ports").iter().any(|one| one["containerPort"].as_u64() == Some(port));
    all.iter().find(has).or_else(|| all.first())
}

impl Cluster {
    /// What a service answers at one of its ports, told as a number or name.
    pub(super) fn ask_service(
        &mut self,
        namespace: &str,
        name: &str,
        port: &str,
        ask: &Ask,
    ) -> Result<Answer, Silence> {
        let service = self.store.get(&Key::new("services", namespace, name)).cloned().ok_or(Silence::Nobody)?;
        let port = Cluster::port_of(&service, port).ok_or(Silence::Nobody)?;
        let (pod, port) = self.behind(&service, &port).into_iter().next().ok_or(Silence::Empty)?;
        Ok(self.ask_pod(&pod, port, ask))
    }

    /// What a pod answers at one of its ports.
    pub(super) fn ask_pod(&mut self, pod: &Value, port: u64, ask: &Ask) -> Answer {
        let Some(container) = container_with(pod, port) else { return Answer::text(502, "no container") };
        let image = text(container, "/image");
        let Some(app) = find(image) else {
            return Answer::not_simulated_at(image, port);
        };
        let place = workload(pod);
        let mut state = self.remembered.remove(&place).unwrap_or_else(|| json!({}));
        let ask = Ask { port, ..ask.clone() };
        let answer = (app.answer)(&mut Site { cluster: self, pod, container, state: &mut state }, &ask);
        if state.as_object().is_some_and(|state| !state.is_empty()) {
            self.remembered.insert(place, state);
        }
        answer
    }
}
