//! What is done because something else changed.

use homelab::run::event::Status;

use crate::common::Lab;
use crate::common::world::Fault;

const RESTARTS: &str = r#"
    let web = world::host("web");
    let conf = step("conf", "its configuration", || web.file(#{ path: "/conf", content: "new" }));
    step("restart", "it restarts", || on_change([conf], || web.run("restart nginx", #{ provides: [] })));
"#;

#[test]
fn a_change_is_told_once() {
    let lab = Lab::new();
    let (planned, done) = lab.holds(RESTARTS);
    assert_eq!(planned.planned(), ["create web:file:/conf", "run web:run:restart nginx"]);
    assert_eq!(done.sent, ["web: write /conf", "web: $ restart nginx"]);
}

#[test]
fn a_change_is_told_even_when_the_run_died_in_between() {
    let lab = Lab::new();
    let dies = RESTARTS.replace("step(\"restart\"", "fail(\"the power went\"); step(\"restart\"");
    lab.run(&dies).failed_with("the power went");
    let (planned, done) = lab.holds(RESTARTS);
    assert_eq!(planned.planned(), ["run web:run:restart nginx"], "the plan knows what is owed");
    assert_eq!(done.sent, ["web: $ restart nginx"]);
}

#[test]
fn a_notification_that_failed_is_still_owed() {
    let lab = Lab::new();
    lab.world.state().failing.insert("web: $ restart nginx".to_owned());
    lab.run(RESTARTS).failed_with("the disk is full");
    assert_eq!(lab.run(RESTARTS).sent, ["web: $ restart nginx"]);
    assert!(lab.run(RESTARTS).sent.is_empty());
}

#[test]
fn two_that_are_told_of_the_same_change_are_told_apart() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let conf = web.file(#{ path: "/conf", content: "new" });
        on_change([conf], || web.run("restart one", #{ provides: [] }));
        on_change([conf], || web.run("restart two", #{ provides: [] }));
    "#;
    lab.world.state().failing.insert("web: $ restart two".to_owned());
    lab.run(playbook).failed_with("the disk is full");
    assert_eq!(lab.run(playbook).sent, ["web: $ restart two"]);
    assert!(lab.run(playbook).sent.is_empty());
}

#[test]
fn an_outcome_that_was_recorded_long_ago_tells_nothing_new() {
    let mut lab = Lab::new();
    lab.run(RESTARTS).ended_well();
    lab.settings.steps = vec![glob::Pattern::new("restart").unwrap()];
    let done = lab.run(RESTARTS);
    done.ended_well();
    assert_eq!(done.statuses()["conf"], Status::Skipped);
    assert!(done.sent.is_empty(), "it was told when it changed: {:?}", done.sent);
}

#[test]
fn what_may_change_may_be_told_and_what_follows_is_not_known() {
    let lab = Lab::new().with_file("web", "/state", "old");
    let playbook = r#"
        let web = world::host("web");
        web.file(#{ path: "/conf", content: "new" });
        let made = web.run("touch /made", #{ unless: "test /made", provides: ["/made"] });
        on_change([made], || web.file(#{ path: "/state", content: "fresh" }));
        step("state", "what came of it", || if web.read("/state") == "old" { info("old") });
        step("if", "a branch on it", || if made.changed { info("changed") });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.planned(), ["create web:file:/conf", "? run web:run:touch /made", "? update web:file:/state"]);
    let because = planned.changes()[2].because.clone();
    assert_eq!(because.as_deref(), Some("only if web:run:touch /made changes"));
    assert_eq!(planned.statuses()["state"], Status::Deferred);
    assert_eq!(planned.statuses()["if"], Status::Deferred);
    let (_, done) = lab.converges(playbook);
    assert_eq!((done.fidelity().maybe, done.fidelity().maybe_done), (2, 2));
}

#[test]
fn only_outcomes_can_be_told_of() {
    Lab::new().plan(r#"on_change(["web"], || 1);"#).failed_with("`on_change`: wants outcomes");
}

#[test]
fn a_listener_that_comes_later_is_not_told_of_what_was_before() {
    let lab = Lab::new();
    let without = r#"let web = world::host("web"); let conf = web.file(#{ path: "/conf", content: "new" });"#;
    lab.run(without).ended_well();
    let with = format!(r#"{without} on_change([conf], || web.run("restart nginx", #{{ provides: [] }}));"#);
    assert_eq!(lab.plan(&with).planned(), Vec::<String>::new());
    assert!(lab.run(&with).sent.is_empty());
}

#[test]
fn a_change_that_took_effect_though_it_failed_is_told_as_well() {
    let lab = Lab::new();
    lab.world.state().fault = Some((0, crate::common::world::Fault::Unanswered));
    lab.run(RESTARTS).failed_with("the connection was lost");
    assert_eq!(lab.file("web", "/conf").as_deref(), Some("new"));
    assert_eq!(lab.run(RESTARTS).sent, ["web: $ restart nginx"]);
    assert!(lab.run(RESTARTS).sent.is_empty());
}

#[test]
fn a_step_that_is_left_out_changed_nothing_that_would_be_told() {
    let mut lab = Lab::new().with_file("web", "/a", "a");
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let token = step("token", "a step", || api.token(#{ name: "t" }));
        on_change([token], || { web.run("restart app", #{ }); });
        step("last", "a step", || web.file(#{ path: "/b", content: "b" }));
    "#;
    lab.run(playbook).ended_well();
    lab.settings.steps = vec![glob::Pattern::new("last").unwrap()];
    let told = lab.run(playbook);
    told.ended_well();
    assert!(told.done().is_empty(), "{:?}", told.done());
}

#[test]
fn what_one_branch_of_parallel_still_owes_is_told_there_whatever_comes_first() {
    let mut lab = Lab::new().with_file("web", "/order", "a,b");
    lab.settings.jobs = 1;
    let playbook = r#"
        let web = world::host("web");
        let conf = web.file(#{ path: "/conf", content: "new" });
        parallel(web.read("/order").split(","), |name| {
            on_change([conf], || web.run(`restart ${name}`, #{ unless: `test /stop-${name}` }));
        });
    "#;
    lab.world.state().fault = Some((1, Fault::Refused));
    lab.run(playbook).failed_with("restart a");
    lab.world.state().fault = None;
    lab.world.set_file("web", "/order", Some("b,a")).unwrap();
    lab.world.state().sent.clear();
    let told = lab.run(playbook);
    told.ended_well();
    assert_eq!(told.done(), ["run web:run:restart a"]);
    assert_eq!(lab.run(playbook).done(), [""; 0]);
}

#[test]
fn what_is_told_inside_of_something_told_is_counted_there() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let conf = web.file(#{ path: "/conf", content: "new" });
        on_change([conf], || {
            on_change([conf], || web.run("restart inner", #{ }));
            web.run("restart outer", #{ });
        });
        on_change([conf], || web.run("restart last", #{ }));
    "#;
    lab.world.state().fault = Some((3, Fault::Refused));
    lab.run(playbook).failed_with("restart last");
    lab.world.state().fault = None;
    let told = lab.run(playbook);
    told.ended_well();
    assert_eq!(told.done(), ["run web:run:restart last"]);
}
