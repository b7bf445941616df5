//! The charts that there are: which versions, in which repository, which values they take, and what they make of them.
//!
//! A chart is a file here with a [`Chart`] in it, listed in [`ALL`]. Its values are those that are used; what it does not
//! know it passes over, as charts do.

mod alloy;
mod cert_manager;
mod cloudnative_pg;
mod csi_driver_nfs;
mod dcgm_exporter;
mod kube_prometheus_stack;
mod loki;
mod metallb;
mod n8n;
mod nvidia_device_plugin;
mod ollama;
pub(super) mod parts;
mod traefik;
mod valkey;

use serde_json::{Value, json};

use crate::sim::chance::{hex, sha256};

/// Under which a release tells what it was made from.
pub(super) const WANTED: &str = "helmcharts.helm.cattle.io/wanted";

/// A chart.
pub(super) struct Chart {
    pub(super) name: &'static str,
    /// Where it is published: URLs of repositories, and `oci://…` with the chart's own name. Empty where it is part of K3s.
    pub(super) repositories: &'static [&'static str],
    pub(super) versions: &'static [Version],
    /// Its own values, as YAML.
    pub(super) values: &'static str,
    /// Makes its objects, or tells why it does not.
    pub(super) render: fn(&Release<'_>) -> Result<Vec<Value>, String>,
}

/// A version of a chart, and of what it brings.
pub(super) struct Version {
    pub(super) chart: &'static str,
    pub(super) app: &'static str,
}

/// What a chart is rendered for.
pub(super) struct Release<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) version: &'a str,
    pub(super) app: &'a str,
    pub(super) values: &'a Value,
}

impl Release<'_> {
    /// A value by its path: `speaker.frr.enabled`.
    pub(super) fn value(&self, path: &str) -> &Value {
        path.split('.').fold(self.values, |value, part| &value[part])
    }

    /// A value that is text; empty where it is not.
    pub(super) fn text(&self, path: &str) -> &str {
        self.value(path).as_str().unwrap_or_default()
    }

    /// Whether a value is `true`.
    pub(super) fn is(&self, path: &str) -> bool {
        self.value(path) == true
    }

    /// The version of what the chart brings, without the letter before it.
    pub(super) fn number(&self) -> &str {
        self.app.trim_start_matches('v')
    }
}

/// All of them.
const ALL: &[Chart] = &[
    traefik::CHART,
    traefik::KINDS,
    metallb::CHART,
    cert_manager::CHART,
    csi_driver_nfs::CHART,
    nvidia_device_plugin::CHART,
    cloudnative_pg::CHART,
    n8n::CHART,
    ollama::CHART,
    valkey::CHART,
    kube_prometheus_stack::CHART,
    loki::CHART,
    dcgm_exporter::CHART,
    alloy::CHART,
];

impl Chart {
    /// Its own values.
    pub(super) fn values(&self) -> Value {
        // Every text of the table is read by a test.
        serde_saphyr::from_str(self.values).unwrap_or_else(|_| json!({}))
    }
}

/// What stands for a chart as it is wanted.
pub(super) fn digest(spec: &Value) -> String {
    hex(&sha256(spec.to_string())[..16])
}

/// Puts what a chart says over what is there: maps by their parts, everything else as a whole.
pub(super) fn lay_over(live: &mut Value, wanted: &Value) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            for (name, value) in wanted {
                lay_over(live.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (live, wanted) => live.clone_from(wanted),
    }
}

/// Whether a repository is published at a URL.
pub(super) fn is_published_at(url: &str) -> bool {
    ALL.iter().any(|chart| chart.repositories.iter().any(|place| place.trim_end_matches('/') == url))
}

/// Finds a chart where it is said to be.
pub(super) fn find(chart: &str, repository: &str, version: &str) -> Result<(&'static Chart, &'static Version), String> {
    let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
    if let Some(local) = chart.strip_prefix("https://%{KUBERNETES_API}%/static/charts/") {
        let fits = |one: &&Chart| {
            one.repositories.is_empty()
                && local
                    .strip_prefix(one.name)
                    .is_some_and(|rest| rest.starts_with('-') && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit))
        };
        let found = ALL.iter().find(fits).and_then(|chart| Some((chart, chart.versions.first()?)));
        return found.ok_or_else(|| format!("failed to fetch {chart} : 404 Not Found"));
    }
    if chart.starts_with("oci://") {
        let known = ALL.iter().find(|one| one.repositories.iter().any(|place| trimmed(place) == trimmed(chart)));
        let place = chart.trim_start_matches("oci://");
        let Some(known) = known else {
            return Err(format!("failed to perform \"FetchReference\" on source: {place}:{version}: not found"));
        };
        let found = pick(known, version).map(|version| (known, version));
        return found
            .ok_or_else(|| format!("failed to perform \"FetchReference\" on source: {place}:{version}: not found"));
    }
    if chart.contains("://") {
        return Err(format!("failed to fetch {chart} : 404 Not Found"));
    }
    let there = |one: &&Chart| one.repositories.iter().any(|place| trimmed(place) == trimmed(repository));
    if !ALL.iter().any(|one| there(&one)) {
        return Err(format!(
            "looks like \"{repository}\" is not a valid chart repository or cannot be reached: failed to fetch {}/index.yaml : 404 Not Found",
            trimmed(repository)
        ));
    }
    let known = ALL.iter().find(|one| one.name == chart && there(one));
    let found = known.and_then(|known| Some((known, pick(known, version)?)));
    found.ok_or_else(|| match version {
        "" => format!("chart \"{chart}\" not found in {repository} repository"),
        version => format!("chart \"{chart}\" version \"{version}\" not found in {repository} repository"),
    })
}

/// A version of a chart; the newest where none is told. A letter before it makes no difference.
fn pick(chart: &'static Chart, version: &str) -> Option<&'static Version> {
    let bare = |text: &str| text.trim_start_matches('v').to_owned();
    match version {
        "" => chart.versions.first(),
        version => chart.versions.iter().find(|one| bare(one.chart) == bare(version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_has_versions_and_values_that_can_be_read() {
        for chart in ALL {
            assert!(!chart.versions.is_empty(), "{}", chart.name);
            let values: Result<Value, _> = serde_saphyr::from_str(chart.values);
            assert!(values.is_ok_and(|values| values.is_object()), "{}", chart.name);
        }
    }

    #[test]
    fn a_chart_is_found_only_where_and_as_it_is_published() {
        let repository = "https://metallb.github.io/metallb";
        assert_eq!(find("metallb", repository, "0.16.1").map(|(chart, _)| chart.name), Ok("metallb"));
        assert_eq!(
            find("metallb", repository, "9.9.9").map(|_| ()),
            Err(format!("chart \"metallb\" version \"9.9.9\" not found in {repository} repository"))
        );
        assert!(find("metallb", "https://nowhere.example", "0.16.1").is_err());
        assert!(find("oci://quay.io/jetstack/charts/cert-manager", "", "v1.21.1").is_ok());
        assert!(find("oci://quay.io/jetstack/charts/other", "", "v1.21.1").is_err());
    }
}
