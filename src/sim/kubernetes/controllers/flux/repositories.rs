//! Flux and repositories of charts: whether they can be read, and which chart is meant.

use serde_json::{Value, json};

use super::{Key, Outside, condition, text};
use crate::sim::chance::{hex, sha256};
use crate::sim::kubernetes::charts::{self, Chart, Version};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::timestamp;

pub(super) const REPOSITORIES: &str = "helmrepositories.source.toolkit.fluxcd.io";

impl Cluster {
    /// Looks into repositories of charts. Those of the type `oci` are read when a chart is wanted, and not before.
    pub(super) fn run_repositories(&mut self, outside: &Outside<'_>) {
        for (key, repository) in self.all(REPOSITORIES) {
            if text(&repository, "/spec/type") == "oci" || !self.is_due_to_look(&key, &repository, outside) {
                continue;
            }
            let url = text(&repository, "/spec/url").trim_end_matches('/');
            let failed = |why: &str| {
                format!("failed to fetch Helm repository index: failed to cache index to temporary file: {why}")
            };
            let (status, more) = if self.around.lacks_repositories {
                let why = failed(&format!("Get \"{url}/index.yaml\": dial tcp: i/o timeout"));
                (condition(&repository, "False", "Failed", &why), json!({}))
            } else if !charts::is_published_at(url) {
                let why = failed(&format!("failed to fetch {url}/index.yaml : 404 Not Found"));
                (condition(&repository, "False", "Failed", &why), json!({}))
            } else {
                let revision = format!("sha256:{}", hex(&sha256(url)));
                let words = format!("stored artifact: revision '{revision}'");
                let artifact = json!({ "revision": revision, "url": format!("{url}/index.yaml"), "lastUpdateTime": timestamp(outside.now) });
                (condition(&repository, "True", "Succeeded", &words), json!({ "artifact": artifact }))
            };
            self.tell_look(&key, &repository, status, more, outside.now);
        }
    }

    /// The chart that a HelmRelease is about, or why it cannot be had.
    pub(super) fn chart_of(&self, key: &Key, release: &Value) -> Result<(&'static Chart, &'static Version), String> {
        let spec = &release["spec"]["chart"]["spec"];
        let (name, version, source) = (text(spec, "/chart"), text(spec, "/version"), &spec["sourceRef"]);
        if text(source, "/kind") != "HelmRepository" {
            return Err("homelab sim: not simulated: charts that come from elsewhere than a HelmRepository".to_owned());
        }
        let namespace = source["namespace"].as_str().unwrap_or(&key.namespace);
        let unready = |why: &str| {
            let own = format!("{}-{}", key.namespace, key.name);
            format!("HelmChart '{namespace}/{own}' is not ready: {why}")
        };
        let called = text(source, "/name");
        let repository = self.store.get(&Key::new(REPOSITORIES, namespace, called)).ok_or_else(|| {
            unready(&format!("failed to get source: HelmRepository.source.toolkit.fluxcd.io \"{called}\" not found"))
        })?;
        let url = text(repository, "/spec/url").trim_end_matches('/');
        if text(repository, "/spec/type") == "oci" {
            let whole = format!("{url}/{name}");
            let why = format!(
                "chart pull error: failed to download chart for remote reference: failed to get '{whole}:{version}'"
            );
            if self.around.lacks_repositories {
                return Err(unready(&format!("{why}: dial tcp: i/o timeout")));
            }
            return charts::find(&whole, "", version).map_err(|_| unready(&format!("{why}: not found")));
        }
        if repository["status"]["artifact"].is_null() {
            return Err(unready(&format!("no artifact available for HelmRepository source '{called}'")));
        }
        charts::find(name, url, version).map_err(|_| {
            unready(&format!(
                "invalid chart reference: failed to get chart version for remote reference: no '{name}' chart with version matching '{version}' found"
            ))
        })
    }
}
