//! What needs a person: approval, destruction, work by hand.

use std::sync::Arc;

use homelab::run::event::Status;

use crate::common::Lab;

const REBOOTS: &str = r#"
    let web = world::host("web");
    step("1", "it is looked at", #{ approve: "reboots web" }, || web.read("/a"));
    step("2", "it reboots", #{ approve: "reboots web" }, || web.file(#{ path: "/a", content: "x" }));
    step("3", "the rest", || web.file(#{ path: "/b", content: "x" }));
"#;

#[test]
fn a_step_that_asks_for_approval_is_blocked_before_its_first_change() {
    let lab = Lab::new();
    lab.plan(REBOOTS).ended_well();
    let done = lab.run(REBOOTS);
    assert_eq!(done.result, "blocked");
    assert_eq!(done.exit_code, 4);
    done.failed_with("step 2: needs approval: reboots web");
    assert_eq!(done.statuses()["1"], Status::Ok, "it changes nothing");
    assert_eq!(done.statuses()["2"], Status::Blocked);
    assert!(done.sent.is_empty());
}

#[test]
fn an_approved_step_runs_and_one_that_changes_nothing_needs_no_approval() {
    let mut lab = Lab::new();
    lab.settings.approve = vec![glob::Pattern::new("2").unwrap()];
    lab.run(REBOOTS).ended_well();
    lab.settings.approve.clear();
    lab.run(REBOOTS).ended_well();
}

#[test]
fn a_person_at_the_terminal_is_asked_once_a_step() {
    let mut lab = Lab::new();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = asked.clone();
    lab.settings.ask = Some(Arc::new(move |question: &str| {
        heard.lock().unwrap().push(question.to_owned());
        true
    }));
    lab.run(
        r#"
        let web = world::host("web");
        step("2", "it reboots", #{ approve: "reboots web" }, || {
            web.file(#{ path: "/a", content: "x" });
            web.file(#{ path: "/b", content: "x" });
        });
        "#,
    )
    .ended_well();
    assert_eq!(asked.lock().unwrap().as_slice(), ["Step 2 reboots web; it wants to change web:file:/a. Go on?"]);
}

#[test]
fn what_destroys_must_be_allowed_by_the_playbook_and_named_by_the_run() {
    let lab = || Lab::new().with_object("/vms/n1", serde_json::json!({ "name": "n1" }));
    let silent = r#"world::api().vm(#{ name: "n1", absent: true });"#;
    lab().plan(silent).failed_with("api:vm:n1: its disks are deleted, which the playbook does not allow");
    lab().run(silent).failed_with("which the playbook does not allow");

    let allowed = r#"world::api().vm(#{ name: "n1", absent: true, allow_destroy: true });"#;
    let mut lab = lab();
    let planned = lab.plan(allowed);
    assert!(planned.changes()[0].destroys);
    assert!(planned.changes()[0].because.as_ref().unwrap().contains("--allow-destroy api:vm:n1"));
    let done = lab.run(allowed);
    done.failed_with("run again with --allow-destroy api:vm:n1");
    assert!(done.sent.is_empty());

    lab.settings.allow_destroy = vec!["api:vm:n1".to_owned()];
    let (planned, done) = lab.holds(allowed);
    assert!(planned.changes()[0].destroys && done.changes()[0].destroys, "named or not, it destroys");
    assert_eq!(planned.changes()[0].because, None);
}

#[test]
fn work_that_only_a_person_can_do_waits_for_them() {
    let lab = Lab::new();
    let playbook = r#"manual("0.1", "the cables", #{ instructions: "Label both ends." });"#;
    assert_eq!(lab.plan(playbook).statuses()["0.1"], Status::Manual);
    let done = lab.run(playbook);
    assert_eq!(done.statuses()["0.1"], Status::Manual);
    assert_eq!(done.reason("0.1").as_deref(), Some("Label both ends."));
    assert_eq!((done.result, done.exit_code), ("ok", 4));
}

#[test]
fn where_the_check_holds_nobody_is_asked() {
    let lab = Lab::new().with_file("web", "/labelled", "yes");
    let playbook = r#"
        let web = world::host("web");
        manual("0.1", "the cables", #{ instructions: "Label both ends.", verify: || web.exists("/labelled") });
    "#;
    assert_eq!(lab.plan(playbook).statuses()["0.1"], Status::Ok);
    assert_eq!(lab.run(playbook).statuses()["0.1"], Status::Ok);
}

#[test]
fn a_person_who_says_that_it_is_done_is_not_believed_against_the_check() {
    let mut lab = Lab::new();
    lab.settings.ask = Some(Arc::new(|_: &str| true));
    let playbook = r#"
        let web = world::host("web");
        manual("0.1", "the cables", #{ instructions: "Label both ends.", verify: || web.exists("/labelled") });
    "#;
    let done = lab.run(playbook);
    assert_eq!(done.statuses()["0.1"], Status::Manual);
    assert!(done.messages()[0].contains("the check does not see it"), "{:?}", done.messages());
    lab.world.set_file("web", "/labelled", Some("")).unwrap();
    assert_eq!(lab.run(playbook).statuses()["0.1"], Status::Ok);
}

#[test]
fn a_check_that_needs_an_unknown_defers_the_manual_step() {
    let planned = Lab::new().plan(
        r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n1" });
        manual("0.1", "a check", #{ instructions: "Look.", verify: || vm.after.ip == "10.0.0.1" });
        manual("0.2", "another", #{ instructions: "Look.", verify: || world::host("n1").exists("/etc/hostname") });
        "#,
    );
    planned.ended_well();
    assert_eq!(planned.statuses()["0.1"], Status::Deferred);
    assert_eq!(planned.statuses()["0.2"], Status::Deferred);
}

#[test]
fn what_will_be_asked_is_not_known_in_a_plan() {
    let lab = Lab::new().with(|settings| settings.ask = Some(std::sync::Arc::new(|_| false)));
    let playbook = r#"
        let web = world::host("web");
        step("1", "it asks", || { if confirm("go on?") { web.file(#{ path: "/yes", content: "x" }) } });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["1"], homelab::run::event::Status::Deferred);
    assert_eq!(planned.messages(), ["would ask: go on?"]);
    lab.converges(playbook);
}
