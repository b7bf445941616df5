//! Speaking to the real systems. Clients know nothing of scripts or runs: what they change, they change only for
//! someone who shows a [`Writer`](crate::run::capability::Writer).

pub mod dial;
pub mod kubernetes;
pub mod proxmox;
pub mod ssh;
