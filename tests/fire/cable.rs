//! Runs whose cable is pulled: whatever was on its way, a later run ends green and has nothing left to do.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::lab::{PHASE, assert_one_machine_a_row, clones, cluster, copy, founded, interrupt, requests};
use crate::project::Project;

/// How long a run that waits for the network is left to itself before a person ends it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Some messages, spread over the run; with `HOMELAB_TEST_CUTS=1` each in turn, with 10 every tenth, from
/// `HOMELAB_TEST_FROM` on.
fn messages(some: [u64; 3]) -> Box<dyn Iterator<Item = u64>> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().expect("a number"));
    match number("HOMELAB_TEST_CUTS") {
        Some(stride) => Box::new((number("HOMELAB_TEST_FROM").unwrap_or(1)..).step_by(stride as usize).map(u64::from)),
        None => Box::new(some.into_iter()),
    }
}

/// Runs until the cable is pulled and the run has ended, by itself or by a person; gives whether it was pulled.
fn with_cable_pulled(project: &Project, cut: &str, playbooks: &[&str]) -> bool {
    let line = ["run", "--sim", "--sim-answer-manual", "--sim-pace", "0.02", "-q", "--sim-faults", cut];
    let mut command = project.homelab(&[&line[..], playbooks].concat());
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let is_pulled = || requests(project).iter().any(|entry| entry["method"] == "cable pulled");
    let mut pulled: Option<Instant> = None;
    while run.try_wait().expect("it is ours").is_none() {
        match pulled {
            None if is_pulled() => pulled = Some(Instant::now()),
            // The first Ctrl-C ends what can be ended in order, the second everything.
            Some(since) if since.elapsed() > PATIENCE => {
                interrupt(&run);
                pulled = Some(Instant::now());
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    is_pulled()
}

/// Pulls the cable in a run of playbooks at one message after the other. A later run ends green, and leaves nothing to do.
fn pull_cables(founded: &Project, playbooks: &[&str], messages: impl Iterator<Item = u64>, holds: fn(&Project)) {
    let all = playbooks.join(" ");
    for message in messages {
        let mut pulled = false;
        for cut in [format!("cut={message}"), format!("cut-after={message}")] {
            println!("{cut}");
            let project = copy(founded);
            pulled |= with_cable_pulled(&project, &cut, playbooks);
            let run = format!("run --sim --sim-answer-manual --sim-pace 0.02 -q {all}");
            project.ends(&run, 0);
            holds(&project);
            let again = project.ends(&run, 0);
            assert!(again.contains("\n0 changes"), "{again}");
            assert_eq!(project.ends("sim log --mutating --last", 0), "");
        }
        if !pulled {
            assert!(message > 1, "no cable was pulled");
            break;
        }
    }
}

#[test]
fn whenever_the_cable_is_pulled_a_later_run_makes_the_machines() {
    pull_cables(&founded(), &[PHASE], messages([21, 70, 140]), |project| {
        assert_one_machine_a_row(project);
        assert!(clones(project).values().all(|count| *count == 1), "{:?}", clones(project));
    });
}

#[test]
fn whenever_the_cable_is_pulled_a_later_run_lays_the_foundation() {
    let bare = Project::homelab_itself();
    bare.ends("plan --sim --sim-scenario bare -q playbooks/phase0.rhai", 0);
    pull_cables(&bare, &["playbooks/phase0.rhai", "playbooks/phase1.rhai"], messages([60, 230, 420]), |project| {
        let all = cluster(project);
        assert_eq!(all["nodes"].as_object().map(|nodes| nodes.len()), Some(3), "{all}");
    });
}
