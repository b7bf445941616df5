//! What one script tells of a host: its facts, its PCI bus, how it boots. It is read, and never changed as such.

use super::super::handle::Host;
use crate::clients::ssh::Become;
use crate::error::{Class, Error, Result};
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{State, Value};

/// What a script tells of a host.
pub struct Told {
    /// The host.
    pub host: Host,
    /// Whom to be.
    pub become_: Option<Become>,
    /// What it is about, as in `web:facts`; changes that may alter it name it.
    pub cell: &'static str,
    /// The script. It only reads.
    pub script: &'static str,
    /// What cannot be read where it fails: `its facts`.
    pub what: &'static str,
    /// What the answer means. `None` where it is none.
    pub parse: fn(&str) -> Option<Value>,
}

impl Fact for Told {
    fn address(&self) -> String {
        format!("{}:{}", self.host.name(), self.cell)
    }

    fn cell(&self) -> Cell {
        self.host.cell(self.cell)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if let Some(unknown) = self.host.unknown()
            && scope::is_planning()?
        {
            return Ok(State::Unknown(unknown.clone()));
        }
        let output = self.host.probe(reader, self.script, self.become_.as_ref())?;
        let what = format!("{} cannot be read", self.what);
        if !output.success() {
            return Err(self.host.refusal(&what, &output));
        }
        let text = output.stdout_text();
        (self.parse)(&text).map(State::Here).ok_or_else(|| {
            Error::new(Class::Failed, format!("{}: {what}", self.host.name())).cause(format!("it says {text:?}"))
        })
    }

    fn stands_on(&self) -> Option<&str> {
        self.host.stands_on()
    }

    fn imagined(&self) -> State {
        State::Unknown(Unknown::from_origin(self.address()))
    }
}
