//! Releases that Flux looks after: handed over with all that runs, told where they fail, and never with two owners.

use super::project::Project;

const ALONE: &str = "playbooks/apps/valkey";
const NAMED: &str = "--allow-destroy helm.cattle.io/HelmChart:kube-system/valkey";
const OWNER: &str = "| valkey         | infrastructure | Valkey          | –                             | local-path    | (2)     | –       | no     | flux     |";

fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let text = project.read(file);
    assert!(text.contains(from), "{from} stands in {file}");
    project.write(file, &text.replace(from, to));
}

/// A cluster with Valkey, which K3s looks after, and with Flux.
fn cluster() -> Project {
    let project = Project::homelab_itself();
    edit(&project, "docs/SOFTWARE.md", OWNER, &OWNER.replace("| flux ", "| helm "));
    project.ends(
        &format!(
            "run --sim --sim-answer-manual -q playbooks/phase3.rhai playbooks/phase3_5.rhai {ALONE}/playbook.rhai"
        ),
        0,
    );
    project
}

fn install_flux(project: &Project) {
    project.ends("run --sim -q --step 5.4.1.pin --step 5.4.1.install playbooks/phase5.rhai", 0);
}

/// Runs a script once, in a step of its own.
fn once(project: &Project, script: &str) -> String {
    let head = "let k = kubernetes::connect();\n";
    project.write("playbooks/once.rhai", &format!("{head}step(\"9\", \"once\", || {{\n{script}\n}});\n"));
    project.ends("run --sim playbooks/once.rhai", 0)
}

/// Which pods of Valkey run.
fn pods(project: &Project) -> String {
    let told = once(
        project,
        r#"info(`pods: ${k.list(#{ kind: "Pod", namespace: "infrastructure" }).filter(|pod| pod.status.phase == "Running").map(|pod| pod.metadata.uid)}`);"#,
    );
    let line = told.lines().find(|line| line.contains("pods: ")).expect("they are told");
    line.to_owned()
}

/// Runs it, expects that nothing is left to do, and that nothing is asked that changes anything.
fn is_quiet(project: &Project) {
    let again = project.ends(&format!("run --sim {ALONE}"), 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");
}

#[test]
fn a_release_is_handed_over_with_all_that_runs_and_then_left_alone() {
    let project = cluster();
    edit(&project, "docs/SOFTWARE.md", &OWNER.replace("| flux ", "| helm "), OWNER);
    let told = project.ends(&format!("run --sim {ALONE}"), 4);
    assert!(told.contains("Flux is not in the cluster: install it"), "{told}");
    install_flux(&project);
    let before = pods(&project);

    let planned = project.ends(&format!("plan --sim {ALONE}"), 0);
    for wanted in [
        "would create source.toolkit.fluxcd.io/HelmRepository:infrastructure/valkey",
        "would create helm.toolkit.fluxcd.io/HelmRelease:infrastructure/valkey",
        "would delete helm.cattle.io/HelmChart:kube-system/valkey",
    ] {
        assert!(planned.contains(wanted), "{wanted}\n{planned}");
    }
    let refused = project.ends(&format!("run --sim {ALONE}"), 1);
    assert!(
        refused.contains("helm.cattle.io/HelmChart:kube-system/valkey") && refused.contains("--allow-destroy"),
        "{refused}"
    );
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "who does not name it changes nothing");

    project.ends(&format!("plan --sim {ALONE} {NAMED}"), 0);
    let ran = project.ends(&format!("run --sim {ALONE} {NAMED}"), 0);
    assert!(!ran.contains("missed: ") && ran.contains("deleted helm.cattle.io/HelmChart:kube-system/valkey"), "{ran}");
    assert_eq!(pods(&project), before, "what runs goes on");
    is_quiet(&project);
    let told = once(
        &project,
        r#"
        let own = k.find(#{ kind: "HelmRelease", api_version: "helm.toolkit.fluxcd.io/v2", namespace: "infrastructure", name: "valkey" });
        info(`${own.status.history[0].chartVersion} ${own.status.history[0].version} ${own.status.conditions[0].message}`);"#,
    );
    assert!(told.contains("0.11.0 2 Helm upgrade succeeded for release infrastructure/valkey.v2"), "{told}");
}

#[test]
fn a_release_that_fails_or_is_suspended_or_has_two_owners_is_told() {
    let project = cluster();
    install_flux(&project);
    let helm = OWNER.replace("| flux ", "| helm ");
    edit(&project, "docs/SOFTWARE.md", &helm, OWNER);
    project.ends(&format!("run --sim -q {ALONE} {NAMED}"), 0);
    let before = pods(&project);

    // Values that the chart refuses: the release stays as it was.
    let values = "playbooks/apps/valkey/values.yaml.j2";
    edit(&project, values, "    default:\n", "    somebody:\n");
    let told = project.ends(&format!("run --sim {ALONE}"), 1);
    assert!(
        told.contains("HelmRelease:infrastructure/valkey") && told.contains("Failed to upgrade after 2 attempt(s)"),
        "{told}"
    );
    assert!(told.contains("auth.aclUsers.default is required"), "{told}");
    assert_eq!(pods(&project), before);
    edit(&project, values, "    somebody:\n", "    default:\n");
    project.ends(&format!("run --sim -q {ALONE}"), 0);
    is_quiet(&project);

    // One that somebody has suspended.
    let path = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/infrastructure/helmreleases/valkey";
    once(&project, &format!("k.patch(\"{path}\", #{{ spec: #{{ suspend: true }} }});"));
    let told = project.ends(&format!("run --sim {ALONE}"), 4);
    assert!(told.contains("the HelmRelease infrastructure/valkey is suspended"), "{told}");
    once(&project, &format!("k.patch(\"{path}\", #{{ spec: #{{ suspend: false }} }});"));

    // Two owners, whichever of them is asked for.
    edit(&project, "docs/SOFTWARE.md", OWNER, &helm);
    let told = project.ends(&format!("run --sim {ALONE}"), 4);
    assert!(told.contains("the HelmRelease infrastructure/valkey owns it"), "{told}");
    edit(&project, "docs/SOFTWARE.md", &helm, OWNER);
    once(
        &project,
        r#"k.helm_chart(#{ name: "valkey", chart: "valkey", repo: "https://valkey.io/valkey-helm", version: "0.11.0", target_namespace: "infrastructure", wait: false });"#,
    );
    let told = project.ends(&format!("run --sim {ALONE}"), 4);
    assert!(
        told.contains(
            "conflict: the HelmChart kube-system/valkey and the HelmRelease infrastructure/valkey both own it"
        ),
        "{told}"
    );
}
