//! The SSH server of a machine, over any stream: commands, scripts on standard input, SFTP, forwarding.

mod account;
mod keys;
mod run;
mod server;
mod settings;
mod sftp;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use russh::server::{Config, run_stream};
use russh::{Disconnect, SshId};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

use super::machine::{Machine, PowerRequest, SharedMachine};
use super::tools::run_due_timers;
use crate::error::{Class, Error, Result};
use settings::Settings;

/// Hears of everything that was run.
pub trait Observer: Send + Sync {
    /// A command ended. `mutated` says whether it changed anything that lasts. SFTP operations are reported as
    /// commands like `sftp write /path`.
    fn command(&self, host: &str, user: &str, command: &str, exit: i32, mutated: bool);

    /// Waits until everything that was heard of would outlast the process. Clients hear of a change after that.
    fn kept(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A connection that somebody forwards.
pub type Forward = BoxFuture<'static, io::Result<DuplexStream>>;

/// Connects to a host and port on behalf of a client.
pub type Forwarder = Arc<dyn Fn(String, u16) -> Forward + Send + Sync>;

/// Whether a user has this password.
pub type Passwords = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// What a server needs beyond what the machine's files say.
#[derive(Clone)]
pub struct Options {
    /// Who knows the users' passwords; without it nobody has one.
    pub passwords: Option<Passwords>,
    /// Where `direct-tcpip` leads; without one it is refused.
    pub forwarder: Option<Forwarder>,
    /// Whether a `reboot` on the machine restarts it here. Otherwise whoever runs the machine does it, after
    /// [`Machine::take_power_request`].
    pub reboots: bool,
    /// How many commands and subsystems are taken before the connection breaks; without it as many as come.
    pub commands: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { passwords: None, forwarder: None, reboots: true, commands: None }
    }
}

/// Serves one connection to a machine until either side ends it.
pub async fn serve_ssh<S>(stream: S, machine: SharedMachine, observer: Arc<dyn Observer>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_ssh_with(stream, machine, observer, Options::default()).await
}

/// The same with options.
pub async fn serve_ssh_with<S>(
    stream: S,
    machine: SharedMachine,
    observer: Arc<dyn Observer>,
    options: Options,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let due = machine.clone();
    // A crash in there shows in what did not happen.
    let _done = tokio::task::spawn_blocking(move || run_due_timers(&due)).await;
    let (host, keys, boots) = look(&machine, |machine| (machine.hostname.clone(), machine.host_keys(), machine.boots));
    let settings = look(&machine, |machine| Settings::of(machine));
    if keys.is_empty() {
        return Err(Error::new(Class::Unreachable, format!("{host}: its SSH server has no host key")));
    }
    let config = Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.14")),
        methods: settings.methods(),
        auth_rejection_time: Duration::from_millis(10),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        max_auth_attempts: settings.tries,
        inactivity_timeout: None,
        ..Config::default()
    };
    let lost =
        |cause: russh::Error| Error::new(Class::Unreachable, format!("{host}: SSH connection lost")).cause(cause);
    let handler = server::Server::new(machine.clone(), observer, options, settings);
    let mut session = run_stream(Arc::new(config), stream, handler).await.map_err(lost)?;
    let handle = session.handle();
    loop {
        tokio::select! {
            ended = &mut session => {
                return match ended {
                    Ok(()) | Err(russh::Error::Disconnect | russh::Error::HUP) => Ok(()),
                    Err(russh::Error::IO(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                    Err(error) => Err(lost(error)),
                };
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                let gone = look(&machine, |machine| {
                    machine.boots != boots || machine.power_request() == Some(PowerRequest::Off)
                });
                if gone {
                    let bye = handle.disconnect(Disconnect::ByApplication, "system is going down".to_owned(), String::new());
                    // Whether the goodbye still arrives makes no difference to a machine that is gone.
                    let _heard = tokio::time::timeout(Duration::from_millis(200), bye).await;
                    return Ok(());
                }
            }
        }
    }
}

/// Looks at the machine for a moment.
fn look<T>(machine: &SharedMachine, act: impl FnOnce(&mut Machine) -> T) -> T {
    act(&mut machine.lock().unwrap_or_else(PoisonError::into_inner))
}
