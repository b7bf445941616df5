//! MetalLB: addresses for services of the type LoadBalancer.

use serde_json::{Value, json};

use super::parts::{self, Custom};
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "metallb",
    repositories: &["https://metallb.github.io/metallb"],
    versions: &[Version { chart: "0.16.1", app: "v0.16.1" }, Version { chart: "0.15.3", app: "v0.15.3" }],
    values: "controller: {enabled: true}\nspeaker: {enabled: true, frr: {enabled: true}}\nfrrk8s: {enabled: true}\ncrds: {enabled: true}\n",
    render,
};

const GROUP: &str = "metallb.io";

const KINDS: &[Custom] = &[
    Custom {
        group: GROUP,
        versions: &["v1beta1"],
        kind: "IPAddressPool",
        plural: "ipaddresspools",
        short: &[],
        namespaced: true,
        fields: &[
            ("addresses", "strings"),
            ("autoAssign", "boolean"),
            ("avoidBuggyIPs", "boolean"),
            ("serviceAllocation", "object"),
        ],
        required: &["addresses"],
    },
    Custom {
        group: GROUP,
        versions: &["v1beta1"],
        kind: "L2Advertisement",
        plural: "l2advertisements",
        short: &[],
        namespaced: true,
        fields: &[
            ("ipAddressPools", "strings"),
            ("ipAddressPoolSelectors", "array"),
            ("nodeSelectors", "array"),
            ("serviceSelectors", "array"),
            ("interfaces", "strings"),
        ],
        required: &[],
    },
    Custom {
        group: GROUP,
        versions: &["v1beta1"],
        kind: "ServiceL2Status",
        plural: "servicel2statuses",
        short: &[],
        namespaced: true,
        fields: &[],
        required: &[],
    },
    Custom {
        group: GROUP,
        versions: &["v1beta1"],
        kind: "ConfigurationState",
        plural: "configurationstates",
        short: &[],
        namespaced: true,
        fields: &[],
        required: &[],
    },
];

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let image = |part: &str| format!("quay.io/metallb/{part}:{}", release.app);
    let mut objects: Vec<Value> = Vec::new();
    if release.is("crds.enabled") {
        objects.extend(KINDS.iter().map(Custom::definition));
    }
    let (controller, speaker) = (format!("{}-controller", release.name), format!("{}-speaker", release.name));
    objects.push(parts::account(release, &controller));
    objects.push(parts::account(release, &speaker));
    let container =
        parts::container("controller", &image("controller"), &[("metricshttps", 9120), ("webhook-server", 9443)]);
    objects.push(parts::deployment(release, &controller, "controller", 1, json!([container])));
    let container = parts::container("speaker", &image("speaker"), &[("metricshttps", 9120)]);
    let mut set = parts::daemon_set(release, &speaker, "speaker", json!([container]));
    set["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    set["spec"]["template"]["spec"]["tolerations"] = json!([
        { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
        { "key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule" },
    ]);
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({ "kubernetes.io/os": "linux" });
    objects.push(set);
    let name = "metallb-webhook-service";
    objects.push(parts::service(release, name, "controller", &[("https", 443, json!(9443))]));
    Ok(objects)
}
