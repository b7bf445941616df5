//! What runs in the cluster has to say: logs and events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::evidence::when;
use super::handle::{Asked, Kubernetes, REALM};
use super::reads::{self, text};
use super::veil;
use crate::clients::kubernetes::segment;
use crate::error::{Class, Error, Result};
use crate::run::ensure::read;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::value::{Map, State, Value};

/// Whose log is read: one of `pod`, `job` and `labels`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsOptions {
    /// The namespace.
    pub namespace: String,
    /// The pod.
    #[serde(default)]
    pub pod: Option<String>,
    /// The Job whose newest pod is meant.
    #[serde(default)]
    pub job: Option<String>,
    /// The labels of the pods, of which the newest is meant.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The container. Default: the only one.
    #[serde(default)]
    pub container: Option<String>,
    /// How many lines from its end. Default: 100.
    #[serde(default = "hundred")]
    pub tail: u32,
    /// Whether that of the container before its last restart is meant. Default: false.
    #[serde(default)]
    pub previous: bool,
}

fn hundred() -> u32 {
    100
}

/// Whose events are read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsOptions {
    /// The namespace. Default: all.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Only those of the object of this name.
    #[serde(default)]
    pub name: Option<String>,
    /// Only those of objects of this kind.
    #[serde(default)]
    pub kind: Option<String>,
}

/// Which pod has the log.
enum Whose {
    Pod(String),
    Labels(String),
}

struct Log<'a> {
    k: &'a Kubernetes,
    options: &'a LogsOptions,
    whose: Whose,
}

/// The end of a log, `()` where there is no such pod.
pub(super) fn logs(k: &Kubernetes, options: &LogsOptions) -> Result<Value> {
    let pairs = |labels: &BTreeMap<String, String>| {
        let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    };
    let whose = match (&options.pod, &options.job, options.labels.is_empty()) {
        (Some(pod), None, true) => Whose::Pod(pod.clone()),
        (None, Some(job), true) => Whose::Labels(format!("batch.kubernetes.io/job-name={job}")),
        (None, None, false) => Whose::Labels(pairs(&options.labels)),
        _ => {
            return Err(Error::new(Class::Script, "`logs`: whose log is not clear")
                .help("name one of `pod`, `job` and `labels`"));
        }
    };
    let log = Log { k, options, whose };
    match reads::opaque()? {
        Some(cause) => Ok(Value::Unknown(cause.part(&log.cell().path))),
        None => Ok(read(&log)?.into_value()),
    }
}

impl Log<'_> {
    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", segment(&self.options.namespace))
    }

    /// The newest pod with some labels.
    fn newest(&self, reader: &Reader, labels: &str) -> Result<std::result::Result<Option<String>, State>> {
        let path = format!("{}?labelSelector={}", self.pods(), segment(labels));
        Ok(match self.k.ask(reader, &path)? {
            Asked::Answered(list) => {
                let items = list.get("items").and_then(Json::as_array).cloned().unwrap_or_default();
                let newest = items.iter().max_by_key(|pod| text(pod, "/metadata/creationTimestamp"));
                Ok(newest.map(|pod| text(pod, "/metadata/name")))
            }
            Asked::Absent => Ok(None),
            Asked::NotYet(unknown) => Err(State::Unknown(unknown)),
        })
    }
}

impl Fact for Log<'_> {
    fn address(&self) -> String {
        format!("{REALM}:{}", self.cell().path)
    }

    fn cell(&self) -> Cell {
        let whose = match &self.whose {
            Whose::Pod(pod) => pod,
            Whose::Labels(labels) => labels,
        };
        Cell::new(REALM, format!("log:{}/{whose}", self.options.namespace))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let pod = match &self.whose {
            Whose::Pod(pod) => pod.clone(),
            Whose::Labels(labels) => match self.newest(reader, labels)? {
                Ok(Some(pod)) => pod,
                Ok(None) => return Ok(State::Absent),
                Err(state) => return Ok(state),
            },
        };
        if let Ok(client) = self.k.client()? {
            veil::over_pod(&client, &self.options.namespace, &pod)?;
        }
        let LogsOptions { container, tail, previous, .. } = self.options;
        let mut path = format!("{}/{}/log?tailLines={tail}&previous={previous}", self.pods(), segment(&pod));
        if let Some(container) = container {
            path.push_str(&format!("&container={}", segment(container)));
        }
        Ok(match self.k.ask_text(reader, &path)? {
            Asked::Answered(Json::String(log)) => State::Here(Value::Text(log)),
            Asked::Answered(other) => State::Here(Value::Text(other.to_string())),
            Asked::Absent => State::Absent,
            Asked::NotYet(unknown) => State::Unknown(unknown),
        })
    }
}

/// Events, the newest last.
pub(super) fn events(k: &Kubernetes, options: &EventsOptions) -> Result<Value> {
    let within = match &options.namespace {
        Some(namespace) => format!("namespaces/{}/", segment(namespace)),
        None => String::new(),
    };
    let name = options.name.iter().map(|name| format!("involvedObject.name={name}"));
    let kind = options.kind.iter().map(|kind| format!("involvedObject.kind={kind}"));
    let fields: Vec<String> = name.chain(kind).collect();
    let selector =
        if fields.is_empty() { String::new() } else { format!("?fieldSelector={}", segment(&fields.join(","))) };
    if let Some(cause) = reads::opaque()? {
        return Ok(Value::Unknown(cause.part("events")));
    }
    reads::answered(
        k,
        format!("events:{within}{}", fields.join(",")),
        vec![format!("/api/v1/{within}events{selector}")],
        &|list| {
            let mut items = list.get("items")?.as_array()?.clone();
            items.sort_by_key(when);
            Some(Value::List(items.iter().map(event).collect()))
        },
    )
}

fn event(json: &Json) -> Value {
    let object = [text(json, "/involvedObject/kind"), text(json, "/involvedObject/name")].join("/");
    let count = json.get("count").and_then(Json::as_i64).unwrap_or(1);
    Value::Map(Map::from([
        ("type".to_owned(), Value::Text(text(json, "/type"))),
        ("reason".to_owned(), Value::Text(text(json, "/reason"))),
        ("message".to_owned(), Value::Text(text(json, "/message"))),
        ("object".to_owned(), Value::Text(object)),
        ("count".to_owned(), Value::Int(count)),
        ("last".to_owned(), Value::Text(when(json))),
    ]))
}
