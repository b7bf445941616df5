//! Compares an answer with the recorded one: status, reason phrase and the whole body.
//!
//! A body has the same shape as the recorded one (keys, types) and the same values. What cannot be the same in two runs or
//! on two machines is compared by its type alone, or after the varying part of it has been blotted out. These are all the
//! rules for that:
//!
//! - **Marked**: a value that the exchange marks as `volatile`, but for errors and options of machines ([`may_vary`]); lists
//!   of rows count with what was recorded in them.
//! - **Measured**: how busy, full or old something is, by its key ([`is_measured`]).
//! - **Made up**: ids that every run makes anew, inside any text ([`steady`]): UUIDs, MAC addresses, digests,
//!   fingerprints, dates, how fast a download was, and of a task's id everything but its node, type, object and owner.
//! - **Machine**: what a machine is and has on it ([`MACHINE`] of [`MACHINES`], [`INVENTORIES`]): rows of an inventory need the same keys.
//! - **Before**: lists of tasks go on from before the recording; rows of tasks that no exchange began are left out on both
//!   sides, and the length of the whole is not compared.
//! - **Reported**: lists of resources show what nodes last told, which is some seconds old ([`REPORTED`]).
//! - **Guest**: what runs in a guest is the guest's: of what its agent says, every row and object has the recorded keys.
//! - **Log**: lines that are marked were other programs' words; between the lines that are not, any may stand.
//! - **Later**: keys that only what is of a later phase brings ([`LATER`]) may be missing.
//! - **Order**: keys, rows and the items of [`LISTS`] come in any order; rows are matched by their identity.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::lab::Reply;
use super::endpoints::pattern;
use super::recording::Exchange;
use super::rules::{
    IDENTITIES, INVENTORIES, LATER, LISTS, MACHINE, MACHINES, REPORTED, canonical, is_measured, items, steady,
    with_sorted_keys,
};

/// What came of an exchange.
pub(super) enum Verdict {
    Same,
    /// The simulator says that it does not simulate this.
    NotServed,
    /// It cannot be asked again, and why.
    LeftOut(String),
    Differs(String),
}

/// What a comparison needs to know.
struct Context<'c> {
    /// Whether an exchange began a task.
    began: &'c dyn Fn(&str) -> bool,
    /// Turns what is here into what was recorded.
    as_recorded: &'c dyn Fn(&str) -> String,
    volatile: BTreeSet<&'c str>,
    is_inventory: bool,
    is_history: bool,
    /// Whether rows are pages of a longer list.
    is_page: bool,
    is_reported: bool,
    is_machine: bool,
    is_guest: bool,
    is_log: bool,
    differences: Vec<String>,
}

/// Compares status, reason and body.
pub(super) fn compare(
    exchange: &Exchange,
    reply: &Reply,
    as_recorded: &dyn Fn(&str) -> String,
    began: &dyn Fn(&str) -> bool,
) -> Verdict {
    if reply.reason.starts_with("not simulated") {
        return Verdict::NotServed;
    }
    let response = &exchange.response;
    let path = pattern(&exchange.request.path);
    let mut context = Context {
        began,
        as_recorded,
        volatile: exchange.volatile.iter().map(String::as_str).filter(|marked| may_vary(&path, marked)).collect(),
        is_inventory: INVENTORIES.contains(&path.as_str()),
        is_history: matches!(path.as_str(), "/nodes/{}/tasks" | "/cluster/tasks"),
        is_page: exchange.request.field("start").or(exchange.request.field("limit")).is_some(),
        is_reported: path == "/cluster/resources",
        is_machine: MACHINES.contains(&path.as_str()),
        is_guest: path == "/nodes/{}/qemu/{}/agent/{}",
        is_log: path == "/nodes/{}/tasks/{}/log",
        differences: Vec::new(),
    };
    let reasons = (context.text(&response.reason), context.live_text(&reply.reason));
    if reply.status != response.status || reasons.0 != reasons.1 && !context.volatile.contains("reason") {
        let (status, reason, body) = (response.status, &response.reason, &reply.body);
        return Verdict::Differs(format!("   {status} {reason}\n   {} {} {body}", reply.status, reply.reason));
    }
    let mut live = reply.body.clone();
    // A task that was still running when it was recorded may have ended here.
    if path.ends_with("/tasks/{}/status")
        && response.data()["status"] == "running"
        && live["data"]["status"] == "stopped"
    {
        live["data"]["status"] = response.data()["status"].clone();
        live["data"].as_object_mut().map(|row| row.remove("exitstatus"));
    }
    // A failure without a body of JSON may have any body.
    let (recorded, live) = (empty_as_null(&response.body), empty_as_null(&live));
    context.value("", recorded, live);
    match context.differences.is_empty() {
        true => Verdict::Same,
        false => Verdict::Differs(context.differences.join("\n")),
    }
}

/// Whether a mark is heeded: recorders marked by keys, also where a key stands for a parameter or for an option, and what
/// is made up in the value of an option is known.
pub(super) fn may_vary(path: &str, marked: &str) -> bool {
    !marked.starts_with("errors.") && !matches!(path, "/nodes/{}/qemu/{}/config" | "/nodes/{}/qemu/{}/pending")
}

/// Whether a place in an agent's answer is what the guest has to say.
pub(super) fn is_guests_own(path: &str) -> bool {
    path.starts_with("data.result") || matches!(path, "data.out-data" | "data.err-data")
}

/// An empty body was recorded in either form.
fn empty_as_null(body: &Value) -> &Value {
    if body == "" { &Value::Null } else { body }
}

impl Context<'_> {
    fn differs(&mut self, path: &str, recorded: &dyn std::fmt::Display, live: &dyn std::fmt::Display) {
        self.differences.push(format!("   {path}: {recorded} here {live}"));
    }

    fn value(&mut self, path: &str, recorded: &Value, live: &Value) {
        let key = path.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
        let by_type = self.volatile.contains(path)
            || (is_measured(key, recorded) && !path.starts_with("errors."))
            || (self.is_machine && MACHINE.contains(&key))
            || (self.is_reported && REPORTED.contains(&key))
            || (self.is_guest && is_guests_own(path));
        match (recorded, live) {
            _ if by_type
                && !(recorded.is_array()
                    && recorded.as_array().is_some_and(|rows| rows.iter().all(Value::is_object))
                    && live.is_array()) =>
            {
                self.shape(path, recorded, live);
            }
            (Value::Object(old), Value::Object(new)) => {
                let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    // The rows of a history or a log that are not compared count in its length.
                    if path.is_empty() && key == "total" && (self.is_history || self.is_log) {
                        continue;
                    }
                    match (old.get(key), new.get(key)) {
                        (Some(old), Some(new)) => self.value(&below, old, new),
                        (Some(_), None) if LATER.contains(&key.as_str()) => {}
                        (Some(old), None) => self.differs(&below, old, &"nothing"),
                        (None, Some(new)) => self.differs(&below, &"nothing", new),
                        (None, None) => {}
                    }
                }
            }
            (Value::Array(old), Value::Array(new)) => self.list(path, old, new),
            (Value::String(old), Value::String(new)) => {
                let (old, new) = (self.text(old), self.live_text(new));
                let same = if LISTS.contains(&key) { items(&old) == items(&new) } else { old == new };
                if !same {
                    self.differs(path, &format!("{old:?}"), &format!("{new:?}"));
                }
            }
            (old, new) if old == new => {}
            // A float and an integer of the same value are one number.
            (Value::Number(old), Value::Number(new)) if old.as_f64() == new.as_f64() => {}
            (old, new) => self.differs(path, old, new),
        }
    }

    /// Whether two values are of one type, and objects have the same keys.
    fn shape(&mut self, path: &str, recorded: &Value, live: &Value) {
        let kind = |value: &Value| match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        if let (Value::Object(old), Value::Object(new)) = (recorded, live) {
            let (old, new): (BTreeSet<&String>, BTreeSet<&String>) = (old.keys().collect(), new.keys().collect());
            // Another machine may have more to tell.
            if !old.is_subset(&new) {
                self.differs(path, &format!("keys {old:?}"), &format!("{new:?}"));
            }
        } else if kind(recorded) != kind(live) {
            self.differs(path, &format!("{} {recorded}", kind(recorded)), &format!("{} {live}", kind(live)));
        }
    }

    fn list(&mut self, path: &str, old: &[Value], new: &[Value]) {
        if !old.iter().chain(new).all(Value::is_object) {
            let text = |one: &Value| one.as_str().map_or_else(|| with_sorted_keys(one), str::to_string);
            let mut old: Vec<String> = old.iter().map(|one| self.text(&text(one))).collect();
            let mut new: Vec<String> = new.iter().map(|one| self.live_text(&text(one))).collect();
            old.sort();
            new.sort();
            if old != new {
                self.differs(path, &format!("{old:?}"), &format!("{new:?}"));
            }
            return;
        }
        if self.is_inventory || (self.is_guest && is_guests_own(path)) {
            return self.inventory(path, old, new);
        }
        if self.is_log {
            return self.log(path, old, new);
        }
        let identity = IDENTITIES
            .iter()
            .find(|keys| old.iter().chain(new).all(|row| keys.iter().all(|key| row.get(*key).is_some())));
        let name = |row: &Value| {
            identity.map_or_else(
                || canonical(row),
                |keys| keys.iter().map(|key| row[*key].to_string()).collect::<Vec<_>>().join(" "),
            )
        };
        let named = |row: &Value| match identity {
            Some(&["upid"]) => row["upid"].to_string(),
            _ => self.text(&name(row)),
        };
        let live_named = |row: &Value| match identity {
            Some(&["upid"]) => (self.as_recorded)(&row["upid"].to_string()),
            _ => self.live_text(&name(row)),
        };
        let began = |id: &str| !self.is_history || (self.began)(id.trim_matches('"'));
        let mut rest: Vec<(String, &Value)> =
            new.iter().map(|row| (live_named(row), row)).filter(|(id, _)| began(id)).collect();
        let mut pairs = Vec::new();
        let mut missing = Vec::new();
        for (index, row) in old.iter().enumerate() {
            let id = named(row);
            if !began(&id) {
                continue;
            }
            match rest.iter().position(|(one, _)| *one == id) {
                Some(found) => pairs.push((index, row, rest.remove(found).1)),
                None => missing.push(row),
            }
        }
        // Tasks from before shift the pages of a history.
        let is_shifted = self.is_history && self.is_page;
        for row in missing.into_iter().filter(|_| !is_shifted) {
            self.differs(path, row, &"nothing");
        }
        for (_, row) in rest.into_iter().filter(|_| !is_shifted) {
            self.differs(path, &"nothing", row);
        }
        for (index, old, new) in pairs {
            self.value(&format!("{path}.{index}"), old, new);
        }
    }

    /// The lines of a log: those that were no other program's words, in their order.
    fn log(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let line = |row: &Value| row["t"].as_str().map_or_else(|| row.to_string(), str::to_string);
        let first = old.first().and_then(|row| row["n"].as_u64()).unwrap_or(1);
        for (number, row) in (first..).zip(new).filter(|(number, row)| row["n"] != *number) {
            self.differs(path, &format!("line {number}"), row);
        }
        let marked = |index: usize| self.volatile.contains(format!("{path}.{index}.t").as_str());
        let wanted: Vec<(bool, String)> =
            old.iter().enumerate().map(|(index, row)| (marked(index), self.text(&line(row)))).collect();
        let mut here = new.iter().map(|row| self.live_text(&line(row))).peekable();
        let mut differences = Vec::new();
        let mut may_skip = false;
        for (is_marked, text) in wanted {
            if is_marked {
                // The same line here is this one; else it is left out.
                here.next_if(|line| *line == text);
                may_skip = true;
                continue;
            }
            while may_skip && here.peek().is_some_and(|line| *line != text) {
                here.next();
            }
            may_skip = false;
            let found = here.next();
            if found.as_ref() != Some(&text) {
                differences.push((text, found.unwrap_or_else(|| "nothing".into())));
            }
        }
        differences.extend(here.map(|line| ("nothing".to_string(), line)));
        for (old, new) in differences {
            self.differs(path, &old, &new);
        }
    }

    /// Rows of a machine's inventory: every row here has the keys that rows were recorded with.
    fn inventory(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let keys =
            |row: &Value| row.as_object().map(|row| row.keys().cloned().collect::<BTreeSet<_>>()).unwrap_or_default();
        let always = old.iter().map(keys).reduce(|all, one| &all & &one);
        let ever: BTreeSet<String> = old.iter().flat_map(keys).collect();
        let Some(always) = always else { return };
        if new.is_empty() && !self.volatile.contains(path) {
            self.differs(path, &format!("rows of {ever:?}"), &"none");
        }
        for row in new {
            let own = keys(row);
            if !(always.is_subset(&own) && own.is_subset(&ever)) {
                self.differs(path, &format!("rows of {ever:?}"), row);
            }
        }
    }

    fn text(&self, recorded: &str) -> String {
        steady(recorded)
    }

    fn live_text(&self, live: &str) -> String {
        steady(&(self.as_recorded)(live))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(path: &str, recorded: Value, volatile: &[&str], live: Value) -> Option<String> {
        let exchange = json!({
            "n": 1, "as": "root ticket", "request": { "to": "a", "method": "GET", "path": path },
            "response": { "status": 200, "reason": "OK", "body": recorded }, "volatile": volatile,
        });
        let exchange: Exchange = serde_json::from_value(exchange).unwrap();
        let reply = Reply { status: 200, reason: "OK".into(), body: live };
        match compare(&exchange, &reply, &|text| text.into(), &|_| true) {
            Verdict::Same => None,
            Verdict::Differs(text) => Some(text.trim().to_string()),
            Verdict::NotServed | Verdict::LeftOut(_) => unreachable!(),
        }
    }

    #[test]
    fn another_value_key_or_type_differs() {
        let recorded = json!({ "data": { "cores": 2, "name": "a" } });
        let differs = |live: Value| verdict("/x", recorded.clone(), &[], live).unwrap();
        assert_eq!(differs(json!({ "data": { "cores": 3, "name": "a" } })), "data.cores: 2 here 3");
        assert_eq!(differs(json!({ "data": { "cores": "2", "name": "a" } })), "data.cores: 2 here \"2\"");
        assert_eq!(differs(json!({ "data": { "cores": 2 } })), "data.name: \"a\" here nothing");
        assert_eq!(differs(json!({ "data": { "cores": 2, "name": "a", "x": 1 } })), "data.x: nothing here 1");
    }

    #[test]
    fn of_marked_and_measured_values_only_the_type_counts() {
        let recorded = json!({ "data": { "pid": 1, "value": "x" } });
        assert_eq!(
            verdict("/x", recorded.clone(), &["data.value"], json!({ "data": { "pid": 2, "value": "y" } })),
            None
        );
        assert!(verdict("/x", recorded, &["data.value"], json!({ "data": { "pid": 2, "value": null } })).is_some());
    }

    #[test]
    fn rows_are_matched_by_identity_and_lists_have_no_order() {
        let recorded = json!({ "data": [{ "id": "a", "content": "x,y" }, { "id": "b", "content": "z" }] });
        let other = json!({ "data": [{ "id": "b", "content": "z" }, { "id": "a", "content": "y,x" }] });
        assert_eq!(verdict("/x", recorded.clone(), &[], other), None);
        let fewer = json!({ "data": [{ "id": "b", "content": "z" }] });
        assert!(verdict("/x", recorded, &[], fewer).unwrap().ends_with("here nothing"));
    }

    #[test]
    fn another_status_or_reason_differs() {
        let verdict = |status: u16, reason: &str| {
            let exchange = json!({
                "n": 1, "as": "root ticket", "request": { "to": "a", "method": "GET", "path": "/x" },
                "response": { "status": 403, "reason": "no", "body": { "data": null } }, "volatile": [],
            });
            let exchange: Exchange = serde_json::from_value(exchange).unwrap();
            let reply = Reply { status, reason: reason.into(), body: json!({ "data": null }) };
            matches!(compare(&exchange, &reply, &|text| text.into(), &|_| true), Verdict::Same)
        };
        assert!(verdict(403, "no"));
        assert!(!verdict(500, "no") && !verdict(403, "other"));
    }
}
