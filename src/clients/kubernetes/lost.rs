//! When there is no answer: what happened on the way, and whether the question may be asked again.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use hyper::Method;
use rustls::CertificateError;

use crate::error::{Class, Error};

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
    pub place: &'a str,
    pub connect_timeout: Duration,
    pub method: &'a Method,
    pub path: &'a str,
}

impl Way<'_> {
    /// Says what happened to a call.
    pub(super) fn explain(&self, error: &kube::Error) -> Lost {
        if let Some(error) = find::<rustls::Error>(error).and_then(|tls| self.distrust(tls)) {
            return Lost { error, sent: false, again: false };
        }
        let connecting = find::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect());
        match find::<io::Error>(error) {
            Some(io) if connecting => self.not_connected(io),
            _ => self.broken(error),
        }
    }

    /// Nothing came within the time that a call may take.
    pub(super) fn silence(&self, after: Duration) -> Error {
        let Way { place, method, .. } = self;
        let text = format!("{place}: {method} {} was not answered within {after:?}", self.bare_path());
        self.unless_read(Error::new(Class::Timeout, text).help("is the server busy? Give it more time: `timeout`"))
    }

    fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or(self.path)
    }

    fn not_connected(&self, io: &io::Error) -> Lost {
        const REACH: &str =
            "is the machine on, and does `systemctl status k3s` on it say active? The address stands in the kubeconfig";
        let (what, help) = match io.kind() {
            io::ErrorKind::TimedOut => (format!("no answer after {:?}", self.connect_timeout), REACH),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ("no route to it".to_owned(), REACH),
            io::ErrorKind::ConnectionRefused => ("connection refused".to_owned(), REACH),
            io::ErrorKind::NotFound => (
                "its name does not resolve".to_owned(),
                "`getent hosts NAME` tells what this machine makes of it; an IP address needs no name",
            ),
            _ => ("no connection".to_owned(), REACH),
        };
        let error = Error::new(Class::Unreachable, format!("{}: {what}", self.place)).cause(io).help(help);
        // A timeout has waited long enough already; the other troubles are over in an instant.
        Lost { error, sent: false, again: io.kind() != io::ErrorKind::TimedOut }
    }

    fn broken(&self, error: &kube::Error) -> Lost {
        let Way { place, method, .. } = self;
        let what = format!("{place}: the connection was lost during {method} {}", self.bare_path());
        let lost = chain(error).into_iter().fold(Error::new(Class::Unreachable, what), Error::cause);
        let lost = lost.help("does `systemctl status k3s` on the server say active? If so, run again");
        Lost { error: self.unless_read(lost), sent: true, again: true }
    }

    fn unless_read(&self, error: Error) -> Error {
        if self.method == Method::GET {
            error
        } else {
            error.help("the change may have been made or not: look before repeating it")
        }
    }

    /// The error for a certificate that is not trusted, ours or theirs; other trouble with TLS is a lost connection.
    fn distrust(&self, tls: &rustls::Error) -> Option<Error> {
        let place = self.place;
        match tls {
            rustls::Error::InvalidCertificate(why) => {
                let (what, help) = complaint(why);
                Some(Error::new(Class::Auth, format!("{place}: its certificate {what}")).cause(why).help(help))
            }
            rustls::Error::AlertReceived(alert) => Some(
                Error::new(Class::Auth, format!("{place}: does not accept the certificate of the kubeconfig"))
                    .cause(format!("it says: {alert:?}"))
                    .help("fetch the kubeconfig anew: its certificate may have expired, or be another cluster's"),
            ),
            _ => None,
        }
    }
}

fn complaint(why: &CertificateError) -> (&'static str, &'static str) {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has expired", "restart k3s on the server, which renews it; is this machine's clock right?")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet", "compare the clocks of this machine and of the server: `timedatectl`")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "is for other names",
            "put a name or address that it is for into the kubeconfig, or this one into the servers' `tls-san`",
        ),
        _ => {
            ("was signed by another authority", "is that the right cluster? Fetch the kubeconfig anew from its server")
        }
    }
}

/// The first error of a type among an error and its causes. What `io` wraps is looked into.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

/// The words of an error and of all its causes, each once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if words.last().is_none_or(|last| !last.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words
}
