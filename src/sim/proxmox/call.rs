//! One request, checked and ready for its handler.

use super::permission::Caller;
use super::transfer::Upload;
use super::verify::Params;

/// A request whose caller is known, whose privileges suffice and whose parameters are right.
#[derive(Debug)]
pub(crate) struct Call {
    /// The node that does the work: the one named in the path, else the one asked.
    pub(crate) node: String,
    /// The node that was asked.
    pub(crate) asked: String,
    /// Who calls; nobody for the calls that are open to the world.
    pub(crate) caller: Caller,
    /// Its parameters, those of the path among them.
    pub(crate) params: Params,
    /// The file that came with it.
    pub(crate) upload: Option<Upload>,
    /// The time, in milliseconds.
    pub(crate) now: u64,
}

impl Call {
    /// The time in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.now / 1000
    }

    /// The virtual machine that the path names.
    pub(crate) fn vmid(&self) -> u32 {
        self.params.number("vmid").unwrap_or_default()
    }
}
