//! crontab.

use super::Options;
use crate::sim::host::fs::{Cred, Errno};
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

const FOLDER: &str = "/var/spool/cron/crontabs";

/// The ranges of the five fields of a time.
const RANGES: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day-of-month", 1, 31), ("month", 1, 12), ("day-of-week", 0, 7)];

/// Lists, installs or removes the table of a user's jobs.
pub fn crontab(p: &Process) -> Exit {
    let options = Options::parse(p, "lru:", &[])?;
    let own = p.session.with(|machine| machine.user_name(p.cred.uid));
    let user = options.value('u').unwrap_or(&own).to_owned();
    if user != own && !p.cred.is_root() {
        return fail("must be privileged to use -u");
    }
    if p.session.with(|machine| machine.user(&user)).is_none() {
        return fail(format!("user `{user}' unknown"));
    }
    let path = format!("{FOLDER}/{user}");
    // The program is set-group-id: users reach their own table by it and nothing else.
    let root = Cred::root();
    let table = p.fs(|fs, _| fs.read(&root, &path));
    match (options.has('l'), options.has('r'), options.operands.as_slice()) {
        (true, false, []) => match table {
            Ok(bytes) => p.out(bytes).map(|()| 0).map_err(Stop::from),
            Err(_) => nothing(p, &user),
        },
        (false, true, []) => match p.fs(|fs, _| fs.unlink(&root, &path)) {
            Ok(()) => Ok(0),
            Err(Errno::NoEntry) => nothing(p, &user),
            Err(errno) => Err(errno.into()),
        },
        (false, false, [file]) => {
            let bytes = p.input(file)?;
            if let Some(wrong) = fault(&String::from_utf8_lossy(&bytes)) {
                p.err(format!("\"{file}\":{wrong}\nerrors in crontab file, can't install.\n"));
                return Ok(1);
            }
            p.session.with(|machine| {
                machine.make_directory(FOLDER);
                machine.fs.write(&root, &path, &bytes, 0o600)
            })?;
            Ok(0)
        }
        _ => not_simulated("crontab used like this"),
    }
}

fn nothing(p: &Process, user: &str) -> Exit {
    p.err(format!("no crontab for {user}\n"));
    Ok(1)
}

/// What is wrong with a table, with the number of the line.
fn fault(text: &str) -> Option<String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Some(format!("{}: new crontab file is missing newline before EOF", text.lines().count()));
    }
    text.lines().enumerate().find_map(|(at, line)| line_fault(line).map(|what| format!("{}: bad {what}", at + 1)))
}

fn line_fault(line: &str) -> Option<&'static str> {
    let line = line.trim();
    let is_setting = line.split_once('=').is_some_and(|(name, _)| {
        name.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.trim().is_empty()
    });
    if line.is_empty() || line.starts_with('#') || is_setting {
        return None;
    }
    if let Some(special) = line.strip_prefix('@') {
        let known = ["reboot", "hourly", "daily", "midnight", "weekly", "monthly", "yearly", "annually"];
        let (time, job) = special.split_once(char::is_whitespace).unwrap_or((special, ""));
        return match (known.contains(&time), job.trim().is_empty()) {
            (false, _) => Some("time specifier"),
            (true, true) => Some("command"),
            (true, false) => None,
        };
    }
    let mut words = line.split_whitespace();
    for (what, first, last) in RANGES {
        if !words.next().is_some_and(|field| is_field(field, first, last)) {
            return Some(what);
        }
    }
    if words.next().is_none() { Some("command") } else { None }
}

fn is_field(field: &str, first: u32, last: u32) -> bool {
    let number = |text: &str| {
        let name = text.len() == 3 && text.chars().all(|c| c.is_ascii_alphabetic());
        name || text.parse::<u32>().is_ok_and(|number| (first..=last).contains(&number))
    };
    field.split(',').all(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let in_range =
            range == "*" || number(range) || range.split_once('-').is_some_and(|(a, b)| number(a) && number(b));
        in_range && step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0))
    })
}
