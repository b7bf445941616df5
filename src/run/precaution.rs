//! What has to be ready before anything in some part of a script is changed.

use std::fmt;
use std::sync::Arc;

use super::event::Mark;
use super::resource::Cell;
use super::scope;
use crate::error::Result;

/// Gets ready before a change is made, or planned.
pub trait Precaution: Send + Sync {
    /// What is about to be changed, which host that may cut off, and how sure it is that it will be.
    fn before(&self, cell: &Cell, endangered: Option<&str>, mark: Mark) -> Result<()>;
}

/// The precautions that hold at some place, outermost first.
#[derive(Clone, Default)]
pub struct Precautions(Vec<Arc<dyn Precaution>>);

impl fmt::Debug for Precautions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} precautions", self.0.len())
    }
}

/// Takes all precautions before a cell is changed.
pub(super) fn take(cell: &Cell, endangered: Option<&str>, mark: Mark) -> Result<()> {
    let all = scope::with(|branch| branch.precautions.clone())?;
    all.0.iter().try_for_each(|precaution| precaution.before(cell, endangered, mark))
}

/// Works on something before each change of which a precaution is taken.
pub fn guarded<T>(precaution: Arc<dyn Precaution>, work: impl FnOnce() -> T) -> Result<T> {
    scope::with(|branch| branch.precautions.0.push(precaution))?;
    let value = work();
    scope::with(|branch| branch.precautions.0.pop())?;
    Ok(value)
}
