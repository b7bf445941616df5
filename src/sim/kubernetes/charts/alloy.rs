//! Alloy: takes logs from where they are written to where they are kept.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "alloy",
    repositories: &["https://grafana.github.io/helm-charts"],
    versions: &[Version { chart: "1.5.1", app: "v1.12.1" }],
    values: "alloy: {configMap: {content: ''}}\ncontroller: {type: daemonset, replicas: 1, tolerations: []}\n",
    render,
};

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let image = format!("docker.io/grafana/alloy:{}", release.app);
    let mut container = parts::container("alloy", &image, &[("http-metrics", 12345)]);
    container["volumeMounts"] = json!([{ "name": "config", "mountPath": "/etc/alloy" }]);
    let config = json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": { "name": release.name, "labels": parts::labels(release, "") },
        "data": { "config.alloy": release.text("alloy.configMap.content") },
    });
    let mut workload = match release.text("controller.type") {
        "daemonset" => parts::daemon_set(release, release.name, "", json!([container])),
        "deployment" => {
            let replicas = release.value("controller.replicas").as_u64().unwrap_or(1);
            parts::deployment(release, release.name, "", replicas, json!([container]))
        }
        other => {
            return Err(format!("values don't meet the specifications of the schema(s): controller.type: {other}"));
        }
    };
    let spec = &mut workload["spec"]["template"]["spec"];
    spec["volumes"] = json!([{ "name": "config", "configMap": { "name": release.name } }]);
    spec["tolerations"] = release.value("controller.tolerations").clone();
    let service = parts::service(release, release.name, "", &[("http-metrics", 12345, json!("http-metrics"))]);
    Ok(vec![parts::account(release, release.name), config, workload, service])
}
