//! What a person wrote down: the facts in `docs/*.md`, the environment and `.envrc`, templates and data files.
//! Everything here only reads and computes; every error points into the text that has to be edited.

pub mod environment;
pub mod envrc;
pub mod formats;
pub mod net;
pub mod record;
pub mod tables;
pub mod template;
pub mod text;

#[cfg(test)]
mod homelab_tests;
