//! Notifications that are owed: a restart that a change calls for happens even when the run dies in between.

use rusqlite::{Connection, params};

use super::{Journal, Owed, now};
use crate::error::Result;

impl Journal {
    /// Notes that something is owed. Owed twice it is still owed once, since the first time.
    pub fn owe(&self, world: &str, key: &str) -> Result<()> {
        self.with("cannot note what is owed", |inner| {
            let run = inner.current.as_ref().map(|current| current.run);
            incur(&inner.db, world, key, run, now())
        })
    }

    /// Notes that it was carried out.
    pub fn pay(&self, world: &str, key: &str) -> Result<()> {
        self.with("cannot note what was paid", |inner| settle(&inner.db, world, key, now()))
    }

    /// What is owed in a world, oldest first.
    pub fn owed(&self, world: &str) -> Result<Vec<Owed>> {
        self.with("cannot say what is owed", |inner| {
            let mut query = inner.db.prepare_cached(
                "SELECT key, since, run FROM notifications WHERE world = ? AND paid IS NULL ORDER BY since, key",
            )?;
            let rows =
                query.query_map([world], |row| Ok(Owed { key: row.get(0)?, since: row.get(1)?, run: row.get(2)? }))?;
            rows.collect()
        })
    }
}

pub(super) fn incur(db: &Connection, world: &str, key: &str, run: Option<i64>, at: i64) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO notifications (world, key, run, since) VALUES (?, ?, ?, ?)
         ON CONFLICT (world, key) DO UPDATE SET run = excluded.run, since = excluded.since, paid = NULL
         WHERE paid IS NOT NULL",
        params![world, key, run, at],
    )
    .map(drop)
}

pub(super) fn settle(db: &Connection, world: &str, key: &str, at: i64) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE notifications SET paid = ? WHERE world = ? AND key = ? AND paid IS NULL",
        params![at, world, key],
    )
    .map(drop)
}
