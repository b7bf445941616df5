//! What a file descriptor stands for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::fs::{Access, Cred, Errno, Ino, Sys};
use super::memory;
use super::pipe::{ReadEnd, WriteEnd};
use super::process::Session;

/// An open file. Copies of a descriptor share the position.
#[derive(Debug)]
pub struct OpenFile {
    ino: Ino,
    access: Access,
    position: AtomicU64,
    /// Keeps the object while it is open.
    _opened: Arc<()>,
}

/// One descriptor. Clones are what `dup` makes.
#[derive(Debug, Clone)]
pub enum Stream {
    /// The reading end of a pipe.
    Read(ReadEnd),
    /// The writing end of a pipe.
    Write(WriteEnd),
    /// A file or device.
    File(Arc<OpenFile>),
    /// Fixed input: a here-document.
    Text(Arc<Mutex<(Vec<u8>, usize)>>),
    /// Output that is collected: a command substitution.
    Sink(Arc<Mutex<Vec<u8>>>),
}

impl Stream {
    /// Opens a file of the machine.
    pub fn open(session: &Session, cred: &Cred, path: &str, access: Access, mode: u32) -> Sys<Self> {
        let (ino, opened) = session.with(|machine| machine.fs.open(cred, path, access, mode))?;
        let position = AtomicU64::new(0);
        Ok(Stream::File(Arc::new(OpenFile { ino, access, position, _opened: opened })))
    }

    /// Input of these bytes.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Stream::Text(Arc::new(Mutex::new((bytes.into(), 0))))
    }

    /// A sink, and the place where its bytes will be.
    pub fn sink() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        (Stream::Sink(Arc::clone(&bytes)), bytes)
    }

    /// Reads what is there, waiting for at least one byte; 0 at the end.
    pub fn read(&self, buffer: &mut [u8], session: &Session) -> Sys<usize> {
        match self {
            Stream::Read(end) => end.read(buffer, &session.life),
            Stream::Text(text) => {
                let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                let (bytes, position) = &mut *text;
                let length = buffer.len().min(bytes.len() - *position);
                buffer[..length].copy_from_slice(&bytes[*position..*position + length]);
                *position += length;
                Ok(length)
            }
            Stream::File(file) if file.access.read => {
                let position = file.position.load(Ordering::SeqCst);
                let length = session.with(|machine| machine.read_at(file.ino, position, buffer))?;
                file.position.fetch_add(length as u64, Ordering::SeqCst);
                Ok(length)
            }
            _ => Err(Errno::BadDescriptor),
        }
    }

    /// Writes everything.
    pub fn write(&self, data: &[u8], session: &Session) -> Sys<()> {
        match self {
            Stream::Write(end) => end.write(data, &session.life),
            Stream::Sink(sink) => {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                if sink.len() + data.len() > memory::OUTPUT {
                    return Err(session.exhaust());
                }
                sink.extend_from_slice(data);
                Ok(())
            }
            Stream::File(file) if file.access.write => {
                let from = (!file.access.append).then(|| file.position.load(Ordering::SeqCst));
                let end = session.with(|machine| machine.write_at(file.ino, from, data))?;
                file.position.store(end, Ordering::SeqCst);
                Ok(())
            }
            _ => Err(Errno::BadDescriptor),
        }
    }
}
