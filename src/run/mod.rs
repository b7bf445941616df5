//! What a run is, and the one gate through which every change goes.

pub mod capability;
pub mod deferral;
pub mod event;
pub mod journal;
pub mod lock;
pub mod private;
pub mod secret;
pub mod unknown;
pub mod value;
