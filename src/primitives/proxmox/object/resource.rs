//! An object as a resource: what is there, what is wanted of it.

use std::sync::{Arc, Mutex};

use rhai::Map as ScriptMap;
use serde_json::Value as Json;

use super::{Kind, change};
use crate::clients::proxmox::Params;
use crate::error::{Error, Result};
use crate::primitives::flow::outcome;
use crate::primitives::proxmox::handle::{Proxmox, REALM, nonsense};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{Changed, Outcome, ensure};
use crate::run::event::Level;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::session::lock;
use crate::run::value::{Map, State, Value};

/// What a playbook says of an object.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Wanted {
    /// The settings that it should have, in their normal form.
    pub settings: Map,
    /// Those that it should not have.
    pub remove: Vec<String>,
    /// Whether it should not be there.
    pub absent: bool,
    /// Whether the playbook allows it to be taken away.
    pub allow_destroy: bool,
}

impl Wanted {
    /// Settings under their names, those that nobody said left out. Who says nothing of a setting, as in `[]` or `""`,
    /// wants it not to be there.
    pub fn new(kind: &Kind, settings: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Self {
        let mut wanted = Wanted::default();
        for (name, value) in settings {
            match value {
                Some(value) if kind.setting(name).is_some_and(|setting| setting.is_nothing(&value)) => {
                    wanted.remove.push(name.to_owned());
                }
                Some(value) => drop(wanted.settings.insert(name.to_owned(), value)),
                None => {}
            }
        }
        wanted
    }

    /// Whether it should be there at all, and whether it may be taken away.
    #[must_use]
    pub fn absent(mut self, absent: bool, allow_destroy: bool) -> Self {
        self.absent = absent;
        self.allow_destroy = allow_destroy;
        self
    }
}

/// Looks at something beyond the object itself, and says what is wrong.
pub(in super::super) type Look = fn(&Object, &Reader) -> Result<()>;

/// An object of the API.
pub(in super::super) struct Object {
    /// The way to the API.
    pub pve: Proxmox,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its name among its kind.
    pub id: String,
    /// Where it is read, changed and taken away.
    pub path: String,
    /// What names it beside the path.
    pub query: Params,
    /// Where it is made, and the parameters that name it there. `None`: it is always there.
    pub birth: Option<(String, Params)>,
    /// What the playbook says.
    pub wanted: Wanted,
    /// What must hold before absence is believed: the API hides what one may not see.
    pub sight: Option<Look>,
    /// What must hold before it is taken away.
    pub release: Option<Look>,
    /// What must hold once it is as wanted.
    pub proof: Option<Look>,
    /// The digest of what was read last: a write carries it, so that what another has changed meanwhile is not lost.
    pub digest: Mutex<Option<String>>,
}

impl Object {
    /// An object that is made in a collection and then has a path of its own below it.
    pub fn in_collection(pve: &Proxmox, kind: &'static Kind, collection: &str, naming: &str, id: &str) -> Self {
        let path = format!("{collection}/{}", crate::clients::proxmox::segment(id));
        let birth = (collection.to_owned(), Params::new().with(naming, id));
        Object { birth: Some(birth), ..Object::always(pve, kind, path, id) }
    }

    /// An object that is always there.
    pub fn always(pve: &Proxmox, kind: &'static Kind, path: String, id: &str) -> Self {
        Object {
            pve: pve.clone(),
            kind,
            id: id.to_owned(),
            path,
            query: Params::new(),
            birth: None,
            wanted: Wanted::default(),
            sight: None,
            release: None,
            proof: None,
            digest: Mutex::default(),
        }
    }

    /// The answer to a read, or `None` where the API says that there is no such thing.
    fn answer(&self, reader: &Reader) -> Result<Option<Json>> {
        reader.touch(&self.path);
        let client = self.pve.client();
        let answer = reader.wait(async { Ok(client.get(&self.path, &self.query).await) })?;
        match answer {
            Ok(answer) => Ok(Some(answer.data)),
            Err(failure) if self.birth.is_some() && failure.says_missing() => Ok(None),
            Err(failure) => Err(Error::from(failure).context(format!("{}: cannot be read", self.address()))),
        }
    }

    /// The settings of an answer in their normal form; those that no playbook knows as they are.
    fn normal(&self, answer: &serde_json::Map<String, Json>) -> Map {
        let known = self.kind.settings.iter().filter_map(|setting| {
            let value = setting.normal(answer.get(setting.wire)?)?;
            Some((setting.name.to_owned(), value))
        });
        let is_known = |key: &str| self.kind.settings.iter().any(|setting| setting.wire == key);
        let others = answer.iter().filter(|(key, value)| {
            !is_known(key) && !value.is_null() && !self.kind.aside.contains(&key.as_str()) && *key != "digest"
        });
        known.chain(others.map(|(key, value)| (key.clone(), Value::from(value.clone())))).collect()
    }

    /// What there is, with what the playbook says on top.
    fn merged(&self, have: &Map) -> Map {
        let mut want = have.clone();
        want.extend(self.wanted.settings.clone());
        want.retain(|name, _| !self.wanted.remove.contains(name));
        want
    }

    /// The fixed settings that differ: only making it anew brings them about.
    pub(super) fn stuck(&self, have: &Map, want: &Map) -> Vec<&'static str> {
        let said = |name: &&str| self.wanted.settings.contains_key(*name);
        self.kind.fixed.iter().copied().filter(said).filter(|name| have.get(*name) != want.get(*name)).collect()
    }

    /// What of the settings that are there goes into one that is made anew, with what the playbook says on top. Those of
    /// another type would mean nothing.
    fn anew(&self, want: Map, stuck: &[&str]) -> Map {
        let stays = |name: &str| {
            let own = self.kind.fixed.contains(&name) || self.kind.filled.contains(&name) || stuck.contains(&"type");
            self.wanted.settings.contains_key(name) || (!own && self.kind.setting(name).is_some())
        };
        want.into_iter().filter(|(name, _)| stays(name)).collect()
    }
}

impl Fact for Object {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("{}:{}", self.kind.noun, self.id))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let Some(answer) = self.answer(reader)? else {
            if let Some(sight) = self.sight {
                sight(self, reader)?;
            }
            return Ok(State::Absent);
        };
        let answer = (self.kind.shape)(answer);
        let settings = answer.as_object().ok_or_else(|| nonsense(self.pve.place(), &self.path, "settings"))?;
        *lock(&self.digest) = settings.get("digest").and_then(Json::as_str).map(str::to_owned);
        Ok(State::Here(Value::Map(self.normal(settings))))
    }
}

impl Resource for Object {
    fn want(&self, have: &State) -> Result<State> {
        if self.wanted.absent {
            return Ok(State::Absent);
        }
        Ok(match have {
            State::Unknown(unknown) => State::Unknown(unknown.clone()),
            State::Absent => State::Here(Value::Map(self.merged(&Map::new()))),
            State::Here(value) => {
                let have = value.as_map().cloned().unwrap_or_default();
                let want = self.merged(&have);
                let stuck = self.stuck(&have, &want);
                State::Here(Value::Map(if stuck.is_empty() { want } else { self.anew(want, &stuck) }))
            }
        })
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        change::carry_out(self, difference, writer)?;
        Ok(Map::new())
    }

    fn fills(&self) -> Vec<String> {
        self.kind.filled.iter().map(|name| (*name).to_owned()).collect()
    }

    /// One that is made anew is filled in anew as well.
    fn expect(&self, difference: &Difference) -> State {
        let (State::Here(Value::Map(have)), State::Here(Value::Map(want))) = (&difference.have, &difference.want)
        else {
            return difference.want.clone();
        };
        let mut after = want.clone();
        if !self.stuck(have, want).is_empty() {
            for name in self.kind.filled {
                let unknown = || crate::run::unknown::Unknown::from_origin(format!("{}.{name}", self.address()));
                after.entry((*name).to_owned()).or_insert_with(|| Value::Unknown(unknown()));
            }
        }
        State::Here(Value::Map(after))
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        let loss = self.kind.loss;
        match (&difference.have, &difference.want) {
            (State::Here(_), State::Absent) => Some(format!("it would take away {loss}")),
            (State::Here(Value::Map(have)), State::Here(Value::Map(want))) => {
                let stuck = self.stuck(have, want);
                let fixed = stuck.join(", ");
                (!stuck.is_empty()).then(|| format!("{fixed} cannot change; making it anew would take away {loss}"))
            }
            _ => None,
        }
    }

    fn may_destroy(&self) -> bool {
        self.wanted.allow_destroy
    }

    fn rehearse(&self, difference: &Difference) -> Result<()> {
        match (self.release, self.destroys(difference)) {
            (Some(release), Some(_)) => release(self, &Reader::default()),
            _ => Ok(()),
        }
    }
}

/// Brings an object to its wanted state, and proves what lies beyond it.
pub(in super::super) fn settle(object: Object) -> Result<ScriptMap> {
    let object = Arc::new(object);
    let outcome = ensure(&object)?;
    if let Some(proof) = object.proof
        && !object.wanted.absent
    {
        prove(&object, proof, &outcome)?;
    }
    Ok(outcome::to_map(outcome))
}

/// A plan proves only what it leaves alone. What it has planned may yet make good what is wrong now: then it warns.
fn prove(object: &Object, proof: Look, outcome: &Outcome) -> Result<()> {
    let planning = scope::is_planning()?;
    if planning && outcome.changed != Changed::No {
        return Ok(());
    }
    match proof(object, &Reader::default()) {
        Err(error) if planning && scope::with(|branch| branch.overlay.cells().next().is_some())? => {
            let causes = error.causes().join("; ");
            scope::say(Level::Warn, format!("{} now: {causes}", error.message()))
        }
        result => result,
    }
}
