//! The API of a cluster, as one of its servers answers it.

mod bodies;
mod columns;
pub(crate) mod custom;
pub(super) mod defaults;
mod discovery;
mod health;
pub(crate) mod kinds;
mod managed;
mod openapi;
mod ownership;
mod patching;
mod pod_security;
mod pods;
mod protobuf;
mod quantity;
mod quotas;
mod read;
mod remove;
mod reviews;
mod scale;
mod schema;
mod schemas;
mod select;
pub(crate) mod status;
mod strategic;
mod tables;
mod typed;
mod types;
mod usual;
mod validation;
pub(crate) mod watch;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::cluster::{Client, Cluster};
use kinds::Kind;
pub(super) use ownership::{own_field, sign};
pub(super) use quantity::nanos;
pub(super) use quotas::QUOTAS;
pub(super) use remove::{FOREGROUND, ORPHAN, mark};
use status::Refusal;

/// The media type of what is applied.
const APPLY: &str = "application/apply-patch+yaml";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who shows nothing.
    Nobody,
    /// Somebody who shows what proves nothing.
    Impostor,
    /// A user.
    User(Client),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Decoded.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) accept: Option<String>,
    pub(crate) content_type: Option<String>,
    /// The program that it comes from.
    pub(crate) agent: String,
    pub(crate) body: Vec<u8>,
    pub(crate) caller: Caller,
    /// In milliseconds.
    pub(crate) now: u64,
}

impl Call {
    /// A request without a body.
    pub(crate) fn plain(method: &str, path: &str, caller: Caller, now: u64) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Call {
            method: method.to_owned(),
            path: percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            accept: None,
            content_type: None,
            agent: "unknown".to_owned(),
            body: Vec::new(),
            caller,
            now,
        }
    }

    /// Whether something is to be tried alone.
    pub(crate) fn is_dry(&self) -> bool {
        self.query.get("dryRun").is_some_and(|text| text == "All")
    }

    /// Whether it changes anything, or would have.
    pub(crate) fn is_mutating(&self) -> bool {
        let asks = self.path.starts_with("/apis/authorization.k8s.io/")
            || self.path.starts_with("/apis/authentication.k8s.io/");
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS") && !self.is_dry() && !asks
    }
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Json(Value),
    Text(String),
    /// JSON of a type of its own.
    Typed(&'static str, Value),
    /// What becomes of objects, for as long as the client listens.
    Events(Box<watch::Watch>),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

impl Reply {
    pub(crate) fn json(status: u16, value: Value) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Json(value) }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Text(text.into()) }
    }

    /// What there is at a path that nobody knows.
    pub(crate) fn no_page() -> Self {
        Reply::text(404, "404 page not found\n")
    }
}

/// What comes of a request that is looked at.
pub(crate) type Outcome = Result<Reply, Refusal>;

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    /// What is below the object: `log`.
    pub(crate) part: Option<&'a str>,
}

/// What a path leads to, if it is one of objects.
enum Route<'a> {
    Objects {
        kind: Arc<Kind>,
        namespace: Option<&'a str>,
        name: Option<&'a str>,
        part: Option<&'a str>,
    },
    /// A kind that there is not, in a group that there is.
    NoKind,
    Elsewhere,
}

fn route<'a>(cluster: &Cluster, path: &'a str) -> Route<'a> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Route::Elsewhere,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, resource, rest @ ..] if !matches!(*resource, "status" | "finalize") => {
            (Some(*namespace), [&[*resource], rest].concat())
        }
        rest => (None, rest.to_vec()),
    };
    let Some(kind) = rest.first().and_then(|resource| cluster.find_kind(group, version, resource)) else {
        let is_version = cluster.kinds().iter().any(|kind| kind.group == group && kind.version == version);
        return if is_version { Route::NoKind } else { Route::Elsewhere };
    };
    // Objects of a namespace are only found through it, and those of none only without.
    if (namespace.is_some() && !kind.namespaced) || (namespace.is_none() && kind.namespaced && rest.len() > 1) {
        return Route::NoKind;
    }
    let name = rest.get(1).copied();
    let part = rest.get(2).copied();
    if rest.len() > 3 || part.is_some_and(|part| kind.part(part).is_none()) {
        return Route::NoKind;
    }
    Route::Objects { kind, namespace, name, part }
}

impl Cluster {
    /// Answers a request that came to a server which has an API.
    pub(crate) fn answer(&mut self, call: &Call, version: &str) -> Reply {
        let user = match &call.caller {
            // K3s lets nobody in who does not say who he is.
            Caller::Nobody | Caller::Impostor => return Refusal::unauthorized().reply(),
            Caller::User(client) => client.clone(),
        };
        match self.look(call, &user, version) {
            Ok(reply) => reply,
            Err(refusal) => refusal.reply(),
        }
    }

    fn look(&mut self, call: &Call, user: &Client, version: &str) -> Outcome {
        if let Some(reply) = health::answer(self, call, version) {
            return reply;
        }
        let is_master = reviews::is_master(user);
        if let Some(reply) = discovery::answer(self, call)? {
            return Ok(reply);
        }
        if is_master && let Some(outcome) = self.through(call) {
            return outcome;
        }
        if let Some(reply) = openapi::answer(self, call) {
            return Ok(reply);
        }
        match route(self, &call.path) {
            Route::Objects { kind, namespace, name, part } => {
                let place = Place { kind: &kind, namespace, name, part };
                if let Some(outcome) = reviews::answer(call, place, user) {
                    return outcome;
                }
                if !is_master {
                    return Err(denied(user, call, place));
                }
                self.act(call, place)
            }
            Route::NoKind => Err(Refusal::no_such_resource()),
            Route::Elsewhere if !is_master => Err(Refusal::forbidden_path(&user.user, &call.path)),
            Route::Elsewhere => Ok(Reply::no_page()),
        }
    }

    /// Does what is asked with objects.
    fn act(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let verb = verb(call, place)?;
        let known = match place.part {
            Some(part) => place.kind.part(part).is_some_and(|part| part.verbs.contains(&verb)),
            None => place.kind.verbs.contains(&verb),
        };
        if !known {
            return Err(Refusal::no_such_method());
        }
        if !self.has_quorum() {
            let reads = matches!(verb, "get" | "list" | "watch");
            return Err(if reads { Refusal::timeout() } else { Refusal::no_quorum() });
        }
        match verb {
            "get" | "list" | "watch" => self.read(call, place),
            "delete" => self.delete(call, place),
            "create" if place.part == Some("eviction") => self.evict(call, place),
            "update" | "patch" if place.part == Some("scale") => self.rescale(call, place),
            "deletecollection" => self.delete_all(call, place),
            "create" | "update" | "patch" if is_written(place) => match verb {
                "create" => self.create(call, place),
                "update" => self.update(call, place),
                _ => self.patch(call, place),
            },
            // Whether there is one is looked at first.
            "update" | "patch" if place.part.is_none() && call.media() != APPLY => {
                self.live(place)?;
                Err(Refusal::not_simulated(&format!("{verb} {}", place.kind.full_name())))
            }
            other => Err(Refusal::not_simulated(&format!("{other} {}", place.kind.full_name()))),
        }
    }
}

/// Whether what a path leads to can be written here.
fn is_written(place: Place<'_>) -> bool {
    matches!(place.part, None | Some("status")) && schema::is_writable(place.kind)
}

/// What a request does with objects, in the API's own words.
fn verb(call: &Call, place: Place<'_>) -> Result<&'static str, Refusal> {
    let watches = call.query.get("watch").is_some_and(|text| matches!(text.as_str(), "true" | "1"));
    match (call.method.as_str(), place.name) {
        ("GET" | "HEAD", Some(_)) => Ok("get"),
        ("GET" | "HEAD", None) if watches => Ok("watch"),
        ("GET" | "HEAD", None) => Ok("list"),
        ("POST", None) => Ok("create"),
        ("POST", Some(_)) if place.part.is_some() => Ok("create"),
        ("PUT", Some(_)) => Ok("update"),
        ("PATCH", Some(_)) => Ok("patch"),
        ("DELETE", Some(_)) => Ok("delete"),
        ("DELETE", None) => Ok("deletecollection"),
        _ => Err(Refusal::no_such_method()),
    }
}

fn denied(user: &Client, call: &Call, place: Place<'_>) -> Refusal {
    let verb = verb(call, place).unwrap_or("get");
    let resource = match place.part {
        Some(part) => format!("{}/{part}", place.kind.resource),
        None => place.kind.resource.clone(),
    };
    let at = (place.namespace.unwrap_or_default(), place.name.unwrap_or_default());
    Refusal::forbidden(&user.user, verb, &resource, &place.kind.group, at)
}
