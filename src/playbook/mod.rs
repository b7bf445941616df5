//! The Rhai host: puts everything below together.

pub mod check;
pub mod reference;
pub mod report;
