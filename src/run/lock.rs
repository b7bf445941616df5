//! One run at a time per project. The kernel holds the lock for as long as the process lives, so a dead one never
//! leaves it behind; the text inside the file only says who holds it, and means nothing once the lock is free.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::private;
use crate::error::{Class, Error, Result};

/// How often the lock is tried: whoever only asks [`Lock::holder`] has it for an instant, and a new holder needs one
/// to write who it is.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(30);

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it runs: a playbook, or several in one line.
    pub playbook: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: i64,
}

impl Holder {
    /// This process, from now on.
    pub fn this_process(playbook: impl Into<String>) -> Self {
        let since = Timestamp::now().as_millisecond();
        Holder { pid: std::process::id(), playbook: playbook.into(), since }
    }
}

/// The project's lock, free again when it is dropped or its process ends, however that comes about.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn acquire(path: &Path, holder: &Holder) -> Result<Lock> {
        if let Some(folder) = path.parent() {
            private::folder(folder)?;
        }
        let mut file = private::file(path)?;
        let mut attempts = ATTEMPTS;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempts > 1 => attempts -= 1,
                Err(TryLockError::WouldBlock) => return Err(taken(path, read_holder(&mut file))),
                Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
            }
            std::thread::sleep(PAUSE);
        }
        write_holder(&mut file, holder).map_err(|error| unusable(path, &error))?;
        Ok(Lock { file })
    }

    /// Who holds the lock at this moment, if anyone: a run in progress as against one that was cut short.
    pub fn holder(path: &Path) -> Result<Option<Holder>> {
        let mut file = match OpenOptions::new().read(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, &error)),
        };
        // A shared lock is refused only while a run holds its own; it is given back when the file closes.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(read_holder(&mut file)),
            Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The text is a courtesy to whoever reads the file; the kernel frees the lock when the file closes.
        let _ = self.file.set_len(0);
    }
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

/// `None` in the instant in which the holder has the lock and has not written yet who it is.
fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    serde_json::from_str(&text).ok()
}

fn taken(path: &Path, holder: Option<Holder>) -> Error {
    let path = path.display();
    let Some(Holder { pid, playbook, since }) = holder else {
        return Error::new(Class::Locked, format!("{path}: another run has just begun")).help("wait for it to end");
    };
    let since = match Timestamp::from_millisecond(since) {
        Ok(at) => at.to_zoned(TimeZone::system()).strftime("%F %T").to_string(),
        Err(_) => "an unknown time".to_owned(),
    };
    Error::new(Class::Locked, format!("{path}: held by the run of {playbook} (pid {pid}) since {since}"))
        .help(format!("wait for it to end, or stop it in good order: `kill -INT {pid}`"))
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::new(Class::Failed, format!("{}: the lock cannot be taken", path.display()))
        .cause(error)
        .help("the project must lie on a file system that supports locks; some network shares do not")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder { pid: 4711, playbook: "playbooks/phase3.rhai".into(), since: 1_780_000_000_000 }
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_lock_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(".homelab/run.lock");
        let first = Lock::acquire(&path, &holder()).expect("free");

        let error = Lock::acquire(&path, &Holder::this_process("other")).expect_err("held");
        assert_eq!(error.class(), Class::Locked);
        let message = error.message();
        assert!(message.contains("the run of playbooks/phase3.rhai (pid 4711) since 2026-05-2"), "{message}");
        assert_eq!(Lock::holder(&path).expect("readable"), Some(holder()));

        drop(first);
        assert_eq!(Lock::holder(&path).expect("readable"), None);
        Lock::acquire(&path, &Holder::this_process("other")).expect("free again");
    }

    #[test]
    fn what_a_dead_run_left_in_the_file_holds_nobody_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.lock");
        std::fs::write(&path, serde_json::to_string(&holder()).expect("plain")).expect("written");
        assert_eq!(Lock::holder(&path).expect("readable"), None);
        Lock::acquire(&path, &Holder::this_process("next")).expect("a stale text is no lock");
    }

    #[test]
    fn a_killed_process_gives_the_lock_back() {
        const PATH: &str = "HOMELAB_TEST_LOCK";
        if let Ok(path) = std::env::var(PATH) {
            let _lock = Lock::acquire(Path::new(&path), &Holder::this_process("doomed")).expect("free");
            std::process::abort();
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.lock");
        let child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "run::lock::tests::a_killed_process_gives_the_lock_back"])
            .env(PATH, &path)
            .output()
            .expect("started");
        assert!(!child.status.success(), "it aborts");
        let left = std::fs::read_to_string(&path).expect("the file stays");
        assert!(left.contains("doomed"), "{left}");
        Lock::acquire(&path, &Holder::this_process("next")).expect("free");
    }
}
