//! A homelab in memory, and what it takes to plan and run playbooks against it: the real language, gate and journal,
//! with handles that are written exactly as the primitives are.

pub mod api;
pub mod command;
pub mod host;
pub mod lab;
pub mod world;

pub use lab::{Lab, Told};
