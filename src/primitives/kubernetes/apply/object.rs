//! One object that is applied. What is wanted of it is what the API itself says that it would become.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::super::delete;
use super::super::handle::Kubernetes;
use super::super::kinds::{Kind, Served, object_cell, served};
use super::super::ready::{Verdict, verdict};
use super::super::wait::Target;
use super::manifest::Manifest;
use super::{conflict, gather, shape, takeover};
use crate::clients::kubernetes::{Answer, Applying, Client, Failure};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::event::Level;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::session::lock;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// The pause before what is not ready to be applied is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long that goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who applies, and how.
#[derive(Debug, Clone)]
pub(in crate::primitives::kubernetes) struct How {
    /// The field manager.
    pub manager: String,
    /// Whether fields of other managers are taken over.
    pub force: bool,
    /// Whether it may be deleted and made anew.
    pub replace: bool,
    /// Whether values that are there stay as they are.
    pub keep: bool,
}

impl How {
    pub(super) fn applying(&self) -> Applying<'_> {
        Applying { manager: &self.manager, force: self.force }
    }
}

/// An object that is applied.
pub(in crate::primitives::kubernetes) struct Applied {
    pub(super) k: Kubernetes,
    pub(super) manifest: Manifest,
    pub(super) how: How,
    seen: Mutex<Seen>,
}

/// What was seen of it last.
#[derive(Default)]
struct Seen {
    /// What was asked for together with others, and is read once.
    early: Option<Result<State>>,
    /// What was there when the API was asked what would become of it, as it is compared.
    live: Option<Value>,
    /// What the API answered, in the same form.
    answer: Option<Value>,
    /// The object as a whole.
    object: Option<Value>,
    /// Whether `kubectl apply` has set fields that we are to have.
    inherits: bool,
    /// Why it has to be made anew.
    replaced: Option<String>,
}

impl Applied {
    /// An object by its manifest. One that belongs into a namespace and names none belongs into `default`.
    pub fn new(k: &Kubernetes, mut manifest: Manifest, how: &How) -> Result<Self> {
        if manifest.namespace.is_none()
            && let Served::Here(resource) = served(k, kind_of(&manifest))?
            && resource.namespaced
        {
            manifest.settle_in("default");
        }
        Ok(Applied { k: k.clone(), manifest, how: how.clone(), seen: Mutex::default() })
    }

    /// Whether its kind is served.
    pub fn served(&self) -> Result<Served> {
        served(&self.k, kind_of(&self.manifest)).map_err(|error| error.context(self.address()))
    }

    /// What is asked for, as it is compared.
    pub fn asked(&self) -> Value {
        shape::bare(&Value::Map(self.manifest.body.clone()))
    }

    /// What it was asked for together with others.
    pub(super) fn note(&self, early: Result<State>) {
        lock(&self.seen).early = Some(early);
    }

    /// Notes what is there, and what the API says that it would become.
    pub(super) fn note_live(&self, live: &Json, answer: Option<&Json>) {
        let object = shape::seen(live);
        let bare = shape::bare(&object);
        let mut seen = lock(&self.seen);
        if let Some(answer) = answer {
            seen.answer = Some(shape::bare(&shape::seen(answer)));
            seen.live = Some(bare.clone());
        }
        seen.object = Some(object);
        seen.early = Some(Ok(State::Here(bare)));
    }

    /// Notes that what `kubectl apply` has set becomes ours.
    pub(super) fn note_heritage(&self) {
        lock(&self.seen).inherits = true;
    }

    /// Notes that it has to be made anew, and why.
    pub(super) fn note_replacement(&self, live: &Json, why: String) {
        let asked = Value::Map(self.manifest.body.clone());
        let left = takeover::without_ours(live, &asked.to_display_json(), &self.how.manager);
        let will = shape::over(&shape::bare(&shape::seen(&left)), &self.asked());
        self.note_live(live, None);
        let mut seen = lock(&self.seen);
        seen.live = Some(shape::bare(&shape::seen(live)));
        seen.answer = Some(will);
        seen.replaced = Some(why);
    }

    /// Notes what the API says that would be made.
    pub(super) fn note_new(&self, answer: &Json) {
        let mut seen = lock(&self.seen);
        seen.object = Some(shape::seen(answer));
        seen.early = Some(Ok(State::Absent));
    }

    /// The object as it was seen last: after a run as it is, in a plan as it will be.
    pub fn object(&self, changes: bool) -> Value {
        let whole = Value::Map(self.manifest.body.clone());
        let seen = lock(&self.seen).object.clone();
        if !changes {
            return seen.unwrap_or(whole);
        }
        let mut will = shape::with_unknowns_of(&whole, &shape::over(&seen.unwrap_or(Value::Map(Map::new())), &whole));
        if let Value::Map(map) = &mut will {
            map.remove("status");
            if let Some(Value::Map(metadata)) = map.get_mut("metadata") {
                ["uid", "resourceVersion", "creationTimestamp", "generation"]
                    .iter()
                    .for_each(|key| drop(metadata.remove(*key)));
            }
        }
        shape::open(&will, &Unknown::from_origin(self.address()))
    }

    /// What is waited for where it is to be ready. `None` where its kind is not served.
    pub fn target(&self) -> Result<Option<Target>> {
        let Served::Here(resource) = self.served()? else { return Ok(None) };
        Ok(Some(Target {
            address: self.address(),
            path: resource.path(self.manifest.namespace.as_deref(), &self.manifest.name),
            group: self.manifest.group.clone(),
            kind: self.manifest.kind.clone(),
        }))
    }

    /// Whether it was ready when it was seen last.
    pub fn was_ready(&self) -> bool {
        let seen = lock(&self.seen).object.as_ref().map(Value::to_display_json);
        seen.is_some_and(|object| verdict(&object, &self.manifest.group, &self.manifest.kind) == Verdict::Ready)
    }

    /// Takes over what `kubectl apply` has set, so that what is left out goes away.
    fn inherit(&self, client: &Client, path: &str, writer: &Writer) -> Result<()> {
        let live = scope::wait(async { Ok(client.get(path).await?.json()) })?;
        let Some(steps) = live.and_then(|live| takeover::handed_over(&live, &self.how.manager)) else { return Ok(()) };
        scope::wait(async { Ok(client.edit(path, &steps, writer).await.map(drop)) })?
            .map_err(|failure| Error::from(failure).context(format!("{}: it cannot be taken over", self.address())))
    }

    fn send(&self, client: &Client, path: &str, writer: &Writer) -> Result<Answer> {
        let body = Value::Map(self.manifest.body.clone());
        let body = body.to_json().ok_or_else(|| {
            Error::new(Class::InputMissing, format!("{}: something in it is not known", self.address()))
        })?;
        let began = Instant::now();
        loop {
            match scope::wait(async { Ok(client.apply(path, &body, self.how.applying(), writer).await) })? {
                Ok(answer) => return Ok(answer),
                Err(failure) if began.elapsed() < PATIENCE && comes_in_time(&failure) => scope::pause(PAUSE)?,
                Err(failure) => return Err(conflict::explain(failure, self)),
            }
        }
    }
}

/// Whether what stands in the way is known to go away by itself: a webhook whose server is starting, an account that every
/// namespace gets, a kind that was defined a moment ago.
fn comes_in_time(failure: &Failure) -> bool {
    failure.api().is_some_and(|error| match error.status {
        500 => error.message.contains("failed calling webhook"),
        403 => error.message.contains("serviceaccount") && error.message.contains("not found"),
        404 => error.reason.is_empty(),
        _ => false,
    })
}

pub(super) fn kind_of(manifest: &Manifest) -> Kind<'_> {
    Kind { group: &manifest.group, version: &manifest.version, kind: &manifest.kind }
}

impl Fact for Applied {
    fn address(&self) -> String {
        self.manifest.address()
    }

    fn cell(&self) -> Cell {
        object_cell(&self.address())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if let Ok(Served::Here(resource)) = self.served() {
            reader.touch(resource.path(self.manifest.namespace.as_deref(), &self.manifest.name));
        }
        let early = lock(&self.seen).early.take();
        match early {
            Some(early) => early,
            None => {
                gather::gather(&[self])?;
                let lost = || Error::new(Class::Bug, format!("{}: nothing was asked", self.address()));
                lock(&self.seen).early.take().unwrap_or_else(|| Err(lost()))
            }
        }
    }

    fn imagined(&self) -> State {
        State::Absent
    }
}

impl Resource for Applied {
    fn want(&self, have: &State) -> Result<State> {
        let asked = self.asked();
        let Some(have) = have.here() else { return Ok(State::Here(asked)) };
        if self.how.keep {
            conflict::check_kept(self, have, &asked)?;
        }
        let seen = lock(&self.seen);
        Ok(State::Here(match (&seen.live, &seen.answer) {
            (Some(live), Some(answer)) if live == have => shape::with_unknowns_of(&asked, answer),
            (live, Some(answer)) => {
                let kept =
                    live.as_ref().map_or_else(|| have.clone(), |live| shape::without_what_goes(have, live, answer));
                shape::over(&kept, &shape::in_words_of(&asked, answer))
            }
            _ => shape::over(have, &asked),
        }))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let client = self.k.writing()?;
        let resource = match self.served()? {
            Served::Here(resource) => resource,
            Served::Planned(unknown) | Served::NotYet(unknown) => return Err(unknown.needed(&self.address())),
        };
        let path = resource.path(self.manifest.namespace.as_deref(), &self.manifest.name);
        if lock(&self.seen).replaced.take().is_some() {
            delete::take_away(&self.k, &self.address(), &path, writer)?;
        } else if std::mem::take(&mut lock(&self.seen).inherits) {
            self.inherit(&client, &path, writer)?;
        }
        let answer = self.send(&client, &path, writer)?;
        for warning in &answer.warnings {
            scope::say(Level::Warn, format!("{}: {warning}", self.address()))?;
        }
        let object = answer.json().map(|json| shape::seen(&json));
        let mut seen = lock(&self.seen);
        seen.answer = object.as_ref().map(shape::bare).or(seen.answer.take());
        seen.object = object.or(seen.object.take());
        Ok(Map::new())
    }

    fn destroys(&self, _difference: &Difference) -> Option<String> {
        lock(&self.seen).replaced.as_ref().map(|why| format!("must be replaced, since {why}"))
    }

    fn may_destroy(&self) -> bool {
        self.how.replace
    }
}

/// Objects that are applied, in order.
pub(in crate::primitives::kubernetes) type Objects = Vec<Arc<Applied>>;
