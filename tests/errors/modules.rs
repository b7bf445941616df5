//! What playbooks import, and how modules go wrong.

use super::{script, told};
use crate::project::Project;

/// Runs a playbook that imports `playbooks/machines.rhai`.
fn with_module(playbook: &str, module: &str, place: &str) -> String {
    let project = Project::with(playbook);
    project.write("playbooks/machines.rhai", module);
    told(&project, "run --sim playbooks/first.rhai", 1, place)
}

const CALL: &str = "import \"machines\" as machines;\nstep(\"1\", \"a step\", || machines::start(111));\n";

#[test]
fn a_module_that_is_not_there() {
    insta::assert_snapshot!(script("import \"std/vmss\" as vms;\n"));
}

#[test]
fn a_module_that_is_outside_of_the_project() {
    insta::assert_snapshot!(script("import \"../../elsewhere/machines\" as machines;\n"));
}

#[test]
fn a_module_that_is_not_imported() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || vms::check([]));\n"));
}

#[test]
fn a_function_that_a_module_does_not_have() {
    let module = "fn started(vmid) { info(`${vmid}`) }\n";
    insta::assert_snapshot!(with_module(CALL, module, "playbooks/first.rhai:2"));
}

#[test]
fn a_function_of_a_module_with_other_arguments() {
    let module = "fn start(pve, vmid) { info(`${vmid}`) }\n";
    insta::assert_snapshot!(with_module(CALL, module, "playbooks/first.rhai:2"));
}

#[test]
fn a_module_that_does_not_compile() {
    let module = "fn start(vmid) {\n    info(`${vmid}`;\n}\n";
    insta::assert_snapshot!(with_module(CALL, module, "playbooks/machines.rhai:2"));
}

#[test]
fn a_module_that_acts_when_it_is_imported() {
    let module = "info(\"here we go\");\nfn start(vmid) {}\n";
    insta::assert_snapshot!(with_module(CALL, module, "playbooks/machines.rhai:1"));
}

#[test]
fn modules_that_import_each_other() {
    let project = Project::with(CALL);
    project.write("playbooks/machines.rhai", "import \"disks\" as disks;\nfn start(vmid) { disks::grow(vmid) }\n");
    project
        .write("playbooks/disks.rhai", "import \"machines\" as machines;\nfn grow(vmid) { machines::start(vmid) }\n");
    insta::assert_snapshot!(told(&project, "run --sim playbooks/first.rhai", 1, "playbooks/disks.rhai:1"));
}

#[test]
fn an_error_in_a_function_of_a_module() {
    let module = "fn start(vmid) {\n    let number = json::parse(\"{}\").number;\n    info(`${number}`);\n}\n";
    insta::assert_snapshot!(with_module(CALL, module, "playbooks/machines.rhai:2"));
}
