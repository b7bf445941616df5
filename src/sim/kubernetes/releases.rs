//! Releases of charts: what Helm puts into the cluster, and what it keeps of that in Secrets, whoever has asked it to.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::charts::{self, Chart, Release, Version};
use super::cluster::Cluster;
use super::controllers::{generation, key_of, text};
use super::helm::put_over;
use super::store::{Key, timestamp};

/// How much of a release is read back.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A release as its Secret keeps it.
fn packed(release: &Value) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Nothing that is written into memory can fail.
    let bytes = encoder.write_all(release.to_string().as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
    BASE64_STANDARD.encode(BASE64_STANDARD.encode(bytes))
}

/// What the Secret of a release keeps.
pub(super) fn unpacked(secret: &Value) -> Value {
    let decoded = |text: &[u8]| BASE64_STANDARD.decode(text).unwrap_or_default();
    let bytes = decoded(&decoded(secret["data"]["release"].as_str().unwrap_or_default().as_bytes()));
    let mut text = String::new();
    let read = GzDecoder::new(bytes.as_slice()).take(LARGEST).read_to_string(&mut text);
    let release: Value = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
    // What somebody else has put there is no release.
    if release["info"].is_object() { release } else { json!({ "info": {} }) }
}

/// The number of a release, by its Secret.
pub(super) fn number_of(secret: &Value) -> u64 {
    secret["metadata"]["labels"]["version"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// How far a release is, by its Secret.
pub(super) fn status_of(secret: &Value) -> &str {
    secret["metadata"]["labels"]["status"].as_str().unwrap_or_default()
}

/// Which release is meant.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) namespace: String,
    /// What stands for what is asked for.
    pub(super) digest: String,
    /// Labels that all of its objects get.
    pub(super) labels: Value,
    pub(super) now: u64,
}

/// What a release is made of.
pub(super) struct Made<'a> {
    pub(super) chart: &'a Chart,
    pub(super) version: &'a Version,
    pub(super) values: &'a Value,
}

impl Made<'_> {
    /// The objects that the chart makes of the values.
    pub(super) fn render(&self, wanted: &Wanted) -> Result<Vec<Value>, String> {
        let (version, app) = (self.version.chart, self.version.app);
        let release = Release { name: &wanted.name, namespace: &wanted.namespace, version, app, values: self.values };
        (self.chart.render)(&release)
    }
}

impl Cluster {
    /// The Secrets of the release, the oldest first.
    pub(super) fn releases(&self, wanted: &Wanted) -> Vec<Value> {
        let is_own = |secret: &&Value| {
            secret["metadata"]["labels"]["owner"] == "helm"
                && secret["metadata"]["labels"]["name"] == wanted.name.as_str()
        };
        let mut all: Vec<Value> = self.store.list("secrets", Some(&wanted.namespace)).filter(is_own).cloned().collect();
        all.sort_by_key(number_of);
        all
    }

    /// Puts the objects of a chart into the cluster, and takes out those that it had and has no more.
    pub(super) fn put_in(&mut self, wanted: &Wanted, objects: Vec<Value>) -> Result<Vec<Value>, String> {
        let mut placed = Vec::new();
        // What kinds there are has to be known before there are any of them.
        let (kinds, rest): (Vec<Value>, Vec<Value>) =
            objects.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        for mut object in kinds.into_iter().chain(rest) {
            let (resource, namespaced) = self.resource_of(&object).ok_or_else(|| {
                let (kind, version) = (text(&object, "/kind"), text(&object, "/apiVersion"));
                format!(
                    "unable to build kubernetes objects from release manifest: resource mapping not found for name: \"{}\" namespace: \"\" from \"\": no matches for kind \"{kind}\" in version \"{version}\"\nensure CRDs are installed first",
                    text(&object, "/metadata/name")
                )
            })?;
            let metadata = &mut object["metadata"];
            if namespaced && text(metadata, "/namespace").is_empty() {
                metadata["namespace"] = json!(wanted.namespace);
            }
            metadata["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
            charts::lay_over(&mut metadata["labels"], &wanted.labels);
            metadata["annotations"]["meta.helm.sh/release-name"] = json!(wanted.name);
            metadata["annotations"]["meta.helm.sh/release-namespace"] = json!(wanted.namespace);
            self.install_object(&key_of(&resource, &object), object.clone(), wanted)?;
            placed.push(object);
        }
        let keys: Vec<Key> = placed
            .iter()
            .filter_map(|object| self.resource_of(object).map(|(resource, _)| key_of(&resource, object)))
            .collect();
        let gone = self.objects_of_release(wanted).into_iter().filter(|key| !keys.contains(key));
        gone.for_each(|key| drop(self.store.remove(&key)));
        Ok(placed)
    }

    /// Puts one object of a chart in its place: new, or over what is there.
    fn install_object(&mut self, key: &Key, object: Value, wanted: &Wanted) -> Result<(), String> {
        let Some(live) = self.store.get(key) else {
            let mut object = object;
            object["metadata"]["generation"] = json!(1);
            self.store.make(key, object, wanted.now);
            return Ok(());
        };
        let owner = live["metadata"]["annotations"]["meta.helm.sh/release-name"].as_str();
        if owner != Some(&wanted.name) {
            let (kind, name) = (text(&object, "/kind"), &key.name);
            return Err(format!(
                "Unable to continue with install: {kind} \"{name}\" in namespace \"{}\" exists and cannot be imported into the current release: invalid ownership metadata; annotation validation error: missing key \"meta.helm.sh/release-name\": must be set to {}",
                key.namespace, wanted.name
            ));
        }
        self.store.change(key, |live| {
            let spec = live["spec"].clone();
            for (name, value) in object.as_object().into_iter().flatten() {
                match name.as_str() {
                    "metadata" | "status" => {}
                    // What the cluster has put into these stays.
                    "spec" if matches!(text(&object, "/kind"), "Service" | "PersistentVolumeClaim") => {
                        charts::lay_over(&mut live[name], value);
                    }
                    // What a chart does not say any more goes.
                    _ => live[name] = value.clone(),
                }
            }
            for part in ["labels", "annotations"] {
                put_over(&mut live["metadata"][part], &object["metadata"][part]);
            }
            if live["spec"] != spec {
                live["metadata"]["generation"] = json!(generation(live) + 1);
            }
        });
        Ok(())
    }

    /// Makes a release: renders a chart, puts its objects in, and keeps what was done, which is `status` where it went well. Gives the
    /// objects.
    pub(super) fn make_release(
        &mut self,
        wanted: &Wanted,
        made: &Made<'_>,
        status: &str,
    ) -> Result<Vec<Value>, String> {
        let done = made.render(wanted).and_then(|objects| self.put_in(wanted, objects));
        match &done {
            Ok(objects) => self.keep_release(wanted, made, (status, objects)),
            Err(_) => self.keep_release(wanted, made, ("failed", &[])),
        }
        done
    }

    /// Sees to it that there is the namespace of a release.
    pub(super) fn need_namespace(&mut self, wanted: &Wanted, makes: bool) -> Result<(), String> {
        let key = Key::new("namespaces", "", &wanted.namespace);
        if self.store.get(&key).is_some() {
            return Ok(());
        }
        if !makes {
            return Err(format!("create: failed to create: namespaces \"{}\" not found", wanted.namespace));
        }
        let namespace = json!({
            "kind": "Namespace", "apiVersion": "v1",
            "metadata": { "labels": { "name": wanted.namespace, "kubernetes.io/metadata.name": wanted.namespace } },
            "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
        });
        self.store.make(&key, namespace, wanted.now);
        Ok(())
    }

    /// Keeps what was done in a Secret.
    fn keep_release(&mut self, wanted: &Wanted, made: &Made<'_>, (status, objects): (&str, &[Value])) {
        let known = self.releases(wanted);
        let number = known.last().map(number_of).unwrap_or_default().saturating_add(1);
        if status == "deployed" {
            self.supersede(&known);
        }
        let time = timestamp(wanted.now);
        let description = match (status, number) {
            ("deployed", 1) => "Install complete",
            ("deployed", _) => "Upgrade complete",
            ("pending-install", _) => "Initial install underway",
            ("pending-upgrade", _) => "Preparing upgrade",
            _ => "Release failed",
        };
        let manifest: Vec<String> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        let release = json!({
            "name": wanted.name, "namespace": wanted.namespace, "version": number,
            "info": { "first_deployed": time, "last_deployed": time, "deleted": "", "description": description, "status": status },
            "chart": {
                "metadata": {
                    "name": made.chart.name, "version": made.version.chart, "appVersion": made.version.app, "apiVersion": "v2",
                },
            },
            "config": made.values, "manifest": manifest.concat(),
        });
        let secret = json!({
            "kind": "Secret", "apiVersion": "v1", "type": "helm.sh/release.v1",
            "metadata": {
                "labels": {
                    "modifiedAt": (wanted.now / 1000).to_string(), "name": wanted.name, "owner": "helm", "status": status,
                    "version": number.to_string(),
                },
                "annotations": { charts::WANTED: wanted.digest },
            },
            "data": { "release": packed(&release) },
        });
        let name = format!("sh.helm.release.v1.{}.v{number}", wanted.name);
        self.store.make(&Key::new("secrets", &wanted.namespace, &name), secret, wanted.now);
        // Ten of them are kept.
        for secret in known.iter().take(known.len().saturating_sub(9)) {
            self.store.remove(&key_of("secrets", secret));
        }
    }

    /// Says of releases that another one has taken their place.
    fn supersede(&mut self, known: &[Value]) {
        for secret in known.iter().filter(|one| status_of(one) == "deployed") {
            self.end_release(secret, "superseded", None);
        }
    }

    /// Says how a release has ended that was in the middle of something.
    pub(super) fn conclude_release(&mut self, wanted: &Wanted, status: &str, description: &str) {
        let mut known = self.releases(wanted);
        let Some(last) = known.pop() else { return };
        if status == "deployed" {
            self.supersede(&known);
        }
        self.end_release(&last, status, Some(description));
    }

    fn end_release(&mut self, secret: &Value, status: &str, description: Option<&str>) {
        let mut release = unpacked(secret);
        release["info"]["status"] = json!(status);
        if let Some(description) = description {
            release["info"]["description"] = json!(description);
        }
        self.store.change(&key_of("secrets", secret), |secret| {
            secret["metadata"]["labels"]["status"] = json!(status);
            secret["data"]["release"] = json!(packed(&release));
        });
    }

    /// The objects that are there of a release and go with it. Kinds of objects stay: with them all of their objects would go.
    fn objects_of_release(&self, wanted: &Wanted) -> Vec<Key> {
        let is_own = |object: &Value| {
            let notes = &object["metadata"]["annotations"];
            notes["meta.helm.sh/release-name"] == wanted.name.as_str()
                && notes["meta.helm.sh/release-namespace"] == wanted.namespace.as_str()
        };
        let all = self.store.everything().filter(|(_, object)| is_own(object));
        all.map(|(key, _)| key).filter(|key| !key.resource.starts_with("customresourcedefinitions")).collect()
    }

    /// Takes a release down.
    pub(super) fn uninstall(&mut self, wanted: &Wanted) -> Result<String, String> {
        self.objects_of_release(wanted).iter().for_each(|key| drop(self.store.remove(key)));
        let secrets: Vec<Key> = self.releases(wanted).iter().map(|secret| key_of("secrets", secret)).collect();
        secrets.iter().for_each(|key| drop(self.store.remove(key)));
        Ok(format!("release \"{}\" uninstalled\n", wanted.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_release_is_read_as_one_that_says_nothing() {
        let release = json!({ "info": { "status": "deployed" }, "version": 1 });
        let kept = |release: &Value| json!({ "data": { "release": packed(release) } });
        assert_eq!(unpacked(&kept(&release)), release);
        for other in [json!("x"), json!([1]), json!({ "info": "x" }), Value::Null] {
            assert_eq!(unpacked(&kept(&other)), json!({ "info": {} }), "{other}");
        }
        assert_eq!(unpacked(&json!({ "data": { "release": "eA==" } })), json!({ "info": {} }));
    }
}
