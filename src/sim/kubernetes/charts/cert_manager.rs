//! cert-manager: certificates from authorities that speak ACME.

use serde_json::{Value, json};

use super::parts::{self, Custom};
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "cert-manager",
    repositories: &["https://charts.jetstack.io", "oci://quay.io/jetstack/charts/cert-manager"],
    versions: &[Version { chart: "v1.21.1", app: "v1.21.1" }, Version { chart: "v1.20.0", app: "v1.20.0" }],
    values: "replicaCount: 1\ncrds: {enabled: false, keep: true}\nprometheus: {enabled: true}\nextraArgs: []\ndns01RecursiveNameservers: ''\ndns01RecursiveNameserversOnly: false\n",
    render,
};

/// A kind in the group of certificates, or in that of ACME.
const fn kind(group: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Custom {
    Custom { group, versions: &["v1"], kind, plural, short: &[], namespaced, fields: &[], required: &[] }
}

const CERTIFICATES: &str = "cert-manager.io";
const ACME: &str = "acme.cert-manager.io";

const KINDS: &[Custom] = &[
    Custom {
        group: CERTIFICATES,
        versions: &["v1"],
        kind: "Certificate",
        plural: "certificates",
        short: &["cert", "certs"],
        namespaced: true,
        fields: &[
            ("additionalOutputFormats", "array"),
            ("commonName", "string"),
            ("dnsNames", "strings"),
            ("duration", "string"),
            ("emailAddresses", "strings"),
            ("encodeUsagesInRequest", "boolean"),
            ("ipAddresses", "strings"),
            ("isCA", "boolean"),
            ("issuerRef", "object"),
            ("keystores", "object"),
            ("privateKey", "object"),
            ("renewBefore", "string"),
            ("renewBeforePercentage", "integer"),
            ("revisionHistoryLimit", "integer"),
            ("secretName", "string"),
            ("secretTemplate", "object"),
            ("subject", "object"),
            ("uris", "strings"),
            ("usages", "strings"),
        ],
        required: &["issuerRef", "secretName"],
    },
    kind(CERTIFICATES, "CertificateRequest", "certificaterequests", true),
    kind(CERTIFICATES, "Issuer", "issuers", true),
    kind(CERTIFICATES, "ClusterIssuer", "clusterissuers", false),
    kind(ACME, "Order", "orders", true),
    kind(ACME, "Challenge", "challenges", true),
];

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    if release.values.get("installCRDs").is_some_and(|told| *told == true) && release.is("crds.enabled") {
        return Err("execution error at (cert-manager/templates/crds.yaml): ERROR: the deprecated .installCRDs option cannot be enabled at the same time as its replacement .crds.enabled".into());
    }
    let mut objects: Vec<Value> = Vec::new();
    if release.is("crds.enabled") || release.is("installCRDs") {
        objects.extend(KINDS.iter().map(Custom::definition));
    }
    let name = |part: &str| match part {
        "controller" => release.name.to_owned(),
        part => format!("{}-{part}", release.name),
    };
    let replicas = release.value("replicaCount").as_u64().unwrap_or(1);
    for (part, ports) in [
        ("controller", &[("http-metrics", 9402), ("http-healthz", 9403)][..]),
        ("webhook", &[("https", 10250), ("healthcheck", 6080)]),
        ("cainjector", &[]),
    ] {
        let image = format!("quay.io/jetstack/cert-manager-{part}:{}", release.app);
        let mut container = parts::container(&format!("cert-manager-{part}"), &image, ports);
        if part == "controller" {
            container["args"] = args(release);
        }
        objects.push(parts::account(release, &name(part)));
        let count = if part == "controller" { replicas } else { 1 };
        objects.push(parts::deployment(release, &name(part), part, count, json!([container])));
    }
    objects.push(parts::service(release, &name("webhook"), "webhook", &[("https", 443, json!("https"))]));
    if release.is("prometheus.enabled") {
        objects.push(parts::service(
            release,
            release.name,
            "controller",
            &[("tcp-prometheus-servicemonitor", 9402, json!("http-metrics"))],
        ));
    }
    Ok(objects)
}

fn args(release: &Release<'_>) -> Value {
    let mut args = vec!["--v=2".to_owned(), "--cluster-resource-namespace=$(POD_NAMESPACE)".to_owned()];
    let servers = release.text("dns01RecursiveNameservers");
    if !servers.is_empty() {
        args.push(format!("--dns01-recursive-nameservers={servers}"));
    }
    if release.is("dns01RecursiveNameserversOnly") {
        args.push("--dns01-recursive-nameservers-only".to_owned());
    }
    args.extend(
        release.value("extraArgs").as_array().into_iter().flatten().filter_map(|arg| arg.as_str().map(str::to_owned)),
    );
    json!(args)
}
