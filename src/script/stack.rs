//! Threads that scripts run on. A script's calls nest on the thread's own stack, so it has to be large enough for the
//! deepest nesting that the language's limits allow.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::run::deferral;

/// Enough for all call levels in a build that is not optimised; only what is used costs memory.
pub const BYTES: usize = 64 << 20;

/// Starts a thread that scripts can run on, in the mode of this one.
pub fn spawn<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<ScopedJoinHandle<'scope, T>> {
    let mode = deferral::mode();
    Builder::new().name(name.to_owned()).stack_size(BYTES).spawn_scoped(scope, move || {
        deferral::set_mode(mode);
        work()
    })
}
