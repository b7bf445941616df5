use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::run::event::{Action, Change, Level, Mark, SCHEMA_VERSION, Status, What};
use crate::run::fidelity::{Done, Foretold};
use crate::run::secret::DOTS;

const PLAYBOOK: &str = "playbooks/phase3.rhai";

/// A journal in a folder of its own, which lasts as long as this.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        Project { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(".homelab/journal.db")
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.path()).expect("a journal")
    }
}

fn info(mode: Mode) -> RunInfo {
    RunInfo {
        playbooks: vec![PLAYBOOK.into()],
        sources_hash: "abc".into(),
        arguments: vec!["run".into(), PLAYBOOK.into()],
        world: "live".into(),
        mode,
        selection: String::new(),
    }
}

fn tell(journal: &Journal, what: What) {
    let event = Event { schema: SCHEMA_VERSION, sequence: 1, at: 1_000, mode: Mode::Run, what };
    journal.clone().notice(&event).expect("noted");
}

fn begin_step(journal: &Journal, id: &str) {
    tell(journal, What::StepStarted { id: id.into(), title: format!("step {id}"), parent: None });
}

fn end_step(journal: &Journal, id: &str, status: Status, value: Option<serde_json::Value>) {
    let what = What::StepFinished { id: id.into(), status, reason: None, value, milliseconds: 5, error: None };
    tell(journal, what);
}

fn vm(id: u64, address: &str) -> Change {
    Change {
        id,
        address: address.into(),
        action: Action::Create,
        mark: Mark::Sure,
        diff: Vec::new(),
        because: None,
        destroys: false,
    }
}

fn start_change(journal: &Journal, id: u64, address: &str) {
    tell(journal, What::ChangeStarted { change: vm(id, address), step: Some("3.3".into()) });
}

fn finish_change(journal: &Journal, id: u64) {
    tell(journal, What::ChangeFinished { change: id, milliseconds: 7, error: None });
}

fn finish_run(journal: &Journal, result: &str) {
    let what = What::RunFinished {
        result: result.into(),
        steps: [("changed".to_owned(), 1)].into(),
        changes: 1,
        fidelity: None,
        milliseconds: 9,
        next: None,
        error: None,
    };
    tell(journal, what);
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn changes_that_begin_at_once_are_all_on_disk_when_the_first_is_made() {
    let project = Project::new();
    let mut journal = project.journal();
    journal.begin_run(info(Mode::Run)).expect("begun");
    let begins = |id: u64| What::ChangeStarted { change: vm(id, &format!("proxmox:vm:{id}")), step: None };
    let event = |what| Event { schema: SCHEMA_VERSION, sequence: 1, at: 1_000, mode: Mode::Run, what };
    let message = What::Message { level: Level::Info, text: "a word".into(), step: None };
    let events = [begins(1), begins(2), message].map(event);
    journal.notice_all(&events).expect("noted");
    assert_eq!(journal.inner.lock().expect("not poisoned").durability, Durability::AtOnce);
    let in_flight = project.journal().in_flight("live").expect("read");
    let addresses: Vec<&str> = in_flight.iter().map(|change| change.address.as_str()).collect();
    assert_eq!(addresses, ["proxmox:vm:1", "proxmox:vm:2"]);
}

#[test]
fn a_process_killed_right_after_a_change_began_leaves_the_change_in_writing() {
    const PATH: &str = "HOMELAB_TEST_JOURNAL";
    const UPID: &str = "UPID:pve-01:0001:0002:6512:qmclone:111:root@pam:";
    if let Ok(path) = std::env::var(PATH) {
        let journal = Journal::open(Path::new(&path)).expect("a journal");
        journal.begin_run(info(Mode::Run)).expect("begun");
        begin_step(&journal, "3.3");
        start_change(&journal, 1, "proxmox:vm:110");
        finish_change(&journal, 1);
        start_change(&journal, 2, "proxmox:vm:111");
        tell(&journal, What::TaskStarted { change: 2, upid: UPID.into() });
        std::process::abort();
    }
    let project = Project::new();
    let child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "run::journal::tests::a_process_killed_right_after_a_change_began_leaves_the_change_in_writing",
        ])
        .env(PATH, project.path())
        .output()
        .expect("started");
    assert!(!child.status.success(), "it aborts");

    let journal = project.journal();
    let in_flight = journal.in_flight("live").expect("readable");
    let expected = InFlight {
        run: 1,
        change: 2,
        playbook: PLAYBOOK.into(),
        step: Some("3.3".into()),
        address: "proxmox:vm:111".into(),
        action: Action::Create,
        since: 1_000,
        upid: Some(UPID.into()),
    };
    assert_eq!(in_flight, [expected]);
    let last = journal.last_run("live").expect("readable").expect("a run");
    assert_eq!((last.run, last.result, last.changes), (1, None, 1), "one change was finished, the run was not");
}

#[test]
fn a_later_run_that_finds_the_thing_as_it_should_be_settles_the_doubt() {
    let project = Project::new();
    let journal = project.journal();
    journal.begin_run(info(Mode::Run)).expect("begun");
    start_change(&journal, 1, "proxmox:vm:111");
    start_change(&journal, 2, "proxmox:vm:112");

    journal.begin_run(info(Mode::DryRun)).expect("begun");
    tell(&journal, What::Unchanged { address: "proxmox:vm:111".into(), step: None });
    assert_eq!(journal.in_flight("live").expect("readable").len(), 2, "a dry run settles nothing");

    journal.begin_run(info(Mode::Run)).expect("begun");
    tell(&journal, What::Unchanged { address: "proxmox:vm:111".into(), step: None });
    let left: Vec<_> = journal.in_flight("live").expect("readable").into_iter().map(|it| it.address).collect();
    assert_eq!(left, ["proxmox:vm:112"]);

    start_change(&journal, 1, "proxmox:vm:112");
    finish_change(&journal, 1);
    assert_eq!(journal.in_flight("live").expect("readable"), []);
    assert_eq!(journal.changes(1).expect("readable")[0].state, ChangeState::Settled);
}

#[test]
fn a_whole_run_that_ends_well_settles_what_its_playbook_no_longer_mentions() {
    let project = Project::new();
    let journal = project.journal();
    journal.begin_run(info(Mode::Run)).expect("begun");
    start_change(&journal, 1, "proxmox:vm:gone");

    journal.begin_run(RunInfo { selection: "step=3.1".into(), ..info(Mode::Run) }).expect("begun");
    finish_run(&journal, "ok");
    assert_eq!(journal.in_flight("live").expect("readable").len(), 1, "a selection does not go over everything");

    journal.begin_run(info(Mode::Run)).expect("begun");
    finish_run(&journal, "ok");
    assert_eq!(journal.in_flight("live").expect("readable"), []);
}

#[test]
fn a_step_gives_back_the_value_of_the_last_time_it_went_well() {
    let project = Project::new();
    let journal = project.journal();
    let ends = [
        (Mode::Run, Status::Changed, Some(json!({ "ip": "10.0.0.7" }))),
        (Mode::Run, Status::Failed, None),
        (Mode::Run, Status::Skipped, None),
        (Mode::DryRun, Status::Ok, Some(json!("a dry run's guess"))),
    ];
    for (mode, status, value) in ends {
        journal.begin_run(info(mode)).expect("begun");
        begin_step(&journal, "3.1");
        end_step(&journal, "3.1", status, value);
    }
    let recorded = journal.step_value(PLAYBOOK, "3.1", "live").expect("readable").expect("recorded");
    let expected = Recorded {
        value: Some(json!({ "ip": "10.0.0.7" })),
        sources_hash: "abc".into(),
        status: Status::Changed,
        at: 1_000,
    };
    assert_eq!(recorded, expected);
    assert_eq!(journal.step_value(PLAYBOOK, "3.1", "simulated").expect("readable"), None);
    assert_eq!(journal.step_value("playbooks/phase4.rhai", "3.1", "live").expect("readable"), None);
}

#[test]
fn a_value_that_held_a_secret_cannot_be_used_again() {
    let project = Project::new();
    let journal = project.journal();
    journal.begin_run(info(Mode::Run)).expect("begun");
    begin_step(&journal, "1.2");
    end_step(&journal, "1.2", Status::Changed, Some(json!({ "token": format!("ci={DOTS}") })));
    let recorded = journal.step_value(PLAYBOOK, "1.2", "live").expect("readable").expect("recorded");
    assert_eq!((recorded.value, recorded.status), (None, Status::Changed));
}

#[test]
fn the_last_outcome_of_a_step_is_that_of_the_run_that_did_not_skip_it() {
    let project = Project::new();
    let journal = project.journal();
    for outcomes in [[Status::Ok, Status::Failed], [Status::Skipped, Status::Changed]] {
        journal.begin_run(info(Mode::Run)).expect("begun");
        for (id, status) in ["3.1", "3.2"].into_iter().zip(outcomes) {
            begin_step(&journal, id);
            end_step(&journal, id, status, None);
        }
    }
    let steps = journal.steps_by_last_outcome(PLAYBOOK, "live").expect("readable");
    let seen: Vec<_> = steps.iter().map(|step| (step.id.as_str(), step.run, step.status)).collect();
    assert_eq!(seen, [("3.1", 1, Some(Status::Ok)), ("3.2", 2, Some(Status::Changed))]);
}

#[test]
fn a_step_belongs_to_the_playbook_that_began_last_and_counts_its_attempts() {
    let project = Project::new();
    let journal = project.journal();
    let playbooks = vec![PLAYBOOK.to_owned(), "playbooks/phase4.rhai".to_owned()];
    let run = journal.begin_run(RunInfo { playbooks, ..info(Mode::Run) }).expect("begun");
    tell(&journal, What::PhaseStarted { id: "3".into(), title: "Machines".into() });
    begin_step(&journal, "1");
    tell(&journal, What::PlaybookStarted { playbook: "playbooks/phase4.rhai".into() });
    begin_step(&journal, "1");
    begin_step(&journal, "1");
    let steps = journal.steps(run).expect("readable");
    let seen: Vec<_> =
        steps.iter().map(|step| (step.playbook.as_str(), step.phase.as_deref(), step.attempts)).collect();
    assert_eq!(seen, [(PLAYBOOK, Some("Phase 3: Machines"), 1), ("playbooks/phase4.rhai", None, 2)]);
}

#[test]
fn what_is_owed_stays_owed_until_it_is_paid_and_a_dry_run_owes_nothing() {
    let project = Project::new();
    let journal = project.journal();
    let notification = |owed| What::Notification { key: "web:service:k3s restart".into(), owed };
    let owed = |world| journal.owed(world).expect("readable");

    journal.begin_run(info(Mode::DryRun)).expect("begun");
    tell(&journal, notification(true));
    assert_eq!(owed("live"), []);

    let run = journal.begin_run(info(Mode::Run)).expect("begun");
    tell(&journal, notification(true));
    let debt = Owed { key: "web:service:k3s restart".into(), since: 1_000, run: Some(run) };
    journal.owe("live", "web:service:k3s restart").expect("noted");
    assert_eq!(owed("live"), [debt], "owed twice is owed once, since the first time");
    assert_eq!(owed("simulated"), []);

    tell(&journal, notification(false));
    assert_eq!(owed("live"), []);
    journal.owe("live", "web:service:k3s restart").expect("noted");
    assert_eq!(owed("live").len(), 1, "paid and owed again");
    journal.pay("live", "web:service:k3s restart").expect("noted");
    assert_eq!(owed("live"), []);
}

#[test]
fn a_plan_replaces_the_last_one_of_its_subject_only() {
    let project = Project::new();
    let journal = project.journal();
    let key = |selection: &str| PlanKey {
        playbooks: vec![PLAYBOOK.into()],
        world: "live".into(),
        selection: selection.into(),
    };
    let plan = |address: &str| Plan {
        sources_hash: "abc".into(),
        at: 5,
        foretold: Foretold {
            changes: vec![Done { change: vm(1, address), steps: Vec::new(), line: None }],
            ..Foretold::default()
        },
    };
    let address = |selection| {
        let plan = journal.last_plan(&key(selection)).expect("readable");
        plan.map(|plan| plan.foretold.changes[0].change.address.clone())
    };
    for (selection, name) in [("", "old"), ("step=3.1", "other"), ("", "new")] {
        journal.save_plan(&key(selection), &plan(name)).expect("kept");
    }
    assert_eq!(address(""), Some("new".to_owned()));
    journal.forget_plan(&key("")).expect("dropped");
    assert_eq!(address(""), None);
    assert_eq!(address("step=3.1"), Some("other".to_owned()));
}

#[test]
fn the_profile_of_a_host_is_what_the_last_run_read() {
    let project = Project::new();
    let journal = project.journal();
    for facts in [["b", "a"].as_slice(), ["c", "a"].as_slice()] {
        let facts: Vec<_> = facts.iter().map(|fact| (*fact).to_owned()).collect();
        journal.remember_facts("live", PLAYBOOK, "pve-01", &facts).expect("kept");
    }
    assert_eq!(journal.facts("live", PLAYBOOK, "pve-01").expect("readable"), ["c", "a"]);
    assert!(journal.facts("simulated", PLAYBOOK, "pve-01").expect("readable").is_empty());
}

#[test]
fn nobody_else_may_look_into_the_journal() {
    let project = Project::new();
    let folder = project.folder.path().join(".homelab");
    std::fs::create_dir(&folder).expect("made");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("opened up");
    let journal = project.journal();
    journal.begin_run(info(Mode::Run)).expect("begun");
    assert_eq!(mode_of(&folder), 0o700);
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        assert_eq!(mode_of(&folder.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_damaged_journal_says_how_to_put_it_out_of_the_way() {
    let project = Project::new();
    drop(project.journal());
    std::fs::write(project.path(), "not a database, but long enough to be read as the header of one".repeat(4))
        .expect("damaged");
    let error = Journal::open(&project.path()).expect_err("damaged");
    assert!(error.message().ends_with("journal.db: the journal is damaged"), "{error}");
    let help = error.help_text().expect("help");
    let command = help.split('`').nth(1).expect("a command");

    let status = std::process::Command::new("sh").args(["-c", command]).status().expect("a shell");
    assert!(status.success(), "{command}");
    Journal::open(&project.path()).expect("a new journal after the command that the error names");
}

#[test]
fn a_journal_of_a_newer_homelab_is_left_alone() {
    let project = Project::new();
    drop(project.journal());
    let db = Connection::open(project.path()).expect("opened");
    db.pragma_update(None, "user_version", 99).expect("set");
    let error = Journal::open(&project.path()).expect_err("newer");
    assert_eq!(error.class(), Class::UnsupportedVersion);
}

#[test]
fn a_run_tells_its_whole_story_afterwards() {
    let project = Project::new();
    let journal = project.journal();
    let run = journal.begin_run(info(Mode::Run)).expect("begun");
    start_change(&journal, 1, "proxmox:vm:111");
    tell(&journal, What::TaskStarted { change: 1, upid: "UPID:1".into() });
    tell(&journal, What::TaskStarted { change: 1, upid: "UPID:2".into() });
    finish_change(&journal, 1);
    finish_run(&journal, "ok");

    let reopened = project.journal();
    let record = reopened.run(run).expect("readable").expect("there");
    assert_eq!(record.info, info(Mode::Run));
    assert_eq!((record.result.as_deref(), record.finished, record.steps["changed"]), (Some("ok"), Some(1_000), 1));
    let change = &reopened.changes(run).expect("readable")[0];
    assert_eq!((change.state, change.tasks.len(), change.milliseconds), (ChangeState::Done, 2, Some(7)));
    assert_eq!(reopened.runs(10).expect("readable").len(), 1);
    assert!(reopened.run(run + 1).expect("readable").is_none());
}

#[test]
fn a_plan_and_a_run_may_open_and_write_a_new_journal_at_the_same_time() {
    let project = Project::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let journal = project.journal();
                journal.begin_run(info(Mode::Run)).expect("begun");
                start_change(&journal, 1, "proxmox:vm:111");
                finish_change(&journal, 1);
            });
        }
    });
    let runs = project.journal().runs(100).expect("readable");
    assert_eq!(runs.iter().map(|run| run.changes).collect::<Vec<_>>(), [1; 8]);
}
