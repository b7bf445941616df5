//! K3s on a few machines.

mod joining;
mod lab;
mod objects;
mod recordings;
mod servers;
