//! What primitives reach in this world: made anew for each run, over connections that last.

use std::path::PathBuf;

use super::stage::Stage;
use crate::error::Result;
use crate::inputs::environment::Environment;
use crate::script::context::Services;

/// The services of a run.
pub(super) struct RunServices {
    /// By type.
    pub all: Services,
}

impl RunServices {
    /// The files that were read through them.
    pub fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// The services for a run on a stage.
pub(super) fn of(_stage: &Stage, _environment: Environment) -> Result<RunServices> {
    Ok(RunServices { all: Services::default() })
}
