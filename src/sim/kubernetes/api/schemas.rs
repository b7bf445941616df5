//! What objects consist of, as OpenAPI tells it: from the table of types for built-in kinds, and as their definitions say for
//! custom ones.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::types::{self, Items, Type};

/// The name of a type in documents: `io.k8s.api.apps.v1.Deployment`.
fn full(name: &str) -> String {
    let place = match name.split('.').next().unwrap_or_default() {
        "meta" => "io.k8s.apimachinery.pkg.apis",
        "apiextensions" => "io.k8s.apiextensions-apiserver.pkg.apis",
        "apiregistration" => "io.k8s.kube-aggregator.pkg.apis",
        _ => "io.k8s.api",
    };
    format!("{place}.{name}")
}

/// The types that are told, and those that are still to be.
struct Book {
    told: Map<String, Value>,
    mentioned: BTreeSet<&'static str>,
}

impl Book {
    fn of(&mut self, of: &Type) -> Value {
        match of {
            Type::Text => json!({ "type": "string" }),
            Type::Number => json!({ "type": "integer" }),
            Type::Flag => json!({ "type": "boolean" }),
            Type::Quantity => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            Type::Any => json!({}),
            Type::Free => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
            Type::Named(name) => {
                self.mentioned.insert(name);
                json!({ "allOf": [{ "$ref": format!("#/components/schemas/{}", full(name)) }] })
            }
            Type::List(item, items) => {
                let mut list = json!({ "type": "array", "items": self.of(item) });
                match items {
                    Items::Whole => list["x-kubernetes-list-type"] = json!("atomic"),
                    Items::Set => {
                        list["x-kubernetes-list-type"] = json!("set");
                        list["x-kubernetes-patch-strategy"] = json!("merge");
                    }
                    Items::Keyed(keys) => {
                        list["x-kubernetes-list-type"] = json!("map");
                        list["x-kubernetes-list-map-keys"] = json!(keys);
                        list["x-kubernetes-patch-strategy"] = json!("merge");
                        list["x-kubernetes-patch-merge-key"] = json!(keys.first());
                    }
                }
                list
            }
            Type::Map { fields, rest, whole } => {
                let mut map = json!({ "type": "object" });
                if !fields.is_empty() {
                    let mut own = Map::new();
                    for (name, field) in fields.iter() {
                        own.insert(name.clone(), self.of(&field.of));
                    }
                    map["properties"] = Value::Object(own);
                }
                if let Some(rest) = rest {
                    map["additionalProperties"] = self.of(rest);
                }
                if *whole {
                    map["x-kubernetes-map-type"] = json!("atomic");
                }
                map
            }
        }
    }

    /// Tells what was mentioned, and what that mentions, until nothing is left.
    fn finish(mut self) -> Map<String, Value> {
        while let Some(name) = self.mentioned.pop_first() {
            let place = full(name);
            if !self.told.contains_key(&place) {
                // Against types that mention themselves.
                self.told.insert(place.clone(), Value::Null);
                let of = Type::Named(name).resolved().clone();
                let schema = self.of(&of);
                self.told.insert(place, schema);
            }
        }
        self.told
    }
}

fn is_of(kind: &Kind) -> Value {
    json!([{ "group": kind.group, "version": kind.version, "kind": kind.kind }])
}

/// The schemas of some kinds, and of all that they mention.
pub(super) fn of<'a>(kinds: impl Iterator<Item = &'a Kind>) -> Value {
    let mut book = Book { told: Map::new(), mentioned: BTreeSet::new() };
    let mut own = Vec::new();
    for kind in kinds {
        match (&kind.custom, &kind.of) {
            (Some(version), _) => {
                let reversed: Vec<&str> = kind.group.split('.').rev().collect();
                let name = format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind);
                let mut schema = version["schema"]["openAPIV3Schema"].as_object().cloned().unwrap_or_default();
                let mut fields = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
                fields.extend(["apiVersion", "kind"].map(|field| (field.to_owned(), json!({ "type": "string" }))));
                fields.insert("metadata".to_owned(), book.of(&types::METADATA));
                schema.insert("type".to_owned(), json!("object"));
                schema.insert("properties".to_owned(), Value::Object(fields));
                schema.insert("x-kubernetes-group-version-kind".to_owned(), is_of(kind));
                book.told.insert(name, Value::Object(schema));
            }
            (None, Type::Named(name)) => {
                book.mentioned.insert(name);
                own.push((full(name), is_of(kind)));
            }
            (None, _) => {}
        }
    }
    let mut all = book.finish();
    for (name, kinds) in own {
        if let Some(schema) = all.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = kinds;
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::*;

    #[test]
    fn a_kind_is_told_with_all_that_it_mentions() {
        let kind = kinds::find("apps", "v1", "deployments").unwrap();
        let all = of(std::iter::once(&**kind));
        let own = &all["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(own["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
        assert_eq!(all["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["replicas"], json!({ "type": "integer" }));
        let containers = &all["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let text = all.to_string();
        for (name, schema) in all.as_object().unwrap() {
            assert!(schema.is_object(), "{name}");
        }
        let mentioned = text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        assert!(mentioned.into_iter().all(|name| all.get(name).is_some()));
    }
}
