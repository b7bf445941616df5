//! cat, head, tail, wc, tee, cmp.

use super::Options;
use crate::sim::host::fs::{Access, Errno};
use crate::sim::host::memory;
use crate::sim::host::process::{Exit, Process, Stop, fail};

/// Copies inputs to standard output as they come.
pub fn cat(p: &Process) -> Exit {
    let options = Options::parse(p, "nu", &[("number", 'n')])?;
    let mut status = 0;
    let mut number = 0;
    for path in options.inputs() {
        let stream = match path.as_str() {
            "-" => p.fds.get(&0).cloned().ok_or(Errno::BadDescriptor),
            path => p.open(path, Access::READ),
        };
        let copied = stream.and_then(|stream| {
            if options.has('n') {
                return number_lines(p, &p.drain(&stream)?, &mut number);
            }
            let mut buffer = vec![0; 32 * 1024];
            loop {
                match stream.read(&mut buffer, &p.session)? {
                    0 => return Ok(()),
                    length => p.out(&buffer[..length])?,
                }
            }
        });
        match copied {
            Ok(()) => {}
            Err(errno @ (Errno::BrokenPipe | Errno::Interrupted)) => return Err(errno.into()),
            Err(errno) => {
                p.complain(format!("{path}: {errno}"));
                status = 1;
            }
        }
    }
    Ok(status)
}

fn number_lines(p: &Process, bytes: &[u8], number: &mut usize) -> Result<(), Errno> {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        *number += 1;
        p.out(format!("{number:6}\t"))?;
        p.out(line)?;
    }
    Ok(())
}

/// The arguments with `-5` written as `-n5`.
fn with_count(p: &Process) -> Process {
    let mut p = p.clone();
    if let Some(first) = p.args.get_mut(1) {
        let digits =
            first.strip_prefix('-').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        if let Some(digits) = digits {
            *first = format!("-n{digits}");
        }
    }
    p
}

/// A file's name and content.
pub type Input = (String, Vec<u8>);

/// The contents of all inputs, complaining about those that cannot be read.
pub fn contents(p: &Process, options: &Options) -> Result<(Vec<Input>, i32), Stop> {
    let mut status = 0;
    let mut all = Vec::new();
    let mut held = 0;
    for path in options.inputs() {
        match p.input(&path) {
            Ok(bytes) => {
                held += bytes.len();
                if held > memory::INPUT {
                    return Err(p.session.exhaust().into());
                }
                all.push((path, bytes));
            }
            Err(errno @ (Errno::BrokenPipe | Errno::Interrupted)) => return Err(errno.into()),
            Err(errno) => {
                p.complain(match (p.name(), errno) {
                    ("head" | "tail", Errno::IsDirectory) => format!("error reading '{path}': {errno}"),
                    ("head" | "tail", _) => format!("cannot open '{path}' for reading: {errno}"),
                    ("sort", _) => format!("cannot read: {path}: {errno}"),
                    _ => format!("{path}: {errno}"),
                });
                status = if p.name() == "sort" { 2 } else { 1 };
            }
        }
    }
    Ok((all, status))
}

fn count_of(text: &str) -> Result<usize, Stop> {
    let digits = text.trim_start_matches(['+', '-']);
    let (digits, unit) = match digits.chars().last() {
        Some('K') => (&digits[..digits.len() - 1], 1024),
        Some('M') => (&digits[..digits.len() - 1], 1024 * 1024),
        _ => (digits, 1),
    };
    match digits.parse::<usize>() {
        Ok(count) => Ok(count * unit),
        Err(_) => fail(format!("invalid number of lines: '{text}'")),
    }
}

/// The first lines or bytes.
pub fn head(p: &Process) -> Exit {
    let p = &with_count(p);
    let options = Options::parse(p, "n:c:qv", &[("lines", 'n'), ("bytes", 'c'), ("quiet", 'q')])?;
    // Standard input is read no further than needed, so that what is left is there for the next command.
    if options.operands.is_empty() && !options.has('c') {
        let text = options.value('n').unwrap_or("10");
        if !text.starts_with('-') {
            for _ in 0..count_of(text)? {
                let line = p.read_line()?;
                if line.is_empty() {
                    break;
                }
                p.out(line)?;
            }
            return Ok(0);
        }
    }
    if let Some(text) = options.value('c').filter(|text| !text.starts_with('-') && options.operands.len() < 2) {
        return first_bytes(p, options.operands.first().map_or("-", String::as_str), count_of(text)?);
    }
    let (all, status) = contents(p, &options)?;
    print_parts(p, &options, &all, |bytes| match options.value('c') {
        Some(text) => {
            let count = count_of(text)?.min(bytes.len());
            Ok(if text.starts_with('-') { &bytes[..bytes.len() - count] } else { &bytes[..count] })
        }
        None => {
            let text = options.value('n').unwrap_or("10");
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let count = count_of(text)?.min(lines.len());
            let kept = if text.starts_with('-') { lines.len() - count } else { count };
            Ok(&bytes[..lines[..kept].iter().map(|line| line.len()).sum()])
        }
    })?;
    Ok(status)
}

/// Copies the first bytes and reads no more, for a device may have no end.
fn first_bytes(p: &Process, path: &str, mut left: usize) -> Exit {
    let stream = match path {
        "-" => p.fds.get(&0).cloned().ok_or(Errno::BadDescriptor)?,
        _ => match p.open(path, Access::READ) {
            Ok(stream) => stream,
            Err(errno) => return fail(format!("cannot open '{path}' for reading: {errno}")),
        },
    };
    let mut buffer = vec![0; 32 * 1024];
    while left > 0 {
        let most = left.min(buffer.len());
        let length = stream.read(&mut buffer[..most], &p.session)?;
        if length == 0 {
            break;
        }
        p.out(&buffer[..length])?;
        left -= length;
    }
    Ok(0)
}

/// The last lines or bytes.
pub fn tail(p: &Process) -> Exit {
    let p = &with_count(p);
    let options = Options::parse(p, "n:c:qv", &[("lines", 'n'), ("bytes", 'c'), ("quiet", 'q')])?;
    let (all, status) = contents(p, &options)?;
    print_parts(p, &options, &all, |bytes| {
        let by_bytes = options.has('c');
        let text = options.value(if by_bytes { 'c' } else { 'n' }).unwrap_or("10");
        let count = count_of(text)?;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let units = if by_bytes { bytes.len() } else { lines.len() };
        let skipped =
            if text.starts_with('+') { count.saturating_sub(1).min(units) } else { units.saturating_sub(count) };
        let skipped = if by_bytes { skipped } else { lines[..skipped].iter().map(|line| line.len()).sum() };
        Ok(&bytes[skipped..])
    })?;
    Ok(status)
}

fn print_parts<'a>(
    p: &Process,
    options: &Options,
    all: &'a [Input],
    part: impl Fn(&'a [u8]) -> Result<&'a [u8], Stop>,
) -> Result<(), Stop> {
    let titles = (all.len() > 1 && !options.has('q')) || options.has('v');
    for (index, (path, bytes)) in all.iter().enumerate() {
        if titles {
            let gap = if index > 0 { "\n" } else { "" };
            let name = if path == "-" { "standard input" } else { path };
            p.line(format!("{gap}==> {name} <=="))?;
        }
        p.out(part(bytes)?)?;
    }
    Ok(())
}

/// Counts lines, words and bytes.
pub fn wc(p: &Process) -> Exit {
    let options = Options::parse(p, "lwcm", &[("lines", 'l'), ("words", 'w'), ("bytes", 'c'), ("chars", 'm')])?;
    let all_columns = !"lwcm".chars().any(|letter| options.has(letter));
    let shown = |letter: char| options.has(letter) || (all_columns && letter != 'm');
    let (inputs, status) = contents(p, &options)?;
    let mut rows = Vec::new();
    for (path, bytes) in &inputs {
        let text = String::from_utf8_lossy(bytes);
        let counts = [
            ('l', bytes.iter().filter(|byte| **byte == b'\n').count()),
            ('w', text.split_whitespace().count()),
            ('m', text.chars().count()),
            ('c', bytes.len()),
        ];
        rows.push((path.clone(), counts));
    }
    if rows.len() > 1 {
        let total = |index: usize| (rows[0].1[index].0, rows.iter().map(|row| row.1[index].1).sum());
        rows.push(("total".to_owned(), [total(0), total(1), total(2), total(3)]));
    }
    let columns = "lwmc".chars().filter(|letter| shown(*letter)).count();
    let widest = rows.iter().map(|row| row.1[3].1.to_string().len()).max().unwrap_or(1);
    let width = match (columns, rows.len()) {
        (1, 1) => 1,
        _ if options.operands.is_empty() => 7,
        _ => widest,
    };
    for (path, counts) in rows {
        let numbers = counts.iter().filter(|(letter, _)| shown(*letter)).map(|(_, count)| format!("{count:width$}"));
        let mut line = numbers.collect::<Vec<_>>().join(" ");
        if !options.operands.is_empty() {
            line = format!("{line} {path}");
        }
        p.line(line)?;
    }
    Ok(status)
}

/// Copies standard input to files and standard output.
pub fn tee(p: &Process) -> Exit {
    let options = Options::parse(p, "ai", &[("append", 'a')])?;
    let access = if options.has('a') { Access::APPEND } else { Access::WRITE };
    let mut files = Vec::new();
    let mut status = 0;
    for path in &options.operands {
        match p.open(path, access) {
            Ok(stream) => files.push((path, stream)),
            Err(errno) => {
                p.complain(format!("{path}: {errno}"));
                status = 1;
            }
        }
    }
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = p.read(&mut buffer)?;
        if length == 0 {
            return Ok(status);
        }
        for (path, file) in &files {
            if let Err(errno) = file.write(&buffer[..length], &p.session) {
                return fail(format!("{path}: {errno}"));
            }
        }
        p.out(&buffer[..length])?;
    }
}

/// Compares two files.
pub fn cmp(p: &Process) -> Exit {
    let options = Options::parse(p, "s", &[("silent", 's'), ("quiet", 's')])?;
    let [left, right] = options.operands.as_slice() else {
        return Err(Stop::Fail(2, "two files are needed".to_owned()));
    };
    let read = |path: &String| p.input(path).map_err(|errno| Stop::Fail(2, format!("{path}: {errno}")));
    let (a, b) = (read(left)?, read(right)?);
    if a == b {
        return Ok(0);
    }
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    if !options.has('s') {
        let line = a[..same].iter().filter(|byte| **byte == b'\n').count() + 1;
        if same == a.len().min(b.len()) {
            let shorter = if a.len() < b.len() { left } else { right };
            p.complain(format!("EOF on {shorter} after byte {same}, line {}", line - usize::from(line > 1)));
        } else {
            p.line(format!("{left} {right} differ: byte {}, line {line}", same + 1))?;
        }
    }
    Ok(1)
}
