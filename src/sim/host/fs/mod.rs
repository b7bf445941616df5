//! An in-memory POSIX file system: permissions, links, atomic rename, files that outlive their name while open.

mod change;
mod errno;
mod inode;
mod mounts;
mod walk;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::memory;

pub use change::{Access, Rename};
pub use errno::{Errno, Sys};
pub use inode::{Bytes, Computed, Cred, Device, Ino, Inode, Kind, Realm, StandsFor, now};
pub use walk::{Spot, join};

/// The root directory.
const ROOT: Ino = 1;

/// The whole tree of one machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fs {
    inodes: BTreeMap<Ino, Inode>,
    next: Ino,
    /// Objects that lost their last name while a descriptor was open.
    #[serde(skip)]
    orphans: Vec<Ino>,
    /// The top directories of what is mounted, and the directories that those cover.
    #[serde(default)]
    covered: BTreeMap<Ino, Ino>,
    /// Changes outside the memory file systems, ever.
    changes: u64,
    /// The bytes in files when they were last counted, and by how much files have grown since.
    #[serde(skip)]
    held: (u64, u64),
}

impl Default for Fs {
    fn default() -> Self {
        let kind = Kind::Dir { entries: BTreeMap::new(), parent: ROOT };
        let root = Inode::new(kind, 0o755, (0, 0), Realm::Disk);
        Fs {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            covered: BTreeMap::new(),
            orphans: Vec::new(),
            changes: 0,
            held: (0, 0),
        }
    }
}

impl Fs {
    /// The object behind a number. Numbers come from this tree and objects stay while they are open.
    pub fn inode(&self, ino: Ino) -> Sys<&Inode> {
        self.inodes.get(&ino).ok_or(Errno::NoEntry)
    }

    fn inode_mut(&mut self, ino: Ino) -> Sys<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(Errno::NoEntry)
    }

    /// How many files, directories and links there are.
    pub fn count_inodes(&self) -> u64 {
        self.inodes.len() as u64
    }

    /// How many changes there were outside the memory file systems.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Changes the tree without counting: what a boot or an installation does is nobody's change.
    pub fn quietly<T>(&mut self, act: impl FnOnce(&mut Fs) -> T) -> T {
        let before = self.changes;
        let result = act(self);
        self.changes = before;
        result
    }

    fn count(&mut self, realm: Realm) {
        if realm != Realm::Memory {
            self.changes += 1;
        }
    }

    /// Makes room for files to grow by so many bytes. Counting them all takes time and is done only when the limit may
    /// be near.
    fn reserve(&mut self, bytes: u64) -> Sys<()> {
        let (counted, grown) = self.held;
        if counted + grown + bytes > memory::DISK {
            let held = |inode: &Inode| if let Kind::File(bytes) = &inode.kind { bytes.0.len() as u64 } else { 0 };
            let all = self.inodes.values().map(held).sum();
            self.held = (all, 0);
            if all + bytes > memory::DISK {
                return Err(Errno::NoSpace);
            }
        }
        self.held.1 += bytes;
        Ok(())
    }

    /// Says which larger file a file stands for, or that it is what it is.
    pub fn set_stand_in(&mut self, ino: Ino, stands_for: Option<StandsFor>) -> Sys<()> {
        self.inode_mut(ino)?.stands_for = stands_for;
        Ok(())
    }

    /// Drops objects without a name that nobody holds open any more.
    fn sweep(&mut self) {
        let mut orphans = std::mem::take(&mut self.orphans);
        orphans.retain(|ino| {
            let held = self.inodes.get(ino).is_some_and(|inode| std::sync::Arc::strong_count(&inode.opened) > 1);
            if !held {
                self.inodes.remove(ino);
            }
            held
        });
        self.orphans = orphans;
    }
}

#[cfg(test)]
mod tests;
