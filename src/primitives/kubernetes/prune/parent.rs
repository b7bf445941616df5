//! The Secret that keeps account of a set: which kinds its members have, and in which namespaces they are. It is widened before
//! anything is applied and narrowed when all else is done, so that whatever bears the mark is found again after a run that broke
//! off.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use super::{GroupKind, PruneOptions};
use crate::clients::kubernetes::{Applying, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::kubernetes::apply::manifest::address;
use crate::primitives::kubernetes::handle::{Asked, Kubernetes, REALM};
use crate::primitives::kubernetes::kinds::{Kind, Served, served};
use crate::primitives::kubernetes::reads::text;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::{Outcome, ensure};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::session::lock;
use crate::run::value::{Map, State, Value};

/// The label that says that a Secret is the account of a set.
const ID: &str = "applyset.kubernetes.io/id";
/// Which program keeps it.
const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// The kinds of the members.
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// The namespaces of members beside its own.
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// What we say of ourselves.
const OURS: &str = "homelab/v1";

/// The account of a set, with what it is to hold.
pub(super) struct Parent {
    account: Arc<Account>,
}

/// The Secret, widened or narrowed.
struct Account {
    k: Kubernetes,
    namespace: String,
    name: String,
    id: String,
    kinds: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    narrow: bool,
    /// What stood there when it was first read.
    before: Mutex<Option<BTreeSet<String>>>,
}

impl Parent {
    pub fn new(
        k: &Kubernetes,
        set: &PruneOptions,
        id: String,
        kinds: BTreeSet<GroupKind>,
        namespaces: BTreeSet<String>,
    ) -> Result<Self> {
        if set.name.is_empty() || set.namespace.is_empty() {
            return Err(Error::new(Class::Script, "`prune`: a set has a `name`, in a `namespace`"));
        }
        let kinds = kinds.iter().map(GroupKind::written).collect();
        let (k, namespace, name) = (k.clone(), set.namespace.clone(), set.name.clone());
        let account = Account { k, namespace, name, id, kinds, namespaces, narrow: false, before: Mutex::default() };
        Ok(Parent { account: Arc::new(account) })
    }

    /// Makes it hold what the set has had and will have.
    pub fn grow(&self) -> Result<Outcome> {
        ensure(&self.account)
    }

    /// Makes it hold what the set has, and no more.
    pub fn shrink(&self) -> Result<Outcome> {
        let Account { k, namespace, name, id, kinds, namespaces, .. } = &*self.account;
        ensure(&Arc::new(Account {
            k: k.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            id: id.clone(),
            kinds: kinds.clone(),
            namespaces: namespaces.clone(),
            narrow: true,
            before: Mutex::default(),
        }))
    }

    /// The kinds that members have or had.
    pub fn kinds_until_now(&self) -> Vec<GroupKind> {
        let before = lock(&self.account.before).clone().unwrap_or_default();
        before.union(&self.account.kinds).map(|word| GroupKind::read(word)).collect()
    }
}

impl Account {
    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", segment(&self.namespace), segment(&self.name))
    }

    /// What is kept of a Secret, unless it is somebody else's.
    fn told(&self, secret: &Json) -> Result<Value> {
        let label = |key: &str| secret.pointer("/metadata/labels").map(|all| word(all, key)).unwrap_or_default();
        let note = |key: &str| secret.pointer("/metadata/annotations").map(|all| word(all, key)).unwrap_or_default();
        let other = |what: String, help: &str| {
            Err(Error::new(Class::Conflict, format!("{}: {what}", self.address())).help(help.to_owned()))
        };
        if !text(secret, "/metadata/deletionTimestamp").is_empty() {
            return other("it is being deleted".to_owned(), "run again when it is gone");
        }
        if label(ID) != self.id {
            return other(
                "it is not the account of a set".to_owned(),
                "give the set another name: its Secret has to be its own",
            );
        }
        let tooling = note(TOOLING);
        if !tooling.starts_with("homelab/") {
            return other(
                format!("the set is kept by {tooling}"),
                "leave it to that program, or give this set another name",
            );
        }
        Ok(told(&list(&note(KINDS)), &list(&note(NAMESPACES))))
    }
}

fn word(map: &Json, key: &str) -> String {
    map.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn list(words: &str) -> BTreeSet<String> {
    words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn told(kinds: &BTreeSet<String>, namespaces: &BTreeSet<String>) -> Value {
    let all = |words: &BTreeSet<String>| Value::List(words.iter().map(Value::text).collect());
    Value::Map(Map::from([("kinds".to_owned(), all(kinds)), ("namespaces".to_owned(), all(namespaces))]))
}

fn words(state: &Value, field: &str) -> BTreeSet<String> {
    let Some(Value::List(items)) = state.get(field) else { return BTreeSet::new() };
    items.iter().filter_map(Value::as_text).map(str::to_owned).collect()
}

impl Fact for Account {
    fn address(&self) -> String {
        address("", "Secret", Some(&self.namespace), &self.name)
    }

    fn cell(&self) -> Cell {
        // Not that of the Secret as an object: what is compared here is less than that.
        Cell::new(REALM, format!("set:{}", self.address()))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if let Served::Planned(_) = served(&self.k, Kind { group: "", version: "v1", kind: "Secret" })? {
            return Ok(State::Absent);
        }
        let state = match self.k.ask(reader, &self.path())? {
            Asked::Answered(secret) => State::Here(self.told(&secret)?),
            Asked::Absent => State::Absent,
            Asked::NotYet(unknown) => State::Unknown(unknown),
        };
        let found = state.here().map(|state| words(state, "kinds")).unwrap_or_default();
        lock(&self.before).get_or_insert(found);
        Ok(state)
    }
}

impl Resource for Account {
    fn want(&self, have: &State) -> Result<State> {
        let have = have.here().filter(|_| !self.narrow);
        let wider = |field: &str, wanted: &BTreeSet<String>| {
            let had = have.map(|have| words(have, field)).unwrap_or_default();
            had.union(wanted).cloned().collect::<BTreeSet<String>>()
        };
        Ok(State::Here(told(&wider("kinds", &self.kinds), &wider("namespaces", &self.namespaces))))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let client = self.k.writing()?;
        let want = difference.want.here().cloned().unwrap_or(Value::Null);
        let joined = |field: &str| words(&want, field).into_iter().collect::<Vec<_>>().join(",");
        let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {
            "name": self.name, "namespace": self.namespace, "labels": { ID: self.id },
            "annotations": { TOOLING: OURS, KINDS: joined("kinds"), NAMESPACES: joined("namespaces") },
        } });
        scope::wait(async { Ok(client.apply(&self.path(), &body, Applying::ours(), writer).await) })?
            .map_err(|failure| Error::from(failure).context(format!("{}: it cannot be applied", self.address())))?;
        Ok(Map::new())
    }
}
