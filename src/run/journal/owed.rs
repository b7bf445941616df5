//! Notifications that are owed: a restart that a change calls for happens even when the run dies in between.

use rusqlite::{Connection, params};

use super::{Journal, Owed, now};
use crate::error::Result;
use crate::run::steps::Notifications;

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

/// A notification is owed where something at its addresses changed since it was last paid, and since the playbook last
/// ran to a good end: whatever it was to be told of then, it was told. Changes are journalled before they begin, so one
/// that was followed by a crash still counts in the next run; so does one that failed, for it may have taken effect.
pub struct Ledger {
    journal: Journal,
    world: String,
}

impl Ledger {
    /// The notifications of a world.
    pub fn new(journal: Journal, world: impl Into<String>) -> Self {
        Ledger { journal, world: world.into() }
    }
}

impl Notifications for Ledger {
    fn owed(&self, key: &str, addresses: &[String]) -> Result<bool> {
        self.journal.with("cannot say what is owed", |inner| {
            let mut query = inner.db.prepare_cached(
                "SELECT EXISTS (
                     SELECT 1 FROM changes c WHERE world = ?1 AND address = ?2
                     AND state IN ('started', 'done', 'settled', 'failed')
                     AND started > COALESCE((SELECT paid FROM notifications WHERE world = ?1 AND key = ?3), 0)
                     AND NOT EXISTS (
                         SELECT 1 FROM runs r, json_each(r.playbooks) p WHERE r.world = ?1 AND r.mode = 'run'
                         AND r.result = 'ok' AND r.selection = '' AND r.run >= c.run AND p.value = c.playbook))",
            )?;
            for address in addresses {
                if query.query_row(params![self.world, address, key], |row| row.get(0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn paid(&self, key: &str) -> Result<()> {
        self.journal.with("cannot note what was paid", |inner| {
            incur(&inner.db, &self.world, key, inner.current.as_ref().map(|current| current.run), now())?;
            settle(&inner.db, &self.world, key, now())
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
