//! The HTTP side of the API: formatters, headers, bodies, reason phrases.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Outcome, Refusal};
use super::dispatch::{self, Request, is_mutating};
use super::form::{Form, Given, decode, decode_json};
use super::login::Proof;
use super::multipart::{self, boundary};
use super::transfer::Upload;
use crate::sim::chance::now;
use crate::sim::faults::{Asked, Fault, SILENCE, SLOW, SLOW_TASK};
use crate::sim::frame::Visit;
use crate::sim::log::{Entry, masked};
use crate::sim::world::World;

/// The longest body that is no file.
const FORM_LIMIT: usize = 512 << 10;
/// The longest body with a file in it. A file is never kept, but read at once.
const UPLOAD_LIMIT: usize = 64 << 20;

/// How long the proxy keeps a connection over which nothing is asked.
const IDLE: Duration = Duration::from_secs(5);

/// Serves the API of a node on one connection.
pub(crate) async fn serve<S>(stream: S, visit: Arc<Visit>, node: String)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (visit, node) = (Arc::clone(&visit), node.clone());
        let answered = visit.frame.requests.clone().spawn(async move { respond(&visit, node, request).await });
        async move { answered.await.unwrap_or(Err(Dropped)) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    // A connection that breaks is the client's to notice.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// A connection that ends without an answer, on purpose.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

impl From<Infallible> for Dropped {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// How answers are shaped.
#[derive(Clone, Copy, PartialEq)]
enum Formatter {
    Json,
    ExtJs,
}

async fn respond(
    visit: &Visit,
    node: String,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    let whole = head.uri.path().to_string();
    let (formatter, path) = match split(&whole) {
        Ok(found) => found,
        Err(refusal) => return Ok(shape(Formatter::Json, &Err(refusal))),
    };
    let frame = &visit.frame;
    let query = head.uri.query().unwrap_or_default().to_string();
    let form = match whole_body(&head.headers, body).await {
        Ok(body) => parameters(&head.method, &head.headers, &query, &body),
        Err(refusal) => Err(refusal),
    };
    let shown = form.as_ref().map(|(form, _)| form.clone()).unwrap_or_default();
    let asked = Asked { method: head.method.as_str(), path: &path, newid: newid(&shown), node: &node };
    let fault = visit.faults.as_ref().and_then(|faults| faults.next(&asked));
    if let Some(fault) = fault {
        meet(visit, &asked, fault).await?;
    }
    let outcome = match form {
        Ok((form, upload)) => {
            let method = head.method.to_string();
            let request = Request {
                node: node.clone(),
                method,
                path: path.clone(),
                form,
                proof: proof(&head.headers),
                upload,
                now: now(),
            };
            let (outcome, came_due) = {
                let mut world = frame.world();
                // A read may be the first to see what has come due meanwhile.
                let came_due = world.settle(request.now);
                (answer(&mut world, &request, fault), came_due)
            };
            // Nobody hears of a change before it would outlast this process.
            let change = if came_due || request.method != "GET" { frame.touch() } else { frame.newest() };
            match frame.saved(change).await {
                Err(why) if request.method != "GET" => Err(Refusal::failed(why)),
                _ => outcome,
            }
        }
        Err(refusal) => Err(refusal),
    };
    if let Some(after) = outcome.as_ref().err().map(|refusal| refusal.after).filter(|after| *after > 0) {
        tokio::time::sleep(Duration::from_millis(after)).await;
    }
    record(visit, node, head.method.as_str(), path, shown, &outcome);
    if fault == Some(Fault::DroppedAfter) {
        return Err(Dropped);
    }
    Ok(shape(formatter, &outcome))
}

/// The number of the machine that a request makes.
fn newid(form: &Form) -> Option<&str> {
    match form.get("newid") {
        Some(Given::One(newid)) => Some(newid),
        _ => None,
    }
}

/// Lets happen what goes wrong before a request is looked at.
async fn meet(visit: &Visit, asked: &Asked<'_>, fault: Fault) -> Result<(), Dropped> {
    visit.record(Entry {
        kind: "fault".into(),
        target: asked.node.into(),
        method: format!("{} {}", fault.name(), asked.method),
        path: asked.path.into(),
        ..Entry::default()
    });
    match fault {
        Fault::Slow => tokio::time::sleep(SLOW).await,
        Fault::Silent => tokio::time::sleep(SILENCE).await,
        _ => {}
    }
    match fault {
        // The node that was asked is there, and finds no way to the other one.
        Fault::NodeAway if asked.about() != asked.node => Ok(()),
        Fault::DroppedBefore | Fault::Silent | Fault::NodeAway => Err(Dropped),
        _ => Ok(()),
    }
}

/// Takes the formatter off a path.
fn split(path: &str) -> Result<(Formatter, String), Refusal> {
    let Some(rest) = path.strip_prefix("/api2/") else {
        return Err(Refusal::text(501, format!("not simulated: {path}")));
    };
    let (formatter, path) =
        rest.split_once('/').map_or((rest, "/".to_string()), |(one, path)| (one, format!("/{path}")));
    match formatter {
        "json" => Ok((Formatter::Json, path)),
        "extjs" => Ok((Formatter::ExtJs, path)),
        other => Err(Refusal::text(501, format!("no formatter for uri {path}, {other}"))),
    }
}

fn proof(headers: &HeaderMap) -> Proof {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
    let cookies = text(COOKIE.as_str()).unwrap_or_default();
    let ticket = cookies.split(';').filter_map(|cookie| cookie.trim().strip_prefix("PVEAuthCookie="));
    Proof {
        authorization: text(AUTHORIZATION.as_str()),
        ticket: ticket.map(str::to_string).next(),
        csrf: text("CSRFPreventionToken"),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads a body, unless it is too long.
async fn whole_body(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Refusal> {
    let has_file = boundary(content_type(headers)).is_some();
    let limit = if has_file { UPLOAD_LIMIT } else { FORM_LIMIT };
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if !error.is::<LengthLimitError>() => Err(Refusal::text(400, "Bad Request")),
        Err(_) if has_file => Err(Refusal::not_simulated("a file of more than 64 MiB in a request")),
        Err(_) => Err(Refusal::silent(501, "for data too large")),
    }
}

/// What a request is given, and the file that came with it.
type Parameters = (Form, Option<Upload>);

fn parameters(method: &Method, headers: &HeaderMap, query: &str, body: &[u8]) -> Result<Parameters, Refusal> {
    if !matches!(method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
        return Err(Refusal::silent(501, format!("method '{method}' not available")));
    }
    if matches!(method.as_str(), "GET" | "DELETE") {
        return match body.is_empty() {
            true => Ok((decode(query), None)),
            false => Err(Refusal::text(501, format!("Unexpected content for method '{method}'"))),
        };
    }
    let kind = content_type(headers);
    let (mut form, upload) = match (kind.split(';').next().unwrap_or_default().trim(), boundary(kind)) {
        _ if body.is_empty() => (Form::new(), None),
        ("application/x-www-form-urlencoded", _) => (decode(&String::from_utf8_lossy(body)), None),
        ("application/json", _) => (decode_json(&String::from_utf8_lossy(body))?, None),
        (_, Some(boundary)) if method == Method::POST => {
            let (form, upload) = multipart::read(boundary, body)?;
            (form, Some(upload))
        }
        _ => return Err(Refusal::text(506, format!("upload 'Content-Type '{kind}' not implemented"))),
    };
    form.extend(decode(query));
    Ok((form, upload))
}

fn answer(world: &mut World, request: &Request, fault: Option<Fault>) -> Outcome {
    let on_vm = request.path.split('/').skip_while(|part| *part != "qemu").nth(1).map(str::to_string);
    match (fault, on_vm) {
        (Some(Fault::LockTimeout), Some(vmid)) if request.method != "GET" => {
            return Err(format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout").into());
        }
        (Some(Fault::NodeAway), _) => return Err(Refusal::silent(595, "No route to host")),
        (Some(Fault::Refused | Fault::LockTimeout), _) => return Err(Refusal::silent(596, "Connection timed out")),
        _ => {}
    }
    let outcome = dispatch::answer(world, request);
    let begun = task_of(&outcome).map(str::to_owned);
    if let Some((upid, cluster)) = begun.zip(world.cluster_of(&request.node)) {
        let longer = cluster.span(SLOW_TASK);
        let task = cluster.tasks.iter_mut().rfind(|task| task.upid == upid && task.exit.is_none());
        match (fault, task) {
            (Some(Fault::FailingTask), Some(task)) => task.fault = Some("interrupted by signal".into()),
            (Some(Fault::SlowTask), Some(task)) => task.ends += longer,
            _ => {}
        }
    }
    outcome
}

/// The task that an answer names.
fn task_of(outcome: &Outcome) -> Option<&str> {
    outcome.as_ref().ok()?.data.as_str().filter(|text| text.starts_with("UPID:"))
}

fn record(visit: &Visit, node: String, method: &str, path: String, form: Form, outcome: &Outcome) {
    let params: BTreeMap<String, String> = form
        .iter()
        .map(|(name, value)| match value {
            Given::One(value) => (name.clone(), masked(name, value)),
            Given::Many(values) => (name.clone(), masked(name, &values.join(" "))),
            Given::Odd(what) => (name.clone(), what.to_string()),
        })
        .collect();
    visit.record(Entry {
        kind: "proxmox".into(),
        target: node,
        method: method.into(),
        status: i32::from(outcome.as_ref().map_or_else(|refusal| refusal.status, |_| 200)),
        mutating: is_mutating(method, &path, &form),
        task: task_of(outcome).map(str::to_string),
        path,
        params,
        ..Entry::default()
    });
}

const JSON: &str = "application/json;charset=UTF-8";

fn shape(formatter: Formatter, outcome: &Outcome) -> Response<Full<Bytes>> {
    let (status, reason, body, is_json) = match (outcome, formatter) {
        (Ok(answer), _) => {
            let mut body = json!({ "data": answer.data });
            for (key, value) in &answer.beside {
                body[key] = value.clone();
            }
            if formatter == Formatter::ExtJs {
                body["success"] = Value::from(1);
            }
            (200, "OK".to_string(), body.to_string(), true)
        }
        (Err(refusal), Formatter::ExtJs) => (200, "OK".to_string(), refusal.extjs(), true),
        (Err(refusal), Formatter::Json) => {
            let (body, is_json) = refusal.body();
            (refusal.status, refusal.reason.clone(), body, is_json)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    // Every status here is between 200 and 596, which is a valid one.
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    // A reason phrase ends with its first line; what it cannot hold becomes a blank.
    let line = reason.lines().next().unwrap_or_default();
    let line: String = line.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { ' ' }).collect();
    if let Ok(phrase) = ReasonPhrase::try_from(line.into_bytes()) {
        response.extensions_mut().insert(phrase);
    }
    if is_json {
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(JSON));
    }
    response
}
