//! What the journal is asked.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Journal;
use super::column::{Json, Word};
use super::record::{ChangeRecord, InFlight, Recorded, RunInfo, RunRecord, StepRecord};
use crate::error::Result;
use crate::run::event::Change;

const RUN: &str =
    "SELECT run, world, mode, playbooks, sources_hash, arguments, selection, pid, version, started, finished,
        result, steps, coalesce(changes, (SELECT count(*) FROM changes
            WHERE changes.run = runs.run AND state IN ('planned', 'done'))) AS changes, fidelity, next, error
    FROM runs";

impl Journal {
    /// The last run of a world that was to change things; dry runs aside.
    pub fn last_run(&self, world: &str) -> Result<Option<RunRecord>> {
        self.with("cannot give the last run", |inner| {
            let sql = format!("{RUN} WHERE world = ? AND mode = 'run' ORDER BY run DESC LIMIT 1");
            inner.db.query_row(&sql, [world], run).optional()
        })
    }

    /// A run by its number.
    pub fn run(&self, number: i64) -> Result<Option<RunRecord>> {
        self.with("cannot give a run", |inner| {
            inner.db.query_row(&format!("{RUN} WHERE run = ?"), [number], run).optional()
        })
    }

    /// The newest runs of all worlds, dry runs too, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRecord>> {
        self.with("cannot give the runs", |inner| {
            let mut query = inner.db.prepare_cached(&format!("{RUN} ORDER BY run DESC LIMIT ?"))?;
            query.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], run)?.collect()
        })
    }

    /// The steps of a run, in the order in which they began.
    pub fn steps(&self, run: i64) -> Result<Vec<StepRecord>> {
        self.with("cannot give the steps of a run", |inner| {
            let mut query = inner.db.prepare_cached("SELECT * FROM steps WHERE run = ? ORDER BY rowid")?;
            query.query_map([run], step)?.collect()
        })
    }

    /// The changes of a run, in the order in which they were found.
    pub fn changes(&self, run: i64) -> Result<Vec<ChangeRecord>> {
        self.with("cannot give the changes of a run", |inner| {
            let mut query = inner.db.prepare_cached(
                "SELECT *, (SELECT json_group_array(upid) FROM
                        (SELECT upid FROM tasks t WHERE t.run = c.run AND t.change = c.change ORDER BY t.rowid)) AS tasks
                 FROM changes c WHERE run = ? ORDER BY change",
            )?;
            query.query_map([run], change)?.collect()
        })
    }

    /// The changes that began in a world and have no known end. A later run that reads such a thing back takes it off.
    pub fn in_flight(&self, world: &str) -> Result<Vec<InFlight>> {
        self.with("cannot say what is in flight", |inner| in_flight(&inner.db, world))
    }

    /// What a step gave back when it last went well in a real run. Skipped and failed attempts since do not count.
    pub fn step_value(&self, playbook: &str, id: &str, world: &str) -> Result<Option<Recorded>> {
        self.with("cannot give the value of a step", |inner| {
            inner
                .db
                .query_row(
                    "SELECT s.value, s.reusable, r.sources_hash, s.status, s.finished
                     FROM steps s JOIN runs r ON r.run = s.run
                     WHERE s.world = ? AND s.playbook = ? AND s.id = ? AND r.mode = 'run'
                         AND s.status IN ('ok', 'changed', 'pending', 'manual')
                     ORDER BY s.run DESC LIMIT 1",
                    params![world, playbook, id],
                    recorded,
                )
                .optional()
        })
    }

    /// Each step of a playbook as its last real run left it, in the order in which they began. Having been skipped says
    /// nothing about a step, so what it did before stands.
    pub fn steps_by_last_outcome(&self, playbook: &str, world: &str) -> Result<Vec<StepRecord>> {
        self.with("cannot give the steps of a playbook", |inner| {
            let mut query = inner.db.prepare_cached(
                "SELECT * FROM steps WHERE rowid IN (
                     SELECT max(s.rowid) FROM steps s JOIN runs r ON r.run = s.run
                     WHERE s.world = ? AND s.playbook = ? AND r.mode = 'run' AND coalesce(s.status, '') <> 'skipped'
                     GROUP BY s.id)
                 ORDER BY run, rowid",
            )?;
            query.query_map([world, playbook], step)?.collect()
        })
    }
}

pub(super) fn in_flight(db: &Connection, world: &str) -> rusqlite::Result<Vec<InFlight>> {
    let mut query = db.prepare_cached(
        "SELECT run, change, playbook, step, content, started,
             (SELECT upid FROM tasks t WHERE t.run = c.run AND t.change = c.change ORDER BY t.rowid DESC LIMIT 1) AS upid
         FROM changes c WHERE world = ? AND state = 'started' ORDER BY run, change",
    )?;
    let rows = query.query_map([world], |row| {
        let Json::<Change>(change) = row.get("content")?;
        Ok(InFlight {
            run: row.get("run")?,
            change: change.id,
            playbook: row.get("playbook")?,
            step: row.get("step")?,
            address: change.address,
            action: change.action,
            since: row.get("started")?,
            upid: row.get("upid")?,
        })
    })?;
    rows.collect()
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        run: row.get("run")?,
        info: RunInfo {
            playbooks: row.get::<_, Json<_>>("playbooks")?.0,
            sources_hash: row.get("sources_hash")?,
            arguments: row.get::<_, Json<_>>("arguments")?.0,
            world: row.get("world")?,
            mode: row.get::<_, Word<_>>("mode")?.0,
            selection: row.get("selection")?,
        },
        pid: row.get("pid")?,
        version: row.get("version")?,
        started: row.get("started")?,
        finished: row.get("finished")?,
        result: row.get("result")?,
        steps: json(row, "steps")?.unwrap_or_default(),
        changes: usize::try_from(row.get::<_, i64>("changes")?).unwrap_or_default(),
        fidelity: json(row, "fidelity")?,
        next: row.get("next")?,
        error: json(row, "error")?,
    })
}

fn step(row: &Row<'_>) -> rusqlite::Result<StepRecord> {
    Ok(StepRecord {
        run: row.get("run")?,
        playbook: row.get("playbook")?,
        phase: row.get("phase")?,
        id: row.get("id")?,
        title: row.get("title")?,
        parent: row.get("parent")?,
        status: row.get::<_, Option<Word<_>>>("status")?.map(|word| word.0),
        reason: row.get("reason")?,
        attempts: row.get("attempts")?,
        started: row.get("started")?,
        finished: row.get("finished")?,
        milliseconds: row.get::<_, Option<i64>>("milliseconds")?.map(i64::cast_unsigned),
        error: json(row, "error")?,
    })
}

fn change(row: &Row<'_>) -> rusqlite::Result<ChangeRecord> {
    Ok(ChangeRecord {
        run: row.get("run")?,
        change: row.get::<_, Json<_>>("content")?.0,
        playbook: row.get("playbook")?,
        step: row.get("step")?,
        state: row.get::<_, Word<_>>("state")?.0,
        started: row.get("started")?,
        milliseconds: row.get::<_, Option<i64>>("milliseconds")?.map(i64::cast_unsigned),
        error: json(row, "error")?,
        tasks: row.get::<_, Json<_>>("tasks")?.0,
    })
}

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let value = if row.get("reusable")? { json(row, "value")? } else { None };
    Ok(Recorded {
        value,
        sources_hash: row.get("sources_hash")?,
        status: row.get::<_, Word<_>>("status")?.0,
        at: row.get("finished")?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<Json<T>>>(column)?.map(|json| json.0))
}
