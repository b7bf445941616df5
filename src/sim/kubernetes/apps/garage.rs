//! Garage: its admin API, as far as its health and the layout of its nodes go.

use serde_json::{Value, json};

use super::{Answer, App, Ask, Site};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::controllers::text;

pub(super) const APP: App = App { repository: "docker.io/dxflrs/garage", answer };

/// The port of its admin API.
const ADMIN: u64 = 3903;
/// How many parts it deals objects out to.
const PARTITIONS: u64 = 256;

fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "code": code, "message": message, "region": "garage", "path": "" }))
}

/// The token that it was given in a file.
fn token(site: &Site<'_>) -> Option<String> {
    let files = site.cluster.mounted(site.pod, site.container);
    files.into_iter().find(|(path, _)| path.ends_with("/admin_token")).map(|(_, token)| token.trim().to_owned())
}

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    if ask.port != ADMIN {
        return Answer::not_simulated_at("Garage", ask.port);
    }
    let given = ask.authorization.as_deref().and_then(|header| header.strip_prefix("Bearer "));
    if given.is_none() || given.map(str::to_owned) != token(site) {
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
        _ => Answer::not_simulated("Garage", ask),
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
