//! The same for clusters: in Secrets, manifests, the values of charts, what the API refuses and quotes, commands in containers, and
//! the logs of pods that fail.

use super::generate::{Random, secrets};
use super::{AT_ONCE, COUNT, FEW, Outcome, run};
use crate::project::Project;

/// A cluster in which these secrets went everywhere, and all that came out of it.
fn cluster_with(secrets: &[String]) -> Outcome {
    let project = Project::homelab_itself();
    project.ends("run --sim --sim-answer-manual -q playbooks/phase3.rhai playbooks/phase3_5.rhai", 0);
    project.write("playbooks/secrets.rhai", include_str!("clusters.rhai"));
    let mut outcome = Outcome { project, least: 8, told: Vec::new() };
    for (line, round) in [
        ("plan --sim --color always -v playbooks/secrets.rhai", "1"),
        ("run --sim -v --junit junit.xml playbooks/secrets.rhai", "1"),
        ("plan --sim --output json playbooks/secrets.rhai", "2"),
        ("run --sim --output json playbooks/secrets.rhai", "2"),
    ] {
        outcome.note(line, run(&outcome.project, line, round, secrets), secrets.len());
    }
    outcome.look_back();
    outcome
}

/// As many secrets as the other test tries.
#[test]
fn of_many_random_secrets_none_leaves_the_program_by_a_cluster() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let mut random = Random(number("HOMELAB_TEST_SEED").unwrap_or(6) as u64);
    let all = secrets(&mut random, number(COUNT).unwrap_or(FEW));
    for secrets in all.chunks(AT_ONCE) {
        let found = cluster_with(secrets).found(secrets);
        assert!(found.is_empty(), "{} leaks, the first: {:#?}", found.len(), &found[..found.len().min(12)]);
    }
}
