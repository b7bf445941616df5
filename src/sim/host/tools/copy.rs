//! mv, cp, install, dd.

use super::Options;
use super::files::make_parents;
use super::modes::{owner, parse_mode};
use crate::sim::host::fs::{Access, Errno, Kind, Rename};
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Splits operands into sources and the place they go to, and says whether that is a directory to put them in.
fn destination(p: &Process, options: &Options) -> Result<(Vec<String>, String, bool), Stop> {
    if let Some(dir) = options.value('t') {
        return Ok((options.operands.clone(), dir.to_owned(), true));
    }
    match options.operands.as_slice() {
        [] => fail("missing file operand"),
        [only] => fail(format!("missing destination file operand after '{only}'")),
        [sources @ .., place] => {
            let is_dir = !options.has('T')
                && p.fs(|fs, cred| fs.stat(cred, &p.path(place), true).is_ok_and(|inode| inode.is_dir()));
            if sources.len() > 1 && !is_dir {
                return fail(format!("target '{place}': {}", Errno::NotDirectory));
            }
            Ok((sources.to_vec(), place.clone(), is_dir))
        }
    }
}

fn inside(place: &str, source: &str) -> String {
    let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
    format!("{}/{name}", place.trim_end_matches('/'))
}

/// Renames files.
pub fn mv(p: &Process) -> Exit {
    let long = [("force", 'f'), ("no-clobber", 'n'), ("no-target-directory", 'T'), ("target-directory", 't')];
    let options = Options::parse(p, "fnTt:vi", &long)?;
    let (sources, place, is_dir) = destination(p, &options)?;
    let mut status = 0;
    for source in &sources {
        let target = if is_dir { inside(&place, source) } else { place.clone() };
        let (from, to) = (p.path(source), p.path(&target));
        let how = if options.has('n') { Rename::Keep } else { Rename::Replace };
        let trouble = match p.fs(|fs, cred| fs.find(cred, &from, false).and_then(|_| fs.rename(cred, &from, &to, how)))
        {
            Ok(()) => continue,
            Err(Errno::Exists) if options.has('n') => continue,
            Err(Errno::NoEntry) if p.fs(|fs, cred| fs.find(cred, &from, false).is_err()) => {
                format!("cannot stat '{source}': {}", Errno::NoEntry)
            }
            Err(Errno::IsDirectory) => format!("cannot overwrite directory '{target}' with non-directory"),
            Err(Errno::NotDirectory) if p.fs(|fs, cred| fs.find(cred, &to, false).is_ok()) => {
                format!("cannot overwrite non-directory '{target}' with directory '{source}'")
            }
            Err(Errno::Invalid) => format!("cannot move '{source}' to a subdirectory of itself, '{target}'"),
            Err(errno) => format!("cannot move '{source}' to '{target}': {errno}"),
        };
        p.complain(trouble);
        status = 1;
    }
    Ok(status)
}

struct Copy {
    recursive: bool,
    /// Keep mode, owner and time.
    preserve: bool,
    /// Copy links as links.
    links: bool,
    force: bool,
    keep: bool,
}

/// Copies files.
pub fn cp(p: &Process) -> Exit {
    let long = [
        ("archive", 'a'),
        ("recursive", 'r'),
        ("force", 'f'),
        ("no-clobber", 'n'),
        ("no-target-directory", 'T'),
        ("target-directory", 't'),
        ("no-dereference", 'P'),
        ("dereference", 'L'),
        ("preserve", 'p'),
    ];
    let options = Options::parse(p, "arRpfnTt:PLdv", &long)?;
    let (sources, place, is_dir) = destination(p, &options)?;
    let archive = options.has('a');
    let recursive = archive || options.has('r') || options.has('R');
    let copy = Copy {
        recursive,
        preserve: archive || options.has('p'),
        links: (recursive || options.has('P') || options.has('d')) && !options.has('L'),
        force: options.has('f'),
        keep: options.has('n'),
    };
    let mut status = 0;
    for source in &sources {
        let target = if is_dir { inside(&place, source) } else { place.clone() };
        if let Err(message) = copy_one(p, &copy, source, &target) {
            p.complain(message);
            status = 1;
        }
    }
    Ok(status)
}

fn copy_one(p: &Process, copy: &Copy, source: &str, target: &str) -> Result<(), String> {
    let (from, to) = (p.path(source), p.path(target));
    let stat = p.fs(|fs, cred| fs.find(cred, &from, !copy.links).and_then(|ino| Ok((ino, fs.inode(ino)?.clone()))));
    let (ino, inode) = stat.map_err(|errno| format!("cannot stat '{source}': {errno}"))?;
    let there = p.fs(|fs, cred| fs.stat(cred, &to, true).map(|inode| inode.is_dir())).ok();
    if copy.keep && there == Some(false) {
        return Ok(());
    }
    if p.fs(|fs, cred| fs.find(cred, &to, true)).is_ok_and(|same| same == ino) {
        return Err(format!("'{source}' and '{target}' are the same file"));
    }
    let writing = |errno: Errno| format!("cannot create regular file '{target}': {errno}");
    match &inode.kind {
        Kind::Dir { .. } if !copy.recursive => return Err(format!("-r not specified; omitting directory '{source}'")),
        Kind::Dir { .. } => {
            match there {
                Some(true) => {}
                Some(false) => {
                    return Err(format!("cannot overwrite non-directory '{target}' with directory '{source}'"));
                }
                None => p
                    .fs(|fs, cred| fs.make_dir(cred, &to, (inode.mode & !p.umask) | 0o700))
                    .map_err(|errno| format!("cannot create directory '{target}': {errno}"))?,
            }
            let names =
                p.fs(|fs, cred| fs.list(cred, &from)).map_err(|errno| format!("cannot access '{source}': {errno}"))?;
            for name in names {
                copy_one(p, copy, &format!("{source}/{name}"), &format!("{target}/{name}"))?;
            }
        }
        Kind::Link(link) if copy.links => p
            .fs(|fs, cred| {
                if fs.find(cred, &to, false).is_ok() {
                    fs.unlink(cred, &to)?;
                }
                fs.symlink(cred, link, &to)
            })
            .map_err(|errno| format!("cannot create symbolic link '{target}': {errno}"))?,
        _ => {
            if there == Some(true) {
                return Err(format!("cannot overwrite directory '{target}' with non-directory"));
            }
            let content = p.input(&from).map_err(|errno| format!("cannot open '{source}' for reading: {errno}"))?;
            let mode = inode.mode & 0o777 & !p.umask;
            let written = p.fs(|fs, cred| match fs.write(cred, &to, &content, mode) {
                Err(Errno::Access) if copy.force => {
                    fs.unlink(cred, &to)?;
                    fs.write(cred, &to, &content, mode)
                }
                other => other,
            });
            written.map_err(writing)?;
        }
    }
    if copy.preserve {
        p.fs(|fs, cred| {
            let copied = fs.find(cred, &to, false)?;
            if cred.is_root() {
                fs.set_owner(cred, copied, Some(inode.uid), Some(inode.gid))?;
            }
            fs.set_mode(cred, copied, inode.mode)?;
            fs.set_time(cred, copied, inode.mtime)
        })
        .map_err(|errno| format!("preserving attributes of '{target}': {errno}"))?;
    }
    Ok(())
}

/// Copies files and sets their attributes, or makes directories.
pub fn install(p: &Process) -> Exit {
    let long = [("mode", 'm'), ("owner", 'o'), ("group", 'g'), ("directory", 'd'), ("target-directory", 't')];
    let options = Options::parse(p, "m:o:g:dDTt:vpC", &long)?;
    if let Some(letter) = options.last_of("pC") {
        return not_simulated(format!("install -{letter}"));
    }
    let mode = parse_mode(options.value('m').unwrap_or("0755"), 0, options.has('d'), 0)?;
    let user = options.value('o').unwrap_or("");
    let (uid, gid) = owner(p, user, options.value('g').unwrap_or(""), user)?;
    let settle = |path: &str| {
        let full = p.path(path);
        p.fs(|fs, cred| {
            let ino = fs.find(cred, &full, true)?;
            if uid.is_some() || gid.is_some() {
                fs.set_owner(cred, ino, uid, gid)?;
            }
            fs.set_mode(cred, ino, mode)
        })
        .map_err(|errno| Stop::Fail(1, format!("cannot change ownership of '{path}': {errno}")))
    };
    if options.has('d') {
        for path in options.required()? {
            if let Err((path, errno)) = make_parents(p, path, None) {
                return fail(format!("cannot create directory '{path}': {errno}"));
            }
            settle(path)?;
        }
        return Ok(0);
    }
    if let (true, Some((parent, _))) =
        (options.has('D'), options.operands.last().and_then(|path| path.rsplit_once('/')))
    {
        if let Err((path, errno)) = make_parents(p, parent, None) {
            return fail(format!("cannot create directory '{path}': {errno}"));
        }
    }
    let (sources, place, is_dir) = destination(p, &options)?;
    for source in &sources {
        let target = if is_dir { inside(&place, source) } else { place.clone() };
        let content = p.input(source).map_err(|errno| Stop::Fail(1, format!("cannot stat '{source}': {errno}")))?;
        let full = p.path(&target);
        let written = p.fs(|fs, cred| {
            // An old file is removed first, so that whoever runs it keeps what it has.
            if fs.stat(cred, &full, false).is_ok_and(|inode| !inode.is_dir()) {
                fs.unlink(cred, &full)?;
            }
            fs.write(cred, &full, &content, 0o600)
        });
        written.map_err(|errno| Stop::Fail(1, format!("cannot create regular file '{target}': {errno}")))?;
        settle(&target)?;
    }
    Ok(0)
}

/// A number of bytes with a unit.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "c" => 1,
        "b" => 512,
        "k" | "K" | "KiB" => 1024,
        "kB" | "KB" => 1000,
        "M" | "MiB" => 1 << 20,
        "MB" => 1_000_000,
        "G" | "GiB" => 1 << 30,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Copies blocks.
pub fn dd(p: &Process) -> Exit {
    let (mut input, mut output, mut block, mut count, mut skip, mut append, mut quiet, mut keep) =
        (None, None, 512, None, 0, false, false, false);
    for operand in p.operands() {
        let (name, value) = operand.split_once('=').unwrap_or((operand, ""));
        let number = || bytes(value).ok_or_else(|| Stop::Fail(1, format!("invalid number: '{value}'")));
        match name {
            "if" => input = Some(value.to_owned()),
            "of" => output = Some(value.to_owned()),
            "bs" | "ibs" | "obs" => block = number()?,
            "count" => count = Some(number()?),
            "skip" => skip = number()?,
            "status" => quiet = value == "none",
            "oflag" => append = value.split(',').any(|flag| flag == "append"),
            "conv" => keep = value.split(',').any(|flag| flag == "notrunc"),
            "iflag" => {}
            other => return not_simulated(format!("dd {other}=")),
        }
    }
    let opening = |path: &str, access: Access| {
        p.open(path, access).map_err(|errno| Stop::Fail(1, format!("failed to open '{path}': {errno}")))
    };
    let from = match &input {
        Some(path) => opening(path, Access::READ)?,
        None => p.fds.get(&0).cloned().ok_or(Errno::BadDescriptor)?,
    };
    let access = if append { Access::APPEND } else { Access { truncate: !keep, ..Access::WRITE } };
    let to = match &output {
        Some(path) => opening(path, access)?,
        None => p.fds.get(&1).cloned().ok_or(Errno::BadDescriptor)?,
    };
    let limit = count.map_or(u64::MAX, |count| count.saturating_mul(block));
    let (mut skipped, mut copied) = (0, 0);
    let mut buffer = vec![0; 64 * 1024];
    while skipped < skip.saturating_mul(block) || copied < limit {
        let wanted = if skipped < skip * block { skip * block - skipped } else { limit - copied };
        let most = usize::try_from(wanted).unwrap_or(usize::MAX).min(buffer.len());
        let length = from.read(&mut buffer[..most], &p.session)?;
        if length == 0 {
            break;
        }
        if skipped < skip * block {
            skipped += length as u64;
        } else {
            to.write(&buffer[..length], &p.session)?;
            copied += length as u64;
        }
    }
    if !quiet {
        let (full, part) = (copied / block.max(1), u64::from(copied % block.max(1) > 0));
        p.err(format!(
            "{full}+{part} records in\n{full}+{part} records out\n{copied} bytes copied, 0.001 s, 1.0 MB/s\n"
        ));
    }
    Ok(0)
}
