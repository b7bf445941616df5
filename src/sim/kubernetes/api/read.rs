//! Reading objects: one, or those of a kind.

use serde_json::{Value, json};

use super::select::Selection;
use super::status::Refusal;
use super::tables;
use super::{Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

impl Cluster {
    /// Reads what a path leads to.
    pub(super) fn read(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        let form = form(call)?;
        if place.kind.group == "metrics.k8s.io" {
            return self.measured(call, place);
        }
        if place.name.is_none() && call.query.get("watch").is_some_and(|text| matches!(text.as_str(), "true" | "1")) {
            return self.watch(call, place, form);
        }
        match (place.name, place.part) {
            (Some(name), None | Some("status")) => {
                let key = Key::new(&place.kind.stored(), place.namespace.unwrap_or_default(), name);
                let object = self.store.get(&key).cloned().ok_or_else(|| Refusal::not_found(place.kind, name))?;
                Ok(Reply::json(200, formed(&self.shown(place, object, call.now), form, place)))
            }
            (Some(_), Some("log")) => self.log(call, place),
            (Some(_), Some(part)) => Err(Refusal::not_simulated(&format!("get {}/{part}", place.kind.full_name()))),
            (None, _) => self.list(call, place, form),
        }
    }

    fn list(&mut self, call: &Call, place: Place<'_>, form: Form) -> Outcome {
        let text = |name: &str| call.query.get(name).map(String::as_str);
        let selection = Selection::parse(place.kind, text("labelSelector"), text("fieldSelector"))?;
        if let Some(wanted) = text("resourceVersion").filter(|text| !text.is_empty()) {
            let Ok(wanted) = wanted.parse::<u64>() else {
                return Err(Refusal::bad(format!(
                    "Invalid value: \"{wanted}\": strconv.ParseUint: parsing \"{wanted}\": invalid syntax"
                )));
            };
            if wanted > self.store.version() {
                return Err(Refusal::timeout());
            }
        }
        let limit = match text("limit") {
            None | Some("") => 0,
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Refusal::bad(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))?,
        };
        let from = match text("continue") {
            None | Some("") => 0,
            Some(token) => token
                .strip_prefix("sim")
                .and_then(|rest| rest.parse::<usize>().ok())
                .ok_or_else(|| Refusal::bad(format!("continue key is not valid: illegal base64 data: {token}")))?,
        };
        let chosen: Vec<Value> = self
            .store
            .list(&place.kind.stored(), place.namespace)
            .filter(|object| selection.has(object))
            .cloned()
            .collect();
        let all = chosen.len();
        let end = if limit == 0 { all } else { all.min(from + limit) };
        let items: Vec<Value> = chosen
            .into_iter()
            .take(end)
            .skip(from)
            .map(|object| {
                let mut object = self.shown(place, object, call.now);
                if form != Form::Plain {
                    return object;
                }
                if let Some(object) = object.as_object_mut() {
                    object.shift_remove("kind");
                    object.shift_remove("apiVersion");
                }
                object
            })
            .collect();
        let mut metadata = json!({ "resourceVersion": self.store.version().to_string() });
        if end < all {
            metadata["continue"] = json!(format!("sim{end}"));
            if selection.is_everything() {
                metadata["remainingItemCount"] = json!(all - end);
            }
        }
        match form {
            Form::Table => return Ok(Reply::json(200, tables::table(place.kind, &items, &metadata, call.now))),
            Form::Metadata => {
                let items: Vec<Value> = items.iter().map(tables::partial).collect();
                return Ok(Reply::json(
                    200,
                    json!({
                        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
                    }),
                ));
            }
            Form::Plain => {}
        }
        Ok(Reply::json(
            200,
            json!({
                "kind": format!("{}List", place.kind.kind), "apiVersion": place.kind.api_version(),
                "metadata": metadata, "items": items,
            }),
        ))
    }

    /// An object as it is told: with its kind first, and as its newest form where it has several.
    pub(super) fn shown(&self, place: Place<'_>, object: Value, now: u64) -> Value {
        let object = self.freshened(&place.kind.stored(), object, now);
        let mut shown = json!({ "kind": place.kind.kind, "apiVersion": place.kind.api_version() });
        let object = if place.kind.group == "events.k8s.io" { newer_event(object) } else { object };
        if let (Some(shown), Value::Object(own)) = (shown.as_object_mut(), object) {
            shown.extend(own.into_iter().filter(|(key, _)| key != "kind" && key != "apiVersion"));
        }
        shown
    }
}

/// An event as `events.k8s.io/v1` has it.
fn newer_event(event: Value) -> Value {
    let mut newer = serde_json::Map::new();
    for (key, value) in event.as_object().into_iter().flatten() {
        let key = match key.as_str() {
            "involvedObject" => "regarding",
            "message" => "note",
            "firstTimestamp" => "deprecatedFirstTimestamp",
            "lastTimestamp" => "deprecatedLastTimestamp",
            "count" => "deprecatedCount",
            "source" => "deprecatedSource",
            "reportingComponent" => "reportingController",
            other => other,
        };
        newer.insert(key.to_owned(), value.clone());
    }
    Value::Object(newer)
}

/// An object in the form that is wanted.
pub(super) fn formed(object: &Value, form: Form, place: Place<'_>) -> Value {
    match form {
        Form::Plain => object.clone(),
        Form::Metadata => tables::partial(object),
        Form::Table => {
            let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            tables::table(place.kind, std::slice::from_ref(object), &metadata, crate::sim::chance::now())
        }
    }
}

/// In which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Table,
    Metadata,
}

/// The first form that there is of those that are accepted.
fn form(call: &Call) -> Result<Form, Refusal> {
    let Some(accept) = &call.accept else { return Ok(Form::Plain) };
    for one in accept.split(',') {
        let mut words = one.split(';').map(str::trim);
        let kind = words.next().unwrap_or_default();
        let wanted = words.find_map(|word| word.strip_prefix("as="));
        match (kind, wanted) {
            ("application/json", Some("Table")) => return Ok(Form::Table),
            ("application/json", Some(wanted)) if wanted.starts_with("PartialObjectMetadata") => {
                return Ok(Form::Metadata);
            }
            ("application/json" | "*/*" | "application/*", None) => return Ok(Form::Plain),
            _ => {}
        }
    }
    Err(Refusal::not_acceptable())
}
