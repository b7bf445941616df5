//! Port 6443 of a server: what K3s itself answers there, and behind it the API.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::api::watch::Watch;
use super::api::{Body, Call, Caller, Reply};
use super::life::Stage;
use super::{Kubernetes, certificates};
use crate::sim::chance::now;
use crate::sim::frame::Visit;
use crate::sim::guests::Connection;
use crate::sim::log::Entry;

mod showing;
mod stream;
mod upgrade;
mod websocket;

use stream::Stream;

/// The longest body.
const LIMIT: usize = 4 << 20;

/// How long a server keeps a connection over which nothing is asked.
const IDLE: Duration = Duration::from_secs(60);

/// How often watches look for what is new.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the API tries to reach its data, at the usual pace.
const TRIES: Duration = Duration::from_millis(500);

/// What a server shows of itself, and how it looks at what clients show.
struct Door {
    acceptor: TlsAcceptor,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Kubernetes {
    /// The door of the server on a machine.
    fn door(&self, file: &str) -> Option<Door> {
        let cluster = self.clusters.get(self.instances.get(file)?.cluster.as_ref()?)?;
        let papers = cluster.papers.get(file)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(cluster.client_ca.pem.as_bytes()).ok()?).ok()?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok()?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(papers.serving.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(papers.serving.key.as_bytes()).ok()?;
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        let anybody = Arc::new(showing::Anybody::new(Arc::clone(&verifier)));
        let config = config.with_client_cert_verifier(anybody).with_single_cert(chain.ok()?, key).ok()?;
        Some(Door { acceptor: TlsAcceptor::from(Arc::new(config)), verifier })
    }

    /// Who shows these certificates.
    fn holder(&self, file: &str, shown: &[CertificateDer<'_>], door: &Door) -> Caller {
        let Some((own, others)) = shown.split_first() else { return Caller::Nobody };
        if door.verifier.verify_client_cert(own, others, UnixTime::now()).is_err() {
            return Caller::Impostor;
        }
        let cluster = self.instances.get(file).and_then(|server| self.clusters.get(server.cluster.as_ref()?));
        let client = cluster.and_then(|cluster| cluster.clients.get(&certificates::fingerprint(own)));
        client.map_or(Caller::Impostor, |client| {
            let mut client = client.clone();
            client.groups.push("system:authenticated".into());
            Caller::User(client)
        })
    }

    /// Answers what comes to the server on a machine.
    pub(crate) fn answer(&mut self, file: &str, call: &Call) -> Reply {
        let Some(instance) = self.instances.get(file) else { return not_there() };
        let (stage, version) = (instance.stage, instance.version.clone());
        let Some(cluster) = instance.cluster.as_ref().and_then(|id| self.clusters.get_mut(id)) else {
            return not_there();
        };
        match call.path.as_str() {
            "/ping" => Reply::text(200, "pong"),
            "/cacerts" => Reply::text(200, cluster.server_ca.pem.clone()),
            path if path.starts_with("/v1-k3s/") || path.starts_with("/db/") => {
                super::api::status::Refusal::unauthorized().reply()
            }
            _ if stage != Stage::Ready => super::api::status::Refusal::not_ready().reply(),
            _ => cluster.answer(call, &version),
        }
    }

    /// What a watch at the server on a machine has to tell. Where the server has gone, it is over.
    fn tell(&self, file: &str, watch: &mut Watch) -> Vec<serde_json::Value> {
        let server = self.instances.get(file).filter(|instance| instance.stage == Stage::Ready);
        match server.and_then(|instance| self.clusters.get(instance.cluster.as_ref()?)) {
            Some(cluster) => cluster.tell(watch, now()),
            None => {
                watch.is_over = true;
                Vec::new()
            }
        }
    }
}

fn not_there() -> Reply {
    super::api::status::Refusal::not_ready().reply()
}

/// Serves the server on a machine on one connection; `host` is what the machine was called.
pub(crate) async fn serve(stream: Box<dyn Connection>, visit: Arc<Visit>, file: String, host: String) {
    let Some(door) = visit.frame.world().kubernetes.door(&file) else { return };
    // A client that does not like the certificate goes away; that is its business.
    let Ok(stream) = door.acceptor.accept(stream).await else { return };
    visit.record(Entry { kind: "connection".into(), target: host.clone(), method: "tls".into(), ..Entry::default() });
    let shown: Vec<CertificateDer<'static>> = {
        let (_, connection) = stream.get_ref();
        connection.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect()
    };
    let door = Arc::new(door);
    let service = service_fn(move |request| {
        let (visit, file, host) = (Arc::clone(&visit), file.clone(), host.clone());
        let (door, shown) = (Arc::clone(&door), shown.clone());
        let answered = visit.frame.requests.clone().spawn(async move {
            if upgrade::is_asked(&request) {
                return upgrade::answer(request, upgrade::Entrance { visit, file, host, shown, door }).await;
            }
            let call = read(request).await;
            respond(&visit, &file, &host, call, &shown, &door).await
        });
        async move { Ok::<_, Infallible>(answered.await.unwrap_or_default()) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    // A connection that breaks is the client's to notice.
    let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// Reads a request. Who asks, whoever serves the connection knows.
async fn read(request: hyper::Request<Incoming>) -> Option<Call> {
    let (head, body) = request.into_parts();
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (accept, content_type, authorization) = (text(ACCEPT), text(CONTENT_TYPE), text(AUTHORIZATION));
    let agent = text(USER_AGENT).unwrap_or_else(|| "unknown".to_owned());
    let body = Limited::new(body, LIMIT).collect().await.ok()?.to_bytes().to_vec();
    let target = head.uri.path_and_query().map_or("/", |whole| whole.as_str());
    let caller = if authorization.is_some() { Caller::Impostor } else { Caller::Nobody };
    Some(Call { accept, content_type, agent, body, ..Call::plain(head.method.as_str(), target, caller, now()) })
}

async fn respond(
    visit: &Arc<Visit>,
    file: &str,
    host: &str,
    call: Option<Call>,
    shown: &[CertificateDer<'static>],
    door: &Door,
) -> Response<Stream> {
    let Some(mut call) = call else {
        return shape(super::api::status::Refusal::bad("the body is too large or was cut off").reply());
    };
    let frame = &visit.frame;
    let (reply, came_due, pause) = {
        let mut world = frame.world();
        let came_due = world.settle(call.now);
        if call.caller == Caller::Nobody {
            call.caller = world.kubernetes.holder(file, shown, door);
        }
        let reply = world.kubernetes.answer(file, &call);
        let pause = matches!(reply.status, 504).then(|| TRIES.mul_f64(world.pace()));
        (reply, came_due, pause)
    };
    // Nobody hears of a change before it would outlast this process.
    let change = if came_due || call.is_mutating() { frame.touch() } else { frame.newest() };
    let reply = match frame.saved(change).await {
        Err(why) if call.is_mutating() => super::api::status::Refusal::internal(why).reply(),
        _ => reply,
    };
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    visit.record(Entry {
        kind: "kubernetes".into(),
        target: host.to_owned(),
        method: call.method.clone(),
        path: call.path.clone(),
        params: call.query.clone(),
        status: i32::from(reply.status),
        mutating: call.is_mutating(),
        ..Entry::default()
    });
    match reply.body {
        Body::Events(watch) => stream(*watch, Arc::clone(visit), file.to_owned()),
        body => shape(Reply { body, ..reply }),
    }
}

/// Sends events over a connection as they come, until the watch is over or nobody listens any more.
fn stream(mut watch: Watch, visit: Arc<Visit>, file: String) -> Response<Stream> {
    let (lines, body) = tokio::sync::mpsc::channel::<Bytes>(64);
    let until = tokio::time::Instant::now() + Duration::from_millis(watch.lasts);
    let requests = visit.frame.requests.clone();
    requests.spawn(async move {
        loop {
            let (events, came_due) = {
                let mut world = visit.frame.world();
                let came_due = world.settle(now());
                (world.kubernetes.tell(&file, &mut watch), came_due)
            };
            if came_due {
                visit.frame.touch();
            }
            for event in events {
                if lines.send(Bytes::from(event.to_string() + "\n")).await.is_err() {
                    return;
                }
            }
            if watch.is_over || lines.is_closed() || tokio::time::Instant::now() >= until {
                return;
            }
            tokio::time::sleep(GLANCE).await;
        }
    });
    let mut response = Response::new(Stream::Events(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn shape(reply: Reply) -> Response<Stream> {
    let (kind, text) = match reply.body {
        // Whoever can stream them has done so.
        Body::Events(_) => ("application/json", String::new()),
        Body::Json(value) => ("application/json", value.to_string() + "\n"),
        Body::Typed(kind, value) => (kind, value.to_string() + "\n"),
        Body::Text(text) => ("text/plain; charset=utf-8", text),
    };
    let mut response = Response::new(Stream::Whole(Full::new(Bytes::from(text))));
    // Every status here is a valid one.
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("cache-control", HeaderValue::from_static("no-cache, private"));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}
