//! `status`, `history` and `show`.

use serde_json::Value;

use super::project::Project;

const PLAYBOOK: &str = r#"phase("1", "First");
step("1.1", "is done", || 42);
for name in ["a", "b"] {
    step(`1.2.${name}`, `${name} is done`, || info(name));
}
step("1.3", "breaks", || fail("the disk is full"));
step("1.4", "comes after", || ());
"#;

#[test]
fn before_the_first_run_there_is_a_plan_and_no_past() {
    let project = Project::with(PLAYBOOK);
    insta::assert_snapshot!(project.session(&["status", "history", "show"]), @"
    $ homelab status
    Phase 1: First  playbooks/first.rhai  0/4 green
      never     1.1  is done
      never     1.2.${name}  ${name} is done
      never     1.3  breaks
      never     1.4  comes after
    $ homelab history
    no run yet; the first one: homelab run PLAYBOOK
    $ homelab show
    usage

      × <folder>/lab: there was no run yet
      help: the first one: `homelab plan PLAYBOOK`, which changes nothing
    [exit 64]
    ");
    assert!(!project.root().join(".homelab").exists(), "looking leaves no trace");
}

#[test]
fn after_a_run_each_step_shows_what_became_of_it_and_the_run_can_be_told_again() {
    let project = Project::with(PLAYBOOK);
    project.session(&["run --sim playbooks/first.rhai"]);
    insta::assert_snapshot!(project.session(&["status --sim", "history", "show", "show 7"]), @r#"
    $ homelab status --sim
    in the simulated world

    Phase 1: First  playbooks/first.rhai  3/5 green
      ok        1.1  is done  <age>
      ok        1.2.a  a is done  <age>
      ok        1.2.b  b is done  <age>
      failed    1.3  breaks  <age>
      never     1.4  comes after
    $ homelab history
      run  began                result        changes      took  what
        1  <time>  failed              0 <seconds>  playbooks/first.rhai, simulated
    $ homelab show
    run 1: failed, playbooks/first.rhai, simulated
    began <time>, took <seconds>, homelab 0.1.0
    homelab run --sim playbooks/first.rhai

    Phase 1: First
      ok        1.1  is done
      ok        1.2.a  a is done
      ok        1.2.b  b is done
      failed    1.3  breaks
          failed

            × the disk is full
             ╭─[playbooks/first.rhai:6:26]
           5 │ }
           6 │ step("1.3", "breaks", || fail("the disk is full"));
             · ──┬─                     ──┬─
             ·   │                        ╰── failed here
             ·   ╰── in step 1.3: breaks
           7 │ step("1.4", "comes after", || ());
             ╰────

    0 changes
    next: homelab run --sim --resume playbooks/first.rhai
    $ homelab show 7
    usage

      × run 7: there was no such run
      help: `homelab history` lists the newest ones
    [exit 64]
    "#);
}

#[test]
fn the_real_homelab_is_not_mixed_up_with_the_simulated_one() {
    let project = Project::with("step(\"1\", \"is done\", || 1);\n");
    project.session(&["run --sim playbooks/first.rhai"]);
    assert!(project.session(&["status"]).contains("never"), "nothing was done for real");
    assert!(project.session(&["status --sim"]).contains("1/1 green"));
}

#[test]
fn programs_get_documents() {
    let project = Project::with(PLAYBOOK);
    project.session(&["run --sim playbooks/first.rhai"]);
    let document = |arguments: &[&str]| -> Value {
        let output = project.homelab(arguments).output().expect("the program starts");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let status = document(&["status", "--sim", "--output", "json"]);
    assert_eq!(status["phases"][0]["steps"][0]["outcome"], "ok");
    let history = document(&["history", "--output", "json"]);
    assert_eq!(history[0]["result"], "failed");
    let story = document(&["show", "--output", "json"]);
    assert_eq!(story["steps"].as_array().map(Vec::len), Some(4));
}
