//! What measures graphics cards.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "dcgm-exporter",
    repositories: &["https://nvidia.github.io/dcgm-exporter/helm-charts"],
    versions: &[Version { chart: "4.8.1", app: "4.8.1" }],
    values: "image: {repository: nvcr.io/nvidia/k8s/dcgm-exporter, tag: 4.5.2-4.8.1-distroless}\nruntimeClassName: ''\nnodeSelector: {}\ntolerations: []\nservice: {port: 9400}\nserviceMonitor: {enabled: true}\n",
    render,
};

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let image = format!("{}:{}", release.text("image.repository"), release.text("image.tag"));
    let container = parts::container("exporter", &image, &[("metrics", 9400)]);
    let mut set = parts::daemon_set(release, release.name, "", json!([container]));
    let spec = &mut set["spec"]["template"]["spec"];
    spec["serviceAccountName"] = json!(release.name);
    spec["tolerations"] = release.value("tolerations").clone();
    if release.value("nodeSelector").as_object().is_some_and(|all| !all.is_empty()) {
        spec["nodeSelector"] = release.value("nodeSelector").clone();
    }
    if !release.text("runtimeClassName").is_empty() {
        spec["runtimeClassName"] = release.value("runtimeClassName").clone();
    }
    let mut objects = vec![
        parts::account(release, release.name),
        set,
        parts::service(release, release.name, "", &[("metrics", 9400, json!("metrics"))]),
    ];
    if release.is("serviceMonitor.enabled") {
        objects.push(json!({
            "kind": "ServiceMonitor", "apiVersion": "monitoring.coreos.com/v1",
            "metadata": { "name": release.name, "labels": parts::labels(release, "") },
            "spec": { "selector": { "matchLabels": parts::selector(release, "") }, "endpoints": [{ "port": "metrics", "path": "/metrics" }] },
        }));
    }
    Ok(objects)
}
