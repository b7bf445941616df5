//! A folder with all that is in it, as one value: what several machines have mounted is copied from one to the others.

use std::collections::BTreeMap;

use super::fs::{Cred, Fs, Inode, Kind, StandsFor, Sys};
use super::machine::Machine;

/// What lies below a folder, by path. What is in a directory comes after it.
pub type Tree = BTreeMap<String, Entry>;

/// One thing in a folder. Devices, and that a file has two names, stay with the machine that has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub what: What,
    /// Permission bits.
    pub mode: u32,
    /// User and group, by number.
    pub owner: (u32, u32),
    /// When a file changed last, in seconds; 0 for all else.
    pub changed: i64,
    /// The larger file that it stands for.
    pub stands_for: Option<StandsFor>,
}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this.
    Link(String),
}

/// What turns one content of a folder into another: paths with what they become, or that they go.
pub type Changes = BTreeMap<String, Option<Entry>>;

/// What differs between two contents.
pub fn changes(from: &Tree, to: &Tree) -> Changes {
    let paths = from.keys().chain(to.keys()).filter(|path| from.get(*path) != to.get(*path));
    paths.map(|path| (path.clone(), to.get(path).cloned())).collect()
}

impl Entry {
    fn of(inode: &Inode) -> Option<Entry> {
        let (what, changed) = match &inode.kind {
            Kind::Dir { .. } => (What::Directory, 0),
            Kind::File(bytes) => (What::File(bytes.0.clone()), inode.mtime),
            Kind::Link(target) => (What::Link(target.clone()), 0),
            Kind::Device(_) | Kind::Computed(_) => return None,
        };
        Some(Entry {
            what,
            mode: inode.mode,
            owner: (inode.uid, inode.gid),
            changed,
            stands_for: inode.stands_for.clone(),
        })
    }
}

impl Machine {
    /// What lies below a folder; nothing when it is not there.
    pub fn tree(&self, folder: &str) -> Tree {
        let mut tree = Tree::new();
        let mut left = vec![String::new()];
        while let Some(below) = left.pop() {
            for name in self.fs.list(&Cred::root(), &format!("{folder}/{below}")).unwrap_or_default() {
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let found = self.fs.stat(&Cred::root(), &format!("{folder}/{path}"), false);
                let Some(entry) = found.ok().and_then(Entry::of) else { continue };
                if entry.what == What::Directory {
                    left.push(path.clone());
                }
                tree.insert(path, entry);
            }
        }
        tree
    }

    /// Makes paths below a folder what they are elsewhere, where some are gone.
    pub fn put_tree(&mut self, folder: &str, changes: &Changes) {
        // What a directory has in it goes before the directory, and comes after it.
        let gone = changes.iter().rev().filter(|(_, entry)| entry.is_none());
        for path in gone.map(|(path, _)| format!("{folder}/{path}")) {
            let _already_gone = remove(&mut self.fs, &path);
        }
        for (path, entry) in changes.iter().filter_map(|(path, entry)| Some((path, entry.as_ref()?))) {
            // A machine whose disk is full keeps what it has.
            let _full = put(&mut self.fs, &format!("{folder}/{path}"), entry);
        }
    }
}

fn remove(fs: &mut Fs, path: &str) -> Sys<()> {
    match fs.stat(&Cred::root(), path, false)?.is_dir() {
        true => fs.remove_dir(&Cred::root(), path),
        false => fs.unlink(&Cred::root(), path),
    }
}

fn put(fs: &mut Fs, path: &str, entry: &Entry) -> Sys<()> {
    let root = Cred::root();
    let old = fs.stat(&root, path, false).ok().and_then(Entry::of);
    // A file that is open is written to where it is; what is of another kind makes room.
    let stays = match (old.as_ref().map(|old| &old.what), &entry.what) {
        (Some(What::Directory), What::Directory) | (Some(What::File(_)), What::File(_)) => true,
        (Some(old), new) => old == new,
        (None, _) => false,
    };
    if old.is_some() && !stays {
        remove(fs, path)?;
    }
    match &entry.what {
        What::Directory if !stays => fs.make_dir(&root, path, entry.mode)?,
        What::Link(target) if !stays => fs.symlink(&root, target, path)?,
        What::File(bytes) if old.is_none_or(|old| old.what != entry.what) => {
            fs.write(&root, path, bytes, entry.mode)?
        }
        _ => {}
    }
    let ino = fs.find(&root, path, false)?;
    fs.set_owner(&root, ino, Some(entry.owner.0), Some(entry.owner.1))?;
    if matches!(entry.what, What::Link(_)) {
        return Ok(());
    }
    fs.set_mode(&root, ino, entry.mode)?;
    if entry.what == What::Directory {
        return Ok(());
    }
    fs.set_stand_in(ino, entry.stands_for.clone())?;
    fs.set_time(&root, ino, entry.changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::host::{CloudInit, Hardware};

    fn machine() -> Machine {
        let mut machine = Machine::guest(CloudInit::default(), &Hardware::default());
        machine.make_directory("/srv");
        machine
    }

    #[test]
    fn a_folder_is_copied_with_all_that_is_told_of_it() {
        let (mut one, mut other) = (machine(), machine());
        let steps = [
            "mkdir -p a/b; echo 1 > a/b/one; ln -s b/one a/link; chmod 2750 a; chmod 4711 a/b/one; chown 1000:4 a/b/one",
            "echo 22 > a/b/one; touch -d @1600000000 a/b/one; rm a/link; mkdir a/link; touch a/link/x",
            "mv a/b c; rm -r a; echo file > a",
            "rm -r a c",
        ];
        for step in steps {
            let before = other.tree("/srv");
            assert_eq!(one.run("root", &format!("cd /srv; {step}"), b"").exit, 0, "{step}");
            other.put_tree("/srv", &changes(&before, &one.tree("/srv")));
            assert_eq!(other.tree("/srv"), one.tree("/srv"), "{step}");
        }
        assert!(one.tree("/srv").is_empty() && one.tree("/nowhere").is_empty());
    }
}
