//! A connection to a host: reading from it and changing it.

use std::sync::Arc;
use std::time::Duration;

use russh::ChannelStream;
use russh::client::Msg;

use super::channel::{Channel, Fault, Limit};
use super::command::{Become, Command, Exit, OnOutput, Output};
use super::handshake::Session;
use super::resident::{Answer, Asked, Resident};
use super::shells::Shells;
use super::target::Target;
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;

/// How long a read may take: on a host whose file server is gone, some never end.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

/// A logged-in connection. Cheap to copy; all copies share it, and any number of them may be used at once.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    target: Target,
    session: Session,
    limit: Limit,
    shells: Shells,
    /// The connection this one goes through; it must live as long.
    _via: Option<Connection>,
}

/// What a command is for: it decides how its loss is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    Change,
}

impl Connection {
    pub(super) fn new(target: Target, session: Session, via: Option<Connection>) -> Self {
        Connection {
            inner: Arc::new(Inner { target, session, limit: Limit::default(), shells: Shells::default(), _via: via }),
        }
    }

    /// The host at the other end.
    pub fn target(&self) -> &Target {
        &self.inner.target
    }

    /// Whether it still stands, as far as is known here.
    pub fn is_alive(&self) -> bool {
        !self.inner.session.handle.is_closed()
    }

    /// Runs a script that only reads. Any exit code is an answer, not an error.
    pub async fn probe(&self, script: &str, become_: Option<&Become>) -> Result<Output> {
        self.ask(Command::script(script).become_(become_.cloned()).timeout(Some(PROBE_TIMEOUT))).await
    }

    /// Runs a command that only reads. Any exit code is an answer, not an error.
    pub async fn ask(&self, command: Command) -> Result<Output> {
        match self.ask_shell(&command).await? {
            Some(output) => Ok(output),
            None => self.run(command, None, Purpose::Read).await,
        }
    }

    /// Runs a command that changes something. Any exit code is an answer, not an error.
    pub async fn exec(&self, command: Command, on_output: Option<OnOutput<'_>>, writer: &Writer) -> Result<Output> {
        match on_output {
            Some(_) => self.run(command, on_output, Purpose::Change).await,
            None => self.exec_and_ask(command, None, writer).await.map(|(output, _)| output),
        }
    }

    /// The same, and asks in the same round trip what is there afterwards; the question is not answered where that is not
    /// possible.
    pub async fn exec_and_ask(
        &self,
        command: Command,
        question: Option<Command>,
        _: &Writer,
    ) -> Result<(Output, Option<Output>)> {
        let Some(shell) = self.shell(&command) else {
            return Ok((self.run(command, None, Purpose::Change).await?, None));
        };
        let script = command.render_brief(self.target(), shell.prints())?;
        // Behind something that hangs it would wait, and be carried out after it was given up.
        let asked = script.filter(|_| shell.is_idle()).and_then(|script| shell.ask(&script));
        let Some(asked) = asked else { return Ok((self.run(command, None, Purpose::Change).await?, None)) };
        let question = question.filter(|question| question.whom() == command.whom());
        let question = question.and_then(|question| question.render_brief(self.target(), false).ok().flatten());
        let question = question.and_then(|script| shell.ask(&script));
        let output = self.in_time(&command, &shell, asked.answer_in_turn(), Purpose::Change).await?;
        let output = match output {
            Answer::Ended(output) => output,
            Answer::Lost(fault) => return Err(self.failure(fault, command.label(), Purpose::Change)),
            Answer::Stuck => return Err(self.failure(Fault::NoExit, command.label(), Purpose::Change)),
        };
        let answered = match question.map(Asked::answer_in_turn) {
            Some(answer) => tokio::time::timeout(PROBE_TIMEOUT, answer).await.ok(),
            None => None,
        };
        let answered = match answered {
            Some(Answer::Ended(answer)) => Some(answer),
            // Whoever needs to know asks again.
            _ => None,
        };
        Ok((output, answered))
    }

    /// Asks the shell that stays. Nothing where there is none, or where it did not answer: then the question goes its own
    /// way, and what is wrong with it shows there.
    async fn ask_shell(&self, command: &Command) -> Result<Option<Output>> {
        let Some(shell) = self.shell(command).filter(Resident::is_responsive) else { return Ok(None) };
        let script = command.render_brief(self.target(), shell.prints())?;
        let Some(asked) = script.and_then(|script| shell.ask(&script)) else { return Ok(None) };
        match self.in_time(command, &shell, asked.answer(), Purpose::Read).await? {
            Answer::Ended(output) => Ok(Some(output)),
            Answer::Lost(_) | Answer::Stuck => Ok(None),
        }
    }

    async fn in_time(
        &self,
        command: &Command,
        shell: &Resident,
        answer: impl Future<Output = Answer>,
        purpose: Purpose,
    ) -> Result<Answer> {
        let Some(limit) = command.limit() else { return Ok(answer.await) };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                shell.abandon();
                Err(self.out_of_time(limit, command.label(), purpose))
            }
        }
    }

    /// The shell that stays, for commands that it may be given.
    fn shell(&self, command: &Command) -> Option<Resident> {
        if !command.is_brief() {
            return None;
        }
        let target = self.target();
        let user = command.whom().map_or(target.user.as_str(), Become::name);
        self.inner.shells.of(user, || {
            // Held only until the channel is open: shells do not keep a connection that nobody else needs.
            let inner = Arc::clone(&self.inner);
            let opening = async move {
                inner.session.handle.channel_open_session().await.map_err(|error| match error {
                    russh::Error::ChannelOpenFailure(reason) => Fault::Refused(reason.description().to_string()),
                    _ => Fault::Lost,
                })
            };
            Resident::start(opening, Command::render_resident(command.whom(), target))
        })
    }

    async fn run(&self, command: Command, on_output: Option<OnOutput<'_>>, purpose: Purpose) -> Result<Output> {
        let (label, limit) = (command.label().to_string(), command.limit());
        let whom = command.whom().filter(|who| who.name() != self.target().user).cloned();
        let (line, stdin) = command.render(self.target())?;
        let work = async {
            let channel = self.open_channel(&label).await?;
            channel.run(line, stdin, on_output).await.map_err(|fault| self.failure(fault, &label, purpose))
        };
        let output = match limit {
            None => work.await?,
            Some(limit) => match tokio::time::timeout(limit, work).await {
                Ok(output) => output?,
                Err(_) => return Err(self.out_of_time(limit, &label, purpose)),
            },
        };
        match whom {
            Some(who) => self.unless_sudo_refused(output, &who),
            None => Ok(output),
        }
    }

    /// Opens a channel on a task of its own: should the caller be gone by the time the server answers, the channel
    /// is closed again and does not take up a place on the server for ever.
    async fn open_channel(&self, label: &str) -> Result<Channel> {
        let inner = self.inner.clone();
        let opening =
            tokio::spawn(async move { Channel::open(&inner.session, &inner.limit, || inner.shells.give_up()).await });
        let opened = opening.await.unwrap_or(Err(Fault::Lost));
        opened.map_err(|fault| match fault {
            Fault::Lost => self.lost(&format!("the connection was lost before `{label}` was started")),
            fault => self.failure(fault, label, Purpose::Read),
        })
    }

    /// A stream through this host to the next one.
    pub(super) async fn tunnel(&self, to: &Target) -> Result<ChannelStream<Msg>> {
        let open = self.inner.session.handle.channel_open_direct_tcpip(&to.host, to.port.into(), "127.0.0.1", 0);
        let via = self.target();
        match tokio::time::timeout(to.connect_timeout, open).await {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                let error = Error::new(Class::Unreachable, format!("{to}: no connection through {via}"));
                Err(error.cause(format!("the jump host said: {}", reason.description().to_lowercase())))
            }
            Ok(Err(_)) => Err(self.lost(&format!("the connection was lost on the way to {to}"))),
            Err(_) => {
                let seconds = to.connect_timeout.as_secs_f32();
                Err(Error::new(Class::Timeout, format!("{to}: no answer through {via} within {seconds}s")))
            }
        }
    }

    /// Ends the connection politely.
    pub(super) async fn close(&self) {
        let goodbye = self.inner.session.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        // It is over either way.
        goodbye.await.ok();
    }

    fn lost(&self, what: &str) -> Error {
        let error = Error::new(Class::Unreachable, format!("{}: {what}", self.target()));
        match self.inner.session.ending.get() {
            Some(why) => error.cause(why),
            None => error,
        }
    }

    fn failure(&self, fault: Fault, label: &str, purpose: Purpose) -> Error {
        let target = self.target();
        match fault {
            Fault::Lost if purpose == Purpose::Read => {
                self.lost(&format!("the connection was lost while reading with `{label}`"))
            }
            Fault::Lost => self
                .lost(&format!("the connection was lost while running `{label}`; its outcome is unknown"))
                .help("look at the host, then run again: what is done already is recognised"),
            Fault::Refused(why) => {
                let message = format!("{target}: the server does not start `{label}`");
                Error::new(Class::Permission, message)
                    .cause(why)
                    .help("look at MaxSessions and ForceCommand in its sshd_config")
            }
            Fault::TooMuch => {
                let message = format!("{target}: `{label}` printed more than 64 MiB and was stopped");
                Error::new(Class::Failed, message).help("let it write to a file on the host, or print less")
            }
            Fault::NoExit => {
                let message = format!("{target}: `{label}` ended without saying how; its outcome is unknown");
                Error::new(Class::Failed, message)
            }
        }
    }

    fn out_of_time(&self, limit: Duration, label: &str, purpose: Purpose) -> Error {
        let message = format!("{}: `{label}` did not end within {}s", self.target(), limit.as_secs_f32());
        let error = Error::new(Class::Timeout, message);
        match purpose {
            Purpose::Read => error,
            Purpose::Change => error.cause("it may still be running there; how far it came is unknown"),
        }
    }

    /// Tells a refusal by sudo itself from a failure of the command.
    fn unless_sudo_refused(&self, output: Output, who: &Become) -> Result<Output> {
        let complaint = output.stderr_text();
        let refused = |signs: &[&str]| signs.iter().any(|sign| complaint.contains(sign));
        let (target, user) = (self.target(), &self.target().user);
        let blocked = |what: &str| Error::new(Class::Blocked, format!("{target}: {what}"));
        if !output.stdout.is_empty() {
            return Ok(output);
        }
        match output.exit {
            Exit::Code(1) if refused(&NEEDS_PASSWORD) => Err(blocked("no passwordless sudo").help(format!(
                "let {user} become {who} without a password: `{user} ALL=({who}) NOPASSWD: ALL` in /etc/sudoers.d",
                who = who.name()
            ))),
            Exit::Code(1) if refused(&NOT_ALLOWED) => {
                let error = blocked(&format!("sudo does not let {user} become {}", who.name()));
                Err(error.help(format!("add {user} to the sudoers of the host, with NOPASSWD")))
            }
            Exit::Code(127) if complaint.contains("sudo") => {
                Err(blocked("there is no sudo").help("install sudo, or log in as the user that is to be"))
            }
            _ => Ok(output),
        }
    }
}

/// What sudo and sudo-rs say when they would have to ask.
const NEEDS_PASSWORD: [&str; 3] =
    ["sudo: a password is required", "sudo: a terminal is required", "interactive authentication is required"];
/// What they say when asking would not help.
const NOT_ALLOWED: [&str; 4] =
    ["is not in the sudoers file", "is not allowed to execute", "is not allowed to run sudo", "may not run sudo"];
