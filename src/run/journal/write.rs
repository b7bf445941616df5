//! How an event becomes rows.

use rusqlite::{Connection, params};
use serde_json::Value as Json;

use super::column::{self, Word};
use super::record::ChangeState;
use super::schema::Durability;
use super::{Current, owed};
use crate::run::event::{Change, ErrorReport, Event, Mode, Status, What};
use crate::run::secret::DOTS;

/// Whether what an event tells must outlive a power cut that follows at once. Of the others the next run finds out by
/// looking: a step that seems not to have ended is done again, a change that seems under way is looked at.
pub(super) fn durability(event: &Event) -> Durability {
    match event.what {
        What::ChangeStarted { .. }
        | What::TaskStarted { .. }
        | What::Notification { .. }
        | What::RunFinished { .. } => Durability::AtOnce,
        _ => Durability::WithTheNext,
    }
}

/// Writes down an event. What only a screen needs (waits, output, messages) leaves no row.
pub(super) fn note(db: &mut Connection, current: &mut Current, event: &Event) -> rusqlite::Result<()> {
    match &event.what {
        What::RunStarted { .. } => {
            db.execute("UPDATE runs SET started = ? WHERE run = ?", params![event.at, current.run]).map(drop)
        }
        What::PlaybookStarted { playbook } => {
            current.playbook.clone_from(playbook);
            current.phase = None;
            Ok(())
        }
        What::PhaseStarted { id, title } => {
            current.phase = Some(format!("Phase {id}: {title}"));
            Ok(())
        }
        What::StepStarted { id, title, parent } => step_started(db, current, event.at, (id, title, parent.as_deref())),
        What::StepFinished { .. } => step_finished(db, current, event),
        What::ChangePlanned { change, step } => {
            change_noted(db, current, event.at, change, step.as_deref(), ChangeState::Planned)
        }
        What::ChangeStarted { change, step } => {
            change_noted(db, current, event.at, change, step.as_deref(), ChangeState::Started)
        }
        What::TaskStarted { change, upid } => db
            .execute(
                "INSERT INTO tasks (run, world, change, upid, started) VALUES (?, ?, ?, ?, ?)",
                params![current.run, current.info.world, change.cast_signed(), upid, event.at],
            )
            .map(drop),
        What::ChangeFinished { change, milliseconds, error } => {
            change_finished(db, current, event.at, *change, *milliseconds, error.as_ref())
        }
        What::Unchanged { address, .. } => settle(db, current, address),
        What::Notification { key, owed } => note_debt(db, current, event.at, key, *owed),
        What::RunFinished { .. } => run_finished(db, current, event),
        What::Waiting { .. } | What::Output { .. } | What::Message { .. } => Ok(()),
    }
}

fn step_started(
    db: &Connection,
    current: &Current,
    at: i64,
    (id, title, parent): (&str, &str, Option<&str>),
) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO steps (run, world, playbook, id, phase, title, parent, started) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (run, playbook, id) DO UPDATE SET attempts = attempts + 1, started = excluded.started,
             status = NULL, finished = NULL",
        params![current.run, current.info.world, current.playbook, id, current.phase, title, parent, at],
    )
    .map(drop)
}

fn step_finished(db: &Connection, current: &Current, event: &Event) -> rusqlite::Result<()> {
    let What::StepFinished { id, status, reason, value, milliseconds, error } = &event.what else {
        return Ok(());
    };
    // What was skipped never began: it has a row all the same, so that `show` tells of every step.
    db.execute(
        "INSERT INTO steps (run, world, playbook, id, phase, title, started, status, reason, value, reusable, finished,
             milliseconds, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?4, ?6, ?7, ?8, ?9, ?10, ?6, ?11, ?12)
         ON CONFLICT (run, playbook, id) DO UPDATE SET status = excluded.status, reason = excluded.reason,
             value = excluded.value, reusable = excluded.reusable, finished = excluded.finished,
             milliseconds = excluded.milliseconds, error = excluded.error",
        params![
            current.run,
            current.info.world,
            current.playbook,
            id,
            current.phase,
            event.at,
            Word(*status),
            reason,
            value.as_ref().map(column::Json),
            is_reusable(*status, current.info.mode, value.as_ref()),
            milliseconds.cast_signed(),
            error.as_ref().map(column::Json),
        ],
    )
    .map(drop)
}

/// Whether a later run may take the value in place of running the step: it must be what the step really gave back, and
/// whole, with no dots where a secret was.
fn is_reusable(status: Status, mode: Mode, value: Option<&Json>) -> bool {
    let went_well = matches!(status, Status::Ok | Status::Changed | Status::Pending | Status::Manual);
    mode == Mode::Run && went_well && value.is_some_and(|value| !holds_dots(value))
}

fn holds_dots(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains(DOTS),
        Json::Array(items) => items.iter().any(holds_dots),
        Json::Object(map) => map.iter().any(|(key, item)| key.contains(DOTS) || holds_dots(item)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

fn change_noted(
    db: &Connection,
    current: &Current,
    at: i64,
    change: &Change,
    step: Option<&str>,
    state: ChangeState,
) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO changes (run, world, change, playbook, step, address, content, state, started)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            current.run,
            current.info.world,
            change.id.cast_signed(),
            current.playbook,
            step,
            change.address,
            column::Json(change),
            Word(state),
            at,
        ],
    )
    .map(drop)
}

fn change_finished(
    db: &Connection,
    current: &mut Current,
    at: i64,
    change: u64,
    milliseconds: u64,
    error: Option<&ErrorReport>,
) -> rusqlite::Result<()> {
    let state = if error.is_none() { ChangeState::Done } else { ChangeState::Failed };
    db.execute(
        "UPDATE changes SET state = ?, finished = ?, milliseconds = ?, error = ? WHERE run = ? AND change = ?",
        params![
            Word(state),
            at,
            milliseconds.cast_signed(),
            error.map(column::Json),
            current.run,
            change.cast_signed()
        ],
    )?;
    if error.is_none() && !current.in_doubt.is_empty() {
        let address: String = db.query_row(
            "SELECT address FROM changes WHERE run = ? AND change = ?",
            params![current.run, change.cast_signed()],
            |row| row.get(0),
        )?;
        settle(db, current, &address)?;
    }
    Ok(())
}

/// This run has seen how the thing is: what older runs left in doubt about it is in doubt no more.
fn settle(db: &Connection, current: &mut Current, address: &str) -> rusqlite::Result<()> {
    if current.in_doubt.remove(address) {
        db.execute(
            "UPDATE changes SET state = ? WHERE world = ? AND address = ? AND state = 'started' AND run < ?",
            params![Word(ChangeState::Settled), current.info.world, address, current.run],
        )?;
    }
    Ok(())
}

fn note_debt(db: &Connection, current: &Current, at: i64, key: &str, is_owed: bool) -> rusqlite::Result<()> {
    match (current.info.mode, is_owed) {
        // A dry run owes nothing and pays nothing.
        (Mode::DryRun, _) => Ok(()),
        (Mode::Run, true) => owed::incur(db, &current.info.world, key, Some(current.run), at),
        (Mode::Run, false) => owed::settle(db, &current.info.world, key, at),
    }
}

fn run_finished(db: &mut Connection, current: &Current, event: &Event) -> rusqlite::Result<()> {
    let What::RunFinished { result, steps, changes, fidelity, next, error, .. } = &event.what else {
        return Ok(());
    };
    let transaction = db.transaction()?;
    transaction.execute(
        "UPDATE runs SET finished = ?, result = ?, steps = ?, changes = ?, fidelity = ?, next = ?, error = ?
         WHERE run = ?",
        params![
            event.at,
            result,
            column::Json(steps),
            *changes as i64,
            fidelity.as_ref().map(column::Json),
            next,
            error.as_ref().map(column::Json),
            current.run,
        ],
    )?;
    // A playbook that ran to its end, whole, has been over everything: what it once left in doubt and no longer
    // mentions is nobody's concern any more.
    if result == "ok" && current.info.mode == Mode::Run && current.info.selection.is_empty() {
        for playbook in &current.info.playbooks {
            transaction.execute(
                "UPDATE changes SET state = ? WHERE world = ? AND playbook = ? AND state = 'started' AND run < ?",
                params![Word(ChangeState::Settled), current.info.world, playbook, current.run],
            )?;
        }
    }
    transaction.commit()
}
