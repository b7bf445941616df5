//! A decision that only the real run can make. It travels through a script as an error that nothing can swallow,
//! because the branch it happened in also remembers it.

use std::cell::{Cell, RefCell};

use super::event::Mode;
use super::unknown::Unknown;

/// A script had to decide on something that is not known yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Deferral {
    /// What it needs to know.
    pub needs: Unknown,
    /// What it was about to do, as in `==` or `if`.
    pub doing: String,
}

thread_local! {
    // One thread is one branch of a playbook: `parallel` gives each item its own.
    static PENDING: RefCell<Option<Deferral>> = const { RefCell::new(None) };
    static MODE: Cell<Mode> = const { Cell::new(Mode::Run) };
}

/// Notes that this branch met a decision that it cannot make. The first one stays: it is the cause.
pub fn raise(deferral: Deferral) {
    PENDING.with_borrow_mut(|pending| {
        pending.get_or_insert(deferral);
    });
}

/// The decision that this branch could not make, if it met one since the last boundary.
pub fn pending() -> Option<Deferral> {
    PENDING.with_borrow(Clone::clone)
}

/// Takes the pending decision, at a boundary: a step, a branch of `parallel`, a top-level statement.
pub fn take() -> Option<Deferral> {
    PENDING.with_borrow_mut(Option::take)
}

/// Says which mode this branch's thread works in.
pub fn set_mode(mode: Mode) {
    MODE.set(mode);
}

/// The mode of this branch. A real run never defers: there, deciding on an unknown is an error.
pub fn mode() -> Mode {
    MODE.get()
}
