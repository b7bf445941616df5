//! Working trees on a simulated machine, which has no git.

use super::bench::Bench;
use crate::error::Class;

const COMMIT: &str = "0123456789012345678901234567890123456789";

fn tree(revision: &str) -> String {
    format!("h.git_checkout(#{{ repo: \"https://git.example.org/app\", path: \"/opt/app\", revision: {revision:?} }});")
}

#[test]
fn a_host_without_git_says_so_in_the_plan() {
    let bench = Bench::simulated();
    for revision in ["main", COMMIT] {
        let error = bench.plan(&tree(revision)).error();
        assert_eq!(error.class(), Class::Blocked);
        assert!(error.to_string().contains("git_checkout /opt/app: it has no git"), "{error}");
    }
}

#[test]
fn git_that_is_only_planned_can_be_planned_with() {
    let bench = Bench::simulated();
    for revision in ["main", COMMIT] {
        let plan = bench.plan(&format!("h.packages(#{{ names: [\"git\"] }});\n{}", tree(revision)));
        assert_eq!(plan.planned(), ["update vm:packages:git", "create vm:git_checkout:/opt/app"]);
        assert!(plan.told().contains(r#""unknown":true"#), "nobody can look yet: {}", plan.told());
    }
}
