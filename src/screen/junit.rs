//! A run as a JUnit XML file, for the CI systems that show such a file. It is written when the run ends.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::words;
use crate::error::{Class, Error, Result};
use crate::run::event::{ErrorReport, Event, Status, Subscriber, What};

/// The screen of `--junit FILE`.
pub struct JUnit {
    path: PathBuf,
    playbook: String,
    cases: Vec<Case>,
}

struct Case {
    playbook: String,
    id: String,
    title: String,
    /// `None` while it runs, and for good where the run was cut short.
    end: Option<End>,
}

struct End {
    status: Status,
    reason: Option<String>,
    milliseconds: u64,
    error: Option<ErrorReport>,
}

impl JUnit {
    /// Will write the file when the run ends.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JUnit { path: path.into(), playbook: String::new(), cases: Vec::new() }
    }

    fn finish(&mut self, id: &str, end: End) {
        let open = self.cases.iter_mut().rev().find(|case| case.id == id && case.end.is_none());
        match open {
            Some(case) => case.end = Some(end),
            None => {
                let (playbook, id) = (self.playbook.clone(), id.to_owned());
                self.cases.push(Case { playbook, title: String::new(), id, end: Some(end) });
            }
        }
    }

    fn xml(&self, milliseconds: u64, error: Option<&ErrorReport>) -> String {
        let mut suites = String::new();
        let mut failures = 0;
        let mut playbooks: Vec<&str> = Vec::new();
        for case in &self.cases {
            if !playbooks.contains(&case.playbook.as_str()) {
                playbooks.push(&case.playbook);
            }
        }
        for playbook in playbooks {
            let cases: Vec<&Case> = self.cases.iter().filter(|case| case.playbook == playbook).collect();
            failures += cases.iter().filter(|case| case.failed()).count();
            suites += &suite(playbook, &cases);
        }
        let errors = usize::from(error.is_some());
        if let Some(error) = error {
            let (message, text) = (escape(&error.message), escape_text(&error.rendered));
            suites += &format!(
                "  <testsuite name=\"run\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.000\">\n    \
                 <testcase classname=\"run\" name=\"run\" time=\"0.000\">\n      \
                 <error type=\"{}\" message=\"{message}\">{text}</error>\n    </testcase>\n  </testsuite>\n",
                error.class
            );
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"homelab\" tests=\"{}\" \
             failures=\"{failures}\" errors=\"{errors}\" time=\"{}\">\n{suites}</testsuites>\n",
            self.cases.len() + errors,
            seconds(milliseconds)
        )
    }
}

impl Subscriber for JUnit {
    fn notice(&mut self, event: &Event) -> Result<()> {
        match &event.what {
            What::RunStarted { playbooks, .. } => {
                self.playbook = playbooks.first().cloned().unwrap_or_default();
                self.cases.clear();
            }
            What::PlaybookStarted { playbook } => self.playbook.clone_from(playbook),
            What::StepStarted { id, title, .. } => {
                let (playbook, id, title) = (self.playbook.clone(), id.clone(), title.clone());
                self.cases.push(Case { playbook, id, title, end: None });
            }
            What::StepFinished { id, status, reason, milliseconds, error, .. } => {
                let (reason, error) = (reason.clone(), error.clone());
                self.finish(id, End { status: *status, reason, milliseconds: *milliseconds, error });
            }
            What::RunFinished { milliseconds, error, .. } => {
                let xml = self.xml(*milliseconds, error.as_ref());
                std::fs::write(&self.path, xml).map_err(|error| unwritable(&self.path, &error))?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Case {
    fn failed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.status == Status::Failed)
    }

    /// Neither proven nor failed: no step that someone still has to look after counts as passed.
    fn skipped(&self) -> bool {
        !self.failed() && !self.end.as_ref().is_some_and(|end| matches!(end.status, Status::Ok | Status::Changed))
    }

    fn xml(&self) -> String {
        let milliseconds = self.end.as_ref().map_or(0, |end| end.milliseconds);
        let name = format!("{} {}", self.id, self.title);
        let mut xml = format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
            escape(&self.playbook),
            escape(name.trim_end()),
            seconds(milliseconds)
        );
        let inner = self.inner();
        if inner.is_empty() {
            xml += "/>\n";
        } else {
            xml += &format!(">\n      {inner}\n    </testcase>\n");
        }
        xml
    }

    fn inner(&self) -> String {
        let Some(end) = &self.end else {
            return "<skipped message=\"stopped before it ended\"/>".to_owned();
        };
        if self.failed() {
            let reason = end.reason.as_deref().unwrap_or("failed");
            return match &end.error {
                Some(error) => format!(
                    "<failure type=\"{}\" message=\"{}\">{}</failure>",
                    error.class,
                    escape(&error.message),
                    escape_text(&error.rendered)
                ),
                None => format!("<failure message=\"{}\"/>", escape(reason)),
            };
        }
        if self.skipped() {
            let word = words::status(end.status);
            let message = end.reason.as_ref().map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"));
            return format!("<skipped message=\"{}\"/>", escape(&message));
        }
        String::new()
    }
}

fn suite(playbook: &str, cases: &[&Case]) -> String {
    let milliseconds = cases.iter().filter_map(|case| case.end.as_ref()).map(|end| end.milliseconds).sum();
    let mut xml = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">\n",
        escape(playbook),
        cases.len(),
        cases.iter().filter(|case| case.failed()).count(),
        cases.iter().filter(|case| case.skipped()).count(),
        seconds(milliseconds)
    );
    xml.extend(cases.iter().map(|case| case.xml()));
    xml + "  </testsuite>\n"
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// Text as it may stand between tags.
fn escape_text(text: &str) -> String {
    escape(text).replace("&#10;", "\n")
}

/// Text as it may stand in quotes. What XML 1.0 cannot hold at all is replaced.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            // As they are they would be read back as blanks in an attribute.
            '\n' | '\r' | '\t' => {
                // Writing to a string does not fail.
                let _ = write!(safe, "&#{};", u32::from(character));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(character),
        }
    }
    safe
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Class::Failed, format!("{}: the JUnit report cannot be written", path.display()))
        .cause(error)
        .help("name a file in a folder that is there: `--junit FILE`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::sample;

    fn report(events: &[Event]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.xml");
        let mut screen = JUnit::new(&path);
        events.iter().try_for_each(|event| screen.notice(event)).expect("written");
        std::fs::read_to_string(path).expect("the report")
    }

    #[test]
    fn a_step_is_a_test_case_and_its_error_a_failure() {
        insta::assert_snapshot!(report(&sample::real_run()));
    }

    #[test]
    fn what_a_dry_run_defers_does_not_count_as_passed() {
        let report = report(&sample::dry_run());
        assert!(report.contains("<skipped message=\"deferred: needs proxmox:vm:111.ip\"/>"), "{report}");
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("<a b=\"c\">\x1b[0m\n\u{fffe}&"), "&lt;a b=&quot;c&quot;&gt;\u{fffd}[0m&#10;\u{fffd}&amp;");
    }
}
