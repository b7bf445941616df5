//! DNS over HTTPS in JSON, in the two forms that public resolvers have: with texts quoted and in their pieces at
//! `/dns-query`, and with texts joined at `/resolve`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::serve::{Answer, Ask};
use super::zone::Record;
use super::{Internet, Zone};

/// The media type that `/dns-query` wants to be asked for.
const DNS_JSON: &str = "application/dns-json";

/// Types by name.
const KINDS: [(&str, u64); 8] =
    [("A", 1), ("NS", 2), ("CNAME", 5), ("SOA", 6), ("MX", 15), ("TXT", 16), ("AAAA", 28), ("DS", 43)];

/// Response codes.
const SOUND: u64 = 0;
const SERVER_FAILURE: u64 = 2;
const NO_SUCH_NAME: u64 = 3;

/// How the answers of a resolver look.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Pieces,
    Joined,
}

/// Answers a request to a resolver.
pub(super) fn answer(internet: &Internet, ask: &Ask) -> Answer {
    let Some(place) = internet.resolvers.iter().find(|place| place.host == ask.host && place.path == ask.path) else {
        return Answer::text(404, "not found");
    };
    if ask.method != "GET" {
        return Answer::text(405, "method not allowed");
    }
    let form = if place.path.ends_with("/resolve") { Form::Joined } else { Form::Pieces };
    if form == Form::Pieces && !ask.accept.contains(DNS_JSON) {
        return Answer::text(400, "unsupported or missing accept header");
    }
    let Some(name) = ask.query.get("name").map(|name| name.trim_end_matches('.').to_ascii_lowercase()) else {
        return bad(form, "missing query name");
    };
    let kind = ask.query.get("type").map_or("A", String::as_str);
    let known = |(known, number): &&(&str, u64)| known.eq_ignore_ascii_case(kind) || kind == number.to_string();
    let Some((kind, number)) = KINDS.iter().find(known) else {
        return bad(form, "invalid query type");
    };
    let (status, records) = resolve(internet, &name, kind, &ask.query);
    let dot = if form == Form::Joined { "." } else { "" };
    let answers: Vec<Value> = records
        .iter()
        .map(|(owner, kind, seconds, data)| {
            let number = KINDS.iter().find(|(known, _)| known == kind).map_or(0, |(_, number)| *number);
            let data = match (kind.as_str(), form) {
                ("TXT", Form::Pieces) => data.iter().map(|piece| format!("\"{piece}\"")).collect::<Vec<_>>().join(" "),
                _ => data.concat(),
            };
            json!({ "name": format!("{owner}{dot}"), "type": number, "TTL": seconds, "data": data })
        })
        .collect();
    let mut body = json!({
        "Status": status, "TC": false, "RD": true, "RA": true, "AD": false, "CD": false,
        "Question": [{ "name": format!("{name}{dot}"), "type": number }],
    });
    if !answers.is_empty() {
        body["Answer"] = Value::Array(answers);
    }
    let kind = if form == Form::Pieces { DNS_JSON } else { "application/json; charset=UTF-8" };
    Answer::of(200, kind, body.to_string())
}

fn bad(form: Form, why: &str) -> Answer {
    match form {
        Form::Pieces => Answer::json(400, &json!({ "error": why })),
        Form::Joined => Answer::text(400, why),
    }
}

/// An answer: whose, of which type, for how many seconds, and what.
type Found = (String, String, u64, Vec<String>);

fn resolve(internet: &Internet, name: &str, kind: &str, query: &BTreeMap<String, String>) -> (u64, Vec<Found>) {
    let Some(zone) = internet.zone_of(name) else {
        let addresses = internet.addresses(name);
        let found = |address: &String| (name.to_owned(), "A".to_owned(), 300, vec![address.clone()]);
        return match (addresses.is_empty(), kind) {
            (true, _) => (NO_SUCH_NAME, Vec::new()),
            (false, "A") => (SOUND, addresses.iter().map(found).collect()),
            (false, _) => (SOUND, Vec::new()),
        };
    };
    if kind == "DS" && name == zone.name {
        let found = |text: &String| (name.to_owned(), "DS".to_owned(), 3600, vec![text.clone()]);
        return (SOUND, zone.delegation.iter().map(found).collect());
    }
    let verifies = !query.get("cd").is_some_and(|flag| flag == "1" || flag == "true");
    if zone.delegation.is_some() && verifies {
        return (SERVER_FAILURE, Vec::new());
    }
    if !zone.knows(name) {
        return (NO_SUCH_NAME, Vec::new());
    }
    (SOUND, in_zone(zone, name, kind))
}

fn in_zone(zone: &Zone, name: &str, kind: &str) -> Vec<Found> {
    let apex = name == zone.name;
    let found = |kind: &str, seconds: u64, data: String| (name.to_owned(), kind.to_owned(), seconds, vec![data]);
    match kind {
        "NS" if apex => {
            return zone.nameservers.iter().map(|server| found("NS", 86_400, format!("{server}."))).collect();
        }
        "SOA" if apex => {
            let first = zone.nameservers.first().cloned().unwrap_or_default();
            return vec![found("SOA", 1800, format!("{first}. dns.cloudflare.com. 1 10000 2400 604800 1800"))];
        }
        _ => {}
    }
    let own = |record: &&Record| {
        let data = match record.kind.as_str() {
            "TXT" => record.pieces(),
            "MX" => vec![format!("{} {}.", record.priority.unwrap_or_default(), record.content)],
            "CNAME" | "NS" => vec![format!("{}.", record.content)],
            _ => vec![record.content.clone()],
        };
        (record.name.clone(), record.kind.clone(), record.seconds(), data)
    };
    let mut all: Vec<Found> = zone.of(name, kind).iter().map(own).collect();
    if let (true, Some(alias)) = (all.is_empty(), zone.of(name, "CNAME").first()) {
        all.push(own(alias));
        // One that leads to another zone, or to itself, is for the client to follow.
        if zone.has(&alias.content) && alias.content != name {
            all.extend(zone.of(&alias.content, kind).iter().map(own));
        }
    }
    all
}
