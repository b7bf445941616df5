//! Proof that a change may be made. Everything that alters another system asks for a [`Writer`], and only the gate
//! (`run/`) can make one, so a primitive that changes something behind its back does not compile.
//!
//! ```compile_fail
//! // A write outside the gate: there is no way to make a Writer.
//! let writer = homelab::run::capability::Writer { _made_by_the_gate: () };
//! ```

/// The right to change things, valid for the one change that the gate is carrying out. It cannot be made, cloned or
/// kept outside the gate.
#[derive(Debug)]
pub struct Writer {
    _made_by_the_gate: (),
}

impl Writer {
    /// Only `run/` can call this, and only `ensure` does.
    pub(in crate::run) fn new() -> Self {
        Writer { _made_by_the_gate: () }
    }

    /// A Writer for the tests of the clients, which have no gate.
    #[cfg(test)]
    pub(crate) fn for_client_tests() -> Self {
        Writer { _made_by_the_gate: () }
    }
}
