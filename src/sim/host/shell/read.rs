//! The builtin `read`: one line, taken apart.

use super::Shell;
use super::eval::Eval;
use crate::sim::host::fs::Errno;

/// Runs `read`.
pub fn run(shell: &mut Shell, arguments: &[String]) -> Eval {
    let mut names = arguments[1..].iter().peekable();
    let mut raw = false;
    while let Some(flag) = names.next_if(|name| name.starts_with('-') && name.len() > 1) {
        match flag.as_str() {
            "-r" => raw = true,
            "--" => break,
            other => return Err(shell.fatal(format!("read: Illegal option {other}"))),
        }
    }
    let names: Vec<String> = names.cloned().collect();
    if names.is_empty() {
        return Err(shell.fatal("read: arg count"));
    }
    let (line, complete) = match read_line(shell, raw) {
        Ok(read) => read,
        Err(Errno::Interrupted) => return Ok(143),
        Err(_) => (Vec::new(), false),
    };
    for (name, value) in names.iter().zip(split(&line, &shell.ifs(), names.len())) {
        shell.assign(name, value);
    }
    Ok(i32::from(!complete))
}

/// The characters of the line, each with whether a backslash stood before it, and whether it ended in a newline.
fn read_line(shell: &Shell, raw: bool) -> Result<(Vec<(char, bool)>, bool), Errno> {
    let mut line = Vec::new();
    loop {
        let bytes = shell.process.read_line()?;
        let text = String::from_utf8_lossy(&bytes);
        let complete = text.ends_with('\n');
        let mut chars = text.trim_end_matches('\n').chars();
        let mut joined = false;
        while let Some(next) = chars.next() {
            match (next, raw) {
                ('\\', false) => match chars.next() {
                    Some(escaped) => line.push((escaped, true)),
                    None => joined = complete,
                },
                _ => line.push((next, false)),
            }
        }
        if !joined {
            return Ok((line, complete));
        }
    }
}

/// The fields of a line, exactly `count` of them; the last one takes all that is left.
fn split(line: &[(char, bool)], ifs: &str, count: usize) -> Vec<String> {
    let separates = |index: usize| line.get(index).is_some_and(|(next, quoted)| !quoted && ifs.contains(*next));
    let blank = |index: usize| separates(index) && line[index].0.is_ascii_whitespace();
    let mut at = 0;
    while blank(at) {
        at += 1;
    }
    let mut fields = Vec::new();
    while fields.len() + 1 < count {
        let start = at;
        while at < line.len() && !separates(at) {
            at += 1;
        }
        fields.push(line[start..at].iter().map(|next| next.0).collect());
        while blank(at) {
            at += 1;
        }
        if separates(at) {
            at += 1;
            while blank(at) {
                at += 1;
            }
        }
    }
    let mut end = line.len();
    while end > at && blank(end - 1) {
        end -= 1;
    }
    // A single separator at the very end closes the last field rather than being part of it.
    let inner = (at..end.saturating_sub(1)).any(|index| separates(index) && !blank(index));
    if end > at && separates(end - 1) && !inner {
        end -= 1;
    }
    fields.push(line[at..end].iter().map(|next| next.0).collect());
    fields
}
