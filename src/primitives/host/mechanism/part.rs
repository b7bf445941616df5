//! Parts of a host's system that one script reads and another changes: packages, services, users. What they have in
//! common is here; a part says what is asked, what the answer means, what is wanted and how it is brought about.

use super::super::connect::BecomeOption;
use super::super::handle::Host;
use super::live::Live;
use crate::clients::ssh::{Become, Command, Output};
use crate::error::{Error, Result};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::event::Action;
use crate::run::resource::{Cell, Fact, Reach, Reader, Resource};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State};

/// What a part of a system is.
pub trait Part: Send + Sync + 'static {
    /// What kind of part, as in `web:service:nginx`.
    const KIND: &'static str;

    /// Which one.
    fn name(&self) -> String;

    /// Where the truth is. Parts that want pieces of the same thing share it.
    fn cell(&self) -> String {
        format!("{}:{}", Self::KIND, self.name())
    }

    /// The script that asks what is there. It only reads. Where it is empty nothing is asked.
    fn question(&self) -> String;

    /// What the answer means.
    fn parse(&self, answer: &str) -> Result<State>;

    /// What belongs to the state beyond the answer: what this dry run has planned elsewhere, what only a second question
    /// tells.
    fn complete(&self, state: State, _asking: &Asking<'_>) -> Result<State> {
        Ok(state)
    }

    /// What is wanted, given what is there. Pure.
    fn want(&self, have: &State) -> Result<State>;

    /// The command that carries out a difference.
    fn command(&self, difference: &Difference) -> Result<Command>;

    /// What a refusal means, where the host's own words do not tell what to do.
    fn refusal(&self, _host: &Host, _output: &Output) -> Option<Error> {
        None
    }

    /// The fields that the system fills in by itself when the part is made.
    fn fills(&self) -> &'static [&'static str] {
        &[]
    }

    /// What will be there after the change, where that is more than what is wanted.
    fn expect(&self, difference: &Difference) -> State {
        difference.want.clone()
    }

    /// What the change is called, where the difference does not tell.
    fn action(&self, difference: &Difference) -> Action {
        difference.action
    }

    /// What is known of it on a machine that is only planned. Default: nothing, as the image may bring it.
    fn imagined(&self, _host: &Host) -> Option<State> {
        None
    }

    /// The cells of other facts of the host that its change alters as well.
    fn stirs(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether it can be read back. What only happens, such as a restart, cannot.
    fn is_lasting(&self) -> bool {
        true
    }

    /// Whether a dry run believes that it is there after the change, although it cannot be read back.
    fn is_believed(&self) -> bool {
        self.is_lasting()
    }

    /// Why a difference destroys something.
    fn destroys(&self, _difference: &Difference) -> Option<String> {
        None
    }

    /// Whether the playbook allows that.
    fn may_destroy(&self) -> bool {
        false
    }
}

/// A part of a certain host.
pub struct Placed<P> {
    /// The host.
    pub host: Host,
    /// Whom to be.
    pub become_: Option<Become>,
    /// The part.
    pub part: P,
}

/// The way to ask a host more.
pub struct Asking<'a> {
    /// The host.
    pub host: &'a Host,
    become_: Option<&'a Become>,
    reader: &'a Reader,
}

impl Asking<'_> {
    /// Runs another script that only reads.
    pub fn ask(&self, script: &str) -> Result<Output> {
        self.host.probe(self.reader, script, self.become_)
    }
}

impl<P: Part> Placed<P> {
    /// A part of a host, changed as the playbook says.
    pub fn new(host: &Host, become_: Option<&BecomeOption>, part: P) -> Self {
        Placed { host: host.clone(), become_: host.whom(become_), part }
    }
}

impl<P: Part> Fact for Placed<P> {
    fn address(&self) -> String {
        format!("{}:{}:{}", self.host.name(), P::KIND, self.part.name())
    }

    fn cell(&self) -> Cell {
        self.host.cell(self.part.cell())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if let Some(unknown) = self.host.unknown()
            && scope::is_planning()?
        {
            return Ok(State::Unknown(unknown.part(&self.part.cell())));
        }
        let question = self.part.question();
        if question.is_empty() {
            return Ok(State::Absent);
        }
        let output = self.host.probe(reader, &question, self.become_.as_ref())?;
        let what = || format!("{} {} cannot be read", P::KIND, self.part.name());
        if !output.success() {
            let explained = self.part.refusal(&self.host, &output);
            return Err(explained.unwrap_or_else(|| self.host.refusal(&what(), &output)));
        }
        let state = self.part.parse(&output.stdout_text()).map_err(|error| error.on(self.host.name()))?;
        self.part.complete(state, &Asking { host: &self.host, become_: self.become_.as_ref(), reader })
    }

    fn stands_on(&self) -> Option<&str> {
        self.host.stands_on()
    }

    fn imagined(&self) -> State {
        let unknown = || State::Unknown(Unknown::from_origin(self.address()).maybe_absent());
        self.part.imagined(&self.host).unwrap_or_else(unknown)
    }
}

impl<P: Part> Resource for Placed<P> {
    fn want(&self, have: &State) -> Result<State> {
        self.part.want(have).map_err(|error| error.on(self.host.name()))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let what = format!("{} {}", P::KIND, self.part.name());
        let command = self.part.command(difference)?.become_(self.become_.clone()).called(&what);
        let mut live = Live::start(&self.host)?;
        let output = self.host.exec(command, Some(&mut |stream, bytes| live.hear(stream, bytes)), writer)?;
        live.end()?;
        if output.success() {
            return Ok(Map::new());
        }
        let explained = self.part.refusal(&self.host, &output);
        Err(explained.unwrap_or_else(|| self.host.refusal(&format!("{what} was not changed"), &output)))
    }

    fn fills(&self) -> Vec<String> {
        self.part.fills().iter().map(|field| (*field).to_owned()).collect()
    }

    fn expect(&self, difference: &Difference) -> State {
        self.part.expect(difference)
    }

    fn action(&self, difference: &Difference) -> Action {
        self.part.action(difference)
    }

    fn reach(&self) -> Reach {
        if self.part.is_believed() { Reach::Cell } else { Reach::Cells(Vec::new()) }
    }

    fn stirs(&self) -> Vec<Cell> {
        self.part.stirs().into_iter().map(|path| self.host.cell(path)).collect()
    }

    fn owns_cell(&self) -> bool {
        self.part.is_lasting()
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        self.part.destroys(difference)
    }

    fn may_destroy(&self) -> bool {
        self.part.may_destroy()
    }
}
