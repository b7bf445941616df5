use super::project::Project;

#[test]
fn a_new_project_runs_and_is_never_overwritten() {
    let project = Project::new();
    insta::assert_snapshot!(project.session(&["run --sim playbooks/first.rhai", "new ."]), @"
    $ homelab run --sim playbooks/first.rhai
    homelab 0.1.0, run 1: playbooks/first.rhai, simulated
          note: taken as proposed, to be confirmed: docs/HARDWARE.md nodes.pve-01.ram_gb

    Phase 0: First steps
      ok        0.1.pve-01  pve-01 has memory
          note: docs/HARDWARE.md gives it 32 GiB

    ok, 1 step: 1 ok
    0 changes
    took <seconds>
    $ homelab new .
    usage

      × ./playbooks/first.rhai: is there already
      help: choose another folder; nothing is overwritten, and nothing was written
    [exit 64]
    ");
}

#[test]
fn what_must_not_be_shared_is_kept_out_of_git() {
    let ignored = Project::new().read(".gitignore");
    assert!(ignored.contains("/.envrc\n") && ignored.contains("/.homelab\n"), "{ignored}");
}
