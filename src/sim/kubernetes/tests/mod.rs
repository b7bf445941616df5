//! K3s on a few machines.

mod ai;
mod applications;
mod charts;
mod flux;
mod garage;
mod graphics;
mod joining;
mod lab;
mod objects;
mod recordings;
mod servers;
mod services;
mod workloads;
