//! mktemp, mkdir, rm, rmdir, ln, touch, truncate.

use super::Options;
use super::modes::parse_mode;
use crate::sim::host::fs::{Access, Errno, now};
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};
use crate::sim::host::random;

/// Makes a file or directory with a fresh name.
pub fn mktemp(p: &Process) -> Exit {
    let long = [("directory", 'd'), ("tmpdir", 'p'), ("dry-run", 'u'), ("quiet", 'q'), ("suffix", 's')];
    let options = Options::parse(p, "dp:qtu", &long)?;
    let template = options.operands.first().map_or("tmp.XXXXXXXXXX", String::as_str);
    let Some(start) = template.rfind('X').map(|last| template[..=last].trim_end_matches('X').len()) else {
        return fail(format!("too few X's in template '{template}'"));
    };
    let end = template.rfind('X').map_or(start, |last| last + 1);
    if end - start < 3 {
        return fail(format!("too few X's in template '{template}'"));
    }
    let in_tmp = options.operands.is_empty() || options.has('p') || options.has('t');
    let tmp = p.env.get("TMPDIR").map_or("/tmp", String::as_str);
    let dir = options.value('p').filter(|dir| !dir.is_empty()).unwrap_or(tmp);
    for _ in 0..100 {
        let name = format!("{}{}{}", &template[..start], random::letters(end - start), &template[end..]);
        let path = if in_tmp { format!("{dir}/{name}") } else { name };
        let full = p.path(&path);
        let made = p.fs(|fs, cred| match options.has('d') {
            true => fs.make_dir(cred, &full, 0o700),
            false => fs.open(cred, &full, Access::FRESH, 0o600).map(drop),
        });
        match made {
            Ok(()) => {
                p.line(path)?;
                return Ok(0);
            }
            Err(Errno::Exists) => {}
            Err(errno) => {
                let what = if options.has('d') { "directory" } else { "file" };
                let template = if in_tmp { format!("{dir}/{template}") } else { template.to_owned() };
                return fail(format!("failed to create {what} via template '{template}': {errno}"));
            }
        }
    }
    fail(format!("failed to create file via template '{template}': {}", Errno::Exists))
}

/// Makes directories.
pub fn mkdir(p: &Process) -> Exit {
    let options = Options::parse(p, "pm:v", &[("parents", 'p'), ("mode", 'm')])?;
    let mode = options.value('m').map(|text| parse_mode(text, 0o777, true, p.umask)).transpose()?;
    let mut status = 0;
    for path in options.required()? {
        let made = if options.has('p') { make_parents(p, path, mode) } else { make_one(p, path, mode) };
        if let Err((path, errno)) = made {
            p.complain(format!("cannot create directory '{path}': {errno}"));
            status = 1;
        }
    }
    Ok(status)
}

fn make_one(p: &Process, path: &str, mode: Option<u32>) -> Result<(), (String, Errno)> {
    let mode = mode.unwrap_or(0o777 & !p.umask);
    p.fs(|fs, cred| fs.make_dir(cred, &p.path(path), mode)).map_err(|errno| (path.to_owned(), errno))
}

/// Makes a directory and those above it that are missing; the mode is for the last one.
pub fn make_parents(p: &Process, path: &str, mode: Option<u32>) -> Result<(), (String, Errno)> {
    let mut built = if path.starts_with('/') { "/".to_owned() } else { String::new() };
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    for (index, name) in names.iter().enumerate() {
        if !built.is_empty() && !built.ends_with('/') {
            built.push('/');
        }
        built.push_str(name);
        let is_dir = p.fs(|fs, cred| fs.stat(cred, &p.path(&built), true).map(|inode| inode.is_dir()));
        match is_dir {
            Ok(true) => {}
            Ok(false) if index + 1 == names.len() => return Err((built, Errno::Exists)),
            Ok(false) => return Err((built, Errno::NotDirectory)),
            Err(Errno::NoEntry) => make_one(p, &built, mode.filter(|_| index + 1 == names.len()))?,
            Err(errno) => return Err((built, errno)),
        }
    }
    Ok(())
}

/// Removes files and trees.
pub fn rm(p: &Process) -> Exit {
    let options = Options::parse(p, "rRfdvi", &[("recursive", 'r'), ("force", 'f'), ("dir", 'd')])?;
    let force = options.has('f');
    if options.operands.is_empty() && !force {
        return fail("missing operand");
    }
    let recursive = options.has('r') || options.has('R');
    let mut status = 0;
    for path in &options.operands {
        let full = p.path(path);
        if p.path(path).trim_end_matches('/').is_empty() {
            p.complain(
                "it is dangerous to operate recursively on '/'\nrm: use --no-preserve-root to override this failsafe",
            );
            status = 1;
            continue;
        }
        let is_dir = p.fs(|fs, cred| fs.stat(cred, &full, false).map(|inode| inode.is_dir()));
        let removed = match is_dir {
            Err(Errno::NoEntry | Errno::NotDirectory) if force => continue,
            Err(errno) => Err((path.clone(), errno)),
            Ok(true) if recursive => remove_tree(p, path),
            Ok(true) if options.has('d') => {
                p.fs(|fs, cred| fs.remove_dir(cred, &full)).map_err(|errno| (path.clone(), errno))
            }
            Ok(true) => Err((path.clone(), Errno::IsDirectory)),
            Ok(false) => p.fs(|fs, cred| fs.unlink(cred, &full)).map_err(|errno| (path.clone(), errno)),
        };
        if let Err((path, errno)) = removed {
            p.complain(format!("cannot remove '{path}': {errno}"));
            status = 1;
        }
    }
    Ok(status)
}

/// Removes a directory and what is in it.
pub fn remove_tree(p: &Process, path: &str) -> Result<(), (String, Errno)> {
    let full = p.path(path);
    let at = |errno| (path.to_owned(), errno);
    let is_dir = p.fs(|fs, cred| fs.stat(cred, &full, false).map(|inode| inode.is_dir())).map_err(at)?;
    if !is_dir {
        return p.fs(|fs, cred| fs.unlink(cred, &full)).map_err(at);
    }
    for name in p.fs(|fs, cred| fs.list(cred, &full)).map_err(at)? {
        remove_tree(p, &format!("{}/{name}", path.trim_end_matches('/')))?;
    }
    p.fs(|fs, cred| fs.remove_dir(cred, &full)).map_err(at)
}

/// Removes empty directories.
pub fn rmdir(p: &Process) -> Exit {
    let options = Options::parse(p, "pv", &[("ignore-fail-on-non-empty", 'I')])?;
    if options.has('p') {
        return not_simulated("rmdir -p");
    }
    let mut status = 0;
    for path in options.required()? {
        match p.fs(|fs, cred| fs.remove_dir(cred, p.path(path).trim_end_matches('/'))) {
            Ok(()) => {}
            Err(Errno::NotEmpty) if options.has('I') => {}
            Err(errno) => {
                p.complain(format!("failed to remove '{path}': {errno}"));
                status = 1;
            }
        }
    }
    Ok(status)
}

/// Makes links.
pub fn ln(p: &Process) -> Exit {
    let long = [("symbolic", 's'), ("force", 'f'), ("no-dereference", 'n'), ("no-target-directory", 'T')];
    let options = Options::parse(p, "sfnTvr", &long)?;
    if options.has('r') {
        return not_simulated("ln -r");
    }
    let (targets, place) = match options.required()? {
        [target] => (std::slice::from_ref(target), ".".to_owned()),
        [targets @ .., place] => (targets, place.clone()),
        [] => return fail("missing file operand"),
    };
    // A link to a directory is the place itself only with -n.
    let is_dir = !options.has('T')
        && p.fs(|fs, cred| fs.stat(cred, &p.path(&place), !options.has('n')).is_ok_and(|inode| inode.is_dir()));
    let kind = if options.has('s') { "symbolic link" } else { "hard link" };
    for target in targets {
        let name = target.trim_end_matches('/').rsplit('/').next().unwrap_or(target);
        let path = if is_dir { format!("{}/{name}", place.trim_end_matches('/')) } else { place.clone() };
        let (full, from) = (p.path(&path), p.path(target));
        let made = p.fs(|fs, cred| {
            if options.has('f') && fs.stat(cred, &full, false).is_ok_and(|inode| !inode.is_dir()) {
                // Made aside and renamed, so that the name is never missing.
                let aside = format!("{full}.{}", random::letters(6));
                match options.has('s') {
                    true => fs.symlink(cred, target, &aside)?,
                    false => fs.link(cred, &from, &aside)?,
                }
                return fs.rename(cred, &aside, &full, crate::sim::host::fs::Rename::Replace);
            }
            match options.has('s') {
                true => fs.symlink(cred, target, &full),
                false => fs.link(cred, &from, &full),
            }
        });
        match made {
            Ok(()) => {}
            Err(Errno::NoEntry) if !options.has('s') => {
                return fail(format!("failed to access '{target}': {}", Errno::NoEntry));
            }
            Err(errno) => return fail(format!("failed to create {kind} '{path}': {errno}")),
        }
    }
    Ok(0)
}

/// Makes files, or sets their time.
pub fn touch(p: &Process) -> Exit {
    let options = Options::parse(p, "amcd:r:t:h", &[("no-create", 'c'), ("date", 'd'), ("reference", 'r')])?;
    if options.has('t') {
        return not_simulated("touch -t");
    }
    let time = match (options.value('d'), options.value('r')) {
        (Some(text), _) => super::clock::parse(text).ok_or_else(|| Stop::NotSimulated(format!("touch -d '{text}'")))?,
        (None, Some(path)) => p
            .fs(|fs, cred| fs.stat(cred, &p.path(path), true).map(|inode| inode.mtime))
            .map_err(|errno| Stop::Fail(1, format!("failed to get attributes of '{path}': {errno}")))?,
        (None, None) => now(),
    };
    let mut status = 0;
    for path in options.required()? {
        let full = p.path(path);
        let touched = p.fs(|fs, cred| match fs.find(cred, &full, true) {
            Ok(ino) => fs.set_time(cred, ino, time),
            Err(Errno::NoEntry) if options.has('c') => Ok(()),
            Err(Errno::NoEntry) => {
                let access = Access { truncate: false, ..Access::WRITE };
                let (ino, _open) = fs.open(cred, &full, access, 0o666 & !p.umask)?;
                if time == now() { Ok(()) } else { fs.set_time(cred, ino, time) }
            }
            Err(errno) => Err(errno),
        });
        if let Err(errno) = touched {
            p.complain(format!("cannot touch '{path}': {errno}"));
            status = 1;
        }
    }
    Ok(status)
}

/// Sets the size of files.
pub fn truncate(p: &Process) -> Exit {
    let options = Options::parse(p, "s:c", &[("size", 's'), ("no-create", 'c')])?;
    let Some(text) = options.value('s') else { return fail("you must specify either '--size' or '--reference'") };
    let (relative, digits) = match text.chars().next() {
        Some('+') => (1, &text[1..]),
        Some('-') => (-1, &text[1..]),
        _ => (0, text),
    };
    let Some(amount) = super::copy::bytes(digits) else { return fail(format!("Invalid number: '{text}'")) };
    for path in options.required()? {
        let access = Access { truncate: false, create: !options.has('c'), ..Access::WRITE };
        let result = p.fs(|fs, cred| {
            let (ino, _open) = fs.open(cred, &p.path(path), access, 0o666 & !p.umask)?;
            let now = fs.inode(ino)?.size();
            let size = match relative {
                0 => amount,
                1 => now + amount,
                _ => now.saturating_sub(amount),
            };
            fs.truncate(ino, size)
        });
        match result {
            Ok(()) => {}
            Err(Errno::NoEntry) if options.has('c') => {}
            Err(errno) => return fail(format!("cannot open '{path}' for writing: {errno}")),
        }
    }
    Ok(0)
}
