//! When there is no answer: what happened on the way, and whether the question may be asked again.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::Method;
use rustls::CertificateError;

use crate::clients::dial::Dialler;
use crate::error::{Class, Error};

use super::settings::Endpoint;
use super::trust::Mismatch;

/// A call without an answer.
pub(super) struct Lost {
    pub error: Error,
    /// Whether the other side may have seen the call. If not, even a write can be sent again.
    pub sent: bool,
    /// Whether asking again could help.
    pub again: bool,
}

/// The way a call took; what is needed to say where it got lost.
pub(super) struct Way<'a> {
    pub to: &'a Endpoint,
    pub dialler: Dialler,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
}

impl Way<'_> {
    /// Says what happened to a call. The texts are made here and not taken from the HTTP client, whose own would name
    /// the URL with its query.
    pub(super) async fn explain(&self, method: &Method, path: &str, lost: reqwest::Error) -> Lost {
        let place = &self.to.place;
        if let Some(error) = tls_trouble(&lost).and_then(|tls| self.distrust(tls)) {
            return Lost { error, sent: false, again: false };
        }
        if lost.is_connect() {
            return self.not_connected(&lost).await;
        }
        if lost.is_timeout() {
            let after = self.request_timeout;
            let error =
                Error::new(Class::Timeout, format!("{place}: {method} {path} was not answered within {after:?}"));
            return Lost { error: unless_read(method, error), sent: true, again: false };
        }
        let error = Error::new(Class::Unreachable, format!("{place}: the connection was lost during {method} {path}"));
        Lost { error: unless_read(method, error.cause(deepest(&lost))), sent: true, again: true }
    }

    async fn not_connected(&self, lost: &reqwest::Error) -> Lost {
        let Endpoint { place, host, port, .. } = self.to;
        let found = match self.dialler {
            // The HTTP client keeps a gateway's refusal to itself, so the gateway is asked once more.
            Dialler::Through(_) => self.dialler.connect(host, *port, self.connect_timeout).await.err(),
            Dialler::Direct => None,
        };
        let io = found.as_ref().or_else(|| io_trouble(lost));
        let timed_out = lost.is_timeout() || io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
        let said = match io.map(io::Error::kind) {
            _ if timed_out => format!("{place}: no answer on port {port} after {:?}", self.connect_timeout),
            Some(io::ErrorKind::ConnectionRefused) => format!("{place}: connection refused on port {port}"),
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                format!("{place}: no route to it")
            }
            _ => format!("{place}: no connection to port {port}"),
        };
        let cause = io.map_or_else(|| deepest(lost), ToString::to_string);
        let help = "is the node on, and does `systemctl status pveproxy` on it say active?";
        // A timeout has waited long enough already; the other troubles are over in an instant.
        Lost { error: Error::new(Class::Unreachable, said).cause(cause).help(help), sent: false, again: !timed_out }
    }

    /// The error for a certificate that is not trusted; other trouble with TLS is a lost connection.
    fn distrust(&self, tls: &rustls::Error) -> Option<Error> {
        let place = &self.to.place;
        let rustls::Error::InvalidCertificate(why) = tls else { return None };
        let mismatch = match why {
            CertificateError::Other(other) => other.0.downcast_ref::<Mismatch>(),
            _ => None,
        };
        Some(match mismatch {
            Some(Mismatch { expected, presented }) => {
                Error::new(Class::Auth, format!("{place}: the certificate is not the pinned one"))
                    .cause(format!("expected  {expected}"))
                    .cause(format!("presented {presented}"))
                    .help(
                        "compare on the node: openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem; \
                         if that is the presented one, pin it",
                    )
            }
            None => Error::new(Class::Auth, format!("{place}: the certificate is not trusted"))
                .cause(why)
                .help("give the CA that signed it (/etc/pve/pve-root-ca.pem on the node), or pin its fingerprint"),
        })
    }
}

fn unless_read(method: &Method, error: Error) -> Error {
    if method == Method::GET {
        error
    } else {
        error.help("the change may have been made or not: look before repeating it")
    }
}

fn tls_trouble(lost: &reqwest::Error) -> Option<&rustls::Error> {
    find(lost)
}

fn io_trouble(lost: &reqwest::Error) -> Option<&io::Error> {
    find(lost)
}

/// The first error of a kind in a chain. An `io::Error` hides the error it wraps from `source`, so it is opened.
fn find<E: StdError + 'static>(lost: &reqwest::Error) -> Option<&E> {
    let mut next = lost.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

/// The innermost text of a chain: the outer ones only repeat that something failed.
fn deepest(lost: &reqwest::Error) -> String {
    let mut error: &dyn StdError = match lost.source() {
        Some(source) => source,
        None => return "no further words".to_owned(),
    };
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
