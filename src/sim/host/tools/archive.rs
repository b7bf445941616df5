//! tar, which unpacks.

use std::io::Read;

use super::Options;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Unpacks an archive.
pub fn tar(p: &Process) -> Exit {
    let long =
        [("extract", 'x'), ("file", 'f'), ("directory", 'C'), ("no-same-owner", 'o'), ("preserve-permissions", 'p')];
    let options = Options::parse(p, "xf:C:op", &long)?;
    if !options.has('x') || !options.operands.is_empty() {
        return not_simulated("tar other than to unpack everything");
    }
    let Some(file) = options.value('f') else { return not_simulated("tar without -f") };
    let bytes = p.input(file).map_err(|errno| Stop::Fail(2, format!("{file}: Cannot open: {errno}")))?;
    let folder = p.path(options.value('C').unwrap_or("."));
    let mut archive = ::tar::Archive::new(bytes.as_slice());
    let broken = |error: std::io::Error| Stop::Fail(2, format!("{error}\nError is not recoverable: exiting now"));
    for entry in archive.entries().map_err(broken)? {
        unpack(p, &options, &folder, entry.map_err(broken)?)?;
    }
    Ok(0)
}

fn unpack<R: Read>(p: &Process, options: &Options, folder: &str, mut entry: ::tar::Entry<'_, R>) -> Result<(), Stop> {
    let broken = |error: std::io::Error| Stop::Fail(2, error.to_string());
    let name = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
    if name.split('/').any(|part| part == "..") {
        return fail(format!("{name}: Member name contains '..'"));
    }
    let path = format!("{folder}/{}", name.trim_start_matches('/'));
    let (mode, kind) = (entry.header().mode().map_err(broken)? & 0o7777, entry.header().entry_type());
    let mask = if options.has('p') || p.cred.is_root() { 0 } else { p.umask };
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > folder.len()).collect();
    for end in slashes {
        // Most are there already; what could not be made shows with the file.
        let _made = p.fs(|fs, cred| fs.make_dir(cred, &path[..end], 0o777 & !p.umask));
    }
    let cannot = |errno: crate::sim::host::fs::Errno| Stop::Fail(2, format!("{name}: Cannot open: {errno}"));
    match kind {
        ::tar::EntryType::Directory => {
            let made = p.fs(|fs, cred| fs.make_dir(cred, &path, mode & !mask));
            if p.fs(|fs, _| fs.exists(&path)) { Ok(()) } else { made.map_err(cannot) }
        }
        ::tar::EntryType::Regular => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(broken)?;
            p.fs(|fs, cred| {
                // What is there makes room, as it does for GNU's.
                let _gone = fs.unlink(cred, &path);
                fs.write(cred, &path, &bytes, mode & !mask)
            })
            .map_err(cannot)?;
            if options.has('o') || !p.cred.is_root() {
                return Ok(());
            }
            let number = |id: std::io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
            let (uid, gid) = (number(entry.header().uid()), number(entry.header().gid()));
            p.fs(|fs, cred| fs.find(cred, &path, false).and_then(|ino| fs.set_owner(cred, ino, uid, gid)))
                .map_err(cannot)
        }
        _ => not_simulated(format!("unpacking {name}, which is neither a file nor a folder")),
    }
}
