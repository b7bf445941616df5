//! What answers behind a Service, by HTTP that the API passes on.

use rhai::Map as ScriptMap;
use rhai::plugin::*;
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Asked, Kubernetes, REALM};
use super::reads;
use crate::clients::kubernetes::segment;
use crate::error::{Class, Error, Result};
use crate::run::ensure::read;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::value::{State, Value};

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Service>("KubernetesService");
    engine.register_global_module(rhai::exported_module!(methods).into());
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
        reads::check_path_of("a Service", path, "/api/v1/targets")?;
        Ok(format!("{}{path}", self.proxy))
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

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use crate::primitives::kubernetes::service::{PostOptions, Service};
    use crate::script::answer;
    use crate::script::context::options;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// What a path answers: JSON as data, all else as text, `()` where there is none.
    ///
    /// ```rhai
    /// let prometheus = k.service(#{ namespace: "monitoring", name: "prometheus", port: 9090 });
    /// let targets = prometheus.get("/api/v1/targets");
    /// ```
    #[rhai_fn(name = "get", return_raw, pure)]
    pub fn get(service: &mut Service, path: &str) -> RhaiResultOf<Dynamic> {
        answer(service.get(path))
    }

    /// Posts to a path. It is a change of its own, which runs every time.
    ///
    /// ```rhai
    /// let ollama = k.service(#{ namespace: "ai", name: "ollama", port: 11434 });
    /// ollama.post("/api/pull", #{ model: "llama3.2:1b" });
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post(service: &mut Service, path: &str, body: Map) -> RhaiResultOf<Dynamic> {
        answer(service.post(path, body))
    }

    /// Posts to a path, with options: a question changes nothing, and is asked in a dry run, too.
    ///
    /// ```rhai
    /// let ollama = k.service(#{ namespace: "ai", name: "ollama", port: 11434 });
    /// let model = ollama.post("/api/show", #{ model: "llama3.2:1b" }, #{ query: true });
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post_with(
        context: NativeCallContext,
        service: &mut Service,
        path: &str,
        body: Map,
        how: Map,
    ) -> RhaiResultOf<Dynamic> {
        let PostOptions { query } = options(&context, "post", how)?;
        answer(if query { service.query(path, body) } else { service.post(path, body) })
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
