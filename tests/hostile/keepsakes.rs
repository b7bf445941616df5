//! What homelab keeps for itself, damaged: the journal with its plans, and the simulated world. A run refuses to go on
//! with it, says how to go on without it, and leaves it as it is.

use std::path::Path;

use rusqlite::Connection;

use crate::project::Project;

const JOURNAL: &str = ".homelab/journal.db";
const RUN: &str = "run --sim -q playbooks/first.rhai";

/// A project in which a playbook was planned and run.
fn with_history() -> Project {
    let project = Project::with("step(\"1\", \"a step\", || info(\"hello\"));\n");
    project.ends(RUN, 0);
    project.ends("plan --sim -q playbooks/first.rhai", 0);
    // All in one file: what is kept beside it is folded in by whoever closes it last.
    assert!(!project.root().join(format!("{JOURNAL}-wal")).exists());
    project
}

fn bytes(project: &Project, file: &str) -> Vec<u8> {
    std::fs::read(project.root().join(file)).expect("readable")
}

/// What was told, without the line breaks of a narrow screen.
fn unwrapped(told: &str) -> String {
    told.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Runs commands that need a file which is damaged, and expects that they say so and leave it alone.
fn refused(project: &Project, file: &str, lines: &[&str], words: &[&str]) -> String {
    let before = bytes(project, file);
    let mut told = String::new();
    for line in lines {
        let said = project.ends(line, 1);
        for word in words {
            assert!(unwrapped(&said).contains(word), "{line}: {word}\n{said}");
        }
        assert!(said.contains("help:"), "{said}");
        told = said;
    }
    assert!(bytes(project, file) == before, "{file} is as it was");
    told
}

#[test]
fn a_journal_that_is_none_is_kept_and_the_way_around_it_is_told() {
    let project = with_history();
    project.write(JOURNAL, &"no journal at all\n".repeat(1000));
    let told = refused(&project, JOURNAL, &["history", RUN], &["journal.db: the journal is damaged", "`mkdir -p "]);
    insta::assert_snapshot!(told);
    std::fs::create_dir(project.root().join(".homelab/damaged")).expect("made");
    std::fs::rename(project.root().join(JOURNAL), project.root().join(".homelab/damaged/journal.db")).expect("moved");
    project.ends(RUN, 0);
}

#[test]
fn a_journal_that_was_cut_off_is_refused() {
    let project = with_history();
    let half = bytes(&project, JOURNAL);
    std::fs::write(project.root().join(JOURNAL), &half[..half.len() / 2]).expect("written");
    refused(&project, JOURNAL, &["history", RUN], &["journal.db: the journal is damaged", "mv "]);
}

#[test]
fn a_damaged_page_of_a_journal_is_told_by_whoever_needs_it() {
    let project = with_history();
    let whole = bytes(&project, JOURNAL);
    let mut refused = 0;
    // Each page in turn, but the first: that one is what makes it a journal.
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xA5);
        for beside in ["-wal", "-shm"] {
            let _none = std::fs::remove_file(project.root().join(format!("{JOURNAL}{beside}")));
        }
        std::fs::write(project.root().join(JOURNAL), &damaged).expect("written");
        let output = project.homelab(&RUN.split_whitespace().collect::<Vec<_>>()).output().expect("it starts");
        let told = project.told(&output);
        if output.status.success() {
            continue;
        }
        let words = unwrapped(&told);
        assert!(words.contains("the journal is damaged") && words.contains("&& mv "), "page {page}: {told}");
        refused += 1;
    }
    assert!(refused > 0, "no run needed a page");
}

#[test]
fn a_plan_that_does_not_read_back_is_told_before_anything_is_done() {
    let project = with_history();
    let journal = Connection::open(project.root().join(JOURNAL)).expect("a journal");
    assert_eq!(journal.execute("UPDATE plans SET foretold = '{\"half'", []).expect("changed"), 1);
    journal.close().expect("closed");
    let told = project.ends(RUN, 1);
    assert!(told.contains("the journal is damaged") && told.contains("help:"), "{told}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
}

const WORLD: &str = ".homelab/sim/world.json";

#[test]
fn a_simulated_world_that_is_damaged_is_kept_until_it_is_given_up() {
    let machine = ".homelab/sim/machines/pve-01.json";
    let key = ".homelab/sim/id_ed25519";
    let certificate = ".homelab/sim/tls/pve-01/node.pem";
    let project = with_history();
    for (file, content, words) in [
        (WORLD, None, "world.json: cannot be read"),
        (WORLD, Some(""), "world.json: cannot be read"),
        (WORLD, Some("\u{0}\u{1}"), "world.json: cannot be read"),
        (WORLD, Some("{\"version\":3,\"nodes\":[]}"), "world.json: cannot be read"),
        (WORLD, Some("{\"version\":9}"), "it was made by another version"),
        (machine, Some("{"), "machines/pve-01.json: cannot be read"),
        (certificate, Some("junk"), "no certificates"),
        (key, Some("junk"), "no SSH key"),
    ] {
        let good = bytes(&project, file);
        let half = String::from_utf8_lossy(&good[..good.len() / 2]).into_owned();
        project.write(file, content.unwrap_or(&half));
        let told = refused(&project, file, &[RUN], &[words, "homelab sim reset"]);
        assert!(told.contains("simulator: "), "{told}");
        std::fs::write(project.root().join(file), good).expect("written");
    }
    project.ends(RUN, 0);
    project.write(WORLD, "{");
    project.ends(RUN, 1);
    project.ends("sim reset", 0);
    project.ends(RUN, 0);
    assert!(project.root().join(WORLD).exists());
}

#[test]
fn what_is_missing_of_a_simulated_world_is_told() {
    let project = with_history();
    let machine = Path::new(".homelab/sim/machines/pve-01.json");
    std::fs::remove_file(project.root().join(machine)).expect("it was there");
    let told = project.ends(RUN, 1);
    let words = unwrapped(&told);
    assert!(words.contains("machines/pve-01.json: cannot be read") && words.contains("homelab sim reset"), "{told}");
}

#[test]
fn a_log_of_requests_with_junk_in_it_is_read_past_it() {
    let project = Project::homelab_itself();
    let step = "run --sim -q --step 3.1 playbooks/phase3.rhai";
    project.ends(step, 0);
    std::fs::write(project.root().join(".homelab/sim/requests.jsonl"), b"\xff\xfe\0\n{\"session\":\n")
        .expect("written");
    project.ends("sim log", 0);
    project.ends(step, 0);
}
