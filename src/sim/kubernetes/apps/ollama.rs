//! Ollama: models that are pulled onto its volume, and loaded into the memory of the graphics card as far as there is room.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Answer, App, Ask, Site, cards};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::controllers::text;
use crate::sim::kubernetes::scheduler::quantity;
use crate::sim::kubernetes::store::{Key, timestamp};

pub(super) const APP: App = App { repository: "docker.io/ollama/ollama", answer, run: None };

/// Where it keeps its models.
const HOME: &str = "/root/.ollama";
/// How long a model stays loaded where nobody says so, in seconds.
const KEEP: i64 = 300;
/// How many models are loaded at most where nobody says so.
const AT_MOST: usize = 3;

/// A model as its registry has it.
struct Model {
    name: &'static str,
    /// On the disk.
    bytes: u64,
    /// In memory.
    mib: u64,
    parameters: &'static str,
    quantization: &'static str,
    family: &'static str,
    does: &'static str,
}

impl Model {
    fn parse(line: &'static str) -> Option<Self> {
        let mut words = line.split_whitespace();
        Some(Model {
            name: words.next()?,
            bytes: words.next()?.parse().ok()?,
            mib: words.next()?.parse().ok()?,
            parameters: words.next()?,
            quantization: words.next()?,
            family: words.next()?,
            does: words.next()?,
        })
    }

    fn digest(&self) -> String {
        hex(&sha256(self.name))
    }

    fn details(&self) -> Value {
        json!({
            "parent_model": "", "format": "gguf", "family": self.family, "families": [self.family],
            "parameter_size": self.parameters, "quantization_level": self.quantization,
        })
    }
}

/// All that the registry has.
fn registry() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    MODELS.get_or_init(|| {
        include_str!("models.txt").lines().filter(|line| !line.starts_with('#')).filter_map(Model::parse).collect()
    })
}

fn find(name: &str) -> Option<&'static Model> {
    registry().iter().find(|model| model.name == name)
}

fn refused(status: u16, why: &str) -> Answer {
    Answer::json(status, &json!({ "error": why }))
}

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    forget(site, ask.now);
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/") => Answer::text(200, "Ollama is running"),
        ("GET", "/api/version") => Answer::json(200, &json!({ "version": version(site) })),
        ("GET", "/api/tags") => Answer::json(200, &json!({ "models": pulled(site).map(listed).collect::<Vec<_>>() })),
        ("GET", "/api/ps") => Answer::json(200, &json!({ "models": loaded(site) })),
        ("POST", "/api/show") => match chosen(site, &body) {
            Ok(model) => Answer::json(200, &json!({ "details": model.details(), "capabilities": [model.does] })),
            Err(refusal) => refusal,
        },
        ("POST", "/api/pull") => pull(site, ask, &body),
        ("POST", "/api/generate") => generate(site, ask, &body).unwrap_or_else(|refusal| refusal),
        ("DELETE", "/api/delete") => match chosen(site, &body) {
            Ok(model) => {
                site.state["models"].as_object_mut().map(|all| all.remove(model.name));
                Answer::text(200, "")
            }
            Err(refusal) => refusal,
        },
        _ => Answer::not_simulated("Ollama", ask),
    }
}

/// Forgets what was on another volume, what was loaded by an earlier pod, and what was loaded long ago.
fn forget(site: &mut Site<'_>, now: u64) {
    let kept = site.cluster.kept_mounts(site.pod, site.container);
    let volume = kept.into_iter().find(|((at, ..), _)| at == HOME).map(|((_, place, _), _)| place);
    let volume = json!(volume.as_deref().unwrap_or_else(|| text(site.pod, "/metadata/uid")));
    if site.state["volume"] != volume {
        *site.state = json!({ "volume": volume, "models": {}, cards::KEPT: [] });
    }
    if let Some(all) = site.state[cards::KEPT].as_array_mut() {
        all.retain(|one| cards::is_kept(one, site.pod, now));
    }
}

fn version(site: &Site<'_>) -> String {
    text(site.container, "/image").rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default()
}

/// A variable of its own.
fn variable(site: &Site<'_>, name: &str) -> Option<String> {
    site.cluster.environment(site.pod, site.container).ok()?.remove(name)
}

/// The models that are on its volume, with when they came.
fn pulled<'a>(site: &'a Site<'_>) -> impl Iterator<Item = (&'static Model, &'a Value)> {
    let all = site.state["models"].as_object().into_iter().flatten();
    all.filter_map(|(name, since)| Some((find(name)?, since)))
}

fn listed((model, since): (&Model, &Value)) -> Value {
    json!({
        "name": model.name, "model": model.name, "modified_at": timestamp(since.as_u64().unwrap_or_default()),
        "size": model.bytes, "digest": model.digest(), "details": model.details(),
    })
}

/// What is loaded, and how much of it is on the card.
fn loaded(site: &Site<'_>) -> Vec<Value> {
    let all = site.state[cards::KEPT].as_array().into_iter().flatten();
    let one = |one: &Value| {
        let model = find(text(one, "/model"))?;
        // Far away where it stays for ever.
        let until = one["until"].as_u64().unwrap_or(10_000_000_000_000);
        Some(json!({
            "name": model.name, "model": model.name, "size": model.mib << 20, "digest": model.digest(),
            "details": model.details(), "expires_at": timestamp(until), "size_vram": cards::bytes(one),
        }))
    };
    all.filter_map(one).collect()
}

/// The name that is asked for, with its tag.
fn wanted(body: &Value) -> String {
    let name = body["model"].as_str().or(body["name"].as_str()).unwrap_or_default();
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// The model that is asked for, if it is there.
fn chosen(site: &Site<'_>, body: &Value) -> Result<&'static Model, Answer> {
    let name = wanted(body);
    let found = pulled(site).map(|(model, _)| model).find(|model| model.name == name);
    found.ok_or_else(|| refused(404, &format!("model '{name}' not found")))
}

/// Pulls a model, if the registry has it and the disk has room.
fn pull(site: &mut Site<'_>, ask: &Ask, body: &Value) -> Answer {
    let name = wanted(body);
    let Some(model) = find(&name) else { return refused(500, "pull model manifest: file does not exist") };
    let is_there = pulled(site).any(|(known, _)| known.name == name);
    let used: u64 = pulled(site).map(|(known, _)| known.bytes).sum();
    if !is_there && used + model.bytes > room(site) {
        let blob = format!("{HOME}/models/blobs/sha256-{}-partial", model.digest());
        return refused(500, &format!("write {blob}: no space left on device"));
    }
    if !is_there {
        site.state["models"][model.name] = json!(ask.now);
    }
    told(body, &["pulling manifest", "verifying sha256 digest", "writing manifest"], json!({ "status": "success" }))
}

/// The bytes of the disk that its volume is on. A volume of the node has no size of its own; what is elsewhere counts as endless.
fn room(site: &Site<'_>) -> u64 {
    if text(site.state, "/volume").contains(':') {
        return u64::MAX;
    }
    of_node(site, "ephemeral-storage")
}

/// What its node has of something.
fn of_node(site: &Site<'_>, resource: &str) -> u64 {
    let node = site.cluster.store.get(&Key::new("nodes", "", text(site.pod, "/spec/nodeName")));
    let amount = node.map(|node| quantity(&node["status"]["capacity"][resource])).unwrap_or_default();
    u64::try_from(amount / 1_000_000_000).unwrap_or(u64::MAX)
}

/// An answer that comes in steps, of which the last counts, where nobody wants it as a whole.
fn told(body: &Value, steps: &[&str], last: Value) -> Answer {
    if body["stream"] == false {
        return Answer::json(200, &last);
    }
    let steps = steps.iter().map(|step| json!({ "status": step }));
    let lines: String = steps.chain([last]).map(|line| format!("{line}\n")).collect();
    Answer { kind: "application/x-ndjson", ..Answer::text(200, &lines) }
}

/// Loads a model and has it say something, which here is nothing anybody would want to hear.
fn generate(site: &mut Site<'_>, ask: &Ask, body: &Value) -> Result<Answer, Answer> {
    let model = chosen(site, body)?;
    if model.does != "completion" {
        return Err(refused(400, &format!("\"{}\" does not support generate", model.name)));
    }
    let usual = variable(site, "OLLAMA_KEEP_ALIVE").and_then(|text| seconds(&json!(text)));
    let seconds = seconds(&body["keep_alive"]).or(usual).unwrap_or(KEEP);
    load(site, model, ask.now, seconds)?;
    let is_asked = body["prompt"].as_str().is_some_and(|prompt| !prompt.is_empty());
    let mut last = json!({ "model": model.name, "created_at": timestamp(ask.now), "response": "", "done": true, "done_reason": "load" });
    if is_asked {
        last["response"] = json!("homelab sim: no model computes here");
        last["done_reason"] = json!("stop");
        last["eval_count"] = json!(body["options"]["num_predict"].as_u64().unwrap_or(8));
    }
    Ok(told(body, &[], last))
}

/// How long something is kept: seconds, or text as in `5m`.
fn seconds(told: &Value) -> Option<i64> {
    let text = match told {
        Value::Number(number) => return number.as_i64(),
        Value::String(text) => text.as_str(),
        _ => return None,
    };
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// Puts a model into memory: onto the card as far as there is room, the rest beside it. What was loaded before gives way.
fn load(site: &mut Site<'_>, model: &Model, now: u64, seconds: i64) -> Result<(), Answer> {
    let until = u64::try_from(seconds).ok().map(|seconds| now.saturating_add(seconds.saturating_mul(1000)));
    let mut all = site.state[cards::KEPT].as_array().cloned().unwrap_or_default();
    let before = all.iter().position(|one| one["model"] == model.name).map(|at| all.remove(at));
    let wanted = model.mib << 20;
    let on_card = match &before {
        Some(before) => cards::bytes(before),
        None => {
            let most = variable(site, "OLLAMA_MAX_LOADED_MODELS").and_then(|text| text.parse().ok());
            let most = most.filter(|most| *most > 0).unwrap_or(AT_MOST);
            let has_card = site.cluster.has_card(site.pod);
            let free = if has_card { site.cluster.free_of_card(site.pod, now) } else { 0 };
            let own = |all: &[Value]| all.iter().map(cards::bytes).sum::<u64>();
            while !all.is_empty() && (all.len() >= most || (has_card && own(&all) + wanted > free)) {
                all.remove(0);
            }
            wanted.min(free)
        }
    };
    let beside = of_node(site, "memory");
    if wanted - on_card > beside {
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
        let (needs, has) = (gib(wanted - on_card), gib(beside));
        site.state[cards::KEPT] = json!(all);
        return Err(refused(500, &format!("model requires more system memory ({needs}) than is available ({has})")));
    }
    if seconds != 0 {
        let mut one = cards::kept_by(site.pod, on_card);
        one["model"] = json!(model.name);
        one["until"] = json!(until);
        all.push(one);
    }
    site.state[cards::KEPT] = json!(all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_model_with_a_tag() {
        let lines = include_str!("models.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(registry().len(), lines);
        assert!(registry().iter().all(|model| model.name.contains(':')));
    }

    #[test]
    fn how_long_a_model_stays_is_told_in_seconds_or_with_a_unit() {
        let all = [json!("5m"), json!("30"), json!(-1), json!("0"), json!("1h"), json!("soon"), Value::Null];
        assert_eq!(all.map(|told| seconds(&told)), [Some(300), Some(30), Some(-1), Some(0), Some(3600), None, None]);
    }
}
