//! Folders that several nodes have mounted: what is written to one of them over SSH is in all.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Cluster;
use super::volume::Place;
use crate::sim::guests::{SharedMachine, Tree, tree_changes};

/// Whom a server takes root for that does not let it be root.
const NOBODY: (u32, u32) = (65534, 65534);

/// What was in the folders when they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// The contents of each, once for all nodes.
    known: BTreeMap<Place, Tree>,
    /// The states of the nodes that had them.
    looked: BTreeMap<String, u64>,
}

/// A folder on a node, as it is and as it is known to have been.
struct Mount {
    machine: SharedMachine,
    path: String,
    /// `None` when it is still as all know it.
    seen: Option<Tree>,
}

impl Cluster {
    /// Brings what was done to a folder on one node to the others that have it. Tells whether there was anything.
    pub(crate) fn share_folders(&mut self) -> bool {
        let mut changed = BTreeSet::new();
        for node in self.nodes.keys() {
            let Some(changes) = self.machines.node(node).map(|machine| machine.changes()) else { continue };
            if self.shares.looked.insert(node.clone(), changes) != Some(changes) {
                changed.insert(node.clone());
            }
        }
        if changed.is_empty() {
            return false;
        }
        let mut known = std::mem::take(&mut self.shares.known);
        let mut any = false;
        for (place, mounts) in self.mounts(&changed, &known) {
            let before = known.remove(&place);
            let mut after = merged(before.as_ref(), mounts.iter().filter_map(|mount| mount.seen.as_ref()));
            if self.outside.squashes(&place.root) {
                after.values_mut().for_each(|entry| entry.owner = NOBODY);
            }
            for mount in &mounts {
                let has = mount.seen.as_ref().or(before.as_ref());
                let differs = tree_changes(has.unwrap_or(&Tree::new()), &after);
                if !differs.is_empty() {
                    any = true;
                    mount.machine.put_tree(&mount.path, &differs);
                }
            }
            self.shares.known.insert(place, after);
        }
        any
    }

    /// The folders that are not a node's own, with those that have them. Read is only what may have changed.
    fn mounts(&self, changed: &BTreeSet<String>, known: &BTreeMap<Place, Tree>) -> BTreeMap<Place, Vec<Mount>> {
        let mut found: BTreeMap<Place, Vec<Mount>> = BTreeMap::new();
        for (_, storage) in self.all_storages().filter(|(_, storage)| storage.has_files()) {
            let path = storage.setting("path").to_owned();
            for node in self.nodes.keys().filter(|node| storage.is_on(node)) {
                let place = storage.place(node, &self.outside);
                let Some(machine) = self.machines.node(node).filter(|_| place.node.is_none()) else { continue };
                // One that is not mounted is no part of it.
                if !machine.has_directory(&path) {
                    continue;
                }
                let is_new = changed.contains(node) || !known.contains_key(&place);
                let seen = is_new.then(|| machine.tree(&path));
                found.entry(place).or_default().push(Mount { machine, path: path.clone(), seen });
            }
        }
        found
    }

    /// Looks at all of them anew next time, because there are other storages now.
    pub(crate) fn forget_shares(&mut self) {
        self.shares = Shares::default();
    }
}

/// The contents after what each node did to them. Where nothing is known of before, nothing has been removed, and of two
/// files the newer one counts.
fn merged<'a>(before: Option<&Tree>, seen: impl Iterator<Item = &'a Tree>) -> Tree {
    let mut merged = before.cloned().unwrap_or_default();
    let Some(before) = before else {
        for (path, entry) in seen.flatten() {
            if merged.get(path).is_none_or(|old| old.changed < entry.changed) {
                merged.insert(path.clone(), entry.clone());
            }
        }
        return merged;
    };
    for (path, entry) in seen.flat_map(|seen| tree_changes(before, seen)) {
        match entry {
            Some(entry) => drop(merged.insert(path, entry)),
            None => drop(merged.remove(&path)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::host::{CloudInit, Hardware, Machine};

    fn after(script: &str) -> Tree {
        let mut machine = Machine::guest(CloudInit::default(), &Hardware::default());
        let made = machine.run("root", &format!("mkdir /srv/x; cd /srv/x; {script}"), b"");
        assert_eq!(made.exit, 0, "{script}");
        machine.tree("/srv/x")
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_several_nodes_did_meanwhile_is_all_done() {
        let before = after("touch a b; mkdir c");
        let (one, other) = (after("touch a; mkdir c; touch c/d; touch b"), after("touch b; mkdir c; touch e"));
        assert_eq!(paths(&merged(Some(&before), [&one, &other].into_iter())), ["b", "c", "c/d", "e"]);
    }

    #[test]
    fn at_first_everything_counts_and_of_two_files_the_newer() {
        let (one, other) = (after("echo old > a; touch -d @1 a; touch b"), after("echo new > a; touch -d @2 a"));
        for both in [[&one, &other], [&other, &one]] {
            let merged = merged(None, both.into_iter());
            assert_eq!(paths(&merged), ["a", "b"]);
            assert_eq!(merged["a"], other["a"]);
        }
    }
}
