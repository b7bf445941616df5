//! What primitives on hosts decide, on simulated machines; `bench` is the way to write one.

#[cfg(unix)]
mod access;
#[cfg(unix)]
pub mod bench;
#[cfg(unix)]
mod command;
#[cfg(unix)]
mod cron;
#[cfg(unix)]
mod directory;
#[cfg(unix)]
mod edited;
#[cfg(unix)]
mod file;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod git;
#[cfg(unix)]
mod ground;
#[cfg(unix)]
mod kernel;
#[cfg(unix)]
mod link;
#[cfg(unix)]
mod memory;
#[cfg(unix)]
mod mount;
#[cfg(unix)]
mod packages;
#[cfg(unix)]
mod plan;
#[cfg(unix)]
mod restart;
#[cfg(unix)]
mod service;
mod sim;
#[cfg(unix)]
mod transfer;
#[cfg(unix)]
mod user;
