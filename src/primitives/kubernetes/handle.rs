//! The handle that playbooks hold on a Kubernetes cluster.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::clients::dial::Dialler;
use crate::clients::kubernetes::{Answer, Client, Discovery, Failure, Settings};
use crate::error::{Class, Error, Result};
use crate::inputs::formats::hash::sha256;
use crate::primitives::inputs::Inputs;
use crate::primitives::inputs::local::file::text_of;
use crate::run::resource::{Cell, Reader};
use crate::run::scope;
use crate::run::session::{Moment, lock};
use crate::run::unknown::Unknown;
use crate::run::value::Value;

/// What a change of the cluster can reach, as far as the gate can tell.
pub const REALM: &str = "kubernetes";

/// The cell of a node of the cluster.
pub fn node_cell(name: &str) -> Cell {
    Cell::new(REALM, format!("node:{name}"))
}

/// The connections to clusters, kept from one run to the next.
#[derive(Debug, Default)]
pub struct Clusters {
    dialler: Dialler,
    kept: Mutex<HashMap<String, Client>>,
    /// When the kinds of a cluster were last asked for because one was missed.
    discovered: Mutex<HashMap<String, (Instant, Moment)>>,
}

impl Clusters {
    /// No connections yet.
    pub fn new(dialler: Dialler) -> Self {
        Clusters { dialler, ..Clusters::default() }
    }
}

/// Where the kubeconfig is.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file of this machine.
    File(String),
    /// Here: a text, a secret, or an unknown.
    Text(Value),
}

/// What a handle is made of.
pub struct Described {
    /// Where the kubeconfig is.
    pub source: Source,
    /// Another address than the kubeconfig has.
    pub server: Option<String>,
    /// Another context than the kubeconfig's current one.
    pub context: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one call may take.
    pub timeout: Duration,
}

/// A connection to a cluster. Copies are cheap and share it.
#[derive(Clone)]
pub struct Kubernetes {
    inner: Arc<Inner>,
}

struct Inner {
    described: Described,
    clusters: Arc<Clusters>,
    inputs: Arc<Inputs>,
}

/// What can be said of a question.
pub enum Asked {
    /// The answer: JSON where it is some, else a text.
    Answered(Json),
    /// There is no such thing.
    Absent,
    /// Only the run will know: the cluster, or the way to it, is planned.
    NotYet(Unknown),
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kubernetes({})", self.called())
    }
}

impl Kubernetes {
    /// A handle. Nothing is read or sent before the first call.
    pub fn new(described: Described, clusters: Arc<Clusters>, inputs: Arc<Inputs>) -> Self {
        Kubernetes { inner: Arc::new(Inner { described, clusters, inputs }) }
    }

    /// What its kubeconfig is called in errors.
    fn called(&self) -> &str {
        match &self.inner.described.source {
            Source::File(path) => path,
            Source::Text(_) => "the kubeconfig",
        }
    }

    /// The client; an unknown where a dry run has only planned the kubeconfig.
    pub fn client(&self) -> Result<Result<Client, Unknown>> {
        let Described { source, server, context, connect_timeout, timeout } = &self.inner.described;
        let text = match source {
            Source::File(path) => self.way(path)?,
            Source::Text(value) => value.clone(),
        };
        let text = match text {
            Value::Text(text) => text,
            Value::Secret(secret) => secret.expose().to_owned(),
            Value::Unknown(unknown) if scope::is_planning()? => return Ok(Err(unknown)),
            Value::Unknown(unknown) => return Err(unknown.needed(self.called())),
            _ => {
                return Err(Error::new(Class::Blocked, format!("{}: there is no kubeconfig", self.called()))
                    .help("phase 3.5 writes it; HOMELAB_KUBECONFIG names another file"));
            }
        };
        let settings = Settings {
            kubeconfig: text,
            called: self.called().to_owned(),
            server: server.clone(),
            context: context.clone(),
            dialler: self.inner.clusters.dialler,
            connect_timeout: *connect_timeout,
            request_timeout: *timeout,
        };
        self.kept(&settings).map(Ok)
    }

    /// The kubeconfig in a file. It is the way to the cluster and no part of what is read there: where an object is planned to
    /// change, the way stays as it is.
    fn way(&self, path: &str) -> Result<Value> {
        let noted = scope::with(|branch| branch.notes.cells.len())?;
        let text = text_of(&self.inner.inputs, path)?;
        scope::with(|branch| branch.notes.cells.truncate(noted))?;
        Ok(text)
    }

    /// The client for some settings: an old one where they are the same.
    fn kept(&self, settings: &Settings) -> Result<Client> {
        let Settings { kubeconfig, server, context, .. } = settings;
        let limits = (settings.connect_timeout, settings.request_timeout);
        let key = sha256(format!("{kubeconfig}\n{server:?} {context:?} {limits:?}").as_bytes());
        if let Some(client) = lock(&self.inner.clusters.kept).get(&key) {
            return Ok(client.clone());
        }
        let client = scope::wait(Client::new(settings))?;
        lock(&self.inner.clusters.kept).insert(key, client.clone());
        Ok(client)
    }

    /// The client for a change, which is only made where everything is known.
    pub fn writing(&self) -> Result<Client> {
        self.client()?.map_err(|unknown| unknown.needed(self.called()))
    }

    /// Reads a path, and notes that it was read.
    pub fn ask(&self, reader: &Reader, path: &str) -> Result<Asked> {
        reader.touch(path);
        let client = match self.client()? {
            Ok(client) => client,
            Err(unknown) => return Ok(Asked::NotYet(unknown.part(REALM))),
        };
        let answer = reader.wait(async { Ok(client.get(path).await) })?;
        self.told(answer, |answer| answer.json().unwrap_or(Json::String(answer.text)))
    }

    /// Reads a path whose answer is a text, whatever it looks like.
    pub fn ask_text(&self, reader: &Reader, path: &str) -> Result<Asked> {
        reader.touch(path);
        let client = match self.client()? {
            Ok(client) => client,
            Err(unknown) => return Ok(Asked::NotYet(unknown.part(REALM))),
        };
        let answer = reader.wait(async { Ok(client.get(path).await) })?;
        self.told(answer, |answer| Json::String(answer.text))
    }

    /// Asks a question that is put as a POST: what is behind the path promises to change nothing.
    pub fn question(&self, reader: &Reader, path: &str, body: &Json) -> Result<Asked> {
        reader.touch(path);
        let client = match self.client()? {
            Ok(client) => client,
            Err(unknown) => return Ok(Asked::NotYet(unknown.part(REALM))),
        };
        let answer = reader.wait(async { Ok(client.question(path, body).await) })?;
        self.told(answer, |answer| answer.json().unwrap_or(Json::String(answer.text)))
    }

    fn told(&self, answer: std::result::Result<Answer, Failure>, read: impl FnOnce(Answer) -> Json) -> Result<Asked> {
        match answer {
            Ok(answer) => Ok(Asked::Answered(read(answer))),
            Err(failure) if failure.is_absent() => Ok(Asked::Absent),
            Err(failure) => self.not_answered(failure),
        }
    }

    fn not_answered(&self, failure: Failure) -> Result<Asked> {
        self.later(failure).map(Asked::NotYet)
    }

    /// One that does not answer may do so once what is planned on its machines is done. Any other failure is one.
    pub fn later(&self, failure: Failure) -> Result<Unknown> {
        let error = Error::from(failure);
        match planned_on_hosts()? {
            Some(cause) if matches!(error.class(), Class::Unreachable | Class::Auth | Class::Timeout) => {
                Ok(cause.part(REALM))
            }
            _ => Err(error),
        }
    }

    /// The kinds by now. They are not asked for again as long as this run has neither changed anything nor waited.
    pub fn discover_anew(&self, client: &Client) -> Result<Arc<Discovery>> {
        let run = scope::run()?;
        let now = (run.began, run.moment());
        let asked = lock(&self.inner.clusters.discovered).insert(client.place().to_owned(), now);
        match (asked == Some(now)).then(|| client.known_kinds()).flatten() {
            Some(known) => Ok(known),
            None => scope::wait(async { Ok(client.discover().await?) }),
        }
    }
}

/// What this dry run has planned on some host: what the cluster says may be another thing afterwards.
pub fn planned_on_hosts() -> Result<Option<Unknown>> {
    if !scope::is_planning()? {
        return Ok(None);
    }
    scope::with(|branch| {
        let planned = branch.overlay.cells().find(|(cell, _)| cell.realm.starts_with("host:"));
        planned.map(|(_, planned)| Unknown::from_origin(&planned.by))
    })
}
