//! K3s on a few machines.

mod applications;
mod charts;
mod joining;
mod lab;
mod objects;
mod recordings;
mod servers;
mod workloads;
