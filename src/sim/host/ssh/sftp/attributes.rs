//! Attributes of files as SFTP has them, and refusals.

use russh_sftp::protocol::{File, FileAttributes, StatusCode};
use russh_sftp::server::StatusReply;

use crate::sim::host::fs::{Cred, Errno, Fs, Ino, Inode, now};
use crate::sim::host::machine::Machine;
use crate::sim::host::tools::clock;

/// Half a year in seconds: what is older is listed with its year instead of the time of day.
const LONG_AGO: i64 = 365 * 24 * 60 * 60 / 2;

/// What a client hears of a failed call: OpenSSH says no more than the code does.
pub fn refuse(errno: Errno) -> StatusReply {
    StatusReply::new(match errno {
        Errno::NoEntry | Errno::NotDirectory | Errno::Loop | Errno::BadDescriptor => StatusCode::NoSuchFile,
        Errno::Access | Errno::NotPermitted => StatusCode::PermissionDenied,
        Errno::Invalid | Errno::NameTooLong => StatusCode::BadMessage,
        _ => StatusCode::Failure,
    })
}

/// The attributes of a file.
pub fn attributes(inode: &Inode) -> FileAttributes {
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

/// An entry of a directory: its name, its attributes, and the line of `ls -l` that some clients show as it is.
pub fn entry(machine: &Machine, name: String, inode: &Inode) -> File {
    let (user, group) = (machine.user_name(inode.uid), machine.group_name(inode.gid));
    let age = now() - inode.mtime;
    let time = if (0..LONG_AGO).contains(&age) { "%b %e %H:%M" } else { "%b %e  %Y" };
    let (mode, links, size) = (inode.mode_text(), inode.links, inode.size());
    let time = clock::format(inode.mtime, time);
    let longname = format!("{mode} {links:>4} {user:<8} {group:<8} {size:>8} {time} {name}");
    File { filename: name, longname, attrs: attributes(inode) }
}

/// Sets what a client sends of attributes, in OpenSSH's order.
pub fn set(fs: &mut Fs, cred: &Cred, ino: Ino, attrs: &FileAttributes) -> Result<(), Errno> {
    if let Some(size) = attrs.size {
        if fs.inode(ino)?.rights(cred) & 2 == 0 {
            return Err(Errno::Access);
        }
        fs.truncate(ino, size)?;
    }
    if let Some(mode) = attrs.permissions {
        fs.set_mode(cred, ino, mode & 0o7777)?;
    }
    if let Some(time) = attrs.mtime {
        fs.set_time(cred, ino, i64::from(time))?;
    }
    if attrs.uid.is_some() || attrs.gid.is_some() {
        fs.set_owner(cred, ino, attrs.uid, attrs.gid)?;
    }
    Ok(())
}

/// Sets attributes of what a name itself stands for, even where that is a link.
pub fn set_here(fs: &mut Fs, cred: &Cred, ino: Ino, attrs: &FileAttributes) -> Result<(), Errno> {
    if attrs.size.is_some() {
        return Err(Errno::Invalid);
    }
    if attrs.permissions.is_some() && fs.inode(ino)?.is_link() {
        // Linux has no modes of links to change.
        return Err(Errno::NotSupported);
    }
    set(fs, cred, ino, attrs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::host::seed::{CloudInit, Hardware};

    /// The line of one entry, whose file was changed so many seconds ago.
    fn line(age: i64) -> String {
        let mut machine =
            Machine::guest(CloudInit { user: "ubuntu".into(), ..CloudInit::default() }, &Hardware::default());
        let script = "echo hello > a; chmod 640 a; ln a b; chown ubuntu:adm a";
        assert_eq!(machine.run("root", &format!("cd /home/ubuntu; {script}"), b"").exit, 0);
        let mut inode = machine.fs.stat(&Cred::root(), "/home/ubuntu/a", true).unwrap().clone();
        inode.mtime = now() - age;
        entry(&machine, "a".into(), &inode).longname
    }

    #[test]
    fn an_entry_is_listed_as_ls_does_with_its_links() {
        assert!(line(0).starts_with("-rw-r-----    2 ubuntu   adm             6 "), "{}", line(0));
        assert!(line(0).ends_with(" a") && line(0).contains(':'), "{}", line(0));
    }

    #[test]
    fn what_is_old_is_listed_with_its_year() {
        let year = clock::format(now() - 400 * 24 * 60 * 60, "%Y");
        assert!(line(400 * 24 * 60 * 60).ends_with(&format!("  {year} a")), "{}", line(400 * 24 * 60 * 60));
    }
}
