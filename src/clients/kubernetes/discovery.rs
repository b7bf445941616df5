//! Which kinds the API serves, and under which paths. It is asked in two requests and kept until something is missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::client::{Client, segment};
use super::failure::Result;
use crate::error::{Class, Error};

/// The form in which all kinds are told at once.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind as the API serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The group; empty for the core.
    pub group: String,
    /// The version, as in `v1`.
    pub version: String,
    /// The kind, as in `Deployment`.
    pub kind: String,
    /// What paths call it, as in `deployments`.
    pub plural: String,
    /// Whether its objects belong to namespaces.
    pub namespaced: bool,
    /// What can be done with it, as in `patch`.
    pub verbs: Vec<String>,
}

impl Resource {
    /// Group and version as objects have them, as in `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of its objects, in a namespace where they belong to one and it is given.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", segment(&self.group)) };
        let within = match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("namespaces/{}/", segment(namespace)),
            None => String::new(),
        };
        format!("{root}/{}/{within}{}", segment(&self.version), segment(&self.plural))
    }

    /// The path of an object.
    pub fn path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), segment(name))
    }
}

/// All kinds that the API serves.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    resources: HashMap<(String, String, String), Resource>,
}

impl Discovery {
    /// The kind of this name in this group and version.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        self.resources.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))
    }

    /// The kind of this name in a group, in the version that the API prefers.
    pub fn preferred(&self, group: &str, kind: &str) -> Option<&Resource> {
        self.kind(group, "", kind)
    }

    /// The kind that a path of this group and version leads to.
    pub fn plural(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        let mut all = self.resources.values();
        all.find(|it| it.group == group && it.version == version && it.plural == plural)
    }

    /// Where else there is a kind of this name: the group and version of each.
    pub fn elsewhere(&self, kind: &str) -> Vec<String> {
        let mut found: Vec<String> =
            self.resources.values().filter(|it| it.kind == kind).map(Resource::api_version).collect();
        found.sort();
        found.dedup();
        found
    }

    fn take(&mut self, list: &Value) -> Option<()> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        for item in list.get("items")?.as_array()? {
            let group = text(item.get("metadata").unwrap_or(&Value::Null), "name");
            // The versions stand in the order of preference.
            for version in item.get("versions").and_then(Value::as_array).into_iter().flatten() {
                for found in version.get("resources").and_then(Value::as_array).into_iter().flatten() {
                    let Some(kind) = found.pointer("/responseKind/kind").and_then(Value::as_str) else { continue };
                    let verbs = found.get("verbs").and_then(Value::as_array).into_iter().flatten();
                    let resource = Resource {
                        group: group.clone(),
                        version: text(version, "version"),
                        kind: kind.to_owned(),
                        plural: text(found, "resource"),
                        namespaced: text(found, "scope") == "Namespaced",
                        verbs: verbs.filter_map(|verb| verb.as_str().map(str::to_owned)).collect(),
                    };
                    let preferred = (group.clone(), String::new(), kind.to_owned());
                    self.resources.entry(preferred).or_insert_with(|| resource.clone());
                    let key = (group.clone(), resource.version.clone(), kind.to_owned());
                    // What can be got is the kind's own; others only answer with it.
                    let is_own = resource.verbs.iter().any(|verb| verb == "get");
                    match self.resources.get(&key) {
                        Some(known) if !is_own || known.verbs.iter().any(|verb| verb == "get") => {}
                        _ => drop(self.resources.insert(key, resource)),
                    }
                }
            }
        }
        Some(())
    }
}

/// What is known of the kinds, kept beside a client.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Arc<Discovery>>>);

impl Client {
    /// The kinds that the API serves, as they were when that was last asked.
    pub async fn discovery(&self) -> Result<Arc<Discovery>> {
        match self.known_kinds() {
            Some(known) => Ok(known),
            None => self.discover().await,
        }
    }

    /// The same without a request, where it was asked before.
    pub fn known_kinds(&self) -> Option<Arc<Discovery>> {
        self.kept_kinds().0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The kinds that the API serves by now.
    pub async fn discover(&self) -> Result<Arc<Discovery>> {
        let (core, groups) = futures::join!(self.get_as("/api", AGGREGATED), self.get_as("/apis", AGGREGATED));
        let mut discovery = Discovery::default();
        for answer in [core?, groups?] {
            let list = answer.json().unwrap_or_default();
            if list.get("kind").and_then(Value::as_str) != Some("APIGroupDiscoveryList")
                || discovery.take(&list).is_none()
            {
                let error = Error::new(
                    Class::UnsupportedVersion,
                    format!("{}: it does not tell its kinds at once (aggregated discovery, v2)", self.place()),
                );
                return Err(error.help("Kubernetes does since 1.30: upgrade it").into());
            }
        }
        let discovery = Arc::new(discovery);
        *self.kept_kinds().0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&discovery));
        Ok(discovery)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn discovery() -> Discovery {
        let resource = |plural: &str, kind: &str, scope: &str, verbs: &[&str]| json!({ "resource": plural, "responseKind": { "group": "", "version": "", "kind": kind }, "scope": scope, "verbs": verbs });
        let list = json!({ "kind": "APIGroupDiscoveryList", "items": [
            { "metadata": {}, "versions": [{ "version": "v1", "resources": [
                resource("namespaces", "Namespace", "Cluster", &["get", "patch"]),
                resource("configmaps", "ConfigMap", "Namespaced", &["get", "patch"]),
            ] }] },
            { "metadata": { "name": "x.example.org" }, "versions": [
                { "version": "v1", "resources": [resource("things", "Thing", "Namespaced", &["get"])] },
                { "version": "v1beta1", "resources": [resource("things", "Thing", "Namespaced", &["get"])] },
            ] },
        ] });
        let mut discovery = Discovery::default();
        discovery.take(&list).unwrap();
        discovery
    }

    #[test]
    fn paths_are_those_of_group_version_namespace_and_name() {
        let all = discovery();
        let map = all.kind("", "v1", "ConfigMap").unwrap();
        assert_eq!(map.path(Some("ai"), "a"), "/api/v1/namespaces/ai/configmaps/a");
        assert_eq!(map.collection(None), "/api/v1/configmaps");
        assert_eq!(all.kind("", "v1", "Namespace").unwrap().path(None, "ai"), "/api/v1/namespaces/ai");
        let thing = all.kind("x.example.org", "v1beta1", "Thing").unwrap();
        assert_eq!(thing.path(Some("n"), "t"), "/apis/x.example.org/v1beta1/namespaces/n/things/t");
        assert_eq!(all.plural("x.example.org", "v1", "things").unwrap().kind, "Thing");
    }

    #[test]
    fn the_version_that_stands_first_is_preferred_and_the_others_are_named() {
        let all = discovery();
        assert_eq!(all.preferred("x.example.org", "Thing").unwrap().version, "v1");
        assert_eq!(all.elsewhere("Thing"), ["x.example.org/v1", "x.example.org/v1beta1"]);
        assert_eq!(all.kind("x.example.org", "v2", "Thing"), None);
    }
}
