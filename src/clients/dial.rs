//! How a TCP connection to another machine comes about: straight, or through a gateway that speaks HTTP CONNECT.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer to CONNECT that is read before giving up on the gateway.
const LONGEST_HEAD: usize = 8 * 1024;

/// The way to every host: all clients of a run dial through the same one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialler {
    /// Straight to the host, its name resolved here.
    #[default]
    Direct,
    /// Through the HTTP CONNECT gateway at this address, which also resolves the names.
    Through(SocketAddr),
}

impl Dialler {
    /// Connects to a port of a host. The stream sends small packets at once (TCP_NODELAY): everything spoken over it
    /// is question and answer. A gateway's refusal becomes the error that a direct connection would have met; a name that
    /// does not resolve is [`ErrorKind::NotFound`].
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
        let dial = async {
            match self {
                Dialler::Direct => straight(&resolve(host, port).await?).await,
                Dialler::Through(gateway) => tunnel(*gateway, host, port).await,
            }
        };
        let in_time = tokio::time::timeout(timeout, dial).await;
        in_time.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, format!("no answer after {timeout:?}"))))
    }
}

/// The addresses of a host. A name that has none is told from a host that does not answer.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses = tokio::net::lookup_host((host, port)).await;
    Ok(addresses.map_err(|error| io::Error::new(ErrorKind::NotFound, error.to_string()))?.collect())
}

async fn straight(to: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn tunnel(gateway: SocketAddr, host: &str, port: u16) -> io::Result<TcpStream> {
    let mut stream = straight(&[gateway]).await?;
    let authority = authority(host, port)?;
    stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    let status_line = head.lines().next().unwrap_or_default();
    let (status, reason) = status_and_reason(status_line)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the gateway answered something that is not HTTP"))?;
    if status == 200 { Ok(stream) } else { Err(refusal(status, reason)) }
}

/// `host:port` as a request line may carry it; an IPv6 address goes in brackets.
fn authority(host: &str, port: u16) -> io::Result<String> {
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a host name"));
    }
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    Ok(if bare_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// Reads up to the empty line and not a byte further: what follows belongs to the tunnelled conversation.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::with_capacity(128);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(io::Error::new(ErrorKind::InvalidData, "the gateway's answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn status_and_reason(line: &str) -> Option<(u16, &str)> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let (_minor, rest) = rest.split_once(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((status.parse().ok()?, reason.trim()))
}

fn refusal(status: u16, reason: &str) -> io::Error {
    let words = reason.to_ascii_lowercase();
    let kind = match () {
        () if words.contains("connection refused") => ErrorKind::ConnectionRefused,
        () if words.contains("no route to host") => ErrorKind::HostUnreachable,
        () if words.contains("network is unreachable") => ErrorKind::NetworkUnreachable,
        () if words.contains("timed out") => ErrorKind::TimedOut,
        () if words.contains("name or service not known") => ErrorKind::NotFound,
        () => ErrorKind::Other,
    };
    let text = if reason.is_empty() { format!("the gateway answered {status}") } else { reason.to_owned() };
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(10);

    /// A gateway that answers one CONNECT with `answer` and hands back what it was asked.
    async fn gateway(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            head
        });
        (address, asked)
    }

    #[tokio::test]
    async fn a_direct_connection_sends_small_packets_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = Dialler::Direct.connect("127.0.0.1", port, SOON).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_is_a_refused_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = Dialler::Direct.connect("127.0.0.1", port, SOON).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told_from_a_host_that_does_not_answer() {
        // No name has a part that long, so nobody is asked for it.
        let error = Dialler::Direct.connect(&"x".repeat(70), 8006, SOON).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn the_gateway_is_asked_for_host_and_port_and_the_tunnel_starts_right_after_its_answer() {
        let (address, asked) = gateway("HTTP/1.1 200 OK\r\nVia: here\r\n\r\nSSH-2.0-x").await;
        let mut stream = Dialler::Through(address).connect("k3s-server-01", 22, SOON).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let mut first = [0; 9];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"SSH-2.0-x");
        assert!(asked.await.unwrap().starts_with("CONNECT k3s-server-01:22 HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn refusals_of_the_gateway_are_the_errors_of_a_direct_connection() {
        for (answer, kind) in [
            ("HTTP/1.1 502 no route to host\r\n\r\n", ErrorKind::HostUnreachable),
            ("HTTP/1.1 502 connection refused\r\n\r\n", ErrorKind::ConnectionRefused),
            ("HTTP/1.1 502 name or service not known\r\n\r\n", ErrorKind::NotFound),
            ("HTTP/1.1 403 not yours\r\n\r\n", ErrorKind::Other),
            ("SSH-2.0-OpenSSH\r\n\r\n", ErrorKind::InvalidData),
        ] {
            let (address, _asked) = gateway(answer).await;
            let error = Dialler::Through(address).connect("pve1", 8006, SOON).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_stays_silent_is_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Dialler::Through(listener.local_addr().unwrap());
        let error = silent.connect("pve1", 8006, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn an_ipv6_address_goes_in_brackets_and_a_line_break_goes_nowhere() {
        assert_eq!(authority("fd00::1", 22).unwrap(), "[fd00::1]:22");
        assert_eq!(authority("pve1", 22).unwrap(), "pve1:22");
        assert!(authority("pve1\r\nX: y", 22).is_err());
    }
}
