//! Commands inside of containers, and connections to their ports: both by a connection that the API keeps open to the node.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::AttachParams;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Answer, Client};
use super::failure::{ApiError, Failure, Result};
use super::lost;
use crate::error::{Class, Error};
use crate::run::capability::Writer;

/// The longest output of a command, and the longest answer of a port.
const LONGEST: usize = 16 << 20;

/// A command, and where it is run.
#[derive(Debug, Clone)]
pub struct Command {
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container; the pod's only one where it is not named.
    pub container: Option<String>,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// What it reads.
    pub stdin: Option<Vec<u8>>,
    /// How long it may take.
    pub limit: Duration,
}

impl Command {
    /// What people call it.
    fn program(&self) -> &str {
        self.words.first().map_or("a command", String::as_str)
    }
}

/// What came of a command.
#[derive(Clone)]
pub struct Ended {
    /// With what it ended.
    pub exit: i64,
    /// What it printed.
    pub stdout: String,
    /// What it printed as an error.
    pub stderr: String,
}

/// A request to a port of a pod.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The namespace of the pod.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The port of the pod.
    pub port: u16,
    /// The method.
    pub method: Method,
    /// The path, with its query.
    pub path: &'a str,
    /// Headers, by name.
    pub headers: &'a [(String, String)],
    /// The body, as JSON.
    pub body: Option<&'a Value>,
}

impl Client {
    /// Runs a command.
    pub async fn exec(&self, command: &Command, _: &Writer) -> Result<Ended> {
        self.run(command).await
    }

    /// Runs a command that changes nothing.
    pub async fn exec_query(&self, command: &Command) -> Result<Ended> {
        self.run(command).await
    }

    async fn run(&self, command: &Command) -> Result<Ended> {
        let Command { namespace, pod, limit, .. } = command;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec");
        let late = || {
            let text =
                format!("{}: {} in {namespace}/{pod} did not end within {limit:?}", self.place(), command.program());
            Error::new(Class::Timeout, text).help("give it more time: `timeout`; it may still run there")
        };
        tokio::time::timeout(*limit, self.attended(command, &path)).await.map_err(|_| late())?
    }

    async fn attended(&self, command: &Command, path: &str) -> Result<Ended> {
        let pods: Api<Pod> = Api::namespaced(self.kube().clone(), &command.namespace);
        let how = AttachParams { container: command.container.clone(), ..AttachParams::default() };
        let how = how.stdin(command.stdin.is_some()).stderr(true);
        let mut process =
            pods.exec(&command.pod, command.words.clone(), &how).await.map_err(|error| self.lost(&error, path))?;
        let status = process.take_status();
        let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
        let feed = async {
            if let (Some(mut pipe), Some(text)) = (stdin, &command.stdin) {
                // A command that ends without reading it all closes the pipe.
                let _ = pipe.write_all(text).await;
                let _ = pipe.shutdown().await;
            }
        };
        let ((), stdout, stderr) = tokio::join!(feed, whole(stdout), whole(stderr));
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        process.abort();
        let broken = || {
            let text = format!("{}: the connection was lost while {} ran", self.place(), command.program());
            Error::new(Class::Unreachable, text).help("look whether it has run before you repeat it")
        };
        let exit = self.exit(&status.ok_or_else(broken)?, path)?;
        Ok(Ended { exit, stdout: stdout?, stderr: stderr? })
    }

    /// With what a command ended; an error where it never began.
    fn exit(&self, status: &Status, path: &str) -> Result<i64> {
        if status.status.as_deref() == Some("Success") {
            return Ok(0);
        }
        let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
        let code = causes
            .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
            .find_map(|cause| cause.message.as_deref()?.parse().ok());
        match code {
            Some(code) => Ok(code),
            None => {
                let code = status.code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code != 0);
                Err(self.refused(code.unwrap_or(500), status, path).into())
            }
        }
    }

    fn refused(&self, code: u16, status: &impl serde::Serialize, path: &str) -> ApiError {
        let text = serde_json::to_string(status).unwrap_or_default();
        let (path, place) = (path.to_owned(), self.place().to_owned());
        ApiError { method: "GET".to_owned(), path, place, ..ApiError::read(code, &with_kind(&text)) }
    }

    fn lost(&self, error: &kube::Error, path: &str) -> Failure {
        if let kube::Error::Api(status) = error {
            return self.refused(status.code, status, path).into();
        }
        let way =
            lost::Way { place: self.place(), connect_timeout: self.connect_timeout(), method: &Method::GET, path };
        way.explain(error).error.into()
    }

    /// Asks a port of a pod by HTTP, over a connection that is made for this request and closed after it.
    pub async fn ask_port(&self, ask: &Ask<'_>, limit: Duration) -> Result<Answer> {
        self.by_port(ask, limit).await
    }

    /// The same for what changes something.
    pub async fn change_by_port(&self, ask: &Ask<'_>, limit: Duration, _: &Writer) -> Result<Answer> {
        self.by_port(ask, limit).await
    }

    async fn by_port(&self, ask: &Ask<'_>, limit: Duration) -> Result<Answer> {
        let late = || {
            let Ask { namespace, pod, port, method, path, .. } = ask;
            let text = format!("{namespace}/{pod}:{port}: {method} {path} was not answered within {limit:?}");
            Error::new(Class::Timeout, text).help("is it busy? Give it more time: `timeout`")
        };
        tokio::time::timeout(limit, self.through(ask)).await.map_err(|_| late())?
    }

    async fn through(&self, ask: &Ask<'_>) -> Result<Answer> {
        let Ask { namespace, pod, port, method, path, .. } = ask;
        let place = format!("{namespace}/{pod}:{port}");
        let way = format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward");
        let pods: Api<Pod> = Api::namespaced(self.kube().clone(), namespace);
        let mut forward = pods.portforward(pod, &[*port]).await.map_err(|error| self.lost(&error, &way))?;
        let silent = |why: String| {
            Error::new(Class::Unreachable, format!("{place}: nobody answers there"))
                .cause(why)
                .help("is that the port of the container, and is the pod ready?")
        };
        let said = forward.take_error(*port);
        let stream = forward.take_stream(*port).ok_or_else(|| silent("no connection".to_owned()))?;
        let exchange = exchange(ask, stream);
        let refusal = async {
            match said {
                Some(said) => said.await,
                None => None,
            }
        };
        tokio::pin!(exchange);
        let answered = tokio::select! {
            biased;
            answered = &mut exchange => answered.map_err(silent),
            Some(why) = refusal => Err(silent(why)),
        };
        forward.abort();
        let (status, text) = answered?;
        if (200..400).contains(&status) {
            return Ok(Answer { text, warnings: Vec::new() });
        }
        let refused =
            ApiError { method: method.to_string(), path: (*path).to_owned(), place, ..ApiError::read(status, &text) };
        Err(refused.into())
    }
}

/// Puts a request on a connection, and gives the status and the body of its answer.
async fn exchange<S>(ask: &Ask<'_>, stream: S) -> std::result::Result<(u16, String), String>
where
    S: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let told = |error: hyper::Error| lost::chain(&error).join(": ");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(told)?;
    let driven = tokio::spawn(connection);
    let body = ask.body.map(Value::to_string).unwrap_or_default();
    let mut request = hyper::Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = ask.path.parse().map_err(|error| format!("{}: {error}", ask.path))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*"));
    if ask.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in ask.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("{name} is not the name of a header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("what {name} says cannot be sent"))?;
        headers.insert(name, value);
    }
    let response = sender.send_request(request).await.map_err(told)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    driven.abort();
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// All that comes, as long as it is not too much.
async fn whole(stream: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let Some(stream) = stream else { return Ok(String::new()) };
    let mut text = Vec::new();
    let mut stream = stream.take(LONGEST as u64);
    stream.read_to_end(&mut text).await.map_err(|error| {
        Error::new(Class::Unreachable, "what the command printed was cut off").cause(error).help("run again")
    })?;
    if text.len() >= LONGEST {
        return Err(Error::new(Class::Failed, "the command printed more than 16 MiB")
            .help("let it print less, as by `tail`")
            .into());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A Status as the API writes it: its kind is not kept by the types.
fn with_kind(status: &str) -> String {
    let mut status: Value = serde_json::from_str(status).unwrap_or_default();
    if let Some(map) = status.as_object_mut() {
        map.insert("kind".to_owned(), Value::from("Status"));
    }
    status.to_string()
}
