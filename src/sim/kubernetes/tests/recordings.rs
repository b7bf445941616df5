//! Recorded exchanges with a real API, one after the other, against the simulated one: status, words, causes, ownership, and every
//! field of the body, but for those that differ from run to run. Where there are no recordings there is nothing to compare with.
//!
//! Exchanges of the kinds and verbs that playbooks use have to be alike, whatever they are called; those of others are counted, and
//! listed by name. What is in use and differs as yet stands in `left_out.txt`: the scenario, and the numbers of its exchanges.
//! `HOMELAB_TEST_DIFFERENCES` is a file to which all differences are written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::comparing::{arranged, differences, ordered};
use super::lab::Lab;
use super::stand_in::{self, PLANE, StandIn};
use super::used::is_used;
use crate::sim::kubernetes::api::{Body, Call, Caller};
use crate::sim::kubernetes::cluster::Client;

/// How long an exchange that was repeated is repeated here, how long one that differs all the same, how long one that was not
/// repeated waits for the moment that it was sent at, and how often, in milliseconds.
const PATIENCE: u64 = 15_000;
const HASTE: u64 = 400;
const SOON: u64 = 400;
const PACE: u64 = 20;

fn folder() -> PathBuf {
    let told = std::env::var_os("HOMELAB_KUBERNETES_RECORDINGS").map(PathBuf::from);
    told.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/kubernetes/recordings"))
}

/// The exchanges that are known to differ, by scenario.
fn left_out() -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in include_str!("left_out.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        all.entry(name.to_owned()).or_default().extend(words.filter_map(|word| word.parse::<u64>().ok()));
    }
    all
}

/// The value at a place such as `$.items[1].metadata.uid`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let mut value = value;
    for part in path.trim_start_matches('$').split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        value = match part.parse::<usize>() {
            Ok(index) if value.is_array() => &value[index],
            _ => &value[part],
        };
    }
    value
}

fn put(value: &mut Value, path: &str, new: &Value) {
    let pointer: String = path
        .split(['.', '[', ']'])
        .filter(|part| !part.is_empty())
        .map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")))
        .collect();
    if let Some(place) = value.pointer_mut(&pointer) {
        place.clone_from(new);
    }
}

/// A scenario that is played.
struct Play {
    lab: Lab,
    kubelet: StandIn,
    answers: BTreeMap<u64, Value>,
    /// What uids and versions of the recording are here.
    renamed: BTreeMap<String, String>,
}

/// Notes what the uids and versions of an answer of the recording are here.
fn remember(real: &Value, own: &Value, renamed: &mut BTreeMap<String, String>) {
    match (real, own) {
        (Value::Object(real), Value::Object(own)) => {
            for (name, real) in real {
                let Some(own) = own.get(name) else { continue };
                match (name.as_str(), real.as_str(), own.as_str()) {
                    ("uid" | "resourceVersion", Some(real), Some(own)) => {
                        renamed.insert(real.to_owned(), own.to_owned());
                    }
                    _ => remember(real, own, renamed),
                }
            }
        }
        (Value::Array(real), Value::Array(own)) => {
            real.iter().zip(own).for_each(|(real, own)| remember(real, own, renamed))
        }
        _ => {}
    }
}

/// Puts the uids and versions that are known here in the place of those of the recording.
fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            let is_step = map
                .get("path")
                .and_then(Value::as_str)
                .is_some_and(|path| path.ends_with("/resourceVersion") || path.ends_with("/uid"));
            for (name, value) in map.iter_mut() {
                let is_own = matches!(name.as_str(), "uid" | "resourceVersion") || (is_step && name == "value");
                match value.as_str().filter(|_| is_own).and_then(|text| renamed.get(text)) {
                    Some(own) => *value = own.clone().into(),
                    None => rename(value, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

impl Play {
    fn begin() -> Self {
        let (lab, kubelet) = stand_in::bare();
        Play { lab, kubelet, answers: BTreeMap::new(), renamed: BTreeMap::new() }
    }

    fn pass(&mut self, millis: u64) {
        self.kubelet.pass(&mut self.lab, millis);
    }

    /// The request of an exchange, with what it takes from earlier answers.
    fn request(&self, exchange: &Value) -> Value {
        let mut request = exchange["request"].clone();
        rename(&mut request["body"], &self.renamed);
        rename(&mut request["query"], &self.renamed);
        for (place, source) in exchange["bind"].as_object().into_iter().flatten() {
            let number = source["n"].as_u64().unwrap();
            let Some(answer) = self.answers.get(&number) else { continue };
            let new = at(answer, source["path"].as_str().unwrap()).clone();
            if let Some(index) = place.strip_prefix("$.path[").and_then(|rest| rest.strip_suffix(']')) {
                let path = request["path"].as_str().unwrap().to_owned();
                let mut parts: Vec<&str> = path.split('/').collect();
                parts[index.parse::<usize>().unwrap()] = new.as_str().unwrap_or_default();
                request["path"] = parts.join("/").into();
            } else if let Some(name) = place.strip_prefix("$.query.") {
                request["query"][name] = new;
            } else if let Some(path) = place.strip_prefix("$.body") {
                put(&mut request["body"], path, &new);
            }
        }
        request
    }

    fn ask(&mut self, exchange: &Value, request: &Value) -> (u16, Value, Vec<(String, String)>) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let user = |name: &str, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            Caller::User(Client { user: name.into(), groups })
        };
        let caller = match exchange["as"].as_str().unwrap() {
            "admin" | "token" => user("system:admin", &["system:masters"]),
            "viewer" => user("bench-viewer", &["system:authenticated"]),
            "anonymous" => Caller::Nobody,
            _ => Caller::Impostor,
        };
        let mut call =
            Call::plain(request["method"].as_str().unwrap(), request["path"].as_str().unwrap(), caller, self.lab.now);
        for (key, value) in request["query"].as_object().into_iter().flatten() {
            call.query.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        call.agent = "homelab-recorder".to_owned();
        call.accept = text(&request["accept"]);
        call.content_type = text(&request["content_type"]);
        call.body = match &request["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let reply = self.lab.kubernetes.answer(PLANE, &call);
        let answer = match reply.body {
            Body::Json(value) | Body::Typed(_, value) => value,
            Body::Text(text) => Value::String(text),
            Body::Events(mut watch) => {
                let until = self.lab.now + watch.lasts.min(2000);
                let mut all = Vec::new();
                while self.lab.now < until && !watch.is_over {
                    all.extend(self.lab.cluster().tell(&mut watch, self.lab.now));
                    self.pass(PACE);
                }
                all.extend(self.lab.cluster().tell(&mut watch, self.lab.now));
                Value::Array(all)
            }
        };
        let headers = reply.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        (reply.status, answer, headers)
    }

    /// Plays an exchange. Gives what differs.
    fn play(&mut self, exchange: &Value, patience: u64) -> Vec<String> {
        let request = self.request(exchange);
        let wanted = &exchange["response"];
        let volatile: Vec<String> = exchange["volatile"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let reads = matches!(request["method"].as_str(), Some("GET")) || request["query"]["dryRun"] == "All";
        // Between one request and the next something has happened, or has not yet: that was a matter of milliseconds.
        let first = (self.lab.cluster().clone(), self.kubelet.clone());
        let mut is_early = exchange["poll"].is_null() && !reads;
        if is_early {
            self.pass(PACE);
        }
        let until = self.lab.now + if exchange["poll"].is_null() { patience.min(SOON) } else { patience };
        loop {
            let before = (!reads).then(|| self.lab.cluster().clone());
            let (status, answer, headers) = self.ask(exchange, &request);
            let answer = arranged(&wanted["body"], &answer, &volatile);
            let mut all = Vec::new();
            if Some(u64::from(status)) != wanted["status"].as_u64() {
                all.push(format!("status {status}, not {}: {}", wanted["status"], answer["message"]));
            } else {
                differences(&ordered(&wanted["body"]), &ordered(&answer), "$", &volatile, &mut all);
                let told = |name: &str| -> Vec<&str> {
                    headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
                };
                let warnings: Vec<&str> =
                    wanted["headers"]["warning"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                if warnings != told("warning") {
                    all.push(format!("warnings {:?}, not {warnings:?}", told("warning")));
                }
            }
            if all.is_empty() || self.lab.now >= until {
                remember(&wanted["body"], &answer, &mut self.renamed);
                self.answers.insert(exchange["n"].as_u64().unwrap(), answer);
                return all;
            }
            // The moment was another: what was done is undone.
            if is_early {
                is_early = false;
                self.kubelet = first.1.clone();
                *self.lab.kubernetes.clusters.values_mut().next().unwrap() = first.0.clone();
                continue;
            }
            if let Some(before) = before {
                *self.lab.kubernetes.clusters.values_mut().next().unwrap() = before;
            }
            self.pass(PACE);
        }
    }
}

#[test]
fn recorded_requests_get_the_answers_that_they_got() {
    let folder = folder();
    if !folder.is_dir() {
        eprintln!("skipped: no recordings in {}", folder.display());
        return;
    }
    let known = left_out();
    let only = std::env::var("HOMELAB_TEST_RECORDING").ok();
    let (mut same, mut report, mut list, mut wrong) = (0, String::new(), String::new(), Vec::new());
    let mut healed = Vec::new();
    let (mut others, mut count, mut unused_count) = (String::new(), 0, 0);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let recording: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let Some(name) = recording["scenario"].as_str() else { continue };
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let empty = Vec::new();
        let known = known.get(name).unwrap_or(&empty);
        let mut play = Play::begin();
        let (mut differ, mut unused) = (Vec::new(), Vec::new());
        for exchange in recording["exchanges"].as_array().unwrap() {
            let number = exchange["n"].as_u64().unwrap();
            let used = is_used(exchange);
            let is_known = known.contains(&number);
            let all = play.play(exchange, if is_known || !used { HASTE } else { PATIENCE });
            if all.is_empty() {
                same += 1;
                healed.extend(is_known.then(|| format!("{name} {number}")));
                continue;
            }
            let list = if used { &mut differ } else { &mut unused };
            list.push(number);
            writeln!(report, "{name}:{number} {} {}", exchange["request"]["method"], exchange["request"]["path"])
                .unwrap();
            all.iter().for_each(|line| writeln!(report, "    {line}").unwrap());
            if used && !is_known {
                wrong.push(format!("{name}:{number}\n    {}", all.join("\n    ")));
            }
        }
        for (numbers, list) in [(&differ, &mut list), (&unused, &mut others)] {
            if !numbers.is_empty() {
                let all: Vec<String> = numbers.iter().map(u64::to_string).collect();
                writeln!(list, "{name} {}", all.join(" ")).unwrap();
            }
        }
        count += differ.len();
        unused_count += unused.len();
    }
    if let Some(path) = std::env::var_os("HOMELAB_TEST_DIFFERENCES") {
        std::fs::write(path, format!("{report}\n{list}\n{others}")).unwrap();
    }
    eprintln!("{same} exchanges are answered as recorded");
    eprintln!("{count} of kinds and verbs in use are answered otherwise:\n{list}");
    eprintln!("{unused_count} of kinds and verbs out of use are answered otherwise:\n{others}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    // The list is of this folder's recordings; of others it says nothing.
    let is_own = std::env::var_os("HOMELAB_KUBERNETES_RECORDINGS").is_none();
    assert!(!is_own || healed.is_empty(), "answered as recorded by now, take them off the list: {healed:?}");
}
