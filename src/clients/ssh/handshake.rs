//! Getting from a target to an open session: dialling or tunnelling, verifying the host key, logging in.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use russh::client::{Config, DisconnectReason, Handle, Handler, connect_stream};
use russh::keys::PublicKeyOrCertificate;
use russh::{Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite};

use super::PublicKey;
use super::connection::Connection;
use super::known_hosts::KnownHosts;
use super::target::Target;
use super::{identity, login};
use crate::clients::dial::Dialler;
use crate::error::{Class, Error, Result};

/// How long logging in may take: servers look up names, agents ask their owner.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// After how many unanswered signs of life a server counts as gone.
const ALIVE_MAX: usize = 3;

/// Why a connection ended, as soon as it did.
pub(super) type Ending = Arc<OnceLock<String>>;

/// A stream to a host: a socket or a tunnel through another host.
pub(super) trait Link: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Link for T {}

/// Opens and verifies a session and logs in.
pub(super) async fn open(target: &Target, dialler: &Dialler, via: Option<&Connection>) -> Result<Session> {
    let identities = identity::load(target).await?;
    let known = KnownHosts::of(target)?;
    let algorithms = known.preferred_algorithms();
    let ending = Ending::default();
    let verifier = Verifier { check: Check::Known(known, Box::new(target.clone())), ending: ending.clone() };
    let mut handle = shake_hands(target, link(target, dialler, via).await?, verifier, algorithms).await?;

    let login = login::log_in(&mut handle, target, identities);
    tokio::time::timeout(LOGIN_TIMEOUT, login).await.unwrap_or_else(|_| {
        let message = format!("{target}: the login was not answered within {}s", LOGIN_TIMEOUT.as_secs());
        Err(Error::new(Class::Timeout, message).help("see the log of the host's sshd: `journalctl -u ssh`"))
    })?;
    Ok(Session { handle, ending })
}

/// An open session and why it ended, once it has.
pub(super) struct Session {
    pub handle: Handle<Verifier>,
    pub ending: Ending,
}

/// The key that a host shows, without trusting it or logging in.
pub(super) async fn scan(target: &Target, dialler: &Dialler, via: Option<&Connection>) -> Result<PublicKey> {
    let shown = Arc::new(Mutex::new(None));
    let verifier = Verifier { check: Check::Scan(shown.clone()), ending: Ending::default() };
    let algorithms = KnownHosts::default().preferred_algorithms();
    let outcome = shake_hands(target, link(target, dialler, via).await?, verifier, algorithms).await;
    // The handshake is always broken off; what counts is whether the key was seen before that.
    let key = shown.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    match (key, outcome) {
        (Some(key), _) => Ok(key),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(Error::new(Class::Failed, format!("{target}: the host showed no key"))),
    }
}

/// The stream that leads to the host.
async fn link(target: &Target, dialler: &Dialler, via: Option<&Connection>) -> Result<Box<dyn Link>> {
    if let Some(jump) = via {
        return Ok(Box::new(jump.tunnel(target).await?));
    }
    let timeout = target.connect_timeout;
    let stream = match dialler.connect(&target.host, target.port, timeout).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(no_answer(target)),
        Err(error) => {
            let help = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "the name does not resolve: see that it is right, or give the `address`"
                }
                _ => "see that the machine is up, and that its address and port are right",
            };
            return Err(Error::new(Class::Unreachable, format!("{target}: no connection")).cause(error).help(help));
        }
    };
    // Small packets must not wait for each other; without it everything works, only slower.
    stream.set_nodelay(true).ok();
    Ok(Box::new(stream))
}

fn no_answer(target: &Target) -> Error {
    Error::new(Class::Timeout, format!("{target}: no answer within {}s", target.connect_timeout.as_secs_f32())).help(
        "see that the machine is up and that this is its SSH port; `connect_timeout` of ssh::host gives it more time",
    )
}

async fn shake_hands(
    target: &Target,
    link: Box<dyn Link>,
    verifier: Verifier,
    algorithms: Vec<russh::keys::Algorithm>,
) -> Result<Handle<Verifier>> {
    let config = Config {
        client_id: SshId::Standard(concat!("SSH-2.0-homelab_", env!("CARGO_PKG_VERSION")).into()),
        preferred: Preferred { key: algorithms.into(), ..Preferred::DEFAULT },
        keepalive_interval: target.alive_interval,
        keepalive_max: ALIVE_MAX,
        ..Config::default()
    };
    match tokio::time::timeout(target.connect_timeout, connect_stream(Arc::new(config), link, verifier)).await {
        Ok(Ok(handle)) => Ok(handle),
        Ok(Err(Break::Refused(error))) => Err(error),
        Ok(Err(Break::Ssh(error @ russh::Error::NoCommonAlgo { .. }))) => {
            let message = format!("{target}: the server and homelab share no algorithm");
            Err(Error::new(Class::UnsupportedVersion, message).cause(error))
        }
        Ok(Err(Break::Ssh(error))) => {
            let message = format!("{target}: the SSH handshake failed");
            Err(Error::new(Class::Unreachable, message)
                .cause(error)
                .help("see that an SSH server listens on this port"))
        }
        Err(_) => Err(no_answer(target).cause("connected, but the SSH handshake did not end")),
    }
}

/// Watches over a session: judges the host key and notes how the session ends.
pub(super) struct Verifier {
    check: Check,
    ending: Ending,
}

enum Check {
    /// Only a known key will do.
    Known(KnownHosts, Box<Target>),
    /// The key is noted and refused.
    Scan(Arc<Mutex<Option<PublicKey>>>),
}

/// What ends a session from our side.
#[derive(Debug)]
pub(super) enum Break {
    Ssh(russh::Error),
    Refused(Error),
}

impl From<russh::Error> for Break {
    fn from(error: russh::Error) -> Self {
        Break::Ssh(error)
    }
}

impl Handler for Verifier {
    type Error = Break;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Break> {
        match &self.check {
            Check::Scan(found) => {
                *found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(shown.public_key());
                Ok(false)
            }
            // Certificates are not asked for; a server that sends one anyway is not believed.
            Check::Known(_, target) if shown.certificate().is_some() => {
                let message = format!("{target}: the host shows a certificate, which is not supported");
                Err(Break::Refused(Error::new(Class::Auth, message)))
            }
            Check::Known(known, target) => {
                known.verify(target, &shown.public_key()).map(|()| true).map_err(Break::Refused)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Break>) -> Result<(), Break> {
        let (why, outcome) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (format!("the server said: {}", info.message.trim()), Ok(())),
            DisconnectReason::Error(error) => {
                let why = match &error {
                    Break::Refused(error) => error.to_string(),
                    Break::Ssh(russh::Error::KeepaliveTimeout) => {
                        "the server gave no sign of life any more".to_string()
                    }
                    Break::Ssh(error) => error.to_string(),
                };
                (why, Err(error))
            }
        };
        // Only the first reason counts.
        self.ending.set(why).ok();
        outcome
    }
}
