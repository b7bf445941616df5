//! Machines as they are right after their first boot, and what every boot does.

mod boot;
mod guest;
mod node;
mod stock;

pub use boot::boot;
pub use guest::{CloudInit, Hardware};
pub use node::{NodeSpec, Setup};
