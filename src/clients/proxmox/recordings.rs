//! Plays back what a real API answered: the client must hand on all that was said.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::error::Error;
use crate::run::capability::Writer;

use super::test_server::{Asked, Reply, TestServer};
use super::{Client, Failure, Params, Result};

/// The folder of recordings: `HOMELAB_PVE_RECORDINGS`, or where they usually lie beside a checkout.
fn folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/pve/recordings");
    let folder = std::env::var_os("HOMELAB_PVE_RECORDINGS").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// All recordings by the names of their files. JSON without exchanges, such as an index, is none.
fn scenarios(folder: PathBuf) -> Vec<(String, Value)> {
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap())
    };
    files.into_iter().map(read).filter(|(_, scenario)| scenario["exchanges"].is_array()).collect()
}

/// Whether the client speaks so at all: it has no PATCH, no other formatter and no raw bodies.
fn is_ours(request: &Value) -> bool {
    ["GET", "POST", "PUT", "DELETE"].contains(&request["method"].as_str().unwrap_or_default())
        && ["base", "body_raw", "json", "files"].iter().all(|key| request.get(key).is_none())
}

fn params(request: &Value) -> Params {
    let mut params = Params::new();
    for (key, value) in request["query"].as_object().into_iter().flatten() {
        params.push(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    for pair in request["form"].as_array().into_iter().flatten() {
        params.push(pair[0].as_str().unwrap(), pair[1].as_str().map_or_else(|| pair[1].to_string(), str::to_owned));
    }
    params
}

async fn call(client: &Client, request: &Value) -> Result<super::Answer> {
    let (path, params, writer) = (path(request), params(request), Writer::for_client_tests());
    match request["method"].as_str() {
        Some("POST") => client.post(&path, &params, &writer).await,
        Some("PUT") => client.put(&path, &params, &writer).await,
        Some("DELETE") => client.delete(&path, &params, &writer).await,
        _ => client.get(&path, &params).await,
    }
}

/// Recorded paths are as people write them; on the way each segment is encoded.
fn path(request: &Value) -> String {
    let path = request["path"].as_str().unwrap();
    path.split('/').map(super::segment).collect::<Vec<_>>().join("/").replace("%25", "%")
}

fn reply(response: &Value) -> Reply {
    let body = match &response["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    match response["status"].as_u64() {
        Some(0) | None => Reply::HangUp,
        Some(status) => Reply::body(status as u16, response["reason"].as_str().unwrap(), &body),
    }
}

/// What is wrong with an outcome, measured by what was recorded.
fn fault(response: &Value, outcome: Result<super::Answer>) -> Option<String> {
    let failure = match (response["status"].as_u64(), outcome) {
        (Some(200), Ok(answer)) => {
            let body = &response["body"];
            let same = answer.data == body["data"]
                && answer.total == body["total"].as_u64()
                && answer.changes.as_deref() == body["changes"].as_str();
            return (!same).then(|| "another answer".to_owned());
        }
        (Some(0), Err(Failure::Other(_))) => return None,
        (Some(_), Err(failure @ Failure::Api(_))) => failure,
        (status, outcome) => return Some(format!("{status:?} became {outcome:?}")),
    };
    let text = Error::from(failure).to_string();
    let errors = response["body"]["errors"].as_object().into_iter().flatten().map(|(_, text)| text);
    let mut said = errors.chain([&response["reason"]]).chain(response["body"].get("message"));
    let unsaid = said.find(|said| !said.as_str().unwrap().trim_end().lines().all(|line| text.contains(line)))?;
    Some(format!("{text:?} leaves out {unsaid}"))
}

#[tokio::test]
async fn every_recorded_answer_reaches_the_caller_whole() {
    let Some(folder) = folder() else {
        println!("skipped: no recordings here (set HOMELAB_PVE_RECORDINGS to their folder)");
        return;
    };
    let current = Arc::new(Mutex::new(Value::Null));
    let served = current.clone();
    let server = TestServer::start(move |_: &Asked| reply(&served.lock().unwrap())).await;
    let client = server.client(TestServer::token());
    let (mut played, mut foreign, mut faults) = (0, 0, Vec::new());
    for (name, scenario) in scenarios(folder) {
        for exchange in scenario["exchanges"].as_array().into_iter().flatten() {
            if !is_ours(&exchange["request"]) {
                foreign += 1;
                continue;
            }
            *current.lock().unwrap() = exchange["response"].clone();
            let outcome = call(&client, &exchange["request"]).await;
            played += 1;
            faults.extend(fault(&exchange["response"], outcome).map(|f| format!("{name} {}: {f}", exchange["n"])));
        }
    }
    println!("{played} exchanges played back, {foreign} that the client does not speak");
    assert!(played > 0);
    assert!(faults.is_empty(), "{} of {played}:\n{}", faults.len(), faults.join("\n"));
}
