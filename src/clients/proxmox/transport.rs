//! The few connections to a node's API: counted, kept, and each with one call at a time.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::ext::ReasonPhrase;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::clients::dial::Dialler;
use crate::error::{Class, Error};

use super::lost::tls_trouble;
use super::settings::{Endpoint, Settings};
use super::trust::{self, Mismatch, Trust, Witness};

/// The API's proxy has three workers: more connections only wait for each other, and every new one costs a handshake.
const CONNECTIONS: usize = 3;

/// The server drops a connection that was idle for 5 s. Ours is given up before, so that no call meets the closing.
const IDLE: Duration = Duration::from_secs(4);

/// The longest answer that is read. The API's own are a few megabytes at most.
const LONGEST: usize = 8 << 20;

/// Sends calls over at most [`CONNECTIONS`] connections. An HTTP client's pool counts only what is idle: it opens one
/// more while the last answer's connection is on its way back.
pub(super) struct Transport {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Tls,
    dialler: Dialler,
    connect_timeout: Duration,
    request_timeout: Duration,
    permits: Semaphore,
    /// The one used last is at the end.
    idle: Mutex<Vec<Connection>>,
}

/// The TLS settings of connections.
enum Tls {
    Fixed(Arc<ClientConfig>),
    /// As a witness told; none before it was asked.
    Told {
        place: String,
        witness: Arc<dyn Witness>,
        current: tokio::sync::Mutex<Option<Arc<ClientConfig>>>,
    },
}

impl Tls {
    fn new(place: &str, trust: &Trust) -> Result<Self, Error> {
        Ok(match trust {
            Trust::Witness(witness) => Tls::Told {
                place: place.to_owned(),
                witness: Arc::clone(witness),
                current: tokio::sync::Mutex::default(),
            },
            other => Tls::Fixed(Arc::new(other.tls_config(place)?)),
        })
    }

    /// The settings, newer ones than `refused` where there can be any.
    async fn settings(&self, refused: Option<&Arc<ClientConfig>>) -> Result<Arc<ClientConfig>, Trouble> {
        let (place, witness, current) = match self {
            Tls::Fixed(settings) => return Ok(Arc::clone(settings)),
            Tls::Told { place, witness, current } => (place, witness, current),
        };
        let mut current = current.lock().await;
        // Another call may have asked the witness meanwhile.
        let is_new = |known: &&Arc<ClientConfig>| refused.is_none_or(|refused| !Arc::ptr_eq(known, refused));
        if let Some(known) = current.as_ref().filter(is_new) {
            return Ok(Arc::clone(known));
        }
        let told = trust::ask(place, &**witness).await.map_err(Trouble::Untold)?;
        Ok(Arc::clone(current.insert(Arc::new(told))))
    }
}

/// A connection with the task that drives it, which ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    used: Instant,
    _driver: AbortOnDropHandle<()>,
}

/// What was answered.
pub(super) struct Received {
    pub status: u16,
    pub reason: String,
    pub body: Bytes,
}

/// What kept a call from being answered.
pub(super) enum Trouble {
    /// No connection came about.
    Connect(io::Error),
    /// Nothing came within the time that a call may take.
    Silence,
    /// The connection broke; whether the call may have arrived.
    Broken { sent: bool, cause: String },
    /// Nobody could tell how the node's certificate is to be recognised.
    Untold(Error),
    /// The answer is longer than any of the API's.
    TooLong { limit: usize },
}

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, settings: &Settings) -> Result<Self, Error> {
        let Endpoint { place, host, port, .. } = endpoint;
        let name = ServerName::try_from(host.clone()).map_err(|e| {
            Error::new(Class::InputMissing, format!("{place}: a certificate cannot be for such a name")).cause(e)
        })?;
        Ok(Transport {
            host: host.clone(),
            port: *port,
            name,
            tls: Tls::new(place, &settings.trust)?,
            dialler: settings.dialler,
            connect_timeout: settings.connect_timeout,
            request_timeout: settings.request_timeout,
            permits: Semaphore::new(CONNECTIONS),
            idle: Mutex::default(),
        })
    }

    /// Sends a call and reads its answer, over a kept connection where there is one.
    pub(super) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Received, Trouble> {
        // Held until the connection is back in its place. The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let answered = tokio::time::timeout(self.request_timeout, self.over_some_connection(request)).await;
        answered.unwrap_or(Err(Trouble::Silence))
    }

    /// Asks something small over every connection that nobody uses, so that the server keeps it open.
    pub(super) async fn keep_warm(&self, small: impl Fn() -> Request<Full<Bytes>>) {
        let count = self.idle().len();
        for _ in 0..count {
            let Ok(_permit) = self.permits.try_acquire() else { return };
            let Some(connection) = self.least_used() else { return };
            // One that broke is gone, which the next call finds out in its own way.
            let _ = tokio::time::timeout(IDLE, self.over(connection, small())).await;
        }
    }

    async fn over_some_connection(&self, mut request: Request<Full<Bytes>>) -> Result<Received, Trouble> {
        while let Some(kept) = self.take() {
            match self.over(kept, request).await {
                // The server closed it just then, and nothing has left.
                Err((_, Some(unsent))) => request = unsent,
                Err((trouble, None)) => return Err(trouble),
                Ok(received) => return Ok(received),
            }
        }
        self.over(self.connect().await?, request).await.map_err(|(trouble, _)| trouble)
    }

    /// Sends a call over a connection, and keeps the connection. Gives the call back where it has not left.
    async fn over(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Received, (Trouble, Option<Request<Full<Bytes>>>)> {
        match connection.sender.try_send_request(request).await {
            Ok(response) => {
                let received = read(response).await.map_err(|trouble| (trouble, None))?;
                // Not before the driver has seen the end of the answer, too.
                if connection.sender.ready().await.is_ok() {
                    connection.used = Instant::now();
                    self.idle().push(connection);
                }
                Ok(received)
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let trouble = Trouble::Broken { sent: unsent.is_none(), cause: deepest(&error.into_error()) };
                Err((trouble, unsent))
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn least_used(&self) -> Option<Connection> {
        let mut idle = self.idle();
        (!idle.is_empty()).then(|| idle.remove(0))
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|connection| connection.used.elapsed() < IDLE && !connection.sender.is_closed());
        idle.pop()
    }

    /// Dials, and speaks TLS to who answers.
    async fn secure(&self, settings: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let connecting = async {
            let stream = self.dialler.connect(&self.host, self.port, self.connect_timeout).await?;
            TlsConnector::from(Arc::clone(settings)).connect(self.name.clone(), stream).await
        };
        let stream = tokio::time::timeout(self.connect_timeout, connecting).await;
        stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let known = self.tls.settings(None).await?;
        let mut stream = self.secure(&known).await;
        // A node that has joined a cluster, or whose certificate was renewed, shows another one from then on.
        if stream.as_ref().is_err_and(|error| tls_trouble(error).and_then(Mismatch::of).is_some()) {
            let newer = self.tls.settings(Some(&known)).await?;
            if !Arc::ptr_eq(&newer, &known) {
                stream = self.secure(&newer).await;
            }
        }
        let stream = stream.map_err(Trouble::Connect)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Trouble::Broken { sent: false, cause: deepest(&error) })?;
        // How it ended is told to whoever waits for an answer.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, used: Instant::now(), _driver: AbortOnDropHandle::new(driver) })
    }
}

async fn read(response: Response<Incoming>) -> Result<Received, Trouble> {
    let status = response.status();
    let reason =
        response.extensions().get::<ReasonPhrase>().map(|r| String::from_utf8_lossy(r.as_bytes()).into_owned());
    let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Trouble::TooLong { limit: LONGEST }
        } else {
            Trouble::Broken { sent: true, cause: deepest(&*error) }
        }
    })?;
    Ok(Received { status: status.as_u16(), reason, body: body.to_bytes() })
}

/// The innermost text of a chain: the outer ones only repeat that something failed.
fn deepest(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
