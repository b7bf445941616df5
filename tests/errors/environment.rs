//! The variables of `.envrc` and of the environment.

use super::{homelab, in_homelab, phase3, script, set, told};
use crate::project::Project;

#[test]
fn a_missing_variable() {
    let project = Project::with("let mood = env(\"HOMELAB_SSH_KEY_PASSPHRASE\");\n");
    insta::assert_snapshot!(told(&project, "run --sim playbooks/first.rhai", 1, "playbooks/first.rhai:1"));
}

#[test]
fn a_typo_in_a_variable_of_the_environment() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || info(env(\"HOMELAB_PVE_ULR\")));\n"));
}

/// Runs phase 3 with this as its `.envrc`.
fn envrc(text: &str, place: &str) -> String {
    phase3(|project| project.write(".envrc", text), 1, place)
}

#[test]
fn a_command_in_the_envrc() {
    let text =
        "export HOMELAB_PVE_URL=https://10.20.11.11:8006\nexport HOMELAB_PVE_TOKEN_SECRET=$(pass show homelab/pve)\n";
    insta::assert_snapshot!(envrc(text, ".envrc:2:33"));
}

#[test]
fn a_quote_in_the_envrc_that_is_not_closed() {
    insta::assert_snapshot!(envrc("export HOMELAB_PVE_TOKEN_SECRET='abc\n", ".envrc:1:33"));
}

#[test]
fn a_number_of_jobs_that_is_none() {
    insta::assert_snapshot!(envrc("export HOMELAB_JOBS=many\n", "HOMELAB_JOBS"));
}

/// Runs phase 3 with another value of a variable.
fn with(variable: &str, value: &str, code: i32, place: &str) -> String {
    phase3(|project| set(project, variable, Some(value)), code, place)
}

#[test]
fn an_address_of_the_api_without_tls() {
    insta::assert_snapshot!(with("HOMELAB_PVE_URL", "http://10.20.11.11:8006", 1, "playbooks/phase3.rhai:5"));
}

#[test]
fn a_token_without_its_name() {
    insta::assert_snapshot!(with("HOMELAB_PVE_TOKEN_ID", "automation@pve", 1, "playbooks/phase3.rhai:5"));
}

#[test]
fn a_wrong_token() {
    let wrong = "00000000-0000-0000-0000-000000000000";
    insta::assert_snapshot!(with("HOMELAB_PVE_TOKEN_SECRET", wrong, 1, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_public_key_that_is_but_its_path() {
    insta::assert_snapshot!(with("HOMELAB_SSH_PUBKEY", "~/.ssh/id_ed25519.pub", 4, "playbooks/phase3.rhai:"));
}

#[test]
fn a_private_key_of_the_machines_that_is_not_there() {
    insta::assert_snapshot!(with("HOMELAB_SSH_KEY", "/nowhere/id_ed25519", 4, "playbooks/phase3.rhai:"));
}

#[test]
fn a_private_key_that_is_not_there() {
    let project = homelab();
    set(&project, "HOMELAB_SSH_KEY", Some("/nowhere/id_ed25519"));
    let playbook = "let h = ssh::host(#{ address: \"10.20.11.11\", user: \"root\" });\n\
        step(\"1\", \"a file\", || h.file(#{ path: \"/tmp/x\", content: \"a\" }));\n";
    insta::assert_snapshot!(in_homelab(&project, playbook, 1));
}
