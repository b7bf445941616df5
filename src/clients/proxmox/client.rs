//! Calls to the API: over few connections, with few and careful repetitions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use serde_json::Value;
use url::{Position, Url};

use crate::error::{Class, Error};
use crate::run::capability::Writer;

use super::lost::{Lost, Way};
use super::session::{Pass, Session};
use super::settings::{Credentials, Endpoint, Settings};
use super::transport::{Received, Transport};
use super::{ApiError, Failure, Params, Result, Trust};

/// How often a call is repeated at most.
const REPEATS: u32 = 3;

/// How fast the client repeats and polls. Tests go faster.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// The pause before the first repetition; it doubles.
    pub repeat: Duration,
    /// The pause after the first look at a task; it grows to `poll_at_most`.
    pub poll: Duration,
    pub poll_at_most: Duration,
    /// How long a task is waited for while its node does not answer.
    pub endure: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Pace { repeat: ms(250), poll: ms(100), poll_at_most: ms(2_000), endure: ms(90_000) }
    }
}

/// The API of one node. Clones share connections and login.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    who: String,
    session: Session,
    transport: Transport,
    /// What it was made of.
    settings: Settings,
    pace: Pace,
}

/// What the API answered.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The answer proper. Its types are loose: the same field is a number here and a string there.
    pub data: Value,
    /// How many rows there are altogether, where the answer is a page of them.
    pub total: Option<u64>,
    /// The diff between the network configuration and its pending edits.
    pub changes: Option<String>,
}

/// Shows no values: an answer may hold a new token's secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = match &self.data {
            Value::Array(rows) => format!("{} rows", rows.len()),
            Value::Object(map) => map.keys().map(String::as_str).collect::<Vec<_>>().join(" "),
            Value::Null => "null".to_owned(),
            _ => "a value".to_owned(),
        };
        f.debug_struct("Answer").field("data", &data).field("total", &self.total).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for an API. Nothing is sent before the first call.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::with_pace(settings, Pace::default())
    }

    pub(super) fn with_pace(settings: Settings, pace: Pace) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(&settings.url)?;
        let place = &endpoint.place;
        let who = settings.credentials.who().to_owned();
        let inner = Inner {
            transport: Transport::new(&endpoint, &settings)?,
            session: Session::new(place, settings.credentials.clone())?,
            who,
            settings,
            pace,
            endpoint,
        };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// A client for the same API that asks as somebody else.
    pub fn with_credentials(&self, credentials: Credentials) -> Result<Self, Error> {
        let settings = Settings { credentials, ..self.inner.settings.clone() };
        Self::with_pace(settings, self.inner.pace.clone())
    }

    /// A client for the same API that recognises its certificate in another way.
    pub fn with_trust(&self, trust: Trust) -> Result<Self, Error> {
        let settings = Settings { trust, ..self.inner.settings.clone() };
        Self::with_pace(settings, self.inner.pace.clone())
    }

    /// The host of the API, with the port when it is not the usual one.
    pub fn place(&self) -> &str {
        &self.inner.endpoint.place
    }

    /// As whom it asks: a token's id or a user's name.
    pub fn who(&self) -> &str {
        &self.inner.who
    }

    /// Reads. Repeated when the connection is lost or another node does not answer.
    pub async fn get(&self, path: &str, params: &Params) -> Result<Answer> {
        self.call(Method::GET, path, params).await
    }

    /// Creates or starts something. Never repeated once it may have arrived, like all writes.
    pub async fn post(&self, path: &str, params: &Params, _: &Writer) -> Result<Answer> {
        self.call(Method::POST, path, params).await
    }

    /// Changes something.
    pub async fn put(&self, path: &str, params: &Params, _: &Writer) -> Result<Answer> {
        self.call(Method::PUT, path, params).await
    }

    /// Deletes something. The parameters travel in the query string: the API refuses a body.
    pub async fn delete(&self, path: &str, params: &Params, _: &Writer) -> Result<Answer> {
        self.call(Method::DELETE, path, params).await
    }

    /// Asks something small over every connection that nobody uses, so that the server keeps it open. Where that fails
    /// the next call connects again.
    pub async fn keep_warm(&self) {
        let call = Call::new(&self.inner.endpoint, Method::GET, "/version", &Params::new());
        let (Ok(call), Ok(pass)) = (call, self.pass().await) else { return };
        self.inner.transport.keep_warm(|| call.request(&self.inner.endpoint, &pass)).await;
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.inner.pace
    }

    async fn call(&self, method: Method, path: &str, params: &Params) -> Result<Answer> {
        let call = Call::new(&self.inner.endpoint, method, path, params)?;
        let pass = self.pass().await?;
        match self.repeat(&call, &pass).await {
            Err(Failure::Api(refused)) if refused.wants_login() && self.inner.session.forget(&pass).await => {
                // A refused login changes nothing on the other side, so even a write is sent again, once.
                self.repeat(&call, &self.pass().await?).await
            }
            outcome => outcome,
        }
    }

    async fn pass(&self) -> Result<Pass> {
        let log_in = async |params: Params| {
            let mut call = Call::new(&self.inner.endpoint, Method::POST, "/access/ticket", &params)?;
            call.repeatable = true;
            self.repeat(&call, &Pass::default()).await
        };
        self.inner.session.pass(self.place(), log_in).await
    }

    async fn repeat(&self, call: &Call, pass: &Pass) -> Result<Answer> {
        let mut pause = self.inner.pace.repeat;
        for _ in 0..REPEATS {
            match self.send(call, pass).await {
                Ok(answer) => return Ok(answer),
                Err(miss) if miss.is_worth_repeating(call) => {}
                Err(miss) => return Err(miss.into()),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.send(call, pass).await.map_err(Failure::from)
    }

    async fn send(&self, call: &Call, pass: &Pass) -> Result<Answer, Miss> {
        let inner = &self.inner;
        let way = Way {
            to: &inner.endpoint,
            connect_timeout: inner.settings.connect_timeout,
            request_timeout: inner.settings.request_timeout,
        };
        match inner.transport.exchange(call.request(&inner.endpoint, pass)).await {
            Ok(Received { status: 200..=299, body, .. }) => self.read_answer(call, &body).map_err(Miss::Nonsense),
            Ok(received) => Err(Miss::Refused(self.refusal(call, received))),
            Err(trouble) => Err(Miss::Lost(way.explain(&call.method, &call.path, trouble))),
        }
    }

    fn read_answer(&self, call: &Call, body: &[u8]) -> Result<Answer, Error> {
        let nonsense = || self.nonsense(call);
        // serde's own words are a position at most; the body could hold a secret and is not quoted.
        let answer: Value = serde_json::from_slice(body).map_err(|e| nonsense().cause(e))?;
        let Value::Object(mut answer) = answer else { return Err(nonsense().cause("not a JSON object")) };
        let data = answer.remove("data").ok_or_else(|| nonsense().cause("no `data` in it"))?;
        let total = answer.get("total").and_then(|total| total.as_u64().or_else(|| total.as_str()?.parse().ok()));
        let changes = answer.get("changes").and_then(Value::as_str).map(str::to_owned);
        Ok(Answer { data, total, changes })
    }

    fn nonsense(&self, call: &Call) -> Error {
        let Call { method, path, .. } = call;
        Error::new(Class::Failed, format!("{}: {method} {path} was not answered as Proxmox answers", self.place()))
            .help("is this the address of a Proxmox VE node? (HOMELAB_PVE_URL)")
    }

    fn refusal(&self, call: &Call, received: Received) -> ApiError {
        let Received { status, reason, body } = received;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
        let lines = message.lines().map(str::trim_end).filter(|line| !line.is_empty() && *line != reason);
        let errors = body.get("errors").and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), |text| text.trim_end().to_owned());
        ApiError {
            status,
            details: lines.map(str::to_owned).collect(),
            errors: errors.map(|(parameter, value)| (parameter.clone(), text(value))).collect(),
            reason,
            method: call.method.to_string(),
            path: call.path.clone(),
            place: self.place().to_owned(),
            who: self.inner.who.clone(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("place", &self.place()).field("who", &self.inner.who).finish_non_exhaustive()
    }
}

/// One call, ready to be sent more than once.
struct Call {
    method: Method,
    path: String,
    /// Path and query.
    target: Uri,
    form: Option<String>,
    repeatable: bool,
}

impl Call {
    fn new(endpoint: &Endpoint, method: Method, path: &str, params: &Params) -> Result<Self, Error> {
        let Endpoint { place, base, .. } = endpoint;
        let has_body = method == Method::POST || method == Method::PUT;
        let in_query = !has_body && !params.is_empty();
        let query = if in_query { format!("?{}", params.encoded()) } else { String::new() };
        let wrong = || Error::new(Class::Bug, format!("{place}: `{path}` is not a path of the API"));
        let url = Url::parse(&format!("{base}{path}{query}")).map_err(|e| wrong().cause(e))?;
        // `..` and `?` would lead elsewhere than the path says.
        if !path.starts_with('/') || url.path() != format!("/api2/json{path}") {
            return Err(wrong().help("write names in paths with `segment`"));
        }
        let target = url[Position::BeforePath..Position::AfterQuery].parse().map_err(|e| wrong().cause(e))?;
        let repeatable = method == Method::GET;
        Ok(Call { path: path.to_owned(), target, form: has_body.then(|| params.encoded()), repeatable, method })
    }

    /// The call as it is sent.
    fn request(&self, endpoint: &Endpoint, pass: &Pass) -> Request<Full<Bytes>> {
        let body = self.form.clone().unwrap_or_default();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        *headers = pass.headers(self.method != Method::GET);
        headers.insert(HOST, endpoint.authority.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        match self.form.as_deref() {
            // Said aloud: a POST without any length is left to the server's guess.
            Some("") => headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0")),
            Some(_) => headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            None => None,
        };
        request
    }
}

/// A call that did not get what it wanted.
enum Miss {
    Lost(Lost),
    Refused(ApiError),
    Nonsense(Error),
}

impl Miss {
    fn is_worth_repeating(&self, call: &Call) -> bool {
        match self {
            Miss::Lost(lost) => lost.again && (call.repeatable || !lost.sent),
            Miss::Refused(refused) => call.repeatable && matches!(refused.status, 502 | 503 | 504 | 595 | 596),
            Miss::Nonsense(_) => false,
        }
    }
}

impl From<Miss> for Failure {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Lost(lost) => Failure::Other(lost.error),
            Miss::Refused(refused) => refused.into(),
            Miss::Nonsense(error) => Failure::Other(error),
        }
    }
}
