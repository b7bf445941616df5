//! Raw mutations: a `POST`, a command. Inside a change they are part of it; in a script they are a change of their own,
//! which nobody can look into.

use std::sync::Arc;

use super::capability::Writer;
use super::consent;
use super::difference::Difference;
use super::ensure::{Changed, Outcome, ensure};
use super::event::Action;
use super::resource::{Cell, Fact, Reach, Reader, Resource};
use super::scope::{self, Phase};
use super::unknown::Unknown;
use super::value::{Map, State, Value};
use crate::error::Result;

/// How a raw mutation is sent. It gives back the other system's answer.
pub type Send = Arc<dyn Fn(&Writer) -> Result<Value> + std::marker::Send + Sync>;

/// A raw mutation.
#[derive(Clone)]
pub struct Raw {
    /// For people, as in `proxmox:POST /nodes/pve-01/status`.
    pub address: String,
    /// What it may touch.
    pub realm: String,
    /// What is about to be sent, for the diff.
    pub details: Value,
    /// How to send it.
    pub send: Send,
}

/// Sends a raw mutation where that is the gate's wish: at once inside a change, recorded in a rehearsal, and as a change
/// of its own in a script. A dry run answers with an unknown.
pub fn mutate(raw: Raw) -> Result<Value> {
    let phase = scope::with(|branch| branch.phase)?;
    match phase {
        Phase::Change => {
            consent::refuse_unknown_value(&raw.address, &raw.details)?;
            (raw.send)(&Writer::new())
        }
        Phase::Rehearse => {
            let answer = Unknown::from_origin(&raw.address);
            scope::with(|branch| branch.rehearsed = Some(answer.clone()))?;
            Ok(Value::Unknown(answer))
        }
        _ => {
            scope::require(&[Phase::Script], &raw.address)?;
            let address = raw.address.clone();
            let outcome = ensure(&Arc::new(Alone { raw }))?;
            Ok(answer_of(outcome, &address))
        }
    }
}

fn answer_of(outcome: Outcome, address: &str) -> Value {
    match outcome.after {
        State::Here(Value::Map(mut map)) => {
            map.remove("answer").unwrap_or(Value::Unknown(Unknown::from_origin(address)))
        }
        _ if outcome.changed == Changed::No => Value::Null,
        _ => Value::Unknown(Unknown::from_origin(address)),
    }
}

/// A raw mutation as a change of its own: never there, always wanted.
struct Alone {
    raw: Raw,
}

impl Fact for Alone {
    fn address(&self) -> String {
        self.raw.address.clone()
    }

    fn cell(&self) -> Cell {
        Cell::new(self.raw.realm.clone(), format!("raw:{}", self.raw.address))
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        Ok(State::Absent)
    }
}

impl Resource for Alone {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(State::Here(self.raw.details.clone()))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let answer = (self.raw.send)(writer)?;
        Ok(Map::from([("answer".to_owned(), answer)]))
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn reach(&self) -> Reach {
        Reach::Realm
    }

    fn owns_cell(&self) -> bool {
        false
    }
}
