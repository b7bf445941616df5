//! Values that are not what a primitive takes.

use super::{homelab, in_homelab, script, told};
use crate::project::Project;

#[test]
fn a_typo_in_an_option() {
    let playbook = "let pve = proxmox::connect();\n\npve.vm(#{\n    vmid: 111, name: \"box\", node: \"pve-01\", clone: 9000,\n    memroy: 2048,\n});\n";
    insta::assert_snapshot!(script(playbook));
}

#[test]
fn a_value_of_the_wrong_type() {
    let playbook =
        "let pve = proxmox::connect();\n\npve.vm(#{ vmid: 111, name: \"box\", node: \"pve-01\", cores: \"four\" });\n";
    insta::assert_snapshot!(script(playbook));
}

#[test]
fn a_size_that_counts_in_thousands() {
    let playbook =
        "let pve = proxmox::connect();\n\npve.vm(#{ vmid: 111, name: \"box\", node: \"pve-01\", memory: \"8 GB\" });\n";
    insta::assert_snapshot!(script(playbook));
}

#[test]
fn a_time_in_a_unit_that_is_none() {
    insta::assert_snapshot!(script("wait_until(#{ what: \"it rains\", timeout: \"5 parsecs\" }, || true);\n"));
}

#[test]
fn an_option_that_must_be_given() {
    insta::assert_snapshot!(script("wait_until(#{ timeout: \"5s\" }, || true);\n"));
}

#[test]
fn a_condition_that_never_comes_true() {
    let playbook = "step(\"1\", \"a step\", || wait_until(#{ what: \"it rains\", timeout: \"300ms\" }, || false));\n";
    insta::assert_snapshot!(script(playbook));
}

#[test]
fn a_time_limit_that_leaves_no_time() {
    insta::assert_snapshot!(in_homelab(&homelab(), "let pve = proxmox::connect(#{ timeout: 0 });\n", 1));
}

#[test]
fn a_text_that_is_no_json() {
    insta::assert_snapshot!(script("let answer = json::parse(\"{ \\\"a\\\": 1, }\");\n"));
}

#[test]
fn a_template_that_needs_more_than_it_is_given() {
    let project = Project::with("let text = template(\"templates/greeting.j2\", #{ name: \"k3s-cp-01\" });\n");
    project.write("templates/greeting.j2", "{{ name }} is at {{ address }}\n");
    insta::assert_snapshot!(told(&project, "run --sim playbooks/first.rhai", 1, "templates/greeting.j2"));
}

/// A playbook that writes a file on the first node.
fn file(options: &str) -> String {
    let host = "let h = ssh::host(#{ address: \"10.20.11.11\", user: \"root\" });\n";
    format!("{host}step(\"1\", \"a file\", || h.file(#{{ {options} }}));\n")
}

#[test]
fn permissions_that_are_no_number() {
    let playbook = file("path: \"/tmp/x\", content: \"a\", mode: \"rwx\"");
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 1));
}

#[test]
fn a_path_on_a_host_that_is_not_absolute() {
    insta::assert_snapshot!(in_homelab(&homelab(), &file("path: \"tmp/x\", content: \"a\""), 1));
}

#[test]
fn a_folder_that_is_not_there() {
    insta::assert_snapshot!(in_homelab(&homelab(), &file("path: \"/srv/app/x\", content: \"a\""), 4));
}

#[test]
fn an_owner_that_a_host_does_not_know() {
    let playbook = file("path: \"/tmp/x\", content: \"a\", owner: \"nginx\"");
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 1));
}

#[test]
fn a_command_that_fails() {
    let playbook = "let h = ssh::host(#{ address: \"10.20.11.11\", user: \"root\" });\n\
        step(\"1\", \"a command\", || h.run(\"ls /srv/app\", #{ unless: \"test -e /srv/app\" }));\n";
    insta::assert_snapshot!(in_homelab(&homelab(), playbook, 1));
}
