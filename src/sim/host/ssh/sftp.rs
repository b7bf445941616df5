//! SFTP, version 3, with the habits of OpenSSH's server.

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
use crate::sim::host::fs::{Access, Cred, Errno, Ino, Inode, Rename, join};
use crate::sim::host::machine::SharedMachine;
use crate::sim::host::process::Session;

/// How many files and directories may be open at once.
const MAX_OPEN: usize = 256;

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

fn refuse(errno: Errno) -> StatusReply {
    let code = match errno {
        Errno::NoEntry | Errno::NotDirectory | Errno::Loop => StatusCode::NoSuchFile,
        Errno::Access | Errno::NotPermitted => StatusCode::PermissionDenied,
        Errno::Invalid | Errno::BadDescriptor => StatusCode::Failure,
        _ => StatusCode::Failure,
    };
    // OpenSSH says no more than the code does.
    StatusReply::new(code)
}

fn done(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Success".to_owned(), language_tag: String::new() }
}

fn attributes(inode: &Inode) -> FileAttributes {
    let time = u32::try_from(inode.mtime).unwrap_or(u32::MAX);
    FileAttributes {
        size: Some(inode.size()),
        uid: Some(inode.uid),
        gid: Some(inode.gid),
        permissions: Some(inode.st_mode()),
        atime: Some(time),
        mtime: Some(time),
        ..FileAttributes::default()
    }
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
        act: impl FnOnce(&mut crate::sim::host::fs::Fs, &Cred) -> Result<(), Errno>,
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

/// Sets what a client sends of attributes.
fn set(fs: &mut crate::sim::host::fs::Fs, cred: &Cred, ino: Ino, attrs: &FileAttributes) -> Result<(), Errno> {
    if let Some(size) = attrs.size {
        if fs.inode(ino)?.rights(cred) & 2 == 0 {
            return Err(Errno::Access);
        }
        fs.truncate(ino, size)?;
    }
    if attrs.uid.is_some() || attrs.gid.is_some() {
        fs.set_owner(cred, ino, attrs.uid, attrs.gid)?;
    }
    if let Some(mode) = attrs.permissions {
        fs.set_mode(cred, ino, mode & 0o7777)?;
    }
    if let Some(time) = attrs.mtime {
        fs.set_time(cred, ino, i64::from(time))?;
    }
    Ok(())
}

impl Handler for Sftp {
    type Error = StatusReply;

    fn unimplemented(&self) -> Self::Error {
        StatusReply::new(StatusCode::OpUnsupported)
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> Result<Version, Self::Error> {
        let mut version = Version::new();
        for name in ["posix-rename@openssh.com", "hardlink@openssh.com", "fsync@openssh.com"] {
            version.extensions.insert(name.to_owned(), "1".to_owned());
        }
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
        let mut data = vec![0; length.min(128 * 1024) as usize];
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
        let ino = self.ino(&handle)?;
        self.session.with(|machine| set(&mut machine.fs, &self.cred, ino, &attrs)).map_err(refuse)?;
        Ok(done(id))
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
                let mut attrs = attributes(inode);
                attrs.user = Some(machine.user_name(inode.uid));
                attrs.group = Some(machine.group_name(inode.gid));
                Some(File::new(name, attrs))
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
        let real = self
            .session
            .with(|machine| machine.fs.locate(&self.cred, &path, true).map(|spot| machine.fs.real_path(&spot)));
        real.map(|real| Name { id, files: vec![File::dummy(real)] }).map_err(refuse)
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
        let bad = || StatusReply::new(StatusCode::BadMessage);
        let mut rest = data.as_slice();
        let mut text = || {
            let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
            let text = String::from_utf8_lossy(rest.get(4..4 + length)?).into_owned();
            rest = &rest[4 + length..];
            Some(text)
        };
        match request.as_str() {
            "posix-rename@openssh.com" | "hardlink@openssh.com" => {
                let (from, to) = (text().ok_or_else(bad)?, text().ok_or_else(bad)?);
                let (from, to) = (self.path(&from), self.path(&to));
                let done = match request.starts_with("posix") {
                    true => {
                        self.change(id, format!("rename {from} {to}"), |fs, cred| {
                            fs.rename(cred, &from, &to, Rename::Replace)
                        })
                        .await
                    }
                    false => self.change(id, format!("link {from} {to}"), |fs, cred| fs.link(cred, &from, &to)).await,
                };
                done.map(Packet::Status)
            }
            "fsync@openssh.com" => Ok(Packet::Status(done(id))),
            _ => Err(StatusReply::new(StatusCode::OpUnsupported)),
        }
    }
}
