//! K3s on a few machines.

mod joining;
mod lab;
mod servers;
