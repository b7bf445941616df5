//! A small HTTPS server that answers as a test tells it to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::clients::dial::Dialler;

use super::client::Pace;
use super::{Client, Credentials, Settings, Trust};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: hyper::HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What the server does about it.
pub enum Reply {
    Answer { status: u16, reason: String, body: String },
    HangUp,
}

impl Reply {
    pub fn data(data: Value) -> Self {
        Reply::body(200, "OK", &serde_json::json!({ "data": data }).to_string())
    }

    pub fn refusal(status: u16, reason: &str) -> Self {
        Reply::body(status, reason, "")
    }

    pub fn body(status: u16, reason: &str, body: &str) -> Self {
        Reply::Answer { status, reason: reason.into(), body: body.into() }
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    pub fingerprint: String,
    /// The certificate, which is its own CA, as PEM.
    pub pem: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub connections: Arc<AtomicUsize>,
}

impl TestServer {
    /// Starts a server on a free port.
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned(), "pve1".to_owned()]).unwrap();
        let fingerprint = Sha256::digest(key.cert.der()).iter().map(|byte| format!("{byte:02x}")).collect();
        let pem = key.cert.pem();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], key.signing_key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, connections) = <(Arc<Mutex<Vec<Asked>>>, Arc<AtomicUsize>)>::default();
        let shared = (Arc::new(answer), asked.clone(), connections.clone());
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(tls));
            while let Ok((stream, _)) = listener.accept().await {
                let ((answer, asked, connections), acceptor) = (shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    connections.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(move |request| respond(request, answer.clone(), asked.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        TestServer { address, fingerprint, pem, asked, connections }
    }

    pub fn token() -> Credentials {
        Credentials::Token { id: "automation@pve!homelab".into(), secret: "s3cret".into() }
    }

    pub fn settings(&self, credentials: Credentials) -> Settings {
        Settings {
            url: format!("https://localhost:{}", self.address.port()),
            trust: Trust::Fingerprints(vec![self.fingerprint.clone()]),
            credentials,
            dialler: Dialler::Direct,
            connect_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(20),
        }
    }

    pub fn client(&self, credentials: Credentials) -> Client {
        quick(self.settings(credentials))
    }

    /// Methods and targets of the requests so far.
    pub fn targets(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect()
    }

    pub fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

/// A client that repeats and polls without making a test wait.
pub fn quick(settings: Settings) -> Client {
    Client::with_pace(settings, quick_pace()).unwrap()
}

pub fn quick_pace() -> Pace {
    let ms = Duration::from_millis;
    Pace { repeat: ms(1), poll: ms(1), poll_at_most: ms(5), endure: ms(200) }
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<impl Fn(&Asked) -> Reply>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let seen = Asked {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    asked.lock().unwrap().push(seen.clone());
    let Reply::Answer { status, reason, body } = answer(&seen) else { return Err(std::io::Error::other("hung up")) };
    let mut response = Response::builder().status(status).body(Full::from(body)).unwrap();
    response.extensions_mut().insert(ReasonPhrase::try_from(reason.into_bytes()).unwrap());
    Ok(response)
}

/// A gateway that answers its first, second, … CONNECT with a refusal or leads somewhere, whatever it is asked for.
pub async fn gateway(leads: impl Fn(usize) -> Result<SocketAddr, &'static str> + Send + 'static) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for count in 0.. {
            let Ok((mut near, _)) = listener.accept().await else { return };
            let to = leads(count);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await?);
                }
                match to {
                    Ok(to) => {
                        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                        tokio::io::copy_bidirectional(&mut near, &mut TcpStream::connect(to).await?).await?;
                    }
                    Err(refusal) => near.write_all(format!("HTTP/1.1 {refusal}\r\n\r\n").as_bytes()).await?,
                }
                std::io::Result::Ok(())
            });
        }
    });
    address
}
