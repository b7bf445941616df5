//! Helm as the Jobs of charts run it: it finds a chart, renders it from its values, puts its objects into the cluster, and
//! keeps what it did in a Secret.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::charts::{self, Chart, Release};
use super::cluster::Cluster;
use super::controllers::{LABEL, generation, items, key_of, text};
use super::store::{Key, timestamp};

/// Puts values over others: maps by their parts, everything else as a whole. What is nothing takes out.
fn put_over(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            for (name, value) in more {
                if value.is_null() {
                    values.shift_remove(name);
                } else {
                    put_over(values.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (values, more) => values.clone_from(more),
    }
}

/// Values that are written as YAML.
fn written(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(json!({}));
    }
    serde_saphyr::from_str(text).map_err(|error| format!("Error: failed to parse /config/values.yaml: {error}"))
}

/// A release as its Secret keeps it.
fn packed(release: &Value) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Nothing that is written into memory can fail.
    let bytes = encoder.write_all(release.to_string().as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
    BASE64_STANDARD.encode(BASE64_STANDARD.encode(bytes))
}

/// What a run of helm goes by.
struct Wanted {
    name: String,
    namespace: String,
    chart: Value,
    policy: String,
    now: u64,
}

impl Cluster {
    /// Runs helm for a chart. Gives its exit status, and what it prints.
    pub(super) fn run_helm(&mut self, pod: &Value, container: &Value, now: u64) -> (i32, String) {
        let name = pod["metadata"]["labels"][LABEL].as_str().unwrap_or_default().to_owned();
        let home = text(pod, "/metadata/namespace").to_owned();
        let env = |wanted: &str| {
            let all = items(container, "/env").iter();
            all.filter(|one| one["name"] == wanted).map(|one| text(one, "/value").to_owned()).next().unwrap_or_default()
        };
        let Some(chart) = self.store.get(&Key::new("helmcharts.helm.cattle.io", &home, &name)).cloned() else {
            return (1, format!("Error: no HelmChart {home}/{name}\n"));
        };
        let wanted = Wanted { name, namespace: env("TARGET_NAMESPACE"), chart, policy: env("FAILURE_POLICY"), now };
        let done = match text(container, "/args/0") {
            "delete" => self.uninstall(&wanted),
            _ => self.install(&wanted),
        };
        match done {
            Ok(log) => (0, log),
            Err(log) => (1, log),
        }
    }

    fn install(&mut self, wanted: &Wanted) -> Result<String, String> {
        let newest = self.releases(wanted).pop();
        let mut log = String::new();
        let last = newest
            .as_ref()
            .map(|release| release["metadata"]["labels"]["status"].as_str().unwrap_or_default().to_owned());
        if last.as_deref() == Some("failed") {
            if wanted.policy != "reinstall" {
                let why = format!(
                    "Upgrade of {} has failed before, and the failure policy is {}\n",
                    wanted.name, wanted.policy
                );
                if wanted.policy == "abort" && !self.is_other(wanted, newest.as_ref()) {
                    return Err(why);
                }
                log.push_str(&why);
            } else {
                log.push_str(&format!("Uninstalling failed release {}\n", wanted.name));
                log.push_str(&self.uninstall(wanted)?);
            }
        }
        let spec = &wanted.chart["spec"];
        if self.around.lacks_repositories && !text(spec, "/repo").is_empty() {
            let repository = text(spec, "/repo").trim_end_matches('/');
            return Err(format!(
                "{log}Error: looks like \"{repository}\" is not a valid chart repository or cannot be reached: Get \"{repository}/index.yaml\": dial tcp: i/o timeout\n"
            ));
        }
        let (chart, version) = charts::find(text(spec, "/chart"), text(spec, "/repo"), text(spec, "/version"))
            .map_err(|why| format!("{log}Error: {why}\n"))?;
        let values = self.values_of(wanted, chart)?;
        if self.store.get(&Key::new("namespaces", "", &wanted.namespace)).is_none() {
            if spec["createNamespace"] != true {
                let why = format!("create: failed to create: namespaces \"{}\" not found", wanted.namespace);
                return Err(format!("{log}Error: INSTALLATION FAILED: {why}\n"));
            }
            let namespace = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": { "labels": { "name": wanted.namespace, "kubernetes.io/metadata.name": wanted.namespace } },
                "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
            });
            self.store.make(&Key::new("namespaces", "", &wanted.namespace), namespace, wanted.now);
        }
        let release = Release {
            name: &wanted.name,
            namespace: &wanted.namespace,
            version: version.chart,
            app: version.app,
            values: &values,
        };
        let is_upgrade = self.releases(wanted).pop().is_some();
        let word = if is_upgrade { "UPGRADE FAILED" } else { "INSTALLATION FAILED" };
        let rendered = (chart.render)(&release);
        match rendered.and_then(|objects| self.put_in(wanted, objects)) {
            Ok(objects) => {
                self.keep_release(wanted, (chart, version.chart, version.app), &values, ("deployed", &objects));
                let verb = if is_upgrade { "upgraded" } else { "deployed" };
                log.push_str(&format!(
                    "NAME: {}\nNAMESPACE: {}\nSTATUS: deployed\nRelease {} {verb}\n",
                    wanted.name, wanted.namespace, wanted.name
                ));
                Ok(log)
            }
            Err(why) => {
                self.keep_release(wanted, (chart, version.chart, version.app), &values, ("failed", &[]));
                Err(format!("{log}Error: {word}: {why}\n"))
            }
        }
    }

    /// Whether a release was made from something else than what is wanted now.
    fn is_other(&self, wanted: &Wanted, release: Option<&Value>) -> bool {
        let made = release.and_then(|release| release["metadata"]["annotations"][charts::WANTED].as_str());
        made != Some(charts::digest(&wanted.chart["spec"]).as_str())
    }

    /// The values of a chart: its own, and what its HelmChart, Secrets and HelmChartConfig tell.
    fn values_of(&self, wanted: &Wanted, chart: &Chart) -> Result<Value, String> {
        let spec = &wanted.chart["spec"];
        let home = text(&wanted.chart, "/metadata/namespace");
        let mut values = chart.values();
        put_over(&mut values, &written(text(spec, "/valuesContent"))?);
        if spec["values"].is_object() {
            put_over(&mut values, &spec["values"]);
        }
        for one in items(spec, "/valuesSecrets") {
            let name = text(one, "/name");
            let told = self.values("secrets", home, name);
            let told = told.ok_or_else(|| format!("Error: values Secret {home}/{name} not found\n"))?;
            for key in items(one, "/keys").iter().filter_map(Value::as_str) {
                let text =
                    told.get(key).ok_or_else(|| format!("Error: values Secret {home}/{name} has no key {key}\n"))?;
                put_over(&mut values, &written(text)?);
            }
        }
        let config = Key::new("helmchartconfigs.helm.cattle.io", home, text(&wanted.chart, "/metadata/name"));
        if let Some(config) = self.store.get(&config) {
            put_over(&mut values, &written(text(config, "/spec/valuesContent"))?);
            if config["spec"]["values"].is_object() {
                put_over(&mut values, &config["spec"]["values"]);
            }
        }
        for (name, value) in spec["set"].as_object().into_iter().flatten() {
            let mut more = value.clone();
            for part in name.rsplit('.') {
                more = Value::Object(Map::from_iter([(part.to_owned(), more)]));
            }
            put_over(&mut values, &more);
        }
        Ok(values)
    }

    /// The Secrets of the release, the oldest first.
    fn releases(&self, wanted: &Wanted) -> Vec<Value> {
        let is_own = |secret: &&Value| {
            secret["metadata"]["labels"]["owner"] == "helm"
                && secret["metadata"]["labels"]["name"] == wanted.name.as_str()
        };
        let mut all: Vec<Value> = self.store.list("secrets", Some(&wanted.namespace)).filter(is_own).cloned().collect();
        all.sort_by_key(|secret| {
            secret["metadata"]["labels"]["version"].as_str().and_then(|text| text.parse::<u64>().ok())
        });
        all
    }

    /// Puts the objects of a chart into the cluster, and takes out those that it had and has no more.
    fn put_in(&mut self, wanted: &Wanted, objects: Vec<Value>) -> Result<Vec<Value>, String> {
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
            metadata["annotations"]["meta.helm.sh/release-name"] = json!(wanted.name);
            metadata["annotations"]["meta.helm.sh/release-namespace"] = json!(wanted.namespace);
            self.install_object(&key_of(&resource, &object), object.clone(), wanted)?;
            placed.push(object);
        }
        let keys: Vec<Key> = placed
            .iter()
            .filter_map(|object| self.resource_of(object).map(|(resource, _)| key_of(&resource, object)))
            .collect();
        let is_own = |object: &Value| {
            let notes = &object["metadata"]["annotations"];
            notes["meta.helm.sh/release-name"] == wanted.name.as_str()
                && notes["meta.helm.sh/release-namespace"] == wanted.namespace.as_str()
        };
        let gone: Vec<Key> = self
            .store
            .everything()
            .filter(|(key, object)| {
                is_own(object) && !keys.contains(key) && !key.resource.starts_with("customresourcedefinitions")
            })
            .map(|(key, _)| key)
            .collect();
        gone.iter().for_each(|key| drop(self.store.remove(key)));
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

    /// Keeps what was done in a Secret.
    fn keep_release(
        &mut self,
        wanted: &Wanted,
        (chart, version, app): (&Chart, &str, &str),
        values: &Value,
        (status, objects): (&str, &[Value]),
    ) {
        let known = self.releases(wanted);
        let number = known
            .last()
            .and_then(|secret| secret["metadata"]["labels"]["version"].as_str()?.parse::<u64>().ok())
            .unwrap_or_default()
            + 1;
        if status == "deployed" {
            for secret in &known {
                self.store.change(&key_of("secrets", secret), |secret| {
                    if secret["metadata"]["labels"]["status"] == "deployed" {
                        secret["metadata"]["labels"]["status"] = json!("superseded");
                    }
                });
            }
        }
        let time = timestamp(wanted.now);
        let description = match (status, number) {
            ("deployed", 1) => "Install complete",
            ("deployed", _) => "Upgrade complete",
            _ => "Release failed",
        };
        let manifest: Vec<String> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        let release = json!({
            "name": wanted.name, "namespace": wanted.namespace, "version": number,
            "info": { "first_deployed": time, "last_deployed": time, "deleted": "", "description": description, "status": status },
            "chart": { "metadata": { "name": chart.name, "version": version, "appVersion": app, "apiVersion": "v2" } },
            "config": values, "manifest": manifest.concat(),
        });
        let secret = json!({
            "kind": "Secret", "apiVersion": "v1", "type": "helm.sh/release.v1",
            "metadata": {
                "labels": {
                    "modifiedAt": (wanted.now / 1000).to_string(), "name": wanted.name, "owner": "helm", "status": status,
                    "version": number.to_string(),
                },
                "annotations": { charts::WANTED: charts::digest(&wanted.chart["spec"]) },
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

    /// Takes a release down. Kinds of objects stay: with them all of their objects would go.
    fn uninstall(&mut self, wanted: &Wanted) -> Result<String, String> {
        let is_own = |object: &Value| {
            let notes = &object["metadata"]["annotations"];
            notes["meta.helm.sh/release-name"] == wanted.name.as_str()
                && notes["meta.helm.sh/release-namespace"] == wanted.namespace.as_str()
        };
        let own: Vec<Key> = self
            .store
            .everything()
            .filter(|(key, object)| is_own(object) && !key.resource.starts_with("customresourcedefinitions"))
            .map(|(key, _)| key)
            .collect();
        own.iter().for_each(|key| drop(self.store.remove(key)));
        let secrets: Vec<Key> = self.releases(wanted).iter().map(|secret| key_of("secrets", secret)).collect();
        secrets.iter().for_each(|key| drop(self.store.remove(key)));
        Ok(format!("release \"{}\" uninstalled\n", wanted.name))
    }

    /// By which objects of this kind are kept, and whether they are in namespaces.
    pub(super) fn resource_of(&self, object: &Value) -> Option<(String, bool)> {
        let (kind, version) = (text(object, "/kind"), text(object, "/apiVersion"));
        let built_in =
            super::api::kinds::all().iter().find(|known| known.kind == kind && known.api_version() == version);
        if let Some(known) = built_in {
            return Some((known.stored(), known.namespaced));
        }
        let (group, _) = version.split_once('/')?;
        let definition = self
            .store
            .list("customresourcedefinitions.apiextensions.k8s.io", None)
            .find(|one| text(one, "/spec/group") == group && text(one, "/spec/names/kind") == kind)?;
        let plural = text(definition, "/spec/names/plural");
        Some((format!("{plural}.{group}"), text(definition, "/spec/scope") == "Namespaced"))
    }
}
