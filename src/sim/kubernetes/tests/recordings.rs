//! Recorded exchanges with a real API, one after the other, against the simulated one: status, words, causes, ownership, and every
//! field of the body, but for those that differ from run to run. Where there are no recordings there is nothing to compare with.
//!
//! What differs stands in `left_out.txt`: the scenario, and the numbers of its exchanges. `HOMELAB_TEST_DIFFERENCES` is a file to
//! which all differences are written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::lab::{FIRST, Lab};
use crate::sim::kubernetes::api::{Body, Call, Caller};
use crate::sim::kubernetes::cluster::Client;

/// How long an exchange that was repeated is repeated here, how long one that differs all the same, and how often, in milliseconds.
const PATIENCE: u64 = 15_000;
const HASTE: u64 = 1_500;
const PACE: u64 = 100;

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

/// Whether a place is one of those whose values differ from run to run: `$.items[*].metadata.uid`.
fn is_volatile(patterns: &[String], at: &str) -> bool {
    let mut plain = String::new();
    let mut rest = at;
    while let Some(open) = rest.find('[') {
        let (before, after) = rest.split_at(open);
        plain.push_str(before);
        let end = after.find(']').map_or(after.len(), |end| end + 1);
        let key = &after[1..end - 1];
        plain.push_str(if key.starts_with('"') { &after[..end] } else { "[*]" });
        rest = &after[end..];
    }
    plain.push_str(rest);
    patterns.iter().any(|pattern| *pattern == at || *pattern == plain)
}

/// Where two bodies differ. What is volatile has to be there, and to be of the same type.
fn differences(real: &Value, own: &Value, at: &str, volatile: &[String], all: &mut Vec<String>) {
    match (real, own) {
        (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_)) if is_volatile(volatile, at) => {}
        (Value::Object(real), Value::Object(own)) => {
            let names: std::collections::BTreeSet<&String> = real.keys().chain(own.keys()).collect();
            for name in names {
                let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_$".contains(c));
                let here = if plain { format!("{at}.{name}") } else { format!("{at}[\"{name}\"]") };
                match (real.get(name), own.get(name)) {
                    (Some(real), Some(own)) => differences(real, own, &here, volatile, all),
                    (Some(real), None) => all.push(format!("{here}: missing {real}")),
                    (None, Some(own)) => all.push(format!("{here}: not wanted {own}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(real), Value::Array(own)) => {
            if real.len() != own.len() {
                all.push(format!("{at}: {} items, not {}", own.len(), real.len()));
            }
            for (index, (real, own)) in real.iter().zip(own).enumerate() {
                differences(real, own, &format!("{at}[{index}]"), volatile, all);
            }
        }
        (real, own) if is_volatile(volatile, at) => {
            let same = std::mem::discriminant(real) == std::mem::discriminant(own);
            all.extend((!same).then(|| format!("{at}: another type than {real}: {own}")));
        }
        (real, own) if real != own => all.push(format!("{at}: real {real} here {own}")),
        _ => {}
    }
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
    answers: BTreeMap<u64, Value>,
}

impl Play {
    fn begin() -> Self {
        let mut lab = Lab::of(&["bench-1", "bench-2"]);
        lab.install("bench-1", "server", FIRST);
        lab.start("bench-1", "k3s");
        lab.install("bench-2", "agent", "server: https://10.20.11.31:6443\ntoken: agents\n");
        lab.start("bench-2", "k3s-agent");
        lab.pass(4000);
        Play { lab, answers: BTreeMap::new() }
    }

    /// The request of an exchange, with what it takes from earlier answers.
    fn request(&self, exchange: &Value) -> Value {
        let mut request = exchange["request"].clone();
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
        let reply = self.lab.kubernetes.answer("bench-1", &call);
        let answer = match reply.body {
            Body::Json(value) | Body::Typed(_, value) => value,
            Body::Text(text) => Value::String(text),
            Body::Events(mut watch) => {
                let until = self.lab.now + watch.lasts.min(2000);
                let mut all = Vec::new();
                while self.lab.now < until && !watch.is_over {
                    all.extend(self.lab.cluster().tell(&mut watch, self.lab.now));
                    self.lab.pass(PACE);
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
        self.lab.pass(40);
        let until = self.lab.now + if exchange["poll"].is_null() { 0 } else { patience };
        loop {
            let (status, answer, headers) = self.ask(exchange, &request);
            let mut all = Vec::new();
            if Some(u64::from(status)) != wanted["status"].as_u64() {
                all.push(format!("status {status}, not {}: {}", wanted["status"], answer["message"]));
            } else {
                differences(&wanted["body"], &answer, "$", &volatile, &mut all);
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
                self.answers.insert(exchange["n"].as_u64().unwrap(), answer);
                return all;
            }
            self.lab.pass(PACE);
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
        let mut differ = Vec::new();
        for exchange in recording["exchanges"].as_array().unwrap() {
            let number = exchange["n"].as_u64().unwrap();
            let all = play.play(exchange, if known.contains(&number) { HASTE } else { PATIENCE });
            if all.is_empty() {
                same += 1;
                healed.extend(known.contains(&number).then(|| format!("{name} {number}")));
                continue;
            }
            differ.push(number);
            writeln!(report, "{name}:{number} {} {}", exchange["request"]["method"], exchange["request"]["path"])
                .unwrap();
            all.iter().for_each(|line| writeln!(report, "    {line}").unwrap());
            if !known.contains(&number) {
                wrong.push(format!("{name}:{number}\n    {}", all.join("\n    ")));
            }
        }
        if !differ.is_empty() {
            let numbers: Vec<String> = differ.iter().map(u64::to_string).collect();
            writeln!(list, "{name} {}", numbers.join(" ")).unwrap();
        }
    }
    if let Some(path) = std::env::var_os("HOMELAB_TEST_DIFFERENCES") {
        std::fs::write(path, format!("{report}\n{list}")).unwrap();
    }
    eprintln!("{same} exchanges are answered as recorded");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    // The list is of this folder's recordings; of others it says nothing.
    let is_own = std::env::var_os("HOMELAB_KUBERNETES_RECORDINGS").is_none();
    assert!(!is_own || healed.is_empty(), "answered as recorded by now, take them off the list: {healed:?}");
}
