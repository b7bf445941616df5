//! Flux: repositories that are fetched, what is in them applied, and releases of charts. Each controller does its work only where
//! its Deployment has a pod that is ready.

mod kustomize;
mod releases;
mod repositories;
mod values;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use self::kustomize::build;
use super::{generation, has_condition, items, key_of, leaves, number, set_condition, text};
use crate::sim::kubernetes::Outside;
use crate::sim::kubernetes::api::{Call, Caller};
use crate::sim::kubernetes::cluster::{Client, Cluster};
use crate::sim::kubernetes::store::{Key, timestamp};
use crate::sim::web::{Internet, Tree};

const SOURCES: &str = "gitrepositories.source.toolkit.fluxcd.io";
const APPLIED: &str = "kustomizations.kustomize.toolkit.fluxcd.io";
/// The annotation by which somebody asks for a look at once.
const ASKED: &str = "reconcile.fluxcd.io/requestedAt";
/// The end of a Kustomization, which takes away what it has applied.
const FINALIZER: &str = "finalizers.fluxcd.io";
/// How long it waits that has failed, in milliseconds at the usual pace.
const AGAIN: u64 = 2_000;

/// Milliseconds of `1m`, `10m0s`, `1h`.
fn millis(text: &str) -> Option<u64> {
    let (mut all, mut digits) = (0_u64, String::new());
    for letter in text.chars() {
        match letter {
            '0'..='9' => digits.push(letter),
            _ => {
                let unit = match letter {
                    'h' => 3_600_000,
                    'm' => 60_000,
                    's' => 1_000,
                    _ => return None,
                };
                let amount = std::mem::take(&mut digits).parse::<u64>().ok()?.checked_mul(unit)?;
                all = amount.checked_add(all)?;
            }
        }
    }
    digits.is_empty().then_some(all).filter(|all| *all > 0)
}

fn condition(object: &Value, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": generation(object) })
}

fn asked(object: &Value) -> &Value {
    &object["metadata"]["annotations"][ASKED]
}

/// The owner and the name in `ssh://git@github.com/OWNER/NAME`.
fn place(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("ssh://git@github.com/")?;
    let (owner, name) = rest.split_once('/')?;
    Some((owner, name.strip_suffix(".git").unwrap_or(name)))
}

impl Cluster {
    /// Whether there is anything for Flux to follow.
    pub(in crate::sim::kubernetes) fn follows_repositories(&self) -> bool {
        [SOURCES, APPLIED, repositories::REPOSITORIES, releases::RELEASES]
            .iter()
            .any(|resource| self.store.list(resource, None).next().is_some())
    }

    /// Lets Flux do what it does, as far as it runs. Tells whether anything changed.
    pub(in crate::sim::kubernetes) fn run_flux(&mut self, outside: &mut Outside<'_>) -> bool {
        let before = self.store.version();
        if self.runs_controller("source-controller") {
            for (key, source) in self.all(SOURCES) {
                if self.is_due_to_look(&key, &source, outside) {
                    self.fetch(&key, &source, outside);
                }
            }
            self.run_repositories(outside);
        }
        if self.runs_controller("helm-controller") {
            self.run_releases(outside);
        }
        if self.runs_controller("kustomize-controller") {
            for (key, wanted) in self.all(APPLIED) {
                if leaves(&wanted) {
                    self.unfollow(&key, &wanted, outside.now);
                } else if self.is_due_to_look(&key, &wanted, outside) || self.has_newer_source(&wanted) {
                    self.reconcile(&key, &wanted, outside);
                }
            }
        }
        self.store.version() != before
    }

    fn runs_controller(&self, name: &str) -> bool {
        let deployment = self.store.get(&Key::new("deployments.apps", "flux-system", name));
        deployment.is_some_and(|one| number(one, "/status/availableReplicas").unwrap_or_default() > 0)
    }

    /// Whether an object has changed, somebody has asked, or its time has come.
    fn is_due_to_look(&self, key: &Key, object: &Value, outside: &Outside<'_>) -> bool {
        if object["spec"]["suspend"] == true || leaves(object) {
            return false;
        }
        let looked = self.remembered.get(&format!("flux/{}/{}/{}", key.resource, key.namespace, key.name));
        let interval = millis(text(object, "/spec/interval")).unwrap_or(60_000);
        let interval = if has_condition(object, "Ready", "True") { interval } else { AGAIN.min(interval) };
        let since = looked.and_then(Value::as_u64).unwrap_or_default();
        let waits = (interval as f64 * outside.pace) as u64;
        number(object, "/status/observedGeneration") != Some(generation(object))
            || asked(object) != &object["status"]["lastHandledReconcileAt"]
            || outside.now >= since.saturating_add(waits)
    }

    fn note_look(&mut self, key: &Key, now: u64) {
        self.remembered.insert(format!("flux/{}/{}/{}", key.resource, key.namespace, key.name), json!(now));
    }

    /// Tells how a look has ended.
    fn tell_look(&mut self, key: &Key, object: &Value, condition: Value, more: Value, now: u64) {
        self.note_look(key, now);
        self.store.change(key, |live| {
            let status = &mut live["status"];
            set_condition(status, condition, now);
            status["observedGeneration"] = json!(generation(object));
            if !asked(object).is_null() {
                status["lastHandledReconcileAt"] = asked(object).clone();
            }
            for (name, value) in more.as_object().into_iter().flatten() {
                status[name] = value.clone();
            }
        });
    }

    /// A repository as a source reads it.
    fn read_source(&self, source: &Value, internet: &Internet) -> Result<Tree, String> {
        let url = text(source, "/spec/url");
        let unable = |why: &str| format!("failed to checkout and determine revision: unable to clone '{url}': {why}");
        let Some((owner, name)) = place(url) else {
            return Err(unable("homelab sim: not simulated: anything but ssh://git@github.com/OWNER/NAME"));
        };
        let (namespace, secret) = (text(source, "/metadata/namespace"), text(source, "/spec/secretRef/name"));
        let secret = self
            .store
            .get(&Key::new("secrets", namespace, secret))
            .ok_or_else(|| format!("failed to get secret '{namespace}/{secret}': secrets \"{secret}\" not found"))?;
        let part = |name: &str| {
            let bytes = BASE64_STANDARD.decode(secret["data"][name].as_str().unwrap_or_default()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if part("identity").is_empty() {
            return Err("invalid 'ssh' auth option: 'identity' is required".to_owned());
        }
        if !part("known_hosts").lines().any(|line| line.starts_with("github.com ")) {
            return Err(unable("ssh: handshake failed: knownhosts: key is unknown"));
        }
        let tree = internet.clone_by_key(owner, name, &part("identity.pub")).map_err(|why| unable(&why))?;
        let wanted = text(source, "/spec/ref/branch");
        if !wanted.is_empty() && wanted != tree.branch {
            return Err(unable(&format!("couldn't find remote ref \"refs/heads/{wanted}\"")));
        }
        Ok(tree)
    }

    fn fetch(&mut self, key: &Key, source: &Value, outside: &Outside<'_>) {
        let now = outside.now;
        match self.read_source(source, outside.internet) {
            Err(why) => {
                self.tell_look(key, source, condition(source, "False", "GitOperationFailed", &why), json!({}), now)
            }
            Ok(tree) => {
                let revision = format!("{}@sha1:{}", tree.branch, tree.head);
                let message = format!("stored artifact for revision '{revision}'");
                let same = source["status"]["artifact"]["revision"] == revision.as_str();
                let more = match same {
                    true => json!({}),
                    false => json!({ "artifact": { "revision": revision, "lastUpdateTime": timestamp(now) } }),
                };
                self.tell_look(key, source, condition(source, "True", "Succeeded", &message), more, now);
            }
        }
    }

    fn source_of(&self, wanted: &Value) -> Option<&Value> {
        let named = &wanted["spec"]["sourceRef"];
        let namespace = match text(named, "/namespace") {
            "" => text(wanted, "/metadata/namespace"),
            namespace => namespace,
        };
        self.store.get(&Key::new(SOURCES, namespace, text(named, "/name")))
    }

    fn has_newer_source(&self, wanted: &Value) -> bool {
        let revision = self.source_of(wanted).map(|source| text(source, "/status/artifact/revision"));
        wanted["spec"]["suspend"] != true
            && revision.is_some_and(|revision| revision != text(wanted, "/status/lastAttemptedRevision"))
    }

    /// Applies what is in a repository, and takes away what it has applied before and is there no more. Where one object is not
    /// let in, nothing changes.
    fn reconcile(&mut self, key: &Key, wanted: &Value, outside: &Outside<'_>) {
        let now = outside.now;
        let source = self.source_of(wanted).cloned();
        let revision = source.as_ref().map(|source| text(source, "/status/artifact/revision").to_owned());
        let Some((source, revision)) = source.zip(revision.filter(|revision| !revision.is_empty())) else {
            let why = "Source artifact not found, retrying in 30s";
            return self.tell_look(key, wanted, condition(wanted, "False", "ArtifactFailed", why), json!({}), now);
        };
        // What is stored is what the repository held when it was fetched.
        let tree = match self.read_source(&source, outside.internet) {
            Ok(tree) if revision.ends_with(&tree.head) => tree,
            _ => return,
        };
        let attempted = json!({ "lastAttemptedRevision": revision });
        let objects = match build(&tree.files, text(wanted, "/spec/path")) {
            Ok(objects) => objects,
            Err(why) => {
                return self.tell_look(key, wanted, condition(wanted, "False", "BuildFailed", &why), attempted, now);
            }
        };
        if let Err(why) = self.apply_tree(&objects, true, now).and_then(|()| self.apply_tree(&objects, false, now)) {
            return self.tell_look(
                key,
                wanted,
                condition(wanted, "False", "ReconciliationFailed", &why),
                attempted,
                now,
            );
        }
        let entries: Vec<Value> = objects.iter().filter_map(|object| self.entry(object)).collect();
        if wanted["spec"]["prune"] == true {
            self.prune_tree(&wanted["status"]["inventory"], &entries, now);
        }
        let more = json!({
            "lastAttemptedRevision": revision, "lastAppliedRevision": revision, "inventory": { "entries": entries },
        });
        let message = format!("Applied revision: {revision}");
        self.tell_look(key, wanted, condition(wanted, "True", "ReconciliationSucceeded", &message), more, now);
        self.store.change(key, |live| {
            let all = &mut live["metadata"]["finalizers"];
            if !all.as_array().is_some_and(|all| all.iter().any(|one| one == FINALIZER)) {
                *all = json!([FINALIZER]);
            }
        });
    }

    fn apply_tree(&mut self, objects: &[Value], dry: bool, now: u64) -> Result<(), String> {
        for object in objects {
            let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
            let namespace = text(object, "/metadata/namespace");
            let shown =
                [kind, namespace, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            let path = self.path_of(object).ok_or_else(|| {
                let version = text(object, "/apiVersion");
                format!("{shown} dry-run failed: no matches for kind \"{kind}\" in version \"{version}\"")
            })?;
            // An object in a namespace that the same tree brings cannot be tried before it is there.
            let brings = |one: &Value| one["kind"] == "Namespace" && text(one, "/metadata/name") == namespace;
            if dry && objects.iter().any(brings) && self.store.get(&Key::new("namespaces", "", namespace)).is_none() {
                continue;
            }
            let dry = if dry { "&dryRun=All" } else { "" };
            let target = format!("{path}?fieldManager=kustomize-controller&force=true{dry}");
            let reply = self.answer(&by_flux("PATCH", &target, object, now), "");
            if reply.status >= 300 {
                let why = match &reply.body {
                    crate::sim::kubernetes::api::Body::Json(status) => text(status, "/message").to_owned(),
                    other => format!("{other:?}"),
                };
                return Err(format!("{shown} dry-run failed: {why}"));
            }
        }
        Ok(())
    }

    /// The path of an object.
    fn path_of(&self, object: &Value) -> Option<String> {
        let (resource, namespaced) = self.resource_of(object)?;
        let version = text(object, "/apiVersion");
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let namespace = match text(object, "/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        let within = if namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        let plural = resource.split('.').next().unwrap_or_default().to_owned();
        Some(format!("{root}{within}/{plural}/{}", text(object, "/metadata/name")))
    }

    /// What is kept of an object that was applied.
    fn entry(&self, object: &Value) -> Option<Value> {
        let (resource, _) = self.resource_of(object)?;
        let key = key_of(&resource, object);
        let version = text(object, "/apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let id = format!("{}_{}_{group}_{}", key.namespace, key.name, text(object, "/kind"));
        Some(json!({ "id": id, "v": version, "path": self.path_of(object) }))
    }

    fn prune_tree(&mut self, before: &Value, now_there: &[Value], now: u64) {
        let gone: Vec<Value> = items(before, "/entries")
            .iter()
            .filter(|one| !now_there.iter().any(|other| other["id"] == one["id"]))
            .cloned()
            .collect();
        for entry in gone.iter().rev() {
            let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background" });
            let _absent = self.answer(&by_flux("DELETE", text(entry, "/path"), &options, now), "");
        }
    }

    /// Takes away what a Kustomization has applied that is to go.
    fn unfollow(&mut self, key: &Key, wanted: &Value, now: u64) {
        if wanted["spec"]["prune"] == true && wanted["spec"]["suspend"] != true {
            self.prune_tree(&wanted["status"]["inventory"], &[], now);
        }
        self.store.change(key, |live| live["metadata"]["finalizers"] = json!([]));
        self.store.remove(key);
    }
}

/// A request of Flux, which may do everything.
fn by_flux(method: &str, target: &str, body: &Value, now: u64) -> Call {
    let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
    let user = "system:serviceaccount:flux-system:kustomize-controller".to_owned();
    let kind = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
    Call {
        content_type: Some(kind.to_owned()),
        agent: "kustomize-controller/v0.0.0".to_owned(),
        body: body.to_string().into_bytes(),
        ..Call::plain(method, target, Caller::User(Client { user, groups }), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_addresses_are_read_as_people_write_them() {
        assert_eq!(millis("1m"), Some(60_000));
        assert_eq!(millis("1h10m0s"), Some(4_200_000));
        assert_eq!((millis("soon"), millis("5")), (None, None));
        assert_eq!((millis("9999999999999999h"), millis("5124095576030h5124095576030h")), (None, None));
        assert_eq!(place("ssh://git@github.com/me/lab"), Some(("me", "lab")));
        assert_eq!(place("ssh://git@github.com/me/lab.git"), Some(("me", "lab")));
        assert_eq!(place("https://github.com/me/lab"), None);
    }
}
