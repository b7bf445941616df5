//! The language that playbooks are written in: the engine and its limits, modules, secrets, unknown values, and that
//! scripts without unknowns mean what they mean in Rhai.

mod differential;
mod engine;
mod modules;
mod secrets;
mod support;
mod unknowns;
