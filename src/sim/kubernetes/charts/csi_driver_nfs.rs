//! The driver for volumes on NFS servers.

use serde_json::{Value, json};

use super::parts;
use super::{Chart, Release, Version};

pub(super) const CHART: Chart = Chart {
    name: "csi-driver-nfs",
    repositories: &["https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts"],
    versions: &[Version { chart: "4.13.4", app: "v4.13.4" }, Version { chart: "v4.12.1", app: "v4.12.1" }],
    values: "driver: {name: nfs.csi.k8s.io, mountPermissions: 0}\ncontroller: {replicas: 1}\nstorageClass: {create: false}\n",
    render,
};

const SIDECARS: &str = "registry.k8s.io/sig-storage";

fn render(release: &Release<'_>) -> Result<Vec<Value>, String> {
    let driver = json!({
        "kind": "CSIDriver", "apiVersion": "storage.k8s.io/v1", "metadata": { "name": release.text("driver.name") },
        "spec": {
            "attachRequired": false, "volumeLifecycleModes": ["Persistent"], "fsGroupPolicy": "File", "podInfoOnMount": false,
            "requiresRepublish": false, "storageCapacity": false,
        },
    });
    let plugin = format!("{SIDECARS}/nfsplugin:{}", release.app);
    let one = |name: &str, image: &str| parts::container(name, &format!("{SIDECARS}/{image}"), &[]);
    let replicas = release.value("controller.replicas").as_u64().unwrap_or(1);
    let controller = json!([
        one("csi-provisioner", "csi-provisioner:v5.3.0"),
        one("csi-resizer", "csi-resizer:v1.14.0"),
        one("liveness-probe", "livenessprobe:v2.17.0"),
        parts::container("nfs", &plugin, &[("healthz", 29652)]),
    ]);
    let node = json!([
        one("liveness-probe", "livenessprobe:v2.17.0"),
        one("node-driver-registrar", "csi-node-driver-registrar:v2.15.0"),
        parts::container("nfs", &plugin, &[("healthz", 29653)]),
    ]);
    let (first, second) = ("csi-nfs-controller-sa", "csi-nfs-node-sa");
    let mut deployment = parts::deployment(release, "csi-nfs-controller", "controller", replicas, controller);
    let mut daemons = parts::daemon_set(release, "csi-nfs-node", "node", node);
    for (object, account) in [(&mut deployment, first), (&mut daemons, second)] {
        let spec = &mut object["spec"]["template"]["spec"];
        spec["serviceAccountName"] = json!(account);
        spec["hostNetwork"] = json!(true);
        spec["tolerations"] = json!([{ "operator": "Exists" }]);
        spec["nodeSelector"] = json!({ "kubernetes.io/os": "linux" });
    }
    let mut objects =
        vec![driver, parts::account(release, first), parts::account(release, second), deployment, daemons];
    if release.is("storageClass.create") {
        let told = release.value("storageClass");
        let mut class = json!({
            "kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": { "name": told["name"] },
            "provisioner": release.text("driver.name"),
        });
        for part in ["parameters", "mountOptions", "reclaimPolicy", "volumeBindingMode", "allowVolumeExpansion"] {
            if !told[part].is_null() {
                class[part] = told[part].clone();
            }
        }
        objects.push(class);
    }
    Ok(objects)
}
