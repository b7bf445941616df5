//! Whether an answer is the one of a recording, but for what differs from run to run.

use serde_json::Value;

/// Whether a place is one of those whose values differ from run to run: `$.items[*].metadata.uid`. What a name is made of differs
/// where the name does.
fn is_volatile(patterns: &[String], at: &str) -> bool {
    if let Some(holder) = at.strip_suffix(".generateName") {
        return is_volatile(patterns, &format!("{holder}.name"));
    }
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
pub(super) fn differences(real: &Value, own: &Value, at: &str, volatile: &[String], all: &mut Vec<String>) {
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
        (real, own) if stands_for(real, own) => {}
        (real, own) if real != own => all.push(format!("{at}: real {real} here {own}")),
        _ => {}
    }
}

/// The name of a field; where it is an item's own that differs from run to run, without what does.
fn plain_key(name: &str) -> String {
    match ["k:{\"uid\":", "k:{\"ip\":"].iter().find(|start| name.starts_with(**start)) {
        Some(start) => format!("{start}…}}"),
        None => name.to_owned(),
    }
}

/// Whether a text stands for others: how old something is, or what was taken out of a recording.
fn stands_for(real: &Value, own: &Value) -> bool {
    let is_age = |text: &str| {
        text.len() > 1
            && text.ends_with(['s', 'm', 'h', 'd'])
            && text.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c))
    };
    match (real.as_str(), own.as_str()) {
        (Some(real), Some(own)) => (is_age(real) && is_age(own)) || (real.starts_with('<') && real.ends_with('>')),
        _ => false,
    }
}

/// Items in the order of the recording, where their names, and so their order, differ from run to run.
pub(super) fn arranged(wanted: &Value, answer: &Value, volatile: &[String]) -> Value {
    let (Some(real), Some(own)) = (wanted["items"].as_array(), answer["items"].as_array()) else {
        return answer.clone();
    };
    if real.len() != own.len() || !volatile.iter().any(|one| one == "$.items[*].metadata.name") {
        return answer.clone();
    }
    let mut left: Vec<&Value> = own.iter().collect();
    let mut items = Vec::new();
    for real in real {
        let count = |own: &Value| {
            let mut all = Vec::new();
            differences(&ordered(real), &ordered(own), "$.items[0]", volatile, &mut all);
            all.len()
        };
        let best = (0..left.len()).min_by_key(|at| count(left[*at])).unwrap();
        items.push(left.remove(best).clone());
    }
    let mut answer = answer.clone();
    answer["items"] = Value::Array(items);
    answer
}

/// A body with the entries of owners in an order that does not hang on the clock, and without the texts that only explain.
pub(super) fn ordered(body: &Value) -> Value {
    match body {
        Value::Object(map) => {
            let part = |(name, value): (&String, &Value)| {
                let mut value = ordered(value);
                if let ("managedFields", Value::Array(entries)) = (name.as_str(), &mut value) {
                    let key = |entry: &Value| {
                        ["operation", "manager", "apiVersion", "subresource"].map(|name| entry[name].to_string())
                    };
                    entries.sort_by_key(key);
                }
                if let ("columnDefinitions", Value::Array(columns)) = (name.as_str(), &mut value) {
                    for column in columns.iter_mut().filter(|column| column["description"].is_string()) {
                        column["description"] = "".into();
                    }
                }
                (plain_key(name), value)
            };
            map.iter().map(part).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(ordered).collect(),
        other => other.clone(),
    }
}
