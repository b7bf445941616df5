//! Whether the comparison would notice: every recorded answer, changed in one place, differs from itself, but where a rule
//! of the comparison leaves that place out by name.

use serde_json::{Value, json};

use super::super::lab::Reply;
use super::compare::{Verdict, compare, is_guests_own, may_vary};
use super::endpoints;
use super::recording::{self, Exchange};
use super::rules::{INVENTORIES, LATER, MACHINE, MACHINES, REPORTED, is_measured};

/// One change to an answer, and what it is.
struct Mutation {
    kind: &'static str,
    /// The way to what was changed.
    pointer: String,
    reply: Reply,
}

/// How often a kind of change was tried, and how often it was noticed.
#[derive(Debug, Default, Clone, Copy)]
struct Noticed {
    tried: usize,
    noticed: usize,
}

fn reply(exchange: &Exchange) -> Reply {
    let response = &exchange.response;
    Reply { status: response.status, reason: response.reason.clone(), body: response.body.clone() }
}

/// Every change of a kind that an answer allows for.
fn mutations(exchange: &Exchange) -> Vec<Mutation> {
    let mut all = Vec::new();
    let original = reply(exchange);
    let mut add = |kind: &'static str, pointer: &str, change: &dyn Fn(&mut Reply)| {
        let mut reply = Reply { status: original.status, reason: original.reason.clone(), body: original.body.clone() };
        change(&mut reply);
        all.push(Mutation { kind, pointer: pointer.into(), reply });
    };
    add("status", "", &|reply| reply.status = if reply.status == 200 { 500 } else { 200 });
    add("reason", "", &|reply| reply.reason.push_str(" indeed"));
    for name in exchange.response.body["errors"].as_object().into_iter().flat_map(|errors| errors.keys()) {
        add("error of a parameter", "/errors", &|reply| reply.body["errors"][name] = json!("something else"));
        add("parameter with an error", "/errors", &|reply| {
            if let Some(errors) = reply.body["errors"].as_object_mut()
                && let Some(text) = errors.remove(name)
            {
                errors.insert(format!("{name}x"), text);
            }
        });
    }
    for (pointer, value) in leaves(&exchange.response.body, "") {
        let put = |reply: &mut Reply, value: Value| {
            if let Some(place) = reply.body.pointer_mut(&pointer) {
                *place = value;
            }
        };
        add("type", &pointer, &|reply| put(reply, json!([[]])));
        match value {
            Value::String(text) => add("text", &pointer, &|reply| put(reply, json!(format!("{text} indeed")))),
            Value::Number(_) => {
                add("number", &pointer, &|reply| put(reply, json!(value.as_f64().unwrap_or_default() + 1.5)))
            }
            _ => {}
        }
        let (above, key) = pointer.rsplit_once('/').unwrap_or_default();
        let is_field = exchange.response.body.pointer(above).is_some_and(Value::is_object);
        if is_field {
            add("missing field", &pointer, &|reply| {
                if let Some(Value::Object(object)) = reply.body.pointer_mut(above) {
                    object.remove(key);
                }
            });
        }
    }
    for (pointer, length) in lists(&exchange.response.body, "") {
        add("missing row", &pointer, &|reply| {
            if let Some(Value::Array(rows)) = reply.body.pointer_mut(&pointer) {
                rows.truncate(length - 1);
            }
        });
        add("surplus row", &pointer, &|reply| {
            if let Some(Value::Array(rows)) = reply.body.pointer_mut(&pointer) {
                rows.push(json!({ "made": "up" }));
            }
        });
    }
    all
}

/// Plain values with the way to them.
fn leaves<'v>(value: &'v Value, pointer: &str) -> Vec<(String, &'v Value)> {
    match value {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| leaves(value, &format!("{pointer}/{}", escaped(key)))).collect()
        }
        Value::Array(rows) => {
            rows.iter().enumerate().flat_map(|(index, value)| leaves(value, &format!("{pointer}/{index}"))).collect()
        }
        Value::Null => Vec::new(),
        plain => vec![(pointer.to_string(), plain)],
    }
}

/// Lists of rows with the way to them, and their lengths.
fn lists(value: &Value, pointer: &str) -> Vec<(String, usize)> {
    match value {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| lists(value, &format!("{pointer}/{}", escaped(key)))).collect()
        }
        Value::Array(rows) if !rows.is_empty() && rows.iter().all(Value::is_object) => {
            vec![(pointer.to_string(), rows.len())]
        }
        _ => Vec::new(),
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Whether a line of a log, or its last, comes right after one that was another program's words: any may stand there.
fn is_after_mark(exchange: &Exchange, pointer: &str) -> bool {
    let rows = exchange.response.data().as_array().map_or(0, Vec::len);
    let index = pointer.split('/').nth(2).and_then(|index| index.parse().ok()).unwrap_or(rows.saturating_sub(1));
    let is_marked = |index: usize| exchange.volatile.iter().any(|marked| *marked == format!("data.{index}.t"));
    is_marked(index) || index > 0 && is_marked(index - 1)
}

/// Whether a rule leaves the place out.
fn is_left_out(exchange: &Exchange, mutation: &Mutation) -> bool {
    let pattern = endpoints::pattern(&exchange.request.path);
    let at = mutation.pointer.trim_start_matches('/').replace('/', ".");
    let key = at.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
    let recorded = exchange.response.body.pointer(&mutation.pointer).unwrap_or(&Value::Null);
    let is_within = |marked: &str| at == marked || at.strip_prefix(marked).is_some_and(|rest| rest.starts_with('.'));
    let is_marked = exchange.volatile.iter().any(|marked| is_within(marked) && may_vary(&pattern, marked));
    let is_of_machine = MACHINES.contains(&pattern.as_str()) && at.split('.').any(|part| MACHINE.contains(&part));
    let is_page = exchange.request.field("start").or(exchange.request.field("limit")).is_some();
    let is_of_task = mutation.pointer == "/data" || at == "total";
    match pattern.as_str() {
        _ if mutation.kind == "reason" => exchange.volatile.iter().any(|marked| marked == "reason"),
        _ if is_marked || is_of_machine || is_measured(key, recorded) => true,
        "/cluster/resources" if REPORTED.contains(&key) || LATER.contains(&key) => true,
        // How long a history or a log is depends on what came before, and on what other programs said.
        "/nodes/{}/tasks" if is_page && is_of_task => true,
        "/nodes/{}/tasks/{}/log" | "/cluster/tasks" | "/nodes/{}/tasks" if at == "total" => true,
        "/nodes/{}/tasks/{}/log" => is_after_mark(exchange, &mutation.pointer),
        "/nodes/{}/qemu/{}/agent/{}" => is_guests_own(&at),
        pattern => INVENTORIES.contains(&pattern),
    }
}

#[test]
fn a_changed_answer_is_told_from_the_recorded_one() {
    let folder = recording::folder();
    if !folder.is_dir() {
        println!("skipped: no recordings in {}", folder.display());
        return;
    }
    let mut counts = std::collections::BTreeMap::<&str, Noticed>::new();
    let mut overlooked = Vec::new();
    for (name, recording) in recording::recordings(&folder) {
        let of_today = |one: &&Exchange| {
            one.response.status != 0 && endpoints::is_of_today(&one.request.method, one.request.path())
        };
        for exchange in recording.exchanges.iter().filter(of_today) {
            let differs =
                |reply: &Reply| !matches!(compare(exchange, reply, &|text| text.into(), &|_| true), Verdict::Same);
            assert!(!differs(&reply(exchange)), "{name} {}: an answer differs from itself", exchange.n);
            for mutation in mutations(exchange) {
                let count = counts.entry(mutation.kind).or_default();
                count.tried += 1;
                if differs(&mutation.reply) {
                    count.noticed += 1;
                } else if !is_left_out(exchange, &mutation) {
                    overlooked.push(format!(
                        "{name} {} {} {} {}",
                        exchange.n,
                        mutation.pointer,
                        endpoints::pattern(&exchange.request.path),
                        mutation.kind
                    ));
                }
            }
        }
    }
    for (kind, Noticed { tried, noticed }) in &counts {
        println!("{noticed:>7} of {tried:>7} noticed: {kind}");
    }
    assert!(counts.values().all(|count| count.noticed > 0), "nothing was tried");
    let count = overlooked.len();
    assert!(overlooked.is_empty(), "{count} overlooked:\n{}", overlooked.join("\n"));
}
