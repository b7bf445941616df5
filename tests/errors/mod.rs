//! What a mistake looks like: the place, plain words, and what to do next.

mod language;
mod values;

use crate::project::Project;

/// Runs a playbook that cannot come to a good end, and expects to be told where and what to do.
fn told(project: &Project, line: &str, code: i32, place: &str) -> String {
    let told = project.ends(line, code);
    assert!(told.contains(place), "it names {place}:\n{told}");
    assert!(told.contains("help:"), "it says what to do next:\n{told}");
    told
}

fn script(playbook: &str) -> String {
    told(&Project::with(playbook), "run --sim playbooks/first.rhai", 1, "playbooks/first.rhai:")
}

#[test]
fn a_typo_in_a_function() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || { inof(\"hello\"); });\n"));
}

#[test]
fn a_typo_in_an_option() {
    let playbook = "let pve = proxmox::connect();\n\npve.vm(#{\n    vmid: 111, name: \"box\", node: \"pve-01\", clone: 9000,\n    memroy: 2048,\n});\n";
    insta::assert_snapshot!(script(playbook));
}

#[test]
fn a_typo_in_a_variable() {
    insta::assert_snapshot!(script("let machines = [1, 2];\nstep(\"1\", \"a step\", || info(machnies));\n"));
}

#[test]
fn a_typo_in_a_step_id() {
    let project = Project::with("step(\"1.1\", \"one\", || ());\nstep(\"1.2\", \"two\", || ());\n");
    let told = project.ends("run --sim --step 1.3 playbooks/first.rhai", 64);
    assert!(told.contains("did you mean"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn an_id_that_is_used_twice() {
    insta::assert_snapshot!(script("step(\"1.1\", \"one\", || ());\nstep(\"1.1\", \"two\", || ());\n"));
}

#[test]
fn a_value_of_the_wrong_type() {
    let playbook =
        "let pve = proxmox::connect();\n\npve.vm(#{ vmid: 111, name: \"box\", node: \"pve-01\", cores: \"four\" });\n";
    insta::assert_snapshot!(script(playbook));
}

#[test]
fn a_missing_variable() {
    let project = Project::with("let mood = env(\"HOMELAB_SSH_KEY_PASSPHRASE\");\n");
    insta::assert_snapshot!(told(&project, "run --sim playbooks/first.rhai", 1, "playbooks/first.rhai:1"));
}

#[test]
fn a_module_that_is_not_there() {
    insta::assert_snapshot!(script("import \"std/vmss\" as vms;\n"));
}

/// The homelab itself, with its simulated world made, and one thing changed in it.
fn phase3(change: impl FnOnce(&Project), code: i32, place: &str) -> String {
    let project = Project::homelab_itself();
    project.ends("plan --sim -q playbooks/phase3.rhai", 0);
    change(&project);
    let told = told(&project, "plan --sim -q playbooks/phase3.rhai", code, place);
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing was touched");
    told
}

fn edit(project: &Project, file: &str, change: impl FnOnce(&str) -> String) {
    let text = project.read(file);
    let changed = change(&text);
    assert_ne!(text, changed, "{file} is as it was");
    project.write(file, &changed);
}

/// Replaces the value of a variable in the simulator's credentials.
fn set(project: &Project, variable: &str, value: &str) {
    edit(project, ".homelab/sim/envrc", |text| {
        let lines = text.lines().map(|line| match line.strip_prefix(&*format!("export {variable}=")) {
            Some(_) => format!("export {variable}={value}\n"),
            None => format!("{line}\n"),
        });
        lines.collect()
    });
}

fn by_hand(project: &Project, playbook: &str) {
    project.write("playbooks/by-hand.rhai", playbook);
    project.ends("run --sim -q playbooks/by-hand.rhai", 0);
}

#[test]
fn a_wrong_token() {
    let wrong = |project: &Project| set(project, "HOMELAB_PVE_TOKEN_SECRET", "00000000-0000-0000-0000-000000000000");
    insta::assert_snapshot!(phase3(wrong, 1, "playbooks/phase3.rhai:"));
}

#[test]
fn a_wrong_certificate() {
    let wrong = |project: &Project| set(project, "HOMELAB_PVE_FINGERPRINT", &["AB"; 32].join(":"));
    let told = phase3(wrong, 1, "playbooks/phase3.rhai:");
    let shown = regex::Regex::new("([0-9A-F]{2}:){31}[0-9A-F]{2}").expect("a pattern");
    assert_eq!(shown.find_iter(&told).count(), 2, "both fingerprints are shown:\n{told}");
}

#[test]
fn a_missing_privilege() {
    let told = phase3(
        |project| {
            by_hand(
                project,
                r#"
                let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
                step("1", "somebody takes a privilege away", || {
                    let held = root.get("/access/roles/HomelabVM");
                    let left = held.keys().filter(|name| name != "VM.Clone");
                    let names = "";
                    for name in left { names += ` ${name}`; }
                    root.put("/access/roles/HomelabVM", #{ privs: names });
                });
                "#,
            );
        },
        1,
        "playbooks/phase3.rhai:",
    );
    assert!(told.contains("on /vms: VM.Clone"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_number_that_a_stranger_has() {
    let told = phase3(
        |project| {
            by_hand(
                project,
                r#"
                let pve = proxmox::connect();
                step("1", "somebody makes a machine", || {
                    pve.post("/nodes/pve-01/qemu/9000/clone", #{ newid: 112, name: "stranger" });
                });
                "#,
            );
        },
        4,
        "playbooks/phase3.rhai:",
    );
    assert!(told.contains("VM 112 is taken by `stranger` on pve-01"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_template_that_is_not_there() {
    let other = |project: &Project| {
        edit(project, "docs/SOFTWARE.md", |text| {
            text.replace("| template_vmid             | 9000 ", "| template_vmid             | 9001 ")
        });
    };
    insta::assert_snapshot!(phase3(other, 4, "playbooks/phase3.rhai:"));
}

#[test]
fn a_cell_that_is_not_given() {
    let gone = |project: &Project| {
        edit(project, "docs/SOFTWARE.md", |text| text.replace("| local-zfs       | where", "| not given       | where"))
    };
    insta::assert_snapshot!(phase3(gone, 1, "docs/SOFTWARE.md:"));
}

#[test]
fn two_servers_without_a_majority_to_spare() {
    let fewer = |project: &Project| {
        edit(project, "docs/SOFTWARE.md", |text| {
            text.lines().filter(|line| !line.contains("(k3s-cp-01)")).map(|line| format!("{line}\n")).collect()
        });
    };
    insta::assert_snapshot!(phase3(fewer, 4, "2 servers"));
}
