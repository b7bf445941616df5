//! A hundred objects in a simulated cluster, with homelab and with kubectl, on the same served simulator.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::figures::{Figures, Sample};
use super::program::Project;

/// How often each thing is done, after once for warming up.
const TIMES: usize = 3;

/// How many there are of each kind, beside a namespace and a definition: a hundred in all.
const MAPS: usize = 40;
const SECRETS: usize = 20;
const SERVICES: usize = 15;
const DEPLOYMENTS: usize = 10;
const GADGETS: usize = 13;

const OBJECTS: usize = 2 + MAPS + SECRETS + SERVICES + DEPLOYMENTS + GADGETS;

/// homelab takes at most this share of the time of kubectl.
const SHARE: f64 = 0.5;

/// Compares homelab with kubectl, if there is one.
pub fn measure(figures: &mut Figures) {
    let Some(program) = kubectl() else {
        println!("  passed over: there is no kubectl, neither in target/clients/bin nor on the PATH");
        return;
    };
    let lab = Lab::new(program);
    let mut ours = Worker { lab: &lab, dry_before: 0 };
    let first = ours.of("run --sim -q playbooks/bench.rhai", true);
    figures.report(&format!("homelab: first run of {OBJECTS} objects"), &first.0, None);
    let again = ours.of("run --sim -q playbooks/bench.rhai", false);
    figures.report("homelab: a run that changes nothing", &again.0, None);
    let plan = ours.of("plan --sim -q playbooks/bench.rhai", false);
    figures.report("homelab: a plan without changes", &plan.0, None);
    let dry = lab.asked("dryRun").saturating_sub(ours.dry_before);
    let their_first = theirs(&lab, &[APPLY_FIRST, WAIT, APPLY_REST], true);
    figures.report("kubectl apply --server-side: first, definition, wait, the rest", &their_first.0, None);
    let their_again = theirs(&lab, &[APPLY_ALL], false);
    figures.report("kubectl apply --server-side: again", &their_again.0, None);
    let their_diff = theirs(&lab, &[DIFF], false);
    figures.report("kubectl diff --server-side: nothing differs", &their_diff.0, None);
    for (what, ours, theirs) in [
        ("first run to kubectl apply", &first, &their_first),
        ("run again to kubectl apply again", &again, &their_again),
        ("plan to kubectl diff", &plan, &their_diff),
    ] {
        figures.share(what, &ours.0, &theirs.0, SHARE);
        println!("  {:<62} {} to {}", format!("requests, {what}"), ours.1, theirs.1);
    }
    // One request an object, and discovery, are the least that it takes.
    figures.count("requests of a first run", first.1, 3 * (OBJECTS + 2));
    figures.count("dry runs of a plan without changes: one an object", dry, OBJECTS);
}

const APPLY_FIRST: &str = "apply --server-side --field-manager=kubectl -f manifests/1-first.yaml";
const WAIT: &str = "wait --for=condition=Established crd/gadgets.bench.example --timeout=30s";
const APPLY_REST: &str = "apply --server-side -f manifests/2-rest.yaml";
const APPLY_ALL: &str = "apply --server-side -f manifests/1-first.yaml -f manifests/2-rest.yaml";
const DIFF: &str = "diff --server-side -f manifests/1-first.yaml -f manifests/2-rest.yaml";

/// The kubectl that `.ci/run` installs, or that of this machine.
fn kubectl() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/kubectl");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).map(|folder| folder.join("kubectl"));
    std::iter::once(own).chain(others).find(|program| program.is_file())
}

/// A served simulator with a cluster.
struct Lab {
    project: Project,
    server: Child,
    gateway: String,
    kubectl: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Lab {
    fn new(kubectl: PathBuf) -> Self {
        let project = Project::new();
        std::fs::create_dir_all(project.root().join("manifests")).expect("a folder");
        project.write("manifests/1-first.yaml", &firsts());
        project.write("manifests/2-rest.yaml", &rest());
        let playbook =
            "let k = kubernetes::connect();\nstep(\"bench\", \"a hundred objects\", || k.apply_file(\"manifests\"));\n";
        project.write("playbooks/bench.rhai", playbook);
        for phase in ["phase3", "phase3_5"] {
            project.says(&format!("run --sim -q --sim-answer-manual playbooks/{phase}.rhai"));
        }
        let mut serve = project.command("sim serve --api 127.0.0.1:0 --ssh 127.0.0.1:0 --output json");
        let mut server = serve.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let gateway = said["gateway"].as_str().expect("an address").to_owned();
        Lab { project, server, gateway, kubectl }
    }

    /// How many requests for the API were made so far whose line has this in it. What was asked last is written a little later.
    fn asked(&self, what: &str) -> usize {
        let count = || {
            let log = self.project.says("sim log --output json");
            log.lines().filter(|line| line.contains("\"kind\":\"kubernetes\"") && line.contains(what)).count()
        };
        let mut last = count();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            match count() {
                same if same == last => return same,
                more => last = more,
            }
        }
    }

    fn kubectl(&self, line: &str) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.args(line.split_whitespace()).current_dir(self.project.root()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.project.root());
        command.env("KUBECONFIG", self.project.root().join(".homelab/sim/kubeconfig"));
        command.env("HTTPS_PROXY", format!("http://{}", self.gateway));
        command
    }

    fn must(&self, line: &str) {
        let output = self.kubectl(line).output().expect("it starts");
        assert!(output.status.success(), "kubectl {line}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Takes everything out again.
    fn clear(&self) {
        self.must("delete namespace/bench crd/gadgets.bench.example --ignore-not-found --wait --timeout=60s");
    }
}

/// homelab, and how many dry runs there were before its last measurement.
struct Worker<'a> {
    lab: &'a Lab,
    dry_before: usize,
}

impl Worker<'_> {
    /// Measures a command line, each time with nothing there if that is wanted: the times, and the requests of the last.
    fn of(&mut self, line: &str, is_new: bool) -> (Sample, usize) {
        let mut requests = 0;
        let sample = Sample::of(TIMES, || {
            if is_new {
                self.lab.clear();
            }
            self.dry_before = self.lab.asked("dryRun");
            let before = self.lab.asked("");
            let began = Instant::now();
            self.lab.project.says(line);
            let took = began.elapsed();
            requests = self.lab.asked("") - before;
            took
        });
        (sample, requests)
    }
}

/// The same of kubectl.
fn theirs(lab: &Lab, lines: &[&str], is_new: bool) -> (Sample, usize) {
    let mut requests = 0;
    if !is_new {
        // What the others made becomes kubectl's own once, so that there is nothing left to change.
        lab.must(&format!("{APPLY_ALL} --force-conflicts"));
    }
    let sample = Sample::of(TIMES, || {
        if is_new {
            lab.clear();
        }
        let before = lab.asked("");
        let began = Instant::now();
        for line in lines {
            lab.must(line);
        }
        let took = began.elapsed();
        requests = lab.asked("") - before;
        took
    });
    (sample, requests)
}

/// What others need: a namespace, and a definition.
fn firsts() -> String {
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.bench.example}\nspec:\n  group: bench.example\n  scope: Namespaced\n  names: {plural: gadgets, singular: gadget, kind: Gadget}\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n          type: object\n          properties: {spec: {type: object, properties: {size: {type: integer}}}}\n".to_owned()
}

fn rest() -> String {
    let object = |version: &str, kind: &str, name: &str, number: usize, body: &str| {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}-{number}, namespace: bench, labels: {{app: bench-{number}}}}}\n{body}\n---\n"
        )
    };
    let mut text = String::new();
    for n in 0..MAPS {
        text.push_str(&object(
            "v1",
            "ConfigMap",
            "settings",
            n,
            &format!("data: {{one: \"{n}\", two: text, three: more}}"),
        ));
    }
    for n in 0..SECRETS {
        text.push_str(&object("v1", "Secret", "secret", n, "data: {password: c2VjcmV0}"));
    }
    for n in 0..SERVICES {
        text.push_str(&object(
            "v1",
            "Service",
            "web",
            n,
            &format!("spec: {{selector: {{app: bench-{n}}}, ports: [{{port: 80}}]}}"),
        ));
    }
    for n in 0..DEPLOYMENTS {
        let body = format!(
            "spec:\n  replicas: 1\n  selector: {{matchLabels: {{app: bench-{n}}}}}\n  template:\n    metadata: {{labels: {{app: bench-{n}}}}}\n    spec: {{containers: [{{name: c, image: \"registry.local/web:1\"}}]}}"
        );
        text.push_str(&object("apps/v1", "Deployment", "web", n, &body));
    }
    for n in 0..GADGETS {
        text.push_str(&object("bench.example/v1", "Gadget", "gadget", n, &format!("spec: {{size: {n}}}")));
    }
    text
}
