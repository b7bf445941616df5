//! What other programs see of a run: each event as one line of JSON, as it happens.

use std::io::{self, Write};

use super::unwritable;
use crate::error::Result;
use crate::run::event::{Event, Subscriber};

/// The screen of `--output json`.
pub struct JsonLines<W> {
    out: W,
}

impl<W: Write + Send> JsonLines<W> {
    /// Writes lines to `out`, each of them at once.
    pub fn new(out: W) -> Self {
        JsonLines { out }
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

impl<W: Write + Send> Subscriber for JsonLines<W> {
    fn notice(&mut self, event: &Event) -> Result<()> {
        self.write(event).map_err(|error| unwritable(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::sample;

    #[test]
    fn every_event_is_one_line_that_reads_back_as_itself() {
        let events = sample::real_run();
        let mut out = Vec::new();
        let mut screen = JsonLines::new(&mut out);
        events.iter().try_for_each(|event| screen.notice(event)).expect("written");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        assert_eq!(text.lines().count(), events.len());
        for (line, event) in text.lines().zip(&events) {
            let read: Event = serde_json::from_str(line).expect("an event");
            assert_eq!(serde_json::to_string(&read).expect("plain"), line);
            assert_eq!(read.sequence, event.sequence);
        }
    }

    #[test]
    fn each_line_says_in_which_mode_it_was_written() {
        let mut out = Vec::new();
        JsonLines::new(&mut out).notice(&sample::dry_run()[0]).expect("written");
        let line: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            (&line["schema"], &line["mode"], &line["event"]),
            (&1.into(), &"dry-run".into(), &"run-started".into())
        );
    }
}
