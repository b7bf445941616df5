//! Simulated SSH machines: a POSIX machine in memory, a small shell over it, and an SSH server in front.
//!
//! What a machine cannot do it says (`homelab sim: not simulated: …`, status 127); it never pretends.

mod cloud_config;
pub mod daemons;
pub mod errands;
mod exec;
mod fs;
mod hardware;
mod links;
mod machine;
mod memory;
pub mod outlook;
mod pipe;
mod process;
mod random;
mod seed;
mod shell;
mod ssh;
mod stream;
mod tools;
mod tree;
mod users;

pub use cloud_config::finish as finish_cloud_init;
pub use daemons::rfc3339;
pub use exec::run_shared;
pub use fs::{Cred, StandsFor};
pub use hardware::{Board, Enclosure, Esp, Firmware, Function, PciDevice, Thunderbolt};
pub use links::{Bridge, Nic};
pub use machine::{ExecResult, Machine, Maker, PowerRequest, SharedMachine, UnitRun};
pub use seed::{CloudInit, Hardware, NodeSpec, Setup};
pub use ssh::{Forward, Forwarder, Observer, Options as SshOptions, Passwords, serve_ssh, serve_ssh_with};
pub use tools::{CardState, Trouble, run_due_timers};
pub use tree::{Changes as TreeChanges, Tree, changes as tree_changes};

#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;
