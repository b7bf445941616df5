//! Shell patterns: matching text, and finding the files that match.

use crate::sim::host::fs::join;
use crate::sim::host::process::Process;

/// A character and whether it was quoted, in which case it stands for itself.
pub type Char = (char, bool);

/// A text of which every character is special where it can be.
pub fn unquoted(text: &str) -> Vec<Char> {
    text.chars().map(|next| (next, false)).collect()
}

/// Whether there is anything special in it.
pub fn is_pattern(pattern: &[Char]) -> bool {
    pattern.iter().any(|(next, quoted)| !quoted && matches!(next, '*' | '?' | '['))
}

/// Whether the whole text matches.
pub fn matches(pattern: &[Char], text: &[char]) -> bool {
    match pattern.first() {
        None => text.is_empty(),
        Some(('*', false)) => {
            let rest = &pattern[1..];
            if rest.is_empty() {
                return true;
            }
            (0..=text.len()).any(|skip| matches(rest, &text[skip..]))
        }
        Some(('?', false)) => !text.is_empty() && matches(&pattern[1..], &text[1..]),
        Some(('[', false)) => match bracket(pattern, text.first().copied()) {
            Some((matched, length)) => matched && matches(&pattern[length..], &text[1..]),
            None => text.first() == Some(&'[') && matches(&pattern[1..], &text[1..]),
        },
        Some(('\\', false)) if pattern.len() > 1 => {
            text.first() == Some(&pattern[1].0) && matches(&pattern[2..], &text[1..])
        }
        Some((next, _)) => text.first() == Some(next) && matches(&pattern[1..], &text[1..]),
    }
}

/// A bracket expression at the start of `pattern`: whether `next` is in it, and how long it is. `None` when it
/// never closes.
fn bracket(pattern: &[Char], next: Option<char>) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(('!' | '^', false)));
    at += usize::from(negated);
    let (mut found, mut first) = (false, true);
    loop {
        let (low, quoted) = *pattern.get(at)?;
        if low == ']' && !quoted && !first {
            break;
        }
        first = false;
        if low == '[' && pattern.get(at + 1).is_some_and(|follow| follow.0 == ':') {
            let name: String = pattern[at + 2..].iter().map(|one| one.0).take_while(|one| *one != ':').collect();
            at += name.chars().count() + 4;
            found |= next.is_some_and(|next| in_class(&name, next));
            continue;
        }
        let range = pattern.get(at + 1).is_some_and(|dash| *dash == ('-', false));
        match pattern.get(at + 2).filter(|high| range && (high.0 != ']' || high.1)) {
            Some((high, _)) => {
                found |= next.is_some_and(|next| (low..=*high).contains(&next));
                at += 3;
            }
            None => {
                found |= next == Some(low);
                at += 1;
            }
        }
    }
    Some((next.is_some() && found != negated, at + 1))
}

/// Whether a character is in a POSIX class.
pub fn in_class(name: &str, next: char) -> bool {
    match name {
        "alpha" => next.is_ascii_alphabetic(),
        "digit" => next.is_ascii_digit(),
        "alnum" => next.is_ascii_alphanumeric(),
        "upper" => next.is_ascii_uppercase(),
        "lower" => next.is_ascii_lowercase(),
        "space" => next.is_ascii_whitespace() || next == '\x0b',
        "blank" => matches!(next, ' ' | '\t'),
        "punct" => next.is_ascii_punctuation(),
        "xdigit" => next.is_ascii_hexdigit(),
        "cntrl" => next.is_ascii_control(),
        "print" => !next.is_ascii_control(),
        "graph" => next.is_ascii_graphic(),
        _ => false,
    }
}

/// The files that match, sorted; empty when none does.
pub fn files(process: &Process, pattern: &[Char]) -> Vec<String> {
    let absolute = pattern.first().is_some_and(|first| first.0 == '/');
    let mut found = vec![if absolute { "/".to_owned() } else { String::new() }];
    for part in pattern.split(|next| next.0 == '/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|base| step(process, base, part)).collect();
    }
    found
}

/// The paths one component further down.
fn step(process: &Process, base: &str, part: &[Char]) -> Vec<String> {
    let extend = |name: &str| if base.is_empty() { name.to_owned() } else { join(base, name) };
    let here = if base.is_empty() { process.cwd.clone() } else { process.path(base) };
    if !is_pattern(part) {
        let path = extend(&part.iter().map(|next| next.0).collect::<String>());
        let there = process.fs(|fs, cred| fs.find(cred, &process.path(&path), false).is_ok());
        return if there { vec![path] } else { Vec::new() };
    }
    let hidden = part[0].0 == '.';
    let names = process.fs(|fs, cred| fs.list(cred, &here)).unwrap_or_default();
    let fits = |name: &String| {
        let text: Vec<char> = name.chars().collect();
        (hidden || !name.starts_with('.')) && matches(part, &text)
    };
    names.iter().filter(|name| fits(name)).map(|name| extend(name)).collect()
}
