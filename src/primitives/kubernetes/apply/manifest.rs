//! What is applied, as it is written down: maps of a playbook, or the documents of a YAML text.

use crate::error::{Class, Error, Result};
use crate::inputs::formats::{base64, yaml};
use crate::run::deferral::{self, Deferral};
use crate::run::event::Mode;
use crate::run::scope;
use crate::run::secret::{Redactor, Secret};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, Value};

/// One object as it should be.
#[derive(Debug, Clone)]
pub(in crate::primitives::kubernetes) struct Manifest {
    /// The group; empty for the core.
    pub group: String,
    /// The version, as in `v1`.
    pub version: String,
    /// The kind, as in `Deployment`.
    pub kind: String,
    /// The namespace, where it names one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// All of it, fit to be sent: no nulls, no status, a Secret's values in base64.
    pub body: Map,
}

/// What people call an object: `apps/Deployment:monitoring/grafana`, `Namespace:ai`.
pub(in crate::primitives::kubernetes) fn address(
    group: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> String {
    let kind = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
    match namespace {
        Some(namespace) => format!("{kind}:{namespace}/{name}"),
        None => format!("{kind}:{name}"),
    }
}

/// Group and version out of `apps/v1`.
pub(in crate::primitives::kubernetes) fn split_version(api_version: &str) -> (String, String) {
    match api_version.split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), api_version.to_owned()),
    }
}

impl Manifest {
    /// The objects in a value: a map, a list of maps, or YAML with one or more documents. `place` is what errors call it.
    pub fn all(value: Value, place: &str) -> Result<Vec<Manifest>> {
        let mut found = Vec::new();
        collect(value, place, &mut found)?;
        Ok(found)
    }

    fn of(mut body: Map, place: &str) -> Result<Manifest> {
        let api_version = text(&body, "apiVersion", place)?;
        let kind = text(&body, "kind", place)?;
        let (group, version) = split_version(&api_version);
        let shown = format!("{place}: {kind}");
        body.remove("status");
        let metadata = match body.get_mut("metadata") {
            Some(Value::Map(metadata)) => metadata,
            _ => return Err(wrong(&shown, "it has no `metadata`", "each object has a name: `metadata: #{ name: … }`")),
        };
        for made_by_the_api in
            ["managedFields", "creationTimestamp", "resourceVersion", "uid", "generation", "selfLink"]
        {
            metadata.remove(made_by_the_api);
        }
        if metadata.contains_key("generateName") {
            let help = "an object that is applied has a name of its own: `name` in place of `generateName`";
            return Err(wrong(&shown, "it has no name that stays", help));
        }
        let name = text(metadata, "name", &shown)?;
        let namespace = match metadata.get("namespace") {
            None | Some(Value::Null) => None,
            Some(_) => Some(text(metadata, "namespace", &shown)?).filter(|namespace| !namespace.is_empty()),
        };
        let mut body = without_nulls(body);
        if group.is_empty() && kind == "Secret" {
            conceal(&mut body, &shown)?;
        }
        Ok(Manifest { group, version, kind, namespace, name, body })
    }

    /// What people call it.
    pub fn address(&self) -> String {
        address(&self.group, &self.kind, self.namespace.as_deref(), &self.name)
    }

    /// Puts it into a namespace.
    pub fn settle_in(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
        if let Some(Value::Map(metadata)) = self.body.get_mut("metadata") {
            metadata.insert("namespace".to_owned(), Value::text(namespace));
        }
    }
}

fn collect(value: Value, place: &str, found: &mut Vec<Manifest>) -> Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::List(items) => {
            let mut items = items.into_iter().enumerate();
            items.try_for_each(|(index, item)| collect(item, &format!("{place}[{index}]"), found))
        }
        Value::Map(map) if is_list(&map) => collect(map.get("items").cloned().unwrap_or(Value::Null), place, found),
        Value::Map(map) => {
            found.push(Manifest::of(map, place)?);
            Ok(())
        }
        Value::Text(text) => documents(&text, place, None, found),
        Value::Secret(secret) => documents(secret.expose(), place, Some(&scope::run()?.redactor), found),
        Value::Unknown(unknown) => Err(not_yet(&unknown, place)),
        _ => Err(wrong(
            place,
            "it is no object",
            "an object is a map, or YAML text, with `apiVersion`, `kind` and `metadata`",
        )),
    }
}

/// Whether it is a list of objects, as in `kind: List`.
fn is_list(map: &Map) -> bool {
    let is_named_so = map.get("kind").and_then(Value::as_text).is_some_and(|kind| kind.ends_with("List"));
    is_named_so && matches!(map.get("items"), Some(Value::List(_)))
}

/// The documents of a text. What the redactor knows of in them stays secret.
fn documents(text: &str, place: &str, hides: Option<&Redactor>, found: &mut Vec<Manifest>) -> Result<()> {
    let documents = yaml::parse_all(place, text).map_err(|error| match hides {
        None => error,
        // The parser's words may quote what must not show.
        Some(_) => wrong(place, "it is not valid YAML", "correct it, or the template that wrote it"),
    })?;
    for (index, document) in documents.into_iter().enumerate() {
        let mut value = Value::from(document);
        if let Some(redactor) = hides {
            hide(&mut value, redactor);
        }
        let place = if index == 0 { place.to_owned() } else { format!("{place}, document {}", index + 1) };
        match value {
            Value::Text(_) | Value::Secret(_) => {
                return Err(wrong(&place, "it is no object", "an object has `apiVersion`, `kind` and `metadata`"));
            }
            value => collect(value, &place, found)?,
        }
    }
    Ok(())
}

fn hide(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::Text(text) if redactor.finds(text) => *value = Value::Secret(Secret::new(text.as_str())),
        Value::List(items) => items.iter_mut().for_each(|item| hide(item, redactor)),
        Value::Map(map) => map.values_mut().for_each(|item| hide(item, redactor)),
        _ => {}
    }
}

/// A text that has to be there, and known: a dry run cannot say what is applied without.
fn text(map: &Map, key: &str, place: &str) -> Result<String> {
    match map.get(key) {
        Some(Value::Text(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Unknown(unknown)) => Err(not_yet(unknown, &format!("{place}: `{key}`"))),
        Some(Value::Secret(_)) => {
            Err(wrong(place, &format!("its `{key}` is a secret"), "what something is called shows everywhere"))
        }
        None | Some(Value::Null | Value::Text(_)) => Err(wrong(
            place,
            &format!("it has no `{key}`"),
            "an object has `apiVersion`, `kind` and `metadata` with `name`",
        )),
        Some(_) => Err(wrong(place, &format!("its `{key}` is no text"), "put it in quotes")),
    }
}

/// A dry run goes on without what is applied here; a run has nothing to wait for.
fn not_yet(unknown: &Unknown, place: &str) -> Error {
    if deferral::mode() == Mode::DryRun {
        deferral::raise(Deferral { needs: unknown.clone(), doing: place.to_owned() });
    }
    unknown.needed(place)
}

fn wrong(place: &str, what: &str, help: &str) -> Error {
    Error::new(Class::Script, format!("{place}: {what}")).help(help)
}

/// Without the nulls in maps: the API makes something else of them than nothing.
fn without_nulls(map: Map) -> Map {
    let clean = |value: Value| match value {
        Value::Map(map) => Value::Map(without_nulls(map)),
        Value::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| if let Value::Map(map) = item { Value::Map(without_nulls(map)) } else { item })
                .collect(),
        ),
        value => value,
    };
    map.into_iter().filter(|(_, value)| *value != Value::Null).map(|(key, value)| (key, clean(value))).collect()
}

/// Makes the values of a Secret secret, and of `stringData` what the API makes of it: it keeps that apart from `data`, so that a key
/// which is left out later would stay for ever.
fn conceal(body: &mut Map, place: &str) -> Result<()> {
    let says_nothing = !body.contains_key("data") && !body.contains_key("stringData");
    let mut data = match body.remove("data") {
        None => Map::new(),
        Some(Value::Map(data)) => data,
        Some(_) => return Err(wrong(place, "its `data` is no map", "it is a map of texts in base64")),
    };
    for (key, value) in &mut data {
        match value {
            Value::Text(text) => {
                if base64::decode(text).is_err() {
                    let help = "`k.secret` takes plain text and makes base64 of it; so does `stringData`";
                    return Err(wrong(place, &format!("`data.{key}` is not base64"), help));
                }
                *value = Value::Secret(Secret::new(text.as_str()));
            }
            Value::Secret(_) | Value::Unknown(_) => {}
            _ => return Err(wrong(place, &format!("`data.{key}` is no text"), "put it in quotes")),
        }
    }
    match body.remove("stringData") {
        None => {}
        Some(Value::Map(plain)) => {
            for (key, value) in plain {
                let encoded = encoded(&value)
                    .ok_or_else(|| wrong(place, &format!("`stringData.{key}` is no text"), "put it in quotes"))?;
                data.insert(key, encoded);
            }
        }
        Some(_) => return Err(wrong(place, "its `stringData` is no map", "it is a map of texts")),
    }
    if !says_nothing {
        body.insert("data".to_owned(), Value::Map(data));
    }
    Ok(())
}

/// A value of a Secret in base64, which is as secret as itself. `None` where it is no text.
pub(in crate::primitives::kubernetes) fn encoded(value: &Value) -> Option<Value> {
    let plain = match value {
        Value::Text(text) => text.as_str(),
        Value::Secret(secret) => secret.expose(),
        Value::Unknown(unknown) => return Some(Value::Unknown(unknown.clone().without_template())),
        _ => return None,
    };
    Some(Value::Secret(Secret::new(base64::encode(plain.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(value: Value) -> Result<Vec<Manifest>> {
        Manifest::all(value, "`apply`")
    }

    fn only(json: serde_json::Value) -> Manifest {
        all(Value::from(json)).unwrap().remove(0)
    }

    #[test]
    fn maps_lists_and_the_documents_of_a_text_are_all_objects() {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "n" } });
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [map, map] });
        let text = "---\n# nothing\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: n}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n";
        let addresses = |value: Value| -> Vec<String> { all(value).unwrap().iter().map(Manifest::address).collect() };
        assert_eq!(addresses(Value::from(json!([map, list]))), ["ConfigMap:n/a"; 3]);
        assert_eq!(addresses(Value::text(text)), ["apps/Deployment:n/b", "Namespace:c"]);
    }

    #[test]
    fn what_the_api_makes_is_not_sent_back_and_nulls_are_left_out() {
        let manifest = only(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a", "uid": "u", "managedFields": [], "labels": { "x": null, "y": "1" } },
            "data": null, "status": {},
        }));
        let sent = Value::Map(manifest.body).to_json().unwrap();
        let metadata = json!({ "name": "a", "labels": { "y": "1" } });
        assert_eq!(sent, json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }));
    }

    #[test]
    fn string_data_becomes_data_and_wins_over_it() {
        let manifest = only(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" },
            "data": { "old": "b2xk", "both": "b2xk" }, "stringData": { "both": "new" },
        }));
        let body = Value::Map(manifest.body);
        assert_eq!(body.to_display_json()["data"], json!({ "old": "•••", "both": "•••" }));
        assert_eq!(body.to_json().unwrap()["data"], json!({ "old": "b2xk", "both": "bmV3" }));
        assert!(body.get("stringData").is_none());
    }

    #[test]
    fn what_is_no_object_is_told_with_its_place() {
        for (value, says) in [
            (json!({ "kind": "ConfigMap" }), "`apply`: it has no `apiVersion`"),
            (json!([{ "apiVersion": "v1", "kind": "ConfigMap" }]), "`apply`[0]: ConfigMap: it has no `metadata`"),
            (
                json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "generateName": "a-" } }),
                "`apply`: Pod: it has no name that stays",
            ),
            (
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "data": { "k": "p%" } }),
                "`apply`: Secret: `data.k` is not base64",
            ),
            (json!("just text"), "`apply`: it is no object"),
            (json!(5), "`apply`: it is no object"),
        ] {
            assert_eq!(all(Value::from(value)).unwrap_err().message(), says);
        }
    }
}
