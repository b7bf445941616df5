//! What runs in the cluster, reached from outside: commands in containers, and ports of pods.

use super::project::Project;

const PHASES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";

fn write(project: &Project, script: &str) {
    let head = "let k = kubernetes::connect();\n";
    project.write("playbooks/once.rhai", &format!("{head}step(\"9\", \"once\", || {{\n{script}\n}});\n"));
}

/// A pod that sleeps.
const POD: &str = r#"
    k.namespace(#{ name: "demo" });
    k.secret(#{ namespace: "demo", name: "key", data: #{ token: "plain-token-4711" } });
    k.apply(#{ apiVersion: "v1", kind: "Pod", metadata: #{ name: "box", namespace: "demo", labels: #{ app: "box" } }, spec: #{
        containers: [#{ name: "box", image: "docker.io/library/busybox:1.37.0", command: ["sleep", "3600"], env: [
            #{ name: "TOKEN", valueFrom: #{ secretKeyRef: #{ name: "key", key: "token" } } },
        ] }],
    } }, #{ wait: true });
"#;

#[test]
fn commands_run_in_containers_and_ports_answer() {
    let project = Project::homelab_itself();
    project.ends(&format!("run --sim --sim-answer-manual -q {PHASES}"), 0);
    write(&project, POD);
    project.ends("run --sim playbooks/once.rhai", 0);

    // A question is asked in a dry run too, and says how it ended.
    write(
        &project,
        r#"let box = #{ namespace: "demo", labels: #{ app: "box" } };
           let asked = k.exec(box + #{ command: ["sh", "-c", "cat; echo oops >&2; exit 3"], stdin: "what it reads", query: true });
           info(`${asked.exit} ${asked.stdout} ${asked.stderr}`);
           let token = k.exec(box + #{ command: ["sh", "-c", "echo so: $TOKEN"], query: true });
           info(token.stdout);"#,
    );
    for how in ["plan", "run"] {
        let told = project.ends(&format!("{how} --sim playbooks/once.rhai"), 0);
        assert!(told.contains("3 what it reads oops"), "{told}");
        assert!(told.contains("so: ") && !told.contains("plain-token-4711"), "{told}");
    }

    // A command that may change something is planned, and one that fails is quoted.
    write(&project, r#"k.exec(#{ namespace: "demo", pod: "box", command: ["touch", "/tmp/done"] });"#);
    let planned = project.ends("plan --sim playbooks/once.rhai", 0);
    assert!(planned.contains("would run kubernetes:exec:demo/box:touch"), "{planned}");
    write(
        &project,
        r#"let done = #{ namespace: "demo", pod: "box", command: ["test", "-e", "/tmp/done"], query: true };
           info(`before: ${k.exec(done).exit}`);
           k.exec(#{ namespace: "demo", pod: "box", command: ["touch", "/tmp/done"] });
           info(`after: ${k.exec(done).exit}`);
           k.exec(#{ namespace: "demo", pod: "box", command: ["cat", "/no/such/file"] });"#,
    );
    let failed = project.ends("run --sim playbooks/once.rhai", 1);
    assert!(failed.contains("kubernetes:exec:demo/box:cat: it ended with 1"), "{failed}");
    assert!(failed.contains("before: 1") && failed.contains("after: 0"), "{failed}");
    assert!(failed.contains("/no/such/file"), "{failed}");

    // A port is asked through the API, and nobody listens at another one.
    let dns = r#"namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" }"#;
    write(&project, &format!(r#"info(`dns: ${{k.port_forward(#{{ {dns}, port: 8181 }}).get("/ready")}}`);"#));
    for how in ["plan", "run"] {
        let told = project.ends(&format!("{how} --sim playbooks/once.rhai"), 0);
        assert!(told.contains("dns: OK"), "{told}");
    }
    write(&project, r#"k.port_forward(#{ namespace: "demo", pod: "gone", port: 80 }).get("/");"#);
    let told = project.ends("run --sim playbooks/once.rhai", 1);
    assert!(told.contains("404") && told.contains("gone"), "{told}");
}
