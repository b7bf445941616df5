//! What a shell that stays on a channel is given, one request after the other. Each subshell that it starts counts as a
//! command of its own: a log that only had the shell would hide all that was done in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use russh::Disconnect;
use russh::server::Handle;

use super::{Observer, look};
use crate::sim::host::machine::SharedMachine;
use crate::sim::host::pipe::Identity;
use crate::sim::host::process::Accounting;
use crate::sim::host::tools::run_due_timers;

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How many commands a connection still takes; without a number as many as come.
#[derive(Clone)]
pub struct Allowance(Arc<Mutex<Option<u32>>>);

impl Allowance {
    /// So many.
    pub fn of(commands: Option<u32>) -> Self {
        Allowance(Arc::new(Mutex::new(commands)))
    }

    /// Takes one; false where none is left.
    pub fn take(&self) -> bool {
        // Nothing panics while it holds the lock.
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *left {
            None => true,
            Some(0) => false,
            Some(count) => {
                *count -= 1;
                true
            }
        }
    }
}

/// The accounts of one channel.
pub struct Account {
    machine: SharedMachine,
    observer: Arc<dyn Observer>,
    user: String,
    allowance: Allowance,
    handle: Handle,
    runtime: tokio::runtime::Handle,
    input: Identity,
    /// How many changes have been told.
    told: AtomicU64,
    commands: AtomicU64,
}

impl Account {
    /// Of commands that come over this input. Must be made inside a runtime.
    pub fn of(
        machine: SharedMachine,
        observer: Arc<dyn Observer>,
        user: String,
        allowance: Allowance,
        handle: Handle,
        input: Identity,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let (told, commands) = (AtomicU64::new(0), AtomicU64::new(0));
        Account { machine, observer, user, allowance, handle, runtime, input, told, commands }
    }

    /// How many changes have been told already.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// Whether anything was told.
    pub fn has_told(&self) -> bool {
        self.commands.load(Ordering::SeqCst) > 0
    }
}

impl Accounting for Account {
    fn input(&self) -> &Identity {
        &self.input
    }

    fn begins(&self) -> bool {
        // The first came with the shell.
        if self.commands.fetch_add(1, Ordering::SeqCst) > 0 && !self.allowance.take() {
            let handle = self.handle.clone();
            self.runtime.spawn(async move {
                let broken = handle.disconnect(Disconnect::ByApplication, "connection reset".to_owned(), String::new());
                // Whether anybody hears it makes no difference.
                let _heard = broken.await;
            });
            return false;
        }
        run_due_timers(&self.machine);
        true
    }

    fn ended(&self, command: &str, exit: i32, changes: u64) {
        let mutated = changes > self.told.swap(changes, Ordering::SeqCst);
        let host = look(&self.machine, |machine| machine.hostname.clone());
        self.observer.command(&host, &self.user, command.trim_end(), exit, mutated);
    }
}
