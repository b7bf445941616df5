//! Two runs at once, and a run that was killed.

use std::time::{Duration, Instant};

use super::project::Project;

const SLOW: &str = r#"
    step("1", "takes its time", || {
        local::run(["sh", "-c", "echo started > started; sleep 30"], #{ creates: "never" });
    });
"#;

/// Waits until a file of the project is there.
fn wait_for(project: &Project, file: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !project.root().join(file).exists() {
        assert!(Instant::now() < deadline, "{file} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_second_run_is_told_who_is_at_work_and_one_that_was_killed_is_in_nobodys_way() {
    let project = Project::with(SLOW);
    let mut first = project.homelab(&["run", "playbooks/first.rhai"]).spawn().expect("it starts");
    wait_for(&project, "started");
    let second = project.ends("run playbooks/first.rhai", 5);
    assert!(second.contains("held by the run of") && second.contains("pid <pid>"), "{second}");
    first.kill().expect("it is killed");
    first.wait().expect("it is gone");
    let status = project.ends("status", 0);
    assert!(
        status.contains("in flight when its run was cut short") && status.contains("step 1"),
        "what was in flight is named:\n{status}"
    );
    project.write("playbooks/first.rhai", "step(\"1\", \"takes its time\", || info(\"done\"));");
    project.ends("run playbooks/first.rhai", 0);
}

#[test]
fn ctrl_c_ends_an_endless_loop_in_order_and_the_next_run_resumes() {
    let project = Project::with(
        r#"
        let answer = step("1", "is done", || { local::file(#{ path: "one", content: "1" }); 42 });
        step("2", "never ends", || {
            local::file(#{ path: "two", content: `${answer}` });
            if !local::exists("enough") { loop { } }
        });
        "#,
    );
    let mut run = project.homelab(&["run", "playbooks/first.rhai"]).spawn().expect("it starts");
    wait_for(&project, "two");
    let pid = run.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill is there").success());
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    project.write("enough", "");
    let resumed = project.ends("run --resume playbooks/first.rhai", 0);
    assert!(resumed.contains("skipped   1"), "{resumed}");
    assert!(resumed.contains("0 changes"), "{resumed}");
}
