//! The crash-safe record of runs, steps and changes. It tells the story, speeds up and resumes; it is never asked what
//! is true of a machine. A change is on disk before it is made, so that one that was about to happen when the power went
//! is there by name. What came of it is on disk with the next change or with the run's end; no end of the program loses it.

mod column;
mod owed;
mod plan;
mod profile;
mod read;
mod record;
mod remains;
mod schema;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

use self::column::{Json, Word};
use self::schema::{Durability, Migrated};
use super::event::{Event, Mode, Subscriber};
use super::private;
use crate::error::{Class, Error, Result};

pub use self::owed::Ledger;
pub use self::record::{
    ChangeRecord, ChangeState, InFlight, Owed, Plan, PlanKey, Recorded, RunInfo, RunRecord, StepRecord,
};
pub use self::remains::Remains;

/// The journal of a project. Copies share one connection.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    file: PathBuf,
    db: Connection,
    durability: Durability,
    current: Option<Current>,
}

/// The run that events belong to.
struct Current {
    run: i64,
    info: RunInfo,
    playbook: String,
    phase: Option<String>,
    /// Addresses that older runs left in flight, so that the many things that are as they should be cost no query.
    in_doubt: HashSet<String>,
}

impl Journal {
    /// Opens the journal, making it and its folder where there is none. Both are closed to everyone but their owner.
    pub fn open(path: &Path) -> Result<Journal> {
        if let Some(folder) = path.parent() {
            private::folder(folder)?;
        }
        private::make_file(path)?;
        for suffix in ["-wal", "-shm"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            private::close_file(Path::new(&beside))?;
        }
        match connect(path) {
            Ok((db, Migrated::Current)) => {
                let inner = Inner { file: path.to_owned(), db, durability: Durability::AtOnce, current: None };
                Ok(Journal { inner: Arc::new(Mutex::new(inner)) })
            }
            Ok((_, Migrated::Newer)) => Err(newer(path)),
            Err(error) => Err(failed(path, "cannot be opened", error)),
        }
    }

    /// Begins a run: events belong to it from now on. Gives its number.
    pub fn begin_run(&self, info: RunInfo) -> Result<i64> {
        // Of a run of which nothing else is on disk nothing needs to be.
        self.with_durability(Durability::WithTheNext, "cannot note the run", |inner| {
            inner.db.execute(
                "INSERT INTO runs (world, mode, playbooks, sources_hash, arguments, selection, pid, version, started)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    info.world,
                    Word(info.mode),
                    Json(&info.playbooks),
                    info.sources_hash,
                    Json(&info.arguments),
                    info.selection,
                    std::process::id(),
                    env!("CARGO_PKG_VERSION"),
                    now(),
                ],
            )?;
            let run = inner.db.last_insert_rowid();
            // A dry run settles nothing: it may have read from its own plan.
            let in_doubt = match info.mode {
                Mode::Run => read::in_flight(&inner.db, &info.world)?.into_iter().map(|it| it.address).collect(),
                Mode::DryRun => HashSet::new(),
            };
            let playbook = info.playbooks.first().cloned().unwrap_or_default();
            inner.current = Some(Current { run, info, playbook, phase: None, in_doubt });
            Ok(run)
        })
    }

    fn note(&self, event: &Event, durability: Durability) -> Result<()> {
        self.with_durability(durability, "cannot note what happens", |inner| {
            let Some(current) = inner.current.as_mut() else {
                // Nothing can be lost by an event of no run: `begin_run` gives the number that the first event carries.
                return Ok(());
            };
            write::note(&mut inner.db, current, event)
        })
    }

    /// Works on the database, with SQLite's errors said in ours: `doing` goes on from the file's name.
    fn with<T>(&self, doing: &str, work: impl FnOnce(&mut Inner) -> rusqlite::Result<T>) -> Result<T> {
        self.with_durability(Durability::AtOnce, doing, work)
    }

    fn with_durability<T>(
        &self,
        durability: Durability,
        doing: &str,
        work: impl FnOnce(&mut Inner) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let done = inner.commit(durability).and_then(|()| work(&mut inner));
        done.map_err(|error| failed(&inner.file, doing, error))
    }
}

impl Inner {
    /// Decides when the commits to come are on disk.
    fn commit(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability != durability {
            schema::set_durability(&self.db, durability)?;
            self.durability = durability;
        }
        Ok(())
    }
}

impl Subscriber for Journal {
    fn notice(&mut self, event: &Event) -> Result<()> {
        self.note(event, write::durability(event))
    }

    /// All of them are on disk with the last one, by one wait for the disk.
    fn notice_all(&mut self, events: &[Event]) -> Result<()> {
        let Some((last, others)) = events.split_last() else { return Ok(()) };
        others.iter().try_for_each(|event| self.note(event, Durability::WithTheNext))?;
        let is_at_once = events.iter().any(|event| write::durability(event) == Durability::AtOnce);
        self.note(last, if is_at_once { Durability::AtOnce } else { Durability::WithTheNext })
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

fn connect(path: &Path) -> rusqlite::Result<(Connection, Migrated)> {
    let mut db = Connection::open(path)?;
    schema::configure(&db)?;
    let migrated = schema::migrate(&mut db)?;
    Ok((db, migrated))
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn newer(path: &Path) -> Error {
    Error::new(Class::UnsupportedVersion, format!("{}: written by a newer homelab", path.display())).help(format!(
        "use that one (this is {}), or put the journal out of the way, which loses nothing but history: {}",
        env!("CARGO_PKG_VERSION"),
        put_aside(path)
    ))
}

fn failed(path: &Path, doing: &str, error: rusqlite::Error) -> Error {
    let place = path.display();
    let damaged = matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        // Rows that do not say what this program wrote are damage too.
        || matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..));
    if damaged {
        let aside = put_aside(path);
        return Error::new(Class::Failed, format!("{place}: the journal is damaged")).cause(error).help(format!(
            "put it out of the way; nothing is lost but history, for the machines themselves are the truth: {aside}"
        ));
    }
    let help = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("make room: `df {place}`"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program keeps the journal locked; end it and try again".to_owned()
        }
        _ => format!("see who owns it and how full the disk is: `ls -l {place}; df {place}`"),
    };
    Error::new(Class::Failed, format!("{place}: the journal {doing}")).cause(error).help(help)
}

fn put_aside(path: &Path) -> String {
    let place = path.display();
    let folder = path.parent().unwrap_or(Path::new("")).join("damaged");
    let folder = folder.display();
    format!("`mkdir -p {folder} && mv {place}* {folder}/`")
}
