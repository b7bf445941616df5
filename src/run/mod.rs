//! What a run is, and the one gate through which every change goes.

pub mod batch;
pub mod branches;
pub mod capability;
pub mod consent;
pub mod deferral;
pub mod difference;
pub mod ensure;
pub mod event;
pub mod fidelity;
pub mod interrupt;
pub mod journal;
pub mod lock;
pub mod look;
pub mod overlay;
pub mod precaution;
pub mod private;
pub mod raw;
pub mod replay;
pub mod report;
pub mod resource;
pub mod scope;
pub mod secret;
pub mod session;
pub mod steps;
pub mod unknown;
pub mod value;
