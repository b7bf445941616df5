//! A pipe between two threads, or between a thread and the SSH server's tasks: bounded, with the rules of `pipe(7)`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::fs::{Errno, Sys};
use super::memory;
use super::process::Life;

/// What a pipe holds before its writer waits, as on Linux.
const CAPACITY: usize = 64 * 1024;
/// How often somebody who waits looks whether it has been killed.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    readers_gone: bool,
    writers_gone: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    moved: Condvar,
    moved_async: Notify,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while holding the lock left at worst a shorter queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.moved.notify_all();
        self.moved_async.notify_waiters();
    }
}

#[derive(Debug)]
struct Reader(Arc<Pipe>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.state().readers_gone = true;
        self.0.announce();
    }
}

#[derive(Debug)]
struct Writer(Arc<Pipe>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.state().writers_gone = true;
        self.0.announce();
    }
}

/// The reading end. When the last copy goes, writers get `EPIPE`.
#[derive(Debug, Clone)]
pub struct ReadEnd(Arc<Reader>);

/// Which pipe it is, without keeping it open.
#[derive(Debug, Clone)]
pub struct Identity(Weak<Reader>);

impl Identity {
    /// Whether this is its reading end.
    pub fn is(&self, end: &ReadEnd) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&end.0))
    }
}

/// The writing end. When the last copy goes, readers see the end.
#[derive(Debug, Clone)]
pub struct WriteEnd(Arc<Writer>);

/// A new pipe.
pub fn pipe() -> (ReadEnd, WriteEnd) {
    let pipe = Arc::new(Pipe::default());
    (ReadEnd(Arc::new(Reader(Arc::clone(&pipe)))), WriteEnd(Arc::new(Writer(pipe))))
}

impl ReadEnd {
    /// Which pipe it is.
    pub fn identity(&self) -> Identity {
        Identity(Arc::downgrade(&self.0))
    }

    /// Waits for bytes; 0 at the end.
    pub fn read(&self, buffer: &mut [u8], life: &Life) -> Sys<usize> {
        let pipe = &self.0.0;
        let mut state = pipe.state();
        loop {
            if life.over() {
                return Err(Errno::Interrupted);
            }
            if !state.bytes.is_empty() || state.writers_gone || buffer.is_empty() {
                let length = buffer.len().min(state.bytes.len());
                for (slot, byte) in buffer.iter_mut().zip(state.bytes.drain(..length)) {
                    *slot = byte;
                }
                pipe.announce();
                return Ok(length);
            }
            state =
                pipe.moved.wait_timeout(state, LOOK).map_or_else(|broken| broken.into_inner().0, |(state, _)| state);
        }
    }

    /// The next bytes for a task; `None` at the end.
    pub async fn take(&self) -> Option<Vec<u8>> {
        let pipe = &self.0.0;
        loop {
            let moved = pipe.moved_async.notified();
            tokio::pin!(moved);
            // Registered before looking, so that nothing written in between is missed.
            moved.as_mut().enable();
            {
                let mut state = pipe.state();
                if !state.bytes.is_empty() {
                    let bytes = state.bytes.drain(..).collect();
                    pipe.announce();
                    return Some(bytes);
                }
                if state.writers_gone {
                    return None;
                }
            }
            moved.await;
        }
    }
}

impl WriteEnd {
    /// Writes everything, waiting for room.
    pub fn write(&self, mut data: &[u8], life: &Life) -> Sys<()> {
        let pipe = &self.0.0;
        let mut state = pipe.state();
        while !data.is_empty() {
            if state.readers_gone {
                return Err(Errno::BrokenPipe);
            }
            if life.over() {
                return Err(Errno::Interrupted);
            }
            let room = CAPACITY.saturating_sub(state.bytes.len()).min(data.len());
            if room > 0 {
                state.bytes.extend(&data[..room]);
                data = &data[room..];
                pipe.announce();
                continue;
            }
            state =
                pipe.moved.wait_timeout(state, LOOK).map_or_else(|broken| broken.into_inner().0, |(state, _)| state);
        }
        Ok(())
    }

    /// Adds everything at once, more than a pipe holds: for a task that must not wait for a slow reader. Fails when
    /// nobody reads any more, and when far too much is waiting already.
    pub fn put(&self, data: &[u8]) -> Sys<()> {
        let pipe = &self.0.0;
        let mut state = pipe.state();
        if state.readers_gone {
            return Err(Errno::BrokenPipe);
        }
        if state.bytes.len() + data.len() > memory::INPUT {
            return Err(Errno::NoMemory);
        }
        state.bytes.extend(data);
        pipe.announce();
        Ok(())
    }
}
