//! What becomes of objects whose owners are gone, or are to go with what is theirs or without.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{is_of, items, leaves, text};
use crate::sim::kubernetes::api::{FOREGROUND, ORPHAN, mark};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    /// What belonged to somebody who is gone goes too. A pod that runs is asked to, by its kubelet.
    pub(super) fn collect_orphans(&mut self, now: u64) {
        self.let_owners_go(now);
        let uids: BTreeSet<&str> = self.store.everything().map(|(_, object)| text(object, "/metadata/uid")).collect();
        let is_orphan = |object: &Value| {
            let owners = items(object, "/metadata/ownerReferences");
            !owners.is_empty() && owners.iter().all(|owner| !uids.contains(text(owner, "/uid")))
        };
        let gone: Vec<Key> =
            self.store.everything().filter(|(_, object)| is_orphan(object)).map(|(key, _)| key).collect();
        for key in gone {
            self.store.remove(&key);
        }
    }

    /// Those who go before, or after, what belongs to them.
    fn let_owners_go(&mut self, now: u64) {
        let holds = |object: &Value| {
            let all = items(object, "/metadata/finalizers");
            leaves(object) && all.iter().any(|one| one == ORPHAN || one == FOREGROUND)
        };
        let going: Vec<(Key, Value)> =
            self.store.everything().filter(|(_, object)| holds(object)).map(|(key, one)| (key, one.clone())).collect();
        for (key, object) in going {
            let uid = text(&object, "/metadata/uid");
            let finalizers = items(&object, "/metadata/finalizers");
            if finalizers.iter().any(|one| one == ORPHAN) {
                self.release(uid);
                self.lift(&key, ORPHAN);
            } else if !self.is_waited_for(uid, now) {
                self.lift(&key, FOREGROUND);
            }
        }
    }

    /// Has what belongs to somebody go. Whether any of it is there still that he waits for.
    fn is_waited_for(&mut self, uid: &str, now: u64) -> bool {
        let own: Vec<(Key, Value)> = self
            .store
            .everything()
            .filter(|(_, object)| is_of(object, uid))
            .map(|(key, object)| (key, object.clone()))
            .collect();
        let mut waits = false;
        for (key, object) in own {
            let blocks = items(&object, "/metadata/ownerReferences")
                .iter()
                .any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true);
            if !leaves(&object) {
                if key.resource == "pods" {
                    self.let_go(&key, &object, now);
                } else {
                    self.store.change(&key, |object| {
                        mark(object, 0, now);
                        match object["metadata"]["finalizers"].as_array_mut() {
                            Some(all) => all.push(FOREGROUND.into()),
                            None => object["metadata"]["finalizers"] = vec![FOREGROUND].into(),
                        }
                    });
                }
            }
            waits |= blocks && self.store.get(&key).is_some();
        }
        waits
    }

    /// Takes a finalizer off; what has no other goes.
    fn lift(&mut self, key: &Key, finalizer: &str) {
        self.store.change(key, |object| {
            if let Some(all) = object["metadata"]["finalizers"].as_array_mut() {
                all.retain(|one| one != finalizer);
            }
        });
        if self.store.get(key).is_some_and(|object| items(object, "/metadata/finalizers").is_empty()) {
            self.store.remove(key);
        }
    }
}
