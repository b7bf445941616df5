//! What all servers of a simulator share: the world under its lock, the log, the faults.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chance::now;
use super::faults::Faults;
use super::guests::Observer;
use super::log::{Entry, RequestLog};
use super::tls::Certificates;
use super::world::{self, World};
use crate::error::Result;

/// The shared parts of a running simulator.
pub(crate) struct Frame {
    dir: PathBuf,
    world: Mutex<World>,
    changed: AtomicBool,
    saving: Mutex<()>,
    log: RequestLog,
    pub(crate) faults: Option<Faults>,
    pub(crate) certificates: Certificates,
}

impl Frame {
    /// Puts the parts together.
    pub(crate) fn new(
        dir: &Path,
        world: World,
        log: RequestLog,
        faults: Option<Faults>,
        certificates: Certificates,
    ) -> Arc<Self> {
        Arc::new(Frame {
            dir: dir.into(),
            world: Mutex::new(world),
            changed: AtomicBool::new(true),
            saving: Mutex::default(),
            log,
            faults,
            certificates,
        })
    }

    /// The world. It is never locked across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // Handlers copy what they change and put it back whole, so that a panic leaves a world that can go on.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the world has changed and must be saved.
    pub(crate) fn touch(&self) {
        self.changed.store(true, Ordering::SeqCst);
    }

    /// Lets what is due happen, and saves the world when it has changed.
    pub(crate) fn settle_and_save(&self) -> Result<()> {
        let _alone = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = self.world().settle(now());
        if !self.changed.swap(false, Ordering::SeqCst) && !settled {
            return Ok(());
        }
        let text = self.world().text();
        let saved = text.and_then(|text| world::save(&self.dir, &text));
        if saved.is_err() {
            self.touch();
        }
        saved
    }

    /// Writes to the request log. A log that cannot be written must not stop the simulation; the next start tells.
    pub(crate) fn record(&self, entry: Entry) {
        let _ = self.log.write(entry);
    }
}

impl Observer for Frame {
    fn command(&self, host: &str, user: &str, command: &str, exit: i32, mutated: bool) {
        if mutated {
            self.touch();
        }
        self.record(Entry {
            kind: "ssh".into(),
            target: host.into(),
            method: command.into(),
            path: user.into(),
            status: exit,
            mutating: mutated,
            ..Entry::default()
        });
    }
}
