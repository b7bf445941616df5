//! The graphics card of phase 1, in every world that there is a scenario for: what the user is told, and how it ends.

use super::project::Project;

/// The homelab with a playbook that is section 1.5 of phase 1 and no more, so that nothing else shows here.
fn homelab() -> Project {
    let project = Project::homelab_itself();
    let phase = project.read("playbooks/phase1.rhai");
    let start = phase.find("// The graphics card (1.5)").expect("it begins so");
    let end = phase.find("// Who may do what (1.6)").expect("it ends there");
    let imports =
        "import \"std/gpu\" as gpu;\nimport \"std/nodes\" as nodes;\n\nphase(\"1.5\", \"The graphics card\");\n\n";
    project.write("playbooks/card.rhai", &format!("{imports}{}", &phase[start..end]));
    project
}

fn line(verb: &str, scenario: &str, options: &str) -> String {
    let line = format!("{verb} --sim --sim-scenario {scenario} {options} playbooks/card.rhai");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a command line says, without times, the day and what the program is called.
fn told(project: &Project, line: &str) -> String {
    let day = regex::Regex::new(r"\b20\d\d-\d\d-\d\d\b").expect("a pattern of ours");
    let text = Project::without_times(&project.session(&[line]));
    let text = text.lines().filter(|line| !line.starts_with("homelab ")).collect::<Vec<_>>().join("\n");
    day.replace_all(&text, "<day>").into_owned()
}

/// Plans, runs, runs again: the plan reaches its end and foretells the run, and the second run changes nothing. Gives what the
/// first run said.
fn converges(scenario: &str) -> (Project, String) {
    let project = homelab();
    let plan = project.ends(&line("plan", scenario, ""), 0);
    assert!(plan.contains("1.5.11.rtx4000ada"), "{plan}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a plan changes nothing");
    let run = told(&project, &line("run", scenario, "--sim-answer-manual"));
    assert!(run.contains("\nok, 11 steps") && !run.contains("miss"), "{run}");
    let again = project.ends(&line("run", scenario, "--sim-answer-manual"), 0);
    assert!(again.contains("11 steps: 11 ok") && again.contains("0 changes"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "the second run changes nothing");
    (project, run)
}

/// Ends where something is in the way, which is named, and nothing was written on the node since.
fn stops(scenario: &str, changes_before: &[&str]) -> String {
    let project = homelab();
    let text = told(&project, &line("run", scenario, "--sim-answer-manual"));
    let changed: Vec<&str> = text.lines().filter(|line| line.starts_with("  changed ")).collect();
    assert_eq!(changed.len(), changes_before.len(), "{text}");
    for step in changes_before {
        assert!(changed.iter().any(|line| line.contains(step)), "{text}");
    }
    text
}

#[test]
fn s3_parameters_that_stand_where_only_grub_reads_them_are_told_and_written_where_they_count() {
    let (project, run) = converges("s3");
    assert!(run.contains("loader: observed → systemd-boot"), "{run}");
    assert!(
        project.read("docs/HARDWARE.md").contains("| pve-01 | observed "),
        "the tables are those of the real homelab"
    );
    insta::assert_snapshot!(run);
}

#[test]
fn s4_behind_secure_boot_it_is_grub() {
    let (_, run) = converges("s4");
    for seen in ["cmdline_file: observed → /etc/default/grub", "loader: observed → GRUB", "secure_boot: observed → yes"]
    {
        assert!(run.contains(seen), "{run}");
    }
    insta::assert_snapshot!(run);
}

#[test]
fn s5_a_card_that_moves_at_the_restart_is_mapped_where_it_is_then() {
    let (_, run) = converges("s5");
    assert!(run.contains("address: 2f:00.0 → 31:00.0") && run.contains("iommu_group: \"17\" → \"18\""), "{run}");
    assert!(run.contains("10de:27b2 is at 0000:31:00.0 now, not at 0000:2f:00.0: it has moved"), "{run}");
    assert!(run.contains("\"path\":\"0000:31:00\"") && run.contains("\"iommugroup\":18"), "{run}");
    insta::assert_snapshot!(run);
}

#[test]
fn s6_nova_core_is_named_where_nobody_approves_and_kept_off_where_somebody_does() {
    let project = homelab();
    let look = told(&project, &line("run", "s6", "--step 1.5.8.*"));
    assert!(project.ends("sim log --mutating --last", 0).is_empty(), "nothing was written");
    insta::assert_snapshot!(look);
    let run = told(&project, &line("run", "s6", "--sim-answer-manual"));
    assert!(run.contains("is held by nova_core") && run.contains("\nok, 11 steps"), "{run}");
    let again = project.ends(&line("run", "s6", "--sim-answer-manual"), 0);
    assert!(again.contains("0 changes"), "{again}");
    insta::assert_snapshot!(run);
}

#[test]
fn s7_a_device_of_somebody_else_in_the_group_is_named_and_the_card_is_not_given_away() {
    insta::assert_snapshot!(stops("s7", &["1.5.6"]));
}

#[test]
fn a_card_that_is_missing_is_named_before_anything_is_written() {
    insta::assert_snapshot!(stops("gpu-missing", &["1.5.6"]));
}

#[test]
fn a_boot_partition_that_is_gone_is_named_before_anything_is_written() {
    insta::assert_snapshot!(stops("esp-stale", &["1.5.6"]));
}

#[test]
fn a_boot_partition_without_room_stops_before_the_restart() {
    let text = stops("esp-full", &["1.5.6"]);
    assert!(!text.contains("1.5.2."), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_restart_that_nobody_approves_is_waited_for_and_said() {
    let project = homelab();
    let text = told(&project, &line("run", "bare", "--approve 1.5.1.* --approve 1.5.4.*"));
    insta::assert_snapshot!(text);
}
