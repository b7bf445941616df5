//! Helm as the Jobs of charts run it: it finds a chart and its values, and has the release made.

use serde_json::{Map, Value, json};

use super::charts::{self, Chart};
use super::cluster::Cluster;
use super::controllers::{LABEL, items, text};
use super::releases::{Made, Wanted};
use super::store::Key;

/// Puts values over others: maps by their parts, everything else as a whole. What is nothing takes out.
pub(super) fn put_over(values: &mut Value, more: &Value) {
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
pub(super) fn written(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(json!({}));
    }
    serde_saphyr::from_str(text).map_err(|error| format!("Error: failed to parse /config/values.yaml: {error}"))
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
        let digest = charts::digest(&chart["spec"]);
        let wanted = Wanted { name, namespace: env("TARGET_NAMESPACE"), digest, labels: json!({}), now };
        let done = match text(container, "/args/0") {
            "delete" => self.uninstall(&wanted),
            _ => self.install(&wanted, &chart, &env("FAILURE_POLICY")),
        };
        match done {
            Ok(log) => (0, log),
            Err(log) => (1, log),
        }
    }

    fn install(&mut self, wanted: &Wanted, asked: &Value, policy: &str) -> Result<String, String> {
        let newest = self.releases(wanted).pop();
        let mut log = String::new();
        let last = newest
            .as_ref()
            .map(|release| release["metadata"]["labels"]["status"].as_str().unwrap_or_default().to_owned());
        if last.as_deref() == Some("failed") {
            if policy != "reinstall" {
                let why =
                    format!("Upgrade of {} has failed before, and the failure policy is {}\n", wanted.name, policy);
                if policy == "abort" && !self.is_other(wanted, newest.as_ref()) {
                    return Err(why);
                }
                log.push_str(&why);
            } else {
                log.push_str(&format!("Uninstalling failed release {}\n", wanted.name));
                log.push_str(&self.uninstall(wanted)?);
            }
        }
        let spec = &asked["spec"];
        if self.around.lacks_repositories && !text(spec, "/repo").is_empty() {
            let repository = text(spec, "/repo").trim_end_matches('/');
            return Err(format!(
                "{log}Error: looks like \"{repository}\" is not a valid chart repository or cannot be reached: Get \"{repository}/index.yaml\": dial tcp: i/o timeout\n"
            ));
        }
        let (chart, version) = charts::find(text(spec, "/chart"), text(spec, "/repo"), text(spec, "/version"))
            .map_err(|why| format!("{log}Error: {why}\n"))?;
        let values = self.values_of(asked, chart)?;
        self.need_namespace(wanted, spec["createNamespace"] == true)
            .map_err(|why| format!("{log}Error: INSTALLATION FAILED: {why}\n"))?;
        let is_upgrade = self.releases(wanted).pop().is_some();
        let word = if is_upgrade { "UPGRADE FAILED" } else { "INSTALLATION FAILED" };
        let made = Made { chart, version, values: &values };
        self.make_release(wanted, &made, "deployed").map_err(|why| format!("{log}Error: {word}: {why}\n"))?;
        let verb = if is_upgrade { "upgraded" } else { "deployed" };
        log.push_str(&format!(
            "NAME: {}\nNAMESPACE: {}\nSTATUS: deployed\nRelease {} {verb}\n",
            wanted.name, wanted.namespace, wanted.name
        ));
        Ok(log)
    }

    /// Whether a release was made from something else than what is wanted now.
    fn is_other(&self, wanted: &Wanted, release: Option<&Value>) -> bool {
        let made = release.and_then(|release| release["metadata"]["annotations"][charts::WANTED].as_str());
        made != Some(wanted.digest.as_str())
    }

    /// The values of a chart: its own, and what its HelmChart, Secrets and HelmChartConfig tell.
    fn values_of(&self, asked: &Value, chart: &Chart) -> Result<Value, String> {
        let spec = &asked["spec"];
        let home = text(asked, "/metadata/namespace");
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
        let config = Key::new("helmchartconfigs.helm.cattle.io", home, text(asked, "/metadata/name"));
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
