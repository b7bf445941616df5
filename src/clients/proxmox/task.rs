//! Tasks: what the API starts and answers with a UPID. That answer promises nothing; the end of the task does.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::error::{Class, Error};

use super::failure::{class_of_text, help_for_text};
use super::{Answer, Client, Failure, Params, Result, segment};

/// How many lines of a failed task's log are quoted.
const QUOTED: usize = 5;

/// How many lines of a log are asked for at once.
const PAGE: u64 = 500;

/// The name of a task: `UPID:pve-01:00000821:000FC149:6B034D4B:qmcreate:250:root@pam:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upid {
    text: String,
    /// The node on which it runs. Only that node knows about it.
    pub node: String,
    /// The process.
    pub pid: u32,
    /// When the task started, in seconds since 1970.
    pub started: u64,
    /// What it does: `qmcreate`, `download`.
    pub kind: String,
    /// What it does it to: a VMID, a storage; empty where there is nothing to name.
    pub id: String,
    /// Who started it.
    pub user: String,
}

impl Upid {
    /// Takes a UPID apart.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parts(text).ok_or_else(|| Error::new(Class::Failed, format!("`{text}` is not the UPID of a task")))
    }

    /// The UPID in an answer.
    pub fn of(answer: &Answer) -> Result<Self, Error> {
        match answer.data.as_str() {
            Some(text) => Self::parse(text),
            None => Err(Error::new(Class::Failed, "the answer names no task")),
        }
    }

    fn parts(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, started, kind, id, user, ""] = fields[..] else { return None };
        let is_name = |name: &str| {
            !name.is_empty() && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let is_word = |word: &str| !word.contains(char::is_whitespace);
        if !is_name(node) || kind.is_empty() || user.is_empty() || ![kind, id, user].into_iter().all(is_word) {
            return None;
        }
        u64::from_str_radix(pstart, 16).ok()?;
        Some(Upid {
            text: text.to_owned(),
            node: node.to_owned(),
            pid: u32::from_str_radix(pid, 16).ok()?,
            started: u64::from_str_radix(started, 16).ok()?,
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
        })
    }

    fn path(&self, of: &str) -> String {
        format!("/nodes/{}/tasks/{}/{of}", self.node, segment(&self.text))
    }

    /// What it does to what, for people.
    fn title(&self) -> String {
        if self.id.is_empty() { self.kind.clone() } else { format!("{} {}", self.kind, self.id) }
    }
}

impl FromStr for Upid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskStatus {
    /// It still runs.
    Running,
    /// It ended, with this text: `OK`, `WARNINGS: 2`, or what went wrong.
    Stopped(String),
}

/// A look at a running task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskProgress {
    /// How long it has been waited for.
    pub waited: Duration,
    /// The newest line of its log.
    pub line: Option<String>,
}

/// The good end of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    /// How many warnings it gave; `None`: it ended with a plain OK.
    pub warnings: Option<u32>,
    /// With warnings: the last lines of the log, which tell what they are.
    pub lines: Vec<String>,
}

/// The bad end of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFailure {
    /// The task.
    pub upid: Upid,
    /// Its exit status, which is the text of the error.
    pub exit_status: String,
    /// The last lines of its log. For some tasks (migration, joining a cluster) the true reason is only here.
    pub log: Vec<String>,
}

impl TaskFailure {
    /// What kind of trouble it is.
    pub fn class(&self) -> Class {
        let texts = std::iter::once(&self.exit_status).chain(&self.log);
        texts.map(String::as_str).find_map(class_of_text).unwrap_or(Class::Failed)
    }
}

impl From<TaskFailure> for Error {
    fn from(failure: TaskFailure) -> Self {
        let class = failure.class();
        let TaskFailure { upid, exit_status, log } = failure;
        let help = help_for_text(&exit_status);
        let mut error =
            Error::new(class, format!("{}: the task {} failed", upid.node, upid.title())).cause(&exit_status);
        // The log ends by repeating the exit status.
        for line in log.iter().filter(|line| line.trim_start_matches("TASK ERROR: ") != exit_status) {
            error = error.cause(line);
        }
        error.help(help.unwrap_or_else(|| format!("the whole log: `pvenode task log {upid}`")))
    }
}

impl Client {
    /// How far a task is, asked of its own node.
    pub async fn task_status(&self, upid: &Upid) -> Result<TaskStatus> {
        let answer = self.get(&upid.path("status"), &Params::new()).await?;
        let text = |key: &str| answer.data.get(key).and_then(|value| value.as_str());
        match text("status") {
            Some("running") => Ok(TaskStatus::Running),
            Some("stopped") => Ok(TaskStatus::Stopped(text("exitstatus").unwrap_or("no exit status").to_owned())),
            _ => {
                Err(Error::new(Class::Failed, format!("{}: the task {} has no status", upid.node, upid.title())).into())
            }
        }
    }

    /// Waits until a task has ended. Lost connections, dead logins and a restarting API are endured for a while, as a
    /// task goes on without us. Dropping the future stops the waiting and leaves the task alone.
    pub async fn wait_task(
        &self,
        upid: &Upid,
        timeout: Duration,
        mut on_progress: impl FnMut(TaskProgress),
    ) -> Result<TaskEnd> {
        let begun = Instant::now();
        let mut pause = self.pace().poll;
        let mut last_seen = begun;
        let mut log = Log::default();
        loop {
            match self.task_status(upid).await {
                Ok(TaskStatus::Stopped(exit_status)) => return self.end(upid, exit_status, log).await,
                Ok(TaskStatus::Running) => {
                    last_seen = Instant::now();
                    // The log is for the eye alone here: a task that cannot show it still runs.
                    let _ = log.catch_up(self, upid).await;
                    on_progress(TaskProgress { waited: begun.elapsed(), line: log.lines.back().cloned() });
                }
                Err(failure) if failure.may_pass() && last_seen.elapsed() < self.pace().endure => {}
                Err(failure) => return Err(failure),
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(still_running(upid, timeout, &log).into());
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(self.pace().poll_at_most);
        }
    }

    async fn end(&self, upid: &Upid, exit_status: String, mut log: Log) -> Result<TaskEnd> {
        let warnings = match exit_status.as_str() {
            "OK" => return Ok(TaskEnd { warnings: None, lines: Vec::new() }),
            other => other.strip_prefix("WARNINGS: ").and_then(|count| count.trim().parse().ok()),
        };
        // How it ended is known; a log that cannot be read must not hide that.
        let unread = log.catch_up(self, upid).await.err();
        let mut lines = log.into_lines();
        if let Some(unread) = unread {
            lines.push(format!("(the rest of the log could not be read: {unread})"));
        }
        match warnings {
            Some(count) => Ok(TaskEnd { warnings: Some(count), lines }),
            None => Err(Failure::Task(Box::new(TaskFailure { upid: upid.clone(), exit_status, log: lines }))),
        }
    }
}

fn still_running(upid: &Upid, timeout: Duration, log: &Log) -> Error {
    let said = format!("{}: the task {} has not ended after {timeout:?}", upid.node, upid.title());
    let error = Error::new(Class::Timeout, said).help(format!("it goes on by itself: `pvenode task status {upid}`"));
    match log.lines.back() {
        Some(line) => error.cause(line),
        None => error,
    }
}

/// The end of a log, read as it grows.
#[derive(Default)]
struct Log {
    seen: u64,
    lines: VecDeque<String>,
}

impl Log {
    async fn catch_up(&mut self, client: &Client, upid: &Upid) -> Result<()> {
        loop {
            let page = Params::new().with("start", self.seen).with("limit", PAGE);
            let answer = client.get(&upid.path("log"), &page).await?;
            let rows = answer.data.as_array().map_or(&[][..], Vec::as_slice);
            let before = self.seen;
            for row in rows {
                let number = row.get("n").and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()));
                let text = row.get("t").and_then(|t| t.as_str()).unwrap_or_default();
                self.take(number, text);
            }
            if (rows.len() as u64) < PAGE || self.seen == before {
                return Ok(());
            }
        }
    }

    fn take(&mut self, number: Option<u64>, text: &str) {
        // An empty or absent log is answered with one line that is not in it.
        let stand_in = text == "no content" || text == "unable to open file - No such file or directory";
        let Some(number) = number.filter(|number| *number > self.seen) else { return };
        if stand_in && number == 1 {
            return;
        }
        self.seen = number;
        if !text.trim().is_empty() {
            self.lines.push_back(text.trim_end().to_owned());
        }
        if self.lines.len() > QUOTED {
            self.lines.pop_front();
        }
    }

    fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPID: &str = "UPID:pve-01:00000821:000FC149:6B034D4B:qmcreate:250:root@pam:";

    #[test]
    fn a_upid_tells_where_and_what_the_task_is() {
        let upid = Upid::parse(UPID).unwrap();
        assert_eq!((upid.node.as_str(), upid.kind.as_str(), upid.id.as_str()), ("pve-01", "qmcreate", "250"));
        assert_eq!((upid.pid, upid.started, upid.user.as_str()), (2081, 1_795_378_507, "root@pam"));
        assert_eq!(upid.to_string(), UPID);
    }

    #[test]
    fn a_upid_may_name_nothing_and_belong_to_a_token() {
        let upid = Upid::parse("UPID:pve-01:00000821:0FC149AAA:6B034D4B:srvreload::automation@pve!homelab:").unwrap();
        assert_eq!((upid.id.as_str(), upid.user.as_str()), ("", "automation@pve!homelab"));
    }

    #[test]
    fn what_is_no_upid_is_refused() {
        for text in [
            "",
            "UPID:garbage",
            &UPID[..UPID.len() - 1],
            &UPID.replace("00000821", "xyz"),
            &UPID.replace("pve-01", "a/b"),
        ] {
            assert_eq!(Upid::parse(text).unwrap_err().class(), Class::Failed, "{text}");
        }
    }

    #[test]
    fn a_failed_task_quotes_its_log_but_not_its_error_twice() {
        let failure = TaskFailure {
            upid: Upid::parse(UPID).unwrap(),
            exit_status: "migration aborted".into(),
            log: vec!["can't migrate local disk".into(), "TASK ERROR: migration aborted".into()],
        };
        let error = Error::from(failure);
        assert_eq!(error.message(), "pve-01: the task qmcreate 250 failed");
        assert_eq!(error.causes(), ["migration aborted", "can't migrate local disk"]);
    }
}
