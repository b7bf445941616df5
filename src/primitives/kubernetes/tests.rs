//! The Kubernetes primitives in scripts, against a server that keeps one node and answers as the API does.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Clusters;
use crate::clients::dial::Dialler;
use crate::clients::kubernetes::test_server::{Asked, Reply, TestServer};
use crate::error::Class;
use crate::primitives::testing::Lab;
use crate::script::context::Services;

/// A cluster with one node.
struct Cluster {
    lab: Lab,
    server: TestServer,
}

/// The server's memory.
#[derive(Default)]
struct Kept {
    node: Option<Value>,
    pods: Vec<Value>,
    jobs: Vec<Value>,
}

fn node() -> Value {
    json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": { "name": "a", "uid": "u1", "resourceVersion": "7", "labels": { "theirs": "1" } },
        "spec": {},
        "status": { "nodeInfo": { "kubeletVersion": "v1.36.4+k3s1" }, "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) if into.is_object() => {
            let into = into.as_object_mut().unwrap();
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert_with(|| json!({})), value);
                }
            }
        }
        other => *into = other.clone(),
    }
}

fn answer(kept: &Mutex<Kept>, asked: &Asked) -> Reply {
    let mut kept = kept.lock().unwrap();
    let absent = || Reply::refusal(404, "NotFound", "not found");
    let path = asked.target.split('?').next().unwrap();
    match (asked.method.as_str(), path) {
        ("GET", "/version") => Reply::json(&json!({ "gitVersion": "v1.36.4+k3s1" })),
        ("GET", "/ping") => Reply::text(200, "pong"),
        ("GET", "/readyz") => Reply::text(200, "[+]ping ok\n[+]etcd ok\nreadyz check passed\n"),
        ("GET", "/api/v1/nodes") => {
            Reply::json(&json!({ "kind": "NodeList", "items": kept.node.iter().collect::<Vec<_>>() }))
        }
        ("GET", "/api/v1/nodes/a") => kept.node.as_ref().map_or_else(absent, Reply::json),
        ("PATCH", "/api/v1/nodes/a") => {
            let Some(node) = &mut kept.node else { return absent() };
            let mut tried = node.clone();
            let node = if asked.target.contains("dryRun=All") { &mut tried } else { node };
            if asked.body["metadata"]["labels"].get("not/a/label").is_some() {
                return Reply::refusal(422, "Invalid", "a qualified name must consist of alphanumeric characters");
            }
            let mut body = asked.body.clone();
            if let Some(metadata) = body["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
            merge(node, &body);
            Reply::json(node)
        }
        ("DELETE", "/api/v1/nodes/a") => {
            if asked.body["preconditions"]["uid"] != json!("u1") {
                return Reply::refusal(409, "Conflict", "the uid is another");
            }
            kept.node = None;
            Reply::json(&json!({ "kind": "Status", "status": "Success" }))
        }
        ("GET", "/api/v1/pods") => Reply::json(&json!({ "kind": "PodList", "items": kept.pods })),
        ("POST", _) if path.ends_with("/eviction") => {
            let name = asked.body["metadata"]["name"].clone();
            kept.pods.retain(|pod| pod["metadata"]["name"] != name);
            Reply::json(&json!({ "kind": "Status", "status": "Success" }))
        }
        ("POST", "/apis/batch/v1/namespaces/default/jobs") => {
            let mut job = asked.body.clone();
            let fails = job["spec"]["template"]["spec"]["containers"][0]["command"][0] == json!("false");
            let kind = if fails { "Failed" } else { "Complete" };
            job["status"] = json!({ "conditions": [{ "type": kind, "status": "True", "reason": "Because" }] });
            kept.jobs.push(job.clone());
            Reply::json(&job)
        }
        ("GET", "/apis/batch/v1/namespaces/default/jobs/homelab-probe-dns") => {
            kept.jobs.first().map_or_else(absent, Reply::json)
        }
        ("DELETE", "/apis/batch/v1/namespaces/default/jobs/homelab-probe-dns") => {
            kept.jobs.clear();
            Reply::json(&json!({ "kind": "Status", "status": "Success" }))
        }
        ("GET", "/api/v1/namespaces/default/pods") => {
            Reply::json(&json!({ "items": [{ "metadata": { "name": "p" } }] }))
        }
        ("GET", "/api/v1/namespaces/default/pods/p/log") => Reply::text(200, "Name: kubernetes\n"),
        _ => absent(),
    }
}

impl Cluster {
    fn new(kept: Kept) -> Self {
        let mut lab = Lab::new();
        let kept = Mutex::new(kept);
        let server = lab.runtime.block_on(TestServer::start(move |asked| answer(&kept, asked)));
        lab.write("kubeconfig", &server.kubeconfig);
        lab.variables.insert("HOMELAB_KUBECONFIG".to_owned(), "kubeconfig".to_owned());
        lab.services = Services::default().with(Arc::new(Clusters::new(Dialler::Direct)));
        lab.register = vec![super::register];
        lab.realms = vec![super::realm_of];
        Cluster { lab, server }
    }

    fn with_a_node() -> Self {
        Cluster::new(Kept { node: Some(node()), ..Kept::default() })
    }

    /// The requests that changed something.
    fn mutations(&self) -> Vec<String> {
        let is_mutation = |target: &String| !target.starts_with("GET") && !target.contains("dryRun=All");
        self.server.targets().into_iter().filter(is_mutation).collect()
    }

    /// Plans, runs and runs again: the plan sends no mutation and tells what the run does, and then nothing is left.
    #[track_caller]
    fn converges(&self, script: &str) -> Vec<String> {
        let planned = self.lab.plan(script);
        assert!(planned.value.is_ok(), "{:?}", planned.value);
        assert_eq!(self.mutations(), Vec::<String>::new(), "a plan changes nothing");
        let ran = self.lab.run(script);
        assert!(ran.value.is_ok(), "{:?}", ran.value);
        assert_eq!(planned.addresses(), ran.addresses());
        let sent = self.mutations();
        let again = self.lab.run(script);
        assert_eq!(again.addresses(), Vec::<&str>::new());
        assert_eq!(self.mutations(), sent, "a second run changes nothing");
        sent
    }
}

#[test]
fn a_cluster_is_read() {
    let cluster = Cluster::with_a_node();
    let told = cluster.lab.run(
        "let k = kubernetes::connect();
         let node = k.nodes()[0];
         [k.version().gitVersion, k.get(\"/ping\"), k.ready().checks.etcd, node.name, node.ready, node.version, k.get(\"/api/v1/nodes/b\")]",
    );
    assert_eq!(told.json(), json!(["v1.36.4+k3s1", "pong", true, "a", true, "v1.36.4+k3s1", null]));
}

#[test]
fn labels_are_applied_under_our_name_and_the_labels_of_others_stay() {
    let cluster = Cluster::with_a_node();
    let sent =
        cluster.converges("kubernetes::connect().label(#{ node: \"a\", labels: #{ gpu: \"true\", gone: () } });");
    assert_eq!(sent, ["PATCH /api/v1/nodes/a?fieldManager=homelab&force=false"]);
    assert_eq!(
        cluster.lab.run("kubernetes::connect().nodes()[0].labels").json(),
        json!({ "gpu": "true", "theirs": "1" })
    );
}

#[test]
fn taints_and_the_closing_of_a_node_are_patches() {
    let cluster = Cluster::with_a_node();
    let sent = cluster.converges(
        "let k = kubernetes::connect();
         k.taint(#{ node: \"a\", taints: #{ gpu: \"present:NoSchedule\" } });
         k.cordon(#{ node: \"a\" });",
    );
    assert_eq!(sent, ["PATCH /api/v1/nodes/a", "PATCH /api/v1/nodes/a"]);
    let node = cluster.lab.run("kubernetes::connect().nodes()[0]").json();
    assert_eq!((&node["taints"], &node["unschedulable"]), (&json!(["gpu=present:NoSchedule"]), &json!(true)));
}

#[test]
fn what_the_api_refuses_of_a_node_is_an_error_of_the_plan() {
    let cluster = Cluster::with_a_node();
    let told =
        cluster.lab.plan("kubernetes::connect().label(#{ node: \"a\", labels: #{ \"not/a/label\": \"true\" } });");
    assert!(told.error().message().starts_with("kubernetes:node:a:labels: "), "{}", told.error());
    assert!(told.error().causes().iter().any(|cause| cause.contains("qualified name")), "{:?}", told.error());
    assert!(cluster.mutations().is_empty());
}

#[test]
fn a_planned_change_leaves_the_way_to_the_cluster_known() {
    let cluster = Cluster::with_a_node();
    let told = cluster.lab.plan(
        "let k = kubernetes::connect();
         k.label(#{ node: \"a\", labels: #{ gpu: \"true\" } });
         k.version().gitVersion",
    );
    assert_eq!(told.json(), json!("v1.36.4+k3s1"));
}

#[test]
fn a_node_that_is_not_there_is_not_made() {
    let cluster = Cluster::new(Kept::default());
    let told = cluster.lab.run("kubernetes::connect().label(#{ node: \"a\", labels: #{ gpu: \"true\" } });");
    assert_eq!(told.error().class(), Class::Blocked);
    assert_eq!(told.error().message(), "kubernetes:node:a:labels: the cluster has no such node");
    assert!(cluster.mutations().is_empty());
}

#[test]
fn before_there_is_a_kubeconfig_a_plan_goes_on_with_what_it_cannot_know() {
    let cluster = Cluster::with_a_node();
    let told = cluster.lab.plan(
        "let k = kubernetes::connect(#{ kubeconfig: \"new\" });
         let text = ensure(#{ address: \"x\", read: || (), want: #{ a: 1 }, create: |want| #{ config: \"c\" }, once: [\"config\"] }).after.config;
         local::file(#{ path: \"new\", content: text });
         k.label(#{ node: \"a\", labels: #{ gpu: \"true\" } });
         wait_until_clear(#{ what: \"the nodes\" }, || k.nodes().filter(|node| !node.ready));
         k.version().gitVersion",
    );
    assert_eq!(told.addresses(), ["x", "local:file:new", "kubernetes:node:a:labels"]);
    assert!(told.json().as_str().unwrap().contains("known after apply"), "{}", told.json());
    assert!(cluster.server.targets().is_empty(), "nobody is asked");
}

#[test]
fn a_kubeconfig_that_nobody_writes_is_missed_by_name() {
    let cluster = Cluster::with_a_node();
    let told = cluster.lab.plan("kubernetes::connect(#{ kubeconfig: \"other\" }).nodes()");
    assert_eq!(told.error().message(), "other: there is no kubeconfig");
}

#[test]
fn a_drain_closes_the_node_and_evicts_what_can_go_elsewhere() {
    let pod = |name: &str, kind: &str| json!({ "metadata": { "name": name, "namespace": "n", "uid": name, "ownerReferences": [{ "kind": kind, "controller": true }] } });
    let pods = vec![pod("web", "ReplicaSet"), pod("agent", "DaemonSet")];
    let cluster = Cluster::new(Kept { node: Some(node()), pods, ..Kept::default() });
    let sent = cluster.converges("kubernetes::connect().drain(#{ node: \"a\" });");
    assert_eq!(sent, ["PATCH /api/v1/nodes/a", "POST /api/v1/namespaces/n/pods/web/eviction"]);
}

#[test]
fn what_a_drain_would_lose_is_named_before_anything_is_evicted() {
    let pods = vec![json!({ "metadata": { "name": "mine", "namespace": "n", "uid": "p" } })];
    let cluster = Cluster::new(Kept { node: Some(node()), pods, ..Kept::default() });
    for told in [
        cluster.lab.plan("kubernetes::connect().drain(#{ node: \"a\" });"),
        cluster.lab.run("kubernetes::connect().drain(#{ node: \"a\" });"),
    ] {
        assert_eq!(told.error().class(), Class::UnsafeDrift);
        assert_eq!(told.error().message(), "kubernetes:node:a:drain: nobody makes these pods anew: n/mine");
    }
    assert!(cluster.mutations().is_empty());
}

#[test]
fn a_probe_gives_its_log_and_leaves_nothing_behind() {
    let cluster = Cluster::with_a_node();
    let script =
        "kubernetes::connect().probe(#{ name: \"dns\", image: \"busybox:1\", command: [\"nslookup\", \"k\"] }).log";
    assert_eq!(cluster.lab.run(script).json(), json!("Name: kubernetes"));
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    assert_eq!(cluster.mutations(), [format!("POST {jobs}"), format!("DELETE {jobs}/homelab-probe-dns")]);
}

#[test]
fn a_probe_that_fails_says_what_it_printed_and_is_taken_away_all_the_same() {
    let cluster = Cluster::with_a_node();
    let told =
        cluster.lab.run("kubernetes::connect().probe(#{ name: \"dns\", image: \"busybox:1\", command: [\"false\"] });");
    assert_eq!(told.error().message(), "kubernetes:probe:dns: false failed");
    assert_eq!(told.error().causes(), ["Name: kubernetes", "Because"]);
    assert!(cluster.mutations().iter().any(|sent| sent.starts_with("DELETE")));
}

#[test]
fn a_node_is_only_deleted_where_playbook_and_run_both_name_it() {
    let mut cluster = Cluster::with_a_node();
    let script = "kubernetes::connect().delete(#{ path: \"/api/v1/nodes/a\", allow_destroy: true });";
    let told = cluster.lab.run(script);
    assert!(told.error().to_string().contains("kubernetes:/api/v1/nodes/a"), "{}", told.error());
    assert!(cluster.mutations().is_empty());
    cluster.lab.allow_destroy = vec!["kubernetes:/api/v1/nodes/a".to_owned()];
    assert_eq!(cluster.converges(script), ["DELETE /api/v1/nodes/a"]);
}

#[test]
fn the_key_in_a_kubeconfig_does_not_show() {
    let cluster = Cluster::with_a_node();
    let told = cluster.lab.run(
        "let text = kubernetes::kubeconfig(local::read(\"kubeconfig\"), #{ name: \"homelab\", server: \"https://192.0.2.31:6443\" });
         local::file(#{ path: \"mine\", content: text, mode: \"0600\" });",
    );
    assert!(told.value.is_ok(), "{:?}", told.value);
    let written = cluster.lab.read("mine").unwrap();
    assert!(written.contains("https://192.0.2.31:6443") && written.contains("client-key-data"), "it is written whole");
    assert!(!told.shown().contains("client-key-data"), "{}", told.shown());
    // A long text may stand on the line after its name.
    let mut words = written.split_whitespace().skip_while(|word| *word != "client-key-data:").skip(1);
    let key = words.find(|word| *word != ">-").unwrap().to_owned();
    let said =
        cluster.lab.run(&format!("kubernetes::connect(#{{ content: local::read(\"mine\") }}); info(\"so: {key}\");"));
    assert!(!said.shown().contains(&key), "{}", said.shown());
    // What is not secret in it stays readable.
    let said = cluster
        .lab
        .run("kubernetes::connect(#{ content: local::read(\"mine\") }); info(\"server: https://192.0.2.31:6443\");");
    assert!(said.shown().contains("server: https://192.0.2.31:6443"), "{}", said.shown());
}
