//! Looking at the world: as it is, or as a dry run believes that it will be.

use sha2::{Digest, Sha256};

use super::deferral;
use super::event::Mode;
use super::resource::{Cell, Fact, Reader};
use super::scope::{self, Notes, Phase};
use super::session::Run;
use super::unknown::Unknown;
use super::value::State;
use crate::error::{Class, Error, Result};

/// What is there.
pub(super) struct View {
    /// Its state.
    pub state: State,
    /// The fog that it was seen through: something deferred or opaque may change it before.
    pub fog: Option<Unknown>,
    /// What else was read for it.
    pub through: Through,
    /// Whether it rests on an answer that was asked for in advance.
    pub earlier: bool,
}

/// What a resource reads on the way to its own state. A change of it may change that as well.
#[derive(Debug, Default)]
pub(super) struct Through {
    /// The API paths that were asked for.
    pub paths: Vec<String>,
    /// The cells of other facts.
    pub cells: Vec<Cell>,
}

impl From<Notes> for Through {
    fn from(notes: Notes) -> Self {
        Through { paths: notes.touched, cells: notes.cells }
    }
}

/// Reads a fact on behalf of a script. What a dry run cannot see any more is unknown to it.
pub fn read(fact: &dyn Fact) -> Result<State> {
    let allowed = [Phase::Script, Phase::Wait, Phase::Read, Phase::Change, Phase::Rehearse];
    scope::require(&allowed, &format!("reading {}", fact.address()))?;
    let run = scope::run()?;
    let cell = fact.cell();
    if fact.is_alterable() {
        scope::with(|branch| {
            if branch.phase == Phase::Read {
                branch.notes.cells.push(cell.clone());
            }
        })?;
    }
    if let Some(unknown) = hidden(&run, &cell)? {
        return Ok(State::Unknown(unknown.maybe_absent()));
    }
    Ok(match look(&run, fact, &cell)?.state {
        State::Unknown(unknown) => State::Unknown(unknown.maybe_absent()),
        state => state,
    })
}

/// Why a script must not see a cell in a dry run: fog lies over it, or a rehearsed change has made something up before.
/// Only the read of a resource may look past the fog; its change is marked for it.
fn hidden(run: &Run, cell: &Cell) -> Result<Option<Unknown>> {
    scope::with(|branch| {
        if matches!(branch.phase, Phase::Script | Phase::Wait) {
            let step = branch.frames.last();
            let by = step.map_or_else(|| "outside any step".to_owned(), |frame| format!("step {}", frame.id));
            branch.seen.entry(cell.clone()).or_insert(by);
        }
        let fog = branch.overlay.fog_over(cell).filter(|_| run.mode == Mode::DryRun).cloned();
        match branch.phase {
            Phase::Script | Phase::Wait => fog,
            Phase::Rehearse => branch.rehearsed.as_ref().map(|made_up| made_up.part(&cell.path)).or(fog),
            _ => {
                branch.notes.fog = branch.notes.fog.take().or(fog);
                None
            }
        }
    })
}

/// What is there: as this dry run believes it, else as the world says it.
pub(super) fn look(run: &Run, fact: &dyn Fact, cell: &Cell) -> Result<View> {
    if run.mode == Mode::Run {
        let (state, notes) = read_world(run, fact, cell)?;
        return Ok(View { state, fog: None, earlier: notes.earlier, through: notes.into() });
    }
    let machine = match fact.stands_on() {
        // An error where the machine is planned to be gone by now.
        Some(name) => scope::planned_machine(name)?,
        None => None,
    };
    let (planned, declared, fog) = scope::with(|branch| {
        let overlay = &branch.overlay;
        let planned = overlay.cell(cell).map(|planned| planned.state.clone());
        (planned, overlay.declared_unknown(cell).cloned(), overlay.fog_over(cell).cloned())
    })?;
    let on_machine = || {
        machine.map(|(machine, cause)| match machine.new {
            true => fact.imagined(),
            false => State::Unknown(cause.part(&cell.path)),
        })
    };
    if let Some(state) = planned.or_else(|| declared.map(State::Unknown)).or_else(on_machine) {
        return Ok(View { state, fog, through: Through::default(), earlier: false });
    }
    let (state, notes) = match read_world(run, fact, cell) {
        Err(error) => (State::Unknown(still_to_come(fact, error)?), Notes::default()),
        Ok(read) => read,
    };
    let fog = fog.or_else(|| notes.fog.clone());
    Ok(View { state, fog, earlier: notes.earlier, through: notes.into() })
}

/// A machine that does not answer may be one that something deferred brings about. Any other error is one.
fn still_to_come(fact: &dyn Fact, error: Error) -> Result<Unknown> {
    if error.class() != Class::Unreachable || fact.stands_on().is_none() {
        return Err(error);
    }
    scope::with(|branch| branch.overlay.fog_over_paths().cloned())?.ok_or(error)
}

/// Asks the world itself, and notes what was met on the way.
pub(super) fn read_world(run: &Run, fact: &dyn Fact, cell: &Cell) -> Result<(State, Notes)> {
    let outer = scope::with(|branch| std::mem::take(&mut branch.notes))?;
    // What is waited for, and what proves a change, is asked anew; so is what a scripted resource reads, which may be both.
    let is_plain =
        |branch: &mut scope::Branch| branch.phase == Phase::Script && branch.change.is_none() && !branch.anew;
    let reader = Reader::taking_earlier_answers(scope::with(is_plain)?);
    let read = scope::in_phase(Phase::Read, || fact.read(&reader));
    let notes = scope::with(|branch| {
        let mut notes = std::mem::replace(&mut branch.notes, outer);
        notes.earlier |= reader.took_earlier_answer();
        notes.touched.extend(reader.into_touched());
        if branch.phase == Phase::Read {
            // What a resource reads through another fact, it depends on as well.
            branch.notes.touched.extend(notes.touched.iter().cloned());
            branch.notes.cells.extend(notes.cells.iter().cloned());
            branch.notes.fog = branch.notes.fog.take().or_else(|| notes.fog.clone());
        }
        notes
    })?;
    let state = read?;
    // A scripted read that had to decide on an unknown cannot tell what is there.
    let state = match deferral::take() {
        Some(deferral) => State::Unknown(deferral.needs),
        None => state,
    };
    if !matches!(state, State::Unknown(_)) {
        run.record().digests.entry(cell.to_string()).or_insert_with(|| digest(&state));
    }
    Ok((state, notes))
}

fn digest(state: &State) -> String {
    let hash = Sha256::digest(format!("{state:?}"));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
