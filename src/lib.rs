//! `homelab`: an embedded scripting runtime that converges Proxmox nodes, SSH hosts, GPUs and Kubernetes to a
//! described state. Each layer imports only those below it.

pub mod cli;
pub mod clients;
pub mod error;
pub mod inputs;
pub mod playbook;
pub mod primitives;
pub mod project;
pub mod read;
pub mod run;
pub mod screen;
pub mod script;
pub mod sim;
pub mod suggest;
pub mod watch;
