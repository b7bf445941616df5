//! The last plan of each subject, for the score of the run that follows it.

use rusqlite::{OptionalExtension, params};

use super::column::Json;
use super::{Journal, Plan, PlanKey};
use crate::error::Result;

impl Journal {
    /// Keeps a plan in place of the last one of the same subject.
    pub fn save_plan(&self, key: &PlanKey, plan: &Plan) -> Result<()> {
        self.with("cannot keep the plan", |inner| {
            inner
                .db
                .execute(
                    "INSERT OR REPLACE INTO plans (world, playbooks, selection, sources_hash, at, foretold)
                     VALUES (?, ?, ?, ?, ?, ?)",
                    params![
                        key.world,
                        Json(&key.playbooks),
                        key.selection,
                        plan.sources_hash,
                        plan.at,
                        Json(&plan.foretold),
                    ],
                )
                .map(drop)
        })
    }

    /// The last plan of a subject. Whether its sources are still the same is the caller's to see.
    pub fn last_plan(&self, key: &PlanKey) -> Result<Option<Plan>> {
        self.with("cannot give the last plan", |inner| {
            inner
                .db
                .query_row(
                    "SELECT sources_hash, at, foretold FROM plans
                     WHERE world = ? AND playbooks = ? AND selection = ?",
                    params![key.world, Json(&key.playbooks), key.selection],
                    |row| {
                        Ok(Plan { sources_hash: row.get(0)?, at: row.get(1)?, foretold: row.get::<_, Json<_>>(2)?.0 })
                    },
                )
                .optional()
        })
    }

    /// Forgets all that happened in a world: it is gone, and a new one has no past.
    pub fn forget_world(&self, world: &str) -> Result<()> {
        self.with("cannot forget a world", |inner| {
            for table in ["tasks", "changes", "steps", "notifications", "plans", "profile", "runs"] {
                inner.db.execute(&format!("DELETE FROM {table} WHERE world = ?"), [world])?;
            }
            Ok(())
        })
    }

    /// Drops a plan once a run was scored against it: it foretold that run, not the next.
    pub fn forget_plan(&self, key: &PlanKey) -> Result<()> {
        self.with("cannot drop the plan", |inner| {
            inner
                .db
                .execute(
                    "DELETE FROM plans WHERE world = ? AND playbooks = ? AND selection = ?",
                    params![key.world, Json(&key.playbooks), key.selection],
                )
                .map(drop)
        })
    }
}
