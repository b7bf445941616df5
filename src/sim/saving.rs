//! Saving the world. Whoever has changed something waits until a save that began afterwards has ended; all who come
//! while one is under way share the next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::guests::SharedMachine;
use super::world;
use crate::error::Result;

/// How far saving has come.
#[derive(Debug, Default)]
struct Progress {
    /// The newest change that is on disk.
    saved: u64,
    /// The newest change that could not be saved, and why.
    failed: Option<(u64, String)>,
}

/// What lies on disk.
#[derive(Default)]
pub(crate) struct Written {
    text: String,
    /// The machines, with their count of changes when they were written.
    machines: BTreeMap<String, u64>,
}

/// What is to be saved, taken from the world at one moment.
pub(crate) struct Snapshot {
    pub(crate) text: String,
    pub(crate) machines: Vec<(String, SharedMachine)>,
}

/// The order in which changes come and go to disk.
pub(crate) struct Saving {
    dir: PathBuf,
    changed: AtomicU64,
    wanted: Notify,
    progress: watch::Sender<Progress>,
    written: Mutex<Written>,
}

impl Saving {
    /// Saves to a folder.
    pub(crate) fn to(dir: &Path) -> Self {
        Saving {
            dir: dir.into(),
            changed: AtomicU64::new(0),
            wanted: Notify::new(),
            progress: watch::Sender::default(),
            written: Mutex::default(),
        }
    }

    /// Counts a change that nobody waits for.
    pub(crate) fn note(&self) {
        self.changed.fetch_add(1, Ordering::SeqCst);
    }

    /// Says that something has changed, and gives the number of the change.
    pub(crate) fn touch(&self) -> u64 {
        let change = self.changed.fetch_add(1, Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        change
    }

    /// The newest change.
    pub(crate) fn newest(&self) -> u64 {
        self.changed.load(Ordering::SeqCst)
    }

    /// Whether the newest change is on disk.
    pub(crate) fn is_done(&self) -> bool {
        self.progress.borrow().saved >= self.newest()
    }

    /// Waits until there is something to save.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until a change is on disk; tells why when it cannot be.
    pub(crate) async fn saved(&self, change: u64) -> std::result::Result<(), String> {
        let mut progress = self.progress.subscribe();
        let decided = |progress: &Progress| {
            progress.saved >= change || progress.failed.as_ref().is_some_and(|(newest, _)| *newest >= change)
        };
        match progress.wait_for(decided).await {
            Ok(now) if now.saved >= change => Ok(()),
            Ok(now) => Err(now.failed.as_ref().map(|(_, why)| why.clone()).unwrap_or_default()),
            // The sender lives as long as this does.
            Err(_) => Err("the simulator has stopped".into()),
        }
    }

    /// Begins a save; there is one at a time.
    pub(crate) fn begin(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what differs from what lies on disk, or all of it, and tells those who wait for `change`.
    pub(crate) fn save(&self, written: &mut Written, change: u64, taken: Result<Snapshot>, all: bool) -> Result<()> {
        let saved = taken.and_then(|snapshot| self.write(written, snapshot, all));
        self.progress.send_modify(|progress| match &saved {
            Ok(()) => *progress = Progress { saved: change, failed: None },
            Err(error) => progress.failed = Some((change, error.to_string())),
        });
        saved
    }

    /// The machines come first, for the world's file names theirs.
    fn write(&self, written: &mut Written, snapshot: Snapshot, all: bool) -> Result<()> {
        let mut machines = BTreeMap::new();
        for (file, machine) in snapshot.machines {
            // Counted before it is read: what changes in between is written again.
            let changes = machine.changes();
            if all || written.machines.get(&file) != Some(&changes) {
                world::save_machine(&self.dir, &file, &machine.save())?;
            }
            machines.insert(file, changes);
        }
        if snapshot.text != written.text {
            world::save(&self.dir, &snapshot.text)?;
            written.text = snapshot.text;
        }
        let before = std::mem::replace(&mut written.machines, machines);
        for file in before.keys().filter(|file| !written.machines.contains_key(*file)) {
            world::remove_machine(&self.dir, file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Result<Snapshot> {
        Ok(Snapshot { text: text.into(), machines: Vec::new() })
    }

    #[tokio::test]
    async fn a_change_is_saved_once_a_save_that_saw_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let saving = Saving::to(dir.path());
        let (first, second) = (saving.touch(), saving.touch());
        saving.save(&mut saving.begin(), first, snapshot("{}"), false).unwrap();
        assert_eq!(saving.saved(first).await, Ok(()));
        assert!(!saving.is_done());
        assert!(futures::poll!(std::pin::pin!(saving.saved(second))).is_pending());
        saving.save(&mut saving.begin(), second, snapshot("{}"), false).unwrap();
        assert_eq!(saving.saved(second).await, Ok(()));
        assert!(saving.is_done());
    }

    #[tokio::test]
    async fn whoever_waits_hears_that_a_save_failed_and_the_next_one_may_do() {
        let dir = tempfile::tempdir().unwrap();
        let saving = Saving::to(&dir.path().join("missing"));
        let change = saving.touch();
        assert!(saving.save(&mut saving.begin(), change, snapshot("{}"), false).is_err());
        assert!(saving.saved(change).await.unwrap_err().contains("missing"));
        assert!(!saving.is_done());
        std::fs::create_dir(dir.path().join("missing")).unwrap();
        saving.save(&mut saving.begin(), change, snapshot("{}"), false).unwrap();
        assert_eq!(saving.saved(change).await, Ok(()));
    }
}
