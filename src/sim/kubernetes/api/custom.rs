//! Definitions of custom kinds: their names are accepted, and then they are served; and they go when all objects of theirs have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::{self, Kind};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};

/// Where definitions are kept.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// What keeps a definition until all objects of its kind have gone.
pub(super) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn condition(definition: &Value, kind: &str) -> Option<bool> {
    let all = definition["status"]["conditions"].as_array()?;
    all.iter().find(|one| one["type"] == kind).map(|one| one["status"] == "True")
}

fn set(conditions: &mut Vec<Value>, kind: &str, status: bool, reason: &str, message: &str, now: u64) {
    let status = if status { "True" } else { "False" };
    if let Some(known) = conditions.iter_mut().find(|one| one["type"] == kind) {
        if known["status"] == status && known["reason"] == reason {
            return;
        }
        known["lastTransitionTime"] = json!(timestamp(now));
        (known["status"], known["reason"], known["message"]) = (json!(status), json!(reason), json!(message));
        return;
    }
    conditions.push(json!({
        "type": kind, "status": status, "lastTransitionTime": timestamp(now), "reason": reason, "message": message,
    }));
}

impl Cluster {
    /// The custom kinds that are served.
    pub(crate) fn custom_kinds(&self) -> Vec<Arc<Kind>> {
        let served = self.store.list(DEFINITIONS, None).filter(|one| condition(one, "Established") == Some(true));
        served.flat_map(kinds::described).map(Arc::new).collect()
    }

    /// All kinds that are served.
    pub(crate) fn kinds(&self) -> Vec<Arc<Kind>> {
        let own = self.custom_kinds();
        // Kinds of the table may be defined, too; who defines them knows better.
        let known = kinds::all()
            .iter()
            .filter(|kind| !self.lacks(&kind.group))
            .filter(|kind| !own.iter().any(|one| one.is(&kind.group, &kind.version, &kind.resource)));
        known.cloned().chain(own.iter().cloned()).collect()
    }

    /// Whether a group of the table is not there: nobody has brought it along.
    fn lacks(&self, group: &str) -> bool {
        match group {
            "helm.cattle.io" => !self.has_helm_controller(),
            "metrics.k8s.io" => self.store.get(&Key::new("services", "kube-system", "metrics-server")).is_none(),
            _ => false,
        }
    }

    /// A kind by its place in paths.
    pub(crate) fn find_kind(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Kind>> {
        let is_own = |kind: &&Arc<Kind>| kind.is(group, version, resource);
        if (group.is_empty() || group.ends_with(".k8s.io") || !group.contains('.')) && !self.lacks(group) {
            return kinds::all().iter().find(is_own).cloned().or_else(|| self.kinds().iter().find(is_own).cloned());
        }
        self.kinds().iter().find(is_own).cloned()
    }

    /// Accepts the names of new definitions, and takes along what those leave that go.
    pub(crate) fn keep_definitions(&mut self, now: u64) {
        let all: Vec<Value> = self.store.list(DEFINITIONS, None).cloned().collect();
        for definition in &all {
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            let key = Key::new(DEFINITIONS, "", name);
            if !definition["metadata"]["deletionTimestamp"].is_null() {
                self.finish_definition(&key, definition, now);
                continue;
            }
            let clash = clash(definition, &all);
            self.store.change(&key, |definition| accept(definition, clash.as_ref(), now));
        }
    }

    /// Deletes the objects of a definition that goes, and then the definition.
    fn finish_definition(&mut self, key: &Key, definition: &Value, now: u64) {
        let finalizers = definition["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !finalizers.iter().any(|one| one == CLEANUP) {
            return;
        }
        let left = self.let_all_go(&key.name, now);
        if left == 0 {
            self.store.change(key, |definition| {
                if let Some(all) = definition["metadata"]["finalizers"].as_array_mut() {
                    all.retain(|one| one != CLEANUP);
                }
            });
            if finalizers.len() == 1 {
                self.store.remove(key);
            }
        }
    }

    /// Takes out what is kept under a name; what has finalizers is marked. Tells how many are left.
    fn let_all_go(&mut self, stored: &str, now: u64) -> usize {
        let text = |object: &Value, name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        let keys: Vec<(Key, bool)> = self
            .store
            .list(stored, None)
            .map(|object| {
                let lingers = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
                (Key::new(stored, &text(object, "namespace"), &text(object, "name")), lingers)
            })
            .collect();
        for (key, lingers) in &keys {
            if *lingers {
                self.store.change(key, |object| {
                    if object["metadata"]["deletionTimestamp"].is_null() {
                        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                        object["metadata"]["deletionTimestamp"] = json!(timestamp(now));
                    }
                });
            } else {
                self.store.remove(key);
            }
        }
        keys.iter().filter(|(_, lingers)| *lingers).count()
    }
}

/// Puts what a schema says is usual where there is nothing.
pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if let (None | Some(Value::Null), Some(usual)) = (map.get(name), schema.get("default")) {
                    map.insert(name.clone(), usual.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    fill(schema, value);
                }
            }
            if schema["additionalProperties"].is_object() {
                map.values_mut().for_each(|value| fill(&schema["additionalProperties"], value));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&schema["items"], item)),
        _ => {}
    }
}

/// Which name of a definition another has already: the reason and what is said of it.
fn clash(definition: &Value, all: &[Value]) -> Option<(&'static str, String)> {
    let names = &definition["spec"]["names"];
    let others = all.iter().filter(|other| {
        other["metadata"]["name"] != definition["metadata"]["name"]
            && other["spec"]["group"] == definition["spec"]["group"]
    });
    for other in others {
        let taken = &other["status"]["acceptedNames"];
        let short = |value: &Value| -> Vec<Value> { value["shortNames"].as_array().cloned().unwrap_or_default() };
        let mut words = short(taken);
        words.extend([taken["plural"].clone(), taken["singular"].clone()]);
        for (field, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
            if !names[field].is_null() && words.contains(&names[field]) {
                return Some((reason, format!("{} is already in use", names[field])));
            }
        }
        if let Some(short) = short(names).iter().find(|short| words.contains(short)) {
            return Some(("ShortNamesConflict", format!("{short} is already in use")));
        }
        for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
            if !names[field].is_null() && names[field] == taken[field] {
                return Some((reason, format!("{} is already in use", names[field])));
            }
        }
    }
    None
}

/// Accepts the names of a definition, or says why not.
fn accept(definition: &mut Value, clash: Option<&(&'static str, String)>, now: u64) {
    let is_new = definition["status"]["conditions"].as_array().is_none_or(Vec::is_empty);
    let mut conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    match clash {
        None => {
            set(&mut conditions, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
            set(
                &mut conditions,
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted",
                now,
            );
            definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
            keep_stored_versions(definition);
        }
        Some((reason, message)) => {
            set(&mut conditions, "NamesAccepted", false, reason, message, now);
            set(&mut conditions, "Established", false, "NotAccepted", "not all names are accepted", now);
            // Those that nobody else has are accepted all the same.
            let field = match *reason {
                "PluralConflict" => "plural",
                "SingularConflict" => "singular",
                "ShortNamesConflict" => "shortNames",
                "KindConflict" => "kind",
                _ => "listKind",
            };
            let mut names = definition["spec"]["names"].clone();
            match (definition["status"]["acceptedNames"].get(field).cloned(), names.as_object_mut()) {
                (Some(known), Some(names)) => drop(names.insert(field.to_owned(), known)),
                (None, Some(names)) => drop(names.shift_remove(field)),
                (_, None) => {}
            }
            definition["status"]["acceptedNames"] = names;
        }
    }
    definition["status"]["conditions"] = json!(conditions);
    if is_new {
        own_status(definition, now);
    }
}

/// Notes that a definition is to go, and its objects before it.
pub(super) fn end(definition: &mut Value, now: u64) {
    let mut all = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set(&mut all, "Terminating", true, "InstanceDeletionPending", why, now);
    definition["status"]["conditions"] = json!(all);
}

/// Notes in which versions objects have been kept.
fn keep_stored_versions(definition: &mut Value) {
    let mut all = definition["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
        if version["storage"] == true && !all.contains(&version["name"]) {
            all.push(version["name"].clone());
        }
    }
    definition["status"]["storedVersions"] = json!(all);
}

/// Has the server itself own what it has told of a definition.
fn own_status(definition: &mut Value, now: u64) {
    use super::{managed, typed, types};
    let Some(of) = types::of("apiextensions.k8s.io", "v1", "CustomResourceDefinition") else { return };
    let told = json!({ "status": {
        "acceptedNames": definition["status"]["acceptedNames"], "conditions": definition["status"]["conditions"],
    } });
    let mut owners = managed::owners(definition);
    let version = "apiextensions.k8s.io/v1";
    let mut own = managed::Owner::new("kube-apiserver", "Update", version, Some("status"), &timestamp(now));
    own.fields = typed::fields(&of, &told);
    owners.push(own);
    managed::write_owners(definition, owners);
}
