//! POSIX regular expressions, rewritten for the engine that runs them.

use regex::bytes::{Regex, RegexBuilder};

use crate::sim::host::process::{Stop, not_simulated};

/// Which notation a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `grep -F`
    Fixed,
    /// `grep`, `sed`
    Basic,
    /// `grep -E`, `sed -E`
    Extended,
}

/// Compiles a pattern.
pub fn compile(pattern: &str, notation: Notation, ignore_case: bool) -> Result<Regex, Stop> {
    let text = match notation {
        Notation::Fixed => regex::escape(pattern),
        _ => rewrite(pattern, notation == Notation::Extended)?,
    };
    let built = RegexBuilder::new(&text).case_insensitive(ignore_case).unicode(true).build();
    built.map_err(|_| Stop::Fail(2, format!("Invalid regular expression: {pattern}")))
}

/// Rewrites a basic or extended expression.
pub fn rewrite(pattern: &str, extended: bool) -> Result<String, Stop> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    // At the start of an expression or group, `*` is literal and `^` anchors.
    let mut start = true;
    while at < chars.len() {
        let next = chars[at];
        let follow = chars.get(at + 1).copied();
        at += 1;
        let was_start = std::mem::replace(&mut start, false);
        match next {
            '\\' => {
                at += 1;
                match follow {
                    Some('(' | '|') if !extended => {
                        out.push(follow.unwrap_or('('));
                        start = true;
                    }
                    Some(special @ (')' | '{' | '}' | '+' | '?')) if !extended => out.push(special),
                    Some('<' | '>') => out.push_str("\\b"),
                    Some(class @ ('w' | 'W' | 's' | 'S' | 'b' | 'B')) => out.extend(['\\', class]),
                    Some('n') => out.push_str("\\n"),
                    Some('t') => out.push_str("\\t"),
                    Some('1'..='9') => return not_simulated(format!("back reference in {pattern}")),
                    Some(literal) => out.push_str(&regex::escape(&literal.to_string())),
                    None => return Err(Stop::Fail(2, "Trailing backslash".to_owned())),
                }
            }
            '[' => at = bracket(&chars, at, &mut out)?,
            '*' if was_start => out.push_str("\\*"),
            '^' if extended || was_start => {
                out.push('^');
                start = true;
            }
            '$' if extended || closes(&chars, at) => out.push('$'),
            '(' | '|' if extended => {
                out.push(next);
                start = true;
            }
            ')' | '+' | '?' | '{' | '}' if extended => out.push(next),
            '.' | '*' => out.push(next),
            literal => out.push_str(&regex::escape(&literal.to_string())),
        }
    }
    Ok(out)
}

/// Whether a basic expression, or a group in it, ends here.
fn closes(chars: &[char], at: usize) -> bool {
    matches!(chars[at..], [] | ['\\', ')' | '|', ..])
}

/// Copies a bracket expression; inside, only `]`, `-`, `^` and classes are special in POSIX.
fn bracket(chars: &[char], mut at: usize, out: &mut String) -> Result<usize, Stop> {
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    loop {
        match chars.get(at) {
            None => return Err(Stop::Fail(2, "Unmatched [, [^, [:, [., or [=".to_owned())),
            Some(']') if at > first => {
                out.push(']');
                return Ok(at + 1);
            }
            Some('[') if chars.get(at + 1) == Some(&':') => {
                let length =
                    chars[at..].windows(2).position(|pair| pair == [':', ']']).map_or(chars.len() - at, |end| end + 2);
                out.extend(&chars[at..at + length]);
                at += length;
                continue;
            }
            Some(special @ ('[' | ']' | '\\' | '&' | '~' | '^')) => out.extend(['\\', *special]),
            Some('-') if at == first || chars.get(at + 1) == Some(&']') => out.push_str("\\-"),
            Some(literal) => out.push(*literal),
        }
        at += 1;
    }
}
