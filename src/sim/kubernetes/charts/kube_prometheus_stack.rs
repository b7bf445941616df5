//! Prometheus with its operator, Alertmanager, Grafana, and what measures nodes and objects.
//!
//! What the operator would make of a Prometheus and an Alertmanager is made here at once.

use serde_json::{Value, json};

use super::parts::{self, Custom};
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "kube-prometheus-stack",
    repositories: &[
        "https://prometheus-community.github.io/helm-charts",
        "oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack",
    ],
    versions: &[Version { chart: "88.5.3", app: "v0.93.1" }],
    values: "crds: {enabled: true}\nprometheus: {prometheusSpec: {replicas: 1}}\nalertmanager: {alertmanagerSpec: {replicas: 1}}\ngrafana: {enabled: true, admin: {existingSecret: ''}, persistence: {enabled: false}, ingress: {enabled: false}}\nkubeControllerManager: {enabled: true, service: {port: 10257}}\nkubeScheduler: {enabled: true, service: {port: 10259}}\nkubeEtcd: {enabled: true, service: {port: 2381}}\nkubeProxy: {enabled: true, service: {port: 10249}}\n",
    render,
};

const GROUP: &str = "monitoring.coreos.com";

const fn kind(version: &'static [&'static str], kind: &'static str, plural: &'static str) -> Custom {
    Custom { group: GROUP, versions: version, kind, plural, short: &[], namespaced: true, fields: &[], required: &[] }
}

const KINDS: &[Custom] = &[
    kind(&["v1"], "Prometheus", "prometheuses"),
    kind(&["v1"], "Alertmanager", "alertmanagers"),
    kind(&["v1"], "ServiceMonitor", "servicemonitors"),
    kind(&["v1"], "PodMonitor", "podmonitors"),
    kind(&["v1"], "PrometheusRule", "prometheusrules"),
    kind(&["v1"], "Probe", "probes"),
    kind(&["v1"], "ThanosRuler", "thanosrulers"),
    kind(&["v1alpha1"], "ScrapeConfig", "scrapeconfigs"),
    kind(&["v1alpha1"], "AlertmanagerConfig", "alertmanagerconfigs"),
];

/// The parts of the control plane that have addresses instead of pods.
const PARTS: &[(&str, &str)] = &[
    ("kubeControllerManager", "kube-controller-manager"),
    ("kubeScheduler", "kube-scheduler"),
    ("kubeEtcd", "kube-etcd"),
    ("kubeProxy", "kube-proxy"),
];

/// What Prometheus is to look at: services with these labels.
fn monitor(name: &str, labels: &Value, port: &str) -> Value {
    json!({
        "kind": "ServiceMonitor", "apiVersion": "monitoring.coreos.com/v1", "metadata": { "name": name },
        "spec": { "selector": { "matchLabels": labels }, "namespaceSelector": { "any": true }, "endpoints": [{ "port": port }] },
    })
}

/// A StatefulSet with a volume, where its values want one.
fn stored(release: &Release<'_>, name: &str, component: &str, container: Value, told: &Value) -> Value {
    let replicas = told["replicas"].as_u64().unwrap_or(1);
    let mut container = container;
    container["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
    let mut set = parts::stateful_set(release, name, component, replicas, json!([container]));
    let claim = [&told["storageSpec"], &told["storage"]].into_iter().find(|one| one.is_object());
    match claim.map(|one| one["volumeClaimTemplate"]["spec"].clone()) {
        Some(spec) => set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" }, "spec": spec }]),
        None => set["spec"]["template"]["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]),
    }
    set
}

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let own = |part: &str| format!("{}-{part}", release.name);
    let mut objects: Vec<Value> = Vec::new();
    if release.is("crds.enabled") {
        objects.extend(KINDS.iter().map(Custom::definition));
    }
    for (part, image, port) in [
        ("operator", format!("quay.io/prometheus-operator/prometheus-operator:{}", release.app), 10250),
        ("kube-state-metrics", "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.17.0".to_owned(), 8080),
    ] {
        let container = parts::container(part, &image, &[("http", port)]);
        objects.push(parts::account(release, &own(part)));
        objects.push(parts::deployment(release, &own(part), part, 1, json!([container])));
        objects.push(parts::service(release, &own(part), part, &[("http", port, json!("http"))]));
        objects.push(monitor(&own(part), &parts::selector(release, part), "http"));
    }
    let name = own("prometheus-node-exporter");
    let container =
        parts::container("node-exporter", "quay.io/prometheus/node-exporter:v1.10.2", &[("http-metrics", 9100)]);
    let mut daemons = parts::daemon_set(release, &name, "node-exporter", json!([container]));
    daemons["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    daemons["spec"]["template"]["spec"]["tolerations"] = json!([{ "operator": "Exists", "effect": "NoSchedule" }]);
    objects.push(parts::account(release, &name));
    objects.push(daemons);
    objects.push(parts::service(release, &name, "node-exporter", &[("http-metrics", 9100, json!("http-metrics"))]));
    objects.push(monitor(&name, &parts::selector(release, "node-exporter"), "http-metrics"));
    for (part, image, port, told) in [
        ("prometheus", "quay.io/prometheus/prometheus:v3.8.0", 9090, release.value("prometheus.prometheusSpec")),
        (
            "alertmanager",
            "quay.io/prometheus/alertmanager:v0.29.0",
            9093,
            release.value("alertmanager.alertmanagerSpec"),
        ),
    ] {
        let mut container = parts::container(part, image, &[("http-web", port)]);
        if let Some(secret) = told["configSecret"].as_str().filter(|_| part == "alertmanager") {
            // It does not begin without its configuration.
            let key = json!({ "name": secret, "key": "alertmanager.yaml" });
            container["env"] = json!([{ "name": "CONFIG", "valueFrom": { "secretKeyRef": key } }]);
        }
        let set = format!("{part}-{}", own(part));
        objects.push(parts::account(release, &set));
        objects.push(stored(release, &set, part, container, told));
        objects.push(parts::service(release, &own(part), part, &[("http-web", port, json!("http-web"))]));
        objects.push(monitor(&own(part), &parts::selector(release, part), "http-web"));
    }
    for (value, part) in PARTS {
        objects.extend(control(release, value, part));
    }
    if release.is("grafana.enabled") {
        objects.extend(grafana(release, &own("grafana"))?);
    }
    objects.push(json!({
        "kind": "PrometheusRule", "apiVersion": "monitoring.coreos.com/v1", "metadata": { "name": own("general.rules") },
        "spec": { "groups": [{ "name": "general.rules", "rules": [
            { "alert": "Watchdog", "expr": "vector(1)", "labels": { "severity": "none" } },
            { "alert": "TargetDown", "expr": "100 * (count(up == 0) BY (job) / count(up) BY (job)) > 10", "for": "10m", "labels": { "severity": "warning" } },
        ] }] },
    }));
    Ok(objects)
}

/// A service of a part of the control plane, which has addresses where its values tell some.
fn control(release: &Release<'_>, value: &str, part: &str) -> Vec<Value> {
    let told = &release.values[value];
    if told["enabled"] != true {
        return Vec::new();
    }
    let name = format!("{}-{part}", release.name);
    let port = told["service"]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    let mut service = parts::service(release, &name, part, &[("http-metrics", port, json!(port))]);
    service["metadata"]["namespace"] = json!("kube-system");
    service["metadata"]["labels"]["jobLabel"] = json!(part);
    service["spec"]["clusterIP"] = json!("None");
    let addresses = told["endpoints"].as_array().cloned().unwrap_or_default();
    let mut objects = Vec::new();
    if addresses.is_empty() {
        service["spec"]["selector"] = json!({ "component": part });
    } else {
        if let Some(spec) = service["spec"].as_object_mut() {
            spec.shift_remove("selector");
        }
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        objects.push(json!({
            "kind": "Endpoints", "apiVersion": "v1", "metadata": { "name": name, "namespace": "kube-system" },
            "subsets": [{ "addresses": addresses, "ports": [{ "name": "http-metrics", "port": port, "protocol": "TCP" }] }],
        }));
    }
    objects.push(service);
    objects.push(monitor(&name, &json!({ "jobLabel": part }), "http-metrics"));
    objects
}

fn grafana(release: &Release<'_>, name: &str) -> Result<Vec<Value>, String> {
    let told = release.value("grafana");
    let mut container = parts::container("grafana", "docker.io/grafana/grafana:13.0.1", &[("grafana", 3000)]);
    let secret = match told["admin"]["existingSecret"].as_str().filter(|name| !name.is_empty()) {
        Some(secret) => secret.to_owned(),
        None => return Err("homelab sim: not simulated: Grafana with a password that its chart makes up; name a Secret in grafana.admin.existingSecret".into()),
    };
    let key = |field: &str, usual: &str| json!({ "secretKeyRef": { "name": secret, "key": told["admin"][field].as_str().unwrap_or(usual) } });
    container["env"] = json!([
        { "name": "GF_SECURITY_ADMIN_USER", "valueFrom": key("userKey", "admin-user") },
        { "name": "GF_SECURITY_ADMIN_PASSWORD", "valueFrom": key("passwordKey", "admin-password") },
    ]);
    let mut objects = vec![parts::account(release, name)];
    let mut volumes = Vec::new();
    if told["persistence"]["enabled"] == true {
        let size = told["persistence"]["size"].as_str().unwrap_or("10Gi");
        let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } });
        if told["persistence"]["storageClassName"].is_string() {
            spec["storageClassName"] = told["persistence"]["storageClassName"].clone();
        }
        objects.push(json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": { "name": name, "labels": parts::labels(release, "grafana"), "finalizers": ["kubernetes.io/pvc-protection"] },
            "spec": spec, "status": { "phase": "Pending" },
        }));
        volumes.push(json!({ "name": "storage", "persistentVolumeClaim": { "claimName": name } }));
        container["volumeMounts"] = json!([{ "name": "storage", "mountPath": "/var/lib/grafana" }]);
    }
    let mut deployment = parts::deployment(release, name, "grafana", 1, json!([container]));
    if !volumes.is_empty() {
        deployment["spec"]["template"]["spec"]["volumes"] = json!(volumes);
        // Two cannot have one database.
        deployment["spec"]["strategy"] = json!({ "type": "Recreate" });
    }
    objects.push(deployment);
    objects.push(parts::service(release, name, "grafana", &[("http-web", 80, json!("grafana"))]));
    objects.push(monitor(name, &parts::selector(release, "grafana"), "http-web"));
    let ingress = &told["ingress"];
    if ingress["enabled"] == true {
        let backend = json!({ "service": { "name": name, "port": { "number": 80 } } });
        let paths = json!([{ "path": "/", "pathType": "Prefix", "backend": backend }]);
        let hosts = ingress["hosts"].as_array().into_iter().flatten();
        let rules: Vec<Value> = hosts.map(|host| json!({ "host": host, "http": { "paths": paths } })).collect();
        let mut spec = json!({ "rules": rules });
        for field in ["ingressClassName", "tls"] {
            if !ingress[field].is_null() {
                spec[field] = ingress[field].clone();
            }
        }
        objects.push(json!({
            "kind": "Ingress", "apiVersion": "networking.k8s.io/v1",
            "metadata": { "name": name, "labels": parts::labels(release, "grafana") }, "spec": spec, "status": { "loadBalancer": {} },
        }));
    }
    Ok(objects)
}
