//! Ollama: language models, on the graphics card where there is one.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "ollama",
    repositories: &["https://helm.otwld.com"],
    versions: &[Version { chart: "1.77.0", app: "0.32.15" }],
    values: "ollama: {port: 11434, gpu: {enabled: false, type: nvidia, number: 1}, models: {pull: [], run: [], create: []}}\nruntimeClassName: ''\nnodeSelector: {}\ntolerations: []\nresources: {}\nextraEnv: []\nreplicaCount: 1\npersistentVolume: {enabled: false, size: 30Gi, storageClass: '', accessModes: [ReadWriteOnce]}\nservice: {port: 11434}\ningress: {enabled: false, className: '', hosts: []}\n",
    render,
};

const PORT: u16 = 11434;

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    for way in ["pull", "run", "create"] {
        let models = release.value(&format!("ollama.models.{way}"));
        if models.as_array().is_some_and(|models| !models.is_empty()) {
            return Err(format!("not simulated: ollama.models.{way}; pull models by the API of Ollama"));
        }
    }
    let name = release.name;
    let mut container = parts::container("ollama", &format!("ollama/ollama:{}", release.app), &[("http", PORT)]);
    let mut env = vec![json!({ "name": "OLLAMA_HOST", "value": format!("0.0.0.0:{PORT}") })];
    env.extend(release.value("extraEnv").as_array().cloned().unwrap_or_default());
    container["env"] = json!(env);
    container["readinessProbe"] = json!({ "httpGet": { "path": "/", "port": "http" } });
    container["volumeMounts"] = json!([{ "name": "ollama-data", "mountPath": "/root/.ollama" }]);
    let mut tolerations = release.value("tolerations").as_array().cloned().unwrap_or_default();
    let resources = release.value("resources");
    if !resources.is_object() || !(resources["limits"].is_object() || resources["limits"].is_null()) {
        return Err("execution error: resources are no map of maps".to_owned());
    }
    container["resources"] = resources.clone();
    if release.is("ollama.gpu.enabled") {
        match release.text("ollama.gpu.type") {
            "nvidia" => {
                container["resources"]["limits"]["nvidia.com/gpu"] = release.value("ollama.gpu.number").clone();
                tolerations.push(json!({ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" }));
            }
            other => return Err(format!("not simulated: graphics cards of the type {other}")),
        }
    }
    let mut objects = vec![parts::account(release, name)];
    let volume = if release.is("persistentVolume.enabled") {
        let told = release.value("persistentVolume");
        let mode = told["accessModes"][0].as_str().unwrap_or("ReadWriteOnce");
        objects.push(parts::claim(name, &told["storageClass"], release.text("persistentVolume.size"), mode));
        json!({ "name": "ollama-data", "persistentVolumeClaim": { "claimName": name } })
    } else {
        json!({ "name": "ollama-data", "emptyDir": {} })
    };
    let mut deployment =
        parts::deployment(release, name, "", release.value("replicaCount").as_u64().unwrap_or(1), json!([container]));
    deployment["spec"]["strategy"] = json!({ "type": "Recreate" });
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["volumes"] = json!([volume]);
    spec["nodeSelector"] = release.value("nodeSelector").clone();
    if !tolerations.is_empty() {
        spec["tolerations"] = json!(tolerations);
    }
    if !release.text("runtimeClassName").is_empty() {
        spec["runtimeClassName"] = release.value("runtimeClassName").clone();
    }
    objects.push(deployment);
    objects.push(parts::service(release, name, "", &[("http", PORT, json!("http"))]));
    objects.extend(parts::ingress(release, name, "http"));
    Ok(objects)
}
