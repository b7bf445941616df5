//! Values that are not what a primitive or a table has.

use super::{script, told};
use crate::project::Project;

/// Runs a playbook in the homelab itself, and expects that no machine was asked to change.
fn with_tables(playbook: &str, place: &str) -> String {
    let project = Project::homelab_itself();
    project.write("playbooks/first.rhai", playbook);
    let told = told(&project, "run --sim playbooks/first.rhai", 1, place);
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing was touched");
    told
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
fn a_typo_in_a_variable_of_the_environment() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || info(env(\"HOMELAB_PVE_ULR\")));\n"));
}

#[test]
fn a_typo_in_a_table() {
    insta::assert_snapshot!(with_tables("docs::table(\"SOFTWARE.md\", \"vmz\");\n", "first.rhai:1:28"));
}

#[test]
fn a_typo_in_a_file_of_tables() {
    insta::assert_snapshot!(with_tables("docs::table(\"SOFTWAER.md\", \"vms\");\n", "first.rhai:1:13"));
}

#[test]
fn a_row_that_a_table_does_not_have() {
    let playbook = "let machine = docs::row(\"SOFTWARE.md\", \"vms\", \"k3s-cp-9\");\n";
    insta::assert_snapshot!(with_tables(playbook, "first.rhai:1:21"));
}

#[test]
fn a_setting_that_a_table_does_not_have() {
    let playbook = "let vmid = docs::setting(\"SOFTWARE.md\", \"cluster\", \"template_vmdi\");\n";
    insta::assert_snapshot!(with_tables(playbook, "first.rhai:1:18"));
}

/// The first node of the tables.
const NODE: &str = "10.20.11.11";

/// A playbook that writes a file on a host.
fn file(address: &str, options: &str) -> String {
    let host = format!("let h = ssh::host(#{{ address: \"{address}\", user: \"root\" }});\n");
    format!("{host}step(\"1\", \"a file\", || h.file(#{{ {options} }}));\n")
}

#[test]
fn permissions_that_are_no_number() {
    let playbook = file(NODE, "path: \"/tmp/x\", content: \"a\", mode: \"rwx\"");
    insta::assert_snapshot!(with_tables(&playbook, "first.rhai:2"));
}

#[test]
fn a_path_on_a_host_that_is_not_absolute() {
    insta::assert_snapshot!(with_tables(&file(NODE, "path: \"tmp/x\", content: \"a\""), "first.rhai:2"));
}

#[test]
fn a_host_that_is_not_there() {
    let playbook = file("10.20.11.250", "path: \"/tmp/x\", content: \"a\"");
    insta::assert_snapshot!(with_tables(&playbook, "first.rhai:2"));
}

#[test]
fn a_text_that_is_no_json() {
    insta::assert_snapshot!(script("let answer = json::parse(\"{ \\\"a\\\": 1, }\");\n"));
}
