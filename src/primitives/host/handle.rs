//! The handle that playbooks hold on a host, and the connections behind it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rhai::Dynamic;

use super::mechanism::batch::{Batch, Question};
use super::mechanism::memory::{self, Ask, Memory};
use super::mechanism::probe::Look;
use crate::clients::dial::Dialler;
use crate::clients::ssh::{
    Become, Command, Connection, Environment, OnOutput, Options, Output, PROBE_TIMEOUT, Passphrase, Pool, PublicKey,
    Target,
};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::event::Level;
use crate::run::resource::{Cell, Reader};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::script::args::Maybe;

/// How long questions that are asked together may take: one that hangs must not hold up the others.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20);

/// What all hosts of a run share: the connections, and what is known about getting in.
pub struct Ssh {
    /// The connections, kept for as long as this lives.
    pub pool: Pool,
    /// How ports are dialled; the same way as the pool's.
    pub dialler: Dialler,
    /// The home folder with `.ssh/config`, the agent, and the user where nobody names one.
    pub environment: Environment,
    /// The project's folder, which local paths start from.
    pub root: PathBuf,
    /// The project's own `known_hosts`, read beside the user's; `homelab trust` writes it.
    pub project_known_hosts: PathBuf,
    /// Whom to log in as where neither the playbook nor `~/.ssh/config` says so.
    pub default_user: Option<String>,
    /// Private keys that are offered to every host, before those of `~/.ssh/config`.
    pub keys: Vec<PathBuf>,
    /// What opens them, should they be encrypted.
    pub passphrase: Option<Passphrase>,
    /// What runs before this one asked of each host.
    pub memory: Memory,
}

impl Ssh {
    /// Decides everything about a host, from what is said about it and what goes for all.
    pub fn target(&self, options: Options) -> Result<Target> {
        let environment = Environment {
            user: self.default_user.clone().or_else(|| self.environment.user.clone()),
            ..self.environment.clone()
        };
        let keys = options.keys.iter().chain(&self.keys).cloned().collect();
        let options = Options {
            keys,
            passphrase: self.passphrase.clone(),
            known_hosts: Some(self.project_known_hosts.clone()),
            ..options
        };
        Target::resolve(&options, &environment)
    }
}

/// What a playbook says about a host, checked.
pub struct Described {
    /// What people call it, and what its changes are listed under.
    pub name: String,
    /// Where it is, if its name does not say so.
    pub address: Option<Maybe<String>>,
    /// Whom to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// A private key to offer first.
    pub key: Option<PathBuf>,
    /// Whom to become there.
    pub become_: Option<Become>,
    /// Hosts to go through.
    pub jump: Option<String>,
    /// Its key, learnt in a trusted way.
    pub host_key: Option<Maybe<PublicKey>>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
}

/// A host. Copies are cheap and share the connection, which is made when it is first needed.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    is: Described,
    ssh: Arc<Ssh>,
    target: OnceLock<Target>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host({})", self.name())
    }
}

/// Names what a host's changes can reach, where a value is a host.
pub fn realm_of(value: &Dynamic) -> Option<String> {
    value.read_lock::<Host>().map(|host| host.realm())
}

impl Host {
    /// A handle. Nothing is dialled.
    pub fn new(is: Described, ssh: Arc<Ssh>) -> Self {
        Host { inner: Arc::new(Inner { is, ssh, target: OnceLock::new() }) }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.inner.is.name
    }

    /// What the playbook says about it.
    pub fn described(&self) -> &Described {
        &self.inner.is
    }

    /// What all hosts share.
    pub fn ssh(&self) -> &Ssh {
        &self.inner.ssh
    }

    /// As far as a change of it can reach.
    pub fn realm(&self) -> String {
        format!("host:{}", self.name())
    }

    /// One of its cells.
    pub fn cell(&self, path: impl Into<String>) -> Cell {
        Cell::new(self.realm(), path)
    }

    /// The cell of whatever stands at a path: a file, a folder, a link.
    pub fn path_cell(&self, path: &str) -> Cell {
        self.cell(format!("file:{path}"))
    }

    /// Whom to become for something that may say so itself.
    pub fn whom(&self, asked: Option<&super::connect::BecomeOption>) -> Option<Become> {
        asked.map_or_else(|| self.inner.is.become_.clone(), super::connect::BecomeOption::whom)
    }

    fn address(&self) -> Option<&str> {
        self.inner.is.address.as_ref()?.known().map(String::as_str)
    }

    /// What a dry run knows a planned machine by: its address where that is planned, else its name.
    pub fn stands_on(&self) -> Option<&str> {
        let planned = |name: &&str| !matches!(scope::planned_machine(name), Ok(None));
        self.address().filter(planned).or(Some(self.name()))
    }

    /// Why nobody can look at it now: it is only planned, or where it is or its key will only be known in the run.
    pub fn unseen(&self) -> Result<Option<Unknown>> {
        for name in self.address().into_iter().chain([self.name()]) {
            if let Some((_, cause)) = scope::planned_machine(name)? {
                return Ok(Some(cause));
            }
        }
        Ok(self.unknown().cloned())
    }

    /// What must be known to connect, and is not.
    pub fn unknown(&self) -> Option<&Unknown> {
        let Described { address, host_key, .. } = &self.inner.is;
        match (address, host_key) {
            (Some(Maybe::Unknown(unknown)), _) | (_, Some(Maybe::Unknown(unknown))) => Some(unknown),
            _ => None,
        }
    }

    /// Where it is and how to get in.
    pub fn target(&self) -> Result<&Target> {
        if let Some(target) = self.inner.target.get() {
            return Ok(target);
        }
        let target = self.inner.ssh.target(self.options()?)?;
        let notes = target.notes.clone();
        if self.inner.target.set(target).is_ok() {
            notes.into_iter().try_for_each(|note| scope::say(Level::Info, format!("{}: {note}", self.name())))?;
        }
        self.inner.target.get().ok_or_else(|| Error::new(Class::Bug, format!("{}: its target was lost", self.name())))
    }

    fn options(&self) -> Result<Options> {
        let is = &self.inner.is;
        if let Some(unknown) = self.unknown() {
            return Err(Error::new(Class::InputMissing, format!("{}: cannot be connected to", self.name()))
                .cause(format!("{} is not known", unknown.origin()))
                .help("give `ssh::host` an address and a host key that can be read back"));
        }
        Ok(Options {
            name: is.name.clone(),
            address: self.address().map(str::to_owned),
            port: is.port,
            user: is.user.clone(),
            keys: is.key.iter().cloned().collect(),
            jump: is.jump.clone(),
            trusted_keys: is.host_key.iter().filter_map(|key| key.known().cloned()).collect(),
            connect_timeout: is.connect_timeout,
            ..Options::default()
        })
    }

    /// The connection, made if there is none.
    pub async fn connection(&self, target: &Target) -> Result<Connection> {
        self.inner.ssh.pool.connect(target).await
    }

    /// Runs a script that only reads.
    pub fn probe(&self, reader: &Reader, script: &str, become_: Option<&Become>) -> Result<Output> {
        self.ask(reader, Question::Script(script.to_owned()), become_)
    }

    /// Runs a playbook's command that only reads.
    pub fn query(&self, reader: &Reader, command: &str, become_: Option<&Become>) -> Result<Output> {
        self.ask(reader, Question::Command(command.to_owned()), become_)
    }

    /// Looks at a path.
    pub fn look(&self, reader: &Reader, look: &Look, become_: Option<&Become>) -> Result<Output> {
        self.ask(reader, Question::Look(look.clone()), become_)
    }

    /// Asks a question, and with it what the last run asked after it.
    fn ask(&self, reader: &Reader, question: Question, become_: Option<&Become>) -> Result<Output> {
        let run = scope::run()?;
        let ask = Ask { question, become_: become_.map(|who| who.name().to_owned()) };
        let route = self.target()?.route();
        let memory = self.inner.ssh.memory.host(&route);
        // Whoever asks the same host meanwhile waits: what they want is likely to be in the same answer.
        let mut memory = memory::lock(&memory);
        let holds_secret = |text: &str| run.redactor.finds(text);
        // What holds a secret is neither kept nor put into a command with others, whose list of processes would show it.
        let is_secret = holds_secret(&ask.question.script());
        if !is_secret {
            memory.note(&ask);
        }
        if is_secret || !reader.takes_earlier_answers() {
            drop(memory);
            return match self.proof_of(&route, &ask)? {
                Some(proof) => Ok(proof),
                None => self.ask_alone(reader, &ask.question, become_),
            };
        }
        let moment = run.moment();
        if let Some(answer) = memory.take(&ask, moment) {
            reader.note_earlier_answer();
            return Ok(answer);
        }
        let mut questions = memory.ahead(&self.inner.ssh.memory, &route, &ask, holds_secret)?;
        if questions.is_empty() {
            drop(memory);
            let answer = self.ask_script(reader, &ask.question, ask.question.script_with_neighbours(), become_)?;
            let memory = self.inner.ssh.memory.host(&route);
            memory::lock(&memory).learn_neighbours(&ask, &answer, moment);
            return Ok(answer);
        }
        questions.insert(0, ask.question.clone());
        let batch = memory::batch(questions);
        // Whatever is wrong with it shows when the question is asked alone, in words that fit it.
        match self.ask_together(reader, &batch, become_)? {
            Some(answered) => memory.learn(batch.answers(&answered), ask.become_.as_deref(), moment),
            None => memory.give_up(),
        }
        let answer = memory.take(&ask, moment);
        drop(memory);
        match answer {
            Some(answer) => Ok(answer),
            None => self.ask_alone(reader, &ask.question, become_),
        }
    }

    /// What the host said right after the change that is under way, in answer to this very question.
    fn proof_of(&self, route: &str, ask: &Ask) -> Result<Option<Output>> {
        let change = scope::with(|branch| branch.change)?;
        Ok(change.and_then(|change| self.inner.ssh.memory.take_proof(change, route, ask)))
    }

    /// Asks a batch. Nothing where that fails or takes too long.
    fn ask_together(&self, reader: &Reader, batch: &Batch, become_: Option<&Become>) -> Result<Option<Output>> {
        let target = self.target()?;
        let command = Command::script(batch.script()).become_(become_.cloned()).timeout(Some(BATCH_TIMEOUT));
        let command = if batch.is_brief() { command.brief() } else { command };
        let answered = async { Ok(self.connection(target).await?.ask(command).await.ok()) };
        match reader.wait(answered) {
            Ok(answered) => Ok(answered),
            Err(error) if error.class() == Class::Interrupted => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn ask_alone(&self, reader: &Reader, question: &Question, become_: Option<&Become>) -> Result<Output> {
        self.ask_script(reader, question, question.script(), become_)
    }

    /// Asks a question by one of its scripts.
    fn ask_script(
        &self,
        reader: &Reader,
        question: &Question,
        script: String,
        become_: Option<&Become>,
    ) -> Result<Output> {
        let target = self.target()?;
        let redactor = &scope::run()?.redactor;
        let command = Command::script(script).become_(become_.cloned()).timeout(Some(PROBE_TIMEOUT));
        let command = if question.is_brief() { command.brief() } else { command };
        let command = command.hidden_where(|text| redactor.finds(text));
        reader.wait(async { self.connection(target).await?.ask(command).await })
    }

    /// Runs a command that changes something.
    pub fn exec(&self, command: Command, on_output: Option<OnOutput<'_>>, writer: &Writer) -> Result<Output> {
        let target = self.target()?;
        let redactor = &scope::run()?.redactor;
        let command = command.hidden_where(|text| redactor.finds(text));
        self.forget_proof()?;
        scope::wait(async { self.connection(target).await?.exec(command, on_output, writer).await })
    }

    /// Runs a command that changes what stands at a path, and asks with it what stands there afterwards: the answer is kept
    /// for the read that proves this change.
    pub fn exec_and_look(&self, command: Command, look: &Look, writer: &Writer) -> Result<(Output, Option<Output>)> {
        let target = self.target()?;
        let run = scope::run()?;
        let command = command.hidden_where(|text| run.redactor.finds(text));
        let become_ = command.whom().cloned();
        let ask =
            Ask { question: Question::Look(look.clone()), become_: become_.as_ref().map(|who| who.name().to_owned()) };
        let question = Command::script(look.script()).become_(become_).brief();
        self.forget_proof()?;
        memory::lock(&self.inner.ssh.memory.host(&target.route())).touch(&look.path);
        let (output, seen) =
            scope::wait(async { self.connection(target).await?.exec_and_ask(command, Some(question), writer).await })?;
        if let (Some(change), Some(seen)) = (scope::with(|branch| branch.change)?, &seen) {
            self.inner.ssh.memory.keep_proof(change, target.route(), ask, seen.clone());
        }
        Ok((output, seen))
    }

    /// What was seen after an earlier command of this change proves nothing any more.
    fn forget_proof(&self) -> Result<()> {
        let change = scope::with(|branch| branch.change)?;
        change.into_iter().for_each(|change| self.inner.ssh.memory.forget_proof(change));
        Ok(())
    }

    /// What a command that must succeed complained of, as an error. `what` goes on from the host's name.
    pub fn refusal(&self, what: &str, output: &Output) -> Error {
        let complaint = output.stderr_text();
        let denied = [
            "Permission denied",
            "Operation not permitted",
            "Read-only file system",
            "are you root",
            "Interactive authentication required",
        ];
        let refused = denied.iter().any(|words| complaint.contains(words));
        let class = if refused { Class::Permission } else { Class::Failed };
        let error = Error::new(class, format!("{}: {what}", self.name()));
        let error = match complaint.trim() {
            "" => error.cause(&output.exit),
            complaint => error.cause(complaint),
        };
        if class == Class::Permission && !complaint.contains("Read-only") {
            return error.help("if root may do it: `become: true` in `ssh::host`");
        }
        if complaint.contains("invalid user") || complaint.contains("invalid group") {
            return error
                .help("make that user or group first: `getent passwd` and `getent group` on the host list them");
        }
        error.help("the words are the host's own: put right what they name, then run again")
    }
}
