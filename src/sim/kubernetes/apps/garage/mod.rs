//! Garage: its admin API, as far as health, the layout of its nodes, buckets and keys go, and the objects in its buckets.

mod buckets;
mod keys;
mod objects;

use serde_json::{Value, json};

use super::{Answer, App, Ask, Site};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::controllers::text;

pub(super) const APP: App = App { repository: "docker.io/dxflrs/garage", answer, run: None };

/// How many parts it deals objects out to.
const PARTITIONS: u64 = 256;

/// Why something is not done: a status, a code and words.
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Refusal { status, code, message: message.into() }
    }

    fn bad(why: &str) -> Self {
        Refusal::new(400, "InvalidRequest", format!("Bad request: {why}"))
    }

    fn forbidden(why: &str) -> Self {
        Refusal::new(403, "AccessDenied", format!("Forbidden: {why}"))
    }

    fn no_bucket(name: &str) -> Self {
        Refusal::new(404, "NoSuchBucket", format!("Bucket not found: {name}"))
    }
}

fn refused(status: u16, code: &'static str, message: &str) -> Answer {
    told(Err(Refusal::new(status, code, message)))
}

/// What the admin API answers.
fn told(done: Result<Value, Refusal>) -> Answer {
    match done {
        Ok(value) => Answer::json(200, &value),
        Err(Refusal { status, code, message }) => {
            Answer::json(status, &json!({ "code": code, "message": message, "region": "garage", "path": "" }))
        }
    }
}

/// A file that it was given.
fn file(site: &Site<'_>, ending: &str) -> Option<String> {
    site.cluster
        .mounted(site.pod, site.container)
        .into_iter()
        .find(|(path, _)| path.ends_with(ending))
        .map(|(_, text)| text)
}

/// What its configuration says.
struct Settings {
    region: String,
    objects: u64,
    admin: u64,
}

impl Settings {
    /// Reads `garage.toml`; nothing where it is none.
    fn read(site: &Site<'_>) -> Option<Self> {
        let table: toml::Table = file(site, "/garage.toml")?.parse().ok()?;
        let port = |part: &str| table.get(part)?.get("api_bind_addr")?.as_str()?.rsplit_once(':')?.1.parse().ok();
        let region = table.get("s3_api")?.get("s3_region")?.as_str()?.to_owned();
        Some(Settings { region, objects: port("s3_api")?, admin: port("admin")? })
    }
}

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match Settings::read(site) {
        Some(settings) if ask.port == settings.objects => objects::answer(site, ask, &settings.region),
        Some(settings) if ask.port == settings.admin => administer(site, ask),
        _ => Answer::not_simulated_at("Garage", ask.port),
    }
}

/// What the admin API answers to whoever knows its token.
fn administer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    let given = ask.authorization.as_deref().and_then(|header| header.strip_prefix("Bearer "));
    if given.is_none() || given != file(site, "/admin_token").as_deref().map(str::trim) {
        return refused(403, "AccessDenied", "Forbidden: Invalid `Authorization` token.");
    }
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let id = hex(&sha256(text(site.pod, "/metadata/name")));
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/v2/GetClusterStatus") => Answer::json(200, &status(site, &id)),
        ("GET", "/v2/GetClusterLayout") => Answer::json(200, &layout(site)),
        ("GET", "/v2/GetClusterHealth") => Answer::json(200, &health(site)),
        ("POST", "/v2/UpdateClusterLayout") => stage(site, &body),
        ("POST", "/v2/ApplyClusterLayout") => apply(site, &body),
        (method, path) => match (version(site), path.strip_prefix("/v2/").unwrap_or_default()) {
            // Whatever is kept in tables is kept by nodes with a place in the layout.
            (0, verb) if buckets::knows(method, verb) || keys::knows(method, verb) => told(Err(Refusal::new(
                503,
                "ServiceUnavailable",
                "Internal error: Could not reach quorum of 1 (sets=None). 0 of 0 request succeeded, others returned errors: []",
            ))),
            (_, verb) if buckets::knows(method, verb) => told(buckets::answer(site, verb, ask, &body)),
            (_, verb) if keys::knows(method, verb) => told(keys::answer(site, verb, ask, &body)),
            _ => Answer::not_simulated("Garage", ask),
        },
    }
}

fn version(site: &Site<'_>) -> u64 {
    site.state["version"].as_u64().unwrap_or_default()
}

fn status(site: &Site<'_>, id: &str) -> Value {
    let role = site.state["roles"].as_array().into_iter().flatten().find(|role| role["id"] == id);
    let role = role.map(|role| json!({ "zone": role["zone"], "capacity": role["capacity"], "tags": role["tags"] }));
    let tag = text(site.container, "/image").rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default().to_owned();
    json!({
        "layoutVersion": version(site),
        "nodes": [{
            "id": id, "garageVersion": tag, "addr": format!("{}:3901", text(site.pod, "/status/podIP")),
            "hostname": site.pod["metadata"]["name"], "isUp": true, "lastSeenSecsAgo": null, "role": role, "draining": false,
        }],
    })
}

fn layout(site: &Site<'_>) -> Value {
    json!({
        "version": version(site), "roles": site.state["roles"].as_array().cloned().unwrap_or_default(),
        "parameters": { "zoneRedundancy": "maximum" },
        "stagedRoleChanges": site.state["staged"].as_array().cloned().unwrap_or_default(), "stagedParameters": null,
    })
}

/// Without a layout nobody keeps any part.
fn health(site: &Site<'_>) -> Value {
    let is_laid_out = version(site) > 0;
    let (nodes, whole) = if is_laid_out { (1, PARTITIONS) } else { (0, 0) };
    json!({
        "status": if is_laid_out { "healthy" } else { "unavailable" }, "knownNodes": 1, "connectedNodes": 1,
        "storageNodes": nodes, "storageNodesUp": nodes, "partitions": PARTITIONS, "partitionsQuorum": whole, "partitionsAllOk": whole,
    })
}

/// Notes what is wanted of nodes; it counts once it is applied.
fn stage(site: &mut Site<'_>, body: &Value) -> Answer {
    let Some(roles) = body["roles"].as_array().filter(|roles| !roles.is_empty()) else {
        return refused(400, "InvalidRequest", "Bad request: no role changes");
    };
    let is_sound =
        |role: &&Value| role["remove"] == true || (role["zone"].is_string() && role["capacity"].as_u64() > Some(1023));
    if !roles.iter().all(|role| is_sound(&role)) {
        return refused(400, "InvalidRequest", "Bad request: Capacity should be at least 1K (1024)");
    }
    let mut staged = site.state["staged"].as_array().cloned().unwrap_or_default();
    staged.retain(|known| !roles.iter().any(|role| role["id"] == known["id"]));
    staged.extend(roles.iter().cloned());
    site.state["staged"] = json!(staged);
    Answer::json(200, &layout(site))
}

fn apply(site: &mut Site<'_>, body: &Value) -> Answer {
    let next = version(site) + 1;
    if body["version"].as_u64() != Some(next) {
        let why = format!("Bad request: Invalid new layout version: {next} is the next one");
        return refused(400, "InvalidRequest", &why);
    }
    let staged = site.state["staged"].as_array().cloned().unwrap_or_default();
    let mut roles = site.state["roles"].as_array().cloned().unwrap_or_default();
    roles.retain(|known| !staged.iter().any(|role| role["id"] == known["id"]));
    roles.extend(staged.into_iter().filter(|role| role["remove"] != true));
    site.state["roles"] = json!(roles);
    site.state["staged"] = json!([]);
    site.state["version"] = json!(next);
    Answer::json(
        200,
        &json!({ "message": ["==== COMPUTATION OF A NEW PARTITION ASSIGNATION ===="], "layout": layout(site) }),
    )
}

/// Puts something at the end of a list that it keeps.
fn push(state: &mut Value, list: &str, one: Value) {
    match state[list].as_array_mut() {
        Some(all) => all.push(one),
        None => state[list] = json!([one]),
    }
}
