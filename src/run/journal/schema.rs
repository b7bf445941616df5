//! The tables, and how a journal of an older homelab becomes one of this.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// How long another process may keep the journal locked.
const PATIENCE: Duration = Duration::from_secs(10);

/// One entry a version; `PRAGMA user_version` says how many of them a file has seen. They are only ever added to.
/// The world stands on every row: what happened in the simulator says nothing about the homelab.
pub(super) const MIGRATIONS: &[&str] = &[r"
    CREATE TABLE runs (
        run          INTEGER PRIMARY KEY AUTOINCREMENT,
        world        TEXT    NOT NULL,
        mode         TEXT    NOT NULL,
        playbooks    TEXT    NOT NULL,
        sources_hash TEXT    NOT NULL,
        arguments    TEXT    NOT NULL,
        selection    TEXT    NOT NULL,
        pid          INTEGER NOT NULL,
        version      TEXT    NOT NULL,
        started      INTEGER NOT NULL,
        finished     INTEGER,
        result       TEXT,
        steps        TEXT,
        changes      INTEGER,
        fidelity     TEXT,
        next         TEXT,
        error        TEXT
    ) STRICT;
    CREATE INDEX runs_by_world ON runs (world, mode, run);

    CREATE TABLE steps (
        run          INTEGER NOT NULL REFERENCES runs (run),
        world        TEXT    NOT NULL,
        playbook     TEXT    NOT NULL,
        id           TEXT    NOT NULL,
        phase        TEXT,
        title        TEXT    NOT NULL,
        parent       TEXT,
        attempts     INTEGER NOT NULL DEFAULT 1,
        status       TEXT,
        reason       TEXT,
        value        TEXT,
        reusable     INTEGER NOT NULL DEFAULT 0,
        started      INTEGER NOT NULL,
        finished     INTEGER,
        milliseconds INTEGER,
        error        TEXT,
        UNIQUE (run, playbook, id)
    ) STRICT;
    CREATE INDEX steps_by_id ON steps (world, playbook, id, run);

    CREATE TABLE changes (
        run          INTEGER NOT NULL REFERENCES runs (run),
        world        TEXT    NOT NULL,
        change       INTEGER NOT NULL,
        playbook     TEXT    NOT NULL,
        step         TEXT,
        address      TEXT    NOT NULL,
        content      TEXT    NOT NULL,
        state        TEXT    NOT NULL,
        started      INTEGER NOT NULL,
        finished     INTEGER,
        milliseconds INTEGER,
        error        TEXT,
        PRIMARY KEY (run, change)
    ) STRICT;
    CREATE INDEX changes_in_flight ON changes (world, address) WHERE state = 'started';

    CREATE TABLE tasks (
        run     INTEGER NOT NULL,
        world   TEXT    NOT NULL,
        change  INTEGER NOT NULL,
        upid    TEXT    NOT NULL,
        started INTEGER NOT NULL,
        FOREIGN KEY (run, change) REFERENCES changes (run, change)
    ) STRICT;
    CREATE INDEX tasks_by_change ON tasks (run, change);

    CREATE TABLE notifications (
        world TEXT    NOT NULL,
        key   TEXT    NOT NULL,
        run   INTEGER,
        since INTEGER NOT NULL,
        paid  INTEGER,
        PRIMARY KEY (world, key)
    ) STRICT;

    CREATE TABLE plans (
        world        TEXT    NOT NULL,
        playbooks    TEXT    NOT NULL,
        selection    TEXT    NOT NULL,
        sources_hash TEXT    NOT NULL,
        at           INTEGER NOT NULL,
        foretold     TEXT    NOT NULL,
        PRIMARY KEY (world, playbooks, selection)
    ) STRICT;

    CREATE TABLE profile (
        world    TEXT    NOT NULL,
        playbook TEXT    NOT NULL,
        host     TEXT    NOT NULL,
        fact     TEXT    NOT NULL,
        at       INTEGER NOT NULL,
        PRIMARY KEY (world, playbook, host, fact)
    ) STRICT;
"];

/// What came of looking at a journal's version.
pub(super) enum Migrated {
    /// It is as this homelab wants it.
    Current,
    /// A newer homelab wrote it.
    Newer,
}

/// When a commit is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Before it returns.
    AtOnce,
    /// With the next one that is there at once. No end of this program loses it; a power cut may, and then all that came
    /// after it too.
    WithTheNext,
}

/// Settings of a connection: every commit is on disk when it returns, and a reader never waits for a writer.
pub(super) fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    use_write_ahead_log(db)?;
    set_durability(db, Durability::AtOnce)?;
    db.pragma_update(None, "foreign_keys", "ON")
}

/// Decides it for the commits to come. Without the write-ahead log a power cut could harm the file itself, so that all of
/// them are on disk at once.
pub(super) fn set_durability(db: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let has_log = || db.pragma_query_value(None, "journal_mode", |row| Ok(row.get::<_, String>(0)? == "wal"));
    let later = durability == Durability::WithTheNext && has_log()?;
    db.pragma_update(None, "synchronous", if later { "NORMAL" } else { "FULL" })
}

/// Where the file system cannot share memory SQLite stays with its rollback journal, which is as safe.
fn use_write_ahead_log(db: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // SQLite does not wait on its own here when another first run is about to do the same.
        match db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Brings the tables up to date.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<Migrated> {
    if version(db)? == MIGRATIONS.len() {
        return Ok(Migrated::Current);
    }
    // Asked again once nobody else can write: two first runs may start at the same time.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen = version(&transaction)?;
    let Some(missing) = MIGRATIONS.get(seen..) else {
        return Ok(Migrated::Newer);
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(Migrated::Current)
}

fn version(db: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A negative number is none that homelab wrote: treated as newer, it is left alone.
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}
