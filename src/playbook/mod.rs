//! The host of the playbooks: it compiles them, rewrites them so that an unknown stays one, checks them, and runs them.

pub mod check;
pub mod engine;
mod language;
pub mod modules;
pub mod outline;
pub mod play;
pub mod prepare;
pub mod reference;
pub mod report;
pub mod rewrite;
mod rewrite_nodes;
mod rewrite_top;
pub mod sources;
mod strict;
mod strict_lift;
mod strict_text;
