//! printf, echo, seq.

use crate::sim::host::memory;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Interprets backslash escapes, and says whether `\c` ended the text. With `octal0`, as `echo` and `%b` do, an octal
/// escape starts with a zero.
pub fn unescape(text: &str, octal0: bool) -> (Vec<u8>, bool) {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' || at + 1 == bytes.len() {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let next = bytes[at + 1];
        at += 2;
        let plain = match next {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' => b'\\',
            b'c' => return (out, true),
            b'0'..=b'7' if !octal0 || next == b'0' => {
                let (start, most) = if octal0 { (at, 3) } else { (at - 1, 3) };
                let digits = bytes[start..].iter().take(most).take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
                let value =
                    bytes[start..start + digits].iter().fold(0u32, |value, byte| value * 8 + u32::from(byte - b'0'));
                at = start + digits;
                value as u8
            }
            other => {
                out.extend([b'\\', other]);
                continue;
            }
        };
        out.push(plain);
    }
    (out, false)
}

/// The `echo` of coreutils.
pub fn echo(p: &Process) -> Exit {
    let mut words = p.operands().iter().map(String::as_str).peekable();
    let (mut newline, mut escapes) = (true, false);
    let is_flag = |word: &&str| word.len() > 1 && word.starts_with('-') && word[1..].chars().all(|c| "neE".contains(c));
    while let Some(flag) = words.next_if(is_flag) {
        newline &= !flag.contains('n');
        escapes = (escapes || flag.contains('e')) && !flag.contains('E');
    }
    let text = words.collect::<Vec<_>>().join(" ");
    let (mut bytes, stopped) = if escapes { unescape(&text, true) } else { (text.into_bytes(), false) };
    if newline && !stopped {
        bytes.push(b'\n');
    }
    p.out(bytes)?;
    Ok(0)
}

/// Formats arguments; the format is used again until there are none left.
pub fn printf(p: &Process) -> Exit {
    let operands = match p.operands() {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    };
    let Some((format, arguments)) = operands.split_first() else {
        return Err(Stop::Fail(2, "usage: printf format [arg ...]".to_owned()));
    };
    let mut out = Vec::new();
    let mut left = arguments;
    let mut status = 0;
    loop {
        let before = left.len();
        let stopped = format_once(p, format, &mut left, &mut out, &mut status)?;
        if out.len() > memory::OUTPUT {
            return Err(p.session.exhaust().into());
        }
        if stopped || left.is_empty() || left.len() == before {
            break;
        }
    }
    p.out(out)?;
    Ok(status)
}

/// Uses the format once; true when `\c` ended the output.
fn format_once(
    p: &Process,
    format: &str,
    left: &mut &[String],
    out: &mut Vec<u8>,
    status: &mut i32,
) -> Result<bool, Stop> {
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        let (bytes, stopped) = unescape(&rest[..percent], false);
        out.extend(bytes);
        if stopped {
            return Ok(true);
        }
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = after;
            continue;
        }
        let length = rest.find(|next: char| !"-+ #0123456789.*".contains(next)).unwrap_or(rest.len());
        let mut spec = String::new();
        for next in rest[..length].chars() {
            if next == '*' { spec.push_str(&take(left)) } else { spec.push(next) }
        }
        let Some(kind) = rest[length..].chars().next() else {
            p.complain("%: invalid directive");
            *status = 1;
            return Ok(true);
        };
        refuse_wide(&spec)?;
        rest = &rest[length + kind.len_utf8()..];
        let argument = take(left);
        let text = match kind {
            'b' => {
                let (bytes, stopped) = unescape(&argument, true);
                out.extend(pad(&spec, bytes));
                if stopped {
                    return Ok(true);
                }
                continue;
            }
            's' | 'c' => {
                let precision = spec.split_once('.').and_then(|(_, digits)| digits.parse().ok());
                let most = if kind == 'c' { 1 } else { precision.unwrap_or(usize::MAX) };
                argument.chars().take(most).collect()
            }
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' => match number(&argument) {
                Some(value) => integer(kind, value, &spec),
                None => {
                    p.complain(format!("{argument}: expected numeric value"));
                    *status = 1;
                    integer(
                        kind,
                        argument
                            .trim()
                            .chars()
                            .take_while(char::is_ascii_digit)
                            .collect::<String>()
                            .parse()
                            .unwrap_or(0),
                        &spec,
                    )
                }
            },
            'f' | 'e' | 'g' => {
                let precision = spec.split_once('.').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(6);
                format!("{:.precision$}", argument.parse::<f64>().unwrap_or(0.0))
            }
            other => {
                p.complain(format!("%{other}: invalid directive"));
                *status = 1;
                return Ok(true);
            }
        };
        out.extend(pad(&spec, text.into_bytes()));
    }
    let (bytes, stopped) = unescape(rest, false);
    out.extend(bytes);
    Ok(stopped)
}

/// Refuses a width or precision that is there to fill the memory.
pub fn refuse_wide(spec: &str) -> Result<(), Stop> {
    let mut numbers = spec.split(|next: char| !next.is_ascii_digit()).filter(|digits| !digits.is_empty());
    match numbers.any(|digits| digits.parse().map_or(true, |number: usize| number > memory::FIELD)) {
        true => not_simulated("a field this wide"),
        false => Ok(()),
    }
}

fn take(left: &mut &[String]) -> String {
    match left.split_first() {
        Some((first, rest)) => {
            *left = rest;
            first.clone()
        }
        None => String::new(),
    }
}

/// A number as C writes it, or `'x` for the code of a character.
fn number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    if text.is_empty() {
        return Some(0);
    }
    if let Some(quoted) = text.strip_prefix(['\'', '"']) {
        return quoted.chars().next().map(|first| i64::from(u32::from(first)));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits {
        _ if digits.starts_with("0x") => i64::from_str_radix(&digits[2..], 16).ok()?,
        _ if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(&digits[1..], 8).ok()?,
        _ => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

fn integer(kind: char, value: i64, spec: &str) -> String {
    let mut digits = match kind {
        'o' => format!("{value:o}"),
        'x' => format!("{value:x}"),
        'X' => format!("{value:X}"),
        'u' => format!("{}", value as u64),
        _ => value.unsigned_abs().to_string(),
    };
    let least: usize = spec.split_once('.').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(0);
    while digits.len() < least {
        digits.insert(0, '0');
    }
    let sign = match (kind, value < 0) {
        ('d' | 'i', true) => "-",
        ('d' | 'i', false) if spec.contains('+') => "+",
        ('x', _) if spec.contains('#') && value != 0 => "0x",
        _ => "",
    };
    // A field that is filled up with zeros has its sign in front of them.
    let flags = spec.split('.').next().unwrap_or_default();
    let width: usize = flags.trim_start_matches(['-', '+', ' ', '#', '0']).parse().unwrap_or(0);
    let zeros =
        flags.trim_start_matches(['+', ' ', '#']).starts_with('0') && !flags.contains('-') && !spec.contains('.');
    while zeros && digits.len() + sign.len() < width {
        digits.insert(0, '0');
    }
    format!("{sign}{digits}")
}

fn pad(spec: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    let flags = spec.split('.').next().unwrap_or_default();
    let width: usize = flags.trim_start_matches(['-', '+', ' ', '#', '0']).parse().unwrap_or(0);
    let length = String::from_utf8_lossy(&bytes).chars().count();
    let blanks = vec![b' '; width.saturating_sub(length)];
    if flags.contains('-') {
        bytes.extend(blanks);
        bytes
    } else {
        [blanks, bytes].concat()
    }
}

/// Counts.
pub fn seq(p: &Process) -> Exit {
    let mut operands = p.operands().to_vec();
    let mut separator = "\n".to_owned();
    let mut equal_width = false;
    while let Some(flag) = operands.first().filter(|first| matches!(first.as_str(), "-s" | "-w")).cloned() {
        operands.remove(0);
        match (flag.as_str(), operands.is_empty()) {
            ("-s", false) => separator = operands.remove(0),
            _ => equal_width = true,
        }
    }
    let numbers: Result<Vec<i64>, _> = operands.iter().map(|text| text.parse()).collect();
    let (first, step, last) = match numbers.as_deref() {
        Ok([last]) => (1, 1, *last),
        Ok([first, last]) => (*first, 1, *last),
        Ok([first, step, last]) if *step != 0 => (*first, *step, *last),
        _ => return fail(format!("invalid argument: '{}'", operands.join(" "))),
    };
    let width = if equal_width { first.to_string().len().max(last.to_string().len()) } else { 0 };
    let mut value = Some(first);
    let mut any = false;
    // One by one, for nobody may read them all.
    while let Some(number) = value.filter(|value| if step > 0 { *value <= last } else { *value >= last }) {
        let before = if any { separator.as_str() } else { "" };
        p.out(format!("{before}{number:0width$}"))?;
        any = true;
        value = number.checked_add(step);
    }
    if any {
        p.line("")?;
    }
    Ok(0)
}
