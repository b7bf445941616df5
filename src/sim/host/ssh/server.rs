//! One connection: who logs in, and which channels it opens.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};

use super::account::Allowance;
use super::run::{Task, run_command};
use super::settings::Settings;
use super::{Observer, Options, look, sftp};
use crate::sim::host::machine::SharedMachine;

/// Counts a channel as open for as long as it exists.
pub struct OpenChannel(Arc<AtomicUsize>);

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A session channel that nothing runs on yet.
struct Waiting {
    channel: Channel<Msg>,
    env: BTreeMap<String, String>,
    open: OpenChannel,
}

/// The server's side of one connection.
pub struct Server {
    machine: SharedMachine,
    observer: Arc<dyn Observer>,
    options: Options,
    allowance: Allowance,
    settings: Settings,
    user: String,
    waiting: HashMap<ChannelId, Waiting>,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// A connection on which nobody has logged in.
    pub fn new(machine: SharedMachine, observer: Arc<dyn Observer>, options: Options, settings: Settings) -> Self {
        let (user, waiting, open) = (String::new(), HashMap::new(), Arc::default());
        let allowance = Allowance::of(options.commands);
        Server { machine, observer, options, allowance, settings, user, waiting, open }
    }

    fn judge(&self, user: &str, key: &PublicKey) -> Auth {
        let is_right = look(&self.machine, |machine| {
            let uid = machine.user(user).map(|user| user.uid);
            uid.is_some_and(|uid| self.settings.admits(uid, true)) && machine.authorizes(user, key)
        });
        if is_right { Auth::Accept } else { self.rejection() }
    }

    /// Says no, and that everything may be tried again.
    fn rejection(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.settings.methods()), partial_success: false }
    }

    /// Takes one command more, where the connection is not to break instead.
    fn take_one(&mut self) -> Result<(), russh::Error> {
        match self.allowance.take() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    }

    /// Starts a command on a channel that waits for one.
    fn start(&mut self, id: ChannelId, command: Option<String>, session: &mut Session) -> Result<(), russh::Error> {
        self.take_one()?;
        let Some(Waiting { channel, env, open }) = self.waiting.remove(&id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let task = Task {
            machine: self.machine.clone(),
            observer: Arc::clone(&self.observer),
            user: self.user.clone(),
            command,
            env,
            handle: session.handle(),
            reboots: self.options.reboots,
            allowance: self.allowance.clone(),
        };
        tokio::spawn(async move {
            run_command(channel, task).await;
            drop(open);
        });
        Ok(())
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(user, offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let verdict = self.judge(user, key.public_key);
        if verdict == Auth::Accept {
            user.clone_into(&mut self.user);
        }
        Ok(verdict)
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let uid = look(&self.machine, |machine| machine.user(user).map(|user| user.uid));
        let may = uid.is_some_and(|uid| self.settings.admits(uid, false));
        if !may || !self.options.passwords.as_ref().is_some_and(|is_right| is_right(user, password)) {
            return Ok(self.rejection());
        }
        user.clone_into(&mut self.user);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.open.load(Ordering::SeqCst) >= self.settings.sessions {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = OpenChannel(Arc::clone(&self.open));
        self.waiting.insert(channel.id(), Waiting { channel, env: BTreeMap::new(), open });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.waiting.remove(&channel);
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let forwarder = self.options.forwarder.clone().filter(|_| self.settings.forwards);
        let (Some(forwarder), Ok(port)) = (forwarder, u16::try_from(port)) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let forward = forwarder(host.to_owned(), port);
        tokio::spawn(async move {
            match forward.await {
                Ok(mut there) => {
                    reply.accept().await;
                    let mut here = channel.into_stream();
                    // Either side hanging up is how a forwarded connection ends.
                    let _ended = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                }
                Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // What sshd_config of Debian and Ubuntu accepts.
        let accepted = name == "LANG" || name.starts_with("LC_");
        match self.waiting.get_mut(&channel).filter(|_| accepted) {
            Some(waiting) => {
                waiting.env.insert(name.to_owned(), value.to_owned());
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // There are no terminals here; clients go on without.
        session.channel_failure(channel)
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        self.start(id, Some(String::from_utf8_lossy(data).into_owned()), session)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(id, None, session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Self::Error> {
        self.take_one()?;
        let Some(Waiting { channel, open, .. }) = self.waiting.remove(&id).filter(|_| name == "sftp") else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let (machine, user, observer) = (self.machine.clone(), self.user.clone(), Arc::clone(&self.observer));
        tokio::spawn(async move {
            sftp::serve(channel, machine, user, observer).await;
            drop(open);
        });
        Ok(())
    }
}
