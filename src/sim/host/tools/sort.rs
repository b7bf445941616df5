//! sort and uniq.

use std::cmp::Ordering;

use super::Options;
use super::text::contents;
use crate::sim::host::fs::Access;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

struct Key {
    first: usize,
    last: usize,
    numeric: bool,
    reverse: bool,
}

/// Sorts lines by their bytes, by number, or by fields.
pub fn sort(p: &Process) -> Exit {
    let long = [("unique", 'u'), ("reverse", 'r'), ("numeric-sort", 'n'), ("key", 'k'), ("field-separator", 't')];
    let options = Options::parse(p, "unrVk:t:fbo:csz", &long)?;
    if let Some(letter) = options.last_of("fbcsz") {
        return not_simulated(format!("sort -{letter}"));
    }
    let (all, status) = contents(p, &options)?;
    let text: String = all.iter().map(|(_, bytes)| ended(&String::from_utf8_lossy(bytes))).collect();
    let mut lines: Vec<&str> = text.lines().collect();
    let keys: Vec<Key> =
        options.values('k').into_iter().map(|spec| key(&options, spec)).collect::<Result<_, Stop>>()?;
    let separator = options.value('t');
    let by_keys = |a: &str, b: &str| {
        let one = |key: &Key| {
            let order = compare(&options, key.numeric, &field(a, key, separator), &field(b, key, separator));
            if key.reverse { order.reverse() } else { order }
        };
        keys.iter().map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let plain = |a: &str, b: &str| {
        let order = compare(&options, options.has('n'), a, b);
        if options.has('r') { order.reverse() } else { order }
    };
    let main = |a: &str, b: &str| if keys.is_empty() { plain(a, b) } else { by_keys(a, b) };
    lines.sort_by(|a, b| {
        // Lines that are equal by their keys are ordered as a whole, unless only one of them is wanted.
        let last = if options.has('u') { Ordering::Equal } else { a.cmp(b) };
        main(a, b).then(if options.has('r') { last.reverse() } else { last })
    });
    if options.has('u') {
        lines.dedup_by(|a, b| main(a, b).is_eq());
    }
    let out: String = lines.iter().map(|line| format!("{line}\n")).collect();
    match options.value('o') {
        Some(path) => p.open(path, Access::WRITE)?.write(out.as_bytes(), &p.session)?,
        None => p.out(out)?,
    }
    Ok(status)
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn key(options: &Options, spec: &str) -> Result<Key, Stop> {
    let letters: String = spec.chars().filter(char::is_ascii_alphabetic).collect();
    let digits: String = spec.chars().filter(|next| !next.is_ascii_alphabetic()).collect();
    if digits.contains('.') || letters.contains(|letter| !"nr".contains(letter)) {
        return not_simulated(format!("sort -k {spec}"));
    }
    let (first, last) = digits.split_once(',').unwrap_or((&digits, ""));
    let Ok(first) = first.parse() else { return fail(format!("invalid number at field start: '{spec}'")) };
    let plain = letters.is_empty();
    Ok(Key {
        first,
        last: last.parse().unwrap_or(usize::MAX),
        numeric: letters.contains('n') || (plain && options.has('n')),
        reverse: letters.contains('r') || (plain && options.has('r')),
    })
}

/// The part of a line that a key looks at. Without a separator a field starts with the blanks before it.
fn field(line: &str, key: &Key, separator: Option<&str>) -> String {
    let fields: Vec<String> = match separator {
        Some(separator) => line.split(separator).map(str::to_owned).collect(),
        None => {
            let mut fields = Vec::new();
            let mut current = String::new();
            for next in line.chars() {
                if next.is_whitespace() && current.trim() != "" {
                    fields.push(std::mem::take(&mut current));
                }
                current.push(next);
            }
            fields.push(current);
            fields
        }
    };
    let to = key.last.min(fields.len());
    fields.get(key.first - 1..to.max(key.first - 1)).unwrap_or_default().join(separator.unwrap_or(""))
}

fn compare(options: &Options, numeric: bool, a: &str, b: &str) -> Ordering {
    if options.has('V') {
        return version(a, b);
    }
    match numeric {
        true => number(a).total_cmp(&number(b)),
        false => a.cmp(b),
    }
}

fn number(text: &str) -> f64 {
    let text = text.trim_start();
    let length = text
        .bytes()
        .enumerate()
        .take_while(|(at, byte)| byte.is_ascii_digit() || *byte == b'.' || (*at == 0 && *byte == b'-'))
        .count();
    text[..length].parse().unwrap_or(0.0)
}

/// Compares texts with numbers in them as versions.
fn version(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let split =
            |text: &str, digits: bool| text.find(|next: char| next.is_ascii_digit() != digits).unwrap_or(text.len());
        let ((at, rest_a), (bt, rest_b)) = (a.split_at(split(a, false)), b.split_at(split(b, false)));
        let ((an, next_a), (bn, next_b)) = (rest_a.split_at(split(rest_a, true)), rest_b.split_at(split(rest_b, true)));
        let value = |digits: &str| digits.parse::<u64>().unwrap_or(0);
        let order = at.cmp(bt).then(value(an).cmp(&value(bn)));
        if order.is_ne() || (next_a.is_empty() && next_b.is_empty()) {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
}

/// Collapses equal lines that follow each other.
pub fn uniq(p: &Process) -> Exit {
    let options = Options::parse(p, "cdu", &[("count", 'c'), ("repeated", 'd'), ("unique", 'u')])?;
    let (all, status) = contents(p, &options)?;
    let text: String = all.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    let mut runs: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        match runs.last_mut().filter(|(_, last)| *last == line) {
            Some((count, _)) => *count += 1,
            None => runs.push((1, line)),
        }
    }
    for (count, line) in runs {
        if (options.has('d') && count == 1) || (options.has('u') && count > 1) {
            continue;
        }
        p.line(if options.has('c') { format!("{count:7} {line}") } else { line.to_owned() })?;
    }
    Ok(status)
}
