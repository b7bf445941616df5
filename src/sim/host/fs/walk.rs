//! Finding things: path resolution with permissions and symbolic links, and everything that only reads.

use super::{Cred, Errno, Fs, Ino, Inode, Kind, ROOT, Sys};

/// More symbolic links than this in one path is a loop.
const MAX_LINKS: u32 = 40;

/// Where a path leads: a name in a directory, and what stands there if anything does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The directory that holds the name.
    pub dir: Ino,
    /// The last component; empty for the root itself.
    pub name: String,
    /// The object, if there is one.
    pub ino: Option<Ino>,
}

/// `path` seen from the directory `cwd`.
pub fn join(cwd: &str, path: &str) -> String {
    match path {
        _ if path.starts_with('/') => path.to_owned(),
        "" => String::new(),
        _ if cwd.ends_with('/') => format!("{cwd}{path}"),
        _ => format!("{cwd}/{path}"),
    }
}

impl Fs {
    /// Resolves an absolute path. With `follow`, a symbolic link at the end is followed too.
    pub fn locate(&self, cred: &Cred, path: &str, follow: bool) -> Sys<Spot> {
        if path.is_empty() {
            return Err(Errno::NoEntry);
        }
        let must_be_dir = path.ends_with('/');
        let mut rest: Vec<String> = components(path);
        let mut spot = Spot { dir: ROOT, name: String::new(), ino: Some(ROOT) };
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let here = spot.ino.ok_or(Errno::NoEntry)?;
            spot = self.step(cred, here, &name)?;
            let Some(ino) = spot.ino else { continue };
            let Kind::Link(target) = &self.inode(ino)?.kind else { continue };
            if rest.is_empty() && !follow && !must_be_dir {
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::Loop);
            }
            let from = if target.starts_with('/') { ROOT } else { spot.dir };
            rest.extend(components(target));
            spot = Spot { dir: from, name: String::new(), ino: Some(from) };
        }
        match spot.ino {
            Some(ino) if must_be_dir && !self.inode(ino)?.is_dir() => Err(Errno::NotDirectory),
            _ => Ok(self.named(spot)),
        }
    }

    /// One component down from the object `here`.
    fn step(&self, cred: &Cred, here: Ino, name: &str) -> Sys<Spot> {
        let inode = self.inode(here)?;
        let Kind::Dir { entries, parent } = &inode.kind else { return Err(Errno::NotDirectory) };
        if inode.rights(cred) & 1 == 0 {
            return Err(Errno::Access);
        }
        if name.len() > 255 {
            return Err(Errno::NameTooLong);
        }
        Ok(match name {
            "." => Spot { dir: *parent, name: String::new(), ino: Some(here) },
            ".." => Spot { dir: *parent, name: String::new(), ino: Some(*parent) },
            _ => Spot { dir: here, name: name.to_owned(), ino: entries.get(name).copied() },
        })
    }

    /// Fills in the name of a directory that was reached by `.`, `..` or a link to a directory above.
    fn named(&self, spot: Spot) -> Spot {
        let Some(ino) = spot.ino.filter(|_| spot.name.is_empty()) else { return spot };
        let Ok(Inode { kind: Kind::Dir { parent, .. }, .. }) = self.inode(ino) else { return spot };
        let name = self.name_in(*parent, ino).unwrap_or_default();
        Spot { dir: *parent, name, ino: Some(ino) }
    }

    pub(super) fn name_in(&self, dir: Ino, ino: Ino) -> Option<String> {
        let Kind::Dir { entries, .. } = &self.inodes.get(&dir)?.kind else { return None };
        entries.iter().find(|(_, child)| **child == ino && ino != dir).map(|(name, _)| name.clone())
    }

    /// The path of a spot without symbolic links, `.` and `..`.
    pub fn real_path(&self, spot: &Spot) -> String {
        let mut names = vec![spot.name.clone()];
        let mut dir = spot.dir;
        while dir != ROOT {
            let Ok(Inode { kind: Kind::Dir { parent, .. }, .. }) = self.inode(dir) else { break };
            names.push(self.name_in(*parent, dir).unwrap_or_default());
            dir = *parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    /// The object at a path.
    pub fn find(&self, cred: &Cred, path: &str, follow: bool) -> Sys<Ino> {
        self.locate(cred, path, follow)?.ino.ok_or(Errno::NoEntry)
    }

    /// The attributes of the object at a path.
    pub fn stat(&self, cred: &Cred, path: &str, follow: bool) -> Sys<&Inode> {
        self.inode(self.find(cred, path, follow)?)
    }

    /// Whether anything is at the path.
    pub fn exists(&self, path: &str) -> bool {
        self.find(&Cred::root(), path, true).is_ok()
    }

    /// The names in a directory, sorted.
    pub fn list(&self, cred: &Cred, path: &str) -> Sys<Vec<String>> {
        let inode = self.stat(cred, path, true)?;
        let Kind::Dir { entries, .. } = &inode.kind else { return Err(Errno::NotDirectory) };
        if inode.rights(cred) & 4 == 0 {
            return Err(Errno::Access);
        }
        Ok(entries.keys().cloned().collect())
    }

    /// The whole content of a file.
    pub fn read(&self, cred: &Cred, path: &str) -> Sys<Vec<u8>> {
        let inode = self.stat(cred, path, true)?;
        match &inode.kind {
            Kind::Dir { .. } => Err(Errno::IsDirectory),
            _ if inode.rights(cred) & 4 == 0 => Err(Errno::Access),
            Kind::File(bytes) => Ok(bytes.0.clone()),
            _ => Ok(Vec::new()),
        }
    }

    /// A file of the machine itself as text; empty when it is not there.
    pub fn text(&self, path: &str) -> String {
        self.read(&Cred::root(), path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, cred: &Cred, path: &str) -> Sys<String> {
        match &self.stat(cred, path, false)?.kind {
            Kind::Link(target) => Ok(target.clone()),
            _ => Err(Errno::Invalid),
        }
    }
}

/// The components of a path, last first.
fn components(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
