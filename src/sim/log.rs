//! The request log: one line a request, over all sessions.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use super::chance::now;
use crate::error::{Class, Error, Result};

/// The file's name in the simulator's folder.
const FILE: &str = "requests.jsonl";

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The run that made it.
    pub session: String,
    /// When it was answered, in milliseconds since 1970.
    pub at: u64,
    /// `proxmox`, `ssh`, `web` or `kubernetes`; `fault` for what went wrong on purpose, `quorum` for what a cluster lost or
    /// regained, `session` for the line that begins a session,
    /// `connection` for a handshake.
    pub kind: String,
    /// The node or host it went to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The HTTP method, or the command line; of a connection `tls` or `ssh`; of a fault what went wrong with what.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The path below the formatter; over SSH the user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Its parameters, secrets masked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The HTTP status, or the exit status of the command.
    pub status: i32,
    /// Whether it changes anything, or would have.
    pub mutating: bool,
    /// The task that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// Takes out of a text what must not be in the log.
pub type Conceal = Box<dyn Fn(&str) -> String + Send + Sync>;

/// The log, open for writing.
pub(crate) struct RequestLog {
    /// What must not be in it, wherever it turns up.
    secrets: Vec<String>,
    /// The same, for what only the client knows to be secret.
    conceal: OnceLock<Conceal>,
    path: PathBuf,
    file: Mutex<File>,
}

impl RequestLog {
    /// Opens the log.
    pub(crate) fn open(dir: &Path, secrets: &[&str]) -> Result<Self> {
        let path = dir.join(FILE);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|error| failed(&path, error))?;
        let secrets = secrets.iter().filter(|secret| !secret.is_empty()).map(|secret| secret.to_string()).collect();
        Ok(RequestLog { secrets, conceal: OnceLock::new(), path, file: Mutex::new(file) })
    }

    /// Begins a session.
    pub(crate) fn begin(&self, session: &str) -> Result<()> {
        self.write(Entry { session: session.into(), kind: "session".into(), ..Entry::default() })
    }

    /// An entry with its secrets masked: people put them into command lines and paths.
    fn without_secrets(&self, mut entry: Entry) -> Entry {
        let texts = [&mut entry.target, &mut entry.method, &mut entry.path].into_iter();
        for text in texts.chain(&mut entry.task).chain(entry.params.values_mut()) {
            if let Some(conceal) = self.conceal.get() {
                *text = conceal(text);
            }
            for secret in self.secrets.iter().filter(|secret| text.contains(*secret)).collect::<Vec<_>>() {
                *text = text.replace(secret, "***");
            }
        }
        entry
    }

    /// Says what takes out of a text what only the client knows to be secret. The first one holds.
    pub(crate) fn conceal(&self, conceal: Conceal) {
        let _ = self.conceal.set(conceal);
    }

    /// Appends a request.
    pub(crate) fn write(&self, entry: Entry) -> Result<()> {
        let entry = Entry { at: now(), ..entry };
        let line = serde_json::to_string(&self.without_secrets(entry)).map_err(|error| failed(&self.path, error))?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that a line is whole or not there.
        file.write_all(format!("{line}\n").as_bytes()).map_err(|error| failed(&self.path, error))
    }
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Class::Failed, format!("simulator: {}: the request log fails", path.display())).cause(cause)
}

/// What is read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All requests.
    Requests,
    /// The requests that change something, or would have.
    Mutating,
    /// The connections that were made: each cost a handshake.
    Connections,
}

impl Wanted {
    fn has(self, entry: &Entry) -> bool {
        match (self, entry.kind.as_str()) {
            (_, "session") => false,
            (Wanted::Connections, kind) => kind == "connection",
            (_, "connection") => false,
            (Wanted::Mutating, _) => entry.mutating,
            (Wanted::Requests, _) => true,
        }
    }
}

/// Reads the log of a simulator's folder: with `last` only the session that began last; others may go on
/// beside it.
pub fn read_log(dir: &Path, last: bool, wanted: Wanted) -> Result<Vec<Entry>> {
    let path = dir.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&path, error)),
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut newest = None;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|error| failed(&path, error))?;
        // A program that was killed may leave half a line.
        let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
        if entry.kind == "session" {
            newest = Some(entry.session);
        } else if wanted.has(&entry) {
            entries.push(entry);
        }
    }
    entries.retain(|entry| !last || newest.as_ref() == Some(&entry.session));
    Ok(entries)
}

/// Parameters whose values nobody should read.
const SECRET: [&str; 4] = ["password", "cipassword", "confirmation-password", "tfa-challenge"];

/// A parameter's value as the log may show it.
pub(crate) fn masked(name: &str, value: &str) -> String {
    if SECRET.contains(&name) { "***".into() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(session: &str, method: &str, mutating: bool) -> Entry {
        let session = session.into();
        Entry { session, kind: "proxmox".into(), method: method.into(), mutating, ..Entry::default() }
    }

    fn log(dir: &Path, secrets: &[&str], session: &str) -> RequestLog {
        let log = RequestLog::open(dir, secrets).unwrap();
        log.begin(session).unwrap();
        log
    }

    #[test]
    fn the_last_session_is_the_newest_that_began_even_when_it_asked_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let first = log(dir.path(), &[], "one");
        first.write(request("one", "GET", false)).unwrap();
        first.write(request("one", "POST", true)).unwrap();
        assert_eq!(read_log(dir.path(), true, Wanted::Requests).unwrap().len(), 2);
        assert_eq!(read_log(dir.path(), true, Wanted::Mutating).unwrap()[0].method, "POST");
        log(dir.path(), &[], "two");
        assert!(read_log(dir.path(), true, Wanted::Requests).unwrap().is_empty());
        assert_eq!(read_log(dir.path(), false, Wanted::Requests).unwrap().len(), 2);
    }

    #[test]
    fn sessions_that_go_on_beside_the_last_one_are_not_mixed_up_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), &[], "serve");
        log.begin("run").unwrap();
        for session in ["run", "serve", "run"] {
            log.write(request(session, "GET", false)).unwrap();
        }
        let last = read_log(dir.path(), true, Wanted::Requests).unwrap();
        assert_eq!(last.iter().map(|entry| entry.session.as_str()).collect::<Vec<_>>(), ["run", "run"]);
    }

    #[test]
    fn half_a_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path(), &[], "one").write(request("one", "GET", false)).unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"{\"session\":\"one\",\"at\n\xff\xfe\0\n").unwrap();
        assert_eq!(read_log(dir.path(), true, Wanted::Requests).unwrap().len(), 1);
    }

    #[test]
    fn secrets_are_masked_wherever_they_turn_up() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), &["s3cret", "", "t0ken"], "one");
        let params = BTreeMap::from([("comment".to_string(), "is s3cret".to_string())]);
        log.write(Entry { params, ..request("one", "curl -H 't0ken' https://u:s3cret@host/", false) }).unwrap();
        let entry = read_log(dir.path(), true, Wanted::Requests).unwrap().remove(0);
        assert_eq!(entry.method, "curl -H '***' https://u:***@host/");
        assert_eq!(entry.params["comment"], "is ***");
    }

    #[test]
    fn passwords_are_masked() {
        assert_eq!(masked("password", "x"), "***");
        assert_eq!(masked("name", "x"), "x");
    }
}
