//! Objects in the form in which they are compared: without what the API keeps for itself, and a Secret's values hidden.

use serde_json::Value as Json;

use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, Value};

/// What the API itself writes into the metadata of an object, and what its address tells.
const KEPT_BY_THE_API: [&str; 10] = [
    "name",
    "namespace",
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Annotations that say nothing of what is wanted: one counts, the other is a copy of what was sent.
const NOTES: [&str; 2] =
    ["deprecated.daemonset.template.generation", "kubectl.kubernetes.io/last-applied-configuration"];

/// An object as it is compared.
pub(super) fn bare(object: &Value) -> Value {
    let Value::Map(object) = object else { return object.clone() };
    let mut object = object.clone();
    object.remove("kind");
    object.remove("status");
    if let Some(Value::Map(metadata)) = object.get_mut("metadata") {
        KEPT_BY_THE_API.iter().for_each(|key| drop(metadata.remove(*key)));
        if let Some(Value::Map(annotations)) = metadata.get_mut("annotations") {
            NOTES.iter().for_each(|key| drop(annotations.remove(*key)));
        }
    }
    Value::Map(pruned(object))
}

/// An object out of an answer, whole, but without the notes of who owns what.
pub(in crate::primitives::kubernetes) fn seen(object: &Json) -> Value {
    let mut value = Value::from(object.clone());
    if let (Some("SecretList"), Some(Json::Array(items))) =
        (object.get("kind").and_then(Json::as_str), object.get("items"))
    {
        let secret = |item: &Json| {
            let mut item = item.clone();
            item["kind"] = Json::from("Secret");
            item["apiVersion"] = Json::from("v1");
            seen(&item)
        };
        let items = items.iter().filter(|item| item.is_object()).map(secret).collect();
        if let Value::Map(map) = &mut value {
            map.insert("items".to_owned(), Value::List(items));
        }
    }
    let is_secret = value.get("kind").and_then(Value::as_text) == Some("Secret")
        && value.get("apiVersion").and_then(Value::as_text) == Some("v1");
    let Value::Map(map) = &mut value else { return value };
    if let Some(Value::Map(metadata)) = map.get_mut("metadata") {
        metadata.remove("managedFields");
        if is_secret && let Some(Value::Map(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(NOTES[1]);
        }
    }
    if is_secret && let Some(Value::Map(data)) = map.get_mut("data") {
        for value in data.values_mut() {
            if let Value::Text(text) = value {
                *value = Value::Secret(Secret::new(text.as_str()));
            }
        }
    }
    value
}

/// For maps there is no difference between absent, null and empty.
fn pruned(map: Map) -> Map {
    let kept = map.into_iter().filter_map(|(key, value)| match value {
        Value::Null => None,
        Value::Map(map) => Some(pruned(map)).filter(|map| !map.is_empty()).map(|map| (key, Value::Map(map))),
        value => Some((key, value)),
    });
    kept.collect()
}

/// What was asked for, in the words of the answer.
pub(super) fn in_words_of(asked: &Value, answer: &Value) -> Value {
    match (asked, answer) {
        (Value::Unknown(_), _) => asked.clone(),
        (Value::Map(asked), Value::Map(answer)) => {
            let said = asked.iter().map(|(key, value)| match answer.get(key) {
                Some(answer) => (key.clone(), in_words_of(value, answer)),
                None => (key.clone(), value.clone()),
            });
            Value::Map(said.collect())
        }
        (Value::List(asked), Value::List(answer)) if asked.len() == answer.len() => {
            Value::List(asked.iter().zip(answer).map(|(asked, answer)| with_unknowns_of(asked, answer)).collect())
        }
        _ => answer.clone(),
    }
}

/// The answer, with what was not known when it was asked for.
pub(super) fn with_unknowns_of(asked: &Value, answer: &Value) -> Value {
    match (asked, answer) {
        (Value::Unknown(_), _) => asked.clone(),
        (Value::Map(asked), Value::Map(answer)) => {
            let mut whole = answer.clone();
            for (key, value) in asked.iter().filter(|(_, value)| !value.unknowns().is_empty()) {
                let said = answer.get(key).map_or_else(|| value.clone(), |answer| with_unknowns_of(value, answer));
                whole.insert(key.clone(), said);
            }
            Value::Map(whole)
        }
        (Value::List(asked), Value::List(answer)) if asked.len() == answer.len() => {
            Value::List(asked.iter().zip(answer).map(|(asked, answer)| with_unknowns_of(asked, answer)).collect())
        }
        _ => answer.clone(),
    }
}

/// What can be sent although something is not known: what is there stands in for it, or nothing.
pub(super) fn sendable(asked: &Value, live: Option<&Value>) -> Option<Json> {
    Some(match asked {
        Value::Unknown(_) => live?.to_json()?,
        Value::Map(map) => {
            let known = map
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), sendable(value, live.and_then(|live| live.get(key)))?)));
            Json::Object(known.collect())
        }
        Value::List(items) => {
            let live = match live {
                Some(Value::List(live)) if live.len() == items.len() => live.iter().map(Some).collect(),
                _ => vec![None; items.len()],
            };
            Json::Array(items.iter().zip(live).filter_map(|(item, live)| sendable(item, live)).collect())
        }
        known => known.to_json()?,
    })
}

/// One over the other: what is asked for is set, all else stays.
pub(super) fn over(have: &Value, asked: &Value) -> Value {
    match (have, asked) {
        (Value::Map(have), Value::Map(asked)) => {
            let mut whole = have.clone();
            for (key, value) in asked {
                let value = whole.get(key).map_or_else(|| value.clone(), |have| over(have, value));
                whole.insert(key.clone(), value);
            }
            Value::Map(whole)
        }
        _ => asked.clone(),
    }
}

/// Without what an answer takes away from what was there.
pub(super) fn without_what_goes(have: &Value, live: &Value, answer: &Value) -> Value {
    let (Value::Map(have), Value::Map(live), Value::Map(answer)) = (have, live, answer) else { return have.clone() };
    let kept = have.iter().filter_map(|(key, value)| match (live.get(key), answer.get(key)) {
        (Some(_), None) => None,
        (Some(live), Some(answer)) => Some((key.clone(), without_what_goes(value, live, answer))),
        _ => Some((key.clone(), value.clone())),
    });
    Value::Map(kept.collect())
}

/// An object that is only planned: what it says is known, what the API will add is not.
pub(in crate::primitives::kubernetes) fn open(value: &Value, origin: &Unknown) -> Value {
    match value {
        Value::Map(map) => {
            let fields = map.iter().map(|(key, value)| (key.clone(), open(value, &origin.part(key))));
            Value::Unknown(origin.clone().with_fields(fields.collect()))
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unknown() -> Value {
        Value::Unknown(Unknown::from_origin("x"))
    }

    #[test]
    fn what_the_api_keeps_for_itself_is_not_compared() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "status": { "a": 1 }, "data": {},
            "metadata": { "name": "a", "uid": "u", "labels": { "x": "1" }, "annotations": {
                "deprecated.daemonset.template.generation": "2",
            } },
        });
        let wanted = json!({ "apiVersion": "v1", "metadata": { "labels": { "x": "1" } } });
        assert_eq!(bare(&Value::from(object)), Value::from(wanted));
    }

    #[test]
    fn the_values_of_a_secret_are_hidden_wherever_they_stand() {
        let note = json!({ "kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":{\"k\":\"plain\"}}" });
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "annotations": note }, "data": { "k": "cGxhaW4=" },
        });
        let shown = seen(&object).to_display_json().to_string();
        assert!(shown.contains("•••") && !shown.contains("plain") && !shown.contains("cGxhaW4="), "{shown}");
    }

    #[test]
    fn what_was_asked_is_compared_as_the_api_says_it() {
        let asked = Value::from(json!({ "cpu": "1000m", "list": [{ "a": 1 }] }));
        let answer = Value::from(json!({ "cpu": "1", "list": [{ "a": 1, "filled": true }], "more": 1 }));
        let said = in_words_of(&asked, &answer);
        assert_eq!(said, Value::from(json!({ "cpu": "1", "list": [{ "a": 1, "filled": true }] })));
        let later = Value::from(json!({ "cpu": "2", "mine": 1 }));
        assert_eq!(over(&later, &said).get("mine"), Some(&Value::Int(1)));
    }

    #[test]
    fn what_is_left_out_goes_and_what_others_added_since_stays() {
        let live = Value::from(json!({ "data": { "a": "1", "b": "2" } }));
        let answer = Value::from(json!({ "data": { "a": "1" } }));
        let have = Value::from(json!({ "data": { "a": "1", "b": "2", "theirs": "3" } }));
        assert_eq!(
            without_what_goes(&have, &live, &answer),
            Value::from(json!({ "data": { "a": "1", "theirs": "3" } }))
        );
    }

    #[test]
    fn what_is_not_known_is_asked_with_what_is_there_in_its_place() {
        let asked = Value::Map(Map::from([
            ("a".to_owned(), unknown()),
            ("b".to_owned(), unknown()),
            ("c".to_owned(), Value::Int(1)),
        ]));
        let live = Value::from(json!({ "a": "old" }));
        let sent = sendable(&asked, Some(&live)).unwrap();
        assert_eq!(sent, json!({ "a": "old", "c": 1 }));
        let answer = with_unknowns_of(&asked, &Value::from(sent));
        assert_eq!(
            (answer.get("a"), answer.get("b"), answer.get("c")),
            (Some(&unknown()), Some(&unknown()), Some(&Value::Int(1)))
        );
    }
}
