//! When there is no answer: what happened on the way, and whether the question may be asked again.

use std::io;
use std::time::Duration;

use hyper::Method;
use rustls::CertificateError;

use crate::error::{Class, Error};

use super::settings::Endpoint;
use super::transport::Trouble;
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
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
}

impl Way<'_> {
    /// Says what happened to a call.
    pub(super) fn explain(&self, method: &Method, path: &str, trouble: Trouble) -> Lost {
        let place = &self.to.place;
        let lost = |class, text: String| Error::new(class, format!("{place}: {text}"));
        match trouble {
            Trouble::Connect(error) => self.not_connected(&error),
            Trouble::Untold(error) => {
                let again = error.class() == Class::Unreachable;
                let error = error.context(format!("{place}: its certificate cannot be looked up"));
                Lost { error, sent: false, again }
            }
            Trouble::Silence => {
                let after = self.request_timeout;
                let error = lost(Class::Timeout, format!("{method} {path} was not answered within {after:?}"))
                    .help("is the node busy? `timeout` of proxmox::connect gives it more time");
                Lost { error: unless_read(method, error), sent: true, again: false }
            }
            Trouble::Broken { sent, cause } => {
                let error = lost(Class::Unreachable, format!("the connection was lost during {method} {path}"))
                    .help("does `systemctl status pveproxy` on the node say active? If so, run again");
                Lost { error: unless_read(method, error.cause(cause)), sent, again: true }
            }
            Trouble::TooLong { limit } => {
                let limit = limit >> 20;
                let error = lost(Class::Failed, format!("the answer to {method} {path} is longer than {limit} MiB"));
                let error = error.help("is this the address of a Proxmox VE node? (HOMELAB_PVE_URL)");
                Lost { error: unless_read(method, error), sent: true, again: false }
            }
        }
    }

    fn not_connected(&self, io: &io::Error) -> Lost {
        if let Some(error) = tls_trouble(io).and_then(|tls| self.distrust(tls)) {
            return Lost { error, sent: false, again: false };
        }
        let Endpoint { place, port, .. } = self.to;
        if speaks_no_tls(io) {
            let error =
                Error::new(Class::Unreachable, format!("{place}: what listens on port {port} does not speak TLS"));
            let error = error.cause(io).help("is the port right? The API's own is 8006 (HOMELAB_PVE_URL)");
            return Lost { error, sent: false, again: true };
        }
        let (what, help) = self.no_connection(io.kind());
        let error = Error::new(Class::Unreachable, format!("{place}: {what}")).cause(io).help(help);
        // A timeout has waited long enough already; the other troubles are over in an instant.
        Lost { error, sent: false, again: io.kind() != io::ErrorKind::TimedOut }
    }

    /// Why there is no connection, and what to look at.
    fn no_connection(&self, kind: io::ErrorKind) -> (String, &'static str) {
        const REACH: &str = "is the address right (HOMELAB_PVE_URL), is the node on, and does `systemctl status pveproxy` on \
                             it say active?";
        let (port, limit) = (self.to.port, self.connect_timeout);
        match kind {
            io::ErrorKind::TimedOut => (format!("no answer on port {port} after {limit:?}"), REACH),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ("no route to it".to_owned(), REACH),
            io::ErrorKind::ConnectionRefused => (
                format!("connection refused on port {port}"),
                "is the port right (HOMELAB_PVE_URL; the API's own is 8006), and does `systemctl status pveproxy` on the \
                 node say active?",
            ),
            io::ErrorKind::NotFound => (
                "its name does not resolve".to_owned(),
                "is the name right (HOMELAB_PVE_URL)? `getent hosts NAME` tells what this machine makes of it; an IP \
                 address needs no name",
            ),
            _ => (format!("no connection to port {port}"), REACH),
        }
    }

    /// The error for a certificate that is not trusted; other trouble with TLS is a lost connection.
    fn distrust(&self, tls: &rustls::Error) -> Option<Error> {
        let place = &self.to.place;
        let rustls::Error::InvalidCertificate(why) = tls else { return None };
        Some(match Mismatch::of(tls) {
            Some(Mismatch { expected, presented, is_told }) => {
                let help = match is_told {
                    true => {
                        "the API shows another certificate than lies on the node: `systemctl restart pveproxy` there makes it \
                         show that one; if it does not, somebody is between you and the node"
                    }
                    false => {
                        "compare on the node: openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem; \
                         if that is the presented one, pin it: HOMELAB_PVE_FINGERPRINT"
                    }
                };
                Error::new(Class::Auth, format!("{place}: the certificate is not the pinned one"))
                    .cause(format!("expected  {expected}"))
                    .cause(format!("presented {presented}"))
                    .help(help)
            }
            None => {
                let (what, help) = complaint(why);
                Error::new(Class::Auth, format!("{place}: the certificate {what}")).cause(why).help(help)
            }
        })
    }
}

/// What is wrong with a certificate, and what to do about it.
fn complaint(why: &CertificateError) -> (&'static str, &'static str) {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "has expired",
            "renew it on the node (`pvecm updatecerts --force`, then `systemctl restart pveproxy`); is this machine's clock \
             right?",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet", "compare the clocks of this machine and of the node: `timedatectl`")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "is for other names",
            "put a name or address that it is for into HOMELAB_PVE_URL, or pin the certificate itself: \
             HOMELAB_PVE_FINGERPRINT",
        ),
        CertificateError::UnknownIssuer => (
            "was signed by a CA that is not known here",
            "set HOMELAB_PVE_CA_FILE to a copy of that CA (/etc/pve/pve-root-ca.pem on the node), or \
             HOMELAB_PVE_FINGERPRINT to the certificate's fingerprint",
        ),
        _ => (
            "is not trusted",
            "give the CA that signed it (HOMELAB_PVE_CA_FILE), or pin its fingerprint (HOMELAB_PVE_FINGERPRINT)",
        ),
    }
}

fn unless_read(method: &Method, error: Error) -> Error {
    if method == Method::GET {
        error
    } else {
        error.help("the change may have been made or not: look before repeating it")
    }
}

fn speaks_no_tls(error: &io::Error) -> bool {
    let hung_up = error.kind() == io::ErrorKind::UnexpectedEof;
    hung_up || matches!(tls_trouble(error), Some(rustls::Error::InvalidMessage(_)))
}

/// What TLS complained of, where it did.
pub(super) fn tls_trouble(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
