//! What runs in the cluster has to say: logs, events, and what answers behind a Service.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map as ScriptMap};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::evidence::when;
use super::handle::{Asked, Kubernetes, REALM};
use super::reads::{self, text};
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

/// A Service, and how it is spoken to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceOptions {
    /// The namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port: its number, or its name.
    #[serde(default)]
    pub port: Option<Port>,
    /// `http` or `https`. Default: `http`.
    #[serde(default)]
    pub scheme: Scheme,
}

/// A port of a Service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Port {
    /// By its number.
    Number(u16),
    /// By its name.
    Name(String),
}

/// How a Service is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HTTP.
    #[default]
    Http,
    /// HTTPS. The API does not verify who answers.
    Https,
}

/// How something is posted to a Service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostOptions {
    /// Whether it asks and changes nothing. Default: false.
    #[serde(default)]
    pub query: bool,
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

/// A handle on what answers behind a Service. The API itself passes the calls on.
#[derive(Debug, Clone)]
pub struct Service {
    k: Kubernetes,
    proxy: String,
}

impl Service {
    /// A handle. Nothing is sent before the first call.
    pub fn new(k: &Kubernetes, options: &ServiceOptions) -> Self {
        Service { k: k.clone(), proxy: proxy(options) }
    }

    fn path(&self, path: &str) -> Result<String> {
        if path.starts_with('/') {
            return Ok(format!("{}{path}", self.proxy));
        }
        Err(Error::new(Class::Script, format!("`{path}` is not a path of a Service"))
            .help("write it from the root, as in `/api/v1/targets`"))
    }

    /// What a path answers: JSON as data, all else as text, `()` where there is none.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let path = self.path(path)?;
        match reads::opaque()? {
            Some(cause) => Ok(Value::Unknown(cause.part("service"))),
            None => reads::answered(&self.k, format!("GET {path}"), vec![path.clone()], &|json| {
                Some(Value::from(json.clone()))
            }),
        }
    }

    /// Posts to a path: a change of its own, which runs every time.
    pub(super) fn post(&self, path: &str, body: ScriptMap) -> Result<Value> {
        super::raw::send(&self.k, super::raw::Method::Post, &self.path(path)?, body)
    }

    /// Asks a question that is put as a POST, and changes nothing.
    pub(super) fn query(&self, path: &str, body: ScriptMap) -> Result<Value> {
        let path = self.path(path)?;
        let body = crate::script::convert::from_dynamic(&Dynamic::from(body))?;
        if let Some(cause) = reads::opaque()? {
            return Ok(Value::Unknown(cause.part("service")));
        }
        Ok(read(&Question { k: &self.k, path, body })?.into_value())
    }
}

/// The path behind which the API passes calls on to a Service.
fn proxy(options: &ServiceOptions) -> String {
    let scheme = if options.scheme == Scheme::Https { "https:" } else { "" };
    let port = match &options.port {
        Some(Port::Number(number)) => format!(":{number}"),
        Some(Port::Name(name)) => format!(":{}", segment(name)),
        None if scheme.is_empty() => String::new(),
        None => ":".to_owned(),
    };
    // The colons are the API's own; names have none.
    let name = format!("{scheme}{}{port}", segment(&options.name));
    format!("/api/v1/namespaces/{}/services/{name}/proxy", segment(&options.namespace))
}

/// A question that is put as a POST.
struct Question<'a> {
    k: &'a Kubernetes,
    path: String,
    body: Value,
}

impl Fact for Question<'_> {
    fn address(&self) -> String {
        format!("{REALM}:POST {}", self.path)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("POST {} {}", self.path, self.body.to_display_json()))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let body = match (self.body.unknowns().first(), self.body.to_json()) {
            (None, Some(body)) => body,
            (Some(unknown), _) => return Ok(State::Unknown((*unknown).clone())),
            (None, None) => {
                return Err(Error::new(Class::Script, format!("{}: the body is no plain data", self.address())));
            }
        };
        Ok(match self.k.question(reader, &self.path, &body)? {
            Asked::Answered(json) => State::Here(Value::from(json)),
            Asked::Absent => State::Absent,
            Asked::NotYet(unknown) => State::Unknown(unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_service_names_scheme_and_port() {
        let proxy = |port: Option<Port>, scheme: Scheme| {
            proxy(&ServiceOptions { namespace: "m".into(), name: "p".into(), port, scheme })
        };
        assert_eq!(proxy(Some(Port::Number(9090)), Scheme::Http), "/api/v1/namespaces/m/services/p:9090/proxy");
        assert_eq!(
            proxy(Some(Port::Name("web".into())), Scheme::Https),
            "/api/v1/namespaces/m/services/https:p:web/proxy"
        );
        assert_eq!(proxy(None, Scheme::Http), "/api/v1/namespaces/m/services/p/proxy");
    }
}
