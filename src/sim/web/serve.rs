//! The HTTP side of the web.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Internet, Site, cloudflare, files, github, releases, resolver};
use crate::sim::frame::Visit;
use crate::sim::log::Entry;

/// The longest body.
const LIMIT: usize = 256 << 10;

/// How long a server keeps a connection over which nothing is asked.
const IDLE: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) host: String,
    pub(crate) method: String,
    /// Without a slash at its end, if it is not the root.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) accept: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(super) kind: &'static str,
    /// Where it is instead.
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(super) fn of(status: u16, kind: &'static str, body: String) -> Self {
        Answer { status, kind, location: None, body }
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Answer::of(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Answer::of(status, "application/json", value.to_string())
    }
}

impl Internet {
    /// Answers a request. `token` is the one that whoever keeps this site has given.
    pub(crate) fn answer(&mut self, ask: &Ask, token: &str) -> Answer {
        match self.site(&ask.host) {
            Some(Site::Resolver) => resolver::answer(self, ask),
            Some(Site::Cloudflare) => cloudflare::answer(self, ask, token),
            Some(Site::GitHub) => github::answer(self, ask, token),
            Some(Site::Releases) => releases::lead(self, ask),
            Some(Site::Assets) => releases::file(ask),
            Some(Site::Home) => page(ask, "a site of its own"),
            Some(Site::Console) => page(ask, "JetKVM"),
            Some(Site::Files) => files::answer(&self.files, ask),
            None => Answer::text(421, "not here"),
        }
    }
}

fn page(ask: &Ask, title: &str) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET" | "HEAD", "/") => {
            Answer::of(200, "text/html; charset=utf-8", format!("<!doctype html><title>{title}</title>\n"))
        }
        ("GET" | "HEAD", _) => Answer::text(404, "not found"),
        _ => Answer::text(405, "method not allowed"),
    }
}

/// Serves what is at a host of the web on one connection.
pub(crate) async fn serve<S>(stream: S, visit: Arc<Visit>, host: String)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (visit, host) = (Arc::clone(&visit), host.clone());
        async move { respond(&visit, host, request).await }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    // A connection that breaks is the client's to notice.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    visit: &Visit,
    host: String,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let query = head.uri.query().unwrap_or_default();
    let path = head.uri.path();
    let mut ask = Ask {
        host: host.to_ascii_lowercase(),
        method: head.method.to_string(),
        path: if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { "/".to_owned() },
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        accept: text(ACCEPT).unwrap_or_default(),
        authorization: text(AUTHORIZATION),
        body: Vec::new(),
    };
    let answer = match Limited::new(body, LIMIT).collect().await {
        Ok(body) => {
            ask.body = body.to_bytes().to_vec();
            settle(visit, &ask).await
        }
        Err(_) => Answer::text(413, "too much"),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    // Every status here is a valid one.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    if let Some(place) = answer.location.and_then(|place| HeaderValue::from_str(&place).ok()) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// Answers a request of this world, once what it changes would outlast this process.
async fn settle(visit: &Visit, ask: &Ask) -> Answer {
    let mutating = !matches!(ask.method.as_str(), "GET" | "HEAD");
    let mut answer = {
        let mut world = visit.frame.world();
        let token = world.internet.token_at(&ask.host, &world.secrets).to_owned();
        world.internet.answer(ask, &token)
    };
    if mutating && let Err(why) = visit.frame.saved(visit.frame.touch()).await {
        answer = Answer::text(500, &why);
    }
    visit.record(Entry {
        kind: "web".into(),
        target: ask.host.clone(),
        method: ask.method.clone(),
        path: ask.path.clone(),
        params: ask.query.clone(),
        status: i32::from(answer.status),
        mutating,
        ..Entry::default()
    });
    answer
}
