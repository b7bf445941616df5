//! Steps: which of them run, what they hand on.

use homelab::run::event::Status::{self, Changed, Failed, Ok, Skipped};

use crate::common::{Lab, Told};

const CHAIN: &str = r#"
    let web = world::host("web");
    let db = world::host("db");
    let one = step("1.1", "the first", || { web.file(#{ path: "/1", content: "x" }); #{ port: 80 } });
    let two = step("1.2", "the second", #{ host: "db" }, || { db.file(#{ path: "/2", content: `${one.port}` }); one.port + 1 });
    step("2.1", "the third", || web.file(#{ path: "/3", content: `${two}` }));
"#;

fn glob(text: &str) -> Vec<glob::Pattern> {
    vec![glob::Pattern::new(text).unwrap()]
}

#[track_caller]
fn ended(told: &Told, expected: [(&str, Status); 3]) {
    told.ended_well();
    let expected = expected.map(|(id, status)| (id.to_owned(), status));
    assert_eq!(told.statuses(), expected.into_iter().collect());
}

#[test]
fn values_are_handed_from_step_to_step() {
    let lab = Lab::new();
    lab.holds(CHAIN);
    assert_eq!(lab.file("web", "/3").as_deref(), Some("81"));
}

#[test]
fn a_selected_step_gets_what_the_others_gave_back_the_last_time() {
    let mut lab = Lab::new();
    lab.run(CHAIN).ended_well();
    lab.world.set_file("web", "/3", None).unwrap();
    lab.settings.steps = glob("2.*");
    ended(&lab.run(CHAIN), [("1.1", Skipped), ("1.2", Skipped), ("2.1", Changed)]);
    assert_eq!(lab.file("web", "/3").as_deref(), Some("81"));
}

#[test]
fn a_value_that_no_run_has_recorded_is_an_error_where_it_is_written() {
    let mut lab = Lab::new();
    lab.settings.steps = glob("2.1");
    let words = "web:file:/3: needs left-out step 1.2, which is not known";
    lab.plan(CHAIN).failed_with(words);
    lab.run(CHAIN).failed_with(words);
}

#[test]
fn from_a_step_on_everything_runs() {
    let mut lab = Lab::new();
    lab.run(CHAIN).ended_well();
    lab.settings.from = Some("1.2".to_owned());
    ended(&lab.run(CHAIN), [("1.1", Skipped), ("1.2", Ok), ("2.1", Ok)]);
}

#[test]
fn from_an_inner_step_on_the_outer_one_is_entered() {
    let mut lab = Lab::new();
    let playbook = r#"
        step("1", "outer", || { step("1.1", "a", || 1); step("1.2", "b", || 2); step("1.3", "c", || 3); });
        step("2", "next", || 4);
    "#;
    lab.settings.from = Some("1.2".to_owned());
    let statuses = lab.run(playbook).statuses();
    assert_eq!(statuses["1.1"], Skipped);
    for id in ["1", "1.2", "1.3", "2"] {
        assert_eq!(statuses[id], Ok, "{id}");
    }
}

#[test]
fn a_skipped_step_is_left_out() {
    let mut lab = Lab::new();
    lab.run(CHAIN).ended_well();
    lab.settings.skip = glob("1.*");
    ended(&lab.run(CHAIN), [("1.1", Skipped), ("1.2", Skipped), ("2.1", Ok)]);
}

#[test]
fn a_limit_leaves_out_the_steps_of_other_hosts() {
    let mut lab = Lab::new();
    lab.run(CHAIN).ended_well();
    lab.settings.limit = vec!["web".to_owned()];
    ended(&lab.run(CHAIN), [("1.1", Ok), ("1.2", Skipped), ("2.1", Ok)]);
}

#[test]
fn a_selection_that_meets_nothing_is_an_error_with_a_suggestion() {
    let mut lab = Lab::new();
    lab.settings.steps = glob("1.3");
    lab.run(CHAIN).failed_with("no step is selected by 1.3");
}

#[test]
fn a_selection_is_planned_and_scored_on_its_own() {
    let mut lab = Lab::new();
    lab.settings.steps = glob("1.1");
    let (planned, _) = lab.holds(CHAIN);
    assert_eq!(planned.planned(), ["create web:file:/1"]);
}

#[test]
fn nested_steps_have_their_own_ends_and_the_outer_one_counts_their_changes() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        step("1", "outer", || {
            let inner = step("1.1", "inner", || { web.file(#{ path: "/a", content: "x" }); "value" });
            step("1.2", "nothing to do", || inner);
        });
    "#;
    lab.plan(playbook);
    let done = lab.run(playbook);
    ended(&done, [("1", Changed), ("1.1", Changed), ("1.2", Ok)]);
    let steps = lab.journal.steps(2).unwrap();
    assert_eq!(steps[1].parent.as_deref(), Some("1"));
}

#[test]
fn a_selected_inner_step_runs_inside_the_outer_one() {
    let mut lab = Lab::new();
    lab.settings.steps = glob("1.2");
    let done = lab.run(r#"step("1", "outer", || { step("1.1", "one", || 1); step("1.2", "two", || 2); });"#);
    ended(&done, [("1", Ok), ("1.1", Skipped), ("1.2", Ok)]);
}

#[test]
fn an_id_that_is_used_twice_is_an_error() {
    let playbook = r#"for n in 0..2 { step("1", "again", || n) }"#;
    Lab::new().plan(playbook).failed_with("step 1: this id was used before in site.rhai");
    Lab::new().run(playbook).failed_with("step 1: this id was used before in site.rhai");
}

#[test]
fn a_resumed_run_takes_finished_steps_as_they_were_and_goes_on() {
    let mut lab = Lab::new();
    lab.world.state().failing.insert("web: write /3".to_owned());
    let failed = lab.run(CHAIN);
    failed.failed_with("the disk is full");
    assert_eq!(failed.statuses()["2.1"], Failed);
    lab.resume = true;
    let done = lab.run(CHAIN);
    ended(&done, [("1.1", Skipped), ("1.2", Skipped), ("2.1", Changed)]);
    assert_eq!(done.reason("1.1").as_deref(), Some("done before, resumed"));
    assert_eq!(lab.file("web", "/3").as_deref(), Some("81"));
}

#[test]
fn what_was_resumed_once_can_be_resumed_again() {
    let mut lab = Lab::new();
    for _ in 0..2 {
        lab.world.state().failing.insert("web: write /3".to_owned());
        lab.run(CHAIN).failed_with("the disk is full");
        lab.resume = true;
    }
    ended(&lab.run(CHAIN), [("1.1", Skipped), ("1.2", Skipped), ("2.1", Changed)]);
}

#[test]
fn what_was_only_left_out_is_not_taken_for_finished() {
    let mut lab = Lab::new();
    lab.run(CHAIN).ended_well();
    lab.world.set_file("web", "/1", None).unwrap();
    lab.world.set_file("web", "/3", None).unwrap();
    lab.world.state().failing.insert("web: write /3".to_owned());
    lab.settings.steps = glob("2.1");
    lab.run(CHAIN).failed_with("the disk is full");
    lab.settings.steps.clear();
    lab.resume = true;
    ended(&lab.run(CHAIN), [("1.1", Changed), ("1.2", Ok), ("2.1", Changed)]);
}

#[test]
fn after_an_edit_nothing_is_taken_for_finished() {
    let mut lab = Lab::new();
    lab.world.state().failing.insert("web: write /3".to_owned());
    lab.run(CHAIN).failed_with("the disk is full");
    lab.resume = true;
    ended(&lab.run(&format!("{CHAIN} // edited")), [("1.1", Ok), ("1.2", Ok), ("2.1", Changed)]);
}

#[test]
fn a_run_that_ended_well_cannot_be_resumed() {
    let mut lab = Lab::new();
    lab.run(CHAIN).ended_well();
    lab.resume = true;
    lab.run(CHAIN).failed_with("nothing to resume");
}

#[test]
fn a_value_that_was_unknown_in_the_plan_is_resumed_as_what_it_became() {
    let mut lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let ip = step("1", "a machine", || api.vm(#{ name: "n1" }).after.ip);
        step("2", "its address is kept", || web.file(#{ path: "/ip", content: ip }));
    "#;
    lab.plan(playbook).ended_well();
    lab.world.state().failing.insert("web: write /ip".to_owned());
    lab.run(playbook).failed_with("the disk is full");
    lab.resume = true;
    let done = lab.run(playbook);
    assert_eq!(done.done(), ["create web:file:/ip"]);
    assert_eq!(lab.file("web", "/ip").as_deref(), Some("10.0.0.1"));
}

#[test]
fn a_step_that_gives_back_a_handle_runs_again_when_resumed() {
    let mut lab = Lab::new();
    let playbook = r#"
        let web = step("1", "a handle", || world::host("web"));
        let two = step("2", "an outcome", || web.file(#{ path: "/2", content: "x" }));
        step("3", "it is used", || web.file(#{ path: "/3", content: two.address }));
    "#;
    lab.world.state().failing.insert("web: write /3".to_owned());
    lab.run(playbook).failed_with("the disk is full");
    lab.resume = true;
    ended(&lab.run(playbook), [("1", Ok), ("2", Skipped), ("3", Changed)]);
    assert_eq!(lab.file("web", "/3").as_deref(), Some("web:file:/2"));
}

#[test]
fn an_early_return_ends_the_body_of_its_step_only() {
    let (planned, _) = Lab::new().holds(
        r#"
        let web = world::host("web");
        let value = step("1", "early", || { if true { return "early" } web.file(#{ path: "/never", content: "x" }) });
        step("2", "next", || web.file(#{ path: "/value", content: value }));
        "#,
    );
    assert_eq!(planned.planned(), ["create web:file:/value"]);
}
