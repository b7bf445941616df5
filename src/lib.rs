//! `homelab`: an embedded scripting runtime that converges Proxmox nodes, SSH hosts, GPUs and Kubernetes to a
//! described state. Each layer imports only those below it; the list runs from top to bottom.

pub mod screen;

pub mod clients;
pub mod run;
pub mod sim;

pub mod error;
