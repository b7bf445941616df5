//! The network of the simulated homelab: one loopback listener that speaks HTTP CONNECT. Whatever a client wants to reach
//! it dials through here, by the address the machine has in the homelab.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::chance::now;
use super::cut::Cut;
use super::faults::{LineFault, SLOW};
use super::frame::Frame;
use super::guests::{Connection, Surroundings};
use super::host::Forward;
use super::log::Entry;
use super::proxmox::http;
use super::world::Target;

/// The longest head of a CONNECT request.
const HEAD_LIMIT: u64 = 8 * 1024;

/// How much may be on its way between two machines.
const INSIDE: usize = 64 * 1024;

/// Accepts connections until it is cancelled.
pub(crate) async fn listen(listener: TcpListener, frame: Arc<Frame>, stop: CancellationToken) {
    while let Some(stream) = next(&listener, &stop).await {
        let frame = Arc::clone(&frame);
        let stop = stop.clone();
        tokio::spawn(async move {
            let _ = stop.run_until_cancelled(connect(stream, &frame)).await;
        });
    }
}

/// Accepts connections to one fixed target until it is cancelled.
pub(crate) async fn listen_fixed(
    listener: TcpListener,
    host: String,
    port: u16,
    frame: Arc<Frame>,
    stop: CancellationToken,
) {
    while let Some(stream) = next(&listener, &stop).await {
        let frame = Arc::clone(&frame);
        let (host, stop) = (host.clone(), stop.clone());
        tokio::spawn(async move {
            let (target, fault) = find(&frame, &host, port);
            let _ = stop.run_until_cancelled(serve(Box::new(stream), &host, target, fault, &frame)).await;
        });
    }
}

async fn next(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, _)) => {
                // Small packets to and fro: waiting for more would only cost time.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
            // Such as too many open files: the next one may do.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

async fn connect(stream: TcpStream, frame: &Arc<Frame>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(wanted) = read_head(&mut stream).await? else {
        return stream.write_all(b"HTTP/1.1 405 only CONNECT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    };
    let (host, port) = wanted.rsplit_once(':').unwrap_or_default();
    let (target, fault) = port.parse().map_or((Target::Nobody, None), |port| find(frame, host, port));
    let refusal = match target {
        Target::Nobody => "no route to host",
        Target::Closed => "connection refused",
        target => {
            stream.write_all(b"HTTP/1.1 200 connected\r\n\r\n").await?;
            serve(Box::new(stream), host, target, fault, frame).await;
            return Ok(());
        }
    };
    let answer = format!("HTTP/1.1 502 {refusal}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads the head of a request; gives the target of a CONNECT.
async fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    // A head that goes on beyond the limit looks as if it ended there.
    let mut stream = stream.take(HEAD_LIMIT);
    let (mut wanted, mut first) = (None, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if first {
            let mut parts = line.split_whitespace();
            wanted = parts.next().filter(|method| *method == "CONNECT").and_then(|_| parts.next()).map(str::to_string);
            first = false;
        }
        if line == "\r\n" || line == "\n" {
            return Ok(wanted);
        }
    }
}

/// What answers at a host and port, and what is to go wrong with it. Faults of the API come with its requests.
fn find(frame: &Frame, host: &str, port: u16) -> (Target, Option<LineFault>) {
    let target = frame.world().dial(host, port, now());
    let faults = frame.faults.as_ref().filter(|_| matches!(target, Target::Ssh { .. }));
    match faults.and_then(|faults| faults.next_line(host)) {
        Some(LineFault::Refused) => (Target::Closed, None),
        fault => (target, fault),
    }
}

/// Serves what answers at a host, which is called as it was dialled.
async fn serve(stream: Box<dyn Connection>, host: &str, target: Target, fault: Option<LineFault>, frame: &Arc<Frame>) {
    match target {
        Target::Api(node) => {
            let Some(acceptor) = frame.certificates.acceptor(&node) else { return };
            // A client that does not like the certificate goes away; that is its business.
            if let Ok(stream) = acceptor.accept(stream).await {
                record(frame, &node, "tls");
                http::serve(stream, Arc::clone(frame), node).await;
            }
        }
        Target::Ssh { machine, node } => {
            record(frame, host, "ssh");
            if fault == Some(LineFault::Slow) {
                tokio::time::sleep(SLOW).await;
            }
            let stream: Box<dyn Connection> = match fault {
                Some(LineFault::Dropped(bytes)) => Box::new(Cut::after(bytes, stream)),
                _ => stream,
            };
            machine.serve_ssh(stream, surroundings(host, node, frame)).await;
        }
        Target::Closed | Target::Nobody => {}
    }
}

/// Takes note of a handshake.
fn record(frame: &Frame, target: &str, method: &str) {
    let entry = Entry { kind: "connection".into(), target: target.into(), method: method.into(), ..Entry::default() };
    frame.record(entry);
}

/// What is around the machine that is called `host`.
fn surroundings(host: &str, node: Option<String>, frame: &Arc<Frame>) -> Surroundings {
    let (host, network, users) = (host.to_owned(), Arc::clone(frame), Arc::clone(frame));
    Surroundings {
        observer: frame.clone(),
        network: Arc::new(move |to, port| {
            let own = matches!(to.as_str(), "localhost" | "127.0.0.1" | "::1");
            connect_inside(if own { host.clone() } else { to }, port, &network)
        }),
        passwords: Arc::new(move |user, password| {
            node.as_ref().is_some_and(|node| users.world().is_password(node, user, password))
        }),
    }
}

/// Connects from one machine to another.
fn connect_inside(host: String, port: u16, frame: &Arc<Frame>) -> Forward {
    let (target, fault) = find(frame, &host, port);
    let refusal = match target {
        Target::Nobody => Some(ErrorKind::HostUnreachable),
        Target::Closed => Some(ErrorKind::ConnectionRefused),
        Target::Api(_) | Target::Ssh { .. } => None,
    };
    let frame = Arc::clone(frame);
    Box::pin(async move {
        if let Some(kind) = refusal {
            return Err(kind.into());
        }
        let (near, far) = tokio::io::duplex(INSIDE);
        // It ends with the connection that it is forwarded on.
        tokio::spawn(async move { serve(Box::new(far), &host, target, fault, &frame).await });
        Ok(near)
    })
}
