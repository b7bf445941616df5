//! Proof that a change may be made. Everything that alters another system asks for a [`Writer`], and only the gate
//! (`run/`) can make one, so a primitive that changes something behind its back does not compile.
//!
//! With the gate's writer in hand a client can be told to write:
//!
//! ```
//! use homelab::clients::proxmox::{Answer, Client, Params, Result};
//! use homelab::run::capability::Writer;
//!
//! async fn restart(client: &Client, writer: &Writer) -> Result<Answer> {
//!     client.post("/nodes/pve-01/status", &Params::new(), writer).await
//! }
//! ```
//!
//! One cannot be made up for the purpose. The line in the body is all that differs:
//!
//! ```compile_fail,E0451
//! use homelab::clients::proxmox::{Answer, Client, Params, Result};
//! use homelab::run::capability::Writer;
//!
//! async fn restart(client: &Client, writer: &Writer) -> Result<Answer> {
//!     client.post("/nodes/pve-01/status", &Params::new(), &Writer { _made_by_the_gate: () }).await
//! }
//! ```
//!
//! A resource reads with a [`Reader`](super::resource::Reader):
//!
//! ```
//! # use homelab::clients::proxmox::{Client, Params};
//! # use homelab::error::Result;
//! # use homelab::run::resource::{Cell, Fact, Reader};
//! # use homelab::run::value::{State, Value};
//! struct Options { client: Client }
//!
//! impl Fact for Options {
//!     fn read(&self, reader: &Reader) -> Result<State> {
//!         let none = Params::new();
//!         let answer = self.client.get("/cluster/options", &none);
//!         reader.wait(async { Ok(State::Here(Value::from(answer.await?.data))) })
//!     }
//! #   fn address(&self) -> String { "proxmox:options".to_owned() }
//! #   fn cell(&self) -> Cell { Cell::new("proxmox", "options") }
//! }
//! ```
//!
//! With no more than that it cannot write, not even by mistake. Again one line differs:
//!
//! ```compile_fail,E0308
//! # use homelab::clients::proxmox::{Client, Params};
//! # use homelab::error::Result;
//! # use homelab::run::resource::{Cell, Fact, Reader};
//! # use homelab::run::value::{State, Value};
//! struct Options { client: Client }
//!
//! impl Fact for Options {
//!     fn read(&self, reader: &Reader) -> Result<State> {
//!         let none = Params::new();
//!         let answer = self.client.put("/cluster/options", &none, reader);
//!         reader.wait(async { Ok(State::Here(Value::from(answer.await?.data))) })
//!     }
//! #   fn address(&self) -> String { "proxmox:options".to_owned() }
//! #   fn cell(&self) -> Cell { Cell::new("proxmox", "options") }
//! }
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
