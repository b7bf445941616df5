//! Connections that stay open: commands in containers, and the ports of pods. Both speak over websockets, on channels that
//! each message names first.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderName, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::stream::Stream;
use super::websocket::{Message, Reader, Writer, accepted};
use super::{Door, shape};
use crate::sim::chance::now;
use crate::sim::frame::Visit;
use crate::sim::kubernetes::api::status::Refusal;
use crate::sim::kubernetes::api::{Call, Caller, Reply};
use crate::sim::kubernetes::apps::Ask;
use crate::sim::kubernetes::shell::Shell;
use crate::sim::log::Entry;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");

/// Whether a request wants a connection that stays open.
pub(super) fn is_asked(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(UPGRADE) && Way::of(request.uri().path()).is_some()
}

/// What is wanted of which pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    namespace: String,
    pod: String,
    part: String,
}

impl Way {
    /// `/api/v1/namespaces/NAMESPACE/pods/POD/exec`
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "v1", "namespaces", namespace, "pods", pod, part @ ("exec" | "attach" | "portforward")] => {
                let own = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
                Some(Way { namespace: own(namespace), pod: own(pod), part: (*part).to_owned() })
            }
            _ => None,
        }
    }

    fn pod(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.pod)
    }
}

/// What the query says. A name may stand there more than once.
struct Query(Vec<(String, String)>);

impl Query {
    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    fn first(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().find(|value| !value.is_empty())
    }

    fn says(&self, name: &str) -> bool {
        matches!(self.first(name).as_deref(), Some("true" | "1"))
    }
}

/// Where a connection comes in.
pub(super) struct Entrance {
    pub(super) visit: Arc<Visit>,
    pub(super) file: String,
    pub(super) host: String,
    pub(super) shown: Vec<CertificateDer<'static>>,
    pub(super) door: Arc<Door>,
}

/// What is to be done on a connection.
enum Task {
    Exec { shell: Shell, command: Vec<String>, stdin: bool },
    Port { namespace: String, pod: String, port: u16 },
}

/// Answers a request for a connection that stays open.
pub(super) async fn answer(mut request: Request<Incoming>, entrance: Entrance) -> Response<Stream> {
    let Some(way) = Way::of(request.uri().path()) else { return shape(Reply::no_page()) };
    let query = request.uri().query().unwrap_or_default();
    let query = Query(form_urlencoded::parse(query.as_bytes()).into_owned().collect());
    let prepared = entrance.prepare(&request, &way, &query);
    let (status, response) = match prepared {
        Err(reply) => (reply.status, shape(*reply)),
        Ok((task, key, protocol)) => {
            let upgraded = hyper::upgrade::on(&mut request);
            let visit = Arc::clone(&entrance.visit);
            let (file, requests) = (entrance.file.clone(), visit.frame.requests.clone());
            requests.spawn(async move {
                let Ok(upgraded) = upgraded.await else { return };
                let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
                let (reader, writer) = (Reader::new(reader), Writer::new(writer));
                match task {
                    Task::Exec { shell, command, stdin } => exec(reader, writer, shell, command, stdin).await,
                    Task::Port { namespace, pod, port } => {
                        forward(reader, writer, &visit, &file, (namespace, pod, port)).await
                    }
                }
            });
            (101, switched(&key, protocol))
        }
    };
    entrance.visit.record(Entry {
        kind: "kubernetes".into(),
        target: entrance.host.clone(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        params: query.0.into_iter().filter(|(name, _)| name == "command" || name == "ports").collect(),
        status: i32::from(status),
        ..Entry::default()
    });
    response
}

fn switched(key: &str, protocol: &'static str) -> Response<Stream> {
    let mut response = Response::new(Stream::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (ACCEPT, accepted(key)),
        (PROTOCOL, protocol.to_owned()),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    response
}

type Prepared = Result<(Task, String, &'static str), Box<Reply>>;

impl Entrance {
    /// Looks whether what is wanted can be done, and by whom.
    fn prepare(&self, request: &Request<Incoming>, way: &Way, query: &Query) -> Prepared {
        let text =
            |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let refuse = |refusal: Refusal| Box::new(refusal.reply());
        let mut world = self.visit.frame.world();
        world.settle(now());
        let caller = match request.headers().contains_key(hyper::header::AUTHORIZATION) {
            true => Caller::Impostor,
            false => world.kubernetes.holder(&self.file, &self.shown, &self.door),
        };
        let found = world.kubernetes.answer(&self.file, &Call::plain("GET", &way.pod(), caller, now()));
        if found.status != 200 {
            return Err(Box::new(found));
        }
        if !text(&UPGRADE).eq_ignore_ascii_case("websocket") || way.part == "attach" {
            let what = format!("{} by {}", way.part, text(&UPGRADE));
            return Err(refuse(Refusal::not_simulated(&what)));
        }
        let offered: Vec<&str> = text(&PROTOCOL).split(',').map(str::trim).collect();
        let known: &[&'static str] =
            if way.part == "exec" { &["v5.channel.k8s.io", "v4.channel.k8s.io"] } else { &["v4.channel.k8s.io"] };
        let Some(protocol) = known.iter().find(|known| offered.contains(known)) else {
            return Err(refuse(Refusal::not_simulated(&format!(
                "{} by the protocol {}",
                way.part,
                offered.join(", ")
            ))));
        };
        let task = if way.part == "exec" {
            if query.says("tty") {
                return Err(refuse(Refusal::not_simulated("a terminal in a container: leave out -t")));
            }
            let container = query.first("container");
            let shell =
                world.kubernetes.shell(&self.file, &way.namespace, &way.pod, container.as_deref()).map_err(refuse)?;
            Task::Exec { shell, command: query.all("command"), stdin: query.says("stdin") }
        } else {
            let port = query.first("ports").and_then(|port| port.parse().ok());
            let port = port.ok_or_else(|| refuse(Refusal::bad("query parameter \"ports\" is required")))?;
            Task::Port { namespace: way.namespace.clone(), pod: way.pod.clone(), port }
        };
        Ok((task, text(&KEY).to_owned(), protocol))
    }
}

/// Runs a command: channel 0 is what it reads, 1 and 2 what it prints, 3 how it ended. 255 says that a channel is at its end.
async fn exec<R, W>(mut reader: Reader<R>, mut writer: Writer<W>, shell: Shell, command: Vec<String>, stdin: bool)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut input = Vec::new();
    let mut is_open = stdin;
    while is_open {
        match reader.next().await {
            Some(Message::Data(bytes)) if bytes == [255, 0] => is_open = false,
            Some(Message::Data(bytes)) => input.extend(bytes.strip_prefix(&[0]).unwrap_or_default()),
            Some(Message::Ping(bytes)) => drop(writer.pong(&bytes).await),
            None => return,
        }
    }
    let run = tokio::task::spawn_blocking(move || shell.run(&command, &input));
    tokio::pin!(run);
    let ended = loop {
        tokio::select! {
            ended = &mut run => break ended,
            message = reader.next() => match message {
                Some(Message::Ping(bytes)) => drop(writer.pong(&bytes).await),
                Some(Message::Data(_)) => {}
                // Nobody listens any more; the command goes on.
                None => return,
            },
        }
    };
    let Ok(ended) = ended else { return };
    let status = match ended.exit {
        0 => json!({ "metadata": {}, "status": "Success" }),
        exit => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {exit}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": exit.to_string() }] },
        }),
    };
    let told = writer.send(1, &ended.stdout).await && writer.send(2, &ended.stderr).await;
    if told {
        writer.send(3, status.to_string().as_bytes()).await;
        writer.close().await;
    }
}

/// Passes on what comes for a port: channel 0 has the bytes, 1 what went wrong. Each begins with the number of the port.
async fn forward<R, W>(
    mut reader: Reader<R>,
    mut writer: Writer<W>,
    visit: &Arc<Visit>,
    file: &str,
    (namespace, pod, port): (String, String, u16),
) where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let begun = writer.send(0, &port.to_le_bytes()).await && writer.send(1, &port.to_le_bytes()).await;
    if !begun {
        return;
    }
    let (near, far) = tokio::io::duplex(64 << 10);
    let (visit, file) = (Arc::clone(visit), file.to_owned());
    let requests = visit.frame.requests.clone();
    requests.spawn(async move {
        let service = service_fn(|request: Request<Incoming>| {
            let (visit, file, namespace, pod) = (Arc::clone(&visit), file.clone(), namespace.clone(), pod.clone());
            async move { Ok::<_, std::convert::Infallible>(reach(request, &visit, &file, &namespace, &pod, port).await) }
        });
        // One that goes away is done.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).await;
    });
    let (mut from, mut to) = tokio::io::split(near);
    let mut bytes = vec![0; 16 << 10];
    loop {
        tokio::select! {
            message = reader.next() => match message {
                Some(Message::Ping(bytes)) => drop(writer.pong(&bytes).await),
                Some(Message::Data(bytes)) => {
                    let Some(bytes) = bytes.strip_prefix(&[0]) else { continue };
                    if tokio::io::AsyncWriteExt::write_all(&mut to, bytes).await.is_err() {
                        break;
                    }
                }
                None => return,
            },
            read = tokio::io::AsyncReadExt::read(&mut from, &mut bytes) => match read {
                Ok(count) if count > 0 => {
                    if !writer.send(0, &bytes[..count]).await {
                        return;
                    }
                }
                _ => break,
            },
        }
    }
    writer.close().await;
}

/// What a pod answers at a port.
async fn reach(
    request: Request<Incoming>,
    visit: &Arc<Visit>,
    file: &str,
    namespace: &str,
    pod: &str,
    port: u16,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let call = Call::plain(head.method.as_str(), target, Caller::Nobody, now());
    let authorization = head.headers.get(hyper::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let ask = Ask {
        method: call.method,
        path: call.path,
        query: call.query,
        host: "localhost".to_owned(),
        authorization: authorization.map(str::to_owned),
        body,
        port: u64::from(port),
        now: now(),
        ..Ask::default()
    };
    let answer = visit.frame.world().kubernetes.ask_port(file, namespace, pod, &ask);
    if ask.method != "GET" {
        visit.frame.touch();
    }
    let Some(answer) = answer else { return Response::new(Full::default()) };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(answer.kind));
    response
}
