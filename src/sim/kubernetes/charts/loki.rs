//! Loki: keeps logs.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "loki",
    repositories: &[
        "https://grafana-community.github.io/helm-charts",
        "oci://ghcr.io/grafana-community/helm-charts/loki",
    ],
    versions: &[Version { chart: "18.11.0", app: "3.7.6" }],
    values: "deploymentMode: Monolithic\nloki: {auth_enabled: true, schemaConfig: {}, storage: {type: s3}}\nsingleBinary: {replicas: 1, persistence: {enabled: true, size: 10Gi}}\n",
    render,
};

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    if release.value("loki.schemaConfig.configs").as_array().is_none_or(Vec::is_empty) {
        return Err("execution error at (loki/templates/validate.yaml): You must provide a schema_config for Loki, one is not provided as this will be individual for every Loki cluster. See https://grafana.com/docs/loki/latest/operations/storage/schema/ for schema information. For quick testing (with no persistence) add `--set loki.useTestSchema=true`".into());
    }
    if release.text("deploymentMode") != "Monolithic" {
        return Err(format!("homelab sim: not simulated: Loki in the mode {}", release.text("deploymentMode")));
    }
    let image = format!("docker.io/grafana/loki:{}", release.app);
    let mut container = parts::container("loki", &image, &[("http-metrics", 3100), ("grpc", 9095)]);
    container["volumeMounts"] = json!([{ "name": "storage", "mountPath": "/var/loki" }]);
    let replicas = release.value("singleBinary.replicas").as_u64().unwrap_or(1);
    let mut set = parts::stateful_set(release, release.name, "single-binary", replicas, json!([container]));
    if release.is("singleBinary.persistence.enabled") {
        let told = release.value("singleBinary.persistence");
        let mut claim =
            json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": told["size"] } } });
        if told["storageClass"].is_string() {
            claim["storageClassName"] = told["storageClass"].clone();
        }
        set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "storage" }, "spec": claim }]);
    } else {
        set["spec"]["template"]["spec"]["volumes"] = json!([{ "name": "storage", "emptyDir": {} }]);
    }
    let service = parts::service(
        release,
        release.name,
        "single-binary",
        &[("http-metrics", 3100, json!("http-metrics")), ("grpc", 9095, json!("grpc"))],
    );
    Ok(vec![parts::account(release, release.name), set, service])
}
