//! The API of Cloudflare, version 4, as far as zones and their records go.

use serde_json::{Map, Value, json};

use super::Internet;
use super::serve::{Answer, Ask};
use super::zone::{Record, Zone};
use crate::sim::chance::{hex, sha256};

/// How many records come at once, unless a client says it.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 5000;

/// The types of records that can be made here.
const KINDS: [&str; 5] = ["A", "AAAA", "CNAME", "MX", "TXT"];

/// Answers a request, if it comes with the token.
pub(super) fn answer(internet: &mut Internet, ask: &Ask, token: &str) -> Answer {
    let base = internet.cloudflare.as_ref().map(|place| place.path.clone()).unwrap_or_default();
    let Some(path) = ask.path.strip_prefix(&base) else { return unknown(ask) };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let given = match ask.authorization.as_deref() {
        None => return refused(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"),
        Some(header) => match header.strip_prefix("Bearer ") {
            Some(given) if !given.trim().is_empty() => given.trim(),
            _ => return refused(400, 6003, "Invalid request headers"),
        },
    };
    let is_valid = !token.is_empty() && given == token;
    match (ask.method.as_str(), parts.as_slice()) {
        ("GET", ["user", "tokens", "verify"]) if is_valid => {
            let id = hex(&sha256(token)[..16]);
            Answer::json(
                200,
                &json!({
                    "result": { "id": id, "status": "active" }, "success": true, "errors": [],
                    "messages": [{ "code": 10000, "message": "This API Token is valid and active", "type": Value::Null }],
                }),
            )
        }
        ("GET", ["user", "tokens", "verify"]) => refused(401, 1000, "Invalid API Token"),
        _ if !is_valid => refused(403, 9109, "Invalid access token"),
        ("GET", ["zones"]) => zones(internet, ask),
        ("GET", ["zones", zone, "dns_records"]) => match zone_of(internet, zone) {
            Some(found) if internet.token.zone_read => records(found, ask),
            _ => not_allowed(),
        },
        ("POST", ["zones", zone, "dns_records"]) => create(internet, zone, ask),
        ("GET", ["zones", zone, "dns_records", record]) => match zone_of(internet, zone) {
            Some(zone) if internet.token.zone_read => {
                zone.records.iter().find(|one| one.id == *record).map_or_else(no_record, |one| found(row(one)))
            }
            _ => not_allowed(),
        },
        ("PATCH" | "PUT", ["zones", zone, "dns_records", record]) => change(internet, zone, record, ask),
        ("DELETE", ["zones", zone, "dns_records", record]) => delete(internet, zone, record),
        _ => unknown(ask),
    }
}

fn unknown(ask: &Ask) -> Answer {
    Answer::text(501, &format!("not simulated: {} {}", ask.method, ask.path))
}

fn refused(status: u16, code: u32, message: &str) -> Answer {
    let errors = json!([{ "code": code, "message": message }]);
    Answer::json(status, &json!({ "result": Value::Null, "success": false, "errors": errors, "messages": [] }))
}

fn not_allowed() -> Answer {
    refused(403, 10000, "Authentication error")
}

fn found(result: Value) -> Answer {
    Answer::json(200, &json!({ "result": result, "success": true, "errors": [], "messages": [] }))
}

/// One page of a list.
fn page(all: &[Value], ask: &Ask, usual: usize) -> Answer {
    let number =
        |name: &str| ask.query.get(name).and_then(|text| text.parse::<usize>().ok()).filter(|given| *given > 0);
    let (page, size) = (number("page").unwrap_or(1), number("per_page").unwrap_or(usual).min(LARGEST_PAGE));
    let shown: Vec<&Value> = all.iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    let info = json!({
        "page": page, "per_page": size, "count": shown.len(),
        "total_count": all.len(), "total_pages": all.len().div_ceil(size),
    });
    Answer::json(200, &json!({ "result": shown, "success": true, "errors": [], "messages": [], "result_info": info }))
}

fn zones(internet: &Internet, ask: &Ask) -> Answer {
    let name = ask.query.get("name");
    let shown = |zone: &&Zone| internet.token.zone_read && name.is_none_or(|name| *name == zone.name);
    let row = |zone: &Zone| {
        json!({
            "id": zone.id, "name": zone.name, "status": "active", "paused": false, "type": "full",
            "name_servers": zone.nameservers,
        })
    };
    let all: Vec<Value> = internet.zones.iter().filter(shown).map(row).collect();
    page(&all, ask, 20)
}

fn zone_of<'i>(internet: &'i Internet, id: &str) -> Option<&'i Zone> {
    internet.zones.iter().find(|zone| zone.id == id)
}

fn records(zone: &Zone, ask: &Ask) -> Answer {
    let is = |name: &str, value: &str| ask.query.get(name).is_none_or(|wanted| wanted.eq_ignore_ascii_case(value));
    let shown =
        |record: &&Record| is("name", &record.name) && is("type", &record.kind) && is("content", &record.content);
    let all: Vec<Value> = zone.records.iter().filter(shown).map(row).collect();
    page(&all, ask, PAGE)
}

fn row(record: &Record) -> Value {
    let mut row = json!({
        "id": record.id, "name": record.name, "type": record.kind, "content": record.content, "ttl": record.ttl,
        "proxiable": matches!(record.kind.as_str(), "A" | "AAAA" | "CNAME"), "proxied": false,
        "settings": {}, "meta": {}, "comment": record.comment, "tags": [],
        "created_on": record.made, "modified_on": record.made,
    });
    if let Some(priority) = record.priority {
        row["priority"] = json!(priority);
    }
    row
}

fn create(internet: &mut Internet, id: &str, ask: &Ask) -> Answer {
    let may = internet.token.zone_read && internet.token.dns_edit;
    let made = internet.made + 1;
    let Some(zone) = internet.zones.iter_mut().find(|zone| zone.id == id).filter(|_| may) else {
        return not_allowed();
    };
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&ask.body) else {
        return refused(400, 9207, "Request body is invalid.");
    };
    let record = match wanted(zone, &body, made) {
        Ok(record) => record,
        Err(answer) => return answer,
    };
    let same = |other: &&Record| other.name == record.name;
    let alike = |other: &Record| other.kind == record.kind && other.content == record.content;
    if zone.records.iter().filter(same).any(alike) {
        return refused(400, 81058, "An identical record already exists.");
    }
    if zone.records.iter().filter(same).any(|other| other.kind == "CNAME" || record.kind == "CNAME") {
        return refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.");
    }
    let answer = found(row(&record));
    zone.records.push(record);
    internet.made = made;
    answer
}

/// The record that a body asks for.
fn wanted(zone: &Zone, body: &Map<String, Value>, made: u64) -> Result<Record, Answer> {
    let known = ["type", "name", "content", "ttl", "priority", "proxied", "comment", "tags"];
    if let Some(other) = body.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Answer::text(501, &format!("not simulated: records with {other}")));
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let kind = text("type").to_ascii_uppercase();
    if !KINDS.contains(&kind.as_str()) {
        return Err(match kind.as_str() {
            "" => refused(400, 1004, "DNS Validation Error"),
            other => Answer::text(501, &format!("not simulated: records of the type {other}")),
        });
    }
    if body.get("proxied").and_then(Value::as_bool) == Some(true) {
        return Err(Answer::text(501, "not simulated: records that are proxied"));
    }
    let (name, content) = (text("name").trim_end_matches('.').to_ascii_lowercase(), text("content"));
    let name = match name.as_str() {
        "@" => zone.name.clone(),
        name if zone.has(name) => name.to_owned(),
        name => format!("{name}.{}", zone.name),
    };
    let ttl = body.get("ttl").map_or(Some(1), Value::as_u64);
    let priority = body.get("priority").and_then(Value::as_u64).and_then(|given| u16::try_from(given).ok());
    let is_address = match kind.as_str() {
        "A" => content.parse::<std::net::Ipv4Addr>().is_ok(),
        "AAAA" => content.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    let is_sound = !content.is_empty() && is_address && (kind != "MX" || priority.is_some());
    match ttl.filter(|ttl| *ttl == 1 || (60..=86_400).contains(ttl)) {
        Some(ttl) if is_sound => Ok(Record {
            id: hex(&sha256(format!("{} {made}", zone.id))[..16]),
            name,
            kind,
            content,
            ttl,
            priority,
            comment: body.get("comment").and_then(Value::as_str).map(str::to_owned),
            made: jiff::Timestamp::now().to_string(),
        }),
        _ => Err(refused(400, 1004, "DNS Validation Error")),
    }
}

/// Changes a record in its place: what is told of it (`PATCH`), or all of it (`PUT`).
fn change(internet: &mut Internet, id: &str, record: &str, ask: &Ask) -> Answer {
    let may = internet.token.zone_read && internet.token.dns_edit;
    let Some(zone) = internet.zones.iter_mut().find(|zone| zone.id == id).filter(|_| may) else {
        return not_allowed();
    };
    let Some(at) = zone.records.iter().position(|one| one.id == record) else { return no_record() };
    let Ok(Value::Object(told)) = serde_json::from_slice::<Value>(&ask.body) else {
        return refused(400, 9207, "Request body is invalid.");
    };
    let known = &zone.records[at];
    let mut body = Map::new();
    if ask.method == "PATCH" {
        let whole = json!({
            "type": known.kind, "name": known.name, "content": known.content, "ttl": known.ttl,
            "priority": known.priority, "comment": known.comment,
        });
        body.extend(whole.as_object().cloned().unwrap_or_default());
    }
    body.extend(told);
    let (id, made) = (known.id.clone(), known.made.clone());
    let wanted = match wanted(zone, &body, 0) {
        Ok(wanted) => Record { id, made, ..wanted },
        Err(answer) => return answer,
    };
    let others = zone.records.iter().enumerate().filter(|(other, one)| *other != at && one.name == wanted.name);
    if others.clone().any(|(_, other)| other.kind == wanted.kind && other.content == wanted.content) {
        return refused(400, 81058, "An identical record already exists.");
    }
    if others.clone().any(|(_, other)| other.kind == "CNAME" || wanted.kind == "CNAME") {
        return refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.");
    }
    zone.records[at] = wanted;
    found(row(&zone.records[at]))
}

fn no_record() -> Answer {
    refused(404, 81044, "Record does not exist.")
}

fn delete(internet: &mut Internet, id: &str, record: &str) -> Answer {
    let may = internet.token.zone_read && internet.token.dns_edit;
    let Some(zone) = internet.zones.iter_mut().find(|zone| zone.id == id).filter(|_| may) else {
        return not_allowed();
    };
    let before = zone.records.len();
    zone.records.retain(|one| one.id != record);
    if zone.records.len() == before {
        return no_record();
    }
    found(json!({ "id": record }))
}
