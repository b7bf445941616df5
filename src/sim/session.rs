//! A run that uses a simulator of another process: how it finds it, and how it is told apart from other clients.
//!
//! The simulator notes where it listens in a file of its world, with a key. Whoever shows that key at the gateway has read
//! the file of this very world, and gets a gateway of its own for as long as its connection lasts: what comes through it
//! is logged under its name and meets its faults.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::chance;
use super::world::write_private;
use crate::error::{Class, Error, Result};

/// The file's name in the simulator's folder.
const FILE: &str = "served.json";

/// What a request for a session begins with, so that the gateway can tell it from HTTP.
pub(crate) const SESSION: &str = "SESSION ";

/// How long a simulator may take to answer. It is on this machine; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest line that is read.
const LONGEST: u64 = 8 * 1024;

/// Where a simulator listens for other processes.
#[derive(Serialize, Deserialize)]
struct Address {
    gateway: SocketAddr,
    pid: u32,
    key: String,
}

/// What a client asks of the gateway.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) faults: Option<String>,
}

/// What it is answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Given {
    Gateway(SocketAddr),
    Refused(String),
}

/// The note that a simulator is being served. It is gone when this is dropped.
pub(crate) struct Notice {
    path: PathBuf,
    key: String,
}

impl Notice {
    /// Notes where the simulator of a folder listens.
    pub(crate) fn put_up(dir: &Path, gateway: SocketAddr) -> Result<Self> {
        let key = chance::hex(&chance::secret_bytes()?);
        let path = dir.join(FILE);
        let address = Address { gateway, pid: std::process::id(), key: key.clone() };
        let text = serde_json::to_string(&address)
            .map_err(|error| Error::new(Class::Bug, "simulator: its address cannot be written").cause(error))?;
        write_private(&path, text.as_bytes())?;
        Ok(Notice { path, key })
    }

    /// Whether somebody has read it.
    pub(crate) fn was_read_by(&self, wanted: &Wanted) -> bool {
        // Compared as digests, whose first different byte tells nothing about the key.
        chance::sha256(&self.key) == chance::sha256(&wanted.key)
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        // What is left is found out: nobody answers there.
        let _left = fs::remove_file(&self.path);
    }
}

/// A simulator of another process, for as long as this lives.
#[derive(Debug)]
pub struct Attached {
    gateway: SocketAddr,
    pid: u32,
    /// The session ends with it, even if this process is killed.
    _line: BufReader<TcpStream>,
}

impl Attached {
    /// The session's gateway: an HTTP CONNECT proxy to everything in the simulated homelab.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// The process of the simulator.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// Begins a session with the simulator that another process runs in a folder; `None` where nobody does. `session` is its
/// name in the request log; faults are those of the session, in the form of [`Faults::parse`](super::Faults::parse).
pub async fn attach(dir: &Path, session: &str, faults: Option<&str>) -> Result<Option<Attached>> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(
                Error::new(Class::Failed, format!("simulator: {}: cannot be read", path.display())).cause(error)
            );
        }
    };
    // Half a file, or one of another version: whoever wrote it holds the world's lock if it still runs.
    let Ok(Address { gateway, pid, key }) = serde_json::from_str(&text) else { return Ok(None) };
    let wanted = Wanted { key, name: session.to_owned(), faults: faults.map(str::to_owned) };
    let asked = tokio::time::timeout(PATIENCE, ask(gateway, &wanted)).await;
    let silent = |cause: &dyn std::fmt::Display| {
        Error::new(
            Class::Unreachable,
            format!("simulator: {gateway}: the process {pid} that serves it does not answer"),
        )
        .cause(cause)
        .help(format!("stop it (`kill {pid}`) and run again"))
    };
    match asked {
        // A simulator that was killed leaves its note behind; by now the port may be somebody else's.
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::InvalidData) => Ok(None),
        Ok(Err(error)) => Err(silent(&error)),
        Err(_) => Err(silent(&format!("no answer within {PATIENCE:?}"))),
        Ok(Ok((Given::Gateway(gateway), line))) => Ok(Some(Attached { gateway, pid, _line: line })),
        Ok(Ok((Given::Refused(why), _))) => {
            Err(Error::new(Class::Failed, format!("simulator: the process {pid} that serves it refuses")).cause(why))
        }
    }
}

async fn ask(gateway: SocketAddr, wanted: &Wanted) -> io::Result<(Given, BufReader<TcpStream>)> {
    let mut line = BufReader::new(TcpStream::connect(gateway).await?);
    line.write_all(format!("{SESSION}{}\r\n", serde_json::to_string(wanted)?).as_bytes()).await?;
    let answer = read_line(&mut line).await?;
    Ok((serde_json::from_str(&answer).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?, line))
}

/// Reads a line; one that goes on beyond the limit looks as if it ended there.
pub(crate) async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = String::new();
    stream.take(LONGEST).read_line(&mut line).await?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn where_nobody_serves_there_is_nothing_to_attach_to() {
        let dir = tempfile::tempdir().unwrap();
        assert!(attach(dir.path(), "run", None).await.unwrap().is_none(), "no file");
        std::fs::write(dir.path().join(FILE), "{\"gateway\":").unwrap();
        assert!(attach(dir.path(), "run", None).await.unwrap().is_none(), "half a file");
    }

    #[tokio::test]
    async fn the_note_of_a_simulator_that_was_killed_misleads_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        std::mem::forget(Notice::put_up(dir.path(), address).unwrap());
        let stranger = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-somebody else\r\n").await.unwrap();
        });
        assert!(attach(dir.path(), "run", None).await.unwrap().is_none(), "the port is a stranger's");
        stranger.await.unwrap();
        assert!(attach(dir.path(), "run", None).await.unwrap().is_none(), "the port is closed");
    }

    #[tokio::test]
    async fn a_simulator_of_another_world_says_so() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let address = "127.0.0.1:1".parse().unwrap();
        let notice = Notice::put_up(one.path(), address).unwrap();
        let other = Notice::put_up(two.path(), address).unwrap();
        let wanted = Wanted { key: other.key.clone(), name: "run".into(), faults: None };
        assert!(!notice.was_read_by(&wanted) && other.was_read_by(&wanted));
        drop(notice);
        assert!(!one.path().join(FILE).exists());
    }
}
