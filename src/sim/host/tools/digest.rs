//! sha256sum, md5sum, base64, od.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::Options;
use super::text::contents;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// Prints or checks SHA-256 sums.
pub fn sha256sum(p: &Process) -> Exit {
    sums(p, |bytes| hex(&Sha256::digest(bytes)), "SHA256")
}

/// Prints or checks MD5 sums.
pub fn md5sum(p: &Process) -> Exit {
    sums(p, |bytes| hex(&md5(bytes)), "MD5")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sums(p: &Process, sum: impl Fn(&[u8]) -> String, kind: &str) -> Exit {
    let long = [("check", 'c'), ("quiet", 'q'), ("status", 's'), ("binary", 'b'), ("text", 't')];
    let options = Options::parse(p, "cbt", &long)?;
    let (all, mut status) = contents(p, &options)?;
    // A file that is too large to be kept is told of by its SHA-256 alone.
    let sum_of = |path: &str, bytes: &[u8]| {
        let large = p.fs(|fs, cred| fs.stat(cred, &p.path(path), true).ok()?.stands_for.clone());
        match large.filter(|_| path != "-") {
            Some(_) if kind != "SHA256" => not_simulated(format!("the {kind} of {path}")),
            Some(large) => Ok(large.sha256),
            None => Ok(sum(bytes)),
        }
    };
    if !options.has('c') {
        for (path, bytes) in &all {
            let mode = if options.has('b') { '*' } else { ' ' };
            p.line(format!("{} {mode}{path}", sum_of(path, bytes)?))?;
        }
        return Ok(status);
    }
    let (mut differ, mut unreadable, mut malformed) = (0, 0, 0);
    for (list, bytes) in &all {
        let mut found = false;
        for line in String::from_utf8_lossy(bytes).lines() {
            let Some((wanted, path)) =
                line.split_once(' ').filter(|(sum, _)| sum.chars().all(|c| c.is_ascii_hexdigit()))
            else {
                malformed += usize::from(!line.is_empty());
                continue;
            };
            found = true;
            let path = path.trim_start_matches([' ', '*']);
            let verdict = match p.input(path) {
                Ok(bytes) if sum_of(path, &bytes)?.eq_ignore_ascii_case(wanted) => "OK",
                Ok(_) => {
                    differ += 1;
                    "FAILED"
                }
                Err(errno) => {
                    p.complain(format!("{path}: {errno}"));
                    unreadable += 1;
                    "FAILED open or read"
                }
            };
            let silent = options.has('s') || (options.has('q') && verdict == "OK");
            if !silent {
                p.line(format!("{path}: {verdict}"))?;
            }
        }
        if !found {
            p.complain(format!("{list}: no properly formatted {kind} checksum lines found"));
            status = 1;
        }
    }
    for (count, what) in [
        (malformed, ("line is improperly formatted", "lines are improperly formatted")),
        (unreadable, ("listed file could not be read", "listed files could not be read")),
        (differ, ("computed checksum did NOT match", "computed checksums did NOT match")),
    ] {
        if count > 0 && !options.has('s') {
            p.complain(format!("WARNING: {count} {}", if count == 1 { what.0 } else { what.1 }));
        }
    }
    Ok(if differ + unreadable > 0 { 1 } else { status })
}

/// RFC 1321.
fn md5(bytes: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut message = bytes.to_vec();
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend((bytes.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in message.chunks_exact(64) {
        let word = |index: usize| {
            let at = index * 4;
            u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64usize {
            let (mixed, index) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word(index));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
        }
        for (slot, value) in state.iter_mut().zip([a, b, c, d]) {
            *slot = slot.wrapping_add(value);
        }
    }
    let mut sum = [0; 16];
    for (slot, word) in sum.chunks_exact_mut(4).zip(state) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    sum
}

/// Encodes or decodes.
pub fn base64(p: &Process) -> Exit {
    let options = Options::parse(p, "dw:i", &[("decode", 'd'), ("wrap", 'w'), ("ignore-garbage", 'i')])?;
    let path = options.operands.first().map_or("-", String::as_str);
    let bytes = match p.input(path) {
        Ok(bytes) => bytes,
        Err(errno) => return fail(format!("{path}: {errno}")),
    };
    if options.has('d') {
        let keep = |byte: &u8| {
            let letter = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
            if options.has('i') { letter } else { *byte != b'\n' }
        };
        let text: Vec<u8> = bytes.into_iter().filter(keep).collect();
        return match BASE64_STANDARD.decode(&text) {
            Ok(decoded) => {
                p.out(decoded)?;
                Ok(0)
            }
            Err(_) => {
                // What comes before the mistake is written all the same.
                let good =
                    text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).count();
                p.out(BASE64_STANDARD.decode(&text[..good / 4 * 4]).unwrap_or_default())?;
                fail("invalid input")
            }
        };
    }
    let Ok(width) = options.value('w').unwrap_or("76").parse::<usize>() else {
        return fail(format!("invalid wrap size: '{}'", options.value('w').unwrap_or_default()));
    };
    let encoded = BASE64_STANDARD.encode(bytes);
    if width == 0 {
        p.out(encoded)?;
        return Ok(0);
    }
    for line in encoded.as_bytes().chunks(width) {
        p.out([line, b"\n"].concat())?;
    }
    Ok(0)
}

/// Dumps bytes: `-An`, `-c`, `-t x1|o1|d1|u1|c|x2|o2`, `-v`, `-N`, `-j`.
pub fn od(p: &Process) -> Exit {
    let options = Options::parse(p, "A:t:vcxbN:j:w:", &[("address-radix", 'A'), ("format", 't')])?;
    let format = match options.last_of("tcxb") {
        Some('c') => "c",
        Some('x') => "x2",
        Some('b') => "o1",
        Some('t') => options.value('t').unwrap_or("o2"),
        _ => "o2",
    };
    let count = |letter: char, default: usize| options.value(letter).map_or(Some(default), |text| text.parse().ok());
    let (Some(skip), Some(most), Some(width)) = (count('j', 0), count('N', usize::MAX), count('w', 16)) else {
        return fail("invalid number");
    };
    let (all, status) = contents(p, &options)?;
    let bytes: Vec<u8> = all.into_iter().flat_map(|(_, bytes)| bytes).skip(skip).take(most).collect();
    let address = |at: usize| match options.value('A').unwrap_or("o") {
        "n" => String::new(),
        "x" => format!("{at:06x}"),
        "d" => format!("{at:07}"),
        _ => format!("{at:07o}"),
    };
    let rows: Vec<&[u8]> = bytes.chunks(width.max(1)).collect();
    for (index, row) in rows.iter().enumerate() {
        // Rows that repeat the one before are shown as one asterisk.
        let repeats = |at: usize| !options.has('v') && at > 0 && row.len() == width && rows[at - 1] == *row;
        if repeats(index) {
            if index < 2 || rows[index - 2] != *row {
                p.line("*")?;
            }
            continue;
        }
        let words = |unit: usize| {
            row.chunks(unit).map(|part| part.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte)))
        };
        let text: String = match format {
            "x1" => words(1).map(|byte| format!(" {byte:02x}")).collect(),
            "o1" => words(1).map(|byte| format!(" {byte:03o}")).collect(),
            "u1" => words(1).map(|byte| format!(" {byte:3}")).collect(),
            "d1" => row.iter().map(|byte| format!(" {:4}", *byte as i8)).collect(),
            "x2" => words(2).map(|word| format!(" {word:04x}")).collect(),
            "o2" => words(2).map(|word| format!(" {word:06o}")).collect(),
            "c" => row.iter().map(|byte| format!(" {:>3}", character(*byte))).collect(),
            other => return not_simulated(format!("od -t {other}")),
        };
        p.line(format!("{}{text}", address(skip + index * width)))?;
    }
    let end = address(skip + bytes.len());
    if !end.is_empty() {
        p.line(end)?;
    }
    Ok(status)
}

fn character(byte: u8) -> String {
    match byte {
        0 => "\\0".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\n' => "\\n".to_owned(),
        11 => "\\v".to_owned(),
        12 => "\\f".to_owned(),
        b'\r' => "\\r".to_owned(),
        0x20..=0x7e => char::from(byte).to_string(),
        other => format!("{other:03o}"),
    }
}
