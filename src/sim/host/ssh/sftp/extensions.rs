//! What OpenSSH's server can do beyond the protocol, as it announces it.

use russh_sftp::protocol::{ExtendedReply, File, FileAttributes, Name, Packet, StatusCode};
use russh_sftp::server::StatusReply;

use super::attributes::{refuse, set_here};
use super::{MAX_OPEN, MAX_PACKET, MAX_TRANSFER, Open, Sftp, done};
use crate::sim::host::fs::{Cred, Errno, Fs, Rename, join};

/// Names and versions.
pub const EXTENSIONS: [(&str, &str); 11] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("users-groups-by-id@openssh.com", "1"),
];

/// How many bytes are copied at once.
const PIECE: usize = 64 * 1024;

/// What follows the name of a request. `None` is a request that ends too early.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Numbers that are packed into one string.
    fn numbers(&mut self) -> Option<Vec<u32>> {
        let mut packed = Arguments(self.bytes()?);
        Some(std::iter::from_fn(|| packed.number()).collect())
    }

    /// Attributes, as far as OpenSSH's clients send them.
    fn attributes(&mut self) -> Option<FileAttributes> {
        let flags = self.number()?;
        let mut attrs = FileAttributes::empty();
        if flags & 1 != 0 {
            attrs.size = Some(self.long()?);
        }
        if flags & 2 != 0 {
            (attrs.uid, attrs.gid) = (Some(self.number()?), Some(self.number()?));
        }
        if flags & 4 != 0 {
            attrs.permissions = Some(self.number()?);
        }
        if flags & 8 != 0 {
            (attrs.atime, attrs.mtime) = (Some(self.number()?), Some(self.number()?));
        }
        Some(attrs)
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    // What is packed here is far below four gigabytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

fn reply(id: u32, data: Vec<u8>) -> Packet {
    Packet::ExtendedReply(ExtendedReply { id, data })
}

fn longs(id: u32, numbers: &[u64]) -> Packet {
    reply(id, numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
}

fn name(id: u32, path: String) -> Packet {
    Packet::Name(Name { id, files: vec![File::dummy(path)] })
}

impl Sftp {
    /// Answers a request that is an extension.
    pub(super) async fn extension(&mut self, id: u32, request: &str, data: &[u8]) -> Result<Packet, StatusReply> {
        let mut arguments = Arguments(data);
        let bad = || StatusReply::new(StatusCode::BadMessage);
        match request {
            "posix-rename@openssh.com" | "hardlink@openssh.com" => {
                let from = arguments.text().ok_or_else(bad)?;
                let to = arguments.text().ok_or_else(bad)?;
                let (from, to) = (self.path(&from), self.path(&to));
                let done = if request.starts_with("posix") {
                    let what = format!("rename {from} {to}");
                    self.change(id, what, |fs, cred| fs.rename(cred, &from, &to, Rename::Replace)).await
                } else {
                    self.change(id, format!("link {from} {to}"), |fs, cred| fs.link(cred, &from, &to)).await
                };
                done.map(Packet::Status)
            }
            "statvfs@openssh.com" => {
                let path = self.path(&arguments.text().ok_or_else(bad)?);
                self.space(id, &path)
            }
            "fstatvfs@openssh.com" => {
                let handle = arguments.text().ok_or_else(bad)?;
                match self.open.get(&handle) {
                    Some(Open::File { path, .. }) => self.space(id, &path.clone()),
                    _ => Err(StatusReply::new(StatusCode::Failure)),
                }
            }
            "fsync@openssh.com" => {
                self.ino(&arguments.text().ok_or_else(bad)?)?;
                Ok(Packet::Status(done(id)))
            }
            "lsetstat@openssh.com" => {
                let path = self.path(&arguments.text().ok_or_else(bad)?);
                let attrs = arguments.attributes().ok_or_else(bad)?;
                let act = |fs: &mut Fs, cred: &Cred| {
                    let ino = fs.find(cred, &path, false)?;
                    set_here(fs, cred, ino, &attrs)
                };
                self.change(id, format!("lsetstat {path}"), act).await.map(Packet::Status)
            }
            "limits@openssh.com" => {
                let transfer = u64::from(MAX_TRANSFER);
                Ok(longs(id, &[u64::from(MAX_PACKET), transfer, transfer, MAX_OPEN as u64]))
            }
            "expand-path@openssh.com" => {
                let path = self.expanded(&arguments.text().ok_or_else(bad)?).map_err(refuse)?;
                Ok(name(id, self.real(&path).map_err(refuse)?))
            }
            "home-directory" => {
                let user = arguments.text().ok_or_else(bad)?;
                Ok(name(id, self.home_of(&user).map_err(refuse)?))
            }
            "copy-data" => {
                let copy = (|| {
                    let (from, start, length) = (arguments.text()?, arguments.long()?, arguments.long()?);
                    Some(((from, start), length, (arguments.text()?, arguments.long()?)))
                })();
                let (from, length, to) = copy.ok_or_else(bad)?;
                self.copy(from, length, to)?;
                Ok(Packet::Status(done(id)))
            }
            "users-groups-by-id@openssh.com" => {
                let (users, groups) = (arguments.numbers().ok_or_else(bad)?, arguments.numbers().ok_or_else(bad)?);
                let (users, groups) = self.session.with(|machine| {
                    let known =
                        |number: u32, name: String| if name == number.to_string() { String::new() } else { name };
                    let user = |uid: u32| packed(known(uid, machine.user_name(uid)).as_bytes());
                    let group = |gid: u32| packed(known(gid, machine.group_name(gid)).as_bytes());
                    let users: Vec<u8> = users.into_iter().flat_map(user).collect();
                    (users, groups.into_iter().flat_map(group).collect::<Vec<u8>>())
                });
                Ok(reply(id, [packed(&users), packed(&groups)].concat()))
            }
            _ => Err(StatusReply::new(StatusCode::OpUnsupported)),
        }
    }

    /// The file system that a path is on, as statvfs(3) describes it.
    fn space(&self, id: u32, path: &str) -> Result<Packet, StatusReply> {
        self.session.with(|machine| {
            let spot = machine.fs.locate(&self.cred, path, true).map_err(refuse)?;
            if spot.ino.is_none() {
                return Err(refuse(Errno::NoEntry));
            }
            let space = machine.space(&machine.fs.real_path(&spot));
            let block = 4096;
            let (blocks, free) = (space.size / block, (space.size - space.used) / block);
            let spare = space.files - space.used_files;
            Ok(longs(id, &[block, block, blocks, free, free, space.files, spare, spare, 0, 0, 255]))
        })
    }

    fn home_of(&self, user: &str) -> Result<String, Errno> {
        self.session.with(|machine| machine.user(user)).map(|user| user.home).ok_or(Errno::NoEntry)
    }

    /// A path with `~` or `~user` at its beginning, from the home directory.
    fn expanded(&self, path: &str) -> Result<String, Errno> {
        let Some(rest) = path.strip_prefix('~') else { return Ok(self.path(path)) };
        let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let home = if user.is_empty() { self.home.clone() } else { self.home_of(user)? };
        Ok(if rest.is_empty() { home } else { join(&home, rest) })
    }

    /// Copies between two open files; a length of 0 is all there is.
    fn copy(&self, from: (String, u64), length: u64, to: (String, u64)) -> Result<(), StatusReply> {
        let source = self.ino(&from.0)?;
        let Some(Open::File { ino: target, write: true, append, .. }) = self.open.get(&to.0) else {
            return Err(StatusReply::new(StatusCode::PermissionDenied));
        };
        if source == *target {
            return Err(StatusReply::new(StatusCode::Failure));
        }
        let (mut left, mut read, mut written) = (if length == 0 { u64::MAX } else { length }, from.1, to.1);
        let mut buffer = vec![0; PIECE];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let length = self.session.with(|machine| machine.read_at(source, read, &mut buffer[..most]));
            let length = length.map_err(refuse)?;
            if length == 0 {
                break;
            }
            let at = (!append).then_some(written);
            let put = self.session.with(|machine| machine.write_at(*target, at, &buffer[..length]));
            put.map_err(refuse)?;
            (read, written, left) = (read + length as u64, written + length as u64, left - length as u64);
        }
        Ok(())
    }
}
