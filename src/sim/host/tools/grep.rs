//! grep.

use regex::bytes::Regex;

use super::Options;
use super::find::walk;
use super::pattern::{Notation, compile};
use crate::sim::host::fs::Errno;
use crate::sim::host::process::{Exit, Process, Stop};

struct Search {
    patterns: Vec<Regex>,
    whole_line: bool,
    whole_word: bool,
    inverted: bool,
}

impl Search {
    fn matches(&self, line: &[u8]) -> bool {
        self.find(line).is_some() != self.inverted
    }

    fn find(&self, line: &[u8]) -> Option<(usize, usize)> {
        let fits = |(from, to): &(usize, usize)| {
            let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            let before = from.checked_sub(1).and_then(|at| line.get(at));
            (!self.whole_line || (*from == 0 && *to == line.len()))
                && (!self.whole_word || (!word(before) && !word(line.get(*to))))
        };
        let all = self.patterns.iter().flat_map(|regex| regex.find_iter(line));
        all.map(|found| (found.start(), found.end()))
            .filter(fits)
            .min_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)))
    }
}

/// Prints lines that match.
pub fn grep(p: &Process) -> Exit {
    let long = [
        ("quiet", 'q'),
        ("silent", 'q'),
        ("fixed-strings", 'F'),
        ("extended-regexp", 'E'),
        ("count", 'c'),
        ("line-regexp", 'x'),
        ("word-regexp", 'w'),
        ("invert-match", 'v'),
        ("line-number", 'n'),
        ("ignore-case", 'i'),
        ("only-matching", 'o'),
        ("files-with-matches", 'l'),
        ("no-messages", 's'),
        ("no-filename", 'h'),
        ("with-filename", 'H'),
        ("regexp", 'e'),
        ("file", 'f'),
        ("max-count", 'm'),
        ("recursive", 'r'),
        ("text", 'a'),
    ];
    let mut options = Options::parse(p, "qFEGcxwvnioLlshHe:f:m:rRa", &long).map_err(|stop| match stop {
        Stop::Fail(_, message) => Stop::Fail(2, message),
        other => other,
    })?;
    let search = search(p, &mut options)?;
    let files = inputs(p, &options);
    let titles = !options.has('h') && (options.has('H') || files.len() > 1 || options.has('r') || options.has('R'));
    let most = options.value('m').and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let (mut found, mut trouble) = (false, false);
    for path in &files {
        let bytes = match p.input(path) {
            Ok(bytes) => bytes,
            Err(errno @ (Errno::BrokenPipe | Errno::Interrupted)) => return Err(errno.into()),
            Err(errno) => {
                trouble = true;
                if !options.has('s') {
                    p.complain(format!("{path}: {errno}"));
                }
                continue;
            }
        };
        let title = if path == "-" { "(standard input)" } else { path };
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        if lines.last().is_some_and(|last| last.is_empty()) {
            lines.pop();
        }
        let hits: Vec<(usize, &[u8])> = (1..).zip(lines).filter(|(_, line)| search.matches(line)).take(most).collect();
        found |= !hits.is_empty();
        if options.has('q') {
            if found {
                return Ok(0);
            }
            continue;
        }
        let prefix = if titles { format!("{title}:") } else { String::new() };
        match () {
            () if options.has('l') && !hits.is_empty() => p.line(title)?,
            () if options.has('L') && hits.is_empty() => p.line(title)?,
            () if options.has('l') || options.has('L') => {}
            () if options.has('c') => p.line(format!("{prefix}{}", hits.len()))?,
            () => print(p, &options, &search, &prefix, &hits)?,
        }
    }
    Ok(if trouble && !(found && options.has('q')) { 2 } else { i32::from(!found) })
}

fn search(p: &Process, options: &mut Options) -> Result<Search, Stop> {
    let mut texts: Vec<String> = options.values('e').into_iter().map(str::to_owned).collect();
    for path in options.values('f') {
        let bytes = p.input(path).map_err(|errno| Stop::Fail(2, format!("{path}: {errno}")))?;
        texts.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    if texts.is_empty() && !options.has('f') {
        if options.operands.is_empty() {
            return Err(Stop::Fail(2, "Usage: grep [OPTION]... PATTERNS [FILE]...".to_owned()));
        }
        texts.extend(options.operands.remove(0).split('\n').map(str::to_owned));
    }
    let notation = match options.last_of("FEG") {
        Some('F') => Notation::Fixed,
        Some('E') => Notation::Extended,
        _ => Notation::Basic,
    };
    let (whole_line, inverted) = (options.has('x'), options.has('v'));
    let compile_one = |text: &String| {
        let regex = compile(text, notation, options.has('i'))?;
        // The leftmost match of an alternation need not be the whole line: anchor it.
        match whole_line {
            true => Regex::new(&format!("^(?:{})$", regex.as_str())).map_err(|_| Stop::Exit(2)),
            false => Ok(regex),
        }
    };
    let mut patterns = texts.iter().map(compile_one).collect::<Result<Vec<_>, Stop>>()?;
    if whole_line && options.has('i') {
        patterns = patterns.iter().filter_map(|regex| Regex::new(&format!("(?i){}", regex.as_str())).ok()).collect();
    }
    Ok(Search { patterns, whole_line, whole_word: options.has('w'), inverted })
}

fn inputs(p: &Process, options: &Options) -> Vec<String> {
    let recursive = options.has('r') || options.has('R');
    if !recursive {
        return options.inputs();
    }
    let roots = if options.operands.is_empty() { vec![".".to_owned()] } else { options.operands.clone() };
    let all = roots.iter().flat_map(|root| walk(p, root));
    all.filter(|path| p.fs(|fs, cred| fs.stat(cred, &p.path(path), false).is_ok_and(|inode| inode.is_file()))).collect()
}

fn print(p: &Process, options: &Options, search: &Search, prefix: &str, hits: &[(usize, &[u8])]) -> Result<(), Stop> {
    let mut out = Vec::new();
    for (number, line) in hits {
        let mut start = prefix.to_owned();
        if options.has('n') {
            start.push_str(&format!("{number}:"));
        }
        if !options.has('o') {
            out.extend([start.as_bytes(), line, b"\n"].concat());
            continue;
        }
        let mut rest = *line;
        while let Some((from, to)) = search.find(rest).filter(|(from, to)| from < to) {
            out.extend([start.as_bytes(), &rest[from..to], b"\n"].concat());
            rest = &rest[to..];
        }
    }
    Ok(p.out(out)?)
}
