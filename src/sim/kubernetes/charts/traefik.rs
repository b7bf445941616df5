//! Traefik, as K3s brings it along: in charts of its own.

use serde_json::{Value, json};

use super::parts::{self, Custom};
use super::{Chart, Release, Version};

const VERSIONS: &[Version] = &[Version { chart: "40.0.0+up40.0.0", app: "v3.7.0" }];

pub(super) const CHART: Chart = Chart {
    name: "traefik",
    repositories: &[],
    versions: VERSIONS,
    values: "deployment: {enabled: true, kind: Deployment, replicas: 1, podAnnotations: {}}\nadditionalArguments: []\nservice: {enabled: true, type: LoadBalancer, annotations: {}, spec: {}}\nproviders: {kubernetesIngress: {publishedService: {enabled: true}}}\nports: {web: {port: 8000, exposedPort: 80}, websecure: {port: 8443, exposedPort: 443}}\ningressClass: {enabled: true, isDefaultClass: true}\n",
    render,
};

/// Its kinds, which come with a chart apart.
pub(super) const KINDS: Chart = Chart {
    name: "traefik-crd",
    repositories: &[],
    versions: VERSIONS,
    values: "{}\n",
    render: |_| Ok(DEFINED.iter().map(Custom::definition).collect()),
};

const fn kind(kind: &'static str, plural: &'static str) -> Custom {
    Custom {
        group: "traefik.io",
        versions: &["v1alpha1"],
        kind,
        plural,
        short: &[],
        namespaced: true,
        fields: &[],
        required: &[],
    }
}

const DEFINED: &[Custom] = &[
    kind("IngressRoute", "ingressroutes"),
    kind("IngressRouteTCP", "ingressroutetcps"),
    kind("Middleware", "middlewares"),
    kind("ServersTransport", "serverstransports"),
    kind("TLSOption", "tlsoptions"),
    Custom {
        group: "traefik.io",
        versions: &["v1alpha1"],
        kind: "TLSStore",
        plural: "tlsstores",
        short: &[],
        namespaced: true,
        fields: &[("certificates", "array"), ("defaultCertificate", "object"), ("defaultGeneratedCert", "object")],
        required: &[],
    },
    kind("TraefikService", "traefikservices"),
];

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let instance = format!("{}-{}", release.name, release.namespace);
    let own = json!({ "app.kubernetes.io/instance": instance, "app.kubernetes.io/name": "traefik" });
    let port = |name: &str, part: &str, usual: u64| {
        release.value("ports")[name][part].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(usual as u16)
    };
    let (web, secure) = (port("web", "port", 8000), port("websecure", "port", 8443));
    let mut args = vec![
        format!("--entryPoints.web.address=:{web}/tcp"),
        format!("--entryPoints.websecure.address=:{secure}/tcp"),
        "--entryPoints.websecure.http.tls=true".to_owned(),
        "--providers.kubernetescrd".to_owned(),
        "--providers.kubernetesingress".to_owned(),
    ];
    if release.is("providers.kubernetesIngress.publishedService.enabled") {
        let service = format!("{}/{}", release.namespace, release.name);
        args.push(format!("--providers.kubernetesingress.ingressendpoint.publishedservice={service}"));
    }
    let more = release.value("additionalArguments").as_array().into_iter().flatten();
    args.extend(more.filter_map(|arg| arg.as_str().map(str::to_owned)));
    let image = format!("rancher/mirrored-library-traefik:{}", release.number());
    let mut container = parts::container("traefik", &image, &[("web", web), ("websecure", secure), ("metrics", 9100)]);
    container["args"] = json!(args);
    let replicas = release.value("deployment.replicas").as_u64().unwrap_or(1);
    let mut deployment = parts::deployment(release, release.name, "", replicas, json!([container]));
    let mut service = parts::service(
        release,
        release.name,
        "",
        &[
            ("web", port("web", "exposedPort", 80), json!("web")),
            ("websecure", port("websecure", "exposedPort", 443), json!("websecure")),
        ],
    );
    deployment["metadata"]["labels"] = own.clone();
    deployment["spec"]["selector"] = json!({ "matchLabels": own });
    deployment["spec"]["template"]["metadata"]["labels"] = own.clone();
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["priorityClassName"] = json!("system-cluster-critical");
    spec["tolerations"] = json!([
        { "key": "CriticalAddonsOnly", "operator": "Exists" },
        { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
    ]);
    service["metadata"]["labels"] = own.clone();
    service["metadata"]["annotations"] = release.value("service.annotations").clone();
    service["spec"]["selector"] = own.clone();
    service["spec"]["type"] = release.value("service.type").clone();
    service["spec"]["externalTrafficPolicy"] = json!("Cluster");
    service["spec"]["allocateLoadBalancerNodePorts"] = json!(true);
    for (name, value) in release.value("service.spec").as_object().into_iter().flatten() {
        service["spec"][name] = value.clone();
    }
    let mut objects = vec![parts::account(release, release.name), deployment, service];
    if release.is("ingressClass.enabled") {
        let default = release.is("ingressClass.isDefaultClass").to_string();
        objects.push(json!({
            "kind": "IngressClass", "apiVersion": "networking.k8s.io/v1",
            "metadata": { "name": "traefik", "labels": own, "annotations": { "ingressclass.kubernetes.io/is-default-class": default } },
            "spec": { "controller": "traefik.io/ingress-controller" },
        }));
    }
    Ok(objects)
}
