//! A command as a resource: never there, or there where its guard says so; and one that only reads, as a fact.

use std::time::Duration;

use super::super::handle::Host;
use super::command::Line;
use super::entry::Entry;
use super::live::Live;
use crate::clients::ssh::{Become, Command, Exit, Output, quote};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::event::Action;
use crate::run::resource::{Cell, Fact, Reach, Reader, Resource};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::args::{Maybe, TextOrSecret};

/// How many lines of what a failed command printed an error quotes.
const QUOTED_LINES: usize = 12;

/// A command and all that belongs to it.
pub struct Invocation {
    /// Where it runs.
    pub host: Host,
    /// What runs.
    pub line: Line,
    /// What people call it.
    pub label: String,
    /// As whom.
    pub become_: Option<Become>,
    /// The folder it starts in.
    pub cwd: Option<String>,
    /// Variables of its environment.
    pub env: Vec<(String, Maybe<TextOrSecret>)>,
    /// What it reads.
    pub stdin: Option<Maybe<TextOrSecret>>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Whether neither it nor what it prints may show.
    pub hidden: bool,
}

/// When a command has nothing to do.
pub enum Guard {
    /// Never.
    None,
    /// Where something is at a path.
    Creates(Box<Entry>),
    /// Where one command succeeds, or another fails.
    Commands {
        /// Where this succeeds.
        unless: Option<String>,
        /// Where this fails.
        only_if: Option<String>,
    },
}

/// A command with its guard.
pub struct Guarded {
    /// The command.
    pub invocation: Invocation,
    /// When it has nothing to do.
    pub guard: Guard,
    /// What it may change, where the author says so.
    pub provides: Option<Vec<Cell>>,
}

impl Invocation {
    /// What is about to be run, for people.
    pub fn details(&self) -> Map {
        let mut details = Map::from([("command".to_owned(), self.line.details(self.hidden))]);
        if let Some(who) = &self.become_ {
            details.insert("become".to_owned(), Value::from(who.name()));
        }
        if let Some(cwd) = &self.cwd {
            details.insert("cwd".to_owned(), Value::text(cwd));
        }
        if !self.env.is_empty() {
            let env = self.env.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
            details.insert("env".to_owned(), Value::Map(env));
        }
        if let Some(stdin) = &self.stdin {
            details.insert("stdin".to_owned(), shown(stdin));
        }
        details
    }

    fn command(&self) -> Result<Command> {
        if let Some(unknown) = self.line.unknown() {
            return Err(self.not_known(&unknown));
        }
        let mut command = Command::script(self.line.expose()).become_(self.become_.clone()).cwd(self.cwd.clone());
        for (name, value) in &self.env {
            command = command.env(name, self.known(value)?);
        }
        if let Some(stdin) = &self.stdin {
            command = command.stdin(self.known(stdin)?);
        }
        // A secret must not stand in the host's list of processes.
        let command = if self.hidden || self.line.is_secret() { command.hidden() } else { command };
        Ok(command.timeout(self.timeout).called(&self.label))
    }

    fn known<'a>(&self, value: &'a Maybe<TextOrSecret>) -> Result<&'a str> {
        match value {
            Maybe::Known(text) => Ok(text.expose()),
            Maybe::Unknown(unknown) => Err(self.not_known(unknown)),
        }
    }

    fn not_known(&self, unknown: &Unknown) -> Error {
        unknown.needed(&format!("{}: `{}`", self.host.name(), self.label))
    }

    /// Runs it, and shows what it prints where it takes its time. Ending with anything but 0 is an error.
    fn execute(&self, writer: &Writer) -> Result<Map> {
        let mut live = Live::start(&self.host)?;
        let output = match self.hidden {
            true => self.host.exec(self.command()?, None, writer)?,
            false => self.host.exec(self.command()?, Some(&mut |stream, bytes| live.hear(stream, bytes)), writer)?,
        };
        live.end()?;
        match output.exit {
            Exit::Code(0) => self.printed(&output),
            _ => Err(self.failure(&output)),
        }
    }

    fn failure(&self, output: &Output) -> Error {
        let error =
            Error::new(Class::Failed, format!("{}: `{}` failed: {}", self.host.name(), self.label, output.exit));
        if self.hidden {
            return error.cause("what it printed is hidden");
        }
        let (stdout, stderr) = (output.stdout_text(), output.stderr_text());
        let error = match (last_lines(&stderr), last_lines(&stdout)) {
            (quoted, _) if !quoted.is_empty() => error.cause(quoted),
            (_, quoted) if !quoted.is_empty() => error.cause(quoted),
            _ => error.cause("it printed nothing"),
        };
        match output.exit {
            Exit::Code(127) => error.help("install what it needs before, or write its whole path"),
            _ => error.help(
                "the words are the command's own: correct what they name; where it need not run at all, say so with \
                 `unless`, `only_if` or `creates`",
            ),
        }
    }

    /// What it printed, as a script gets it: without the line breaks at the end, as in `$(…)`.
    fn printed(&self, output: &Output) -> Result<Map> {
        let run = scope::run()?;
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let text = text.trim_end_matches(['\n', '\r']);
            if self.hidden { Value::Secret(run.redactor.secret(text)) } else { Value::text(text) }
        };
        let Exit::Code(code) = output.exit else { return Err(self.failure(output)) };
        Ok(Map::from([
            ("exit".to_owned(), Value::Int(code.into())),
            ("stdout".to_owned(), text(&output.stdout)),
            ("stderr".to_owned(), text(&output.stderr)),
        ]))
    }

    /// The text of a command that only reads, where it starts in a folder.
    fn in_folder(&self, command: &str) -> String {
        match &self.cwd {
            Some(folder) => format!("cd -- {} || exit 126\n{command}", quote(folder)),
            None => command.to_owned(),
        }
    }

    fn probe(&self, reader: &Reader, command: &str) -> Result<Output> {
        let output = self.host.query(reader, &self.in_folder(command), self.become_.as_ref())?;
        match &output.exit {
            Exit::Code(_) => Ok(output),
            Exit::Signal(_) => Err(self.failure(&output)),
        }
    }

    /// Why what a command would see now is not what it will see.
    fn stale(&self) -> Result<Option<Unknown>> {
        match scope::stale_realm(&self.host.realm())? {
            Some(cause) => Ok(Some(cause)),
            None if scope::is_planning()? => Ok(self.host.unknown().cloned()),
            None => Ok(None),
        }
    }
}

fn shown(value: &Maybe<TextOrSecret>) -> Value {
    value.clone().into_value(TextOrSecret::into_value)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}

impl Guarded {
    /// Runs the command and proves what it was to make.
    pub fn carry_out(&self, writer: &Writer) -> Result<Map> {
        let output = self.invocation.execute(writer)?;
        if let Guard::Creates(entry) = &self.guard
            && entry.read(&Reader::default())? == State::Absent
        {
            let Invocation { host, label, .. } = &self.invocation;
            return Err(Error::new(Class::VerifyFailed, format!("{}: `{label}` ended well, but", host.name()))
                .cause(format!("{} is still not there", entry.path()))
                .help("correct the command, or what it `creates`"));
        }
        Ok(output)
    }

    fn ask(&self, reader: &Reader, unless: Option<&str>, only_if: Option<&str>) -> Result<State> {
        if let Some(cause) = self.invocation.stale()? {
            return Ok(State::Unknown(cause));
        }
        let done = |why: &str| Ok(State::Here(Value::Map(Map::from([("done".to_owned(), Value::from(why))]))));
        if let Some(command) = only_if
            && !self.invocation.probe(reader, command)?.success()
        {
            return done("`only_if` failed");
        }
        if let Some(command) = unless
            && self.invocation.probe(reader, command)?.success()
        {
            return done("`unless` succeeded");
        }
        Ok(State::Absent)
    }
}

impl Fact for Guarded {
    fn address(&self) -> String {
        format!("{}:run:{}", self.invocation.host.name(), self.invocation.label)
    }

    fn cell(&self) -> Cell {
        match &self.guard {
            Guard::Creates(entry) => entry.cell(),
            _ => self.invocation.host.cell(format!("run:{}", self.invocation.label)),
        }
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        match &self.guard {
            Guard::None => Ok(State::Absent),
            Guard::Creates(entry) => entry.read(reader),
            Guard::Commands { unless, only_if } => self.ask(reader, unless.as_deref(), only_if.as_deref()),
        }
    }

    fn stands_on(&self) -> Option<&str> {
        self.invocation.host.stands_on()
    }

    fn imagined(&self) -> State {
        match &self.guard {
            Guard::None => State::Absent,
            Guard::Creates(entry) => entry.imagined(),
            Guard::Commands { .. } => State::Unknown(Unknown::from_origin(self.address())),
        }
    }
}

impl Resource for Guarded {
    fn want(&self, have: &State) -> Result<State> {
        Ok(match have {
            State::Here(value) => State::Here(value.clone()),
            State::Absent | State::Unknown(_) => State::Here(Value::Map(self.invocation.details())),
        })
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        self.carry_out(writer)
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn reach(&self) -> Reach {
        self.provides.clone().map_or(Reach::Realm, Reach::Cells)
    }

    fn owns_cell(&self) -> bool {
        false
    }
}

/// A command that only reads, as a fact.
pub struct Query {
    /// The command.
    pub invocation: Invocation,
}

impl Fact for Query {
    fn address(&self) -> String {
        format!("{}:query:{}", self.invocation.host.name(), self.invocation.label)
    }

    fn cell(&self) -> Cell {
        self.invocation.host.cell(format!("query:{}", self.invocation.label))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let stale = self.invocation.stale()?.or_else(|| self.invocation.line.unknown());
        if let Some(cause) = stale
            && scope::is_planning()?
        {
            return Ok(State::Unknown(cause));
        }
        if let Some(unknown) = self.invocation.line.unknown() {
            return Err(self.invocation.not_known(&unknown));
        }
        let output = self.invocation.probe(reader, self.invocation.line.expose())?;
        self.invocation.printed(&output).map(|printed| State::Here(Value::Map(printed)))
    }

    fn stands_on(&self) -> Option<&str> {
        self.invocation.host.stands_on()
    }

    fn imagined(&self) -> State {
        State::Unknown(Unknown::from_origin(self.address()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_the_last_lines_only() {
        let text: String = (1..=100).map(|number| format!("line {number}\n\n")).collect();
        let quoted = last_lines(&text);
        assert!(quoted.starts_with("line 89\n") && quoted.ends_with("\nline 100"), "{quoted}");
        assert_eq!(last_lines("\n \n"), "");
    }
}
