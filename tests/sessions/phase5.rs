//! Phase 5: the repository that the cluster follows.

use super::project::Project;

const PLAYBOOK: &str = "playbooks/phase5.rhai";
const REPOSITORY: &str = "--step 5.4.token --step 5.4.1.key --step 5.4.2";

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

const PHASES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai playbooks/phase4.rhai playbooks/phase5.rhai";

#[test]
fn the_whole_plan_of_bare_nodes_is_foretold_to_its_last_line() {
    let project = Project::homelab_itself();
    let phases = ["0", "1", "2", "3", "3_5", "4", "5"].map(|phase| format!("playbooks/phase{phase}.rhai")).join(" ");
    // Two steps wait for a person.
    let planned = project.ends(&format!("plan --sim --sim-scenario bare --sim-answer-manual {phases}"), 4);
    assert!(planned.contains("2 manual") && !planned.contains("deferred"), "{planned}");
    let marked = |marks: &[&str]| {
        let begins = |line: &&str| marks.iter().any(|mark| line.trim_start().starts_with(mark));
        planned.lines().filter(begins).count()
    };
    let (all, unsure) = (marked(&["would ", "? would ", "~ would "]), marked(&["? would ", "~ would "]));
    assert!(all > 200 && unsure * 10 < all, "{unsure} of {all} are not sure\n{planned}");
    assert!(planned.contains("would create helm.toolkit.fluxcd.io/HelmRelease:infrastructure/valkey"), "{planned}");
}

#[test]
fn from_machines_to_applications_that_answer_as_planned_and_then_all_is_quiet() {
    let project = Project::homelab_itself();
    let planned = project.ends(&format!("plan --sim {PHASES}"), 0);
    for wanted in [
        "would create metallb.io/IPAddressPool:metallb-system/homelab",
        "would create PersistentVolumeClaim:default/nfs-trial",
        "would create helm.cattle.io/HelmChart:kube-system/nvidia-device-plugin",
        "would create helm.cattle.io/HelmChart:kube-system/kube-prometheus-stack",
        "would create Namespace:infrastructure",
        "would create helm.cattle.io/HelmChart:kube-system/cloudnative-pg",
        "would create postgresql.cnpg.io/Cluster:infrastructure/pg",
        "would create postgresql.cnpg.io/Database:infrastructure/n8n",
        "would create networking.k8s.io/Ingress:applications/n8n",
        "would create apps/StatefulSet:home-assistant/home-assistant",
        "would create helm.cattle.io/HelmChart:kube-system/ollama",
        "would create helm.toolkit.fluxcd.io/HelmRelease:infrastructure/valkey",
        "would create traefik.io/Middleware:ai/comfyui-door",
        "would create apps/StatefulSet:ai/jupyter",
    ] {
        assert!(planned.contains(wanted), "{wanted}\n{planned}");
    }
    assert!(!planned.contains("deferred"), "{planned}");
    let ran = project.ends(&format!("run --sim --sim-answer-manual {PHASES}"), 0);
    let score = ran.lines().find(|line| line.starts_with("plan fidelity: ")).expect("it is scored");
    let (met, sure) =
        score["plan fidelity: sure ".len()..].split(',').next().and_then(|part| part.split_once('/')).expect("a score");
    assert_eq!(met, sure, "{ran}");
    assert!(!ran.contains("missed: "), "{ran}");
    for answered in [
        "4.1.4.outside  the ingress answers",
        "4.1.5.trial  what one node writes there",
        "4.2.3  a pod computes on a card",
        "4.2.4.check  Prometheus knows how warm each card is",
        "4.3.1.targets  Prometheus reaches what it looks at",
        "4.3.5.check  Loki has logs of the last minutes",
        "5.1.1.check  PostgreSQL lets applications into their databases",
        "5.1.2.check  Valkey answers who knows the password",
        "5.1.3.check  Garage is healthy, and its buckets take objects",
        "5.2.1.check  n8n answers",
        "5.2.2.check  Home Assistant answers",
        "5.3.1.check  a model of Ollama answers on the card",
        "5.3.2.check  ComfyUI answers who knows the password, and computes on the card",
        "5.3.3.check  Jupyter asks for its password, and has the card",
    ] {
        assert!(ran.contains(answered), "{answered}\n{ran}");
    }
    let again = project.ends(&format!("run --sim --sim-answer-manual {PHASES}"), 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");

    // One application alone, and with a password that it was not set up with.
    let alone = project.ends("run --sim playbooks/apps/valkey", 0);
    assert!(alone.contains("\n0 changes\n") && alone.contains("Valkey answers who knows the password"), "{alone}");
    let envrc = project.read(".homelab/sim/envrc");
    let line = envrc.lines().find(|line| line.contains("HOMELAB_VALKEY_PASSWORD=")).expect("the password");
    edit(&project, ".homelab/sim/envrc", line, "export HOMELAB_VALKEY_PASSWORD='a-password-that-it-does-not-know'");
    for command in ["plan", "run"] {
        let told = project.ends(&format!("{command} --sim playbooks/apps/valkey"), 1);
        assert!(told.contains("Secret:infrastructure/valkey-users: there is another value for default"), "{told}");
        assert!(!told.contains("a-password-that-it-does-not-know"), "{told}");
    }
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing is written over");
}
