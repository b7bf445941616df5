//! Ports of pods, by HTTP over a connection that is made for each request and closed after it. What needs credentials of its own is
//! reached so: the API keeps those for itself that a Service should get.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use rhai::Map as ScriptMap;
use rhai::plugin::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::connect::half_a_minute;
use super::handle::{Kubernetes, REALM};
use super::pods::{Found, Whose};
use super::reads;
use super::service::PostOptions;
use crate::clients::kubernetes::{Answer, Ask};
use crate::error::Result;
use crate::run::ensure::read;
use crate::run::raw::{Raw, mutate};
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{State, Value};
use crate::script::args::{self, Maybe, TextOrSecret};
use crate::script::convert::from_dynamic;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Forward>("KubernetesPort");
    engine.register_global_module(rhai::exported_module!(methods).into());
}

/// A port of a pod.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortForwardOptions {
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod.
    #[serde(default)]
    pub pod: Option<String>,
    /// The labels of the pods, of which the newest is meant that is ready.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The port of the pod.
    pub port: u16,
    /// Headers of each request, by name, such as `authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, Maybe<TextOrSecret>>,
    /// How long one answer may take. Default: 30 seconds.
    #[serde(default = "half_a_minute")]
    pub timeout: args::Duration,
}

/// A handle on a port of a pod.
#[derive(Debug, Clone)]
pub struct Forward {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    k: Kubernetes,
    whose: Whose,
    options: PortForwardOptions,
}

impl Forward {
    /// A handle. Nothing is sent before the first call.
    pub(super) fn new(k: &Kubernetes, options: PortForwardOptions) -> Result<Self> {
        let whose = Whose::of("port_forward", &options.namespace, options.pod.as_ref(), &options.labels)?;
        Ok(Forward { inner: Arc::new(Inner { k: k.clone(), whose, options }) })
    }

    fn place(&self) -> String {
        format!("{}:{}", self.inner.whose.shown(), self.inner.options.port)
    }

    fn question(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        if let Some(cause) = reads::opaque()? {
            return Ok(Value::Unknown(cause.part("port")));
        }
        reads::check_path_of("a pod", path, "/health")?;
        Ok(read(&Question { forward: self, method, path, body })?.into_value())
    }

    fn post(&self, path: &str, body: ScriptMap, how: &PostOptions) -> Result<Value> {
        let body = from_dynamic(&Dynamic::from(body))?;
        if how.query {
            return self.question(Method::POST, path, Some(body));
        }
        reads::check_path_of("a pod", path, "/health")?;
        let (forward, path) = (self.clone(), path.to_owned());
        mutate(Raw {
            address: format!("{REALM}:POST {}{path}", self.place()),
            realm: REALM.to_owned(),
            details: body.clone(),
            send: Arc::new(move |writer| {
                let client = forward.inner.k.writing()?;
                let needed = |unknown: Unknown| unknown.needed(&forward.place());
                let pod = match forward.inner.whose.find(&forward.inner.k, &Reader::default())? {
                    Found::Pod(pod) => pod,
                    Found::NotYet(unknown) => return Err(needed(unknown)),
                };
                let headers = forward.headers().map_err(needed)?;
                let body = body.to_json();
                let ask = forward.ask(&pod, Method::POST, &path, &headers, body.as_ref());
                let limit = forward.inner.options.timeout.0;
                Ok(data(&scope::wait(async { Ok(client.change_by_port(&ask, limit, writer).await?) })?))
            }),
        })
    }

    /// The headers; an unknown where one of them is not known yet.
    fn headers(&self) -> std::result::Result<Vec<(String, String)>, Unknown> {
        let header = |(name, value): (&String, &Maybe<TextOrSecret>)| match value {
            Maybe::Known(text) => Ok((name.clone(), text.expose().to_owned())),
            Maybe::Unknown(unknown) => Err(unknown.clone()),
        };
        self.inner.options.headers.iter().map(header).collect()
    }

    fn ask<'a>(
        &'a self,
        pod: &'a str,
        method: Method,
        path: &'a str,
        headers: &'a [(String, String)],
        body: Option<&'a Json>,
    ) -> Ask<'a> {
        Ask { namespace: &self.inner.whose.namespace, pod, port: self.inner.options.port, method, path, headers, body }
    }
}

/// JSON as data, all else as text.
fn data(answer: &Answer) -> Value {
    answer.json().map_or_else(|| Value::text(&answer.text), Value::from)
}

/// A question.
struct Question<'a> {
    forward: &'a Forward,
    method: Method,
    path: &'a str,
    body: Option<Value>,
}

impl Fact for Question<'_> {
    fn address(&self) -> String {
        format!("{REALM}:{} {}{}", self.method, self.forward.place(), self.path)
    }

    fn cell(&self) -> Cell {
        let body = self.body.as_ref().map(|body| body.to_display_json().to_string()).unwrap_or_default();
        Cell::new(REALM, format!("{} {}{} {body}", self.method, self.forward.place(), self.path))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let inner = &self.forward.inner;
        if let Some(unknown) = self.body.iter().flat_map(Value::unknowns).next() {
            return Ok(State::Unknown(unknown.clone()));
        }
        let client = match inner.k.client()? {
            Ok(client) => client,
            Err(unknown) => return Ok(State::Unknown(unknown.part("port"))),
        };
        let headers = match self.forward.headers() {
            Ok(headers) => headers,
            Err(unknown) => return Ok(State::Unknown(unknown)),
        };
        reader.touch(format!("{}{}", self.forward.place(), self.path));
        // Which pod answers is no part of what is said: two that ask different things read nothing in common.
        let pod = match inner.whose.find(&inner.k, &Reader::default())? {
            Found::Pod(pod) => pod,
            Found::NotYet(unknown) => return Ok(State::Unknown(unknown)),
        };
        let body = self.body.as_ref().and_then(Value::to_json);
        let ask = self.forward.ask(&pod, self.method.clone(), self.path, &headers, body.as_ref());
        match reader.wait(async { Ok(client.ask_port(&ask, inner.options.timeout.0).await) })? {
            Ok(answer) => Ok(State::Here(data(&answer))),
            // The pod itself may be the one that is not there: that is no answer of the port.
            Err(failure) if failure.api().is_some_and(|said| said.status == 404 && said.path == self.path) => {
                Ok(State::Absent)
            }
            Err(failure) => inner.k.later(failure).map(State::Unknown),
        }
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use hyper::Method;
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use crate::primitives::kubernetes::forward::Forward;
    use crate::primitives::kubernetes::service::PostOptions;
    use crate::script::answer;
    use crate::script::context::options;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// What a path answers: JSON as data, all else as text, `()` where there is none.
    ///
    /// ```rhai
    /// let dns = k.port_forward(#{ namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" }, port: 8181 });
    /// let health = dns.get("/ready");
    /// ```
    #[rhai_fn(name = "get", return_raw, pure)]
    pub fn get(port: &mut Forward, path: &str) -> RhaiResultOf<Dynamic> {
        answer(port.question(Method::GET, path, None))
    }

    /// Posts to a path. It is a change of its own, which runs every time; inside of the closures of `ensure`, a part of that change.
    ///
    /// ```rhai
    /// let garage = k.port_forward(#{ namespace: "infrastructure", labels: #{ app: "garage" }, port: 3903 });
    /// if false {
    ///     garage.post("/v2/CreateBucket", #{ globalAlias: "backups" });
    /// }
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post(port: &mut Forward, path: &str, body: Map) -> RhaiResultOf<Dynamic> {
        answer(port.post(path, body, &PostOptions { query: false }))
    }

    /// Posts to a path, with options: a question changes nothing, and is asked in a dry run, too.
    ///
    /// ```rhai
    /// let ollama = k.port_forward(#{ namespace: "ai", labels: #{ app: "ollama" }, port: 11434 });
    /// if false {
    ///     let model = ollama.post("/api/show", #{ model: "llama3.2:1b" }, #{ query: true });
    /// }
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post_with(
        context: NativeCallContext,
        port: &mut Forward,
        path: &str,
        body: Map,
        how: Map,
    ) -> RhaiResultOf<Dynamic> {
        let how: PostOptions = options(&context, "post", how)?;
        answer(port.post(path, body, &how))
    }
}
