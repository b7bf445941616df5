//! Programs that nobody here wrote, against a simulator that is served: OpenSSH, curl, proxmoxer, kubectl. And `homelab` against a
//! Proxmox that nobody here wrote: fakepve.
//!
//! Where such a program is not installed its tests say so and are passed over; with `CI` set they fail instead.
//! `.ci/run` installs all of them.

mod authority;
mod curl;
mod fakepve;
mod guide;
mod kubectl;
mod kubernetes;
mod lab;
mod openssh;
mod programs;
mod proxmoxer;
mod python;
mod transfer;
