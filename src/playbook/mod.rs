//! The host of the playbooks: it compiles them, rewrites them so that an unknown stays one, and runs them.

pub mod engine;
mod language;
pub mod modules;
pub mod rewrite;
mod rewrite_assigned;
mod rewrite_nodes;
mod rewrite_top;
pub mod sources;
mod strict;
mod strict_lift;
mod strict_text;
