//! What earlier runs left in flight, for the run that comes upon it.

use rusqlite::params;

use super::Journal;
use crate::error::Result;
use crate::run::steps::Doubts;

/// The changes of a world that earlier runs began and did not see the end of.
pub struct Remains {
    journal: Journal,
    world: String,
}

impl Remains {
    /// Those of a world.
    pub fn new(journal: Journal, world: impl Into<String>) -> Self {
        Remains { journal, world: world.into() }
    }
}

impl Doubts for Remains {
    fn left_in_flight(&self, address: &str) -> Result<Option<Vec<String>>> {
        self.journal.with("cannot say what was left in flight", |inner| {
            let run = inner.current.as_ref().map_or(i64::MAX, |current| current.run);
            let mut query = inner.db.prepare_cached(
                "SELECT t.upid FROM changes c LEFT JOIN tasks t ON t.run = c.run AND t.change = c.change
                 WHERE c.world = ? AND c.address = ? AND c.state = 'started' AND c.run < ? ORDER BY c.run, t.rowid",
            )?;
            let rows = query.query_map(params![self.world, address, run], |row| row.get::<_, Option<String>>(0))?;
            let upids = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((!upids.is_empty()).then(|| upids.into_iter().flatten().collect()))
        })
    }
}
