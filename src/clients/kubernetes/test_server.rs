//! A small HTTPS server with an authority of its own, which lets in whoever has a certificate of it and answers as a test
//! tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Client, Settings};
use crate::clients::dial::Dialler;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub kind: String,
    pub body: Value,
}

/// What the server does about it.
#[derive(Debug, Clone)]
pub enum Reply {
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    HangUp,
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Reply::text(200, &body.to_string())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Reply::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    /// A Status as the API refuses with.
    pub fn refusal(status: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": status,
        });
        Reply::text(status, &body.to_string())
    }

    pub fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Reply::Answer { status, mut headers, body } => {
                headers.push((name, value.to_owned()));
                Reply::Answer { status, headers, body }
            }
            hang_up => hang_up,
        }
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    /// A kubeconfig that leads to it.
    pub kubeconfig: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The text of a kubeconfig.
fn kubeconfig(port: u16, authority: &str, certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters:\n- name: lab\n  cluster:\n    server: \
         https://localhost:{port}\n    certificate-authority-data: {}\ncontexts:\n- name: lab\n  context:\n    cluster: \
         lab\n    user: lab\nusers:\n- name: lab\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        base64(authority),
        base64(certificate),
        base64(key)
    )
}

impl TestServer {
    /// Starts a server on a free port.
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(2096, 1, 1);
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let (server, server_key) = signed("localhost");
        let (client, client_key) = signed("admin");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.der().clone()], server_key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::new(answer), asked.clone());
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(tls));
            while let Ok((stream, _)) = listener.accept().await {
                let ((answer, asked), acceptor) = (shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| respond(request, answer.clone(), asked.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let kubeconfig = kubeconfig(address.port(), &authority.pem(), &client.pem(), &client_key.serialize_pem());
        TestServer { address, kubeconfig, asked }
    }

    pub fn settings(&self) -> Settings {
        settings(&self.kubeconfig)
    }

    pub async fn client(&self) -> Client {
        Client::new(&self.settings()).await.unwrap()
    }

    /// Methods and targets of the requests so far.
    pub fn targets(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect()
    }

    pub fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

pub fn settings(kubeconfig: &str) -> Settings {
    Settings {
        kubeconfig: kubeconfig.to_owned(),
        called: "lab.yaml".to_owned(),
        server: None,
        context: None,
        dialler: Dialler::Direct,
        connect_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(20),
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<impl Fn(&Asked) -> Reply>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let kind = head.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let seen = Asked { method: head.method.to_string(), target: head.uri.to_string(), kind, body };
    asked.lock().unwrap().push(seen.clone());
    let Reply::Answer { status, headers, body } = answer(&seen) else { return Err(std::io::Error::other("hung up")) };
    let response = headers
        .into_iter()
        .fold(Response::builder().status(status), |response, (name, value)| response.header(name, value));
    Ok(response.body(Full::from(body)).unwrap())
}
