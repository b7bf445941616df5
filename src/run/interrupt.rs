//! Ctrl-C, and an edit under `--watch`: first finish what is in flight, then stop at once.

use std::sync::Arc;

use tokio::sync::watch;

/// How urgently a run is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    None,
    /// Finish the change in flight, then end.
    Finish,
    /// End now, and leave the change in flight in doubt.
    Now,
}

/// A request to end, shared by whoever may ask and whoever must heed.
#[derive(Debug, Clone)]
pub struct Interrupt {
    sender: Arc<watch::Sender<Urgency>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Interrupt { sender: Arc::new(watch::Sender::new(Urgency::None)) }
    }
}

impl Interrupt {
    /// Asks once more: the first time to finish, the second time to stop.
    pub fn press(&self) {
        self.sender.send_modify(|urgency| {
            *urgency = if *urgency == Urgency::None { Urgency::Finish } else { Urgency::Now };
        });
    }

    /// How urgent it is.
    pub fn urgency(&self) -> Urgency {
        *self.sender.borrow()
    }

    /// Waits until it is at least so urgent.
    pub async fn reached(&self, least: Urgency) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so this only ends when the urgency is reached.
        let _ = receiver.wait_for(|urgency| *urgency >= least).await;
    }
}
