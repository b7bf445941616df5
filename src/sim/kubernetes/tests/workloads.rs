//! What becomes of objects that others are made for: workloads, their pods, and the volumes that those want.

use serde_json::{Value, json};

use super::lab::{FIRST, Lab};
use crate::sim::kubernetes::store::Key;

/// One server, with what K3s brings along.
pub(super) fn one() -> Lab {
    let mut lab = Lab::of(&["cp-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    lab.pass(4000);
    lab
}

impl Lab {
    /// Puts an object into the only cluster, as a controller would.
    pub(super) fn put(&mut self, resource: &str, namespace: &str, name: &str, object: Value) {
        let now = self.now;
        let cluster = self.kubernetes.clusters.values_mut().next().unwrap();
        cluster.store.make(&Key::new(resource, namespace, name), object, now);
    }

    /// Changes an object of the only cluster; its generation is a new one.
    pub(super) fn alter(&mut self, resource: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let cluster = self.kubernetes.clusters.values_mut().next().unwrap();
        cluster.store.change(&Key::new(resource, namespace, name), |object| {
            change(object);
            let generation = object["metadata"]["generation"].as_u64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        });
    }

    /// An object of the only cluster.
    pub(super) fn look(&self, resource: &str, namespace: &str, name: &str) -> Value {
        self.cluster().store.get(&Key::new(resource, namespace, name)).cloned().unwrap_or_default()
    }

    /// All objects of a resource in a namespace.
    pub(super) fn every(&self, resource: &str, namespace: &str) -> Vec<Value> {
        self.cluster().store.list(resource, Some(namespace)).cloned().collect()
    }

    /// The messages of events with a reason.
    pub(super) fn told(&self, namespace: &str, reason: &str) -> Vec<String> {
        let events = self.every("events", namespace).into_iter().filter(|event| event["reason"] == reason);
        events.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Lets time pass until something holds, in the lab's time and in that of the shells that run commands.
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&Lab) -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !holds(self) {
            assert!(std::time::Instant::now() < deadline, "never came: {what}");
            self.pass(100);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

fn pods(labels: Value, spec: Value) -> Value {
    json!({ "metadata": { "labels": labels }, "spec": spec })
}

fn deployment(replicas: u64, image: &str) -> Value {
    let labels = json!({ "app": "web" });
    let template = pods(labels.clone(), json!({ "containers": [{ "name": "c", "image": image }] }));
    json!({
        "metadata": { "generation": 1 },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template, "progressDeadlineSeconds": 2 },
    })
}

/// The reason of a condition.
fn reason(object: &Value, kind: &str) -> String {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|one| one["type"] == kind);
    found.map(|one| one["reason"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn a_deployment_rolls_from_one_template_to_the_next() {
    let mut lab = one();
    lab.put("deployments.apps", "default", "web", deployment(3, "registry.local/web:1.0"));
    lab.pass(1500);
    let first = lab.look("deployments.apps", "default", "web");
    assert_eq!(first["status"]["availableReplicas"], 3, "{first}");
    assert_eq!(first["status"]["observedGeneration"], 1);
    assert_eq!(reason(&first, "Progressing"), "NewReplicaSetAvailable");
    assert_eq!(first["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    lab.alter("deployments.apps", "default", "web", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.local/web:2.0");
    });
    let mut least = 3;
    for _ in 0..200 {
        lab.pass(20);
        least = least
            .min(lab.look("deployments.apps", "default", "web")["status"]["availableReplicas"].as_u64().unwrap_or(0));
    }
    let second = lab.look("deployments.apps", "default", "web");
    assert_eq!(second["status"]["observedGeneration"], 2);
    assert_eq!(
        (&second["status"]["updatedReplicas"], &second["status"]["replicas"]),
        (&json!(3), &json!(3)),
        "{second}"
    );
    assert!(second["status"]["unavailableReplicas"].is_null(), "what is nothing is not told");
    assert_eq!(least, 3, "a quarter of three may be missing, which is none");
    let sets = lab.every("replicasets.apps", "default");
    let mut counts: Vec<u64> = sets.iter().map(|set| set["spec"]["replicas"].as_u64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 3]);
    lab.alter("deployments.apps", "default", "web", |object| object["spec"]["replicas"] = json!(1));
    lab.pass(1000);
    assert_eq!(lab.every("pods", "default").len(), 1);
}

#[test]
fn an_image_that_is_not_there_keeps_a_rollout_from_its_end() {
    let mut lab = one();
    lab.put("deployments.apps", "default", "web", deployment(1, "busybox:no-such-tag"));
    lab.pass(1000);
    let pod = lab.every("pods", "default").remove(0);
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["reason"], "ImagePullBackOff", "{pod}");
    assert!(waiting["message"].as_str().unwrap().contains("docker.io/library/busybox:no-such-tag: not found"));
    assert_eq!(pod["status"]["phase"], "Pending");
    assert!(lab.told("default", "Failed").iter().any(|message| message == "Error: ErrImagePull"));
    lab.pass(2000);
    assert_eq!(reason(&lab.look("deployments.apps", "default", "web"), "Progressing"), "ProgressDeadlineExceeded");
    lab.alter("deployments.apps", "default", "web", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.local/web:1.0");
    });
    lab.pass(1500);
    let mended = lab.look("deployments.apps", "default", "web");
    assert_eq!(mended["status"]["availableReplicas"], 1, "{mended}");
    assert_eq!(reason(&mended, "Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn a_program_that_ends_is_begun_anew_later_and_later() {
    let mut lab = one();
    let mut object = deployment(1, "registry.local/web:1.0");
    object["spec"]["template"]["spec"]["containers"][0] =
        json!({ "name": "c", "image": "busybox:1.37", "command": ["sh", "-c", "echo no; exit 3"] });
    lab.put("deployments.apps", "default", "web", object);
    lab.until("a second start", |lab| {
        lab.every("pods", "default")
            .iter()
            .any(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(1))
    });
    let pod = lab.every("pods", "default").remove(0);
    let own = &pod["status"]["containerStatuses"][0];
    assert_eq!(own["lastState"]["terminated"]["exitCode"], 3, "{pod}");
    assert_eq!(own["ready"], false);
    assert!(lab.told("default", "BackOff")[0].starts_with("Back-off restarting failed container c in pod web-"));
}

#[test]
fn a_value_that_is_not_there_keeps_a_container_from_its_start() {
    let mut lab = one();
    let mut object = deployment(1, "registry.local/web:1.0");
    object["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "a" } } }]);
    lab.put("deployments.apps", "default", "web", object);
    lab.pass(1000);
    let waiting =
        |lab: &Lab| lab.every("pods", "default")[0]["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(
        waiting(&lab),
        json!({ "reason": "CreateContainerConfigError", "message": "secret \"keys\" not found" })
    );
    lab.put("secrets", "default", "keys", json!({ "metadata": {}, "data": { "a": "YQ==" } }));
    lab.pass(500);
    assert_eq!(lab.look("deployments.apps", "default", "web")["status"]["availableReplicas"], 1);
}

#[test]
fn pods_of_a_stateful_set_come_one_after_the_other_and_keep_their_volumes() {
    let mut lab = one();
    let labels = json!({ "app": "db" });
    let container = json!({ "name": "c", "image": "registry.local/db:1", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
    let claim = json!({ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    let set = json!({
        "metadata": { "generation": 1 },
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": { "matchLabels": labels },
            "template": pods(labels, json!({ "containers": [container] })), "volumeClaimTemplates": [claim],
        },
    });
    lab.put("statefulsets.apps", "default", "db", set);
    lab.pass(300);
    assert_eq!(lab.every("pods", "default").len(), 1, "the second waits for the first");
    lab.pass(2000);
    let set = lab.look("statefulsets.apps", "default", "db");
    assert_eq!(set["status"]["readyReplicas"], 2, "{set}");
    assert_eq!(set["status"]["currentRevision"], set["status"]["updateRevision"]);
    let claim = lab.look("persistentvolumeclaims", "default", "data-db-0");
    assert_eq!(claim["status"]["phase"], "Bound", "{claim}");
    assert_eq!(claim["spec"]["storageClassName"], "local-path");
    let volume = claim["spec"]["volumeName"].as_str().unwrap().to_owned();
    lab.alter("statefulsets.apps", "default", "db", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.local/db:2");
    });
    lab.pass(3000);
    let set = lab.look("statefulsets.apps", "default", "db");
    assert_eq!((&set["status"]["updatedReplicas"], &set["status"]["readyReplicas"]), (&json!(2), &json!(2)), "{set}");
    assert_eq!(lab.look("persistentvolumeclaims", "default", "data-db-0")["spec"]["volumeName"], volume.as_str());
    let container = &lab.look("pods", "default", "db-0")["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.local/db:2");
}

#[test]
fn what_fits_nowhere_says_why() {
    let mut lab = one();
    let mut object = deployment(1, "registry.local/web:1.0");
    object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "nvidia.com/gpu": 1 } });
    lab.put("deployments.apps", "default", "web", object);
    lab.pass(500);
    let told = lab.told("default", "FailedScheduling");
    assert!(told[0].starts_with("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), "{told:?}");
    lab.alter("deployments.apps", "default", "web", |object| {
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({ "homelab/gpu": "true" });
    });
    lab.pass(500);
    let told = lab.told("default", "FailedScheduling").join("\n");
    assert!(told.contains("1 node(s) didn't match Pod's node affinity/selector"), "{told}");
}

#[test]
fn a_cron_job_begins_a_job_in_each_minute_that_is_due() {
    let mut lab = one();
    let container = json!({ "name": "c", "image": "busybox:1.37", "command": ["true"] });
    let spec = json!({ "restartPolicy": "Never", "containers": [container] });
    let cron = json!({
        "metadata": {},
        "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": { "template": pods(json!({}), spec) } } },
    });
    lab.put("cronjobs.batch", "default", "tick", cron);
    lab.now += 120_000;
    lab.until("a Job that is done", |lab| {
        lab.every("jobs.batch", "default").iter().any(|job| job["status"]["succeeded"] == 1)
    });
    let cron = lab.look("cronjobs.batch", "default", "tick");
    assert!(cron["status"]["lastScheduleTime"].is_string(), "{cron}");
    lab.until("its end to be told", |lab| {
        lab.look("cronjobs.batch", "default", "tick")["status"]["lastSuccessfulTime"].is_string()
    });
}

#[test]
fn a_service_has_an_address_and_tells_which_pods_are_behind_it() {
    let mut lab = one();
    let mut object = deployment(2, "registry.local/web:1.0");
    object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    lab.put("deployments.apps", "default", "web", object);
    let service = json!({ "metadata": {}, "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } });
    lab.put("services", "default", "web", service);
    lab.pass(1000);
    let address = lab.look("services", "default", "web")["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.43."), "{address}");
    let endpoints = lab.look("endpoints", "default", "web");
    assert_eq!(endpoints["subsets"][0]["addresses"].as_array().unwrap().len(), 2, "{endpoints}");
    assert_eq!(endpoints["subsets"][0]["ports"][0], json!({ "port": 8080, "protocol": "TCP", "name": "http" }));
    assert_eq!(lab.every("endpointslices.discovery.k8s.io", "default").len(), 1);
}
