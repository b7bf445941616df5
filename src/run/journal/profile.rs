//! Which facts of a host a playbook read last time, so that the next run asks for all of them in one round trip.

use rusqlite::params;

use super::schema::Durability;
use super::{Journal, now};
use crate::error::Result;

impl Journal {
    /// Remembers the facts that a playbook read of a host, in place of those of its last run.
    pub fn remember_facts(&self, world: &str, playbook: &str, host: &str, facts: &[String]) -> Result<()> {
        // Without it the next run asks one by one.
        self.with_durability(Durability::WithTheNext, "cannot remember which facts were read", |inner| {
            let transaction = inner.db.transaction()?;
            transaction.execute(
                "DELETE FROM profile WHERE world = ? AND playbook = ? AND host = ?",
                params![world, playbook, host],
            )?;
            for fact in facts {
                transaction.execute(
                    "INSERT OR IGNORE INTO profile (world, playbook, host, fact, at) VALUES (?, ?, ?, ?, ?)",
                    params![world, playbook, host, fact, now()],
                )?;
            }
            transaction.commit()
        })
    }

    /// The facts that the last run of a playbook read of a host.
    pub fn facts(&self, world: &str, playbook: &str, host: &str) -> Result<Vec<String>> {
        self.with("cannot say which facts were read", |inner| {
            let mut query = inner.db.prepare_cached(
                "SELECT fact FROM profile WHERE world = ? AND playbook = ? AND host = ? ORDER BY rowid",
            )?;
            let rows = query.query_map([world, playbook, host], |row| row.get(0))?;
            rows.collect()
        })
    }
}
