//! Reading objects: one, or those of a kind.

use serde_json::{Value, json};

use super::select::Selection;
use super::status::{Cause, Refusal};
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
            (Some(_), Some("scale")) => self.read_scale(place),
            (Some(_), Some(part)) => Err(Refusal::not_simulated(&format!("get {}/{part}", place.kind.full_name()))),
            (None, _) => self.list(call, place, form),
        }
    }

    fn list(&mut self, call: &Call, place: Place<'_>, form: Form) -> Outcome {
        let text = |name: &str| call.query.get(name).map(String::as_str);
        let selection = Selection::parse(place.kind, text("labelSelector"), text("fieldSelector"))?;
        let (from, pinned) = self.check_list(call)?;
        let limit = match text("limit") {
            None | Some("") => 0,
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Refusal::bad(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))?,
        };
        let version = text("resourceVersion").filter(|_| text("resourceVersionMatch") == Some("Exact"));
        // All pages of a list tell of the same moment.
        let version =
            pinned.or_else(|| version.and_then(|text| text.parse().ok())).unwrap_or_else(|| self.store.version());
        let chosen: Vec<Value> = self
            .store
            .list_at(&place.kind.stored(), place.namespace, version)
            .into_iter()
            .filter(|object| selection.has(object))
            .collect();
        let all = chosen.len();
        let end = if limit == 0 { all } else { all.min(from.saturating_add(limit)) };
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if end < all {
            metadata["continue"] = json!(format!("sim{version}-{end}"));
            if selection.is_everything() {
                metadata["remainingItemCount"] = json!(all - end);
            }
        }
        let items = chosen.into_iter().take(end).skip(from).collect();
        Ok(Reply::json(200, self.list_of(place, items, form, metadata, call.now)))
    }

    /// Objects as a list.
    pub(super) fn list_of(&self, place: Place<'_>, items: Vec<Value>, form: Form, metadata: Value, now: u64) -> Value {
        let mut metadata = metadata;
        if place.kind.custom.is_some() && form == Form::Plain && metadata.get("continue").is_none() {
            metadata["continue"] = json!("");
        }
        if metadata["resourceVersion"].is_null() {
            metadata["resourceVersion"] = json!(self.store.version().to_string());
        }
        let plain = |object: Value| {
            let mut object = self.shown(place, object, now);
            if form == Form::Plain
                && let Some(object) = object.as_object_mut()
            {
                object.shift_remove("kind");
                object.shift_remove("apiVersion");
            }
            object
        };
        let items: Vec<Value> = items.into_iter().map(plain).collect();
        match form {
            Form::Table(include) => tables::table(place.kind, &items, &metadata, include.word(), now),
            Form::Metadata => {
                let items: Vec<Value> = items.iter().map(tables::partial).collect();
                json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
                })
            }
            Form::Plain => json!({
                "kind": format!("{}List", place.kind.kind), "apiVersion": place.kind.api_version(),
                "metadata": metadata, "items": items,
            }),
        }
    }

    /// Looks at what is asked of a list beside which objects; gives where it goes on.
    fn check_list(&self, call: &Call) -> Result<(usize, Option<u64>), Refusal> {
        let text = |name: &str| call.query.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let rule = text("resourceVersionMatch");
        if rule.is_some() && text("resourceVersion").is_none() {
            let message = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(forbidden_option("resourceVersionMatch", message));
        }
        if let Some(token) = text("continue") {
            if text("resourceVersion").is_some_and(|version| version != "0") {
                return Err(Refusal::bad("specifying resource version is not allowed when using continue"));
            }
            let wrong =
                || Refusal::bad("invalid continue token: continue key is not valid: it is not one of this server");
            let parts = token.strip_prefix("sim").and_then(|rest| rest.split_once('-'));
            let parts = parts.and_then(|(version, from)| Some((version.parse::<u64>().ok()?, from.parse().ok()?)));
            let (version, from) = parts.ok_or_else(wrong)?;
            if version > self.store.version() || !self.store.remembers(version) {
                return Err(Refusal::expired(
                    "The provided continue parameter is too old to display a consistent list result.",
                ));
            }
            return Ok((from, Some(version)));
        }
        if let Some(wanted) = text("resourceVersion") {
            let Ok(number) = wanted.parse::<u64>() else {
                return Err(Refusal::bad(format!(
                    "invalid resource version: resourceVersion: Invalid value: \"{wanted}\": strconv.ParseUint: parsing \"{wanted}\": invalid syntax"
                )));
            };
            if number > self.store.version() {
                return Err(Refusal::too_new(number, self.store.version()));
            }
            if rule == Some("Exact") && number != 0 && !self.store.remembers(number) {
                return Err(Refusal::expired("The resourceVersion for the provided list is too old."));
            }
        }
        Ok((0, None))
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

/// Refuses an option of a list that does not go with the others.
pub(super) fn forbidden_option(field: &str, message: &str) -> Refusal {
    let cause = Cause { reason: "FieldValueForbidden", message: message.into(), field: field.into() };
    Refusal::invalid("meta.k8s.io", "ListOptions", "", &[cause])
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
        Form::Table(include) => {
            let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            let now = crate::sim::chance::now();
            tables::table(place.kind, std::slice::from_ref(object), &metadata, include.word(), now)
        }
    }
}

/// In which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Table(Include),
    Metadata,
}

/// What comes with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    fn of(call: &Call) -> Result<Self, Refusal> {
        match call.query.get("includeObject").map_or("", String::as_str) {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::Nothing),
            "Object" => Ok(Include::Object),
            other => Err(Refusal::bad(format!("unrecognized includeObject value: \"{other}\""))),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Include::Nothing => "None",
            Include::Metadata => "Metadata",
            Include::Object => "Object",
        }
    }
}

/// The first form that there is of those that are accepted.
fn form(call: &Call) -> Result<Form, Refusal> {
    let Some(accept) = &call.accept else { return Ok(Form::Plain) };
    for one in accept.split(',') {
        let mut words = one.split(';').map(str::trim);
        let kind = words.next().unwrap_or_default();
        let wanted = words.find_map(|word| word.strip_prefix("as="));
        match (kind, wanted) {
            ("application/json", Some("Table")) => return Ok(Form::Table(Include::of(call)?)),
            ("application/json", Some(wanted)) if wanted.starts_with("PartialObjectMetadata") => {
                return Ok(Form::Metadata);
            }
            ("application/json" | "*/*" | "application/*", None) => return Ok(Form::Plain),
            _ => {}
        }
    }
    Err(Refusal::not_acceptable())
}
