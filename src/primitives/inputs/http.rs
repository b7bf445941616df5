//! Plain HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::{Method, Url};
use rhai::plugin::*;
use rhai::{Dynamic, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Class, Error, Result};
use crate::primitives::network::Network;
use crate::run::capability::Writer;
use crate::run::ensure;
use crate::run::raw::{self, Raw};
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::scope::{self, Phase};
use crate::run::secret::DOTS;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{self, Maybe, TextOrSecret};
use crate::script::context::{Context, options};
use crate::script::convert::{from_dynamic, to_dynamic};
use crate::script::failure::{defer, fail};

/// What a request over HTTP can reach, as far as the gate can tell.
pub const REALM: &str = "http";

/// How much of a refusal is quoted.
const QUOTED: usize = 400;

/// A request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestOptions {
    /// More headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Maybe<TextOrSecret>>,
    /// Parameters of the query string.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// The body as a text. One of `body`, `json` and `form`.
    #[serde(default)]
    pub body: Option<Maybe<TextOrSecret>>,
    /// The body as data, sent as JSON.
    #[serde(default)]
    pub json: Option<Value>,
    /// The body as the fields of a form.
    #[serde(default)]
    pub form: Option<BTreeMap<String, Value>>,
    /// The status codes that are no error, as in `[200, 404]`. Default: all from 200 to 299.
    #[serde(default)]
    pub expect: Vec<u16>,
    /// How long the answer may take. Default: 30 seconds.
    #[serde(default = "half_a_minute")]
    pub timeout: args::Duration,
    /// How large the answer may be. Default: 8 MiB.
    #[serde(default = "eight_mib")]
    pub max_size: args::Size,
}

fn eight_mib() -> args::Size {
    args::Size::from_mib(8)
}

fn half_a_minute() -> args::Duration {
    args::Duration::from_secs(30)
}

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_static_module("http", rhai::exported_module!(http_functions).into());
}

/// A request, ready to be sent.
#[derive(Clone)]
struct Request {
    network: Arc<Network>,
    method: Method,
    /// A webhook's address is a secret.
    url: Value,
    options: RequestOptions,
}

impl Request {
    fn new(call: &NativeCallContext<'_>, method: Method, url: &Dynamic, map: ScriptMap) -> RhaiResult<Self> {
        let function = format!("http::{}", method.as_str().to_lowercase());
        let options: RequestOptions = options(call, &function, map)?;
        let refused =
            |what: &str, help: &str| Err(fail(Error::new(Class::Script, format!("`{function}`: {what}")).help(help)));
        let url = from_dynamic(url).map_err(|error| fail(error.into()))?;
        if !matches!(url, Value::Text(_) | Value::Secret(_) | Value::Unknown(_)) {
            return refused("the address is no text", "it looks like https://api.example.org/v1/things");
        }
        let bodies = [options.body.is_some(), options.json.is_some(), options.form.is_some()];
        if bodies.iter().filter(|given| **given).count() > 1 {
            return refused("more than one body", "give one of `body`, `json` and `form`");
        }
        if method == Method::GET && bodies.contains(&true) {
            return refused("a GET has no body", "put its parameters into `query`");
        }
        Ok(Request { network: Context::service::<Network>(call)?, method, url, options })
    }

    /// The address as people may see it.
    fn shown_url(&self) -> String {
        match &self.url {
            Value::Text(text) => text.split(['?', '#']).next().unwrap_or_default().to_owned(),
            Value::Unknown(unknown) => unknown.template(),
            _ => DOTS.to_owned(),
        }
    }

    fn address(&self) -> String {
        format!("{REALM}:{} {}", self.method, self.shown_url())
    }

    /// All that will be sent, for the diff.
    fn details(&self) -> Map {
        let value = |value: &Maybe<TextOrSecret>| value.clone().into_value(TextOrSecret::into_value);
        let options = &self.options;
        let mut map = Map::from([("url".to_owned(), self.url.clone())]);
        let mut put = |key: &str, value: Option<Value>| value.map(|value| map.insert(key.to_owned(), value));
        put("body", options.body.as_ref().map(value));
        put("json", options.json.clone());
        put("form", options.form.clone().map(Value::Map));
        if !options.query.is_empty() {
            put("query", Some(Value::Map(options.query.clone())));
        }
        if !options.headers.is_empty() {
            put(
                "headers",
                Some(Value::Map(options.headers.iter().map(|(key, text)| (key.clone(), value(text))).collect())),
            );
        }
        map
    }

    fn unknown(&self) -> Option<Unknown> {
        let details = Value::Map(self.details());
        let unknowns = details.unknowns();
        (!unknowns.is_empty()).then(|| Unknown::join(unknowns))
    }

    fn build(&self) -> Result<reqwest::Request> {
        let wrong = |what: &str| Error::new(Class::Script, format!("{}: {what}", self.address()));
        let text = text_of(&self.url).unwrap_or_default();
        let mut url = Url::parse(&text).map_err(|error| {
            wrong("the address cannot be read").cause(error).help("it looks like https://api.example.org/v1/things")
        })?;
        if !self.options.query.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs(&self.options.query));
        }
        let mut request = self.network.web()?.request(self.method.clone(), url).timeout(self.options.timeout.0);
        for (name, value) in &self.options.headers {
            if let Maybe::Known(value) = value {
                request = request.header(name, value.expose());
            }
        }
        if let Some(Maybe::Known(body)) = &self.options.body {
            request = request.body(body.expose().to_owned());
        }
        if let Some(json) = self.options.json.as_ref().and_then(Value::to_json) {
            request = request.json(&json);
        }
        if let Some(form) = &self.options.form {
            request = request.form(&pairs(form));
        }
        request.build().map_err(|error| wrong("cannot be sent like this").cause(error.without_url()))
    }

    async fn send(&self) -> Result<Value> {
        let lost = |error: reqwest::Error| self.lost(error);
        let request = self.build()?;
        let mut response = self.network.web()?.execute(request).await.map_err(lost)?;
        let status = response.status().as_u16();
        let headers = response.headers().iter().map(|(name, value)| {
            (name.as_str().to_owned(), Value::Text(String::from_utf8_lossy(value.as_bytes()).into_owned()))
        });
        let headers: Map = headers.collect();
        let body = self.read(&mut response).await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        self.check_status(status, &body)?;
        let is_json = headers.get("content-type").and_then(Value::as_text).is_some_and(|kind| kind.contains("json"));
        let parsed = if is_json && !body.trim().is_empty() { Some(self.parse(&body)?) } else { None };
        Ok(Value::Map(Map::from([
            ("status".to_owned(), Value::Int(i64::from(status))),
            ("headers".to_owned(), Value::Map(headers)),
            ("body".to_owned(), Value::Text(body)),
            ("json".to_owned(), parsed.map_or(Value::Null, Value::from)),
        ])))
    }

    async fn read(&self, response: &mut reqwest::Response) -> Result<Vec<u8>> {
        let limit = self.options.max_size;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit.mib() << 20 {
                let error = Error::new(Class::Failed, format!("{}: the answer is longer than {limit}", self.address()));
                return Err(error.help("is it the right address? `max_size` lets larger answers in"));
            }
        }
        Ok(body)
    }

    fn parse(&self, body: &str) -> Result<serde_json::Value> {
        // serde's own words are a position at most; the body could hold a secret and is not quoted.
        serde_json::from_str(body).map_err(|error| {
            Error::new(Class::Failed, format!("{}: the answer is no JSON, though it says so", self.address()))
                .cause(error)
                .help("ask again; if it stays like this, whoever answers there is not well")
        })
    }

    fn lost(&self, error: reqwest::Error) -> Error {
        let broke_off = error.is_body() || error.is_decode();
        let (class, what, help) = match () {
            () if error.is_timeout() && broke_off => {
                (Class::Timeout, "the answer took too long", "give it more time: `timeout`")
            }
            () if error.is_timeout() => {
                (Class::Timeout, "no answer", "see that it is up, or give it more time: `timeout`")
            }
            () if broke_off => (Class::Unreachable, "the answer broke off", "ask again: the connection was lost"),
            () => (
                Class::Unreachable,
                "no answer",
                "see that the address is right and whoever is there speaks HTTP: `curl -v` shows the whole conversation",
            ),
        };
        // The address may be a secret.
        let error = error.without_url();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
        let lost = Error::new(class, format!("{}: {what}", self.address()));
        causes.fold(lost, |lost, cause| lost.cause(cause)).help(help)
    }

    fn check_status(&self, status: u16, body: &str) -> Result<()> {
        let expected = match self.options.expect.as_slice() {
            [] => (200..300).contains(&status),
            expected => expected.contains(&status),
        };
        if expected {
            return Ok(());
        }
        let class = match status {
            401 => Class::Auth,
            403 => Class::Permission,
            409 => Class::Conflict,
            _ => Class::Failed,
        };
        let error = Error::new(class, format!("{}: answered {status}", self.address()));
        // Cut short only once no secret is in it, of which the cut would leave a part.
        let quoted: String = scope::clean(body.trim()).chars().take(QUOTED).collect();
        let error = if quoted.is_empty() { error } else { error.cause(quoted) };
        Err(error.help(format!("if that is an answer too, say so: `expect: [200, {status}]`")))
    }
}

/// The parameters of a query or form; what is no single value is written as JSON.
fn pairs(map: &Map) -> Vec<(String, String)> {
    let text = |value: &Value| text_of(value).or_else(|| Some(value.to_json()?.to_string()));
    map.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Secret(secret) => Some(secret.expose().to_owned()),
        _ => None,
    }
}

impl Fact for Request {
    fn address(&self) -> String {
        self.address()
    }

    fn cell(&self) -> Cell {
        let query: Vec<String> =
            self.options.query.iter().map(|(key, value)| format!("{key}={}", value.to_display_json())).collect();
        Cell::new(REALM, format!("{}?{}", self.shown_url(), query.join("&")))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        reader.touch(self.shown_url());
        reader.wait(self.send()).map(State::Here)
    }
}

/// Reads. A dry run does not know the answer once it has planned to change what is read.
fn get(call: &NativeCallContext<'_>, url: &Dynamic, map: ScriptMap) -> RhaiResult<Dynamic> {
    let request = Request::new(call, Method::GET, url, map)?;
    if let Some(unknown) = request.unknown() {
        let planning = scope::is_planning().map_err(fail)?;
        return if planning { Ok(Dynamic::from(unknown)) } else { Err(defer(&unknown, "http::get")) };
    }
    let stale = scope::stale_path(&request.shown_url()).map_err(fail)?;
    let phase = scope::with(|branch| branch.phase).map_err(fail)?;
    match stale.filter(|_| phase == Phase::Script) {
        Some(unknown) => Ok(Dynamic::from(unknown)),
        None => ensure::read(&request).map(|state| to_dynamic(&state.into_value())).map_err(fail),
    }
}

/// Changes something.
fn change(call: &NativeCallContext<'_>, method: Method, url: &Dynamic, map: ScriptMap) -> RhaiResult<Dynamic> {
    let request = Request::new(call, method, url, map)?;
    let raw = Raw {
        address: request.address(),
        realm: REALM.to_owned(),
        details: Value::Map(request.details()),
        send: Arc::new(move |_: &Writer| match request.unknown() {
            None => scope::wait(request.send()),
            Some(unknown) => Err(unknown.needed(&request.address())),
        }),
    };
    raw::mutate(raw).map(|answer| to_dynamic(&answer)).map_err(fail)
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod http_functions {
    use reqwest::Method;
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Asks for a page: `#{ status, headers, body, json }`, where `json` is `()` unless the answer is JSON.
    ///
    /// ```rhai
    /// let release = http::get("https://example.org/releases/latest").json.tag_name;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn get(context: NativeCallContext, url: Dynamic) -> RhaiResultOf<Dynamic> {
        super::get(&context, &url, Map::new())
    }

    /// Asks for a page, with options.
    ///
    /// ```rhai
    /// let page = http::get("https://example.org/health", #{ expect: [200, 404], timeout: "5s" });
    /// ```
    #[rhai_fn(name = "get", return_raw)]
    pub fn get_with(context: NativeCallContext, url: Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        super::get(&context, &url, options)
    }

    /// Posts something. In a dry run it is shown and not sent, and the answer is unknown.
    ///
    /// ```rhai
    /// http::post("https://example.org/hooks/homelab", #{ json: #{ text: "phase 3 is done" } });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn post(context: NativeCallContext, url: Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        super::change(&context, Method::POST, &url, options)
    }

    /// Puts something in place.
    ///
    /// ```rhai
    /// http::put("https://example.org/records/7", #{ json: #{ content: "192.0.2.31" } });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn put(context: NativeCallContext, url: Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        super::change(&context, Method::PUT, &url, options)
    }

    /// Changes parts of something.
    ///
    /// ```rhai
    /// http::patch("https://example.org/records/7", #{ json: #{ proxied: false } });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn patch(context: NativeCallContext, url: Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        super::change(&context, Method::PATCH, &url, options)
    }

    /// Deletes something.
    ///
    /// ```rhai
    /// http::delete("https://example.org/records/7");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn delete(context: NativeCallContext, url: Dynamic) -> RhaiResultOf<Dynamic> {
        super::change(&context, Method::DELETE, &url, Map::new())
    }

    /// Deletes something, with options.
    ///
    /// ```rhai
    /// http::delete("https://example.org/records/8", #{ expect: [200, 404] });
    /// ```
    #[rhai_fn(name = "delete", return_raw)]
    pub fn delete_with(context: NativeCallContext, url: Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        super::change(&context, Method::DELETE, &url, options)
    }
}
