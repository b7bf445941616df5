//! Everything that changes the tree. Each successful change outside memory file systems is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Bytes, Cred, Device, Errno, Fs, Ino, Inode, Kind, ROOT, Realm, Spot, Sys, memory, now};

/// How many names a file may have, as on ext4.
const MAX_LINKS: u32 = 65_000;

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Create it when missing.
    pub create: bool,
    /// Fail when it is there already.
    pub exclusive: bool,
    /// Empty it.
    pub truncate: bool,
    /// Write at its end, wherever that is by then.
    pub append: bool,
}

impl Access {
    /// Reading.
    pub const READ: Access =
        Access { read: true, write: false, create: false, exclusive: false, truncate: false, append: false };
    /// Writing from the start, as `>` does.
    pub const WRITE: Access =
        Access { read: false, write: true, create: true, exclusive: false, truncate: true, append: false };
    /// Writing at the end, as `>>` does.
    pub const APPEND: Access =
        Access { read: false, write: true, create: true, exclusive: false, truncate: false, append: true };
    /// A file that must not be there yet.
    pub const FRESH: Access =
        Access { read: true, write: true, create: true, exclusive: true, truncate: false, append: false };
}

/// How a rename treats what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// Replaces it atomically.
    Replace,
    /// Fails with `EEXIST`.
    Keep,
}

impl Fs {
    /// Opens a file and returns the object; the caller keeps `opened` while it uses it.
    pub fn open(&mut self, cred: &Cred, path: &str, access: Access, mode: u32) -> Sys<(Ino, Arc<()>)> {
        if access.create && path.ends_with('/') {
            // Whatever is there or not: no file can be made under such a name.
            self.locate(cred, path.trim_end_matches('/'), true)?;
            return Err(Errno::IsDirectory);
        }
        let spot = self.locate(cred, path, !access.exclusive)?;
        let ino = match spot.ino {
            Some(_) if access.exclusive => return Err(Errno::Exists),
            Some(ino) => self.open_existing(cred, ino, access)?,
            None if access.create => self.add(cred, &spot, Kind::File(Bytes::default()), mode)?,
            None => return Err(Errno::NoEntry),
        };
        Ok((ino, Arc::clone(&self.inode(ino)?.opened)))
    }

    fn open_existing(&mut self, cred: &Cred, ino: Ino, access: Access) -> Sys<Ino> {
        let inode = self.inode(ino)?;
        if inode.is_dir() && access.write {
            return Err(Errno::IsDirectory);
        }
        let needed = if access.read { 4 } else { 0 } | if access.write { 2 } else { 0 };
        // The kernel's own files refuse even root what their mode does not grant to anybody.
        let sealed = inode.realm == Realm::Kernel && access.write && inode.mode & 0o222 == 0;
        if inode.rights(cred) & needed != needed || sealed {
            return Err(Errno::Access);
        }
        if access.truncate && inode.is_file() && inode.realm != Realm::Kernel {
            self.truncate(ino, 0)?;
        }
        Ok(ino)
    }

    /// Puts a new object at a free spot.
    fn add(&mut self, cred: &Cred, spot: &Spot, kind: Kind, mode: u32) -> Sys<Ino> {
        let parent = self.writable_dir(cred, spot.dir)?;
        let (realm, inherited) = (parent.realm, (parent.mode & 0o2000 != 0).then_some(parent.gid));
        if realm == Realm::Kernel {
            return Err(Errno::NotPermitted);
        }
        if self.inodes.len() >= memory::INODES {
            return Err(Errno::NoSpace);
        }
        let ino = self.next;
        self.next += 1;
        let inode = Inode::new(kind, mode, (cred.uid, inherited.unwrap_or(cred.gid)), realm);
        self.inodes.insert(ino, inode);
        self.entries(spot.dir)?.insert(spot.name.clone(), ino);
        self.count(realm);
        Ok(ino)
    }

    fn writable_dir(&self, cred: &Cred, dir: Ino) -> Sys<&Inode> {
        let inode = self.inode(dir)?;
        match inode.rights(cred) & 3 {
            3 => Ok(inode),
            _ => Err(Errno::Access),
        }
    }

    /// The entries of a directory that is about to change.
    pub(super) fn entries(&mut self, dir: Ino) -> Sys<&mut BTreeMap<String, Ino>> {
        let inode = self.inode_mut(dir)?;
        inode.mtime = now();
        match &mut inode.kind {
            Kind::Dir { entries, .. } => Ok(entries),
            _ => Err(Errno::NotDirectory),
        }
    }

    /// Whether `cred` may take the name `spot` away: write to the directory, and under a sticky bit, ownership.
    fn may_remove(&self, cred: &Cred, spot: &Spot, ino: Ino) -> Sys<()> {
        let dir = self.writable_dir(cred, spot.dir)?;
        if dir.realm == Realm::Kernel {
            return Err(Errno::NotPermitted);
        }
        let sticky = dir.mode & 0o1000 != 0;
        let owns = cred.is_root() || cred.uid == dir.uid || cred.uid == self.inode(ino)?.uid;
        if sticky && !owns { Err(Errno::NotPermitted) } else { Ok(()) }
    }

    /// Reads from an open object; 0 at the end.
    pub fn read_at(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> Sys<usize> {
        match &self.inode(ino)?.kind {
            Kind::Dir { .. } => Err(Errno::IsDirectory),
            Kind::File(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.0.len());
                let length = buffer.len().min(bytes.0.len() - from);
                buffer[..length].copy_from_slice(&bytes.0[from..from + length]);
                Ok(length)
            }
            Kind::Device(Device::Zero) => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            Kind::Device(Device::Random) => {
                super::super::random::fill(buffer);
                Ok(buffer.len())
            }
            _ => Ok(0),
        }
    }

    /// Writes to an open object at `offset`, or at its end, and returns where the data ends.
    pub fn write_at(&mut self, ino: Ino, offset: Option<u64>, data: &[u8]) -> Sys<u64> {
        let inode = self.inode_mut(ino)?;
        let realm = inode.realm;
        inode.mtime = now();
        inode.stands_for = None;
        let Kind::File(bytes) = &mut inode.kind else { return Ok(0) };
        if realm == Realm::Kernel {
            // A write to a kernel file sets its value; numbers stay numbers.
            let numbers = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes);
                text.split_whitespace().next().is_some()
                    && text.split_whitespace().all(|word| word.parse::<i64>().is_ok())
            };
            if numbers(&bytes.0) && !numbers(data) {
                return Err(Errno::Invalid);
            }
            bytes.0 = data.to_vec();
            self.count(realm);
            return Ok(data.len() as u64);
        }
        let length = bytes.0.len();
        let from = offset.unwrap_or(length as u64);
        let to = from.saturating_add(data.len() as u64);
        self.grow(ino, length as u64, to)?;
        let Kind::File(bytes) = &mut self.inode_mut(ino)?.kind else { return Ok(0) };
        bytes.0[from as usize..to as usize].copy_from_slice(data);
        self.count(realm);
        Ok(to)
    }

    /// Extends a file of this length with zeros up to `to`, when it is shorter and there is room.
    fn grow(&mut self, ino: Ino, length: u64, to: u64) -> Sys<()> {
        if to > memory::FILE {
            return Err(Errno::TooLarge);
        }
        if to > length {
            self.reserve(to - length)?;
            if let Kind::File(bytes) = &mut self.inode_mut(ino)?.kind {
                bytes.0.resize(to as usize, 0);
            }
        }
        Ok(())
    }

    /// Cuts or extends an open file.
    pub fn truncate(&mut self, ino: Ino, length: u64) -> Sys<()> {
        let inode = self.inode_mut(ino)?;
        let realm = inode.realm;
        inode.mtime = now();
        inode.stands_for = None;
        let Kind::File(bytes) = &mut inode.kind else { return Err(Errno::Invalid) };
        let before = bytes.0.len() as u64;
        bytes.0.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.grow(ino, before.min(length), length)?;
        self.count(realm);
        Ok(())
    }

    /// Gives the file at `path` exactly this content, creating it.
    pub fn write(&mut self, cred: &Cred, path: &str, content: &[u8], mode: u32) -> Sys<()> {
        let (ino, _open) = self.open(cred, path, Access::WRITE, mode)?;
        if content.is_empty() {
            return Ok(());
        }
        self.write_at(ino, Some(0), content).map(drop)
    }

    /// Makes a directory.
    pub fn make_dir(&mut self, cred: &Cred, path: &str, mode: u32) -> Sys<()> {
        let spot = self.locate(cred, path.trim_end_matches('/'), false).map_err(|errno| match path {
            "/" => Errno::Exists,
            _ => errno,
        })?;
        if spot.ino.is_some() {
            return Err(Errno::Exists);
        }
        let setgid = self.inode(spot.dir)?.mode & 0o2000;
        let kind = Kind::Dir { entries: BTreeMap::new(), parent: spot.dir };
        self.add(cred, &spot, kind, mode | setgid).map(drop)
    }

    /// Makes a symbolic link.
    pub fn symlink(&mut self, cred: &Cred, target: &str, path: &str) -> Sys<()> {
        let spot = self.locate(cred, path, false)?;
        match spot.ino {
            Some(_) => Err(Errno::Exists),
            None => self.add(cred, &spot, Kind::Link(target.to_owned()), 0o777).map(drop),
        }
    }

    /// Makes a device.
    pub fn make_device(&mut self, cred: &Cred, path: &str, device: Device, mode: u32) -> Sys<()> {
        let spot = self.locate(cred, path, false)?;
        match spot.ino {
            Some(_) => Err(Errno::Exists),
            None => self.add(cred, &spot, Kind::Device(device), mode).map(drop),
        }
    }

    /// Gives an object a second name.
    pub fn link(&mut self, cred: &Cred, existing: &str, path: &str) -> Sys<()> {
        let ino = self.find(cred, existing, false)?;
        if self.inode(ino)?.is_dir() {
            return Err(Errno::NotPermitted);
        }
        let spot = self.locate(cred, path, false)?;
        if spot.ino.is_some() {
            return Err(Errno::Exists);
        }
        if self.inode(ino)?.links >= MAX_LINKS {
            return Err(Errno::TooManyLinks);
        }
        let realm = self.writable_dir(cred, spot.dir)?.realm;
        self.entries(spot.dir)?.insert(spot.name, ino);
        self.inode_mut(ino)?.links += 1;
        self.count(realm);
        Ok(())
    }

    /// Removes a name that is not a directory's.
    pub fn unlink(&mut self, cred: &Cred, path: &str) -> Sys<()> {
        let spot = self.locate(cred, path, false)?;
        let ino = spot.ino.ok_or(Errno::NoEntry)?;
        if self.inode(ino)?.is_dir() {
            return Err(Errno::IsDirectory);
        }
        self.may_remove(cred, &spot, ino)?;
        let realm = self.inode(ino)?.realm;
        self.entries(spot.dir)?.remove(&spot.name);
        self.release(ino)?;
        self.count(realm);
        Ok(())
    }

    /// Takes one name off an object; without any it goes, at the latest when the last descriptor closes.
    fn release(&mut self, ino: Ino) -> Sys<()> {
        let inode = self.inode_mut(ino)?;
        inode.links = inode.links.saturating_sub(1);
        if inode.links == 0 {
            self.orphans.push(ino);
            self.sweep();
        }
        Ok(())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, cred: &Cred, path: &str) -> Sys<()> {
        let spot = self.locate(cred, path, false)?;
        let ino = spot.ino.ok_or(Errno::NoEntry)?;
        if self.is_mounted(ino) {
            return Err(Errno::Busy);
        }
        let inode = self.inode(ino)?;
        let Kind::Dir { entries, .. } = &inode.kind else { return Err(Errno::NotDirectory) };
        if !entries.is_empty() {
            return Err(Errno::NotEmpty);
        }
        let realm = inode.realm;
        self.may_remove(cred, &spot, ino)?;
        self.entries(spot.dir)?.remove(&spot.name);
        self.inodes.remove(&ino);
        self.count(realm);
        Ok(())
    }

    /// Renames, atomically replacing what is at `to`.
    pub fn rename(&mut self, cred: &Cred, from: &str, to: &str, how: Rename) -> Sys<()> {
        let source = self.locate(cred, from.trim_end_matches('/'), false)?;
        let ino = source.ino.ok_or(Errno::NoEntry)?;
        let target = self.locate(cred, to.trim_end_matches('/'), false)?;
        if target.ino.is_some() && how == Rename::Keep {
            return Err(Errno::Exists);
        }
        if target.ino == Some(ino) {
            return Ok(());
        }
        if self.is_mounted(ino) || target.ino.is_some_and(|there| self.is_mounted(there)) {
            return Err(Errno::Busy);
        }
        if self.inode(ino)?.is_dir() && self.is_below(target.dir, ino) {
            return Err(Errno::Invalid);
        }
        self.may_remove(cred, &source, ino)?;
        match target.ino {
            Some(old) => self.replaceable(cred, &target, old, ino)?,
            None => drop(self.writable_dir(cred, target.dir)?),
        }
        let (old_realm, realm) = (self.inode(ino)?.realm, self.inode(target.dir)?.realm);
        self.entries(source.dir)?.remove(&source.name);
        self.entries(target.dir)?.insert(target.name, ino);
        if let Some(old) = target.ino {
            self.release(old)?;
        }
        if let Kind::Dir { parent, .. } = &mut self.inode_mut(ino)?.kind {
            *parent = target.dir;
        }
        self.settle(ino, realm);
        self.count(if old_realm == Realm::Disk { old_realm } else { realm });
        Ok(())
    }

    /// Whether the object at `spot` may give way to `new`.
    fn replaceable(&self, cred: &Cred, spot: &Spot, old: Ino, new: Ino) -> Sys<()> {
        let (there, here) = (self.inode(old)?, self.inode(new)?);
        match (&there.kind, here.is_dir()) {
            (Kind::Dir { .. }, false) => return Err(Errno::IsDirectory),
            (Kind::Dir { entries, .. }, true) if !entries.is_empty() => return Err(Errno::NotEmpty),
            (Kind::Dir { .. }, true) => {}
            (_, true) => return Err(Errno::NotDirectory),
            (_, false) => {}
        }
        self.may_remove(cred, spot, old)
    }

    /// Whether the directory `dir` is `top` or inside it.
    fn is_below(&self, mut dir: Ino, top: Ino) -> bool {
        while dir != top {
            let Ok(Inode { kind: Kind::Dir { parent, .. }, .. }) = self.inode(dir) else { return false };
            if dir == ROOT {
                return false;
            }
            dir = *parent;
        }
        true
    }

    /// Moves an object, and what is in it, to another realm.
    pub fn settle(&mut self, ino: Ino, realm: Realm) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        inode.realm = realm;
        let Kind::Dir { entries, .. } = &inode.kind else { return };
        let children: Vec<Ino> = entries.values().copied().collect();
        for child in children {
            self.settle(child, realm);
        }
    }

    /// Turns an object into something else: how the kernel makes its files.
    pub fn set_kind(&mut self, ino: Ino, kind: Kind) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.kind = kind;
        }
    }

    /// Sets the permission bits; only the owner may.
    pub fn set_mode(&mut self, cred: &Cred, ino: Ino, mode: u32) -> Sys<()> {
        let inode = self.inode_mut(ino)?;
        if !cred.is_root() && cred.uid != inode.uid {
            return Err(Errno::NotPermitted);
        }
        inode.mode = mode & 0o7777;
        let realm = inode.realm;
        self.count(realm);
        Ok(())
    }

    /// Sets owner and group; only root may, except that an owner may choose among its own groups. A file loses its
    /// set-id bits by it.
    pub fn set_owner(&mut self, cred: &Cred, ino: Ino, uid: Option<u32>, gid: Option<u32>) -> Sys<()> {
        let inode = self.inode_mut(ino)?;
        let keeps_owner = uid.is_none_or(|uid| uid == inode.uid) && cred.uid == inode.uid;
        let own_group = gid.is_none_or(|gid| cred.in_group(gid));
        if !(cred.is_root() || keeps_owner && own_group) {
            return Err(Errno::NotPermitted);
        }
        inode.uid = uid.unwrap_or(inode.uid);
        inode.gid = gid.unwrap_or(inode.gid);
        if !inode.is_dir() {
            // What a program may do belongs to the owner that it had. A group's bit without x is no set-id bit.
            let group = if inode.mode & 0o010 != 0 { 0o2000 } else { 0 };
            inode.mode &= !(0o4000 | group);
        }
        let realm = inode.realm;
        self.count(realm);
        Ok(())
    }

    /// Sets the time of the last change.
    pub fn set_time(&mut self, cred: &Cred, ino: Ino, mtime: i64) -> Sys<()> {
        let inode = self.inode_mut(ino)?;
        if !cred.is_root() && cred.uid != inode.uid && inode.rights(cred) & 2 == 0 {
            return Err(Errno::Access);
        }
        inode.mtime = mtime;
        let realm = inode.realm;
        self.count(realm);
        Ok(())
    }
}
