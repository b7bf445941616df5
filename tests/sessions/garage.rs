//! Garage: its buckets and keys as they are written down, and the trial of an object.

use super::project::Project;

const ALONE: &str = "playbooks/apps/garage";

/// A cluster without anything of ours.
fn cluster() -> Project {
    let project = Project::homelab_itself();
    project.ends("run --sim --sim-answer-manual -q playbooks/phase3.rhai playbooks/phase3_5.rhai", 0);
    project
}

/// Runs a script once, in a step of its own.
fn once(project: &Project, script: &str, code: i32) -> String {
    let head = "import \"apps/garage/app\" as garage;\nlet k = kubernetes::connect();\n";
    project.write("playbooks/once.rhai", &format!("{head}{script}\n"));
    project.ends("run --sim playbooks/once.rhai", code)
}

/// The value of a variable of the simulator.
fn variable(project: &Project, name: &str) -> String {
    let envrc = project.read(".homelab/sim/envrc");
    let line = envrc.lines().find(|line| line.contains(&format!("{name}="))).expect("it is there");
    line.split('\'').nth(1).expect("a value").to_owned()
}

fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let text = project.read(file);
    assert!(text.contains(from), "{from} stands in {file}");
    project.write(file, &text.replace(from, to));
}

#[test]
fn buckets_are_made_given_to_their_keys_and_tried_and_then_all_is_quiet() {
    let project = cluster();
    let planned = project.ends(&format!("plan --sim {ALONE}"), 0);
    for wanted in ["garage:layout", "garage:key:homelab", "garage:bucket:backups"] {
        assert!(planned.contains(wanted), "{wanted}\n{planned}");
    }
    assert!(!planned.contains("deferred"), "{planned}");
    let ran = project.ends(&format!("run --sim {ALONE}"), 0);
    assert!(ran.contains("created garage:bucket:backups") && !ran.contains("missed: "), "{ran}");
    assert!(ran.contains("batch/Job:infrastructure/garage-trial-"), "{ran}");
    let again = project.ends(&format!("run --sim {ALONE}"), 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");

    // Another bucket, and less for the key in the first.
    let row = "| (backups) | homelab | (read, write) |";
    edit(&project, "docs/SOFTWARE.md", row, "| pictures | homelab | read, write | |\n| (backups) | homelab | read |");
    let planned = project.ends(&format!("plan --sim {ALONE}"), 0);
    for wanted in ["would create garage:bucket:pictures", "would update garage:bucket:backups"] {
        assert!(planned.contains(wanted), "{wanted}\n{planned}");
    }
    let ran = project.ends(&format!("run --sim {ALONE}"), 0);
    assert!(ran.contains("plan fidelity: sure 3/3, maybe 0") && !ran.contains("warning"), "{ran}");
    let looked = once(
        &project,
        "step(\"1\", \"what there is\", || info(garage::access_of(garage::admin(k, garage::described()).get(\"/v2/GetBucketInfo?globalAlias=backups\"), env(\"HOMELAB_S3_KEY_ID\"))));",
        0,
    );
    assert!(looked.contains("[\"read\"]"), "{looked}");
    assert!(project.ends(&format!("run --sim {ALONE}"), 0).contains("\n0 changes\n"));

    // No secret shows, though the admin API tells it.
    let secret = variable(&project, "HOMELAB_S3_SECRET");
    for told in [planned, ran, looked, project.ends("history", 0), project.ends("sim log", 0)] {
        assert!(!told.contains(&secret), "{told}");
    }

    // A word that is none is told with its row.
    edit(&project, "docs/SOFTWARE.md", "| homelab | read |", "| homelab | look |");
    let told = project.ends(&format!("plan --sim {ALONE}"), 1);
    assert!(told.contains("table buckets, row backups: look is nothing that a key may do"), "{told}");
}

#[test]
fn a_trial_that_fails_is_told_and_tried_again_and_a_key_with_another_secret_stays_as_it_is() {
    let project = cluster();
    let between = r#"
        let store = step("1", "Garage is there", || garage::deploy(k));
        step("2", "somebody closes the bucket", || {
            let api = garage::admin(k, garage::described());
            let id = api.get("/v2/GetBucketInfo?globalAlias=backups").id;
            api.post("/v2/DenyBucketKey", #{ bucketId: id, accessKeyId: env("HOMELAB_S3_KEY_ID"), permissions: #{ write: true } });
        });
        step("3", "it takes objects", || garage::check(k, store));"#;
    let told = once(&project, between, 1);
    assert!(told.contains("curl: (22) The requested URL returned error: 403"), "{told}");
    assert_eq!(project.ends("sim log --last", 0).matches(&variable(&project, "HOMELAB_S3_SECRET")).count(), 0);
    // With another client it is another trial; the same would first wait until the one that failed has gone.
    edit(&project, "docs/SOFTWARE.md", "(8.17.0)", "(8.16.0)");
    let mended = project.ends(&format!("run --sim {ALONE}"), 0);
    assert!(mended.contains("updated garage:bucket:backups"), "{mended}");
    assert!(mended.contains("batch/Job:infrastructure/garage-trial-"), "{mended}");

    // The Secret of the cluster is gone, and the environment has another secret: Garage keeps the one that it knows.
    let secret = variable(&project, "HOMELAB_S3_SECRET");
    let gone = "step(\"1\", \"the Secret goes\", || k.delete(#{ kind: \"Secret\", namespace: \"infrastructure\", name: \"garage-key-homelab\", allow_destroy: true }));";
    project.write("playbooks/once.rhai", &format!("let k = kubernetes::connect();\n{gone}\n"));
    project.ends("run --sim playbooks/once.rhai --allow-destroy Secret:infrastructure/garage-key-homelab", 0);
    let other = "0123456789abcdef".repeat(4);
    edit(&project, ".homelab/sim/envrc", &secret, &other);
    for command in ["plan", "run"] {
        let told = project.ends(&format!("{command} --sim {ALONE}"), 1);
        assert!(told.contains("Garage has the key ") && told.contains(" with another secret"), "{told}");
        assert!(!told.contains(&secret) && !told.contains(&other), "{told}");
    }
}
