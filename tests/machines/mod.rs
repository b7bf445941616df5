//! Host primitives against a real Debian: a minimal system with systemd and OpenSSH, booted in a container. Playbooks are
//! run by the program itself; what they brought about is looked at with OpenSSH's own client.

mod access;
mod debian;
mod packages;
mod play;
mod restarts;
mod root;
mod services;
mod users;
