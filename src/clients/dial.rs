//! How to reach a host and port. See [`Dialler`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// Opens TCP connections.
#[derive(Debug, Clone)]
pub enum Dialler {
    /// Straight to the host.
    Direct,
    /// Through an HTTP CONNECT proxy at this address.
    Through(SocketAddr),
}

impl Dialler {
    /// Connects to a host and port within a time.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
        if let Dialler::Through(_) = self {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "dialling through a proxy is not supported"));
        }
        tokio::time::timeout(timeout, TcpStream::connect((host, port)))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
