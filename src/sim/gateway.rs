//! The network of the simulated homelab: one loopback listener that speaks HTTP CONNECT. Whatever a client wants to reach
//! it dials through here, by the address the machine has in the homelab.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::cable::{Cable, Plugged};
use super::chance::now;
use super::faults::{Faults, LineFault, SLOW};
use super::frame::Visit;
use super::guests::{Connection, Surroundings};
use super::host::Forward;
use super::kubernetes;
use super::log::Entry;
use super::proxmox::http;
use super::session::{Given, Notice, SESSION, Wanted, read_line};
use super::web;
use super::world::Target;

/// The longest head of a CONNECT request.
const HEAD_LIMIT: u64 = 8 * 1024;

/// How much may be on its way between two machines.
const INSIDE: usize = 64 * 1024;

/// Accepts connections until it is cancelled. Where there is a notice, those who have read it may begin sessions.
pub(crate) fn listen(
    listener: TcpListener,
    visit: Arc<Visit>,
    notice: Option<Arc<Notice>>,
    stop: CancellationToken,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        while let Some(stream) = next(&listener, &stop).await {
            let (visit, notice, stop) = (Arc::clone(&visit), notice.clone(), stop.clone());
            tokio::spawn(async move {
                let _ = stop.run_until_cancelled(connect(stream, &visit, notice.as_deref(), &stop)).await;
            });
        }
    })
}

/// Accepts connections to one fixed target until it is cancelled.
pub(crate) async fn listen_fixed(
    listener: TcpListener,
    host: String,
    port: u16,
    visit: Arc<Visit>,
    stop: CancellationToken,
) {
    while let Some(stream) = next(&listener, &stop).await {
        let visit = Arc::clone(&visit);
        let (host, stop) = (host.clone(), stop.clone());
        tokio::spawn(async move {
            let (target, fault) = find(&visit, &host, port);
            let served = serve_while_up(Box::new(stream), (&host, port), target, fault, &visit);
            let _ = stop.run_until_cancelled(served).await;
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

async fn connect(
    stream: TcpStream,
    visit: &Arc<Visit>,
    notice: Option<&Notice>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let first = read_line(&mut stream).await?;
    if let (Some(wanted), Some(notice)) = (first.strip_prefix(SESSION), notice) {
        return admit(stream, wanted, visit, notice, stop).await;
    }
    if let Some(authority) = plain_http(&first) {
        return forward(stream, &first, &authority, visit).await;
    }
    let Some(wanted) = read_head(&first, &mut stream).await? else {
        return stream.write_all(b"HTTP/1.1 405 only CONNECT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    };
    if cable(visit).is_some_and(|cable| cable.is_pulled()) {
        return refuse(&mut stream, "network is unreachable").await;
    }
    let address = wanted.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = address.unwrap_or_default();
    let (target, fault) = find(visit, host, port);
    let refusal = match target {
        Target::Nobody if host.parse::<IpAddr>().is_err() => "name or service not known",
        Target::Nobody => "no route to host",
        Target::Closed => "connection refused",
        target => {
            stream.write_all(b"HTTP/1.1 200 connected\r\n\r\n").await?;
            carry(stream, (host, port), target, fault, visit).await;
            return Ok(());
        }
    };
    refuse(&mut stream, refusal).await
}

/// Says why nobody is connected.
async fn refuse(stream: &mut BufReader<TcpStream>, why: &str) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 502 {why}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The cable of a client, where somebody is to pull it.
fn cable(visit: &Visit) -> Option<&Arc<Cable>> {
    visit.faults.as_ref()?.cable()
}

/// Serves a connection that also ends when the client's cable is pulled.
async fn carry<S: Connection + 'static>(
    stream: S,
    address: (&str, u16),
    target: Target,
    fault: Option<LineFault>,
    visit: &Arc<Visit>,
) {
    let Some(cable) = cable(visit) else {
        return serve_while_up(Box::new(stream), address, target, fault, visit).await;
    };
    let plugged = Box::new(Plugged::new(stream, Arc::clone(cable)));
    tokio::select! {
        () = serve_while_up(plugged, address, target, fault, visit) => {}
        () = cable.pulled() => {
            let method = "cable pulled".to_owned();
            visit.record(Entry { kind: "fault".into(), target: address.0.into(), method, ..Entry::default() });
        }
    }
}

/// The host and port of a request without TLS, which is put to a gateway as a whole.
fn plain_http(first: &str) -> Option<(String, u16)> {
    let url = first.split_whitespace().nth(1)?.strip_prefix("http://")?;
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => Some((authority.to_owned(), 80)),
    }
}

/// Hands on a request without TLS, and those that follow it. What does not answer answers nothing here either: an answer of
/// the gateway's own could be taken for one of the host's.
async fn forward(
    stream: BufReader<TcpStream>,
    first: &str,
    (host, port): &(String, u16),
    visit: &Arc<Visit>,
) -> std::io::Result<()> {
    if cable(visit).is_some_and(|cable| cable.is_pulled()) {
        return Ok(());
    }
    let (target, fault) = find(visit, host, *port);
    if let Target::Web(_) | Target::Service(_) = target {
        let (read, write) = tokio::io::split(stream);
        let whole = tokio::io::join(std::io::Cursor::new(first.as_bytes().to_vec()).chain(read), write);
        carry(whole, (host, *port), target, fault, visit).await;
    }
    Ok(())
}

/// Reads the rest of the head of a request; gives the target of a CONNECT.
async fn read_head(first: &str, stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut parts = first.split_whitespace();
    let wanted = parts.next().filter(|method| *method == "CONNECT").and_then(|_| parts.next());
    // A head that goes on beyond the limit looks as if it ended there; so does its first line.
    if !first.ends_with('\n') {
        return Ok(None);
    }
    let mut stream = stream.take(HEAD_LIMIT);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line == "\r\n" || line == "\n" {
            return Ok(wanted.map(str::to_string));
        }
    }
}

/// Gives a client a gateway of its own, which is there until the client goes.
async fn admit(
    mut stream: BufReader<TcpStream>,
    wanted: &str,
    visit: &Arc<Visit>,
    notice: &Notice,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let begun = match begin(wanted, visit, notice) {
        Ok(visit) => {
            TcpListener::bind("127.0.0.1:0").await.map(|listener| (visit, listener)).map_err(|e| e.to_string())
        }
        Err(why) => Err(why),
    };
    let (visit, listener) = match begun {
        Ok(begun) => begun,
        Err(why) => return answer(&mut stream, &Given::Refused(why)).await,
    };
    answer(&mut stream, &Given::Gateway(listener.local_addr()?)).await?;
    let session = stop.child_token();
    let _ends = session.clone().drop_guard();
    // A client says no more; what ends is its life.
    let mut rest = tokio::io::sink();
    tokio::select! {
        _ = tokio::io::copy(&mut stream, &mut rest) => Ok(()),
        () = listen(listener, visit, None, session) => Ok(()),
    }
}

fn begin(wanted: &str, visit: &Visit, notice: &Notice) -> Result<Arc<Visit>, String> {
    let wanted: Wanted = serde_json::from_str(wanted).map_err(|error| error.to_string())?;
    if !notice.was_read_by(&wanted) {
        return Err("it serves another world".into());
    }
    let faults = match &wanted.faults {
        Some(text) => Some(Arc::new(Faults::parse(text).map_err(|error| error.to_string())?)),
        None => visit.faults.clone(),
    };
    Visit::begin(&visit.frame, &wanted.name, faults).map_err(|error| error.to_string())
}

async fn answer(stream: &mut BufReader<TcpStream>, given: &Given) -> std::io::Result<()> {
    stream.write_all(format!("{}\n", serde_json::to_string(given)?).as_bytes()).await
}

/// What answers at a host and port, and what is to go wrong with it.
fn find(visit: &Visit, host: &str, port: u16) -> (Target, Option<LineFault>) {
    let (target, node) = {
        let world = visit.frame.world();
        (world.dial(host, port, now()), world.node_behind(host))
    };
    let Some((faults, node)) = visit.faults.as_ref().zip(node) else { return (target, None) };
    let fault = match target {
        // What else goes wrong there comes with its requests.
        Target::Api(..) => faults.misses(&node).then_some(LineFault::NodeAway),
        Target::Ssh { .. } => faults.next_line(host, &node),
        Target::Kubernetes(..) => faults.misses(&node).then_some(LineFault::NodeAway),
        Target::Web(_) | Target::Service(_) | Target::Restarting | Target::Closed | Target::Nobody => None,
    };
    if let Some(fault) = fault {
        let method = format!("{} connection", fault.name());
        visit.record(Entry { kind: "fault".into(), target: host.into(), method, ..Entry::default() });
    }
    match fault {
        Some(LineFault::NodeAway) => (Target::Nobody, None),
        Some(LineFault::Refused) => (Target::Closed, None),
        fault => (target, fault),
    }
}

/// Serves a connection until one of both ends it, or what it leads to goes down.
async fn serve_while_up(
    stream: Box<dyn Connection>,
    (host, port): (&str, u16),
    target: Target,
    fault: Option<LineFault>,
    visit: &Arc<Visit>,
) {
    let since = target.since();
    let mut moments = visit.frame.world().moments();
    let goes_down = async {
        // The world outlives its connections.
        while moments.changed().await.is_ok() {
            if visit.frame.world().dial(host, port, now()).since() != since {
                return;
            }
        }
    };
    let goes_away = async {
        let node = visit.frame.world().node_behind(host);
        match visit.faults.as_ref().zip(node) {
            Some((faults, node)) => faults.goes_away(&node).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = serve(stream, (host, port), target, fault, visit) => {}
        () = goes_down => {}
        () = goes_away => {}
    }
}

/// Serves what answers at a host, which is called as it was dialled.
async fn serve(
    stream: Box<dyn Connection>,
    (host, port): (&str, u16),
    target: Target,
    fault: Option<LineFault>,
    visit: &Arc<Visit>,
) {
    match target {
        Target::Api(node, _) => {
            let Some(acceptor) = visit.frame.certificates.acceptor(&node) else { return };
            // A client that does not like the certificate goes away; that is its business.
            if let Ok(stream) = acceptor.accept(stream).await {
                record(visit, &node, "tls");
                http::serve(stream, Arc::clone(visit), node).await;
            }
        }
        Target::Ssh { machine, node, .. } => {
            record(visit, host, "ssh");
            if fault == Some(LineFault::Slow) {
                tokio::time::sleep(SLOW).await;
            }
            let commands = match fault {
                Some(LineFault::Dropped(commands)) => Some(commands),
                _ => None,
            };
            let surroundings = Surroundings { commands, ..surroundings(host, node, visit) };
            machine.serve_ssh(stream, surroundings).await;
        }
        Target::Kubernetes(file, _) => kubernetes::serve(stream, Arc::clone(visit), file, host.to_owned()).await,
        Target::Web(_) if port == 443 => {
            if let Ok(stream) = visit.frame.web.acceptor.accept(stream).await {
                record(visit, host, "tls");
                web::serve(stream, Arc::clone(visit), host.to_owned()).await;
            }
        }
        Target::Web(_) => web::serve(stream, Arc::clone(visit), host.to_owned()).await,
        Target::Service(address) => kubernetes::serve_address(stream, Arc::clone(visit), address, port).await,
        Target::Restarting | Target::Closed | Target::Nobody => {}
    }
}

/// Takes note of a handshake.
fn record(visit: &Visit, target: &str, method: &str) {
    let entry = Entry { kind: "connection".into(), target: target.into(), method: method.into(), ..Entry::default() };
    visit.record(entry);
}

/// What is around the machine that is called `host`.
fn surroundings(host: &str, node: Option<String>, visit: &Arc<Visit>) -> Surroundings {
    let (host, network, users) = (host.to_owned(), Arc::clone(visit), Arc::clone(&visit.frame));
    Surroundings {
        observer: visit.clone(),
        network: Arc::new(move |to, port| {
            let own = matches!(to.as_str(), "localhost" | "127.0.0.1" | "::1");
            connect_inside(if own { host.clone() } else { to }, port, &network)
        }),
        passwords: Arc::new(move |user, password| {
            node.as_ref().is_some_and(|node| users.world().is_password(node, user, password))
        }),
        commands: None,
    }
}

/// Connects from one machine to another.
fn connect_inside(host: String, port: u16, visit: &Arc<Visit>) -> Forward {
    let (target, fault) = find(visit, &host, port);
    let refusal = match target {
        Target::Nobody => Some(ErrorKind::HostUnreachable),
        Target::Closed => Some(ErrorKind::ConnectionRefused),
        Target::Api(..) | Target::Kubernetes(..) | Target::Web(_) | Target::Service(_) => None,
        Target::Restarting | Target::Ssh { .. } => None,
    };
    let visit = Arc::clone(visit);
    Box::pin(async move {
        if let Some(kind) = refusal {
            return Err(kind.into());
        }
        let (near, far) = tokio::io::duplex(INSIDE);
        // It ends with the connection that it is forwarded on.
        tokio::spawn(async move { serve_while_up(Box::new(far), (&host, port), target, fault, &visit).await });
        Ok(near)
    })
}
