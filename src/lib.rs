//! `homelab`: an embedded scripting runtime that converges Proxmox nodes, SSH hosts, GPUs and Kubernetes to a
//! described state. Each layer imports only those below it; the list runs from top to bottom.

pub mod clients;
pub mod playbook;
pub mod run;
pub mod script;
pub mod sim;

pub mod error;
