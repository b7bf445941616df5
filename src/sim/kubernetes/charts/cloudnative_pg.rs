//! CloudNativePG: an operator for databases of PostgreSQL.

use serde_json::{Value, json};

use super::parts::{self, Custom};
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "cloudnative-pg",
    repositories: &["https://cloudnative-pg.github.io/charts"],
    versions: &[Version { chart: "0.29.0", app: "1.30.0" }],
    values: "replicaCount: 1\ncrds: {create: true}\nmonitoring: {podMonitorEnabled: false}\n",
    render,
};

const GROUP: &str = "postgresql.cnpg.io";

const KINDS: &[Custom] = &[
    Custom {
        group: GROUP,
        versions: &["v1"],
        kind: "Cluster",
        plural: "clusters",
        short: &[],
        namespaced: true,
        fields: &[
            ("instances", "integer"),
            ("imageName", "string"),
            ("storage", "object"),
            ("bootstrap", "object"),
            ("managed", "object"),
            ("monitoring", "object"),
            ("resources", "object"),
            ("affinity", "object"),
            ("inheritedMetadata", "object"),
            ("postgresql", "object"),
            ("superuserSecret", "object"),
            ("enableSuperuserAccess", "boolean"),
        ],
        required: &["instances"],
    },
    Custom {
        group: GROUP,
        versions: &["v1"],
        kind: "Database",
        plural: "databases",
        short: &[],
        namespaced: true,
        fields: &[
            ("name", "string"),
            ("owner", "string"),
            ("cluster", "object"),
            ("ensure", "string"),
            ("databaseReclaimPolicy", "string"),
        ],
        required: &["cluster", "name", "owner"],
    },
    Custom {
        group: GROUP,
        versions: &["v1"],
        kind: "ScheduledBackup",
        plural: "scheduledbackups",
        short: &[],
        namespaced: true,
        fields: &[
            ("schedule", "string"),
            ("cluster", "object"),
            ("method", "string"),
            ("immediate", "boolean"),
            ("suspend", "boolean"),
            ("pluginConfiguration", "object"),
        ],
        required: &["cluster", "schedule"],
    },
];

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let mut objects: Vec<Value> = Vec::new();
    if release.is("crds.create") {
        objects.extend(KINDS.iter().map(Custom::definition));
    }
    let replicas = release.value("replicaCount").as_u64().unwrap_or(1);
    let image = format!("ghcr.io/cloudnative-pg/cloudnative-pg:{}", release.app);
    let container = parts::container("manager", &image, &[("metrics", 8080), ("webhook-server", 9443)]);
    objects.push(parts::account(release, release.name));
    objects.push(parts::deployment(release, release.name, "", replicas, json!([container])));
    objects.push(parts::service(
        release,
        "cnpg-webhook-service",
        "",
        &[("webhook-server", 443, json!("webhook-server"))],
    ));
    Ok(objects)
}
