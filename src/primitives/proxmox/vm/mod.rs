//! Virtual machines.

pub(super) mod change;
pub mod options;
pub mod resource;
pub mod state;
pub(super) mod tasks;
#[cfg(test)]
mod tests;
