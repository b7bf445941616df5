//! SSH: who a host is, how to be let in, and running commands there over one kept connection.
//!
//! [`Target::resolve`] turns options and `~/.ssh/config` into a [`Target`]; a [`Pool`] keeps one [`Connection`] for
//! each; a connection reads with [`Connection::probe`] and changes with [`Connection::exec`]. Host keys are always
//! verified, nothing ever prompts. Of the system's files only the user's own are read: `/etc/ssh` is not.

mod channel;
mod command;
mod config;
mod connection;
mod files;
mod handshake;
mod identity;
mod known_hosts;
mod login;
mod pattern;
mod pool;
mod quote;
mod resident;
mod shells;
mod target;

#[cfg(all(test, unix))]
mod live_command_tests;
#[cfg(all(test, unix))]
mod live_resident_tests;
#[cfg(all(test, unix))]
mod live_tests;
#[cfg(all(test, unix))]
pub(crate) mod sshd;

pub use command::{Become, Command, Exit, OnOutput, Output, Stream};
pub use connection::{Connection, PROBE_TIMEOUT};
pub use files::Upload;
pub use known_hosts::{append_known_host, fingerprint, is_trusted};
pub use pool::Pool;
pub use quote::{quote, quote_all};
pub use target::{Environment, Options, Passphrase, Target};

/// A host's or a person's public key; `PublicKey::from_openssh` reads the usual one-line form.
pub use russh::keys::PublicKey;
