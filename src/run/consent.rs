//! What must hold before a change is made: nothing unknown in it, nothing destroyed that was not named, and approval
//! where the step asks for it.

use super::difference::Difference;
use super::resource::Resource;
use super::scope;
use super::session::Run;
use super::unknown::Unknown;
use super::value::Value;
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};

/// Nothing unknown is ever written.
pub(super) fn refuse_unknowns(address: &str, difference: &Difference) -> Result<()> {
    match difference.unknowns_to_write().first() {
        Some(first) => Err(first.needed(address)),
        None => refuse_leaks(address, difference.want.here()),
    }
}

/// What a dry run knows that the real run will refuse: what was shown once will not be known then either.
pub(super) fn refuse_spent(address: &str, difference: &Difference) -> Result<()> {
    match difference.unknowns_to_write().into_iter().find(|unknown| unknown.is_spent()) {
        Some(spent) => Err(spent.needed(address)),
        None => refuse_leaks(address, difference.want.here()),
    }
}

/// The same for what is sent without a comparison.
pub(super) fn refuse_unknown_value(address: &str, value: &Value) -> Result<()> {
    match value.unknowns().first() {
        Some(first) => Err(first.needed(address)),
        None => refuse_leaks(address, Some(value)),
    }
}

/// The last line against an unknown that became text on its way: the name of its Rust type gives it away.
fn refuse_leaks(address: &str, value: Option<&Value>) -> Result<()> {
    if !value.is_some_and(|value| value.mentions(std::any::type_name::<Unknown>())) {
        return Ok(());
    }
    Err(Error::new(Class::Bug, format!("{address}: an unknown value turned into text on its way here"))
        .help("please report this with the playbook's line"))
}

/// Why a difference destroys something, or `None`. An error where the playbook itself does not allow that.
pub(super) fn check_destruction(resource: &dyn Resource, difference: &Difference) -> Result<Option<String>> {
    let Some(why) = resource.destroys(difference) else { return Ok(None) };
    if !resource.may_destroy() {
        let address = resource.address();
        return Err(Error::new(Class::UnsafeDrift, format!("{address}: {why}, which the playbook does not allow"))
            .help("if that is meant, say `allow_destroy: true` there"));
    }
    Ok(Some(why))
}

/// Whether the run names what it may destroy: as it is shown, or by its cell alone, without a name for people.
pub(super) fn is_named(run: &Run, resource: &dyn Resource) -> bool {
    let (address, cell) = (resource.address(), resource.cell().to_string());
    run.settings.allow_destroy.iter().any(|named| *named == address || *named == cell)
}

/// The option that names it, ready for a shell.
pub(super) fn naming(address: &str) -> String {
    format!("--allow-destroy {}", quote(address))
}

/// What destroys must be allowed by the playbook and be named by the run.
pub(super) fn refuse_destruction(run: &Run, resource: &dyn Resource, difference: &Difference) -> Result<()> {
    let Some(why) = check_destruction(resource, difference)? else { return Ok(()) };
    if is_named(run, resource) {
        return Ok(());
    }
    let address = resource.address();
    Err(Error::new(Class::UnsafeDrift, format!("{address}: {why}, and this run does not name it"))
        .help(format!("if that is meant, run again with {}", naming(&address))))
}

/// A step that can cut access or move things asks before its first change.
pub(super) fn ask_approval(run: &Run, address: &str) -> Result<()> {
    let Some((id, what)) = scope::with(|branch| {
        branch.frames.iter().find_map(|frame| frame.approve.clone().map(|what| (frame.id.clone(), what)))
    })?
    else {
        return Ok(());
    };
    let given = run.settings.approve.iter().any(|glob| glob.matches(&id))
        || (run.settings.simulated && run.settings.answer_manual)
        || run.ask(&format!("Step {id} {what}; it wants to change {address}. Go on?")) == Some(true);
    if !given {
        return Err(Error::new(Class::Blocked, format!("step {id}: needs approval: {what}"))
            .help(format!("run again with --approve {}", quote(&id))));
    }
    scope::with(|branch| {
        branch.frames.iter_mut().filter(|frame| frame.id == id).for_each(|frame| frame.approve = None);
    })
}
