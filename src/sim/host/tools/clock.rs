//! date, sleep, uptime, timedatectl. Files and journals of the machines are told in UTC, the time of day in their zone.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Options;
use crate::sim::host::fs::now;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// A time in a format of strftime.
pub fn format(seconds: i64, format: &str) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return seconds.to_string() };
    let zoned = time.to_zoned(TimeZone::UTC);
    jiff::fmt::strtime::format(format, &zoned).unwrap_or_else(|_| format.to_owned())
}

/// The rule at the end of a zone's file.
fn zone(p: &Process, path: &str) -> TimeZone {
    let text = p.fs(|fs, _| fs.text(path));
    text.lines().last().and_then(|rule| TimeZone::posix(rule).ok()).unwrap_or(TimeZone::UTC)
}

/// A time in a format of strftime, in the machine's zone.
fn local(p: &Process, seconds: i64, format: &str) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return seconds.to_string() };
    let zoned = time.to_zoned(zone(p, "/etc/localtime"));
    jiff::fmt::strtime::format(format, &zoned).unwrap_or_else(|_| format.to_owned())
}

/// A time as `stat` prints it.
pub fn stamp(seconds: i64) -> String {
    format(seconds, "%Y-%m-%d %H:%M:%S.000000000 +0000")
}

/// A date as people write it for `date -d` and `touch -d`: `@seconds`, a date, a date and time, `now`.
pub fn parse(text: &str) -> Option<i64> {
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().ok();
    }
    if text == "now" {
        return Some(now());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let civil = text.trim_end_matches(" UTC").parse::<DateTime>().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

/// A length of time with a unit.
pub fn duration(text: &str) -> Option<Duration> {
    let (digits, factor) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1.0),
        'm' => (&text[..text.len() - 1], 60.0),
        'h' => (&text[..text.len() - 1], 3600.0),
        'd' => (&text[..text.len() - 1], 86400.0),
        _ => (text, 1.0),
    };
    Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * factor).ok()
}

/// The time.
pub fn date(p: &Process) -> Exit {
    let long = [("utc", 'u'), ("date", 'd'), ("iso-8601", 'I'), ("reference", 'r'), ("universal", 'u')];
    let options = Options::parse(p, "ud:r:R", &long)?;
    let time = match (options.value('d'), options.value('r')) {
        (Some(text), _) => parse(text).ok_or_else(|| Stop::NotSimulated(format!("date -d '{text}'")))?,
        (_, Some(path)) => p
            .fs(|fs, cred| fs.stat(cred, &p.path(path), true).map(|inode| inode.mtime))
            .map_err(|errno| Stop::Fail(1, format!("{path}: {errno}")))?,
        _ => now(),
    };
    let wanted = match options.operands.first().and_then(|operand| operand.strip_prefix('+')) {
        Some(wanted) => wanted.to_owned(),
        None if !options.operands.is_empty() => return not_simulated("setting the clock with date"),
        None if options.has('I') => match options.value('I') {
            Some("seconds" | "s") => "%Y-%m-%dT%H:%M:%S%:z".to_owned(),
            _ => "%Y-%m-%d".to_owned(),
        },
        None if options.has('R') => "%a, %d %b %Y %H:%M:%S %z".to_owned(),
        None => "%a %b %e %H:%M:%S %Z %Y".to_owned(),
    };
    // %N is the nanoseconds to GNU; whole seconds are all that these machines count.
    let wanted = wanted.replace("%3N", "000").replace("%N", "000000000");
    p.line(if options.has('u') { format(time, &wanted) } else { local(p, time, &wanted) })?;
    Ok(0)
}

/// Waits.
pub fn sleep(p: &Process) -> Exit {
    if p.operands().is_empty() {
        return fail("missing operand");
    }
    let mut total = Duration::ZERO;
    for text in p.operands() {
        total += match text.as_str() {
            "infinity" => Duration::from_secs(u64::from(u32::MAX)),
            text => duration(text).ok_or_else(|| Stop::Fail(1, format!("invalid time interval '{text}'")))?,
        };
    }
    p.session.life.sleep(total)?;
    Ok(0)
}

/// How long the machine has been up.
pub fn uptime(p: &Process) -> Exit {
    let (up, booted) = p.session.with(|machine| (machine.uptime(), machine.booted));
    match p.operands() {
        [] => p.line(format!(
            " {} up {} min,  0 users,  load average: 0.00, 0.01, 0.00",
            format(now(), "%H:%M:%S"),
            up / 60
        ))?,
        [flag] if flag == "-s" => p.line(format(booted, "%Y-%m-%d %H:%M:%S"))?,
        [flag] if flag == "-p" => p.line(format!("up {} minutes", up / 60))?,
        other => return not_simulated(format!("uptime {}", other.join(" "))),
    }
    Ok(0)
}

/// The clock's settings.
pub fn timedatectl(p: &Process) -> Exit {
    let options = Options::parse(p, "p:v", &[("property", 'p'), ("value", 'v'), ("no-pager", 'n')])?;
    let zone = p.fs(|fs, cred| fs.read_link(cred, "/etc/localtime")).unwrap_or_default();
    let zone = zone.rsplit_once("zoneinfo/").map_or("Etc/UTC".to_owned(), |(_, zone)| zone.to_owned());
    let synced = p.session.with(|machine| machine.is_synchronised());
    let yes_no = |truth: bool| if truth { "yes" } else { "no" };
    let all = [
        ("Timezone", zone.as_str()),
        ("LocalRTC", "no"),
        ("CanNTP", "yes"),
        ("NTP", yes_no(synced)),
        ("NTPSynchronized", yes_no(synced)),
    ];
    match options.operands.first().map(String::as_str) {
        Some("show") => {
            let wanted = options.values('p');
            for (name, value) in all.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
                p.line(if options.has('v') { (*value).to_owned() } else { format!("{name}={value}") })?;
            }
        }
        Some("set-timezone") => {
            let Some(zone) = options.operands.get(1) else { return fail("Too few arguments.") };
            if !p.cred.is_root() {
                return fail("Failed to set time zone: Access denied");
            }
            if p.fs(|fs, cred| !fs.stat(cred, &format!("/usr/share/zoneinfo/{zone}"), true).is_ok_and(|zone| zone.is_file())) {
                return fail(format!("Failed to set time zone: Invalid or not installed time zone '{zone}'"));
            }
            p.fs(|fs, cred| {
                let _gone = fs.unlink(cred, "/etc/localtime");
                fs.symlink(cred, &format!("/usr/share/zoneinfo/{zone}"), "/etc/localtime")?;
                fs.write(cred, "/etc/timezone", format!("{zone}\n").as_bytes(), 0o644)
            })?;
        }
        None | Some("status") => p.line(format!(
            "               Local time: {}\n           Universal time: {}\n                Time zone: {zone} ({})\nSystem clock synchronized: {}\n              NTP service: {}",
            local(p, now(), "%a %Y-%m-%d %H:%M:%S %Z"),
            format(now(), "%a %Y-%m-%d %H:%M:%S UTC"),
            local(p, now(), "%Z, %z"),
            yes_no(synced),
            if synced { "active" } else { "inactive" },
        ))?,
        Some(other) => return not_simulated(format!("timedatectl {other}")),
    }
    Ok(0)
}
