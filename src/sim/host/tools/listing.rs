//! ls, readlink, realpath, basename, dirname.

use super::Options;
use super::clock;
use crate::sim::host::fs::{Errno, Inode, Kind};
use crate::sim::host::process::{Exit, Process, Stop, fail};

/// Lists directories.
pub fn ls(p: &Process) -> Exit {
    let long = [
        ("all", 'a'),
        ("almost-all", 'A'),
        ("directory", 'd'),
        ("reverse", 'r'),
        ("color", '1'),
        ("numeric-uid-gid", 'n'),
    ];
    let options = Options::parse(p, "laA1drtnhFpL", &long)?;
    let mut status = 0;
    let operands = if options.operands.is_empty() { vec![".".to_owned()] } else { options.operands.clone() };
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    for path in operands {
        let full = p.path(&path);
        let entry = p.fs(|fs, cred| {
            // A link to a directory is followed unless its own attributes are asked for.
            let follow = !options.has('l') && !options.has('d') || path.ends_with('/');
            let inode = fs.stat(cred, &full, false)?;
            let inode = if follow { fs.stat(cred, &full, true).unwrap_or(inode) } else { inode };
            Ok::<_, Errno>(inode.clone())
        });
        match entry {
            Ok(inode) if inode.is_dir() && !options.has('d') => dirs.push(path),
            Ok(inode) => files.push((path, inode)),
            Err(errno) => {
                p.complain(format!("cannot access '{path}': {errno}"));
                status = 2;
            }
        }
    }
    let titles = dirs.len() + files.len() > 1;
    let mut gap = !files.is_empty();
    print(p, &options, files)?;
    for dir in dirs {
        let names = match p.fs(|fs, cred| fs.list(cred, &p.path(&dir))) {
            Ok(names) => names,
            Err(errno) => {
                p.complain(format!("cannot open directory '{dir}': {errno}"));
                status = 2;
                continue;
            }
        };
        if titles {
            p.line(format!("{}{dir}:", if gap { "\n" } else { "" }))?;
            gap = true;
        }
        let mut shown: Vec<String> = if options.has('a') { vec![".".to_owned(), "..".to_owned()] } else { Vec::new() };
        shown.extend(names.into_iter().filter(|name| options.has('a') || options.has('A') || !name.starts_with('.')));
        let entries = shown.into_iter().filter_map(|name| {
            let full = format!("{}/{name}", p.path(&dir));
            p.fs(|fs, cred| fs.stat(cred, &full, options.has('L')).cloned()).ok().map(|inode| (name, inode))
        });
        let entries: Vec<(String, Inode)> = entries.collect();
        if options.has('l') {
            let blocks: u64 = entries.iter().map(|(_, inode)| inode.size().div_ceil(4096) * 4).sum();
            p.line(format!("total {blocks}"))?;
        }
        print(p, &options, entries)?;
    }
    Ok(status)
}

fn print(p: &Process, options: &Options, mut entries: Vec<(String, Inode)>) -> Result<(), Stop> {
    if options.has('t') {
        entries.sort_by_key(|(_, inode)| std::cmp::Reverse(inode.mtime));
    }
    if options.has('r') {
        entries.reverse();
    }
    let names: Vec<(String, String)> = p.session.with(|machine| {
        let numeric = options.has('n');
        let name = |inode: &Inode| match numeric {
            true => (inode.uid.to_string(), inode.gid.to_string()),
            false => (machine.user_name(inode.uid), machine.group_name(inode.gid)),
        };
        entries.iter().map(|(_, inode)| name(inode)).collect()
    });
    let width = |of: &dyn Fn(usize) -> usize| (0..entries.len()).map(of).max().unwrap_or(0);
    let links = width(&|at| entries[at].1.links.to_string().len());
    let users = width(&|at| names[at].0.len());
    let groups = width(&|at| names[at].1.len());
    let sizes = width(&|at| entries[at].1.size().to_string().len());
    for ((name, inode), (user, group)) in entries.iter().zip(&names) {
        let mark = match (&inode.kind, options.has('F'), options.has('p')) {
            (Kind::Dir { .. }, true, _) | (Kind::Dir { .. }, _, true) => "/",
            (Kind::Link(_), true, _) if !options.has('l') => "@",
            (Kind::File(_), true, _) if inode.mode & 0o111 != 0 => "*",
            _ => "",
        };
        if !options.has('l') && !options.has('n') {
            p.line(format!("{name}{mark}"))?;
            continue;
        }
        let target = match &inode.kind {
            Kind::Link(target) => format!(" -> {target}"),
            _ => String::new(),
        };
        p.line(format!(
            "{} {:>links$} {user:users$} {group:groups$} {:>sizes$} {} {name}{mark}{target}",
            inode.mode_text(),
            inode.links,
            inode.size(),
            clock::format(inode.mtime, "%b %e %H:%M"),
        ))?;
    }
    Ok(())
}

/// The target of a link, or with `-f`, `-e`, `-m` the real path.
pub fn readlink(p: &Process) -> Exit {
    let options = Options::parse(p, "femnqsz", &[("canonicalize", 'f'), ("canonicalize-existing", 'e')])?;
    let mut status = 0;
    for path in options.required()? {
        let result = match options.last_of("fem") {
            Some(how) => resolve(p, path, how),
            None => p.fs(|fs, cred| fs.read_link(cred, &p.path(path))),
        };
        match result {
            Ok(text) => p.out(if options.has('n') { text } else { format!("{text}\n") })?,
            // Without -v it says nothing.
            Err(_) => status = 1,
        }
    }
    Ok(status)
}

/// The path without links; `f` lets the last component be missing, `e` none, `m` any.
fn resolve(p: &Process, path: &str, how: char) -> Result<String, Errno> {
    let full = p.path(path);
    p.fs(|fs, cred| match fs.locate(cred, full.trim_end_matches('/'), true) {
        Ok(spot) if spot.ino.is_none() && how == 'e' => Err(Errno::NoEntry),
        Ok(spot) => Ok(fs.real_path(&spot)),
        Err(_) if full.chars().all(|next| next == '/') => Ok("/".to_owned()),
        Err(_) if how == 'm' => Ok(full.clone()),
        Err(errno) => Err(errno),
    })
}

/// The real path.
pub fn realpath(p: &Process) -> Exit {
    let options = Options::parse(p, "emqs", &[("canonicalize-existing", 'e'), ("canonicalize-missing", 'm')])?;
    let mut status = 0;
    for path in options.required()? {
        match resolve(p, path, options.last_of("em").unwrap_or('f')) {
            Ok(text) => p.line(text)?,
            Err(errno) => {
                if !options.has('q') {
                    p.complain(format!("{path}: {errno}"));
                }
                status = 1;
            }
        }
    }
    Ok(status)
}

/// The last component of a path.
pub fn basename(p: &Process) -> Exit {
    let options = Options::parse(p, "as:", &[("suffix", 's'), ("multiple", 'a')])?;
    let operands = options.required()?;
    let many = options.has('a') || options.has('s');
    let suffix = options.value('s').or_else(|| operands.get(1).map(String::as_str).filter(|_| !many)).unwrap_or("");
    for path in if many { operands } else { &operands[..1] } {
        let trimmed = path.trim_end_matches('/');
        let name = match trimmed.rsplit('/').next() {
            Some("") | None if path.starts_with('/') => "/",
            Some(name) => name,
            None => "",
        };
        p.line(name.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or(name))?;
    }
    Ok(0)
}

/// A path without its last component.
pub fn dirname(p: &Process) -> Exit {
    if p.operands().is_empty() {
        return fail("missing operand");
    }
    for path in p.operands() {
        let dir = match path.trim_end_matches('/').rsplit_once('/') {
            Some((dir, _)) if dir.trim_end_matches('/').is_empty() => "/",
            Some((dir, _)) => dir.trim_end_matches('/'),
            None if path.starts_with('/') => "/",
            None => ".",
        };
        p.line(dir)?;
    }
    Ok(0)
}
