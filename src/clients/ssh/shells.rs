//! The shells that stay on a connection, one for each user.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::resident::Resident;

/// How often a shell is started for a user. One that ends again and again is of no use.
const STARTS: u8 = 3;

/// The shells of a connection.
#[derive(Default)]
pub(super) struct Shells {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    by_user: HashMap<String, Started>,
    /// Who has asked once.
    asked: HashSet<String>,
    /// The server has no room for them.
    given_up: bool,
}

struct Started {
    shell: Resident,
    times: u8,
}

impl Shells {
    /// The shell of a user, started if need be. Nothing where this server keeps none, and for the first question: a server
    /// takes input only once it has started a shell, so that a run that asks but one is a round trip faster without.
    pub fn of(&self, user: &str, start: impl FnOnce() -> Resident) -> Option<Resident> {
        let mut all = self.lock();
        if all.given_up {
            return None;
        }
        if all.asked.insert(user.to_owned()) {
            return None;
        }
        let times = match all.by_user.get(user) {
            Some(started) if started.shell.is_alive() => return Some(started.shell.clone()),
            // One that never spoke will not speak the next time: sudo asks for a password, or something else is started.
            Some(started) if !started.shell.has_greeted() || started.times >= STARTS => return None,
            Some(started) => started.times,
            None => 0,
        };
        let shell = start();
        all.by_user.insert(user.to_owned(), Started { shell: shell.clone(), times: times + 1 });
        Some(shell)
    }

    /// Does without them from now on: their channels are needed.
    pub fn give_up(&self) {
        let mut all = self.lock();
        all.given_up = true;
        all.by_user.values().for_each(|started| started.shell.retire());
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Nothing panics while it holds the lock.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// They hold the connection, and let go of it when nobody else does.
impl Drop for Shells {
    fn drop(&mut self) {
        self.give_up();
    }
}
