//! Recorded exchanges with a real API, by shape: status, reason, message and the names of fields. Where there are no recordings
//! there is nothing to compare with.

use std::path::PathBuf;

use serde_json::Value;

use super::lab::{FIRST, Lab};
use crate::sim::kubernetes::api::{Body, Call, Caller};
use crate::sim::kubernetes::cluster::Client;

/// Files, and the exchanges of them that ask for what K3s has in another way, or for what is not simulated.
const REPLAYED: &[(&str, &[u64])] = &[
    ("discovery-aggregated", &[2, 5, 6]),
    ("discovery-legacy", &[1, 2, 13, 17, 18, 19, 20, 21, 22]),
    ("version-health", &[4, 5, 7, 10, 11, 12, 13, 14, 16]),
    ("errors-http", &[14, 15, 21, 22, 27, 28, 30, 31, 35, 36, 41, 42, 43, 44, 45]),
];

fn folder() -> PathBuf {
    let told = std::env::var_os("HOMELAB_KUBERNETES_RECORDINGS").map(PathBuf::from);
    told.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/kubernetes/recordings"))
}

/// What of an answer is compared.
fn shape(status: u64, body: &Value) -> Value {
    match body["kind"].as_str() {
        Some("Status") => serde_json::json!([status, body["reason"], body["message"], body["details"]]),
        Some(kind) => serde_json::json!([status, kind, body["apiVersion"]]),
        None => serde_json::json!([status, body.is_string()]),
    }
}

#[test]
fn answers_have_the_shape_of_recorded_ones() {
    let folder = folder();
    if !folder.is_dir() {
        eprintln!("skipped: no recordings in {}", folder.display());
        return;
    }
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, left_out) in REPLAYED {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let recording: Value = serde_json::from_str(&text).unwrap();
        let mut lab = Lab::of(&["cp-1"]);
        lab.install("cp-1", "server", FIRST);
        lab.start("cp-1", "k3s");
        for exchange in recording["exchanges"].as_array().unwrap() {
            let number = exchange["n"].as_u64().unwrap();
            if left_out.contains(&number) {
                continue;
            }
            let request = &exchange["request"];
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let caller = match exchange["as"].as_str().unwrap() {
                "admin" | "token" => {
                    Caller::User(Client { user: "system:admin".into(), groups: vec!["system:masters".into()] })
                }
                "viewer" => {
                    Caller::User(Client { user: "bench-viewer".into(), groups: vec!["system:authenticated".into()] })
                }
                _ => Caller::Impostor,
            };
            lab.pass(40);
            let mut call =
                Call::plain(request["method"].as_str().unwrap(), request["path"].as_str().unwrap(), caller, lab.now);
            for (key, value) in request["query"].as_object().into_iter().flatten() {
                call.query.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
            }
            call.accept = text(&request["accept"]);
            call.content_type = text(&request["content_type"]);
            call.body = match &request["body"] {
                Value::Null => Vec::new(),
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            };
            let reply = lab.kubernetes.answer("cp-1", &call);
            let answer = match reply.body {
                Body::Json(value) | Body::Typed(_, value) => value,
                Body::Text(text) => Value::String(text),
            };
            let (own, real) = (
                shape(u64::from(reply.status), &answer),
                shape(exchange["response"]["status"].as_u64().unwrap(), &exchange["response"]["body"]),
            );
            compared += 1;
            if own != real {
                wrong.push(format!("{name}:{number}\n  real {real}\n  here {own}"));
            }
        }
    }
    eprintln!("{compared} compared, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
