//! The plugin that offers graphics cards to pods.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "nvidia-device-plugin",
    repositories: &["https://nvidia.github.io/k8s-device-plugin"],
    versions: &[Version { chart: "0.20.0", app: "v0.20.0" }, Version { chart: "0.18.0", app: "v0.18.0" }],
    values: "config: {map: {}, name: '', default: ''}\nruntimeClassName: ''\nnodeSelector: {}\ntolerations:\n  - {key: CriticalAddonsOnly, operator: Exists}\n  - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}\ngfd: {enabled: false}\nnfd: {enabled: false}\n",
    render,
};

/// Where the configurations of a release are.
pub(in crate::sim::kubernetes) fn configs(release: &str) -> String {
    format!("{release}-configs")
}

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let map = release.value("config.map").as_object().cloned().unwrap_or_default();
    let told = release.text("config.name");
    if !map.is_empty() && !told.is_empty() {
        return Err("execution error at (nvidia-device-plugin/templates/configmap.yml): Cannot specify both 'config.map' and 'config.name'".into());
    }
    let chosen = release.text("config.default");
    if map.len() > 1 && chosen.is_empty() {
        return Err("execution error at (nvidia-device-plugin/templates/daemonset-device-plugin.yml): Setting a default config is required when more than one is given".into());
    }
    let mut objects = vec![parts::account(release, &format!("{}-service-account", release.name))];
    let image = format!("nvcr.io/nvidia/k8s-device-plugin:{}", release.app);
    let mut container = parts::container("nvidia-device-plugin-ctr", &image, &[]);
    let config = match (map.keys().next(), told) {
        (Some(only), _) => {
            Some((configs(release.name), if chosen.is_empty() { only.clone() } else { chosen.to_owned() }))
        }
        (None, "") => None,
        (None, name) => Some((name.to_owned(), chosen.to_owned())),
    };
    if !map.is_empty() {
        objects.push(json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": { "name": configs(release.name), "labels": parts::labels(release, "") }, "data": map,
        }));
    }
    let mut volumes = Vec::new();
    if let Some((name, key)) = config {
        volumes.push(json!({ "name": "available-configs", "configMap": { "name": name } }));
        container["volumeMounts"] = json!([{ "name": "available-configs", "mountPath": "/available-configs" }]);
        container["env"] = json!([{ "name": "CONFIG_FILE", "value": format!("/available-configs/{key}") }]);
    }
    let mut set = parts::daemon_set(release, release.name, "", json!([container]));
    let spec = &mut set["spec"]["template"]["spec"];
    spec["serviceAccountName"] = json!(format!("{}-service-account", release.name));
    spec["priorityClassName"] = json!("system-node-critical");
    spec["tolerations"] = release.value("tolerations").clone();
    if release.value("nodeSelector").as_object().is_some_and(|all| !all.is_empty()) {
        spec["nodeSelector"] = release.value("nodeSelector").clone();
    }
    if !release.text("runtimeClassName").is_empty() {
        spec["runtimeClassName"] = release.value("runtimeClassName").clone();
    }
    if !volumes.is_empty() {
        spec["volumes"] = json!(volumes);
    }
    let rule =
        |key: &str, value: &str| json!({ "matchExpressions": [{ "key": key, "operator": "In", "values": [value] }] });
    let usual = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
        rule("feature.node.kubernetes.io/pci-10de.present", "true"),
        rule("feature.node.kubernetes.io/cpu-model.vendor_id", "NVIDIA"),
        rule("nvidia.com/gpu.present", "true"),
    ] } } });
    spec["affinity"] = if release.value("affinity").is_object() { release.value("affinity").clone() } else { usual };
    objects.push(set);
    Ok(objects)
}
