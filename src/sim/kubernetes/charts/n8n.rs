//! n8n: automations, with a database that something else keeps.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "n8n",
    repositories: &["https://community-charts.github.io/helm-charts"],
    versions: &[Version { chart: "1.24.32", app: "2.35.7" }],
    values: "db: {type: sqlite}\nexternalPostgresql: {host: '', port: 5432, username: postgres, password: '', database: n8n, existingSecret: '', existingSecretPasswordKey: postgres-password}\nexistingEncryptionKeySecret: ''\nencryptionKey: ''\nmain: {count: 1, extraEnvVars: {}}\nwebhook: {mode: regular, url: ''}\nworker: {mode: regular}\nservice: {port: 5678}\ningress: {enabled: false, className: '', hosts: []}\n",
    render,
};

/// Where it listens.
const PORT: u16 = 5678;

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let kind = release.text("db.type");
    if !["sqlite", "postgresdb"].contains(&kind) {
        return Err(format!(
            "values don't meet the specifications of the schema(s) in the following chart(s):\nn8n:\n- at '/db/type': value must be one of 'sqlite', 'postgresdb', got '{kind}'"
        ));
    }
    if release.text("worker.mode") == "queue" || release.text("webhook.mode") == "queue" {
        return Err("not simulated: queues".to_owned());
    }
    let replicas = release.value("main.count").as_u64().unwrap_or(1);
    let name = release.name;
    let mut env =
        vec![json!({ "name": "DB_TYPE", "value": kind }), json!({ "name": "N8N_PORT", "value": PORT.to_string() })];
    if kind == "postgresdb" {
        env.extend(database(release));
    }
    env.push(match release.text("existingEncryptionKeySecret") {
        "" => secret("N8N_ENCRYPTION_KEY", &format!("{name}-encryption-key-secret-v2"), "N8N_ENCRYPTION_KEY"),
        own => secret("N8N_ENCRYPTION_KEY", own, "N8N_ENCRYPTION_KEY"),
    });
    for (name, value) in release.value("main.extraEnvVars").as_object().into_iter().flatten() {
        env.push(json!({ "name": name, "value": value.as_str().map_or_else(|| value.to_string(), str::to_owned) }));
    }
    let mut container = parts::container("n8n-main", &format!("n8nio/n8n:{}", release.app), &[("http", PORT)]);
    container["env"] = json!(env);
    container["readinessProbe"] = json!({ "httpGet": { "path": "/healthz/readiness", "port": "http" } });
    let mut objects = vec![
        parts::account(release, name),
        parts::deployment(release, name, "main", replicas, json!([container])),
        parts::service(release, name, "main", &[("http", PORT, json!("http"))]),
    ];
    if release.text("existingEncryptionKeySecret").is_empty() {
        let name = format!("{name}-encryption-key-secret-v2");
        let data = json!({ "N8N_ENCRYPTION_KEY": "bWFkZSB1cCBieSB0aGUgY2hhcnQ=" });
        objects.push(json!({ "kind": "Secret", "apiVersion": "v1", "metadata": { "name": name }, "type": "Opaque", "data": data }));
    }
    objects.extend(parts::ingress(release, name, "http"));
    Ok(objects)
}

/// How it reaches its database.
fn database(release: &Release<'_>) -> Vec<Value> {
    let plain = |name: &str, path: &str| {
        let value = release.value(path);
        json!({ "name": name, "value": value.as_str().map_or_else(|| value.to_string(), str::to_owned) })
    };
    let mut env = vec![
        plain("DB_POSTGRESDB_HOST", "externalPostgresql.host"),
        plain("DB_POSTGRESDB_PORT", "externalPostgresql.port"),
        plain("DB_POSTGRESDB_USER", "externalPostgresql.username"),
        plain("DB_POSTGRESDB_DATABASE", "externalPostgresql.database"),
    ];
    env.push(match release.text("externalPostgresql.existingSecret") {
        "" => plain("DB_POSTGRESDB_PASSWORD", "externalPostgresql.password"),
        own => secret("DB_POSTGRESDB_PASSWORD", own, release.text("externalPostgresql.existingSecretPasswordKey")),
    });
    env
}

fn secret(name: &str, of: &str, key: &str) -> Value {
    json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": of, "key": key } } })
}
