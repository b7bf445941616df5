//! SFTP, version 3, with the habits of OpenSSH's server.

mod attributes;
mod extensions;

use std::collections::HashMap;
use std::sync::Arc;

use russh::server::Msg;
use russh::{Channel, ChannelMsg};
use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{Observer, look};
use crate::sim::host::fs::{Access, Cred, Errno, Fs, Ino, Rename, join};
use crate::sim::host::machine::SharedMachine;
use crate::sim::host::process::Session;
use attributes::{attributes, entry, refuse, set};
use extensions::EXTENSIONS;

/// How many files and directories may be open at once.
const MAX_OPEN: usize = 256;
/// The longest packet, in bytes.
const MAX_PACKET: u32 = 256 * 1024;
/// The most that is read or written at once: a packet without what stands before the data.
const MAX_TRANSFER: u32 = MAX_PACKET - 1024;

/// An open file or directory.
enum Open {
    File { ino: Ino, path: String, append: bool, write: bool, _opened: Arc<()> },
    Dir(Vec<File>),
}

struct Sftp {
    session: Session,
    machine: SharedMachine,
    observer: Arc<dyn Observer>,
    user: String,
    home: String,
    cred: Cred,
    open: HashMap<String, Open>,
    next: u64,
}

/// Serves SFTP on a channel until the client is done.
pub async fn serve(channel: Channel<Msg>, machine: SharedMachine, user: String, observer: Arc<dyn Observer>) {
    let Some((home, cred)) = look(&machine, |machine| {
        let user = machine.user(&user)?;
        let cred = machine.cred_of(&user);
        Some((user.home, cred))
    }) else {
        return;
    };
    let session = Session::new(machine.clone());
    let handler = Sftp { session, machine, observer, user, home, cred, open: HashMap::new(), next: 0 };
    let (near, far) = duplex(256 * 1024);
    russh_sftp::server::run(far, handler).await;
    let (mut from, mut to) = tokio::io::split(near);
    let (mut reader, writer) = channel.split();
    let incoming = async {
        loop {
            match reader.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    if to.write_all(&data).await.is_err() {
                        break;
                    }
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        // The handler sees the end, and drops its side.
        let _ended = to.shutdown().await;
    };
    let outgoing = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if writer.data_bytes(buffer[..length].to_vec()).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(incoming, outgoing);
    // When the client is gone already nobody hears this.
    let _told = (writer.exit_status(0).await.is_ok(), writer.eof().await.is_ok(), writer.close().await.is_ok());
}

fn done(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Success".to_owned(), language_tag: String::new() }
}

impl Sftp {
    fn path(&self, path: &str) -> String {
        if path.is_empty() { self.home.clone() } else { join(&self.home, path) }
    }

    fn report(&self, what: &str, result: Result<(), Errno>, mutated: bool) {
        let host = look(&self.machine, |machine| machine.hostname.clone());
        self.observer.command(&host, &self.user, &format!("sftp {what}"), i32::from(result.is_err()), mutated);
    }

    /// Makes a change and reports it.
    async fn change(
        &self,
        id: u32,
        what: String,
        act: impl FnOnce(&mut Fs, &Cred) -> Result<(), Errno>,
    ) -> Result<Status, StatusReply> {
        let before = self.session.changes();
        let result = self.session.with(|machine| act(&mut machine.fs, &self.cred));
        let mutated = self.session.changes() > before;
        self.report(&what, result, mutated);
        if mutated {
            self.observer.kept().await;
        }
        result.map(|()| done(id)).map_err(refuse)
    }

    fn look_up(&self, id: u32, path: &str, follow: bool) -> Result<Attrs, StatusReply> {
        let path = self.path(path);
        let attrs = self.session.with(|machine| machine.fs.stat(&self.cred, &path, follow).map(attributes));
        attrs.map(|attrs| Attrs { id, attrs }).map_err(refuse)
    }

    /// The path without links.
    fn real(&self, path: &str) -> Result<String, Errno> {
        self.session.with(|machine| machine.fs.locate(&self.cred, path, true).map(|spot| machine.fs.real_path(&spot)))
    }

    fn keep(&mut self, open: Open) -> String {
        self.next += 1;
        let name = self.next.to_string();
        self.open.insert(name.clone(), open);
        name
    }

    fn ino(&self, handle: &str) -> Result<Ino, StatusReply> {
        match self.open.get(handle) {
            Some(Open::File { ino, .. }) => Ok(*ino),
            _ => Err(StatusReply::new(StatusCode::Failure)),
        }
    }
}

impl Handler for Sftp {
    type Error = StatusReply;

    fn unimplemented(&self) -> Self::Error {
        StatusReply::new(StatusCode::OpUnsupported)
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> Result<Version, Self::Error> {
        let mut version = Version::new();
        version.extensions.extend(EXTENSIONS.map(|(name, number)| (name.to_owned(), number.to_owned())));
        Ok(version)
    }

    async fn open(
        &mut self,
        id: u32,
        filename: String,
        flags: OpenFlags,
        attrs: FileAttributes,
    ) -> Result<Handle, Self::Error> {
        if self.open.len() >= MAX_OPEN {
            return Err(refuse(Errno::NoMemory));
        }
        let path = self.path(&filename);
        let access = Access {
            read: flags.contains(OpenFlags::READ),
            write: flags.contains(OpenFlags::WRITE) || flags.contains(OpenFlags::APPEND),
            create: flags.contains(OpenFlags::CREATE),
            exclusive: flags.contains(OpenFlags::EXCLUDE),
            truncate: flags.contains(OpenFlags::TRUNCATE),
            append: flags.contains(OpenFlags::APPEND),
        };
        let mode = attrs.permissions.unwrap_or(0o666) & 0o777 & !0o022;
        let opened = self.session.with(|machine| machine.fs.open(&self.cred, &path, access, mode));
        match opened {
            Ok((ino, opened)) => {
                let open = Open::File { ino, path, append: access.append, write: access.write, _opened: opened };
                Ok(Handle { id, handle: self.keep(open) })
            }
            Err(errno) => {
                let what = if access.write { "write" } else { "read" };
                self.report(&format!("{what} {path}"), Err(errno), false);
                Err(refuse(errno))
            }
        }
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, Self::Error> {
        if let Some(Open::File { path, write, .. }) = self.open.remove(&handle) {
            let what = if write { "write" } else { "read" };
            self.report(&format!("{what} {path}"), Ok(()), write);
            if write {
                self.observer.kept().await;
            }
        }
        Ok(done(id))
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, length: u32) -> Result<Data, Self::Error> {
        let ino = self.ino(&handle)?;
        let mut data = vec![0; length.min(MAX_TRANSFER) as usize];
        let length = self.session.with(|machine| machine.read_at(ino, offset, &mut data)).map_err(refuse)?;
        if length == 0 {
            return Err(StatusReply::new(StatusCode::Eof));
        }
        data.truncate(length);
        Ok(Data { id, data })
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, Self::Error> {
        let Some(Open::File { ino, append, write: true, .. }) = self.open.get(&handle) else {
            return Err(StatusReply::new(StatusCode::PermissionDenied));
        };
        let at = (!append).then_some(offset);
        self.session.with(|machine| machine.write_at(*ino, at, &data)).map_err(refuse)?;
        Ok(done(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, Self::Error> {
        self.look_up(id, &path, false)
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, Self::Error> {
        self.look_up(id, &path, true)
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, Self::Error> {
        let ino = self.ino(&handle)?;
        let attrs = self.session.with(|machine| machine.fs.inode(ino).map(attributes));
        attrs.map(|attrs| Attrs { id, attrs }).map_err(refuse)
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, Self::Error> {
        let path = self.path(&path);
        self.change(id, format!("setstat {path}"), |fs, cred| {
            let ino = fs.find(cred, &path, true)?;
            set(fs, cred, ino, &attrs)
        })
        .await
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Result<Status, Self::Error> {
        let Some(Open::File { ino, path, .. }) = self.open.get(&handle) else {
            return Err(StatusReply::new(StatusCode::Failure));
        };
        let (ino, what) = (*ino, format!("setstat {path}"));
        self.change(id, what, |fs, cred| set(fs, cred, ino, &attrs)).await
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, Self::Error> {
        if self.open.len() >= MAX_OPEN {
            return Err(refuse(Errno::NoMemory));
        }
        let path = self.path(&path);
        let files = self.session.with(|machine| {
            let mut names = vec![".".to_owned(), "..".to_owned()];
            names.extend(machine.fs.list(&self.cred, &path)?);
            let entry = |name: String| {
                let inode = machine.fs.stat(&self.cred, &format!("{path}/{name}"), false).ok()?;
                Some(entry(machine, name, inode))
            };
            Ok(names.into_iter().filter_map(entry).collect())
        });
        let handle = self.keep(Open::Dir(files.map_err(refuse)?));
        Ok(Handle { id, handle })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, Self::Error> {
        match self.open.get_mut(&handle) {
            Some(Open::Dir(files)) if !files.is_empty() => {
                let most = files.len().min(100);
                Ok(Name { id, files: files.drain(..most).collect() })
            }
            Some(Open::Dir(_)) => Err(StatusReply::new(StatusCode::Eof)),
            _ => Err(StatusReply::new(StatusCode::Failure)),
        }
    }

    async fn remove(&mut self, id: u32, filename: String) -> Result<Status, Self::Error> {
        let path = self.path(&filename);
        self.change(id, format!("remove {path}"), |fs, cred| fs.unlink(cred, &path)).await
    }

    async fn mkdir(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, Self::Error> {
        let path = self.path(&path);
        let mode = attrs.permissions.unwrap_or(0o777) & 0o777 & !0o022;
        self.change(id, format!("mkdir {path}"), |fs, cred| fs.make_dir(cred, &path, mode)).await
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Result<Status, Self::Error> {
        let path = self.path(&path);
        self.change(id, format!("rmdir {path}"), |fs, cred| fs.remove_dir(cred, &path)).await
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, Self::Error> {
        let path = self.path(&path);
        self.real(&path).map(|real| Name { id, files: vec![File::dummy(real)] }).map_err(refuse)
    }

    async fn rename(&mut self, id: u32, oldpath: String, newpath: String) -> Result<Status, Self::Error> {
        let (from, to) = (self.path(&oldpath), self.path(&newpath));
        self.change(id, format!("rename {from} {to}"), |fs, cred| fs.rename(cred, &from, &to, Rename::Keep)).await
    }

    async fn readlink(&mut self, id: u32, path: String) -> Result<Name, Self::Error> {
        let path = self.path(&path);
        let target = self.session.with(|machine| machine.fs.read_link(&self.cred, &path));
        target.map(|target| Name { id, files: vec![File::dummy(target)] }).map_err(refuse)
    }

    async fn symlink(&mut self, id: u32, linkpath: String, targetpath: String) -> Result<Status, Self::Error> {
        // OpenSSH's server takes the target first, against the draft, and its client sends it so.
        let (target, path) = (linkpath, self.path(&targetpath));
        self.change(id, format!("symlink {path}"), |fs, cred| fs.symlink(cred, &target, &path)).await
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Result<Packet, Self::Error> {
        self.extension(id, &request, &data).await
    }
}
