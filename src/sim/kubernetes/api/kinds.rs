//! The kinds of objects: those that every API has, as one table, and what definitions of custom ones describe.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::types::{self, Type};

/// The verbs of what has all of them.
const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The same of custom kinds, in the order in which they are told.
const CUSTOM: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// A kind of objects.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Empty for the oldest ones.
    pub(crate) group: String,
    pub(crate) version: String,
    /// Its name in paths: `pods`.
    pub(crate) resource: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<&'static str>,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) parts: Vec<Part>,
    /// What its objects consist of.
    pub(crate) of: Type,
    /// The version of the definition that describes it, if it is a custom one.
    pub(crate) custom: Option<Value>,
}

/// What is below an object in a path: `pods/log`.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Group and version of what it answers, where they are others.
    pub(crate) of: Option<(String, String)>,
    pub(crate) kind: String,
    pub(crate) verbs: Vec<&'static str>,
}

impl Kind {
    /// By which its objects are kept: `deployments.apps`. Two names of one kind share theirs.
    pub(crate) fn stored(&self) -> String {
        match (self.group.as_str(), self.resource.as_str()) {
            ("" | "events.k8s.io", "events") => "events".to_owned(),
            ("", resource) => resource.to_owned(),
            (group, resource) => format!("{resource}.{group}"),
        }
    }

    /// `apps/v1`, `v1`
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The name of its resource with its group: `deployments.apps`.
    pub(crate) fn full_name(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// What is below its objects under this name.
    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// Whether its group, version and resource are these.
    pub(crate) fn is(&self, group: &str, version: &str, resource: &str) -> bool {
        self.group == group && self.version == version && self.resource == resource
    }
}

/// All that every API has.
pub(crate) fn all() -> &'static [Arc<Kind>] {
    static KINDS: OnceLock<Vec<Arc<Kind>>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let lines = include_str!("kinds.txt").lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(parse).map(Arc::new).collect()
    })
}

/// A kind by the name that its objects are kept under, in the version that is told of first.
pub(crate) fn stored(name: &str) -> Option<&'static Arc<Kind>> {
    static STORED: OnceLock<HashMap<String, &'static Arc<Kind>>> = OnceLock::new();
    let all = STORED.get_or_init(|| all().iter().rev().map(|kind| (kind.stored(), kind)).collect());
    all.get(name).copied()
}

/// A kind by its place in paths.
pub(crate) fn find(group: &str, version: &str, resource: &str) -> Option<&'static Arc<Kind>> {
    all().iter().find(|kind| kind.is(group, version, resource))
}

/// The groups of some kinds and their versions, each once and in order; the oldest one has no name.
pub(crate) fn groups(kinds: &[Arc<Kind>]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for kind in kinds {
        match groups.iter_mut().find(|(group, _)| *group == kind.group) {
            Some((_, versions)) if versions.contains(&kind.version.as_str()) => {}
            Some((_, versions)) => versions.push(&kind.version),
            None => groups.push((&kind.group, vec![&kind.version])),
        }
    }
    groups
}

/// What the objects of K3s' own kinds consist of, of which nothing more is known here.
fn open() -> Type {
    let part = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    types::of_custom(&json!({ "type": "object", "properties": { "spec": part, "status": part } }))
}

fn parse(line: &'static str) -> Option<Kind> {
    let words: Vec<&'static str> = line.split_whitespace().collect();
    let list =
        |text: &'static str| -> Vec<&'static str> { if text == "-" { Vec::new() } else { text.split(',').collect() } };
    let owned = |words: Vec<&'static str>| words.into_iter().map(str::to_owned).collect();
    let verbs = |text: &'static str| if text == "*" { ALL.to_vec() } else { text.split('+').collect() };
    // Where a kind has no singular name, there is a word less.
    let (head, rest) = if words.len() == 10 { words.split_at(4) } else { words.split_at(3) };
    let [kind, scope, own, short, categories, parts] = *rest else { return None };
    let part = |text: &'static str| {
        let mut pieces = text.split(':');
        let (name, of, verbs_of) = (pieces.next()?, pieces.next()?, pieces.next()?);
        let pieces: Vec<&str> = of.split('/').collect();
        let (of, kind) = match pieces.as_slice() {
            [group, version, kind] => (Some(((*group).to_owned(), (*version).to_owned())), *kind),
            _ => (None, of),
        };
        Some(Part { name: name.to_owned(), of, kind: kind.to_owned(), verbs: verbs(verbs_of) })
    };
    let group = if *head.first()? == "core" { "" } else { head.first()? };
    let version = *head.get(1)?;
    Some(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: (*head.get(2)?).to_owned(),
        singular: head.get(3).copied().unwrap_or_default().to_owned(),
        kind: kind.to_owned(),
        namespaced: scope == "N",
        verbs: verbs(own),
        short: owned(list(short)),
        categories: owned(list(categories)),
        parts: list(parts).into_iter().filter_map(part).collect(),
        of: types::of(group, version, kind).unwrap_or_else(open),
        custom: None,
    })
}

/// The kinds that a definition describes, one for each of its versions that is served.
pub(crate) fn described(definition: &Value) -> Vec<Kind> {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(text).collect() };
    let served = spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
    let (group, kind) = (text(&spec["group"]), text(&names["kind"]));
    let one = |version: &Value| {
        let verbs = vec!["get", "patch", "update"];
        let status = version["subresources"].get("status").map(|_| Part {
            name: "status".to_owned(),
            of: None,
            kind: kind.clone(),
            verbs: verbs.clone(),
        });
        let scale = version["subresources"].get("scale").map(|_| Part {
            name: "scale".to_owned(),
            of: Some(("autoscaling".to_owned(), "v1".to_owned())),
            kind: "Scale".to_owned(),
            verbs,
        });
        Kind {
            group: group.clone(),
            version: text(&version["name"]),
            resource: text(&names["plural"]),
            singular: text(&names["singular"]),
            kind: kind.clone(),
            namespaced: spec["scope"] == "Namespaced",
            verbs: CUSTOM.to_vec(),
            short: list(&names["shortNames"]),
            categories: list(&names["categories"]),
            parts: status.into_iter().chain(scale).collect(),
            of: types::of_custom(&version["schema"]["openAPIV3Schema"]),
            custom: Some(version.clone()),
        }
    };
    served.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_kind() {
        let lines = include_str!("kinds.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().len(), lines);
        let pods = find("", "v1", "pods").unwrap();
        assert_eq!((pods.kind.as_str(), pods.namespaced, pods.short.as_slice()), ("Pod", true, &["po".to_owned()][..]));
        assert_eq!(pods.part("eviction").unwrap().of, Some(("policy".to_owned(), "v1".to_owned())));
        assert_eq!(find("metrics.k8s.io", "v1beta1", "nodes").unwrap().kind, "NodeMetrics");
    }
}
