//! Objects of a cluster: what is planned of them and made, whose fields they are, and what is told of those that fail.

use super::project::Project;

const PHASES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";

/// A playbook of one step.
fn write(project: &Project, script: &str) {
    let head = "let k = kubernetes::connect();\n";
    project.write("playbooks/once.rhai", &format!("{head}step(\"9\", \"once\", || {{\n{script}\n}});\n"));
}

fn plan(project: &Project, code: i32) -> String {
    project.ends("plan --sim playbooks/once.rhai", code)
}

fn run(project: &Project, code: i32) -> String {
    project.ends("run --sim playbooks/once.rhai", code)
}

const DEPLOYED: &str = r#"
    k.namespace(#{ name: "demo" });
    k.secret(#{ namespace: "demo", name: "key", data: #{ password: "plain-password-1" } });
    k.config_map(#{ namespace: "demo", name: "site", data: #{ a: "1" } });
    k.apply(#{ apiVersion: "apps/v1", kind: "Deployment", metadata: #{ name: "web", namespace: "demo" }, spec: #{
        replicas: 2, selector: #{ matchLabels: #{ app: "web" } },
        template: #{ metadata: #{ labels: #{ app: "web" } }, spec: #{ containers: [#{
            name: "web", image: "docker.io/library/busybox:1.37.0", command: ["sleep", "infinity"],
            resources: #{ requests: #{ cpu: "1000m", memory: "32Mi" } },
        }] } },
    } }, #{ wait: true });
"#;

#[test]
fn objects_are_made_as_planned_conflicts_name_their_owner_and_failures_are_explained() {
    let project = Project::homelab_itself();
    project.ends(&format!("run --sim --sim-answer-manual -q {PHASES}"), 0);

    write(&project, DEPLOYED);
    let planned = plan(&project, 0);
    assert!(
        planned.contains("would create apps/Deployment:demo/web") && planned.contains("\n4 changes planned\n"),
        "{planned}"
    );
    let ran = run(&project, 0);
    assert!(ran.contains("plan fidelity: sure 4/4, maybe 0 (0 done)"), "{ran}");
    assert!(run(&project, 0).contains("\n0 changes\n"));
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");
    assert!(![planned, ran].concat().contains("plain-password-1"), "a Secret's value does not show");

    // Somebody else takes over a field, and what was ours becomes a conflict, in the plan already.
    let theirs = r#"k.apply(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "demo" }, data: #{ a: "theirs" } },
        #{ field_manager: "flux", force: true });"#;
    write(&project, theirs);
    run(&project, 0);
    let ours = r#"k.config_map(#{ namespace: "demo", name: "site", data: #{ a: "1" } });"#;
    write(&project, ours);
    for told in [plan(&project, 1), run(&project, 1)] {
        assert!(told.contains("ConfigMap:demo/site: fields of flux would be changed"), "{told}");
        assert!(told.contains(".data.a: conflict with \"flux\"") && told.contains("force: true"), "{told}");
    }

    // A rollout that cannot end says why.
    let failing = DEPLOYED.replace("busybox:1.37.0", "no-such:1").replace("wait: true", "wait: true, timeout: \"3s\"");
    let failing = failing.lines().filter(|line| !line.contains("k.config_map")).collect::<Vec<_>>().join("\n");
    write(&project, &failing);
    let told = run(&project, 1);
    assert!(told.contains("ImagePullBackOff") && told.contains("no-such:1"), "{told}");
}
