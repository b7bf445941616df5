//! The gate: read, compare with what is wanted, change the difference, read again to prove it.

use std::sync::Arc;
use std::time::Instant;

use super::capability::Writer;
use super::consent;
use super::deferral;
use super::difference::Difference;
use super::event::{Action, Change, FieldDiff, Mark, Mode, What};
use super::look::{Through, View, look, read_world};
use super::precaution;
use super::resource::{Cell, Reach, Resource, Wish};
use super::scope::{self, Phase};
use super::session::{Done, Run};
use super::unknown::Unknown;
use super::value::{Map, State, Value};
use crate::error::{Class, Error, Result};

pub use super::look::read;

/// Whether something changed, or would.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// It was so already.
    No,
    /// It was not, and is now (or will be).
    Yes,
    /// Only the real run will tell.
    Maybe(Unknown),
}

/// What `ensure` gives back to the script.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The thing.
    pub address: String,
    /// Whether it changed.
    pub changed: Changed,
    /// What happened to it; `None` where nothing did.
    pub action: Option<Action>,
    /// What was there.
    pub before: State,
    /// What is there now, with what was shown only once.
    pub after: State,
    /// Field by field.
    pub diff: Vec<FieldDiff>,
}

/// Brings a resource to its wanted state: the only way to change the world.
pub fn ensure<R: Resource + 'static>(resource: &Arc<R>) -> Result<Outcome> {
    ensure_as(&**resource, Wish::of(resource))
}

/// The same for a resource that only lives as long as this call; what it wants is replayed at the end by its wish.
pub fn ensure_as(resource: &dyn Resource, wish: Wish) -> Result<Outcome> {
    scope::require(&[Phase::Script], &format!("changing {}", resource.address()))?;
    let run = scope::run()?;
    run.check_interrupt()?;
    match run.mode {
        Mode::DryRun => plan(&run, resource, wish),
        Mode::Run => apply(&run, resource, wish),
    }
}

/// Refuses what this run may not destroy, for a caller that has to prepare it with other changes first. A plan tells it with
/// the change itself.
pub fn permit(resource: &dyn Resource) -> Result<()> {
    let run = scope::run()?;
    if run.mode == Mode::DryRun {
        return Ok(());
    }
    let have = look(&run, resource, &resource.cell())?.state;
    match Difference::between(&have, &want(resource, &have)?) {
        Some(difference) => consent::refuse_destruction(&run, resource, &difference),
        None => Ok(()),
    }
}

fn want(resource: &dyn Resource, have: &State) -> Result<State> {
    let wanted = scope::in_phase(Phase::Want, || resource.want(have))?;
    match deferral::take() {
        Some(deferral) => Ok(State::Unknown(deferral.needs)),
        None => Ok(wanted),
    }
}

fn unchanged(run: &Run, resource: &dyn Resource, wish: Wish, state: State, fog: Option<Unknown>) -> Result<Outcome> {
    let address = resource.address();
    run.emit(What::Unchanged { address: address.clone(), step: scope::step() })?;
    remember(run, resource, wish, &state);
    let changed = match fog {
        None => Changed::No,
        // It is so now; what lies in the fog may undo it before the real run comes here.
        Some(fog) => {
            run.record().in_fog.insert(address.clone());
            Changed::Maybe(Unknown::join([&Unknown::from_origin(&address), &fog]))
        }
    };
    Ok(Outcome { address, changed, action: None, before: state.clone(), after: state, diff: Vec::new() })
}

fn remember(run: &Run, resource: &dyn Resource, wish: Wish, state: &State) {
    let mut record = run.record();
    if resource.owns_cell() {
        if run.mode == Mode::Run {
            record.proven.insert(wish.cell.clone(), (state.clone(), wish.address.clone()));
        }
        record.wishes.push(wish);
    }
}

pub(super) fn plan(run: &Arc<Run>, resource: &dyn Resource, wish: Wish) -> Result<Outcome> {
    let cell = resource.cell();
    let address = resource.address();
    let view = look(run, resource, &cell)?;
    let wanted = want(resource, &view.state)?;
    let Some(difference) = Difference::between(&view.state, &wanted) else {
        return unchanged(run, resource, wish, view.state.with_secrets_of(&wanted), view.fog);
    };
    let action = resource.action(&difference);
    let destroys = consent::check_destruction(resource, &difference)?;
    consent::refuse_spent(&address, &difference)?;
    rehearse(resource, &difference)?;
    let (mark, because) = judge(&address, &difference, view.fog.as_ref())?;
    precaution::take(&cell, resource.endangers(), mark)?;
    let change = Change {
        id: run.next_change(),
        address: address.clone(),
        action,
        mark,
        diff: difference.report(),
        because: because.or_else(|| {
            let why = destroys.clone().filter(|_| !consent::is_named(run, resource))?;
            Some(format!("{why}; the run needs {}", consent::naming(&address)))
        }),
        destroys: destroys.is_some(),
    };
    let diff = change.diff.clone();
    if note_planned(run, resource, &change)? {
        run.emit(What::ChangePlanned { change, step: scope::step() })?;
    }
    let after = with_fills(resource, &difference, &address);
    believe(resource, &difference, cell, &after, view.through)?;
    remember(run, resource, wish, &after);
    let changed = match mark {
        Mark::Sure => Changed::Yes,
        Mark::Maybe | Mark::Fog => Changed::Maybe(Unknown::from_origin(&address)),
    };
    Ok(Outcome { address, changed, action: Some(action), before: view.state, after, diff })
}

/// Notes a planned change, unless another branch of `parallel` has planned the very same: the run will make it once.
fn note_planned(run: &Run, resource: &dyn Resource, change: &Change) -> Result<bool> {
    let done = scope::placed(change.clone())?;
    let same = |known: &Done| {
        let known = &known.change;
        known.address == change.address && known.action == change.action && known.diff == change.diff
    };
    let mut record = run.record();
    if resource.owns_cell() && record.changes.iter().any(same) {
        return Ok(false);
    }
    record.changes.push(done);
    Ok(true)
}

/// How sure a planned change is, and why not surer.
fn judge(address: &str, difference: &Difference, fog: Option<&Unknown>) -> Result<(Mark, Option<String>)> {
    if let Some(fog) = fog {
        return Ok((Mark::Fog, Some(format!("after {}", fog.origin()))));
    }
    if let Some(doubt) = scope::with(|branch| branch.doubt.clone())? {
        return Ok((Mark::Maybe, Some(format!("only if {} changes", doubt.origin()))));
    }
    if difference.is_certain() {
        return Ok((Mark::Sure, None));
    }
    let unknowns: Vec<&Unknown> = difference
        .fields
        .iter()
        .flat_map(|field| field.before.iter().chain(&field.after))
        .flat_map(Value::unknowns)
        .collect();
    let needs = Unknown::join(unknowns).origin();
    Ok((
        Mark::Maybe,
        Some(if needs.is_empty() { format!("{address} cannot be read yet") } else { format!("needs {needs}") }),
    ))
}

/// A dry run goes through the change, with nothing sent; having to wait for an unknown is fine there.
fn rehearse(resource: &dyn Resource, difference: &Difference) -> Result<()> {
    let result = scope::in_phase(Phase::Rehearse, || resource.rehearse(difference));
    scope::with(|branch| branch.rehearsed = None)?;
    match deferral::take() {
        Some(_) => Ok(()),
        None => result,
    }
}

/// A created object is open: what the other system fills in is unknown, not missing.
fn with_fills(resource: &dyn Resource, difference: &Difference, address: &str) -> State {
    let mut after = resource.expect(difference);
    if difference.have != State::Absent {
        return after;
    }
    if let State::Here(Value::Map(map)) = &mut after {
        for field in resource.fills() {
            fill(map, &field, &format!("{address}.{field}"));
        }
    }
    after
}

/// Puts an unknown where a dotted field is missing, in maps that are there.
fn fill(map: &mut Map, field: &str, origin: &str) {
    match field.split_once('.') {
        Some((outer, inner)) => {
            if let Some(Value::Map(map)) = map.get_mut(outer) {
                fill(map, inner, origin);
            }
        }
        None => {
            map.entry(field.to_owned()).or_insert_with(|| Value::Unknown(Unknown::from_origin(origin)));
        }
    }
}

/// Lets the dry run believe that the change was made.
fn believe(
    resource: &dyn Resource,
    difference: &Difference,
    cell: Cell,
    after: &State,
    through: Through,
) -> Result<()> {
    let address = resource.address();
    let machine = resource.brings(difference);
    scope::with(|branch| {
        branch.note_written(&cell, &address, after);
        let overlay = &mut branch.overlay;
        let cause = Unknown::from_origin(&address);
        match resource.reach() {
            Reach::Cell => overlay.put(cell.clone(), after.clone(), &address),
            Reach::Realm => overlay.spread(&super::overlay::Spread::Realms(vec![cell.realm.clone()]), &cause),
            Reach::Cells(cells) => {
                overlay.spread_over_cells(&cells, &cause);
                // A command brings about what its guard looks for, too.
                overlay.spread_over_cells(std::slice::from_ref(&cell), &cause);
            }
        }
        overlay.spread_over_cells(&through.cells, &cause);
        overlay.spread_over_cells(&resource.stirs(), &cause);
        overlay.make_stale(through.paths, &address);
        match (machine, difference.action) {
            (Some(machine), Action::Delete) => overlay.take_away(&machine, &address),
            (Some(machine), _) => overlay.bring(machine, &address),
            (None, _) => {}
        }
    })
}

fn apply(run: &Arc<Run>, resource: &dyn Resource, wish: Wish) -> Result<Outcome> {
    let _held = run.hold(&resource.cell());
    let due = match prepare(run, resource, wish)? {
        Prepared::Settled(outcome) => return Ok(*outcome),
        Prepared::Due(due) => *due,
    };
    Due::begin_all(&[&due], run)?;
    let result = during(due.id(), || due.change().and_then(|revealed| due.prove(run, revealed)))?;
    due.end(run, result)
}

/// What is to be done about a resource whose cell is held.
pub(super) enum Prepared<'a> {
    /// Nothing: it is as wanted.
    Settled(Box<Outcome>),
    /// A change that everybody agrees to.
    Due(Box<Due<'a>>),
}

/// A change that is about to be made, or has been.
pub(super) struct Due<'a> {
    resource: &'a dyn Resource,
    wish: Wish,
    before: State,
    difference: Difference,
    change: Change,
    began: Instant,
}

/// Looks what there is to change, and whether that may be.
pub(super) fn prepare<'a>(run: &Run, resource: &'a dyn Resource, wish: Wish) -> Result<Prepared<'a>> {
    let cell = resource.cell();
    let address = resource.address();
    let (before, difference) = match differs(run, resource, &cell)? {
        (before, wanted, None) => {
            let outcome = unchanged(run, resource, wish, before.with_secrets_of(&wanted), None)?;
            return Ok(Prepared::Settled(Box::new(outcome)));
        }
        (before, _, Some(difference)) => (before, difference),
    };
    consent::refuse_unknowns(&address, &difference)?;
    consent::refuse_destruction(run, resource, &difference)?;
    consent::ask_approval(run, &address)?;
    run.check_interrupt()?;
    precaution::take(&cell, resource.endangers(), Mark::Sure)?;
    let failure = scope::with(|branch| branch.after_failure().map(str::to_owned))?;
    let change = Change {
        id: run.next_change(),
        action: resource.action(&difference),
        mark: if failure.is_some() { Mark::Fog } else { Mark::Sure },
        diff: difference.report(),
        because: failure.map(|failure| format!("after failure of {failure}")),
        destroys: resource.destroys(&difference).is_some(),
        address,
    };
    Ok(Prepared::Due(Box::new(Due { resource, wish, before, difference, change, began: Instant::now() })))
}

impl Due<'_> {
    /// The number of its change.
    pub(super) fn id(&self) -> u64 {
        self.change.id
    }

    /// Says that they begin.
    pub(super) fn begin_all(all: &[&Due<'_>], run: &Run) -> Result<()> {
        let begins = |due: &&Due<'_>| What::ChangeStarted { change: due.change.clone(), step: scope::step() };
        run.emit_all(all.iter().map(begins).collect())?;
        all.iter().for_each(|due| run.stir(due.resource.is_confined()));
        Ok(())
    }

    /// Makes the change. Gives back what the other system showed only this once.
    pub(super) fn change(&self) -> Result<Map> {
        scope::in_phase(Phase::Change, || self.resource.change(&self.difference, &Writer::new()))
    }

    /// Reads again to prove the change.
    pub(super) fn prove(&self, run: &Run, revealed: Map) -> Result<(State, Map)> {
        if !self.resource.owns_cell() {
            return Ok((self.difference.want.clone(), revealed));
        }
        let (after, _) = read_world(run, self.resource, &self.resource.cell())?;
        prove(self.resource, &after)?;
        Ok((after.with_secrets_of(&self.difference.want), revealed))
    }

    /// Says how it ended, and remembers it.
    pub(super) fn end(self, run: &Run, result: Result<(State, Map)>) -> Result<Outcome> {
        let Due { resource, wish, before, change, began, .. } = self;
        run.stir(resource.is_confined());
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // One that was stopped half-way is in doubt: it stays in flight until a later run has seen how far it came.
        let in_doubt = matches!(&result, Err(error) if error.class() == Class::Interrupted);
        if !in_doubt {
            let error = result.as_ref().err().map(super::report::plain);
            run.emit(What::ChangeFinished { change: change.id, milliseconds, error })?;
        }
        let (after, revealed) = match result {
            Ok(done) => done,
            Err(error) => {
                run.record().failed.insert(change.address.clone());
                scope::with(|branch| branch.note_failure(&change.address))?;
                return Err(error);
            }
        };
        let (address, action, diff) = (change.address.clone(), change.action, change.diff.clone());
        let done = scope::placed(change)?;
        run.record().changes.push(done);
        scope::with(|branch| branch.note_written(&resource.cell(), &address, &after))?;
        remember(run, resource, wish, &after);
        let after = reveal(after, revealed);
        Ok(Outcome { address, changed: Changed::Yes, action: Some(action), before, after, diff })
    }
}

/// What is done inside belongs to a change in flight.
pub(super) fn during<T>(id: u64, work: impl FnOnce() -> T) -> Result<T> {
    let outer = scope::with(|branch| branch.change.replace(id))?;
    let done = work();
    scope::with(|branch| branch.change = outer)?;
    Ok(done)
}

/// What is there, what is wanted, and the difference. It never rests on what was asked for in advance, unless the change
/// itself looks again.
fn differs(run: &Run, resource: &dyn Resource, cell: &Cell) -> Result<(State, State, Option<Difference>)> {
    let compare = |view: View| {
        let wanted = want(resource, &view.state)?;
        let difference = Difference::between(&view.state, &wanted);
        Ok((view.state, wanted, difference))
    };
    let view = look(run, resource, cell)?;
    let is_earlier = view.earlier;
    match compare(view)? {
        (_, _, Some(difference)) if is_earlier && !resource.looks_again(&difference) => {
            compare(scope::anew(|| look(run, resource, cell))?)
        }
        compared => Ok(compared),
    }
}

/// The other system's OK is not taken for the truth: what is there now must be what is wanted.
fn prove(resource: &dyn Resource, after: &State) -> Result<()> {
    let wanted = want(resource, after)?;
    let Some(left) = Difference::between(after, &wanted) else {
        return Ok(());
    };
    let show =
        |side: &Option<serde_json::Value>| side.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
    let address = resource.address();
    let error = Error::new(Class::VerifyFailed, format!("{address}: the change was accepted but did not take"))
        .help("look at it where it is: something there undoes it, or cannot be so; running again tries it again");
    Err(left.report().iter().fold(error, |error, field| {
        let name = if field.path.is_empty() { "it" } else { &field.path };
        error.cause(format!("{name}: wanted {}, found {}", show(&field.after), show(&field.before)))
    }))
}

fn reveal(after: State, revealed: Map) -> State {
    match after {
        State::Here(Value::Map(mut map)) => {
            map.extend(revealed);
            State::Here(Value::Map(map))
        }
        other => other,
    }
}
