//! The main job: the virtual machines of the tables, planned, made, left alone, and put right after drift.

use super::project::Project;

const PLAN: &str = "plan --sim --detailed-exitcode playbooks/phase3.rhai";
const RUN: &str = "run --sim --sim-answer-manual playbooks/phase3.rhai";
const MACHINES: [&str; 4] = ["k3s-cp-01", "k3s-cp-02", "k3s-cp-03", "k3s-gpu-01"];

/// Says how many changes a plan or a run told of, from its summary.
fn changes(told: &str) -> usize {
    let line = told.lines().find(|line| {
        line.ends_with(" planned") && line.contains(" change")
            || line.ends_with(" changes")
            || line.ends_with(" change")
    });
    let count = line.and_then(|line| line.split_whitespace().next()).and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("a summary tells how many changes there are:\n{told}"))
}

/// Plans and runs: the plan asks nothing of the machines, the run makes just what was planned, and then all is quiet.
fn plan_and_run(project: &Project) -> String {
    let planned = project.ends(PLAN, 2);
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a plan changes nothing");
    let ran = project.ends(RUN, 0);
    let sure = changes(&planned);
    assert!(ran.contains(&format!("plan fidelity: sure {sure}/{sure}")), "{planned}\n{ran}");
    assert_eq!(changes(&ran), sure, "{planned}\n{ran}");
    let again = project.ends(RUN, 0);
    assert_eq!(changes(&again), 0, "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");
    project.ends(PLAN, 0);
    planned
}

#[test]
fn from_nothing_every_machine_is_made_as_planned_and_answers() {
    let project = Project::homelab_itself();
    let planned = plan_and_run(&project);
    for name in MACHINES {
        assert!(planned.contains(name), "{planned}");
    }
    let status = project.ends("status --sim", 0);
    for name in MACHINES {
        assert!(status.contains(&format!("3.3.{name}.ssh")), "{status}");
    }
}

#[test]
fn a_world_half_done_is_planned_and_finished() {
    let project = Project::homelab_itself();
    project
        .ends("run --sim --sim-answer-manual --step 3.1* --step 3.2* --step 3.3.k3s-cp-02* playbooks/phase3.rhai", 0);
    let planned = plan_and_run(&project);
    assert!(!planned.contains("would create proxmox:vm:112"), "{planned}");
    assert!(planned.contains("would create proxmox:vm:113"), "{planned}");
}

#[test]
fn drift_by_hand_is_named_and_put_right() {
    let project = Project::homelab_itself();
    project.ends(RUN, 0);
    project.write(
        "playbooks/drift.rhai",
        r#"
        let pve = proxmox::connect();
        step("1", "somebody edits by hand", || {
            pve.put("/nodes/pve-02/qemu/112/config", #{ tags: "mine", ciuser: "root", cores: 1 });
            pve.post("/nodes/pve-03/qemu/113/status/stop", #{});
            pve.put("/nodes/pve-03/qemu/113/config", #{ cores: 1 });
        });
        "#,
    );
    project.ends("run --sim playbooks/drift.rhai", 0);
    // The table now wants more than there is: seen from there, the disk is too small.
    let tables = project.read("docs/SOFTWARE.md");
    let row = tables.lines().find(|line| line.starts_with("| (k3s-cp-01)")).expect("the row of k3s-cp-01");
    project.write("docs/SOFTWARE.md", &tables.replace(row, &row.replace("| 30 ", "| 35 ")));
    let planned = plan_and_run(&project);
    for drift in ["tags", "cloud_init.user", "cores", "status", "scsi0.size"] {
        assert!(planned.contains(drift), "{drift} is not in\n{planned}");
    }
}

#[test]
fn one_machine_is_made_by_its_step_alone_and_the_rest_later() {
    let project = Project::homelab_itself();
    let one = project.ends("run --sim --step 3.3.k3s-cp-01* playbooks/phase3.rhai", 0);
    assert_eq!(changes(&one), 1, "{one}");
    let limited = project.ends("plan --sim --limit k3s-cp-02 playbooks/phase3.rhai", 0);
    assert_eq!(changes(&limited), 1, "{limited}");
    let none = project.ends("run --sim --step 3.9.nobody playbooks/phase3.rhai", 64);
    assert!(none.contains("no step is selected by 3.9.nobody"), "{none}");
}
