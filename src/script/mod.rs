//! The Rhai glue that primitives need; it knows no system.

pub mod args;
pub mod places;
