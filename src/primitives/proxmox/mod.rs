//! Proxmox VE.

pub mod handle;
pub mod vm;
