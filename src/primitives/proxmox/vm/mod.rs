//! Virtual machines.

mod change;
pub mod options;
pub mod resource;
pub mod state;
#[cfg(test)]
mod tests;
