//! The Kubernetes API over HTTPS, as plain as it is: paths, bodies, answers. Made of the `kube` crate's TLS and
//! authentication, with our own way to dial. What a node or a workload means is decided further up.

mod certificate;
mod client;
mod dialled;
mod discovery;
mod exec;
mod failure;
mod kubeconfig;
mod lost;

#[cfg(test)]
mod recordings;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

pub use certificate::Identity;
pub use client::{Answer, Applying, Client, MANAGER, segment};
pub use discovery::{Discovery, Resource};
pub use exec::{Ask, Command, Ended};
pub use failure::{ApiError, Failure, Result};
pub use kubeconfig::Settings;
