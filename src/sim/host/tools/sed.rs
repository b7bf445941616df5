//! sed: the commands s, y, d, p, q, =, a, i, c, n, N and blocks, with addresses. Others are refused.

use regex::bytes::Regex;

use super::Options;
use super::pattern::Notation;
use super::sed_script::{Action, Address, Command, Piece, parse};
use crate::sim::host::fs::Access;
use crate::sim::host::memory;
use crate::sim::host::process::{Exit, Process, Stop};

/// Edits a stream of lines.
pub fn sed(p: &Process) -> Exit {
    let long = [("quiet", 'n'), ("silent", 'n'), ("expression", 'e'), ("regexp-extended", 'E')];
    // `-i` takes its value only when it is attached; a backup suffix is not simulated.
    let mut p = p.clone();
    let mut in_place = false;
    p.args.retain(|argument| {
        let hit = argument == "-i" || argument == "--in-place";
        in_place |= hit;
        !hit
    });
    for argument in p.args.iter_mut().skip(1).filter(|argument| argument.starts_with('-')) {
        if let Some(rest) = argument.strip_suffix('i').filter(|rest| rest.chars().skip(1).all(|c| "nEr".contains(c))) {
            in_place = true;
            *argument = rest.to_owned();
        }
    }
    p.args.retain(|argument| argument != "-");
    let mut options = Options::parse(&p, "ne:Er", &long)?;
    let mut script = options.values('e').join("\n");
    if script.is_empty() {
        if options.operands.is_empty() {
            return Err(Stop::Fail(1, "no script specified".to_owned()));
        }
        script = options.operands.remove(0);
    }
    let notation = if options.has('E') || options.has('r') { Notation::Extended } else { Notation::Basic };
    let commands = parse(&script, notation)?;
    if !in_place {
        let (all, status) = super::text::contents(&p, &options)?;
        let text: Vec<u8> = all.into_iter().flat_map(|(_, bytes)| bytes).collect();
        p.out(edit(&p, &text, &mut commands.clone(), options.has('n'))?)?;
        return Ok(if status == 0 { 0 } else { 2 });
    }
    for path in &options.operands {
        let text = p.input(path).map_err(|errno| Stop::Fail(4, format!("can't read {path}: {errno}")))?;
        let edited = edit(&p, &text, &mut commands.clone(), options.has('n'))?;
        replace(&p, path, &edited)?;
    }
    Ok(0)
}

/// Puts a new file in the place of the old one, with its mode and owner, as `sed -i` does.
fn replace(p: &Process, path: &str, content: &[u8]) -> Result<(), Stop> {
    let target = p.path(path);
    let temporary =
        format!("{}/sed{}", target.rsplit_once('/').map_or("", |(dir, _)| dir), crate::sim::host::random::letters(6));
    let trouble = |errno| Stop::Fail(4, format!("couldn't open temporary file {temporary}: {errno}"));
    p.open(&temporary, Access::FRESH).map_err(trouble)?.write(content, &p.session)?;
    p.fs(|fs, cred| {
        let (mode, uid, gid) = fs.stat(cred, &target, true).map(|inode| (inode.mode, inode.uid, inode.gid))?;
        let ino = fs.find(cred, &temporary, false)?;
        fs.set_mode(cred, ino, mode)?;
        if cred.is_root() {
            fs.set_owner(cred, ino, Some(uid), Some(gid))?;
        }
        fs.rename(cred, &temporary, &target, crate::sim::host::fs::Rename::Replace)
    })?;
    Ok(())
}

/// What a cycle does after its commands.
#[derive(PartialEq)]
enum End {
    Print,
    Delete,
    Quit,
    /// There is no memory for what it wants.
    Exhausted,
}

/// Runs the commands on every line and returns the output.
fn edit(p: &Process, text: &[u8], commands: &mut [Command], quiet: bool) -> Result<Vec<u8>, Stop> {
    let complete = text.last().is_none_or(|last| *last == b'\n');
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if complete {
        lines.pop();
    }
    let mut out = Vec::new();
    let total = lines.len();
    for (index, line) in lines.iter().enumerate() {
        let mut cycle = Cycle {
            space: line.to_vec(),
            number: index + 1,
            last: index + 1 == total,
            out: &mut out,
            after: String::new(),
        };
        let end = cycle.run(commands);
        let (space, after) = (cycle.space, cycle.after);
        if end == End::Exhausted || out.len() > memory::INPUT {
            return Err(p.session.exhaust().into());
        }
        if !quiet && end != End::Delete {
            out.extend_from_slice(&space);
            if index + 1 < total || complete {
                out.push(b'\n');
            }
        }
        out.extend_from_slice(after.as_bytes());
        if end == End::Quit {
            return Ok(out);
        }
    }
    Ok(out)
}

struct Cycle<'a> {
    space: Vec<u8>,
    number: usize,
    last: bool,
    out: &'a mut Vec<u8>,
    after: String,
}

impl Cycle<'_> {
    fn run(&mut self, commands: &mut [Command]) -> End {
        for command in commands {
            if self.selects(command) == command.negated {
                continue;
            }
            let ends_range = command.to.is_none() || command.inside.is_none();
            match &mut command.action {
                Action::Delete => return End::Delete,
                Action::Quit => return End::Quit,
                Action::Print => self.print(),
                Action::Number => self.out.extend(format!("{}\n", self.number).bytes()),
                Action::Append(text) => self.after.push_str(&format!("{text}\n")),
                Action::Insert(text) => self.out.extend(format!("{text}\n").bytes()),
                Action::Change(text) => {
                    if ends_range {
                        self.out.extend(format!("{text}\n").bytes());
                    }
                    return End::Delete;
                }
                Action::Translate(from, to) => {
                    let text = String::from_utf8_lossy(&self.space).into_owned();
                    let put = |next: char| from.iter().position(|one| *one == next).map_or(next, |at| to[at]);
                    self.space = text.chars().map(put).collect::<String>().into_bytes();
                }
                Action::Block(inner) => match self.run(inner) {
                    End::Print => {}
                    end => return end,
                },
                Action::Substitute { find, put, nth, all, print } => {
                    match substitute(&mut self.space, find, put, *nth, *all) {
                        None => return End::Exhausted,
                        Some(true) if *print => self.print(),
                        Some(_) => {}
                    }
                }
            }
        }
        End::Print
    }

    fn print(&mut self) {
        self.out.extend_from_slice(&self.space);
        self.out.push(b'\n');
    }

    fn is_at(&self, address: &Address) -> bool {
        match address {
            Address::Line(number) => self.number == *number,
            Address::Last => self.last,
            Address::Match(regex) => regex.is_match(&self.space),
        }
    }

    fn selects(&self, command: &mut Command) -> bool {
        let Some(from) = &command.from else { return true };
        let Some(to) = &command.to else { return self.is_at(from) };
        if command.inside.is_some() {
            let over = match to {
                Address::Line(number) => self.number >= *number,
                other => self.is_at(other),
            };
            if over {
                command.inside = None;
            }
            // A range whose last line is already behind selects only its first.
            return !matches!(to, Address::Line(number) if self.number > *number);
        }
        let starts = self.is_at(from);
        let single = matches!(to, Address::Line(number) if *number <= self.number) || (self.last && starts);
        if starts && !single {
            command.inside = Some(self.number);
        }
        starts
    }
}

/// Replaces what matches; `None` when that would be too much.
fn substitute(space: &mut Vec<u8>, find: &Regex, put: &[Piece], nth: usize, all: bool) -> Option<bool> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut changed = false;
    for (index, captures) in (1..).zip(find.captures_iter(space)) {
        // Group 0 is the whole match and always there.
        let Some(whole) = captures.get(0) else { continue };
        if index < nth || (index > nth && !all) {
            continue;
        }
        out.extend_from_slice(&space[from..whole.start()]);
        for piece in put {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Group(number) => {
                    out.extend_from_slice(captures.get(*number).map_or(b"", |group| group.as_bytes()))
                }
            }
        }
        if out.len() > memory::OUTPUT {
            return None;
        }
        from = whole.end();
        changed = true;
    }
    out.extend_from_slice(&space[from..]);
    *space = out;
    Some(changed)
}
