//! Valkey: a cache that speaks as Redis does.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "valkey",
    repositories: &["https://valkey.io/valkey-helm"],
    versions: &[Version { chart: "0.11.0", app: "9.1.1" }],
    values: "replica: {enabled: false}\nauth: {enabled: false, usersExistingSecret: '', aclUsers: {}}\ndataStorage: {enabled: false, requestedSize: '', className: ''}\nservice: {port: 6379}\n",
    render,
};

const PORT: u16 = 6379;

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    if release.is("replica.enabled") {
        return Err("not simulated: replicas of Valkey".to_owned());
    }
    let name = release.name;
    let image = format!("docker.io/valkey/valkey:{}", release.app);
    let mut container = parts::container("valkey", &image, &[("tcp", PORT)]);
    container["volumeMounts"] = json!([{ "name": "valkey-data", "mountPath": "/data" }]);
    let mut volumes = Vec::new();
    let mut objects = vec![parts::account(release, name)];
    if release.is("auth.enabled") {
        let users = release.value("auth.aclUsers").as_object().cloned().unwrap_or_default();
        if !users.contains_key("default") {
            return Err("execution error at (valkey/templates/_helpers.tpl): auth.aclUsers.default is required: the default user would stay open".to_owned());
        }
        let secret = release.text("auth.usersExistingSecret");
        if secret.is_empty() && users.values().any(|user| user["password"].as_str().unwrap_or_default().is_empty()) {
            return Err("execution error at (valkey/templates/_helpers.tpl): every user needs a password, or auth.usersExistingSecret".to_owned());
        }
        if !secret.is_empty() {
            volumes.push(json!({ "name": "valkey-users-secret", "secret": { "secretName": secret } }));
        }
    }
    if release.is("dataStorage.enabled") {
        let size = release.text("dataStorage.requestedSize");
        if size.is_empty() {
            return Err(
                "execution error at (valkey/templates/pvc.yaml): dataStorage.requestedSize is required".to_owned()
            );
        }
        objects.push(parts::claim(name, release.value("dataStorage.className"), size, "ReadWriteOnce"));
        volumes.push(json!({ "name": "valkey-data", "persistentVolumeClaim": { "claimName": name } }));
    } else {
        volumes.push(json!({ "name": "valkey-data", "emptyDir": {} }));
    }
    let mut deployment = parts::deployment(release, name, "", 1, json!([container]));
    deployment["spec"]["strategy"] = json!({ "type": "Recreate" });
    deployment["spec"]["template"]["spec"]["volumes"] = json!(volumes);
    objects.push(deployment);
    objects.push(parts::service(release, name, "", &[("tcp", PORT, json!("tcp"))]));
    Ok(objects)
}
