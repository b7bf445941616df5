//! Charts: what the helm-controller makes of them, and what becomes of their releases.

use serde_json::{Value, json};

use super::lab::Lab;
use super::workloads::one;
use crate::sim::kubernetes::api::Body;

const METALLB: &str = "https://metallb.github.io/metallb";

fn chart(spec: Value) -> Value {
    json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} })
}

fn metallb(version: &str) -> Value {
    chart(json!({
        "chart": "metallb", "repo": METALLB, "version": version, "targetNamespace": "metallb-system",
        "createNamespace": true, "failurePolicy": "abort", "values": { "frrk8s": { "enabled": false } },
    }))
}

const CHARTS: &str = "helmcharts.helm.cattle.io";

/// The log of the Job of a chart.
fn log(lab: &mut Lab, name: &str) -> String {
    let pods = lab.every("pods", "kube-system");
    let own = pods.iter().find(|pod| pod["metadata"]["labels"]["helmcharts.helm.cattle.io/chart"] == name).unwrap();
    let name = own["metadata"]["name"].as_str().unwrap().to_owned();
    match lab.api("cp-1", "GET", &format!("/api/v1/namespaces/kube-system/pods/{name}/log")).body {
        Body::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn releases(lab: &Lab, namespace: &str, name: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = lab.every("secrets", namespace).into_iter().filter(|secret| secret["metadata"]["labels"]["name"] == name);
    all.map(|secret| (text(&secret["metadata"]["name"]), text(&secret["metadata"]["labels"]["status"]))).collect()
}

#[test]
fn a_chart_is_installed_by_a_job_and_its_release_is_kept() {
    let mut lab = one();
    lab.put(CHARTS, "kube-system", "metallb", metallb("0.16.1"));
    lab.pass(2500);
    let job = lab.look("jobs.batch", "kube-system", "helm-install-metallb");
    assert_eq!(job["status"]["succeeded"], 1, "{job}");
    let made = lab.look(CHARTS, "kube-system", "metallb");
    assert_eq!(made["status"]["jobName"], "helm-install-metallb");
    assert_eq!(made["status"]["conditions"][0]["type"], "JobCreated");
    assert_eq!(
        releases(&lab, "metallb-system", "metallb"),
        [("sh.helm.release.v1.metallb.v1".into(), "deployed".into())]
    );
    let controller = lab.look("deployments.apps", "metallb-system", "metallb-controller");
    assert_eq!(controller["status"]["availableReplicas"], 1, "{controller}");
    let speaker = lab.look("daemonsets.apps", "metallb-system", "metallb-speaker");
    assert_eq!(speaker["status"]["numberReady"], 1, "{speaker}");
    let kind = lab.look("customresourcedefinitions.apiextensions.k8s.io", "", "ipaddresspools.metallb.io");
    assert_eq!(kind["status"]["conditions"][1]["type"], "Established", "{kind}");
    assert!(log(&mut lab, "metallb").contains("STATUS: deployed"));
    let before = lab.cluster().store.version();
    lab.pass(3000);
    assert_eq!(lab.cluster().store.version(), before, "nothing goes on once all is done");
}

#[test]
fn a_version_that_there_is_not_fails_with_words_of_helm() {
    let mut lab = one();
    lab.put(CHARTS, "kube-system", "metallb", metallb("9.9.9"));
    lab.pass(1500);
    let text = log(&mut lab, "metallb");
    assert!(
        text.contains("Error: chart \"metallb\" version \"9.9.9\" not found in https://metallb.github.io/metallb"),
        "{text}"
    );
    let pods = lab.every("pods", "kube-system");
    let own =
        pods.iter().find(|pod| pod["metadata"]["labels"]["helmcharts.helm.cattle.io/chart"] == "metallb").unwrap();
    assert!(own["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0), "{own}");
    assert!(releases(&lab, "metallb-system", "metallb").is_empty());
    lab.alter(CHARTS, "kube-system", "metallb", |chart| chart["spec"]["backOffLimit"] = json!(1));
    lab.pass(3000);
    let job = lab.look("jobs.batch", "kube-system", "helm-install-metallb");
    assert_eq!(job["status"]["conditions"][1]["type"], "Failed", "{job}");
}

#[test]
fn other_values_make_another_release_and_the_last_one_goes_with_its_chart() {
    let mut lab = one();
    lab.put(CHARTS, "kube-system", "metallb", metallb("0.15.3"));
    lab.pass(2500);
    lab.alter(CHARTS, "kube-system", "metallb", |chart| chart["spec"]["version"] = json!("0.16.1"));
    lab.pass(3500);
    let told = releases(&lab, "metallb-system", "metallb");
    assert_eq!(told.iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>(), ["superseded", "deployed"]);
    let controller = lab.look("deployments.apps", "metallb-system", "metallb-controller");
    assert_eq!(controller["spec"]["template"]["spec"]["containers"][0]["image"], "quay.io/metallb/controller:v0.16.1");
    lab.alter(CHARTS, "kube-system", "metallb", |chart| {
        chart["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    lab.pass(3000);
    assert!(lab.look(CHARTS, "kube-system", "metallb").is_null());
    assert!(lab.look("deployments.apps", "metallb-system", "metallb-controller").is_null());
    assert!(releases(&lab, "metallb-system", "metallb").is_empty());
    let kept = lab.look("customresourcedefinitions.apiextensions.k8s.io", "", "ipaddresspools.metallb.io");
    assert!(!kept.is_null(), "kinds stay");
}

#[test]
fn a_chart_without_its_namespace_says_so() {
    let mut lab = one();
    let mut wanted = metallb("0.16.1");
    wanted["spec"]["createNamespace"] = json!(false);
    lab.put(CHARTS, "kube-system", "metallb", wanted);
    lab.pass(1000);
    let text = log(&mut lab, "metallb");
    assert!(
        text.contains("INSTALLATION FAILED: create: failed to create: namespaces \"metallb-system\" not found"),
        "{text}"
    );
}

#[test]
fn what_a_config_says_of_traefik_is_what_it_runs_with() {
    let mut lab = one();
    let config = json!({ "metadata": {}, "spec": { "valuesContent": "deployment:\n  replicas: 2\nservice:\n  annotations:\n    metallb.io/loadBalancerIPs: 10.20.11.200\n" } });
    lab.put("helmchartconfigs.helm.cattle.io", "kube-system", "traefik", config);
    lab.pass(3000);
    assert_eq!(lab.look("deployments.apps", "kube-system", "traefik")["spec"]["replicas"], 2);
    let service = lab.look("services", "kube-system", "traefik");
    assert_eq!(service["metadata"]["annotations"]["metallb.io/loadBalancerIPs"], "10.20.11.200");
}

#[test]
fn the_directory_of_a_claim_on_a_file_server_outlives_its_pods() {
    let mut lab = one();
    let exports = [("10.20.10.20".to_owned(), vec!["/volume1/k8s".to_owned()])];
    lab.kubernetes.around.nfs = exports.into_iter().collect();
    let repository = "https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts";
    let driver = json!({ "chart": "csi-driver-nfs", "repo": repository, "version": "4.13.4" });
    let class = |share: &str| {
        json!({
            "metadata": {}, "provisioner": "nfs.csi.k8s.io", "reclaimPolicy": "Retain",
            "parameters": { "server": "10.20.10.20", "share": share, "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}" },
        })
    };
    let claim = |class: &str| json!({ "metadata": {}, "spec": { "storageClassName": class, "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Gi" } } } });
    lab.put("storageclasses.storage.k8s.io", "", "nfs", class("/volume1/k8s"));
    lab.put("persistentvolumeclaims", "default", "shared", claim("nfs"));
    lab.pass(500);
    assert!(lab.told("default", "ExternalProvisioning")[0].contains("nfs.csi.k8s.io"), "nobody is there yet");
    lab.put(CHARTS, "kube-system", "csi-driver-nfs", chart(driver));
    lab.pass(3000);
    assert_eq!(lab.look("persistentvolumeclaims", "default", "shared")["status"]["phase"], "Bound");
    lab.put("storageclasses.storage.k8s.io", "", "other", class("/volume1/elsewhere"));
    lab.put("persistentvolumeclaims", "default", "wrong", claim("other"));
    lab.pass(500);
    assert!(lab.told("default", "ProvisioningFailed")[0].contains("access denied by server"));
    let job = |command: &str| {
        let mount = json!([{ "name": "data", "mountPath": "/data" }]);
        let container =
            json!({ "name": "c", "image": "busybox:1.37", "command": ["sh", "-c", command], "volumeMounts": mount });
        let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "shared" } }]);
        json!({ "metadata": {}, "spec": { "backoffLimit": 0, "template": { "spec": { "restartPolicy": "Never", "containers": [container], "volumes": volumes } } } })
    };
    lab.put("jobs.batch", "default", "write", job("echo hello > /data/greeting"));
    lab.until("what is written", |lab| lab.look("jobs.batch", "default", "write")["status"]["succeeded"] == 1);
    lab.put("jobs.batch", "default", "read", job("grep hello /data/greeting"));
    lab.until("what is read", |lab| lab.look("jobs.batch", "default", "read")["status"]["conditions"].is_array());
    assert_eq!(lab.look("jobs.batch", "default", "read")["status"]["succeeded"], 1);
}
