//! What people see: the program is run in a project of its own, and what it says is kept here, word for word.

#[path = "../clients/mod.rs"]
mod clients;
#[path = "../errors/mod.rs"]
mod errors;
#[path = "../fire/mod.rs"]
mod fire;
#[path = "../hostile/mod.rs"]
mod hostile;
#[path = "../machines/mod.rs"]
mod machines;

mod ai;
mod apps;
mod check;
mod doc;
mod env;
mod exec;
mod flux;
mod foundation;
mod garage;
mod gpu;
mod house;
mod inside;
mod kubernetes;
mod look_back;
mod names;
mod network;
mod new;
mod objects;
mod phase0;
mod phase1;
mod phase2;
mod phase3;
mod phase3_5;
mod phase4;
mod phase5;
mod project;
mod reference;
mod scale;
mod secrets;
mod several;
mod sim;
mod together;
mod trust;
mod watch;
