//! kubectl against the simulated API: the one that `.ci/run` installs, and the one of this machine where it is another.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::kubernetes::by_hand;
use super::lab::{Lab, eventually};
use super::programs::{fed, is_there, passed_over, patient, success, told};

/// The machine that the cluster is made on, which no other test uses.
const MACHINE: (&str, &str) = ("k3s-gpu-01", "10.20.11.41");

/// Where `.ci/run` puts it, in the repository.
const OWN: &str = "target/clients/bin/kubectl";

/// A kubectl, and a cluster.
struct Kubectl {
    lab: Arc<Lab>,
    program: PathBuf,
    /// The namespace of the test, which no other uses.
    namespace: String,
}

/// The kubectls that there are. Where there is none, says how one is had; with `CI` set that is a failure.
fn programs() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(OWN);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|program| program.is_file());
    let found: Vec<PathBuf> = others.into_iter().chain([own]).filter(|program| program.is_file()).collect();
    if found.is_empty() {
        passed_over(&format!(
            "no {OWN}: python3 -m venv target/clients && target/clients/bin/pip install --require-hashes -r tests/clients/requirements.txt"
        ));
    }
    found
}

/// Each kubectl with a namespace for a test of this name.
fn each(test: &str) -> Vec<Kubectl> {
    if !is_there("ssh", "openssh-client") {
        return Vec::new();
    }
    let programs = programs();
    if programs.is_empty() {
        return Vec::new();
    }
    let lab = Lab::shared();
    found_cluster(&lab);
    let one = |(number, program)| Kubectl { lab: Arc::clone(&lab), program, namespace: format!("{test}-{number}") };
    programs.into_iter().enumerate().map(one).collect()
}

/// Makes the cluster that these tests share, once.
fn found_cluster(lab: &Lab) {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = lab.path("kubectl.yaml");
    if file.is_file() {
        return;
    }
    let gateway = lab.said["gateway"].as_str().expect("an address");
    let server = format!("server: https://{}:6443\n    proxy-url: http://{gateway}", MACHINE.1);
    let text = by_hand(lab, MACHINE.0).replace("server: https://127.0.0.1:6443", &server);
    std::fs::write(file, text).expect("writable");
}

impl Kubectl {
    fn run(&self, line: &str, input: &str) -> Output {
        let mut command = patient(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("KUBECONFIG", self.lab.path("kubectl.yaml"));
        // Each keeps what it has learnt of the API in a folder of its own.
        command.env("HOME", self.lab.path(&format!("kubectl-{}", self.namespace)));
        command.arg(format!("--namespace={}", self.namespace)).args(line.split_whitespace());
        fed(command, input.as_bytes())
    }

    /// What a command prints that is to succeed.
    fn says(&self, line: &str) -> String {
        success(&self.run(line, ""))
    }

    /// The same with what it reads on its input.
    fn fed(&self, line: &str, input: &str) -> String {
        success(&self.run(line, input))
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(line)).expect("JSON")
    }

    /// The manifests of the test, in its namespace.
    fn manifests(&self) -> String {
        include_str!("kubectl.yaml").replace("NAMESPACE", &self.namespace)
    }

    /// Applies them.
    fn apply(&self) -> String {
        self.fed("apply --server-side -f -", &self.manifests())
    }

    fn end(self) {
        self.says(&format!("delete namespace {} --wait=true --timeout=60s", self.namespace));
    }
}

#[test]
fn it_reads_the_cluster_in_every_form() {
    for kubectl in each("read") {
        eventually(|| kubectl.says("get nodes").contains(" Ready ").then_some(()));
        let wide = kubectl.says("get nodes -o wide");
        assert!(wide.contains("INTERNAL-IP") && wide.contains(MACHINE.1), "{wide}");
        let node = kubectl.json("get node k3s-gpu-01 -o json");
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.4+k3s1");
        assert!(kubectl.says("version").contains("Server Version: v1.36.4+k3s1"));
        assert_eq!(kubectl.says("get --raw /readyz"), "ok");
        assert_eq!(kubectl.says("auth can-i create deployments").trim(), "yes");
        eventually(|| {
            let pods = kubectl.says("get pods -A -o wide");
            (pods.contains("coredns") && pods.contains("1/1") && pods.contains("k3s-gpu-01")).then_some(())
        });
        assert!(kubectl.says("get deployments -n kube-system -o yaml").contains("image: rancher/mirrored-coredns"));
        for kinds in ["all,configmaps,serviceaccounts", "storageclasses,ingressclasses,runtimeclasses,leases,crds"] {
            kubectl.says(&format!("get {kinds} -A"));
        }
        let described = kubectl.says("describe node k3s-gpu-01");
        assert!(described.contains("Allocatable:") && described.contains("KubeletReady"), "{described}");
        let described = kubectl.says("describe deployment coredns -n kube-system");
        assert!(described.contains("NewReplicaSetAvailable"), "{described}");
        // Of several, newer ones show no events unless they are asked to.
        let described = kubectl.says("describe pods -n kube-system --show-events");
        assert!(described.contains("Started container coredns"), "{described}");
        let kinds = kubectl.says("api-resources");
        assert!(kinds.contains("deployments") && kinds.contains("helm.cattle.io/v1"), "{kinds}");
        assert!(kubectl.says("api-versions").lines().any(|line| line == "networking.k8s.io/v1"));
        let explained = kubectl.says("explain deployment.spec.replicas");
        assert!(explained.contains("FIELD: replicas <integer>"), "{explained}");
    }
}

#[test]
fn it_applies_waits_and_finds_that_nothing_differs() {
    for kubectl in each("apply") {
        let alone = kubectl.run("apply --server-side --dry-run=server -f -", &kubectl.manifests());
        // Nothing of a dry run is there for the next object of it.
        assert!(told(&alone).1.contains(&format!("namespaces \"{}\" not found", kubectl.namespace)), "{alone:?}");
        let first = kubectl.apply();
        assert!(first.contains("deployment.apps/web serverside-applied"), "{first}");
        kubectl.says("wait --for=condition=Available deployment/web --timeout=60s");
        kubectl.says("wait --for=condition=complete job/hello --timeout=60s");
        kubectl.says("wait --for=jsonpath={.status.readyReplicas}=2 deployment/web --timeout=60s");
        assert!(kubectl.says("rollout status deployment/web").contains("successfully rolled out"));
        assert_eq!(kubectl.says("logs job/hello"), "hello\n");
        // Once more: nothing becomes another.
        let version = || kubectl.json("get configmap settings -o json")["metadata"]["resourceVersion"].clone();
        let before = version();
        kubectl.apply();
        assert_eq!(version(), before);
        assert_eq!(kubectl.fed("diff --server-side -f -", &kubectl.manifests()), "");
        let other = kubectl.manifests().replace("colour: blue", "colour: green");
        let (shown, _, code) = told(&kubectl.run("diff --server-side -f -", &other));
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains("-  colour: blue") && shown.contains("+  colour: green"), "{shown}");
        let tried = kubectl.fed("apply --server-side --dry-run=server -f -", &other);
        assert!(tried.contains("configmap/settings serverside-applied (server dry run)"), "{tried}");
        assert_eq!(version(), before);
        kubectl.end();
    }
}

#[test]
fn it_is_told_whose_a_field_is_and_may_take_it() {
    for kubectl in each("conflict") {
        kubectl.apply();
        let other = kubectl.manifests().replace("colour: blue", "colour: green");
        let refused = kubectl.run("apply --server-side --field-manager=other -f -", &other);
        let (_, why, code) = told(&refused);
        assert_eq!(code, Some(1), "{why}");
        assert!(why.contains("conflict with \"kubectl\": .data.colour"), "{why}");
        kubectl.fed("apply --server-side --field-manager=other --force-conflicts -f -", &other);
        assert_eq!(kubectl.json("get configmap settings -o json")["data"]["colour"], "green");
        // The older way to apply, with a patch that is made up here.
        kubectl.fed("apply -f -", &kubectl.manifests());
        assert!(kubectl.fed("apply -f -", &kubectl.manifests()).contains("deployment.apps/web unchanged"));
        kubectl.end();
    }
}

#[test]
fn it_changes_and_deletes() {
    for kubectl in each("change") {
        kubectl.apply();
        kubectl.says("label configmap settings tier=front");
        assert!(kubectl.says("get configmaps -l tier=front --show-labels").contains("settings"));
        kubectl.says("annotate configmap settings note=here");
        kubectl.says("scale deployment web --replicas=1");
        kubectl.says("set image deployment/web c=registry.local/web:2");
        kubectl.says("rollout restart deployment/web");
        assert!(kubectl.says("rollout status deployment/web --timeout=60s").contains("successfully"));
        assert_eq!(kubectl.json("get deployment web -o json")["status"]["readyReplicas"], 1);
        // These come in binary.
        kubectl.says("create configmap made --from-literal=a=b");
        kubectl.says("create secret generic kept --from-literal=a=b");
        assert_eq!(kubectl.json("get secret kept -o json")["data"]["a"], "Yg==");
        let watching = kubectl.run("get configmaps -w --request-timeout=2s", "");
        assert!(told(&watching).0.contains("made"), "{watching:?}");
        kubectl.says("delete configmap made --wait=false");
        kubectl.says("wait --for=delete configmap/made --timeout=30s");
        kubectl.says("delete deployment web --cascade=foreground --timeout=60s");
        let left = kubectl.says("get replicasets,pods -l app=web -o name");
        assert!(!left.contains("replicaset"), "what belongs to it went before it: {left}");
        kubectl.says("delete configmaps --all");
        assert!(!kubectl.says("get configmaps -o name").contains("settings"));
        kubectl.end();
    }
}

#[test]
fn it_knows_kinds_that_are_defined() {
    for kubectl in each("custom") {
        let definition = include_str!("kubectl-crd.yaml").replace("GROUP", &format!("{}.example", kubectl.namespace));
        let group = format!("{}.example", kubectl.namespace);
        kubectl.fed("apply --server-side -f -", &definition);
        kubectl.says(&format!("wait --for=condition=Established crd/gadgets.{group} --timeout=30s"));
        kubectl.says(&format!("create namespace {}", kubectl.namespace));
        let object = format!("apiVersion: {group}/v1\nkind: Gadget\nmetadata: {{name: one}}\nspec: {{size: 3}}\n");
        kubectl.fed("apply --server-side -f -", &object);
        let table = kubectl.says(&format!("get gadgets.{group}"));
        assert!(table.starts_with("NAME   SIZE\none    3\n"), "{table}");
        assert!(kubectl.says(&format!("describe gadgets.{group} one")).contains("Size:  3"));
        let explained = kubectl.says(&format!("explain gadgets.spec --api-version={group}/v1"));
        assert!(explained.contains("size\t<integer> -required-") && explained.contains("How big it is"), "{explained}");
        kubectl.says(&format!("delete crd gadgets.{group}"));
        kubectl.end();
    }
}
