//! Flux and releases of charts: what becomes of a HelmRelease, and of a release that K3s has made.

use serde_json::{Value, json};

use super::lab::Lab;
use super::workloads::one;
use crate::sim::kubernetes::Outside;
use crate::sim::seed::InternetSeed;
use crate::sim::web::Internet;

const RELEASES: &str = "helmreleases.helm.toolkit.fluxcd.io";
const REPOSITORIES: &str = "helmrepositories.source.toolkit.fluxcd.io";
const CHARTS: &str = "helmcharts.helm.cattle.io";
const VALKEY: &str = "https://valkey.io/valkey-helm";

/// One server with the controllers of Flux that charts need, and a repository of charts.
fn with_flux() -> Lab {
    let mut lab = one();
    let made = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "flux-system" } });
    assert_eq!(lab.send("cp-1", "POST", "/api/v1/namespaces", "application/json", made).status, 201);
    for name in ["source-controller", "helm-controller"] {
        let labels = json!({ "app": name });
        let container = json!({ "name": "manager", "image": format!("ghcr.io/fluxcd/{name}:v1.9.4") });
        let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
        let spec = json!({ "replicas": 1, "selector": { "matchLabels": labels }, "template": template });
        lab.put("deployments.apps", "flux-system", name, json!({ "metadata": { "generation": 1 }, "spec": spec }));
    }
    let repository = json!({ "metadata": { "generation": 1 }, "spec": { "interval": "1h", "url": VALKEY } });
    lab.put(REPOSITORIES, "default", "valkey", repository);
    lab.pass(3000);
    lab
}

/// Lets Flux go on for a while.
fn follow(lab: &mut Lab, millis: u64) {
    let mut internet = Internet::found(&InternetSeed::default(), &[]);
    for _ in 0..millis / 100 {
        lab.pass(100);
        let mut vouch = |_: bool, _: &[String], _: u64, _: u64| None;
        let internet = &mut internet;
        let mut outside = Outside { internet, token: "", vouch: &mut vouch, is_stuck: false, now: lab.now, pace: 1.0 };
        lab.kubernetes.run_certificates(&mut outside);
    }
}

/// A HelmRelease of Valkey.
fn release(version: &str, values: Value) -> Value {
    let source = json!({ "kind": "HelmRepository", "name": "valkey" });
    let chart = json!({ "spec": { "chart": "valkey", "version": version, "sourceRef": source } });
    let spec = json!({
        "interval": "10m", "releaseName": "valkey", "timeout": "5m", "chart": chart, "values": values,
        "driftDetection": { "mode": "enabled" }, "upgrade": { "remediation": { "retries": 1, "strategy": "rollback" } },
    });
    json!({ "metadata": { "generation": 1, "uid": "f1", "name": "valkey", "namespace": "default" }, "spec": spec })
}

fn condition(lab: &Lab, kind: &str) -> (String, String) {
    let release = lab.look(RELEASES, "default", "valkey");
    let all = release["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|one| one["type"] == kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// The releases that are kept, and how far each is.
fn kept(lab: &Lab) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = lab.every("secrets", "default").into_iter().filter(|secret| secret["type"] == "helm.sh/release.v1");
    all.map(|secret| (text(&secret["metadata"]["name"]), text(&secret["metadata"]["labels"]["status"]))).collect()
}

fn told(name: &str, status: &str) -> (String, String) {
    (name.to_owned(), status.to_owned())
}

fn alter(lab: &mut Lab, change: impl FnOnce(&mut Value)) {
    lab.alter(RELEASES, "default", "valkey", change);
}

#[test]
fn a_release_is_installed_once_its_objects_are_ready_and_upgraded_with_other_values() {
    let mut lab = with_flux();
    lab.put(RELEASES, "default", "valkey", release("0.11.0", json!({})));
    follow(&mut lab, 5000);
    let (ready, words) = condition(&lab, "Ready");
    assert_eq!(ready, "True", "{words}");
    assert_eq!(words, "Helm install succeeded for release default/valkey.v1 with chart valkey@0.11.0");
    assert_eq!(condition(&lab, "Released").0, "True");
    let deployment = lab.look("deployments.apps", "default", "valkey");
    assert_eq!(deployment["status"]["availableReplicas"], 1, "{deployment}");
    assert_eq!(deployment["metadata"]["labels"]["helm.toolkit.fluxcd.io/name"], "valkey");
    alter(&mut lab, |release| {
        release["spec"]["values"] =
            json!({ "dataStorage": { "enabled": true, "requestedSize": "1Gi", "className": "local-path" } });
    });
    follow(&mut lab, 8000);
    assert_eq!(
        condition(&lab, "Ready").1,
        "Helm upgrade succeeded for release default/valkey.v2 with chart valkey@0.11.0"
    );
    let names = ["sh.helm.release.v1.valkey.v1", "sh.helm.release.v1.valkey.v2"];
    assert_eq!(kept(&lab), [told(names[0], "superseded"), told(names[1], "deployed")]);
    let history = lab.look(RELEASES, "default", "valkey")["status"]["history"].clone();
    assert_eq!((&history[0]["version"], &history[1]["status"]), (&json!(2), &json!("superseded")), "{history}");
    let before = lab.cluster().store.version();
    follow(&mut lab, 3000);
    assert_eq!(lab.cluster().store.version(), before, "nothing goes on once all is done");
}

#[test]
fn what_somebody_changes_of_a_release_is_put_back() {
    let mut lab = with_flux();
    lab.put(RELEASES, "default", "valkey", release("0.11.0", json!({})));
    follow(&mut lab, 5000);
    lab.alter("deployments.apps", "default", "valkey", |one| one["spec"]["replicas"] = json!(3));
    alter(&mut lab, |release| release["spec"]["interval"] = json!("1s"));
    follow(&mut lab, 3000);
    assert_eq!(lab.look("deployments.apps", "default", "valkey")["spec"]["replicas"], 1);
    assert!(lab.told("default", "DriftDetected")[0].contains("Deployment/default/valkey changed"));
    assert_eq!(kept(&lab).len(), 1, "that is no release of its own");
}

#[test]
fn a_release_that_fails_is_told_in_the_words_of_helm_and_tried_as_often_as_it_says() {
    let mut lab = with_flux();
    let open = json!({ "auth": { "enabled": true, "aclUsers": {} } });
    let mut wanted = release("0.11.0", open.clone());
    wanted["spec"]["install"] = json!({ "remediation": { "retries": 1 } });
    lab.put(RELEASES, "default", "valkey", wanted);
    follow(&mut lab, 6000);
    let (ready, words) = condition(&lab, "Ready");
    assert_eq!(ready, "False");
    assert!(
        words
            .starts_with("Helm install failed for release default/valkey with chart valkey@0.11.0: execution error at"),
        "{words}"
    );
    assert_eq!(condition(&lab, "Stalled"), told("True", "Failed to install after 2 attempt(s)"));
    assert_eq!(condition(&lab, "Remediated").0, "True");
    assert_eq!(lab.look(RELEASES, "default", "valkey")["status"]["failures"], 2);

    // What is corrected is tried again; an upgrade that fails leaves what was there.
    alter(&mut lab, |release| release["spec"]["values"] = json!({}));
    follow(&mut lab, 6000);
    assert_eq!(condition(&lab, "Ready").0, "True", "{:?}", condition(&lab, "Ready"));
    assert_eq!(condition(&lab, "Stalled").0, "");
    alter(&mut lab, |release| release["spec"]["values"] = open);
    follow(&mut lab, 8000);
    assert!(condition(&lab, "Released").1.starts_with("Helm upgrade failed for release default/valkey"));
    assert_eq!(condition(&lab, "Stalled").1, "Failed to upgrade after 2 attempt(s)");
    assert!(condition(&lab, "Remediated").1.starts_with("Helm rollback to previous release default/valkey.v"));
    assert_eq!(lab.look("deployments.apps", "default", "valkey")["status"]["availableReplicas"], 1);
}

#[test]
fn what_a_release_needs_and_has_not_is_named() {
    let mut lab = with_flux();
    lab.put(RELEASES, "default", "valkey", release("9.9.9", json!({})));
    follow(&mut lab, 1000);
    let words = condition(&lab, "Ready").1;
    assert!(words.ends_with("no 'valkey' chart with version matching '9.9.9' found"), "{words}");
    alter(&mut lab, |release| {
        release["spec"]["chart"]["spec"]["version"] = json!("0.11.0");
        release["spec"]["valuesFrom"] = json!([{ "kind": "Secret", "name": "more" }]);
    });
    follow(&mut lab, 1000);
    let words = condition(&lab, "Ready").1;
    assert_eq!(
        words,
        "could not resolve Secret chart values reference 'default/more' with key 'values.yaml': secrets \"more\" not found"
    );
    lab.put("secrets", "default", "more", json!({ "metadata": {}, "data": { "values.yaml": "ZGF0YVN0b3JhZ2U6IHtlbmFibGVkOiB0cnVlLCByZXF1ZXN0ZWRTaXplOiAxR2ksIGNsYXNzTmFtZTogbG9jYWwtcGF0aH0K" } }));
    follow(&mut lab, 8000);
    assert_eq!(condition(&lab, "Ready").0, "True", "{:?}", condition(&lab, "Ready"));
    assert_eq!(lab.every("persistentvolumeclaims", "default").len(), 1, "the Secret asks for a volume");
    let url = "https://nowhere.example/charts";
    lab.alter(REPOSITORIES, "default", "valkey", |repository| repository["spec"]["url"] = json!(url));
    follow(&mut lab, 500);
    let repository = lab.look(REPOSITORIES, "default", "valkey");
    let words = repository["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(words.contains("failed to fetch https://nowhere.example/charts/index.yaml : 404 Not Found"), "{words}");
}

#[test]
fn a_suspended_release_stays_as_it_is_until_it_is_resumed() {
    let mut lab = with_flux();
    let mut wanted = release("0.11.0", json!({}));
    wanted["spec"]["suspend"] = json!(true);
    lab.put(RELEASES, "default", "valkey", wanted);
    follow(&mut lab, 2000);
    assert!(kept(&lab).is_empty() && lab.look(RELEASES, "default", "valkey")["status"].is_null());
    alter(&mut lab, |release| release["spec"]["suspend"] = json!(false));
    follow(&mut lab, 5000);
    assert_eq!(condition(&lab, "Ready").0, "True");
    alter(&mut lab, |release| release["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    follow(&mut lab, 2000);
    assert!(lab.look(RELEASES, "default", "valkey").is_null());
    assert!(kept(&lab).is_empty() && lab.look("deployments.apps", "default", "valkey").is_null());
}

#[test]
fn a_release_of_k3s_is_taken_over_and_its_pods_stay_where_k3s_has_let_go_of_it() {
    let mut lab = with_flux();
    let spec = json!({ "chart": "valkey", "repo": VALKEY, "version": "0.11.0", "targetNamespace": "default", "failurePolicy": "abort" });
    lab.put(CHARTS, "kube-system", "valkey", json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} }));
    follow(&mut lab, 6000);
    let pods = |lab: &Lab| -> Vec<Value> {
        let all = lab.every("pods", "default").into_iter();
        all.filter(|pod| pod["status"]["phase"] == "Running").map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    let before = pods(&lab);
    assert_eq!(before.len(), 1);
    lab.put(RELEASES, "default", "valkey", release("0.11.0", json!({})));
    follow(&mut lab, 5000);
    assert_eq!(
        condition(&lab, "Ready").1,
        "Helm upgrade succeeded for release default/valkey.v2 with chart valkey@0.11.0"
    );

    // Nobody takes away what holds a chart that K3s does not look after: it stays until somebody does.
    lab.alter(CHARTS, "kube-system", "valkey", |chart| {
        chart["metadata"]["annotations"]["helmcharts.helm.cattle.io/unmanaged"] = json!("true");
        chart["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    follow(&mut lab, 2000);
    assert!(!lab.look(CHARTS, "kube-system", "valkey").is_null());
    assert!(lab.look("jobs.batch", "kube-system", "helm-delete-valkey").is_null());
    assert_eq!(pods(&lab), before);
}
