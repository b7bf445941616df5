//! What a run is, and the one gate through which every change goes.

pub mod capability;
