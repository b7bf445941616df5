//! Host primitives against machines that are booted in containers: a minimal Debian with systemd and OpenSSH, and a system
//! that has nothing but BusyBox. Playbooks are run by the program itself; what they brought about is looked at with OpenSSH's
//! own client.

mod access;
mod busybox;
mod checkout;
mod k3s;
mod kernel;
mod machine;
mod packages;
mod play;
mod restarts;
mod root;
mod sequences;
mod services;
mod small;
mod template;
mod transfers;
mod users;
mod web;
