//! Phase 5: the repository that the cluster follows.

use super::project::Project;

const PLAYBOOK: &str = "playbooks/phase5.rhai";
const REPOSITORY: &str = "--step 5.4*";

/// Edits a file of the project, which must change by that.
fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let text = project.read(file);
    let edited = text.replace(from, to);
    assert_ne!(text, edited, "{from} stands in {file}");
    project.write(file, &edited);
}

#[test]
fn the_repository_gets_its_key_and_its_folders_as_planned_and_is_then_left_alone() {
    let project = Project::homelab_itself();
    let planned = project.ends(&format!("plan --sim {REPOSITORY} {PLAYBOOK}"), 0);
    for wanted in [
        "would create local:ssh_key:.homelab/flux_ed25519",
        "would create github:codeofficer/homelab-proxmox:key",
        "would create github:codeofficer/homelab-proxmox:clusters/homelab/kustomization.yaml",
        "would create github:codeofficer/homelab-proxmox:clusters/homelab/apps/ai/kustomization.yaml",
    ] {
        assert!(planned.contains(wanted), "{wanted}\n{planned}");
    }
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a plan changes nothing");
    let ran = project.ends(&format!("run --sim {REPOSITORY} {PLAYBOOK}"), 0);
    assert!(ran.contains("plan fidelity: sure 8/8,") && !ran.contains("missed: "), "{ran}");
    let again = project.ends(&format!("run --sim {REPOSITORY} {PLAYBOOK}"), 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

#[test]
fn what_the_token_lacks_is_said_before_anything_is_written() {
    let project = Project::homelab_itself();
    let run = format!("run --sim {REPOSITORY} {PLAYBOOK}");
    project.ends(&format!("plan --sim {REPOSITORY} {PLAYBOOK}"), 0);
    edit(&project, "docs/SOFTWARE.md", "homelab-proxmox", "homelab-elsewhere");
    let told = project.ends(&run, 4);
    assert!(told.contains("the token sees no repository codeofficer/homelab-elsewhere"), "{told}");
    edit(&project, "docs/SOFTWARE.md", "homelab-elsewhere", "homelab-proxmox");
    let envrc = project.read(".homelab/sim/envrc");
    let line = envrc.lines().find(|line| line.contains("HOMELAB_GITHUB_TOKEN=")).expect("the token");
    edit(&project, ".homelab/sim/envrc", line, "export HOMELAB_GITHUB_TOKEN='another-token'");
    let told = project.ends(&run, 4);
    assert!(told.contains("GitHub knows no such token"), "{told}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}
