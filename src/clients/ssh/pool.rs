//! One connection a host, kept for as long as the pool lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;

use super::PublicKey;
use super::connection::Connection;
use super::handshake;
use super::target::Target;
use crate::clients::dial::Dialler;
use crate::error::Result;

/// The place of one connection. Whoever asks while it is being made waits for that one.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// Keeps one connection for each target (user, host, port and the way there), shared by all who ask. Clones are the same
/// pool.
#[derive(Clone)]
pub struct Pool {
    dialler: Dialler,
    slots: Arc<Mutex<HashMap<String, Slot>>>,
}

impl Pool {
    /// An empty pool that dials like this.
    pub fn new(dialler: Dialler) -> Self {
        Pool { dialler, slots: Arc::default() }
    }

    /// The connection to a target; made if there is none or if the last one has ended.
    pub async fn connect(&self, target: &Target) -> Result<Connection> {
        let slot = self.slot(target);
        let mut place = slot.lock().await;
        match place.as_ref().filter(|connection| connection.is_alive()) {
            Some(connection) => Ok(connection.clone()),
            None => Ok(place.insert(self.open(target).await?).clone()),
        }
    }

    /// A new connection, in place of the one there may be: proof that the host lets us in now. The old one stays open
    /// for those who still use it.
    pub async fn reconnect(&self, target: &Target) -> Result<Connection> {
        let slot = self.slot(target);
        let mut place = slot.lock().await;
        Ok(place.insert(self.open(target).await?).clone())
    }

    /// The key that a host shows, unverified, for a person to compare. Hosts on the way are verified as ever.
    pub async fn scan_host_key(&self, target: &Target) -> Result<PublicKey> {
        let via = self.way(target).await?;
        handshake::scan(target, &self.dialler, via.as_ref()).await
    }

    /// Ends all connections.
    pub async fn close(&self) {
        let slots: Vec<Slot> = self.lock_slots().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            if let Some(connection) = slot.lock().await.take() {
                connection.close().await;
            }
        }
    }

    async fn open(&self, target: &Target) -> Result<Connection> {
        let via = self.way(target).await?;
        let session = handshake::open(target, &self.dialler, via.as_ref()).await?;
        Ok(Connection::new(target.clone(), session, via))
    }

    /// The connection to the jump host, itself from the pool. Its way is shorter than the target's, so that no two
    /// can wait for each other.
    fn way<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Option<Connection>>> {
        Box::pin(async move {
            match &target.jump {
                Some(jump) => self.connect(jump).await.map(Some),
                None => Ok(None),
            }
        })
    }

    fn slot(&self, target: &Target) -> Slot {
        self.lock_slots().entry(target.route()).or_default().clone()
    }

    fn lock_slots(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot>> {
        // A panic elsewhere cannot leave the map half changed.
        self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
