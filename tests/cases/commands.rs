//! Commands: nobody can look into them.

use homelab::run::event::Status;

use crate::common::Lab;

#[test]
fn what_a_command_sees_after_a_planned_edit_is_unknown() {
    let lab = Lab::new().with_file("web", "/conf", "old");
    let playbook = r#"
        let web = world::host("web");
        web.file(#{ path: "/conf", content: "new" });
        step("query", "it looks", || if web.run("cat /conf", #{ query: true }).stdout == "old" { fail("too old") });
        step("guard", "it is guarded", || web.run("touch /done", #{ unless: "test /done", provides: ["/done"] }));
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["query"], Status::Deferred);
    assert_eq!(planned.planned()[1], "~ run web:run:touch /done", "the deferred step captured the host");
    lab.converges(playbook);
}

#[test]
fn a_guard_after_a_planned_edit_cannot_be_foretold() {
    let lab = Lab::new();
    let (planned, done) = lab.converges(
        r#"
        let web = world::host("web");
        web.file(#{ path: "/conf", content: "new" });
        web.run("touch /done", #{ unless: "test /done", provides: ["/done"] });
        "#,
    );
    assert_eq!(planned.planned(), ["create web:file:/conf", "? run web:run:touch /done"]);
    assert_eq!((done.fidelity().maybe, done.fidelity().maybe_done), (1, 1));
}

#[test]
fn a_guard_before_any_planned_edit_is_exact() {
    let (planned, _) = Lab::new().holds(
        r#"
        let web = world::host("web");
        web.run("touch /done", #{ unless: "test /done", provides: ["/done"] });
        "#,
    );
    assert_eq!(planned.planned(), ["run web:run:touch /done"]);
}

#[test]
fn what_a_command_creates_stays_exact_after_a_planned_edit() {
    let (planned, _) = Lab::new().holds(
        r#"
        let web = world::host("web");
        web.file(#{ path: "/conf", content: "new" });
        web.run("touch /done", #{ creates: "/done" });
        "#,
    );
    assert_eq!(planned.planned(), ["create web:file:/conf", "run web:run:touch /done"]);
}

#[test]
fn an_undeclared_command_between_two_reads_hides_the_second() {
    let lab = Lab::new().with_file("web", "/flag", "off");
    let playbook = r#"
        let web = world::host("web");
        step("before", "it reads", || if web.read("/flag") == "on" { fail("not yet") });
        step("command", "anything may happen", || web.run("set /flag on"));
        step("after", "it reads again", || if web.read("/flag") == "on" { info("on now") });
        step("wants", "it wants", || web.file(#{ path: "/b", content: "b" }));
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["before"], Status::Ok);
    assert_eq!(planned.statuses()["after"], Status::Deferred);
    assert_eq!(planned.planned(), ["run web:run:set /flag on", "~ create web:file:/b"]);
    let done = lab.run(playbook);
    done.ended_well();
    assert_eq!(done.messages(), ["on now"]);
    assert!(done.fidelity().misses.is_empty(), "{:?}", done.fidelity());
}

#[test]
fn what_a_command_provides_is_unknown_and_all_else_stays_exact() {
    let lab = Lab::new().with_file("web", "/flag", "off").with_file("web", "/other", "x");
    let playbook = r#"
        let web = world::host("web");
        step("command", "it says what it does", || web.run("set /flag on", #{ unless: "test /made", provides: ["/flag"] }));
        step("other", "it reads something else", || if web.read("/other") == "x" { web.file(#{ path: "/b", content: "b" }) });
        step("flag", "it reads what comes of it", || if web.read("/flag") == "on" { info("on now") });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["flag"], Status::Deferred);
    assert_eq!(planned.planned(), ["run web:run:set /flag on", "create web:file:/b"]);
}

#[test]
fn a_typed_fact_stays_exact_after_a_command_that_provides_nothing() {
    let lab = Lab::new().with_file("web", "/flag", "off");
    let planned = lab.plan(
        r#"
        let web = world::host("web");
        web.run("restart nginx", #{ provides: [] });
        step("reads", "it reads", || if web.read("/flag") == "off" { info("off") });
        "#,
    );
    assert_eq!(planned.statuses()["reads"], Status::Ok);
}

#[test]
fn what_a_guard_looks_for_is_brought_about_without_being_declared() {
    let lab = Lab::new();
    let (planned, _) = lab.converges(
        r#"
        let web = world::host("web");
        web.run("touch /done", #{ creates: "/done", provides: [] });
        step("1", "it looks", || if !web.exists("/done") { web.file(#{ path: "/wrong", content: "x" }) });
        "#,
    );
    assert_eq!(planned.statuses()["1"], Status::Deferred);
    assert_eq!(lab.file("web", "/wrong"), None);
}
