//! A node without the pods that can go elsewhere.

use std::sync::Arc;
use std::time::Instant;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::handle::{Asked, Kubernetes, REALM, node_cell};
use super::node::path as node_path;
use super::reads::{awaited, text};
use crate::clients::kubernetes::{Client, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::{Action, What};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::args;

/// The pause before what a budget refused is asked again.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(5);
/// The pause between two looks at pods that are going.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Which node is drained, and what may be lost with its pods.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainOptions {
    /// The node. It stays closed for new pods.
    pub node: String,
    /// Whether pods may go that nobody makes anew. Default: false, then they are named and nothing is evicted.
    #[serde(default)]
    pub unmanaged: bool,
    /// Whether pods may go whose data in `emptyDir` volumes is lost with them. Default: false, then they are named and nothing
    /// is evicted.
    #[serde(default)]
    pub delete_empty_dir_data: bool,
    /// How long it may take in all. Default: 10 minutes.
    #[serde(default = "ten_minutes")]
    pub timeout: args::Duration,
}

fn ten_minutes() -> args::Duration {
    args::Duration::from_secs(600)
}

/// A node that is to be drained.
struct Drain {
    k: Kubernetes,
    options: DrainOptions,
}

/// A pod that can be evicted.
#[derive(Debug, Clone, PartialEq)]
struct Pod {
    namespace: String,
    name: String,
    uid: String,
    unmanaged: bool,
    empty_dir: bool,
    finished: bool,
}

impl Pod {
    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", segment(&self.namespace), segment(&self.name))
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Drains a node.
pub(super) fn drain(k: &Kubernetes, options: DrainOptions) -> Result<ScriptMap> {
    ensure(&Arc::new(Drain { k: k.clone(), options })).map(outcome::to_map)
}

/// The pods that can go elsewhere: those of DaemonSets and of the kubelet itself belong to the node.
fn evictable(list: &Json) -> Vec<Pod> {
    let items = list.get("items").and_then(Json::as_array).into_iter().flatten();
    let pods = items.filter_map(|item| {
        let owners = item.pointer("/metadata/ownerReferences").and_then(Json::as_array).cloned().unwrap_or_default();
        let controller = owners.iter().find(|owner| owner.get("controller").and_then(Json::as_bool) == Some(true));
        let is_mirror = item.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
        if is_mirror || controller.is_some_and(|owner| text(owner, "/kind") == "DaemonSet") {
            return None;
        }
        let volumes = item.pointer("/spec/volumes").and_then(Json::as_array).cloned().unwrap_or_default();
        Some(Pod {
            namespace: text(item, "/metadata/namespace"),
            name: text(item, "/metadata/name"),
            uid: text(item, "/metadata/uid"),
            unmanaged: controller.is_none(),
            empty_dir: volumes.iter().any(|volume| volume.get("emptyDir").is_some()),
            finished: matches!(text(item, "/status/phase").as_str(), "Succeeded" | "Failed"),
        })
    });
    pods.collect()
}

impl Drain {
    fn pods_path(&self) -> String {
        format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", segment(&self.options.node))
    }

    /// Refuses what would be lost, before anything is evicted.
    fn check(&self, pods: &[Pod]) -> Result<()> {
        let named = |which: &dyn Fn(&&Pod) -> bool| {
            let names: Vec<String> = pods.iter().filter(|pod| !pod.finished).filter(which).map(Pod::shown).collect();
            names.join(", ")
        };
        let refused = |what: &str, names: String, option: &str| {
            Err(Error::new(Class::UnsafeDrift, format!("{}: {what}: {names}", self.address()))
                .help(format!("nothing was evicted; move what they hold, or say `{option}: true`")))
        };
        let unmanaged = named(&|pod| pod.unmanaged);
        if !unmanaged.is_empty() && !self.options.unmanaged {
            return refused("nobody makes these pods anew", unmanaged, "unmanaged");
        }
        let with_data = named(&|pod| pod.empty_dir);
        if !with_data.is_empty() && !self.options.delete_empty_dir_data {
            return refused("these pods have data that is lost with them", with_data, "delete_empty_dir_data");
        }
        Ok(())
    }

    fn carry_out(&self, writer: &Writer) -> Result<()> {
        let client = self.k.writing()?;
        let began = Instant::now();
        let closed = json!({ "spec": { "unschedulable": true } });
        scope::wait(async { Ok(client.patch(&node_path(&self.options.node), &closed, writer).await?) })?;
        loop {
            let pods = evictable(&listed(&client, &self.pods_path())?);
            if pods.is_empty() {
                return Ok(());
            }
            self.check(&pods)?;
            let refused = evict_all(&client, &pods, writer)?;
            let left: Vec<String> = pods.iter().map(Pod::shown).collect();
            if began.elapsed() >= self.options.timeout.0 {
                let late =
                    Error::new(Class::Timeout, format!("{}: pods are left: {}", self.address(), left.join(", ")));
                let late = refused.iter().fold(late, Error::cause);
                return Err(late
                    .help("the node stays closed for new pods; a budget that never lets go is its owner's to change"));
            }
            scope::emit(What::Waiting {
                step: scope::step(),
                what: format!("{} is without pods", self.options.node),
                observed: refused.first().cloned().unwrap_or_else(|| left.join(", ")),
                milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            })?;
            scope::pause(if refused.is_empty() { LOOK } else { PAUSE })?;
        }
    }
}

fn listed(client: &Client, path: &str) -> Result<Json> {
    let answer = scope::wait(async { Ok(client.get(path).await?) })?;
    answer.json().ok_or_else(|| {
        Error::new(Class::Failed, format!("{}: GET {path} is no JSON", client.place()))
            .help("is that the address of a Kubernetes API?")
    })
}

/// Asks for the eviction of each, and gives what budgets said against it.
fn evict_all(client: &Client, pods: &[Pod], writer: &Writer) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for pod in pods {
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod.name, "namespace": pod.namespace },
            "deleteOptions": { "preconditions": { "uid": pod.uid } },
        });
        let evicted = scope::wait(async { Ok(client.post(&format!("{}/eviction", pod.path()), &body, writer).await) })?;
        match evicted {
            Ok(_) => {}
            // It is gone, or another one of its name is there by now.
            Err(failure) if failure.api().is_some_and(|error| matches!(error.status, 404 | 409)) => {}
            Err(failure) => match failure.api() {
                Some(error) if error.is_about_disruption() => {
                    refused.push(format!("{}: {}", pod.shown(), error.message));
                }
                _ => return Err(failure.into()),
            },
        }
    }
    Ok(refused)
}

impl Fact for Drain {
    fn address(&self) -> String {
        format!("{}:drain", node_cell(&self.options.node))
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("drain:{}", self.options.node))
    }

    /// Absent where there is something to do.
    fn read(&self, reader: &Reader) -> Result<State> {
        let node = match self.k.ask(reader, &node_path(&self.options.node))? {
            Asked::Answered(node) => node,
            Asked::NotYet(unknown) => return Ok(State::Unknown(unknown)),
            Asked::Absent => match awaited(&self.options.node)? {
                Some(unknown) => return Ok(State::Unknown(unknown)),
                // A node that is gone has no pods.
                None => return Ok(State::Here(Value::Map(Map::from([("gone".to_owned(), Value::Bool(true))])))),
            },
        };
        let pods = match self.k.ask(reader, &self.pods_path())? {
            Asked::Answered(list) => evictable(&list),
            Asked::NotYet(unknown) => return Ok(State::Unknown(unknown)),
            Asked::Absent => Vec::new(),
        };
        let closed = node.pointer("/spec/unschedulable").and_then(Json::as_bool) == Some(true);
        if closed && pods.is_empty() {
            return Ok(State::Here(Value::Map(Map::from([("drained".to_owned(), Value::Bool(true))]))));
        }
        self.check(&pods)?;
        Ok(State::Absent)
    }
}

impl Resource for Drain {
    fn want(&self, have: &State) -> Result<State> {
        Ok(match have {
            State::Here(value) => State::Here(value.clone()),
            _ => State::Here(Value::Map(Map::from([("drained".to_owned(), Value::Bool(true))]))),
        })
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        self.carry_out(writer).map(|()| Map::new())
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn stirs(&self) -> Vec<Cell> {
        vec![node_cell(&self.options.node)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_daemon_sets_and_of_the_kubelet_stay() {
        let pod = |name: &str, kind: &str| {
            json!({ "metadata": { "name": name, "namespace": "n", "uid": "u",
                "ownerReferences": [{ "kind": kind, "controller": true }] } })
        };
        let mirror = json!({ "metadata": { "name": "m", "annotations": { "kubernetes.io/config.mirror": "x" } } });
        let alone =
            json!({ "metadata": { "name": "alone", "namespace": "n" }, "spec": { "volumes": [{ "emptyDir": {} }] } });
        let list = json!({ "items": [pod("a", "ReplicaSet"), pod("b", "DaemonSet"), mirror, alone] });
        let names: Vec<(String, bool, bool)> =
            evictable(&list).into_iter().map(|pod| (pod.name, pod.unmanaged, pod.empty_dir)).collect();
        assert_eq!(names, [("a".to_owned(), false, false), ("alone".to_owned(), true, true)]);
    }
}
