//! How durations, times, counts and statuses are said.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::paint::{Paint, Tone};
use crate::run::event::Status;

/// `0.4s`, `12.4s`, `1m 24s`, `2h 05m`.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `just now`, `5 minutes ago`, `3 days ago`.
pub(super) fn age(at: i64, now: i64) -> String {
    let seconds = usize::try_from(now.saturating_sub(at) / 1000).unwrap_or(0);
    let (number, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} ago", count(number, unit))
}

/// `2026-05-28 20:26:40` in a time zone.
pub(super) fn time(at: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(at) => at.to_zoned(zone.clone()).strftime("%F %T").to_string(),
        Err(_) => format!("{at}ms"),
    }
}

/// `1 change`, `2 changes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A status as people read it.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Changed => "changed",
        Status::Planned => "planned",
        Status::Deferred => "deferred",
        Status::Pending => "pending",
        Status::Manual => "manual",
        Status::Blocked => "blocked",
        Status::Skipped => "skipped",
        Status::Failed => "failed",
    }
}

/// The first words of a step's line: how it ended, which it is, what it is about.
pub(super) fn step_line(paint: Paint, word: &str, tone: Tone, id: &str, title: &str) -> String {
    let title = if title == id { "" } else { title };
    let line = format!("  {}  {id}  {title}", paint.tone(tone, format!("{word:<8}")));
    line.trim_end().to_owned()
}

/// The colour of a status.
pub(super) fn tone(status: Status) -> Tone {
    match status {
        Status::Ok => Tone::Good,
        Status::Changed => Tone::Change,
        Status::Planned => Tone::Plan,
        Status::Deferred | Status::Pending | Status::Manual | Status::Blocked => Tone::Wait,
        Status::Skipped => Tone::Dim,
        Status::Failed => Tone::Bad,
    }
}

/// Each line of a text, indented.
pub(super) fn indented(text: &str, by: usize) -> impl Iterator<Item = String> {
    let text = text.trim_end_matches('\n');
    text.lines().map(move |line| if line.is_empty() { String::new() } else { format!("{:by$}{line}", "") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_fine_as_they_need_to_be() {
        let said: Vec<_> = [0, 412, 59_999, 84_000, 7_500_000].into_iter().map(duration).collect();
        assert_eq!(said, ["0.0s", "0.4s", "59.9s", "1m 24s", "2h 05m"]);
    }

    #[test]
    fn an_age_is_said_in_its_largest_unit() {
        let now = 1_000_000_000;
        let said: Vec<_> = [-5, 59, 60, 7_300, 200_000].into_iter().map(|s| age(now - s * 1000, now)).collect();
        assert_eq!(said, ["just now", "just now", "1 minute ago", "2 hours ago", "2 days ago"]);
    }
}
