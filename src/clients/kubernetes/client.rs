//! Calls to the API, and their answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tower::{BoxError, ServiceBuilder};

use super::certificate::Identity;
use super::dialled::Dialled;
use super::discovery;
use super::failure::{ApiError, Failure, Result};
use super::kubeconfig::Settings;
use super::lost;
use crate::error::{Class, Error};
use crate::run::capability::Writer;

/// The field manager of everything that is applied.
pub const MANAGER: &str = "homelab";

/// The media type of what is applied.
const APPLY: &str = "application/apply-patch+yaml";
/// How often a read is tried in all.
const TRIES: u32 = 3;
/// The pause before the second try.
const PAUSE: Duration = Duration::from_millis(300);
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const LONGEST: usize = 32 << 20;

/// A part of a path, such as the name of an object.
pub fn segment(name: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(name, PLAIN).to_string()
}

/// Speaks to one cluster. Copies are cheap and share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    kube: kube::Client,
    place: String,
    host: String,
    identity: Identity,
    kinds: discovery::Kept,
    connect_timeout: Duration,
    request_timeout: Duration,
}

/// Who applies, and whether that takes over what others own.
#[derive(Debug, Clone, Copy)]
pub struct Applying<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Whether fields of other managers are taken over. Else they are a conflict.
    pub force: bool,
}

impl Applying<'_> {
    /// As [`MANAGER`], and nothing is taken over.
    pub fn ours() -> Self {
        Applying { manager: MANAGER, force: false }
    }

    fn query(&self) -> String {
        format!("fieldManager={}&force={}", segment(self.manager), self.force)
    }
}

/// What was answered.
pub struct Answer {
    /// The body as it came.
    pub text: String,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

impl Answer {
    /// The body as JSON, where it is some.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }
}

/// Shows no content: an answer may hold a secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("length", &self.text.len()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for a cluster. Nothing is sent before the first call. It has to be made inside of the runtime that will
    /// drive its connections.
    pub async fn new(settings: &Settings) -> Result<Self, Error> {
        // An error only says that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = settings.config().await?;
        let unusable = |error: kube::Error| {
            let whole =
                Error::new(Class::InputMissing, format!("{}: its certificates cannot be used", settings.called));
            lost::chain(&error).into_iter().fold(whole, Error::cause).help("fetch the kubeconfig anew")
        };
        let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let place = match config.cluster_url.port_u16() {
            None | Some(6443) => host.clone(),
            Some(port) => format!("{host}:{port}"),
        };
        let identity =
            Identity::of(&config).map_err(|error| error.context(format!("{}: cannot be used", settings.called)))?;
        let dialled = Dialled { dialler: settings.dialler, timeout: settings.connect_timeout };
        let https = config.rustls_https_connector_with_connector(dialled).map_err(unusable)?;
        let wire = hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build::<_, Body>(https);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(unusable)?)
            .map_err(BoxError::from)
            .service(wire);
        Ok(Client {
            inner: Arc::new(Inner {
                kube: ClientBuilder::new(service, config.default_namespace.clone()).build(),
                place,
                host,
                identity,
                kinds: discovery::Kept::default(),
                connect_timeout: settings.connect_timeout,
                request_timeout: settings.request_timeout,
            }),
        })
    }

    /// Where the API is, with the port when it is not the usual one.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// The host of the API.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Who asks, as the kubeconfig has it.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// What speaks to it.
    pub(super) fn kube(&self) -> &kube::Client {
        &self.inner.kube
    }

    /// How long connecting may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.inner.connect_timeout
    }

    /// What is kept of the kinds that it serves.
    pub(super) fn kept_kinds(&self) -> &discovery::Kept {
        &self.inner.kinds
    }

    /// Reads. Repeated when the connection is lost, or the server asks for that.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.get_as(path, "application/json, */*").await
    }

    /// Reads what can be had in several forms, in one of them.
    pub async fn get_as(&self, path: &str, accept: &'static str) -> Result<Answer> {
        self.repeat(Ask { accept, is_read: true, ..Ask::new(Method::GET, path) }).await
    }

    /// Creates something, or asks for an action such as an eviction.
    pub async fn post(&self, path: &str, body: &Value, _: &Writer) -> Result<Answer> {
        self.repeat(Ask::new(Method::POST, path).with("application/json", body)).await
    }

    /// Asks a question that is put as a POST and changes nothing, such as what may be done, or what a Service says to it.
    pub async fn question(&self, path: &str, body: &Value) -> Result<Answer> {
        self.repeat(Ask { is_read: true, ..Ask::new(Method::POST, path).with("application/json", body) }).await
    }

    /// Replaces something.
    pub async fn put(&self, path: &str, body: &Value, _: &Writer) -> Result<Answer> {
        self.repeat(Ask::new(Method::PUT, path).with("application/json", body)).await
    }

    /// Changes the fields that the body names: a merge patch. It takes them from whoever owned them.
    pub async fn patch(&self, path: &str, body: &Value, _: &Writer) -> Result<Answer> {
        self.repeat(Ask::new(Method::PATCH, path).with("application/merge-patch+json", body)).await
    }

    /// Server-side apply. What others own is a conflict, unless it is taken over.
    pub async fn apply(&self, path: &str, body: &Value, how: Applying<'_>, _: &Writer) -> Result<Answer> {
        let path = format!("{path}?{}", how.query());
        self.repeat(Ask::new(Method::PATCH, &path).with(APPLY, body)).await
    }

    /// What a server-side apply would come to: the server goes through all of it and keeps nothing.
    pub async fn try_apply(&self, path: &str, body: &Value, how: Applying<'_>) -> Result<Answer> {
        let path = format!("{path}?{}&dryRun=All", how.query());
        self.repeat(Ask { is_read: true, ..Ask::new(Method::PATCH, &path).with(APPLY, body) }).await
    }

    /// What a merge patch would come to.
    pub async fn try_patch(&self, path: &str, body: &Value) -> Result<Answer> {
        let path = format!("{path}?dryRun=All");
        let ask = Ask::new(Method::PATCH, &path).with("application/merge-patch+json", body);
        self.repeat(Ask { is_read: true, ..ask }).await
    }

    /// What replacing something would come to.
    pub async fn try_put(&self, path: &str, body: &Value) -> Result<Answer> {
        let path = format!("{path}?dryRun=All");
        self.repeat(Ask { is_read: true, ..Ask::new(Method::PUT, &path).with("application/json", body) }).await
    }

    /// Changes something step by step: a JSON patch.
    pub async fn edit(&self, path: &str, steps: &Value, _: &Writer) -> Result<Answer> {
        self.repeat(Ask::new(Method::PATCH, path).with("application/json-patch+json", steps)).await
    }

    /// Deletes something; the body is its `DeleteOptions`.
    pub async fn delete(&self, path: &str, options: &Value, _: &Writer) -> Result<Answer> {
        self.repeat(Ask::new(Method::DELETE, path).with("application/json", options)).await
    }

    /// Sends a call, and sends it again where that is safe and may help.
    async fn repeat(&self, ask: Ask<'_>) -> Result<Answer> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            let failure = match self.send(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(miss) if miss.again && (ask.is_read || !miss.sent) => miss.failure,
                Err(miss) => return Err(miss.failure),
            };
            let asked = failure.api().and_then(|refused| refused.retry_after);
            tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
        self.send(&ask).await.map_err(|miss| miss.failure)
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Answer, Miss> {
        let (method, path) = (&ask.method, ask.path);
        let request = self.request(ask).map_err(|error| Miss::final_(error.into()))?;
        let exchange = async {
            let response = self.inner.kube.send(request).await?;
            let (head, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(http_body_util::Limited::new(body, LONGEST)).await;
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            Ok((head, text.map_err(kube::Error::Service)?))
        };
        let way = lost::Way { place: &self.inner.place, connect_timeout: self.inner.connect_timeout, method, path };
        let limit = self.inner.request_timeout;
        let (head, text) = match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(Miss::lost(way.explain(&error))),
            Err(_) => return Err(Miss::final_(way.silence(limit).into())),
        };
        if head.status.is_success() {
            return Ok(Answer { text, warnings: warnings(&head.headers) });
        }
        let mut refused = ApiError::read(head.status.as_u16(), &text);
        refused.retry_after = seconds(&head.headers).or(refused.retry_after);
        refused.method = method.to_string();
        refused.path = path.to_owned();
        refused.place.clone_from(&self.inner.place);
        let again = refused.retry_after.is_some() && !refused.is_about_disruption();
        Err(Miss { failure: refused.into(), again, sent: false })
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Body>, Error> {
        let path = ask.path;
        let wrong = || Error::new(Class::Bug, format!("{}: `{path}` is not a path of the API", self.inner.place));
        let target: Uri = path.parse().map_err(|error| wrong().cause(error))?;
        if !path.starts_with('/') || path.split(['/', '?']).any(|part| part == "..") {
            return Err(wrong().help("write it from the root, as in `/api/v1/nodes`"));
        }
        let content = ask.body.map(|(_, body)| body.to_string().into_bytes()).unwrap_or_default();
        let mut request = Request::new(Body::from(content));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
        if let Some((kind, _)) = ask.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Ok(request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

/// A call.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<(&'static str, &'a Value)>,
    accept: &'static str,
    /// Whether nothing is different afterwards.
    is_read: bool,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &'a str) -> Self {
        Ask { method, path, body: None, accept: "application/json, */*", is_read: false }
    }

    fn with(self, kind: &'static str, body: &'a Value) -> Self {
        Ask { body: Some((kind, body)), ..self }
    }
}

/// A call that did not get what it wanted.
struct Miss {
    failure: Failure,
    /// Whether asking again could help.
    again: bool,
    /// Whether the other side may have carried it out.
    sent: bool,
}

impl Miss {
    fn final_(failure: Failure) -> Self {
        Miss { failure, again: false, sent: true }
    }

    fn lost(lost: lost::Lost) -> Self {
        Miss { failure: lost.error.into(), again: lost.again, sent: lost.sent }
    }
}

fn warnings(headers: &HeaderMap) -> Vec<String> {
    let said = headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
    // `299 - "unknown field"`
    said.map(|text| text.split_once('"').map_or(text, |(_, rest)| rest.trim_end_matches('"')).to_owned()).collect()
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
