//! The client against what a real API answered: every exchange that it can have is played back by a server, and what the client
//! makes of it is compared with what was recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::test_server::{Reply, TestServer};
use super::{Answer, Applying, Client, Failure, Result};
use crate::run::capability::Writer;

/// The folder of the recordings: that of `HOMELAB_KUBERNETES_RECORDINGS`, else the one beside the repository, where there is one.
fn folder() -> Option<PathBuf> {
    let told = std::env::var_os("HOMELAB_KUBERNETES_RECORDINGS").map(PathBuf::from);
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/kubernetes/recordings");
    told.or(Some(beside)).filter(|folder| folder.is_dir())
}

/// An exchange, and where it stands.
struct Exchange {
    name: String,
    request: Value,
    response: Value,
}

fn exchanges(folder: &std::path::Path) -> Vec<Exchange> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "json")) {
        let scenario = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for exchange in text["exchanges"].as_array().into_iter().flatten() {
            let name = format!("{scenario}:{}", exchange["n"]);
            all.push(Exchange { name, request: exchange["request"].clone(), response: exchange["response"].clone() });
        }
    }
    all
}

/// The body as it came over the wire.
fn wire(response: &Value) -> String {
    match &response["body"] {
        Value::String(text) => text.clone(),
        Value::Array(events) if !response["stream"].is_null() => {
            events.iter().map(|event| format!("{event}\n")).collect()
        }
        Value::Null => String::new(),
        json => json.to_string(),
    }
}

fn reply(response: &Value) -> Reply {
    let mut reply = Reply::text(response["status"].as_u64().unwrap() as u16, &wire(response));
    let headers = &response["headers"];
    for name in ["warning", "retry-after"] {
        let values = match &headers[name] {
            Value::Array(values) => values.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        };
        for value in values {
            // What asks to be asked again later is asked again at once here.
            let value = if name == "retry-after" { "0" } else { value.as_str().unwrap() };
            reply = reply.with(name, value);
        }
    }
    reply
}

/// Sends what was recorded, where the client has such a call.
async fn send(client: &Client, request: &Value) -> Option<Result<Answer>> {
    let query: Vec<(String, String)> = request["query"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let told: BTreeMap<&str, &str> = query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let path = request["path"].as_str()?;
    let written: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
    let whole = if written.is_empty() { path.to_owned() } else { format!("{path}?{written}") };
    let (method, kind, body) = (request["method"].as_str()?, request["content_type"].as_str(), &request["body"]);
    let writer = Writer::for_client_tests();
    Some(match (method, kind) {
        ("GET", _) => client.get(&whole).await,
        ("PATCH", Some("application/apply-patch+yaml")) if body.is_object() => {
            let how = Applying { manager: told.get("fieldManager")?, force: told.get("force") == Some(&"true") };
            match told.get("dryRun") {
                Some(&"All") => client.try_apply(path, body, how).await,
                None => client.apply(path, body, how, &writer).await,
                Some(_) => return None,
            }
        }
        ("PATCH", Some("application/merge-patch+json")) if body.is_object() => {
            client.patch(&whole, body, &writer).await
        }
        ("POST", Some("application/json")) if body.is_object() => client.post(&whole, body, &writer).await,
        ("PUT", Some("application/json")) if body.is_object() => client.put(&whole, body, &writer).await,
        ("DELETE", Some("application/json")) if body.is_object() => client.delete(&whole, body, &writer).await,
        _ => return None,
    })
}

fn causes(body: &Value) -> Vec<(String, String, String)> {
    let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    let all = body["details"]["causes"].as_array().into_iter().flatten();
    all.map(|cause| (text(cause, "reason"), text(cause, "field"), text(cause, "message"))).collect()
}

/// What the client made of an answer, where it is not what was recorded.
fn difference(made: &Result<Answer>, response: &Value) -> Option<String> {
    let (status, body) = (response["status"].as_u64().unwrap(), &response["body"]);
    match made {
        Ok(answer) if status < 400 => {
            let whole = answer.text == wire(response);
            let warnings = response["headers"]["warning"].as_array().map_or(0, Vec::len);
            (!whole || answer.warnings.len() < warnings).then(|| "the answer is another".to_owned())
        }
        Ok(_) => Some(format!("{status} is taken for an answer")),
        Err(Failure::Other(error)) => Some(error.to_string()),
        Err(Failure::Api(refused)) => {
            let said: Vec<_> = refused
                .causes
                .iter()
                .map(|cause| (cause.reason.clone(), cause.field.clone(), cause.message.clone()))
                .collect();
            let reason = body["reason"].as_str().unwrap_or_default();
            let owned = said.iter().any(|(reason, ..)| reason == "FieldManagerConflict");
            let same = u64::from(refused.status) == status
                && refused.reason == reason
                && said == causes(body)
                && refused.is_about_ownership() == (status == 409 && owned)
                && made.as_ref().err().is_some_and(Failure::is_absent) == (status == 404);
            (!same).then(|| format!("{} {} {said:?}", refused.status, refused.reason))
        }
    }
}

#[test]
fn what_a_real_api_answered_is_understood() {
    let Some(folder) = folder() else {
        eprintln!("no recordings of a real API are here: HOMELAB_KUBERNETES_RECORDINGS names a folder of some");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let next: Arc<Mutex<Option<Reply>>> = Arc::default();
    let answers = Arc::clone(&next);
    let server = runtime.block_on(TestServer::start(move |_| answers.lock().unwrap().clone().unwrap()));
    let client = runtime.block_on(server.client());
    let (mut left_out, mut wrong, mut played) = (BTreeMap::<String, Vec<String>>::new(), Vec::new(), 0);
    for Exchange { name, request, response } in exchanges(&folder) {
        *next.lock().unwrap() = Some(reply(&response));
        match runtime.block_on(send(&client, &request)) {
            None => {
                let what = format!("{} {}", request["method"].as_str().unwrap(), request["content_type"]);
                left_out.entry(what).or_default().push(name);
            }
            Some(made) => {
                played += 1;
                let asked = server.last();
                assert_eq!(asked.method, request["method"].as_str().unwrap(), "{name}");
                assert_eq!(asked.target.split('?').next(), request["path"].as_str(), "{name}");
                wrong.extend(difference(&made, &response).map(|what| format!("{name}: {what}")));
            }
        }
    }
    for (what, names) in &left_out {
        eprintln!("not a call of the client, {what}: {}, {}", names.len(), names.join(" "));
    }
    assert!(wrong.is_empty(), "{} of {played}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(played > 0, "nothing was played");
}
