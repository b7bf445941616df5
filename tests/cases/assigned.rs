//! Variables that a piece of code assigns which a plan cannot carry out, or which a run leaves out: their old values
//! are no longer true.

use homelab::run::event::Status;

use crate::common::Lab;

const UNKNOWN: &str = r#"
    let api = world::api();
    let web = world::host("web");
    let ip = api.vm(#{ name: "n1" }).after.ip;
"#;

/// The playbook comes true whatever the plan could not decide, and the wrong file is never written.
#[track_caller]
fn deferred_after(lab: &Lab, playbook: &str, steps: &[&str]) {
    let playbook = format!("{UNKNOWN}{playbook}");
    let planned = lab.plan(&playbook);
    for step in steps {
        assert_eq!(planned.statuses()[*step], Status::Deferred, "step {step}\n{playbook}");
    }
    lab.converges(&playbook);
    assert_eq!(lab.file("web", "/wrong"), None);
}

#[test]
fn what_a_deferred_step_would_have_assigned_is_unknown() {
    deferred_after(
        &Lab::new(),
        r#"
        let mode = "old";
        step("decides", "it assigns", || { if ip.contains("10.0") { mode = "new" } });
        step("uses", "it is used", || if mode == "old" { web.file(#{ path: "/wrong", content: "x" }) });
        web.file(#{ path: "/mode", content: mode });
        "#,
        &["decides", "uses"],
    );
}

#[test]
fn what_a_closure_in_a_deferred_step_would_have_assigned_is_unknown() {
    deferred_after(
        &Lab::new(),
        r#"
        let seen = [];
        let note = |name| seen.push(name);
        step("decides", "it calls", || { if ip.contains("10.0") { note.call("new") } });
        step("uses", "it is used", || if seen.len() == 0 { web.file(#{ path: "/wrong", content: "x" }) });
        "#,
        &["decides", "uses"],
    );
}

#[test]
fn what_a_closure_of_a_deferred_line_would_have_assigned_is_unknown() {
    deferred_after(
        &Lab::new(),
        r#"
        let mode = "old";
        let change = || mode = "new";
        if ip.contains("10.0") { change.call() }
        step("uses", "it is used", || if mode == "old" { web.file(#{ path: "/wrong", content: "x" }) });
        "#,
        &["uses"],
    );
}

#[test]
fn what_is_only_called_by_the_name_of_a_changing_method_stays_what_it_is() {
    let lab = Lab::new().with_object("/old", serde_json::json!({ "v": 1 }));
    let planned = lab.plan(&format!(
        r#"{UNKNOWN}
        step("decides", "it removes", || if ip.contains("10.0") {{ api.remove("/old") }});
        step("uses", "the handle is used", || api.vm(#{{ name: "n2" }}));
        "#
    ));
    assert_eq!(planned.statuses()["uses"], Status::Planned);
    assert_eq!(planned.planned(), ["create api:vm:n1", "~ create api:vm:n2"]);
}

#[test]
fn what_may_be_told_may_assign_and_give_something_back() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        web.file(#{ path: "/conf", content: "new" });
        let made = web.run("touch /made", #{ unless: "test /made", provides: ["/made"] });
        let told = "no";
        let answer = on_change([made], || { told = "yes"; "restarted" });
        step("told", "what it assigned", || if told == "yes" { info("told") });
        step("answer", "what it gave back", || if answer == () { info("not told") });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["told"], Status::Deferred);
    assert_eq!(planned.statuses()["answer"], Status::Deferred);
    lab.converges(playbook);
}

#[test]
fn the_outcome_of_a_deferred_step_may_be_told() {
    let lab = Lab::new();
    let playbook = format!(
        r#"{UNKNOWN}
        let conf = step("conf", "a file", || {{ let name = if ip.contains("10.0") {{ "/a" }} else {{ "/b" }}; web.file(#{{ path: name, content: "x" }}) }});
        on_change([conf], || web.run("restart nginx", #{{ provides: [] }}));
        "#
    );
    let (planned, done) = lab.converges(&playbook);
    assert_eq!(planned.planned(), ["create api:vm:n1", "~ run web:run:restart nginx"]);
    assert_eq!(done.sent.last().map(String::as_str), Some("web: $ restart nginx"));
}

#[test]
fn what_a_wait_assigned_while_it_looked_is_unknown_in_a_plan() {
    deferred_after(
        &Lab::new(),
        r#"
        let looks = 0;
        wait_until(#{ what: "its address", every: "1ms" }, || { looks += 1; ip.contains("10.0") && looks > 2 });
        step("uses", "it is used", || if looks < 2 { web.file(#{ path: "/wrong", content: "x" }) });
        "#,
        &["uses"],
    );
}

#[test]
fn what_is_waited_for_is_only_looked_at() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        wait_until(#{ what: "a file", timeout: "1ms", every: "1ms" }, || { web.file(#{ path: "/a", content: "x" }); true });
    "#;
    let words = "changing web:file:/a is not allowed inside `wait_until`";
    lab.plan(playbook).failed_with(words);
    lab.run(playbook).failed_with(words);
}

#[test]
fn a_deferred_step_may_have_given_nothing_back() {
    deferred_after(
        &Lab::new(),
        r#"
        let value = step("decides", "nothing to give", || { if ip == "10.0.0.2" { "other" } });
        step("absent", "is it there", || if value != () { web.file(#{ path: "/wrong", content: "x" }) });
        step("default", "a default", || if (value ?? "none") == "other" { web.file(#{ path: "/wrong", content: "x" }) });
        "#,
        &["decides", "absent", "default"],
    );
}

const ASSIGNS: &str = r#"
    let web = world::host("web");
    let port = 80;
    step("1", "it assigns", || { web.file(#{ path: "/1", content: "x" }); port = 81; });
    step("2", "it is used", || web.file(#{ path: "/2", content: `${port}` }));
"#;

#[test]
fn a_step_that_assigns_runs_again_when_resumed() {
    let mut lab = Lab::new();
    lab.world.state().failing.insert("web: write /2".to_owned());
    lab.run(ASSIGNS).failed_with("the disk is full");
    lab.resume = true;
    let done = lab.run(ASSIGNS);
    done.ended_well();
    assert_eq!(done.statuses()["1"], Status::Ok);
    assert_eq!(lab.file("web", "/2").as_deref(), Some("81"));
}

#[test]
fn what_a_step_assigns_is_not_known_where_it_is_left_out() {
    let mut lab = Lab::new();
    lab.run(ASSIGNS).ended_well();
    lab.world.set_file("web", "/2", None).unwrap();
    lab.settings.steps = vec![glob::Pattern::new("2").unwrap()];
    let words = "web:file:/2: needs a variable that left-out step 1 assigns";
    lab.plan(ASSIGNS).failed_with(words);
    lab.run(ASSIGNS).failed_with(words);
    assert_eq!(lab.file("web", "/2"), None);
}
