//! Files that people put into the folders of storages, over SSH or from a program on a node: they are volumes as well.

use std::collections::BTreeSet;

use super::checksum::Sums;
use super::cluster::Cluster;
use super::storage_kind::Naming;
use super::transfer::disk_size;
use super::volume::{Place, Volume, blocks};
use super::volume_name;
use crate::sim::guests::PlainFile;

/// What may lie in folders as plain files.
const CONTENT: [&str; 5] = ["backup", "import", "iso", "snippets", "vztmpl"];

impl Cluster {
    /// Looks at the disks of the nodes that have changed since they were last looked at. Tells whether a volume came,
    /// went or changed.
    pub(crate) fn look_at_disks(&mut self) -> bool {
        let nodes: Vec<String> = self.nodes.keys().cloned().collect();
        nodes.iter().filter(|node| !self.looked.contains_key(*node)).for_each(|node| self.activate_all(node));
        let mut any = self.share_folders();
        for node in nodes {
            let Some(machine) = self.machines.node(&node) else { continue };
            let changes = machine.changes();
            if self.looked.insert(node.clone(), changes) == Some(changes) {
                continue;
            }
            let storages = self.all_storages().filter(|(_, storage)| storage.has_files() && storage.is_on(&node));
            let folders: Vec<(Place, &str, String)> = storages
                .flat_map(|(_, storage)| {
                    let place = storage.place(&node, &self.outside);
                    CONTENT.into_iter().map(move |content| (place.clone(), content, storage.folder(content)))
                })
                .collect();
            let found = folders.iter().flat_map(|(place, content, folder)| {
                machine.files(folder).into_iter().map(move |file| (place.clone(), *content, file))
            });
            let found: Vec<(Place, &str, PlainFile)> = found.collect();
            let looked_at = folders.iter().map(|(.., folder)| folder.clone()).collect();
            any |= self.take_up(&node, &looked_at, found);
        }
        any
    }

    /// Keeps the storages of a node in use, as its status daemon does. What cannot be used shows where it is asked for.
    fn activate_all(&self, node: &str) {
        for (id, _) in self.all_storages() {
            let _in_use = self.activate(node, id);
        }
    }

    /// Makes the files of a node's disk volumes, and takes away those that are no longer there. What was fetched to where nobody
    /// looks now, as no storage has that path any more, stays.
    fn take_up(&mut self, node: &str, looked_at: &BTreeSet<String>, found: Vec<(Place, &str, PlainFile)>) -> bool {
        let mut any = false;
        let mut seen = BTreeSet::new();
        for (place, content, file) in found {
            let name = format!("{content}/{}", file.name);
            let Ok(named) = volume_name::read(Naming::Files, &name) else { continue };
            if !seen.insert((place.clone(), name.clone())) {
                continue;
            }
            let old = self.volumes.iter().find(|volume| volume.place == place && volume.name == name);
            let length = file.stands_for.as_ref().map_or(file.bytes.len() as u64, |large| large.length);
            let is_same = |old: &Volume| {
                // What a node fetched itself is known by more than its file tells.
                let is_fetched = file.stands_for.is_some() && old.length == length;
                old.host.is_none() || is_fetched || (old.ctime, old.length) == (file.changed, length)
            };
            if old.is_some_and(is_same) {
                continue;
            }
            any = true;
            self.put_volume(Volume {
                size: disk_size(&file.bytes).filter(|_| content == "import").unwrap_or(length),
                length,
                used: blocks(length),
                format: named.format,
                content: content.into(),
                vmid: named.vmid,
                ctime: file.changed,
                sums: Sums::of(&file.bytes),
                host: Some(node.into()),
                ..Volume::at(place, name)
            });
        }
        let before = self.volumes.len();
        let stays = |volume: &Volume| {
            let key = || (volume.place.clone(), volume.name.clone());
            let fetched_to = volume.fetched_to.as_deref().and_then(|path| path.rsplit_once('/'));
            let is_hidden = fetched_to.is_some_and(|(folder, _)| !looked_at.contains(folder));
            volume.host.as_deref() != Some(node) || is_hidden || seen.contains(&key())
        };
        self.volumes.retain(stays);
        any || self.volumes.len() < before
    }

    /// Removes the file of a volume from the disk that it lies on, if it lies on one.
    pub(crate) fn remove_from_disk(&mut self, node: &str, id: &str) {
        let Some(host) = self.volume(node, id).and_then(|volume| volume.host.clone()) else { return };
        let path = self.path_of(id);
        if let Some(machine) = self.machines.node(&host) {
            machine.remove_file(&path);
        }
    }

    /// Looks at all disks anew next time, because there are other storages now.
    pub(crate) fn forget_disks(&mut self) {
        self.looked.clear();
        self.forget_shares();
    }
}
