//! What a dry run promises, case by case: each is planned, run, run again and planned again. The second run changes
//! nothing, the second plan is empty, and what the first plan was sure of came true exactly.

#[path = "../common/mod.rs"]
mod common;

mod basics;
