//! Connections from outside to the addresses of services: plain or with TLS, by the name that is asked for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;

use super::apps::{Answer, Ask};
use super::certificates::{Authority, Holder, Pair};
use super::cluster::Cluster;
use super::controllers::{Announced, items, text};
use super::store::Key;
use super::{Kubernetes, images};
use crate::sim::chance::now;
use crate::sim::frame::Visit;
use crate::sim::guests::Connection;
use crate::sim::host::errands::Told;
use crate::sim::log::Entry;

/// The longest body.
const LIMIT: usize = 1 << 20;

/// How long a connection stays over which nothing is asked.
const IDLE: Duration = Duration::from_secs(30);

impl Kubernetes {
    /// Every address of a service that a node answers for.
    pub(crate) fn announced(&self) -> Vec<Announced> {
        self.clusters.values().flat_map(Cluster::announced).collect()
    }

    /// The cluster in which an address is that of a service, and the service.
    fn at(&mut self, address: &str) -> Option<(&mut Cluster, Announced)> {
        self.clusters.values_mut().find_map(|cluster| {
            let found = cluster.announced().into_iter().find(|one| one.address == address)?;
            Some((cluster, found))
        })
    }

    /// The certificate that is shown at an address to who asks for a name.
    fn shown(&mut self, address: &str, port: u16, name: &str, now: u64) -> Option<Arc<ServerConfig>> {
        let (cluster, found) = self.at(address)?;
        let pair = cluster.certificate_for(&found, port, name, now)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).ok()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        config.with_no_client_auth().with_single_cert(chain.ok()?, key).ok().map(Arc::new)
    }

    /// What a program on a machine is told that fetches something there.
    pub(crate) fn fetch_from(&mut self, address: &str, port: u16, path: &str, now: u64) -> Told {
        let ask = Ask { method: "GET".into(), path: path.to_owned(), host: address.to_owned(), now, ..Ask::default() };
        let answer = self.ask(address, port, &ask);
        Told { status: answer.status, body: answer.location.unwrap_or(answer.body).into_bytes() }
    }

    fn ask(&mut self, address: &str, port: u16, ask: &Ask) -> Answer {
        let Some((cluster, found)) = self.at(address) else { return Answer::text(503, "") };
        let answer = cluster.ask_service(&found.namespace, &found.name, &port.to_string(), ask);
        answer.unwrap_or_else(|_| Answer::text(503, ""))
    }
}

impl Cluster {
    /// The certificate of what is behind a service: Traefik shows the one of the Ingress that has the name, that of the
    /// default store, or one that it has made itself. What is no Traefik speaks no TLS.
    fn certificate_for(&mut self, found: &Announced, port: u16, name: &str, now: u64) -> Option<Pair> {
        let service = self.store.get(&Key::new("services", &found.namespace, &found.name))?;
        let port = Cluster::port_of(service, &port.to_string())?;
        let (pod, _) = self.behind(service, &port).into_iter().next()?;
        let image = text(&pod, "/spec/containers/0/image");
        if images::repository(image) != "docker.io/rancher/mirrored-library-traefik" || port["name"] == "web" {
            return None;
        }
        let own = self.store.list("ingresses.networking.k8s.io", None).find_map(|ingress| {
            let tls = items(ingress, "/spec/tls").iter();
            let secret = tls
                .filter(|one| items(one, "/hosts").iter().any(|host| host == name))
                .find_map(|one| one["secretName"].as_str())?;
            Some((text(ingress, "/metadata/namespace").to_owned(), secret.to_owned()))
        });
        let stores =
            self.store.list("tlsstores.traefik.io", None).filter(|store| store["metadata"]["name"] == "default");
        let usual = stores
            .filter_map(|store| {
                let secret = store["spec"]["defaultCertificate"]["secretName"].as_str()?;
                Some((text(store, "/metadata/namespace").to_owned(), secret.to_owned()))
            })
            .next();
        let found = own.into_iter().chain(usual).find_map(|(namespace, secret)| {
            let values = self.values("secrets", &namespace, &secret)?;
            Some(Pair { chain: values.get("tls.crt")?.clone(), key: values.get("tls.key")?.clone(), ..Pair::default() })
        });
        found.or_else(|| {
            let names = ["traefik.default".to_owned()];
            Authority::new("TRAEFIK DEFAULT CERT", now / 1000)
                .and_then(|ca| ca.issue(&Holder::Server(&names), now / 1000))
                .ok()
        })
    }
}

/// Serves the address of a service on one connection.
pub(crate) async fn serve_address(stream: Box<dyn Connection>, visit: Arc<Visit>, address: String, port: u16) {
    if port != 443 {
        return serve(stream, visit, address, port).await;
    }
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    // A client that says nothing sensible goes away.
    let Ok(begun) = acceptor.await else { return };
    let name = begun.client_hello().server_name().unwrap_or_default().to_ascii_lowercase();
    let config = visit.frame.world().kubernetes.shown(&address, port, &name, now());
    let Some(config) = config else { return };
    let Ok(stream) = begun.into_stream(config).await else { return };
    visit.record(Entry {
        kind: "connection".into(),
        target: address.clone(),
        method: "tls".into(),
        ..Entry::default()
    });
    serve(stream, visit, address, port).await;
}

async fn serve<S>(stream: S, visit: Arc<Visit>, address: String, port: u16)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (visit, address) = (Arc::clone(&visit), address.clone());
        async move { Ok::<_, Infallible>(respond(&visit, &address, port, request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    // A connection that breaks is the client's to notice.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(visit: &Visit, address: &str, port: u16, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let host = text(HOST).or_else(|| head.uri.host().map(str::to_owned)).unwrap_or_default();
    let path = percent_encoding::percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
    let mut ask = Ask {
        method: head.method.to_string(),
        path,
        query: form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        host: host.split(':').next().unwrap_or_default().to_ascii_lowercase(),
        authorization: text(AUTHORIZATION),
        now: now(),
        ..Ask::default()
    };
    let answer = match Limited::new(body, LIMIT).collect().await {
        Ok(body) => {
            ask.body = body.to_bytes().to_vec();
            let frame = &visit.frame;
            let answer = frame.world().kubernetes.ask(address, port, &ask);
            let changes = !matches!(ask.method.as_str(), "GET" | "HEAD");
            let change = if changes { frame.touch() } else { frame.newest() };
            match frame.saved(change).await {
                Err(why) if changes => Answer::text(500, &why.to_string()),
                _ => answer,
            }
        }
        Err(_) => Answer::text(413, "too much"),
    };
    visit.record(Entry {
        kind: "web".into(),
        target: ask.host.clone(),
        method: ask.method.clone(),
        path: ask.path.clone(),
        params: ask.query.clone(),
        status: i32::from(answer.status),
        mutating: !matches!(ask.method.as_str(), "GET" | "HEAD"),
        ..Entry::default()
    });
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    // Every status here is a valid one.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    if let Some(place) = answer.location.and_then(|place| HeaderValue::from_str(&place).ok()) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}
