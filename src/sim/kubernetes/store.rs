//! The objects of a cluster. Every change has a number of its own, and an object tells that of its last.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sim::chance::{secret_bytes, uuid};
use crate::sim::host::rfc3339;

/// By which an object is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `pods`, `deployments.apps`
    pub(crate) resource: String,
    /// Empty where the kind knows none.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Key { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}", self.resource, self.namespace, self.name)
    }
}

/// All objects, and how often any was changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Store {
    version: u64,
    objects: BTreeMap<String, Value>,
    /// The last changes, for those who watch.
    #[serde(skip)]
    history: VecDeque<Change>,
    /// Whose changes are being made, if anybody's.
    #[serde(skip)]
    hand: Option<Hand>,
}

/// A part of the cluster that changes objects, so that the fields which it changes become its own.
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    pub(crate) name: &'static str,
    /// In milliseconds.
    pub(crate) now: u64,
    /// Whether it writes whatever it changes together with the status.
    pub(crate) with_status: bool,
}

/// How many changes are remembered.
const REMEMBERED: usize = 2000;

/// What became of an object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Default for Store {
    fn default() -> Self {
        Store { version: 1, objects: BTreeMap::new(), history: VecDeque::new(), hand: None }
    }
}

/// The time as objects tell it: `2026-11-27T23:40:00Z`.
pub(crate) fn timestamp(millis: u64) -> String {
    rfc3339(millis)
}

/// An id that no other object has.
pub(crate) fn fresh_uid() -> String {
    // Without randomness the simulator would not have started.
    secret_bytes().map(|bytes| uuid(&bytes)).unwrap_or_default()
}

impl Hand {
    pub(crate) fn new(name: &'static str, now: u64) -> Option<Self> {
        Some(Hand { name, now, with_status: false })
    }
}

impl Store {
    /// The number of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// An object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(&key.text())
    }

    /// The objects of a kind, in a namespace or in all of them, by namespace and name.
    pub(crate) fn list<'a>(&'a self, resource: &str, namespace: Option<&str>) -> impl Iterator<Item = &'a Value> {
        let start = match namespace {
            Some(namespace) => format!("{resource}/{namespace}/"),
            None => format!("{resource}/"),
        };
        let range = self.objects.range(start.clone()..);
        range.take_while(move |(key, _)| key.starts_with(&start)).map(|(_, object)| object)
    }

    /// The same as it was at an earlier version, which is remembered.
    pub(crate) fn list_at(&self, resource: &str, namespace: Option<&str>, version: u64) -> Vec<Value> {
        let name = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let own = self.list(resource, namespace).map(|one| ((name(one, "namespace"), name(one, "name")), one.clone()));
        let mut all: BTreeMap<(String, String), Value> = own.collect();
        let later: Vec<&Change> = self.changes_since(version).collect();
        let is_its = |key: &Key| key.resource == resource && namespace.is_none_or(|own| key.namespace == own);
        for change in later.into_iter().rev().filter(|change| is_its(&change.key)) {
            let place = (change.key.namespace.clone(), change.key.name.clone());
            match &change.before {
                Some(before) => drop(all.insert(place, before.clone())),
                None => drop(all.remove(&place)),
            }
        }
        all.into_values().collect()
    }

    /// All objects, with what they are found by.
    pub(crate) fn everything(&self) -> impl Iterator<Item = (Key, &Value)> {
        self.objects.iter().map(|(text, object)| {
            let mut parts = text.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default();
            (Key::new(part(), part(), part()), object)
        })
    }

    /// Puts an object in its place, new or changed. Gives it as it is there.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key.text(), object.clone());
        self.remember(key, before, Some(object.clone()));
        object
    }

    fn remember(&mut self, key: &Key, before: Option<Value>, after: Option<Value>) {
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(Change { version: self.version, key: key.clone(), before, after });
    }

    /// The changes after one.
    pub(crate) fn changes_since(&self, version: u64) -> impl Iterator<Item = &Change> {
        let start = self.history.partition_point(|change| change.version <= version);
        self.history.range(start..)
    }

    /// The oldest change after which all others are remembered.
    pub(crate) fn oldest(&self) -> u64 {
        self.history.front().map_or(self.version, |change| change.version - 1)
    }

    /// Whether all changes after one are remembered.
    pub(crate) fn remembers(&self, version: u64) -> bool {
        version >= self.oldest()
    }

    /// Makes an object that its controllers make: what every object has is added. One that is there stays.
    pub(crate) fn make(&mut self, key: &Key, mut object: Value, now: u64) {
        if self.get(key).is_some() {
            return;
        }
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.name);
        if !key.namespace.is_empty() {
            metadata["namespace"] = json!(key.namespace);
        }
        metadata["uid"] = json!(fresh_uid());
        metadata["creationTimestamp"] = json!(timestamp(now));
        self.sign(key, &mut object);
        self.put(key, object);
    }

    /// Has whoever is at work own what he has made, as it is by now. What is put in later belongs to nobody.
    pub(crate) fn sign(&self, key: &Key, object: &mut Value) {
        if let Some(hand) = self.hand.as_ref().filter(|_| object["metadata"].get("managedFields").is_none()) {
            super::api::sign(hand, &key.resource, None, object);
        }
    }

    /// Says who is at work from now on. Gives who was until now.
    pub(crate) fn work_as(&mut self, hand: Option<Hand>) -> Option<Hand> {
        std::mem::replace(&mut self.hand, hand)
    }

    /// Changes an object, if there is one. It gets a new number only if it becomes another. Tells whether it did.
    pub(crate) fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> bool {
        let Some(before) = self.get(key) else { return false };
        let mut after = before.clone();
        change(&mut after);
        let is_other = *before != after;
        if is_other {
            if let Some(hand) = &self.hand {
                super::api::sign(hand, &key.resource, Some(before), &mut after);
            }
            self.put(key, after);
        }
        is_other
    }

    /// Takes an object out. Gives it as it was.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Value> {
        let object = self.objects.remove(&key.text())?;
        self.version += 1;
        self.remember(key, Some(object.clone()), None);
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_gives_an_object_a_new_number() {
        let mut store = Store::default();
        let key = Key::new("pods", "default", "a");
        store.make(&key, json!({"metadata": {}, "spec": {"x": 1}}), 0);
        let before = store.version();
        assert!(!store.change(&key, |object| object["spec"]["x"] = json!(1)));
        assert_eq!(store.version(), before);
        assert!(store.change(&key, |object| object["spec"]["x"] = json!(2)));
        assert_eq!(store.get(&key).unwrap()["metadata"]["resourceVersion"], json!((before + 1).to_string()));
    }

    #[test]
    fn a_namespace_holds_its_own_objects_alone() {
        let mut store = Store::default();
        for (namespace, name) in [("a", "x"), ("ab", "y"), ("b", "z")] {
            store.make(&Key::new("pods", namespace, name), json!({"metadata": {}}), 0);
        }
        store.make(&Key::new("podsx", "a", "w"), json!({"metadata": {}}), 0);
        assert_eq!(store.list("pods", Some("a")).count(), 1);
        assert_eq!(store.list("pods", None).count(), 3);
    }
}
