//! What becomes of objects of a cluster that are left out, were made by `kubectl apply`, or cannot be changed as they are.

use super::project::Project;

const PHASES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";

/// A cluster without anything of ours.
fn cluster() -> Project {
    let project = Project::homelab_itself();
    project.ends(&format!("run --sim --sim-answer-manual -q {PHASES}"), 0);
    project
}

fn write(project: &Project, script: &str) {
    let head = "let k = kubernetes::connect();\n";
    project.write("playbooks/once.rhai", &format!("{head}step(\"9\", \"once\", || {{\n{script}\n}});\n"));
}

/// Plans, runs and runs again: the plan tells what the run does, and then nothing is left to do.
#[track_caller]
fn converges(project: &Project, script: &str, options: &str) -> String {
    write(project, script);
    let planned = project.ends(&format!("plan --sim playbooks/once.rhai {options}"), 0);
    let ran = project.ends(&format!("run --sim playbooks/once.rhai {options}"), 0);
    let score = ran.lines().find(|line| line.contains("plan fidelity")).unwrap_or_default();
    let (done, all) = score.split("sure ").nth(1).and_then(|rest| rest.split(',').next()?.split_once('/')).unwrap();
    assert_eq!(done, all, "{planned}\n{ran}");
    let again = project.ends("run --sim playbooks/once.rhai", 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");
    planned
}

fn set(members: &[&str]) -> String {
    let map = |name: &&str| {
        format!(r#"#{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "{name}", namespace: "demo" }} }}"#)
    };
    let members = members.iter().map(map).collect::<Vec<_>>().join(", ");
    format!(r#"k.prune(#{{ name: "site", namespace: "demo", allow_destroy: true }}, [{members}]);"#)
}

#[test]
fn what_leaves_a_set_is_taken_away_where_the_run_names_it_and_nothing_else_is() {
    let project = cluster();
    converges(
        &project,
        &format!(
            r#"k.namespace(#{{ name: "demo" }}); k.config_map(#{{ namespace: "demo", name: "mine", data: #{{}} }}); {}"#,
            set(&["a", "b"])
        ),
        "",
    );

    // It is planned, and the run has to name it.
    write(&project, &set(&["a"]));
    let planned = project.ends("plan --sim playbooks/once.rhai", 0);
    assert!(planned.contains("would delete ConfigMap:demo/b"), "{planned}");
    assert!(planned.contains("--allow-destroy ConfigMap:demo/b") && !planned.contains("demo/mine"), "{planned}");
    let refused = project.ends("run --sim playbooks/once.rhai", 1);
    assert!(refused.contains("ConfigMap:demo/b: deletes ConfigMap b, and this run does not name it"), "{refused}");
    let planned = converges(&project, &set(&["a"]), "--allow-destroy ConfigMap:demo/b");
    assert!(planned.contains("1 change planned"), "{planned}");

    // A kind of which nothing is left is forgotten last, and a set may become empty.
    let planned = converges(&project, &set(&[]), "--allow-destroy ConfigMap:demo/a");
    let (gone, narrowed) = (planned.find("ConfigMap:demo/a").unwrap(), planned.find("Secret:demo/site").unwrap());
    assert!(gone < narrowed, "{planned}");

    // A Secret of another purpose is never taken for the account of a set.
    write(
        &project,
        r#"k.secret(#{ namespace: "demo", name: "key", data: #{ token: "plain-token-123" } });
           k.prune(#{ name: "key", namespace: "demo" }, []);"#,
    );
    let refused = project.ends("run --sim playbooks/once.rhai", 1);
    assert!(refused.contains("Secret:demo/key: it is not the account of a set"), "{refused}");
}

#[test]
fn what_kubectl_apply_has_set_is_taken_over_and_goes_where_it_is_left_out() {
    let project = cluster();
    let theirs = r#"
        k.namespace(#{ name: "demo" });
        k.post("/api/v1/namespaces/demo/configmaps?fieldManager=kubectl-client-side-apply", #{
            apiVersion: "v1", kind: "ConfigMap", data: #{ a: "1", b: "1", c: "1" },
            metadata: #{ name: "site", annotations: #{ "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
        });"#;
    write(&project, theirs);
    project.ends("run --sim playbooks/once.rhai", 0);
    let ours = |more: &str| {
        let map = r#"apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "demo" }"#;
        format!(r#"k.apply(#{{ {map}, data: #{{ a: "2" }} }}, #{{ {more} }});"#)
    };
    write(&project, &ours(""));
    let refused = project.ends("plan --sim playbooks/once.rhai", 1);
    assert!(refused.contains("fields of kubectl-client-side-apply would be changed"), "{refused}");
    let planned = converges(&project, &ours("force: true"), "");
    for line in ["data.a: \"1\" → \"2\"", "data.b", "data.c"] {
        assert!(planned.contains(line), "{line}: {planned}");
    }
    write(&project, r#"info(`${k.get("/api/v1/namespaces/demo/configmaps/site")}`);"#);
    let left = project.ends("run --sim playbooks/once.rhai", 0);
    assert!(left.contains(r#""data": #{"a": "2"}"#) && !left.contains("last-applied"), "{left}");
}

fn job(image: &str, more: &str) -> String {
    format!(
        r#"k.apply(#{{ apiVersion: "batch/v1", kind: "Job", metadata: #{{ name: "once", namespace: "default" }}, spec: #{{
            template: #{{ spec: #{{ restartPolicy: "Never", containers: [#{{ name: "c", image: "{image}", command: ["true"] }}] }} }},
        }} }}, #{{ {more} }});"#
    )
}

#[test]
fn what_cannot_be_changed_is_told_by_the_plan_and_made_anew_where_playbook_and_run_say_so() {
    let project = cluster();
    let (old, new) = ("docker.io/library/busybox:1.36.1", "docker.io/library/busybox:1.37.0");
    converges(&project, &job(old, ""), "");
    write(&project, &job(new, ""));
    for how in ["plan", "run"] {
        let refused = project.ends(&format!("{how} --sim playbooks/once.rhai"), 1);
        let says = "batch/Job:default/once: it must be replaced, since spec.template cannot be changed";
        assert!(refused.contains(says) && refused.contains("`replace: true`"), "{refused}");
    }
    write(&project, &job(new, "replace: true"));
    let planned = project.ends("plan --sim playbooks/once.rhai", 0);
    assert!(planned.contains("must be replaced") && planned.contains("--allow-destroy"), "{planned}");
    project.ends("run --sim playbooks/once.rhai", 1);
    let planned = converges(&project, &job(new, "replace: true"), "--allow-destroy batch/Job:default/once");
    assert!(planned.contains("busybox:1.37.0"), "{planned}");
}

#[test]
fn labels_of_a_node_are_planned_in_the_words_of_the_api() {
    let project = cluster();
    converges(
        &project,
        r#"let node = k.nodes()[0].name;
           k.label(#{ node: node, labels: #{ "homelab/tried": "true" } });
           k.taint(#{ node: node, taints: #{ "homelab/tried": "yes:PreferNoSchedule" } });
           k.cordon(#{ node: node });"#,
        "",
    );
    write(&project, r#"k.label(#{ node: k.nodes()[0].name, labels: #{ "homelab/tried": "no spaces, please" } });"#);
    let refused = project.ends("plan --sim playbooks/once.rhai", 1);
    assert!(refused.contains("homelab/tried") || refused.contains("metadata.labels"), "{refused}");
}
