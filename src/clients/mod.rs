//! Clients that speak to the real systems. They know nothing of scripts or runs.

pub mod dial;
pub mod ssh;
