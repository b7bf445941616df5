//! sed: the commands s, y, d, p, q, =, a, i, c, n, N and blocks, with addresses. Others are refused.

use regex::bytes::Regex;

use super::Options;
use super::pattern::{Notation, compile};
use crate::sim::host::fs::Access;
use crate::sim::host::process::{Exit, Process, Stop, not_simulated};

#[derive(Debug, Clone)]
enum Address {
    Line(usize),
    Last,
    Match(Regex),
}

#[derive(Debug, Clone)]
enum Action {
    Substitute { find: Regex, put: Vec<Piece>, nth: usize, all: bool, print: bool },
    Translate(Vec<char>, Vec<char>),
    Delete,
    Print,
    Quit,
    Number,
    Append(String),
    Insert(String),
    Change(String),
    Block(Vec<Command>),
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Group(usize),
}

#[derive(Debug, Clone)]
struct Command {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    action: Action,
    /// Within a range: the line it may end at, at the earliest.
    inside: Option<usize>,
}

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
    let mut options = Options::parse(&p, "ne:Ers", &long)?;
    let mut script = options.values('e').join("\n");
    if script.is_empty() {
        if options.operands.is_empty() {
            return Err(Stop::Fail(1, "no script specified".to_owned()));
        }
        script = options.operands.remove(0);
    }
    let notation = if options.has('E') || options.has('r') { Notation::Extended } else { Notation::Basic };
    let mut parser = Parser { chars: script.chars().collect(), at: 0, notation };
    let commands = parser.commands(false)?;
    if !in_place {
        let (all, status) = super::text::contents(&p, &options)?;
        let text: Vec<u8> = all.into_iter().flat_map(|(_, bytes)| bytes).collect();
        p.out(edit(&text, &mut commands.clone(), options.has('n')).0)?;
        return Ok(if status == 0 { 0 } else { 2 });
    }
    for path in &options.operands {
        let text = p.input(path).map_err(|errno| Stop::Fail(4, format!("can't read {path}: {errno}")))?;
        let (edited, _) = edit(&text, &mut commands.clone(), options.has('n'));
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
}

/// Runs the commands on every line. Returns the output and how many lines were read.
fn edit(text: &[u8], commands: &mut [Command], quiet: bool) -> (Vec<u8>, usize) {
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
        if !quiet && end != End::Delete {
            out.extend_from_slice(&space);
            if index + 1 < total || complete {
                out.push(b'\n');
            }
        }
        out.extend_from_slice(after.as_bytes());
        if end == End::Quit {
            return (out, index + 1);
        }
    }
    (out, total)
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
                    if substitute(&mut self.space, find, put, *nth, *all) && *print {
                        self.print();
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

fn substitute(space: &mut Vec<u8>, find: &Regex, put: &[Piece], nth: usize, all: bool) -> bool {
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
        from = whole.end();
        changed = true;
    }
    out.extend_from_slice(&space[from..]);
    *space = out;
    changed
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    notation: Notation,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn wrong(&self, message: &str) -> Stop {
        Stop::Fail(1, format!("-e expression #1, char {}: {message}", self.at))
    }

    fn skip(&mut self, set: &str) {
        while self.peek().is_some_and(|next| set.contains(next)) {
            self.at += 1;
        }
    }

    fn commands(&mut self, inner: bool) -> Result<Vec<Command>, Stop> {
        let mut commands = Vec::new();
        loop {
            self.skip(" \t\n;");
            match self.peek() {
                None if inner => return Err(self.wrong("unmatched `{'")),
                None => return Ok(commands),
                Some('}') if inner => {
                    self.at += 1;
                    return Ok(commands);
                }
                Some('#') => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.at += 1;
                    }
                }
                Some(_) => commands.push(self.command()?),
            }
        }
    }

    fn command(&mut self) -> Result<Command, Stop> {
        let from = self.address()?;
        let mut to = None;
        if from.is_some() && self.peek() == Some(',') {
            self.at += 1;
            to = Some(self.address()?.ok_or_else(|| self.wrong("unexpected `,'"))?);
        }
        self.skip(" \t");
        let negated = self.peek() == Some('!');
        if negated {
            self.at += 1;
            self.skip(" \t");
        }
        let name = self.peek().ok_or_else(|| self.wrong("missing command"))?;
        self.at += 1;
        let action = match name {
            's' => self.substitution()?,
            'y' => {
                let (from, to) = (self.delimited_chars()?, self.rest_chars()?);
                if from.len() != to.len() {
                    return Err(self.wrong("strings for `y' command are different lengths"));
                }
                Action::Translate(from, to)
            }
            'd' => Action::Delete,
            'p' => Action::Print,
            'q' => Action::Quit,
            '=' => Action::Number,
            'a' => Action::Append(self.text()),
            'i' => Action::Insert(self.text()),
            'c' => Action::Change(self.text()),
            '{' => Action::Block(self.commands(true)?),
            other => return not_simulated(format!("sed command {other}")),
        };
        self.skip(" \t");
        match (name, self.peek()) {
            ('a' | 'i' | 'c' | '{', _) | (_, None | Some('\n' | ';' | '}' | '#')) => {}
            _ => return Err(self.wrong("extra characters after command")),
        }
        Ok(Command { from, to, negated, action, inside: None })
    }

    fn address(&mut self) -> Result<Option<Address>, Stop> {
        match self.peek() {
            Some('$') => {
                self.at += 1;
                Ok(Some(Address::Last))
            }
            Some(next) if next.is_ascii_digit() => {
                let mut number = 0;
                while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
                    number = number * 10 + digit as usize;
                    self.at += 1;
                }
                Ok(Some(Address::Line(number)))
            }
            Some('/' | '\\') => {
                if self.peek() == Some('\\') {
                    self.at += 1;
                }
                let text = self.delimited()?;
                let ignore_case = self.peek() == Some('I');
                self.at += usize::from(ignore_case);
                Ok(Some(Address::Match(compile(&text, self.notation, ignore_case)?)))
            }
            _ => Ok(None),
        }
    }

    /// The text between the delimiter here and the next one, which is not taken when another part follows.
    fn delimited(&mut self) -> Result<String, Stop> {
        let delimiter = self.peek().ok_or_else(|| self.wrong("unterminated command"))?;
        self.at += 1;
        self.until(delimiter)
    }

    fn until(&mut self, delimiter: char) -> Result<String, Stop> {
        let mut text = String::new();
        let mut bracket = false;
        loop {
            let next = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
            self.at += 1;
            match next {
                '\\' if self.peek() == Some(delimiter) && !"|+?(){}".contains(delimiter) => {
                    text.push(delimiter);
                    self.at += 1;
                }
                '\\' => {
                    text.push('\\');
                    text.extend(self.peek());
                    self.at += 1;
                }
                _ if next == delimiter && !bracket => return Ok(text),
                _ => {
                    bracket = match next {
                        '[' => self.chars[self.at..].contains(&']'),
                        ']' => false,
                        _ => bracket,
                    };
                    text.push(next);
                }
            }
        }
    }

    fn delimited_chars(&mut self) -> Result<Vec<char>, Stop> {
        let text = self.delimited()?;
        self.at -= 1;
        Ok(text.replace("\\n", "\n").chars().collect())
    }

    fn rest_chars(&mut self) -> Result<Vec<char>, Stop> {
        let text = self.delimited()?;
        Ok(text.replace("\\n", "\n").chars().collect())
    }

    fn substitution(&mut self) -> Result<Action, Stop> {
        let delimiter = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
        let pattern = self.delimited()?;
        let put = self.replacement(delimiter)?;
        let (mut all, mut print, mut ignore_case, mut nth) = (false, false, false, 1);
        loop {
            match self.peek() {
                Some('g') => all = true,
                Some('p') => print = true,
                Some('i' | 'I') => ignore_case = true,
                Some(digit) if digit.is_ascii_digit() => nth = digit.to_digit(10).unwrap_or(1) as usize,
                Some(other @ ('e' | 'm' | 'M' | 'w')) => return not_simulated(format!("sed s///{other}")),
                _ => break,
            }
            self.at += 1;
        }
        let find = compile(&pattern, self.notation, ignore_case)?;
        Ok(Action::Substitute { find, put, nth, all, print })
    }

    fn replacement(&mut self, delimiter: char) -> Result<Vec<Piece>, Stop> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        loop {
            let next = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
            self.at += 1;
            let group = match next {
                _ if next == delimiter => break,
                '&' => Some(0),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
                    self.at += 1;
                    match escaped {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        other if other.is_ascii_digit() => {}
                        other => text.push(other),
                    }
                    escaped.to_digit(10).map(|digit| digit as usize)
                }
                other => {
                    text.push(other);
                    None
                }
            };
            if let Some(number) = group {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Group(number));
            }
        }
        pieces.push(Piece::Text(text));
        Ok(pieces)
    }

    /// The text of `a`, `i` and `c`, up to the end of the line; a backslash joins lines.
    fn text(&mut self) -> String {
        self.skip(" \t");
        if self.peek() == Some('\\') {
            self.at += 1;
            self.skip(" \t");
            if self.peek() == Some('\n') {
                self.at += 1;
            }
        }
        let mut text = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            match next {
                '\n' => break,
                '\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
        text
    }
}
