//! Objects over the API: nodes, Jobs with their pods and logs, and what is refused.

use serde_json::{Value, json};

use super::lab::{FIRST, Lab, json as body};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

fn one() -> Lab {
    let mut lab = Lab::of(&["cp-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    lab.pass(2000);
    lab
}

fn apply(lab: &mut Lab, path: &str, more: &str, object: Value) -> (u16, Value) {
    let reply = lab.send("cp-1", "PATCH", &format!("{path}?fieldManager=homelab{more}"), APPLY, object);
    (reply.status, body(reply))
}

fn node(labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "cp-1", "labels": labels } })
}

const NODE: &str = "/api/v1/nodes/cp-1";

#[test]
fn a_label_that_is_applied_is_owned_and_applying_it_again_changes_nothing() {
    let mut lab = one();
    let (status, first) = apply(&mut lab, NODE, "", node(json!({ "homelab/gpu": "true" })));
    assert_eq!((status, &first["metadata"]["labels"]["homelab/gpu"]), (200, &json!("true")));
    let own = &first["metadata"]["managedFields"][0];
    assert_eq!((&own["manager"], &own["operation"]), (&json!("homelab"), &json!("Apply")));
    assert_eq!(own["fieldsV1"], json!({ "f:metadata": { "f:labels": { "f:homelab/gpu": {} } } }));
    let (_, again) = apply(&mut lab, NODE, "", node(json!({ "homelab/gpu": "true" })));
    assert_eq!(again["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let (_, without) = apply(&mut lab, NODE, "", node(json!({ "homelab/x": "1" })));
    assert!(without["metadata"]["labels"]["homelab/gpu"].is_null(), "what is left out goes");
    assert_eq!(without["metadata"]["labels"]["kubernetes.io/hostname"], "cp-1", "what others own stays");
}

#[test]
fn a_dry_run_stores_nothing() {
    let mut lab = one();
    let before = lab.get("cp-1", NODE)["metadata"]["resourceVersion"].clone();
    let (status, answer) = apply(&mut lab, NODE, "&dryRun=All", node(json!({ "a": "b" })));
    assert_eq!((status, &answer["metadata"]["labels"]["a"]), (200, &json!("b")));
    assert_eq!(answer["metadata"]["resourceVersion"], before);
    assert_eq!(lab.get("cp-1", NODE)["metadata"]["resourceVersion"], before);
}

#[test]
fn what_another_manager_has_is_a_conflict_unless_it_is_forced() {
    let mut lab = one();
    apply(&mut lab, NODE, "", node(json!({ "a": "1" })));
    let reply = lab.send("cp-1", "PATCH", &format!("{NODE}?fieldManager=other"), APPLY, node(json!({ "a": "2" })));
    assert_eq!(reply.status, 409);
    let refusal = body(reply);
    assert_eq!(refusal["message"], "Apply failed with 1 conflict: conflict with \"homelab\": .metadata.labels.a");
    assert_eq!(refusal["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let reply =
        lab.send("cp-1", "PATCH", &format!("{NODE}?fieldManager=other&force=true"), APPLY, node(json!({ "a": "2" })));
    assert_eq!(reply.status, 200);
    let fields: Vec<Value> =
        body(reply)["metadata"]["managedFields"].as_array().unwrap().iter().map(|one| one["manager"].clone()).collect();
    assert!(!fields.contains(&json!("homelab")), "{fields:?}");
}

#[test]
fn who_patches_without_applying_takes_over_what_he_changes() {
    let mut lab = one();
    apply(&mut lab, NODE, "", node(json!({ "a": "1" })));
    let reply = lab.send(
        "cp-1",
        "PATCH",
        &format!("{NODE}?fieldManager=kubectl"),
        MERGE,
        json!({ "metadata": { "labels": { "a": "2" } } }),
    );
    assert_eq!(reply.status, 200);
    let (status, refusal) = apply(&mut lab, NODE, "", node(json!({ "a": "1" })));
    assert_eq!(status, 409);
    assert!(refusal["message"].as_str().unwrap().contains("conflict with \"kubectl\" using v1"), "{refusal}");
}

#[test]
fn a_node_that_is_closed_is_tainted_until_it_is_opened() {
    let mut lab = one();
    lab.send("cp-1", "PATCH", NODE, MERGE, json!({ "spec": { "unschedulable": true } }));
    lab.pass(100);
    assert_eq!(lab.get("cp-1", NODE)["spec"]["taints"][0]["key"], "node.kubernetes.io/unschedulable");
    lab.send("cp-1", "PATCH", NODE, MERGE, json!({ "spec": { "unschedulable": null } }));
    lab.pass(100);
    let node = lab.get("cp-1", NODE);
    assert!(node["spec"]["taints"].is_null() && node["spec"]["unschedulable"].is_null(), "{}", node["spec"]);
}

#[test]
fn requests_that_make_no_sense_are_refused_as_they_were_seen_to_be() {
    let mut lab = one();
    let nodes = |kind: &str, query: &str, object: Value| ("PATCH", format!("{NODE}{query}"), kind.to_owned(), object);
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } });
    let cases = [
        (
            nodes(APPLY, "", node(json!({}))),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (nodes(APPLY, "?fieldManager=x", json!({ "metadata": {} })), 400, "invalid object type: /, Kind="),
        (
            nodes(
                APPLY,
                "?fieldManager=x",
                json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "managedFields": [] } }),
            ),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            nodes(APPLY, "?fieldManager=x", json!({ "apiVersion": "v1", "kind": "Node", "spec": { "taintz": [] } })),
            500,
            "failed to create typed patch object (/cp-1; /v1, Kind=Node): .spec.taintz: field not declared in schema",
        ),
        (nodes("application/json", "", json!({})), 415, "415: Unsupported Media Type"),
        (
            ("POST", maps.into(), "application/json".into(), json!({})),
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            (
                "POST",
                maps.into(),
                "application/json".into(),
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } }),
            ),
            400,
            "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (
            ("POST", "/api/v1/namespaces/absent-ns/configmaps".into(), "application/json".into(), map("a")),
            404,
            "namespaces \"absent-ns\" not found",
        ),
        (
            ("POST", maps.into(), "text/xml".into(), json!({})),
            415,
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ),
        (
            ("POST", format!("{maps}?dryRun=Some"), "application/json".into(), map("a")),
            422,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
        ),
        (
            ("PUT", maps.into(), "application/json".into(), map("a")),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (("PATCH", format!("{maps}/absent"), MERGE.into(), json!({})), 404, "configmaps \"absent\" not found"),
        (
            ("GET", "/apis/apps/v1/namespaces/default/gizmos".into(), String::new(), Value::Null),
            404,
            "the server could not find the requested resource",
        ),
    ];
    for ((method, path, kind, object), status, message) in cases {
        let reply = lab.send("cp-1", method, &path, &kind, object);
        let code = reply.status;
        let refusal = body(reply);
        assert_eq!((code, refusal["message"].as_str()), (status, Some(message)), "{method} {path}");
        assert_eq!(refusal["code"], status);
    }
    assert_eq!(lab.send("cp-1", "POST", maps, "application/json", map("one")).status, 201);
    let again = lab.send("cp-1", "POST", maps, "application/json", map("one"));
    assert_eq!(again.status, 409);
    assert_eq!(body(again)["reason"], "AlreadyExists");
    let written =
        lab.send("cp-1", "POST", "/apis/apps/v1/namespaces/default/deployments", "application/json", json!({}));
    assert_eq!(written.status, 422, "a Deployment needs a name");
}

#[test]
fn what_k3s_brings_along_runs_after_a_while() {
    let mut lab = one();
    lab.pass(4000);
    let list = lab.get("cp-1", "/apis/apps/v1/namespaces/kube-system/deployments");
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["coredns", "local-path-provisioner", "metrics-server", "traefik"]);
    for one in list["items"].as_array().unwrap() {
        assert_eq!(one["status"]["availableReplicas"], 1, "{}", one["metadata"]["name"]);
    }
    assert!(lab.get("cp-1", "/apis/apps/v1/namespaces/kube-system/daemonsets")["items"].as_array().unwrap().is_empty());
    let metrics = lab.get("cp-1", "/apis/metrics.k8s.io/v1beta1/nodes");
    assert_eq!(metrics["items"][0]["metadata"]["name"], "cp-1");
}

/// Waits for a Job to end, in the lab's time and in that of the shell that runs its command.
fn ended(lab: &mut Lab, name: &str) -> Value {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        lab.pass(100);
        let job = lab.get("cp-1", &format!("/apis/batch/v1/namespaces/default/jobs/{name}"));
        if job["status"]["conditions"].is_array() {
            return job;
        }
        assert!(std::time::Instant::now() < until, "{job}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn job(name: &str, command: &[&str]) -> Value {
    let container = json!({ "name": "probe", "image": "docker.io/library/busybox:1.37", "command": command });
    let pod = json!({ "restartPolicy": "Never", "tolerations": [{ "operator": "Exists" }], "containers": [container] });
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": pod } },
    })
}

fn log(lab: &mut Lab, name: &str) -> String {
    let pods = lab
        .get("cp-1", &format!("/api/v1/namespaces/default/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{name}"));
    let pod = pods["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let reply =
        lab.api("cp-1", "GET", &format!("/api/v1/namespaces/default/pods/{pod}/log?container=probe&tailLines=40"));
    match reply.body {
        crate::sim::kubernetes::api::Body::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_runs_its_command_and_its_pod_has_a_log() {
    let mut lab = one();
    lab.pass(4000);
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let inside = ["nslookup", "kubernetes.default.svc.cluster.local"];
    assert_eq!(lab.send("cp-1", "POST", jobs, "application/json", job("dns", &inside)).status, 201);
    let done = ended(&mut lab, "dns");
    assert_eq!(done["status"]["conditions"][1]["type"], "Complete", "{done}");
    assert_eq!(done["status"]["succeeded"], 1);
    let text = log(&mut lab, "dns");
    assert!(text.contains("Name:\tkubernetes.default.svc.cluster.local\nAddress: 10.43.0.1\n"), "{text}");
    lab.send("cp-1", "POST", jobs, "application/json", job("nowhere", &["nslookup", "no.such.name.example"]));
    let failed = ended(&mut lab, "nowhere");
    assert_eq!(failed["status"]["conditions"][1]["type"], "Failed", "{failed}");
    assert!(log(&mut lab, "nowhere").contains("NXDOMAIN"));
    let url = "http://kube-dns.kube-system.svc.cluster.local:9153/metrics";
    lab.send("cp-1", "POST", jobs, "application/json", job("net", &["wget", "-q", "-O", "/dev/null", "-T", "10", url]));
    let reached = ended(&mut lab, "net");
    assert_eq!(reached["status"]["conditions"][1]["type"], "Complete", "{}", log(&mut lab, "net"));
    // What this service answers is not simulated, and the command does not get away with it.
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "folders" },
        "spec": { "selector": { "app": "local-path-provisioner" }, "ports": [{ "port": 80 }] },
    });
    let services = "/api/v1/namespaces/kube-system/services";
    assert_eq!(lab.send("cp-1", "POST", services, "application/json", service).status, 201);
    lab.pass(200);
    let url = "http://folders.kube-system.svc.cluster.local/";
    lab.send("cp-1", "POST", jobs, "application/json", job("unknown", &["wget", "-q", "-O", "/dev/null", url]));
    let failed = ended(&mut lab, "unknown");
    assert_eq!(failed["status"]["conditions"][1]["type"], "Failed", "{failed}");
    assert!(log(&mut lab, "unknown").contains("not simulated"), "{}", log(&mut lab, "unknown"));
    let reply = lab.send(
        "cp-1",
        "DELETE",
        &format!("{jobs}/dns"),
        "application/json",
        json!({ "propagationPolicy": "Background" }),
    );
    assert_eq!(reply.status, 200);
    lab.pass(100);
    assert_eq!(lab.api("cp-1", "GET", &format!("{jobs}/dns")).status, 404);
    let pods = lab.get("cp-1", "/api/v1/namespaces/default/pods?labelSelector=job-name%3Ddns");
    assert!(pods["items"].as_array().unwrap().is_empty(), "its pods go with it");
}

#[test]
fn a_pod_that_is_evicted_is_made_up_for_unless_a_budget_needs_it() {
    let mut lab = one();
    lab.pass(4000);
    let path = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns";
    let name = |lab: &mut Lab| lab.get("cp-1", path)["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let first = name(&mut lab);
    let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "dns" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "k8s-app": "kube-dns" } } } });
    let budgets = "/apis/policy/v1/namespaces/kube-system/poddisruptionbudgets";
    assert_eq!(lab.send("cp-1", "POST", budgets, "application/json", budget).status, 201);
    lab.pass(100);
    let evict = |lab: &mut Lab| {
        let object = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": first, "namespace": "kube-system" } });
        lab.send(
            "cp-1",
            "POST",
            &format!("/api/v1/namespaces/kube-system/pods/{first}/eviction"),
            "application/json",
            object,
        )
    };
    let refused = evict(&mut lab);
    assert_eq!(refused.status, 429);
    let causes = body(refused)["details"]["causes"][0].clone();
    assert_eq!(causes["message"], "The disruption budget dns needs 1 healthy pods and has 1 currently");
    lab.api("cp-1", "DELETE", &format!("{budgets}/dns"));
    assert_eq!(evict(&mut lab).status, 201);
    lab.pass(2000);
    assert_ne!(name(&mut lab), first);
}

#[test]
fn a_namespace_takes_along_what_is_in_it() {
    let mut lab = one();
    let (status, _) = apply(
        &mut lab,
        "/api/v1/namespaces/probe",
        "",
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "probe" } }),
    );
    assert_eq!(status, 201);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "c", "image": "registry.local/i:1" }] } });
    let (status, refusal) = apply(&mut lab, "/api/v1/namespaces/probe/pods/a", "", pod.clone());
    assert_eq!(status, 403, "at once after the namespace: {refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("serviceaccount \"default\" not found"));
    lab.pass(100);
    assert_eq!(apply(&mut lab, "/api/v1/namespaces/probe/pods/a", "", pod).0, 201);
    lab.pass(1000);
    assert_eq!(lab.get("cp-1", "/api/v1/namespaces/probe/pods/a")["status"]["phase"], "Running");
    let gone = lab.api("cp-1", "DELETE", "/api/v1/namespaces/probe");
    assert_eq!(body(gone)["status"]["phase"], "Terminating");
    lab.pass(1000);
    assert_eq!(lab.api("cp-1", "GET", "/api/v1/namespaces/probe").status, 404);
    assert_eq!(lab.api("cp-1", "GET", "/api/v1/namespaces/probe/pods/a").status, 404);
}

/// The places in a value that hold something, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, part)| (name.replace('/', "~1"), part)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => return,
    };
    parts.into_iter().for_each(|(name, part)| places(part, &format!("{at}/{name}"), all));
}

#[test]
fn no_form_of_an_object_brings_the_api_down() {
    let mut lab = one();
    let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "registry.local/i:1", "ports": [{ "containerPort": 80 }] }] });
    let metadata = json!({ "labels": { "a": "b" }, "annotations": { "c": "d" }, "finalizers": ["e/f"], "managedFields": [{ "manager": "m", "operation": "Update", "fieldsV1": { "f:data": {} } }] });
    for (api, kind, path, more) in [
        ("v1", "Pod", "/api/v1/namespaces/default/pods", json!({ "spec": pod })),
        (
            "batch/v1",
            "Job",
            "/apis/batch/v1/namespaces/default/jobs",
            json!({ "spec": { "template": { "metadata": { "labels": {} }, "spec": pod } } }),
        ),
        (
            "v1",
            "Secret",
            "/api/v1/namespaces/default/secrets",
            json!({ "data": { "a": "YQ==" }, "stringData": { "b": "c" } }),
        ),
        ("v1", "ConfigMap", "/api/v1/namespaces/default/configmaps", json!({ "data": { "a": "b" } })),
        (
            "v1",
            "Namespace",
            "/api/v1/namespaces",
            json!({ "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" } }),
        ),
        (
            "v1",
            "Node",
            "/api/v1/nodes",
            json!({ "spec": { "taints": [{ "key": "a", "effect": "NoSchedule" }] }, "status": { "conditions": [] } }),
        ),
    ] {
        let mut sound = json!({ "apiVersion": api, "kind": kind, "metadata": metadata });
        for (name, value) in more.as_object().unwrap() {
            sound[name] = value.clone();
        }
        let mut all = Vec::new();
        places(&sound, "", &mut all);
        for (number, place) in all.iter().enumerate() {
            for (turn, other) in
                [json!(5), json!("x"), json!([]), json!([5]), json!({}), json!(null)].into_iter().enumerate()
            {
                let name = format!("n{number}-{turn}");
                let mut object = sound.clone();
                object["metadata"]["name"] = json!(name);
                lab.send("cp-1", "POST", path, "application/json", object.clone());
                *object.pointer_mut(place).unwrap() = other.clone();
                let own = format!("{path}/{name}");
                let replies = [
                    lab.send("cp-1", "POST", path, "application/json", object.clone()),
                    lab.send("cp-1", "PUT", &own, "application/json", object.clone()),
                    lab.send("cp-1", "PUT", &format!("{own}/status"), "application/json", object.clone()),
                    lab.send("cp-1", "PATCH", &own, MERGE, object.clone()),
                    lab.send("cp-1", "PATCH", &format!("{own}?fieldManager=homelab&force=true"), APPLY, object.clone()),
                ];
                if ["", "/metadata", "/spec"].contains(&place.as_str()) && !other.is_object() && !other.is_null() {
                    let told: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
                    assert!(
                        told[..4].iter().all(|status| matches!(status, 400 | 404 | 405))
                            && matches!(told[4], 400 | 405 | 500),
                        "{kind} {place} {other}: {told:?}"
                    );
                }
            }
        }
        // What was let in must be something that the cluster can work with.
        lab.pass(4000);
    }
    assert_eq!(lab.api("cp-1", "GET", "/version").status, 200);
}
