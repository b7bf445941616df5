//! test, [ and expr.

use super::pattern::{Notation, compile};
use crate::sim::host::fs::{Device, Inode, Kind};
use crate::sim::host::process::{Exit, Process, Stop, fail};

/// Evaluates a condition.
pub fn test(p: &Process) -> Exit {
    judge(p, p.operands())
}

/// The same, closed by `]`.
pub fn bracket(p: &Process) -> Exit {
    match p.operands().split_last() {
        Some((last, rest)) if last == "]" => judge(p, rest),
        _ => Err(Stop::Fail(2, "missing ]".to_owned())),
    }
}

fn judge(p: &Process, words: &[String]) -> Exit {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let truth = match words.as_slice() {
        [] => false,
        [word] => !word.is_empty(),
        ["!", word] => word.is_empty(),
        [operator, word] => unary(p, operator, word)?.ok_or_else(|| unexpected(word))?,
        [left, operator, right] if is_binary(operator) => binary(p, left, operator, right)?,
        _ => {
            let mut reader = Reader { p, words: &words, at: 0 };
            let truth = reader.or()?;
            if let Some(word) = words.get(reader.at) {
                return Err(unexpected(word));
            }
            truth
        }
    };
    Ok(i32::from(!truth))
}

fn unexpected(word: &str) -> Stop {
    Stop::Fail(2, format!("{word}: unexpected operator"))
}

struct Reader<'a> {
    p: &'a Process,
    words: &'a [&'a str],
    at: usize,
}

impl Reader<'_> {
    fn or(&mut self) -> Result<bool, Stop> {
        let mut truth = self.and()?;
        while self.words.get(self.at) == Some(&"-o") {
            self.at += 1;
            truth |= self.and()?;
        }
        Ok(truth)
    }

    fn and(&mut self) -> Result<bool, Stop> {
        let mut truth = self.not()?;
        while self.words.get(self.at) == Some(&"-a") {
            self.at += 1;
            truth &= self.not()?;
        }
        Ok(truth)
    }

    fn not(&mut self) -> Result<bool, Stop> {
        if self.words.get(self.at) == Some(&"!") && self.at + 1 < self.words.len() {
            self.at += 1;
            return Ok(!self.not()?);
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<bool, Stop> {
        let rest = &self.words[self.at.min(self.words.len())..];
        match rest {
            [left, operator, right, ..] if is_binary(operator) => {
                self.at += 3;
                binary(self.p, left, operator, right)
            }
            ["(", ..] => {
                self.at += 1;
                let truth = self.or()?;
                match self.words.get(self.at) {
                    Some(&")") => self.at += 1,
                    _ => return Err(Stop::Fail(2, "closing paren expected".to_owned())),
                }
                Ok(truth)
            }
            [operator, word, ..] => {
                let known = unary(self.p, operator, word)?;
                self.at += if known.is_some() { 2 } else { 1 };
                Ok(known.unwrap_or(!operator.is_empty()))
            }
            [word] => {
                self.at += 1;
                Ok(!word.is_empty())
            }
            [] => Err(Stop::Fail(2, "argument expected".to_owned())),
        }
    }
}

fn is_binary(operator: &str) -> bool {
    const OPERATORS: &[&str] =
        &["=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef"];
    OPERATORS.contains(&operator)
}

fn binary(p: &Process, left: &str, operator: &str, right: &str) -> Result<bool, Stop> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| Stop::Fail(2, format!("Illegal number: {text}")));
    let file = |path: &str| {
        p.fs(|fs, cred| fs.find(cred, &p.path(path), true).ok().and_then(|ino| Some((ino, fs.inode(ino).ok()?.mtime))))
    };
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-nt" => file(left).is_some_and(|(_, time)| file(right).is_none_or(|(_, other)| time > other)),
        "-ot" => file(right).is_some_and(|(_, time)| file(left).is_none_or(|(_, other)| other < time)),
        "-ef" => file(left).is_some_and(|(ino, _)| file(right).is_some_and(|(other, _)| ino == other)),
        _ => {
            let order = number(left)?.cmp(&number(right)?);
            match operator {
                "-eq" => order.is_eq(),
                "-ne" => order.is_ne(),
                "-lt" => order.is_lt(),
                "-le" => order.is_le(),
                "-gt" => order.is_gt(),
                _ => order.is_ge(),
            }
        }
    })
}

/// A condition on one word; `None` when the operator is not one.
fn unary(p: &Process, operator: &str, word: &str) -> Result<Option<bool>, Stop> {
    let file = |fits: &dyn Fn(&Inode) -> bool, follow: bool| {
        p.fs(|fs, cred| fs.stat(cred, &p.path(word), follow).is_ok_and(fits))
    };
    let is_device = |inode: &Inode, block: bool| match inode.kind {
        Kind::Device(Device::Inert) => block,
        Kind::Device(_) => !block,
        _ => false,
    };
    Ok(Some(match operator {
        "-n" => !word.is_empty(),
        "-z" => word.is_empty(),
        "-e" | "-a" => file(&|_| true, true),
        "-f" => file(&Inode::is_file, true),
        "-d" => file(&Inode::is_dir, true),
        "-L" | "-h" => file(&Inode::is_link, false),
        "-s" => file(&|inode| inode.size() > 0, true),
        "-r" => file(&|inode| inode.rights(&p.cred) & 4 != 0, true),
        "-w" => file(&|inode| inode.rights(&p.cred) & 2 != 0, true),
        "-x" => file(&|inode| inode.rights(&p.cred) & 1 != 0, true),
        "-u" => file(&|inode| inode.mode & 0o4000 != 0, true),
        "-g" => file(&|inode| inode.mode & 0o2000 != 0, true),
        "-k" => file(&|inode| inode.mode & 0o1000 != 0, true),
        "-O" => file(&|inode| inode.uid == p.cred.uid, true),
        "-G" => file(&|inode| inode.gid == p.cred.gid, true),
        "-b" => file(&|inode| is_device(inode, true), true),
        "-c" => file(&|inode| is_device(inode, false), true),
        "-p" | "-S" | "-t" => false,
        _ => return Ok(None),
    }))
}

/// Evaluates an expression of words.
pub fn expr(p: &Process) -> Exit {
    let words: Vec<&str> = p.operands().iter().map(String::as_str).collect();
    let (value, rest) = level(&words, 0)?;
    if !rest.is_empty() {
        return Err(Stop::Fail(2, format!("syntax error: unexpected argument '{}'", rest[0])));
    }
    p.line(&value)?;
    Ok(i32::from(value.is_empty() || value == "0"))
}

const EXPR_LEVELS: &[&[&str]] =
    &[&["|"], &["&"], &["<", "<=", "=", "==", "!=", ">=", ">"], &["+", "-"], &["*", "/", "%"], &[":"]];

fn level<'a>(words: &'a [&'a str], depth: usize) -> Result<(String, &'a [&'a str]), Stop> {
    let Some(operators) = EXPR_LEVELS.get(depth) else { return primary(words) };
    let (mut left, mut rest) = level(words, depth + 1)?;
    while let Some(operator) = rest.first().filter(|word| operators.contains(word)) {
        let (right, after) = level(&rest[1..], depth + 1)?;
        left = apply(&left, operator, &right)?;
        rest = after;
    }
    Ok((left, rest))
}

fn primary<'a>(words: &'a [&'a str]) -> Result<(String, &'a [&'a str]), Stop> {
    match words {
        ["(", rest @ ..] => match level(rest, 0)? {
            (value, [")", rest @ ..]) => Ok((value, rest)),
            _ => Err(Stop::Fail(2, "syntax error: expecting ')'".to_owned())),
        },
        ["length", word, rest @ ..] => Ok((word.chars().count().to_string(), rest)),
        ["match", text, pattern, rest @ ..] => Ok((apply(text, ":", pattern)?, rest)),
        ["substr", text, from, count, rest @ ..] => {
            let (from, count) = (from.parse::<usize>().unwrap_or(0), count.parse::<usize>().unwrap_or(0));
            let piece = if from == 0 { String::new() } else { text.chars().skip(from - 1).take(count).collect() };
            Ok((piece, rest))
        }
        [word, rest @ ..] => Ok(((*word).to_owned(), rest)),
        [] => Err(Stop::Fail(2, "syntax error: missing argument".to_owned())),
    }
}

fn apply(left: &str, operator: &str, right: &str) -> Result<String, Stop> {
    let empty = |text: &str| text.is_empty() || text == "0";
    let number = |text: &str| text.parse::<i64>().map_err(|_| Stop::Fail(2, "non-integer argument".to_owned()));
    Ok(match operator {
        "|" => if empty(left) { right } else { left }.to_owned(),
        "&" => if empty(left) || empty(right) { "0" } else { left }.to_owned(),
        ":" => {
            let regex = compile(&format!("^{}", right.trim_start_matches('^')), Notation::Basic, false)?;
            match regex.captures(left.as_bytes()) {
                Some(found) if regex.captures_len() > 1 => {
                    found.get(1).map_or(String::new(), |group| String::from_utf8_lossy(group.as_bytes()).into_owned())
                }
                Some(found) => found.get(0).map_or(0, |whole| whole.len()).to_string(),
                None if regex.captures_len() > 1 => String::new(),
                None => "0".to_owned(),
            }
        }
        "+" => (number(left)? + number(right)?).to_string(),
        "-" => (number(left)? - number(right)?).to_string(),
        "*" => (number(left)? * number(right)?).to_string(),
        "/" | "%" if number(right)? == 0 => return Err(Stop::Fail(2, "division by zero".to_owned())),
        "/" => (number(left)? / number(right)?).to_string(),
        "%" => (number(left)? % number(right)?).to_string(),
        comparison => {
            let order = match (left.parse::<i64>(), right.parse::<i64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                _ => left.cmp(right),
            };
            let truth = match comparison {
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                "=" | "==" => order.is_eq(),
                "!=" => order.is_ne(),
                ">=" => order.is_ge(),
                ">" => order.is_gt(),
                other => return fail(format!("syntax error: {other}")),
            };
            i32::from(truth).to_string()
        }
    })
}
