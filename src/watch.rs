//! Running again whenever a file that the last run read is saved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};

use crate::cli::run::Session;
use crate::error::{Class, Error, Result};
use crate::playbook::play::Played;
use crate::run::interrupt::Interrupt;

/// Editors write a file in several steps; what comes within this time is one save.
const DEBOUNCE: Duration = Duration::from_millis(80);

/// What wakes the watch.
enum Nudge {
    /// These files changed.
    Saved(Vec<PathBuf>),
    /// Ctrl-C.
    Ended,
}

/// What the watch hears.
enum Heard {
    /// Something that wakes it.
    Nudge(Nudge),
    /// The run is over.
    RunOver,
}

/// Says that the run is over when it goes, also by a panic.
struct SaysOver(Sender<Heard>);

impl Drop for SaysOver {
    fn drop(&mut self) {
        // The watch waits for it, and so is there.
        let _ = self.0.send(Heard::RunOver);
    }
}

/// Runs, and runs again on every save of a file that the run read, until Ctrl-C. An edit in the middle of a run lets the
/// change in flight finish and starts over.
pub fn watch(session: &Session) -> Result<Played> {
    let (sender, heard) = mpsc::channel();
    let (saved, pressed) = (sender.clone(), sender.clone());
    let unwatchable = |error| Error::new(Class::Failed, "watch: cannot watch files").cause(error);
    let mut watcher = new_debouncer(DEBOUNCE, None, move |events: DebounceEventResult| {
        let Ok(events) = events else { return };
        let changing = events.into_iter().filter(|event| !event.kind.is_access());
        let files: Vec<PathBuf> = changing.flat_map(|event| event.event.paths).collect();
        if !files.is_empty() {
            // Nobody listens any more once the watch has ended.
            let _ = saved.send(Heard::Nudge(Nudge::Saved(files)));
        }
    })
    .map_err(unwatchable)?;
    session.runtime().spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if pressed.send(Heard::Nudge(Nudge::Ended)).is_err() {
                return;
            }
        }
    });
    let mut folders = BTreeSet::new();
    let mut files = first_files(session);
    loop {
        for folder in files.iter().filter_map(|file| nearest_folder(file)) {
            if folders.insert(folder.clone()) {
                watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(unwatchable)?;
            }
        }
        let (ended, reason) = run_until_nudged(session, (&sender, &heard), &files);
        let played = match ended {
            Ok(played) => {
                files = played.files.iter().cloned().chain(first_files(session)).collect();
                Some(played)
            }
            Err(error) => {
                session.complain(&error);
                None
            }
        };
        for folder in files.iter().filter_map(|file| nearest_folder(file)) {
            if folders.insert(folder.clone()) {
                watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(unwatchable)?;
            }
        }
        match reason {
            Some(Nudge::Saved(_)) => continue,
            Some(Nudge::Ended) => return finish(played),
            None => eprintln!("watching {} files; Ctrl-C ends", files.len()),
        }
        let warm = session.keep_warm();
        let nudge = wait(session, &heard, &files);
        drop(warm);
        match nudge {
            Nudge::Saved(saved) => tell(session, &saved),
            Nudge::Ended => return finish(played),
        }
    }
}

fn finish(played: Option<Played>) -> Result<Played> {
    played.ok_or_else(|| Error::new(Class::Interrupted, "watch: ended before a run could begin"))
}

fn tell(session: &Session, saved: &[PathBuf]) {
    let root = &session.project().root;
    let names: Vec<String> =
        saved.iter().map(|file| file.strip_prefix(root).unwrap_or(file).display().to_string()).collect();
    eprintln!("\n{} saved: running again", names.join(", "));
}

/// What is watched however little of a run could be read.
fn first_files(session: &Session) -> BTreeSet<PathBuf> {
    let envrc = session.project().root.join(".envrc");
    session.playbooks().unwrap_or_default().into_iter().chain([envrc]).collect()
}

/// Runs in a thread of its own, so that a save in the middle is noticed. Gives back why it was cut short, if it was.
fn run_until_nudged(
    session: &Session,
    (sender, heard): (&Sender<Heard>, &Receiver<Heard>),
    files: &BTreeSet<PathBuf>,
) -> (Result<Played>, Option<Nudge>) {
    let interrupt = Interrupt::default();
    std::thread::scope(|threads| {
        let over = SaysOver(sender.clone());
        let interrupt = &interrupt;
        let run = threads.spawn(move || {
            let _over = over;
            session.once(interrupt, false)
        });
        let mut reason: Option<Nudge> = None;
        while let Ok(Heard::Nudge(nudge)) = heard.recv() {
            let nudge = match nudge {
                Nudge::Saved(saved) => {
                    let saved = relevant(session, saved, files);
                    if saved.is_empty() {
                        continue;
                    }
                    if reason.is_none() {
                        tell(session, &saved);
                        interrupt.press();
                    }
                    Nudge::Saved(saved)
                }
                // Each Ctrl-C is more urgent than the one before.
                Nudge::Ended => {
                    interrupt.press();
                    Nudge::Ended
                }
            };
            if !matches!(reason, Some(Nudge::Ended)) {
                reason = Some(nudge);
            }
        }
        let ended = run.join().unwrap_or_else(|_| Err(Error::new(Class::Bug, "watch: the run's thread was lost")));
        (ended, reason)
    })
}

/// Waits for a save of a file that matters, or for the end.
fn wait(session: &Session, heard: &Receiver<Heard>, files: &BTreeSet<PathBuf>) -> Nudge {
    loop {
        match heard.recv() {
            Ok(Heard::Nudge(Nudge::Saved(saved))) => {
                let saved = relevant(session, saved, files);
                if !saved.is_empty() {
                    return Nudge::Saved(saved);
                }
            }
            Ok(Heard::RunOver) => {}
            Ok(Heard::Nudge(Nudge::Ended)) | Err(_) => return Nudge::Ended,
        }
    }
}

fn relevant(session: &Session, saved: Vec<PathBuf>, files: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let matters = |file: &PathBuf| files.contains(file) || session.takes_in(file);
    let mut saved: Vec<PathBuf> = saved.into_iter().filter(matters).collect();
    saved.sort();
    saved.dedup();
    saved
}

/// The folder to watch for a file that may not be there yet.
fn nearest_folder(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned)
}
