//! The Proxmox VE API over HTTPS, as plain as it is: paths, parameters, answers, tasks. What a VM or a storage means
//! is decided further up.

mod client;
mod failure;
mod lost;
mod params;
pub mod property;
mod session;
mod settings;
pub mod size;
mod task;
mod transport;
mod trust;

#[cfg(test)]
mod recordings;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

pub use client::{Answer, Client};
pub use failure::{ApiError, Failure, Result};
pub use params::{Param, Params, segment};
pub use settings::{Credentials, Settings};
pub use task::{TaskEnd, TaskFailure, TaskProgress, TaskStatus, Upid};
pub use trust::{Trust, Witness};
