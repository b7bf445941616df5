//! K3s on a few machines.

mod admission;
mod ai;
mod applications;
mod charts;
mod comparing;
mod flux;
mod garage;
mod graphics;
mod joining;
mod lab;
mod objects;
mod recordings;
mod servers;
mod services;
mod stand_in;
mod used;
mod workloads;
