//! Under fire: runs that are killed at any instant, whose cable is pulled, and that meet faults. The simulator's request
//! log and its world tell what came of it.
//!
//! The tests try a few instants and seeds; `HOMELAB_TEST_KILLS=200`, `HOMELAB_TEST_CUTS=1` and `HOMELAB_TEST_FAULTS=300`
//! are the whole proof. Each prints what it tries, and `HOMELAB_TEST_SEED` tries that one again and no other.

mod cable;
mod faults;
mod kill;
pub mod lab;
