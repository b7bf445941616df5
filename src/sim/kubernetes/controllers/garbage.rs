//! What becomes of objects whose owners are gone.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{items, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    /// What belonged to somebody who is gone goes too. A pod that runs is asked to, by its kubelet.
    pub(super) fn collect_orphans(&mut self) {
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
}
