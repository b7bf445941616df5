//! Privileges that the token lacks, one by one.

use serde_json::{Value, json};

use super::{BEFORE, PHASE, by_hand, cluster, homelab, in_homelab, phase3, told};
use crate::project::Project;

/// What the token of the homelab is allowed to do, by path and role.
const GRANTED: [(&str, &str, &str); 6] = [
    ("/", "HomelabRoot", "Sys.Audit Sys.Modify"),
    (
        "/vms",
        "HomelabVM",
        "VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk \
         VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit \
         VM.GuestAgent.FileRead VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Snapshot",
    ),
    (
        "/storage",
        "HomelabStore",
        "Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit",
    ),
    ("/nodes", "HomelabNode", "Sys.AccessNetwork Sys.Audit Sys.Modify Sys.PowerMgmt Sys.Syslog"),
    ("/sdn/zones/localnetwork", "HomelabNet", "SDN.Audit SDN.Use"),
    ("/mapping/pci", "HomelabPci", "Mapping.Audit Mapping.Modify Mapping.Use"),
];

/// What phase 3 has no need of.
const BEYOND_PHASE_3: &str = "Sys.Modify VM.Backup VM.Console VM.GuestAgent.Unrestricted VM.Snapshot Datastore.Allocate \
    Datastore.AllocateTemplate SDN.Audit Mapping.Modify";

/// A playbook that needs everything.
fn everything() -> String {
    let (mut can, mut roles) = (String::new(), String::new());
    for (path, role, privileges) in GRANTED {
        let names: Vec<&str> = privileges.split_whitespace().collect();
        can.push_str(&format!("    \"{path}\": {names:?},\n"));
        roles.push_str(&format!("    \"{path}\": \"{role}\",\n"));
    }
    format!(
        "let pve = proxmox::connect();\nlet can = #{{\n{can}}};\nlet roles = #{{\n{roles}}};\n\
        step(\"1\", \"the token may do everything\", || pve.require(#{{ can: can, roles: roles }}));\n"
    )
}

/// Takes a privilege out of a role.
fn take(project: &Project, role: &str, privilege: &str) {
    cluster(project, |cluster| {
        let held = cluster["access"]["roles"][role].as_array_mut().expect("the role is there");
        held.retain(|name| name != privilege);
    });
}

/// Takes away the rows that give somebody a role.
fn withdraw(project: &Project, role: &str, from: &[&str]) {
    cluster(project, |cluster| {
        let rows: &mut Vec<Value> = cluster["access"]["rows"].as_array_mut().expect("rows");
        rows.retain(|row| row["role"] != role || !from.iter().any(|kind| row["kind"] == *kind));
    });
}

#[test]
fn every_privilege_that_is_missing_is_named_with_its_path_its_role_and_the_command_that_grants_it() {
    let project = homelab();
    project.write("playbooks/everything.rhai", &everything());
    project.ends("run --sim -q playbooks/everything.rhai", 0);
    let world = project.read(".homelab/sim/world.json");
    for (path, role, privileges) in GRANTED {
        for privilege in privileges.split_whitespace() {
            project.write(".homelab/sim/world.json", &world);
            take(&project, role, privilege);
            let in_phase_3 = path != "/nodes" && !BEYOND_PHASE_3.split_whitespace().any(|beyond| beyond == privilege);
            let playbook = if in_phase_3 { PHASE } else { "playbooks/everything.rhai" };
            let told = told(&project, &format!("run --sim -q {playbook}"), 1, playbook);
            let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&format!("on {path}: {privilege} ")), "{told}");
            let command = format!("pveum role modify {role} --append 1 --privs '{privilege}'");
            assert!(words.contains(&command), "{told}");
            assert!(told.ends_with(&format!("{BEFORE}\n")), "{told}");
        }
    }
}

#[test]
fn a_missing_privilege() {
    insta::assert_snapshot!(phase3(|project| take(project, "HomelabVM", "VM.Clone"), 1, "on /vms: VM.Clone"));
}

#[test]
fn a_look_at_the_cluster_that_is_not_allowed() {
    insta::assert_snapshot!(phase3(|project| take(project, "HomelabRoot", "Sys.Audit"), 1, "on /: Sys.Audit"));
}

#[test]
fn a_role_that_was_never_given() {
    let none = |project: &Project| withdraw(project, "HomelabStore", &["user", "token"]);
    insta::assert_snapshot!(phase3(none, 1, "on /storage: Datastore.AllocateSpace, Datastore.Audit"));
}

#[test]
fn a_role_that_the_token_has_and_its_user_has_not() {
    let token_alone = |project: &Project| withdraw(project, "HomelabNet", &["user"]);
    insta::assert_snapshot!(phase3(token_alone, 1, "on /sdn/zones/localnetwork: SDN.Use"));
}

#[test]
fn a_role_that_a_row_on_a_deeper_path_replaces() {
    let narrowed = |project: &Project| {
        cluster(project, |cluster| {
            let rows = cluster["access"]["rows"].as_array_mut().expect("rows");
            for (kind, id) in [("user", "automation@pve"), ("token", "automation@pve!homelab")] {
                rows.push(json!({
                    "path": "/mapping/pci/rtx4000ada", "kind": kind, "id": id, "role": "PVEAuditor", "propagate": true,
                }));
            }
        });
    };
    insta::assert_snapshot!(phase3(narrowed, 1, "/mapping/pci"));
}

/// A playbook that does not ask before what it may do.
const CLONE: &str = "let pve = proxmox::connect();\nstep(\"1\", \"a machine\", || pve.vm(#{\n    \
    vmid: 111, name: \"k3s-cp-01\", node: \"pve-01\", clone: 9000,\n}));\n";

#[test]
fn a_privilege_that_only_the_change_finds_missing() {
    let project = homelab();
    take(&project, "HomelabVM", "VM.Allocate");
    insta::assert_snapshot!(in_homelab(&project, CLONE, 1));
}

#[test]
fn machines_that_the_token_cannot_see() {
    let project = homelab();
    take(&project, "HomelabVM", "VM.Audit");
    insta::assert_snapshot!(in_homelab(&project, CLONE, 1));
}

#[test]
fn something_that_only_root_may_do() {
    let project = homelab();
    by_hand(&project, "pve.post(\"/nodes/pve-01/qemu/9000/clone\", #{ newid: 111, name: \"k3s-cp-01\" });");
    let playbook = "let pve = proxmox::connect();\n\
        step(\"1\", \"more for QEMU\", || pve.put(\"/nodes/pve-01/qemu/111/config\", #{ args: \"-cpu host\" }));\n";
    insta::assert_snapshot!(in_homelab(&project, playbook, 1));
}

#[test]
fn a_token_whose_user_is_switched_off() {
    let off = |project: &Project| {
        cluster(project, |cluster| cluster["access"]["users"]["automation@pve"]["enable"] = json!(false));
    };
    insta::assert_snapshot!(phase3(off, 1, "playbooks/phase3.rhai:16"));
}
