//! tr and cut.

use super::Options;
use super::text::contents;
use crate::sim::host::process::{Exit, Process, Stop, fail};
use crate::sim::host::shell::in_class;

/// Translates, deletes or squeezes characters.
pub fn tr(p: &Process) -> Exit {
    let options = Options::parse(p, "cCds", &[("complement", 'c'), ("delete", 'd'), ("squeeze-repeats", 's')])?;
    let Some(first) = options.operands.first() else { return fail("missing operand") };
    let complement = options.has('c') || options.has('C');
    let from = set(first)?;
    let to = options.operands.get(1).map(|text| set(text)).transpose()?;
    let is_in = |byte: u8| from.contains(&byte) != complement;
    let delete = options.has('d');
    if to.is_none() && !delete && !options.has('s') {
        return fail(format!("missing operand after '{first}'"));
    }
    let squeezed: Vec<u8> = match (&to, options.has('s')) {
        (_, false) => Vec::new(),
        (Some(to), true) => to.clone(),
        (None, true) => (0..=255).filter(|byte| is_in(*byte)).collect(),
    };
    let translate = |byte: u8| match &to {
        Some(to) if !delete && is_in(byte) => {
            let index = if complement { usize::MAX } else { from.iter().rposition(|one| *one == byte).unwrap_or(0) };
            to.get(index).or(to.last()).copied().unwrap_or(byte)
        }
        _ => byte,
    };
    let mut previous = None;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = p.read(&mut buffer)?;
        if length == 0 {
            return Ok(0);
        }
        let mut out = Vec::with_capacity(length);
        for byte in &buffer[..length] {
            if delete && is_in(*byte) {
                continue;
            }
            let byte = translate(*byte);
            if previous == Some(byte) && squeezed.contains(&byte) {
                continue;
            }
            previous = Some(byte);
            out.push(byte);
        }
        p.out(out)?;
    }
}

/// The bytes of a set: ranges, classes and escapes.
fn set(text: &str) -> Result<Vec<u8>, Stop> {
    let (bytes, _) = super::unescape(&text.replace("\\0", "\\000"), true);
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(name) = rest.strip_prefix(b"[:").and_then(|rest| {
            let end = rest.windows(2).position(|pair| pair == b":]")?;
            std::str::from_utf8(&rest[..end]).ok()
        }) {
            all.extend((0..=127u8).filter(|byte| in_class(name, char::from(*byte))));
            at += name.len() + 4;
        } else if rest.len() > 2 && rest[1] == b'-' {
            if rest[0] > rest[2] {
                return fail(format!("range-endpoints of '{text}' are in reverse collating sequence order"));
            }
            all.extend(rest[0]..=rest[2]);
            at += 3;
        } else {
            all.push(rest[0]);
            at += 1;
        }
    }
    Ok(all)
}

/// Selects fields, characters or bytes of each line.
pub fn cut(p: &Process) -> Exit {
    let long = [("delimiter", 'd'), ("fields", 'f'), ("characters", 'c'), ("bytes", 'b'), ("only-delimited", 's')];
    let options = Options::parse(p, "d:f:c:b:s", &long)?;
    let Some(kind) = options.last_of("fcb") else {
        return fail("you must specify a list of bytes, characters, or fields");
    };
    let ranges = ranges(options.value(kind).unwrap_or_default())?;
    let wanted = |number: usize| ranges.iter().any(|(low, high)| (*low..=*high).contains(&number));
    let delimiter = options.value('d').unwrap_or("\t").to_owned();
    let (all, status) = contents(p, &options)?;
    for (_, bytes) in &all {
        for line in String::from_utf8_lossy(bytes).lines() {
            if kind != 'f' {
                p.line((1..).zip(line.chars()).filter(|(n, _)| wanted(*n)).map(|(_, c)| c).collect::<String>())?;
            } else if line.contains(&delimiter) {
                let fields = (1..).zip(line.split(&delimiter)).filter(|(n, _)| wanted(*n)).map(|(_, field)| field);
                p.line(fields.collect::<Vec<_>>().join(&delimiter))?;
            } else if !options.has('s') {
                p.line(line)?;
            }
        }
    }
    Ok(status)
}

fn ranges(list: &str) -> Result<Vec<(usize, usize)>, Stop> {
    let number = |text: &str, default: usize| if text.is_empty() { Some(default) } else { text.parse().ok() };
    let parse = |item: &str| match item.split_once('-') {
        Some((low, high)) => Some((number(low, 1)?, number(high, usize::MAX)?)),
        None => item.parse().ok().map(|only| (only, only)),
    };
    let all: Option<Vec<_>> = list.split(',').map(parse).collect();
    all.map_or_else(|| fail(format!("invalid field value '{list}'")), Ok)
}
