//! chmod, chown, chgrp.

use super::Options;
use super::find::walk;
use crate::sim::host::process::{Exit, Process, Stop, fail};

/// The mode that a text makes of `old`: octal, or symbolic as in `u+rwX,go-w`.
pub fn parse_mode(text: &str, old: u32, is_dir: bool, umask: u32) -> Result<u32, Stop> {
    let invalid = || Stop::Fail(1, format!("invalid mode: '{text}'"));
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(invalid)?;
        // As GNU's: set-id bits of a directory are only taken away by five digits or more.
        return Ok(if is_dir && text.len() < 5 { mode | old & 0o6000 } else { mode });
    }
    let mut mode = old;
    for clause in text.split(',') {
        let start = clause.find(['+', '-', '=']).ok_or_else(invalid)?;
        let (who, mut rest) = clause.split_at(start);
        let (mask, limit) = match who {
            "" => (0o7777, !umask),
            _ => (who.chars().try_fold(0, |mask, who| class(who).map(|bits| mask | bits)).ok_or_else(invalid)?, !0),
        };
        while let Some(operator) = rest.chars().next() {
            let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
            let bits = permissions(&rest[1..end], mode, is_dir).ok_or_else(invalid)? & mask & limit;
            mode = match operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                // Set-id and sticky bits of a directory stay unless they are named.
                _ => (mode & !(mask & if is_dir { 0o777 } else { 0o7777 })) | bits,
            };
            rest = &rest[end..];
        }
    }
    Ok(mode)
}

fn class(who: char) -> Option<u32> {
    Some(match who {
        'u' => 0o4700,
        'g' => 0o2070,
        'o' => 0o1007,
        'a' => 0o7777,
        _ => return None,
    })
}

fn permissions(letters: &str, mode: u32, is_dir: bool) -> Option<u32> {
    letters.chars().try_fold(0, |bits, letter| {
        Some(
            bits | match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || mode & 0o111 != 0 => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                'u' => (mode >> 6 & 7) * 0o111,
                'g' => (mode >> 3 & 7) * 0o111,
                'o' => (mode & 7) * 0o111,
                _ => return None,
            },
        )
    })
}

/// The files that are meant, with everything below them under `-R`.
fn all(p: &Process, options: &Options, operands: &[String]) -> Vec<String> {
    operands.iter().flat_map(|path| if options.has('R') { walk(p, path) } else { vec![path.clone()] }).collect()
}

/// Sets modes.
pub fn chmod(p: &Process) -> Exit {
    // A mode like `-w` looks like an option; it is moved behind `--`.
    let mut p = p.clone();
    if p.args
        .get(1)
        .is_some_and(|first| first.starts_with('-') && first[1..].chars().next().is_some_and(|c| "rwxXst".contains(c)))
    {
        p.args.insert(1, "--".to_owned());
    }
    let options = Options::parse(&p, "R", &[("recursive", 'R')])?;
    let [mode, files @ ..] = options.operands.as_slice() else { return fail("missing operand") };
    if files.is_empty() {
        return fail(format!("missing operand after '{mode}'"));
    }
    let mut status = 0;
    for path in all(&p, &options, files) {
        let full = p.path(&path);
        let entry = p.fs(|fs, cred| {
            fs.find(cred, &full, true).and_then(|ino| fs.inode(ino).map(|inode| (ino, inode.mode, inode.is_dir())))
        });
        let (ino, old, is_dir) = match entry {
            Ok(entry) => entry,
            Err(errno) => {
                p.complain(format!("cannot access '{path}': {errno}"));
                status = 1;
                continue;
            }
        };
        let new = parse_mode(mode, old, is_dir, p.umask)?;
        if let Err(errno) = p.fs(|fs, cred| fs.set_mode(cred, ino, new)) {
            p.complain(format!("changing permissions of '{path}': {errno}"));
            status = 1;
        }
    }
    Ok(status)
}

/// Sets owners.
pub fn chown(p: &Process) -> Exit {
    change_owner(p, |spec| spec.split_once([':', '.']).map_or((spec, None), |(user, group)| (user, Some(group))))
}

/// Sets groups.
pub fn chgrp(p: &Process) -> Exit {
    change_owner(p, |spec| ("", Some(spec)))
}

fn change_owner(p: &Process, split: impl Fn(&str) -> (&str, Option<&str>)) -> Exit {
    let options = Options::parse(p, "Rh", &[("recursive", 'R'), ("no-dereference", 'h')])?;
    let [spec, files @ ..] = options.operands.as_slice() else { return fail("missing operand") };
    let (user, group) = split(spec);
    let (uid, gid) = owner(p, user, group.unwrap_or(""), spec)?;
    // `user:` means the user's own group.
    let gid = match group {
        Some("") if uid.is_some() => p.session.with(|machine| machine.user(user).map(|user| user.gid)),
        _ => gid,
    };
    let mut status = 0;
    for path in all(p, &options, files) {
        let full = p.path(&path);
        let changed = p.fs(|fs, cred| {
            let ino = fs.find(cred, &full, !options.has('h'))?;
            fs.set_owner(cred, ino, uid, gid)
        });
        if let Err(errno) = changed {
            let what = if p.name() == "chgrp" { "group" } else { "ownership" };
            let found = p.fs(|fs, cred| fs.find(cred, &full, !options.has('h'))).is_ok();
            p.complain(if found {
                format!("changing {what} of '{path}': {errno}")
            } else {
                format!("cannot access '{path}': {errno}")
            });
            status = 1;
        }
    }
    Ok(status)
}

/// The ids of a user and a group; an empty name is none.
pub fn owner(p: &Process, user: &str, group: &str, spec: &str) -> Result<(Option<u32>, Option<u32>), Stop> {
    let (uid, gid) = p.session.with(|machine| {
        let uid = Some(user).filter(|name| !name.is_empty()).map(|name| machine.uid_of(name));
        let gid = Some(group).filter(|name| !name.is_empty()).map(|name| machine.gid_of(name));
        (uid, gid)
    });
    if uid == Some(None) {
        return fail(format!("invalid user: '{spec}'"));
    }
    if gid == Some(None) {
        return fail(format!("invalid group: '{spec}'"));
    }
    Ok((uid.flatten(), gid.flatten()))
}
