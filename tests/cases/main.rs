//! What a dry run promises, case by case: each is planned, run, run again and planned again. The second run changes
//! nothing, the second plan is empty, and what the first plan was sure of came true exactly.

#[path = "../common/mod.rs"]
mod common;

mod assigned;
mod basics;
mod commands;
mod consent;
mod fidelity;
mod fights;
mod fog;
mod machines;
mod notify;
mod parallel;
mod scripted;
mod secrets;
mod steps;
mod stops;
mod unknowns;
mod waiting;
