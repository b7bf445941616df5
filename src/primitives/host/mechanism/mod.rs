//! What primitives on hosts are made of: asking and changing, whatever it is that is asked and changed. Primitives are one
//! level up and use this; nothing here knows any of them.

pub mod batch;
pub mod bulk;
pub mod bundle;
pub mod command;
pub mod edited;
pub mod entry;
pub mod image;
pub mod invocation;
pub mod live;
pub mod look;
pub mod memory;
pub mod names;
pub mod ownership;
pub mod part;
pub mod probe;
pub mod replace;
pub mod text;
pub mod told;
