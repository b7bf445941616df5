//! find: tests and actions of the simple kind, joined by "and".

use super::clock;
use crate::sim::host::exec;
use crate::sim::host::fs::{Inode, Kind, now};
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};
use crate::sim::host::shell::{matches, unquoted};

/// A path and everything below it, directories before their content.
pub fn walk(p: &Process, root: &str) -> Vec<String> {
    let mut all = vec![root.to_owned()];
    let full = p.path(root);
    let inner = p.fs(|fs, cred| match fs.stat(cred, &full, false) {
        Ok(inode) if inode.is_dir() => fs.list(cred, &full),
        _ => Ok(Vec::new()),
    });
    match inner {
        Ok(names) => {
            let base = root.trim_end_matches('/');
            all.extend(names.iter().flat_map(|name| walk(p, &format!("{base}/{name}"))));
        }
        Err(errno) => p.complain(format!("'{root}': {errno}")),
    }
    all
}

enum Test {
    Name(String),
    Path(String),
    Type(String),
    Size(bool, u64),
    Empty,
    User(u32),
    Newer(i64),
    /// Last changed within so many seconds.
    Within(i64),
    Perm(u32),
    Not(Box<Test>),
}

enum Action {
    Print(String),
    Format(String),
    Delete,
    Exec(Vec<String>),
}

/// Finds files.
pub fn find(p: &Process) -> Exit {
    let arguments = p.operands();
    let split = arguments.iter().position(|argument| argument.starts_with(['-', '!', '('])).unwrap_or(arguments.len());
    let (roots, expression) = arguments.split_at(split);
    let roots = if roots.is_empty() { vec![".".to_owned()] } else { roots.to_vec() };
    let (mut tests, mut actions) = (Vec::new(), Vec::new());
    let (mut least, mut most) = (0, usize::MAX);
    let mut rest = expression.iter();
    while let Some(word) = rest.next() {
        let (negated, word) = match word.as_str() {
            "!" | "-not" => {
                (true, rest.next().ok_or_else(|| Stop::Fail(1, "expected an expression after '!'".to_owned()))?)
            }
            _ => (false, word),
        };
        let mut value = || rest.next().cloned().ok_or_else(|| Stop::Fail(1, format!("missing argument to `{word}'")));
        let test = match word.as_str() {
            "-and" | "-a" | "-xdev" | "-mount" => continue,
            "-maxdepth" => {
                most = value()?.parse().unwrap_or(usize::MAX);
                continue;
            }
            "-mindepth" => {
                least = value()?.parse().unwrap_or(0);
                continue;
            }
            "-print" => {
                actions.push(Action::Print("\n".to_owned()));
                continue;
            }
            "-print0" => {
                actions.push(Action::Print("\0".to_owned()));
                continue;
            }
            "-printf" => {
                actions.push(Action::Format(value()?));
                continue;
            }
            "-delete" => {
                actions.push(Action::Delete);
                continue;
            }
            "-exec" => {
                let mut command = Vec::new();
                loop {
                    match value()?.as_str() {
                        ";" => break,
                        "+" => return not_simulated("find -exec … +"),
                        word => command.push(word.to_owned()),
                    }
                }
                actions.push(Action::Exec(command));
                continue;
            }
            "-name" => Test::Name(value()?),
            "-path" => Test::Path(value()?),
            "-type" => Test::Type(value()?),
            "-empty" => Test::Empty,
            "-perm" => Test::Perm(u32::from_str_radix(&value()?, 8).or_else(|_| not_simulated("find -perm"))?),
            "-size" => size(&value()?)?,
            "-user" => {
                let name = value()?;
                let uid = p.session.with(|machine| machine.uid_of(&name));
                Test::User(uid.ok_or_else(|| Stop::Fail(1, format!("'{name}' is not the name of a known user")))?)
            }
            "-newer" => {
                let path = value()?;
                let time = p.fs(|fs, cred| fs.stat(cred, &p.path(&path), true).map(|inode| inode.mtime));
                Test::Newer(time.map_err(|errno| Stop::Fail(1, format!("'{path}': {errno}")))?)
            }
            "-mmin" => match value()?.strip_prefix('-').and_then(|minutes| minutes.parse::<i64>().ok()) {
                Some(minutes) => Test::Within(minutes * 60),
                None => return not_simulated("find -mmin other than -N"),
            },
            other => return not_simulated(format!("find {other}")),
        };
        tests.push(if negated { Test::Not(Box::new(test)) } else { test });
    }
    if actions.is_empty() {
        actions.push(Action::Print("\n".to_owned()));
    }
    let deletes = actions.iter().any(|action| matches!(action, Action::Delete));
    let mut status = 0;
    for root in &roots {
        if let Err(errno) = p.fs(|fs, cred| fs.find(cred, &p.path(root), false)) {
            p.complain(format!("'{root}': {errno}"));
            status = 1;
            continue;
        }
        let mut paths = walk(p, root);
        if deletes {
            // Content first, as -delete implies -depth.
            paths.reverse();
        }
        for path in paths {
            let depth = path[root.trim_end_matches('/').len()..].matches('/').count();
            let Ok(inode) = p.fs(|fs, cred| fs.stat(cred, &p.path(&path), false).cloned()) else { continue };
            if depth < least || depth > most || !tests.iter().all(|test| holds(test, &path, &inode)) {
                continue;
            }
            for action in &actions {
                if !act(p, action, root, &path, depth, &inode)? {
                    break;
                }
            }
        }
    }
    Ok(status)
}

fn size(text: &str) -> Result<Test, Stop> {
    let (larger, digits) = match text.strip_prefix('+') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    match digits.strip_suffix('c').and_then(|digits| digits.parse().ok()) {
        Some(bytes) => Ok(Test::Size(larger, bytes)),
        None => not_simulated(format!("find -size {text}")),
    }
}

fn holds(test: &Test, path: &str, inode: &Inode) -> bool {
    let glob = |pattern: &str, text: &str| matches(&unquoted(pattern), &text.chars().collect::<Vec<_>>());
    match test {
        Test::Name(pattern) => glob(pattern, path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)),
        Test::Path(pattern) => glob(pattern, path),
        Test::Type(kinds) => kinds.split(',').any(|kind| kind == letter(inode)),
        Test::Size(true, bytes) => inode.size() > *bytes,
        Test::Size(false, bytes) => inode.size() == *bytes,
        Test::Empty => match &inode.kind {
            Kind::File(bytes) => bytes.0.is_empty(),
            Kind::Dir { entries, .. } => entries.is_empty(),
            _ => false,
        },
        Test::User(uid) => inode.uid == *uid,
        Test::Newer(time) => inode.mtime > *time,
        Test::Within(seconds) => now() - inode.mtime < *seconds,
        Test::Perm(mode) => inode.mode == *mode,
        Test::Not(inner) => !holds(inner, path, inode),
    }
}

fn letter(inode: &Inode) -> &'static str {
    match &inode.kind {
        Kind::File(_) | Kind::Computed(_) => "f",
        Kind::Dir { .. } => "d",
        Kind::Link(_) => "l",
        Kind::Device(crate::sim::host::fs::Device::Inert) => "b",
        Kind::Device(_) => "c",
    }
}

fn act(p: &Process, action: &Action, root: &str, path: &str, depth: usize, inode: &Inode) -> Result<bool, Stop> {
    match action {
        Action::Print(end) => p.out(format!("{path}{end}"))?,
        Action::Format(format) => p.out(render(p, format, root, path, depth, inode)?)?,
        Action::Delete => {
            let full = p.path(path);
            let removed =
                p.fs(|fs, cred| if inode.is_dir() { fs.remove_dir(cred, &full) } else { fs.unlink(cred, &full) });
            if let Err(errno) = removed {
                return fail(format!("cannot delete '{path}': {errno}"));
            }
        }
        Action::Exec(command) => {
            let mut child = p.clone();
            child.args = command.iter().map(|word| word.replace("{}", path)).collect();
            child.depth += 1;
            return Ok(exec::run(child) == 0);
        }
    }
    Ok(true)
}

fn render(p: &Process, format: &str, root: &str, path: &str, depth: usize, inode: &Inode) -> Result<Vec<u8>, Stop> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(next) = chars.next() {
        if next != '%' {
            out.push(next);
            continue;
        }
        let below = || path[root.len().min(path.len())..].trim_start_matches('/').to_owned();
        let value = match chars.next() {
            Some('p') => path.to_owned(),
            Some('P') => below(),
            Some('f') => path.rsplit('/').next().unwrap_or(path).to_owned(),
            Some('h') => path.rsplit_once('/').map_or(".", |(dir, _)| dir).to_owned(),
            Some('s') => inode.size().to_string(),
            Some('m') => format!("{:o}", inode.mode),
            Some('M') => inode.mode_text(),
            Some('u') => p.session.with(|machine| machine.user_name(inode.uid)),
            Some('g') => p.session.with(|machine| machine.group_name(inode.gid)),
            Some('U') => inode.uid.to_string(),
            Some('G') => inode.gid.to_string(),
            Some('y') => letter(inode).to_owned(),
            Some('d') => depth.to_string(),
            Some('l') => p.fs(|fs, cred| fs.read_link(cred, &p.path(path))).unwrap_or_default(),
            Some('T') => match chars.next() {
                Some('@') => format!("{}.0000000000", inode.mtime),
                Some(other) => clock::format(inode.mtime, &format!("%{other}")),
                None => String::new(),
            },
            Some('%') => "%".to_owned(),
            other => return not_simulated(format!("find -printf %{}", other.unwrap_or(' '))),
        };
        out.push_str(&value);
    }
    Ok(super::unescape(&out, false).0)
}
