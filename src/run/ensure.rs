//! The gate: read, compare with what is wanted, change the difference, read again to prove it.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::capability::Writer;
use super::deferral;
use super::difference::Difference;
use super::event::{Action, Change, FieldDiff, Mark, Mode, What};
use super::resource::{Cell, Fact, Reach, Reader, Resource, Wish};
use super::scope::{self, Phase};
use super::session::Run;
use super::unknown::Unknown;
use super::value::{Map, State, Value};
use crate::error::{Class, Error, Result};

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

/// Reads a fact on behalf of a script. What a dry run cannot see any more is unknown to it.
pub fn read(fact: &dyn Fact) -> Result<State> {
    scope::require(
        &[Phase::Script, Phase::Read, Phase::Change, Phase::Rehearse],
        &format!("reading {}", fact.address()),
    )?;
    let run = scope::run()?;
    let cell = fact.cell();
    let fog = scope::with(|branch| {
        if branch.phase == Phase::Script {
            let by = branch
                .frames
                .last()
                .map_or_else(|| "outside any step".to_owned(), |frame| format!("step {}", frame.id));
            branch.seen.entry(cell.clone()).or_insert(by);
            branch.overlay.fog_over(&cell).cloned()
        } else {
            None
        }
    })?;
    if let (Some(fog), Mode::DryRun) = (fog, run.mode) {
        return Ok(State::Unknown(fog));
    }
    Ok(look(&run, fact, &cell)?.state)
}

struct View {
    state: State,
    fog: Option<Unknown>,
    touched: Vec<String>,
}

/// What is there: as this dry run believes it, else as the world says it.
fn look(run: &Run, fact: &dyn Fact, cell: &Cell) -> Result<View> {
    if run.mode == Mode::DryRun {
        let (planned, declared, fog) = scope::with(|branch| {
            let overlay = &branch.overlay;
            let planned = overlay.cell(cell).map(|planned| planned.state.clone());
            (planned, overlay.declared_unknown(cell).cloned(), overlay.fog_over(cell).cloned())
        })?;
        let seen = |state| Ok(View { state, fog: fog.clone(), touched: Vec::new() });
        if let Some(state) = planned {
            return seen(state);
        }
        if let Some(unknown) = declared {
            return seen(State::Unknown(unknown));
        }
        if let Some(name) = fact.stands_on()
            && let Some((machine, cause)) = scope::planned_machine(name)?
        {
            let unseen = cause.part(&cell.path);
            return seen(if machine.new { fact.imagined() } else { State::Unknown(unseen) });
        }
        let (state, touched) = read_world(run, fact, cell)?;
        return Ok(View { state, fog, touched });
    }
    let (state, touched) = read_world(run, fact, cell)?;
    Ok(View { state, fog: None, touched })
}

fn read_world(run: &Run, fact: &dyn Fact, cell: &Cell) -> Result<(State, Vec<String>)> {
    let reader = Reader::default();
    let state = scope::in_phase(Phase::Read, || fact.read(&reader))?;
    // A scripted read that had to decide on an unknown cannot tell what is there.
    let state = match deferral::take() {
        Some(deferral) => State::Unknown(deferral.needs),
        None => state,
    };
    run.record().digests.entry(cell.to_string()).or_insert_with(|| digest(&state));
    Ok((state, reader.into_touched()))
}

fn digest(state: &State) -> String {
    let hash = Sha256::digest(format!("{state:?}"));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn want(resource: &dyn Resource, have: &State) -> Result<State> {
    let wanted = scope::in_phase(Phase::Want, || resource.want(have))?;
    match deferral::take() {
        Some(deferral) => Ok(State::Unknown(deferral.needs)),
        None => Ok(wanted),
    }
}

fn unchanged(run: &Run, resource: &dyn Resource, wish: Wish, state: State) -> Result<Outcome> {
    let address = resource.address();
    run.emit(What::Unchanged { address: address.clone(), step: scope::step() })?;
    remember(run, resource, wish, &state);
    Ok(Outcome { address, changed: Changed::No, action: None, before: state.clone(), after: state, diff: Vec::new() })
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

fn plan(run: &Arc<Run>, resource: &dyn Resource, wish: Wish) -> Result<Outcome> {
    let cell = resource.cell();
    let address = resource.address();
    let view = look(run, resource, &cell)?;
    let wanted = want(resource, &view.state)?;
    let Some(difference) = Difference::between(&view.state, &wanted) else {
        return unchanged(run, resource, wish, view.state);
    };
    let action = resource.action(&difference);
    let destroys = check_destruction(run, resource, &difference)?;
    rehearse(resource, &difference)?;
    let (mark, because) = judge(&address, &difference, view.fog.as_ref())?;
    let change = Change {
        id: run.next_change(),
        address: address.clone(),
        action,
        mark,
        diff: difference.report(),
        because: because
            .or_else(|| destroys.clone().map(|why| format!("{why}; the run needs --allow-destroy {address}"))),
        destroys: destroys.is_some(),
    };
    let diff = change.diff.clone();
    run.record().changes.push((change.clone(), scope::step()));
    run.emit(What::ChangePlanned { change, step: scope::step() })?;
    let after = with_fills(resource, &difference, &address);
    believe(resource, &difference, cell, &after, view.touched)?;
    remember(run, resource, wish, &after);
    let changed = match mark {
        Mark::Sure => Changed::Yes,
        Mark::Maybe | Mark::Fog => Changed::Maybe(Unknown::from_origin(&address)),
    };
    Ok(Outcome { address, changed, action: Some(action), before: view.state, after, diff })
}

/// How sure a planned change is, and why not surer.
fn judge(address: &str, difference: &Difference, fog: Option<&Unknown>) -> Result<(Mark, Option<String>)> {
    let failure = scope::with(|branch| branch.frames.iter().find_map(|frame| frame.after_failure.clone()))?;
    if let Some(failure) = failure {
        return Ok((Mark::Fog, Some(format!("after failure of {failure}"))));
    }
    if let Some(fog) = fog {
        return Ok((Mark::Fog, Some(format!("after {}", fog.origin()))));
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
    touched: Vec<String>,
) -> Result<()> {
    let address = resource.address();
    let machine = resource.brings(difference);
    scope::with(|branch| {
        branch.written.insert(cell.clone(), address.clone());
        branch.frames.iter_mut().for_each(|frame| frame.changed = true);
        let overlay = &mut branch.overlay;
        let cause = Unknown::from_origin(&address);
        match resource.reach() {
            Reach::Cell => overlay.put(cell.clone(), after.clone(), &address),
            Reach::Realm => overlay.spread(&super::overlay::Spread::Realms(vec![cell.realm.clone()]), &cause),
            Reach::Cells(cells) => overlay.spread_over_cells(&cells, &cause),
        }
        overlay.make_stale(touched, &address);
        match (machine, difference.action) {
            (Some(machine), Action::Delete) => overlay.take_away(&machine, &address),
            (Some(machine), _) => overlay.bring(machine, &address),
            (None, _) => {}
        }
    })
}

fn apply(run: &Arc<Run>, resource: &dyn Resource, wish: Wish) -> Result<Outcome> {
    let cell = resource.cell();
    let address = resource.address();
    let _held = run.hold(&cell);
    let before = look(run, resource, &cell)?.state;
    let wanted = want(resource, &before)?;
    let Some(difference) = Difference::between(&before, &wanted) else {
        return unchanged(run, resource, wish, before);
    };
    refuse_unknowns(&address, &difference)?;
    refuse_destruction(run, resource, &difference)?;
    ask_approval(run, &address)?;
    run.check_interrupt()?;
    let change = Change {
        id: run.next_change(),
        address: address.clone(),
        action: resource.action(&difference),
        mark: if scope::with(|branch| branch.frames.iter().any(|frame| frame.after_failure.is_some()))? {
            Mark::Fog
        } else {
            Mark::Sure
        },
        diff: difference.report(),
        because: None,
        destroys: resource.destroys(&difference).is_some(),
    };
    let (id, action, diff) = (change.id, change.action, change.diff.clone());
    let began = Instant::now();
    run.emit(What::ChangeStarted { change: change.clone(), step: scope::step() })?;
    let result = carry_out(run, resource, &difference, id);
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let error = result.as_ref().err().map(super::report::plain);
    run.emit(What::ChangeFinished { change: id, milliseconds, error })?;
    let (after, revealed) = match result {
        Ok(done) => done,
        Err(error) => {
            scope::with(|branch| {
                branch.frames.iter_mut().for_each(|frame| frame.after_failure = Some(address.clone()))
            })?;
            return Err(error);
        }
    };
    run.record().changes.push((change, scope::step()));
    scope::with(|branch| branch.frames.iter_mut().for_each(|frame| frame.changed = true))?;
    remember(run, resource, wish, &after);
    let after = reveal(after, revealed);
    Ok(Outcome { address, changed: Changed::Yes, action: Some(action), before, after, diff })
}

/// Makes the change and reads again to prove it.
fn carry_out(run: &Run, resource: &dyn Resource, difference: &Difference, id: u64) -> Result<(State, Map)> {
    let outer = scope::with(|branch| branch.change.replace(id))?;
    let done = scope::in_phase(Phase::Change, || resource.change(difference, &Writer::new()));
    scope::with(|branch| branch.change = outer)?;
    let revealed = done?;
    if !resource.owns_cell() {
        return Ok((difference.want.clone(), revealed));
    }
    let (after, _) = read_world(run, resource, &resource.cell())?;
    prove(resource, &after)?;
    Ok((after, revealed))
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
    let error = Error::new(Class::VerifyFailed, format!("{address}: the change was accepted but did not take"));
    Ok(left.report().iter().fold(Err(error), |error: Result<(), Error>, field| {
        error.map_err(|error| {
            let name = if field.path.is_empty() { "it" } else { &field.path };
            error.cause(format!("{name}: wanted {}, found {}", show(&field.after), show(&field.before)))
        })
    })?)
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

/// Nothing unknown is ever written.
fn refuse_unknowns(address: &str, difference: &Difference) -> Result<()> {
    let unknowns = difference.unknowns_to_write();
    let Some(first) = unknowns.first() else { return refuse_leaks(address, difference) };
    Err(Error::new(Class::InputMissing, format!("{address}: needs {}, which is not known", first.origin()))
        .cause("it was shown once and cannot be read again")
        .help("remove the object that showed it, so that it is made anew, or keep the value where it can be read back"))
}

/// The last line against an unknown that became text on its way: the name of its Rust type gives it away.
fn refuse_leaks(address: &str, difference: &Difference) -> Result<()> {
    let wanted = format!("{:?}", difference.want);
    if wanted.contains(std::any::type_name::<Unknown>()) {
        return Err(Error::new(Class::Bug, format!("{address}: an unknown value turned into text on its way here"))
            .help("please report this with the playbook's line"));
    }
    Ok(())
}

fn check_destruction(run: &Run, resource: &dyn Resource, difference: &Difference) -> Result<Option<String>> {
    let Some(why) = resource.destroys(difference) else { return Ok(None) };
    if !resource.may_destroy() {
        let address = resource.address();
        return Err(Error::new(Class::UnsafeDrift, format!("{address}: {why}, which the playbook does not allow"))
            .help("if that is meant, say `allow_destroy: true` there"));
    }
    let named = run.settings.allow_destroy.contains(&resource.address());
    Ok((!named).then_some(why))
}

fn refuse_destruction(run: &Run, resource: &dyn Resource, difference: &Difference) -> Result<()> {
    let Some(why) = check_destruction(run, resource, difference)? else { return Ok(()) };
    let address = resource.address();
    Err(Error::new(Class::UnsafeDrift, format!("{address}: {why}, and this run does not name it"))
        .help(format!("run again with --allow-destroy {address}")))
}

/// A step that can cut access or move things asks before its first change.
fn ask_approval(run: &Run, address: &str) -> Result<()> {
    let Some((id, what)) = scope::with(|branch| {
        branch.frames.iter().find_map(|frame| frame.approve.clone().map(|what| (frame.id.clone(), what)))
    })?
    else {
        return Ok(());
    };
    let given = run.settings.approve.iter().any(|glob| glob.matches(&id))
        || (run.settings.simulated && run.settings.answer_manual)
        || run
            .settings
            .ask
            .as_ref()
            .is_some_and(|ask| ask(&format!("Step {id} {what}; it wants to change {address}. Go on?")));
    if !given {
        return Err(Error::new(Class::Blocked, format!("step {id}: needs approval: {what}"))
            .help(format!("run again with --approve {id}")));
    }
    scope::with(|branch| {
        branch.frames.iter_mut().filter(|frame| frame.id == id).for_each(|frame| frame.approve = None);
    })
}
