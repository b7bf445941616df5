//! Folders and files that nobody but their owner may look into: the journal may hold what the homelab would not tell.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Class, Error, Result};

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;

/// Sees to it that the folder is there and closed to others. It must be one that belongs to homelab alone, such as
/// `.homelab`: an open one is closed.
pub fn folder(path: &Path) -> Result<()> {
    // An empty path is what `Path::parent` gives for a bare file name: the current folder, which is not ours to close.
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(path)
        .and_then(|()| close(path, FOLDER))
        .map_err(|error| failed(path, "the folder cannot be made private", &error))
}

/// Sees to it that the file is there and closed to others, and opens it for reading and writing.
pub fn file(path: &Path) -> Result<fs::File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE).open(path);
    opened
        .and_then(|file| close(path, FILE).map(|()| file))
        .map_err(|error| failed(path, "the file cannot be opened", &error))
}

/// Sees to it that the file is there and closed to others, without opening one that is there: closing it again would
/// free the locks that SQLite holds on it elsewhere in this process.
pub fn make_file(path: &Path) -> Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(FILE).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => close_file(path),
        Err(error) => Err(failed(path, "the file cannot be made", &error)),
    }
}

/// Closes a file to others, where it is there.
pub fn close_file(path: &Path) -> Result<()> {
    match close(path, FILE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(path, "the file cannot be made private", &error))
        }
        _ => Ok(()),
    }
}

fn close(path: &Path, mode: u32) -> io::Result<()> {
    let now = fs::metadata(path)?.permissions().mode();
    if now & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    let path = path.display();
    Error::new(Class::Failed, format!("{path}: {what}"))
        .cause(error)
        .help(format!("see who owns it and how full the disk is: `ls -ld {path}; df {path}`"))
}
