//! What playbooks call: one folder a kind of thing, one file a primitive. This page is the table of contents.

pub mod flow;
pub mod host;
pub mod inputs;
pub mod network;
pub mod proxmox;

#[cfg(test)]
pub(crate) mod testing;
