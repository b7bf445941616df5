//! File systems in memory that are mounted over directories.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cred, Errno, Fs, Ino, Inode, Kind, Realm, Spot, Sys};

impl Fs {
    /// Mounts an empty file system over a directory; what is in it is covered.
    pub fn cover(&mut self, path: &str, mode: u32) -> Sys<()> {
        let spot = self.locate(&Cred::root(), path, true)?;
        let below = spot.ino.ok_or(Errno::NoEntry)?;
        if !self.inode(below)?.is_dir() {
            return Err(Errno::NotDirectory);
        }
        if spot.name.is_empty() {
            return Err(Errno::Busy);
        }
        let top = self.next;
        self.next += 1;
        let kind = Kind::Dir { entries: BTreeMap::new(), parent: spot.dir };
        self.inodes.insert(top, Inode::new(kind, mode, (0, 0), Realm::Memory));
        self.rename_entry(spot.dir, spot.name, top);
        self.covered.insert(top, below);
        Ok(())
    }

    /// Unmounts what is mounted at a path: it is gone, and what it covered is seen again.
    pub fn uncover(&mut self, path: &str) -> Sys<()> {
        let spot = self.locate(&Cred::root(), path, true)?;
        let top = spot.ino.ok_or(Errno::NoEntry)?;
        let below = *self.covered.get(&top).ok_or(Errno::Invalid)?;
        if self.is_in_use(top) {
            return Err(Errno::Busy);
        }
        self.covered.remove(&top);
        self.rename_entry(spot.dir, spot.name, below);
        self.forget(top);
        Ok(())
    }

    /// Unmounts everything: what a boot begins with. What is mounted on top of something mounted goes before it.
    pub fn uncover_all(&mut self) {
        while let Some((top, below)) = self.covered.pop_last() {
            let Some(Inode { kind: Kind::Dir { parent, .. }, .. }) = self.inodes.get(&top) else { continue };
            let parent = *parent;
            if let Some(name) = self.name_in(parent, top) {
                self.rename_entry(parent, name, below);
            }
            self.forget(top);
        }
    }

    /// Whether something is mounted at this very directory.
    pub(super) fn is_mounted(&self, ino: Ino) -> bool {
        self.covered.contains_key(&ino)
    }

    fn rename_entry(&mut self, dir: Ino, name: String, ino: Ino) {
        if let Some(Inode { kind: Kind::Dir { entries, .. }, .. }) = self.inodes.get_mut(&dir) {
            entries.insert(name, ino);
        }
    }

    /// Whether a file below is open, or something else is mounted there.
    fn is_in_use(&self, ino: Ino) -> bool {
        let Some(inode) = self.inodes.get(&ino) else { return false };
        match &inode.kind {
            Kind::Dir { entries, .. } => {
                entries.values().any(|child| self.is_mounted(*child) || self.is_in_use(*child))
            }
            _ => Arc::strong_count(&inode.opened) > 1,
        }
    }

    /// Removes a whole tree, whoever owns it, without counting: what a boot does to memory file systems.
    pub fn wipe(&mut self, path: &str) {
        let Ok(Spot { dir, name, ino: Some(ino) }) = self.locate(&Cred::root(), path, false) else { return };
        if let Ok(entries) = self.entries(dir) {
            entries.remove(&name);
        }
        self.forget(ino);
    }

    fn forget(&mut self, ino: Ino) {
        let Some(inode) = self.inodes.remove(&ino) else { return };
        if let Kind::Dir { entries, .. } = inode.kind {
            entries.into_values().for_each(|child| self.forget(child));
        }
    }
}
