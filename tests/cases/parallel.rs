//! Many at once: each branch starts from the same place and does not see the others.

use homelab::run::event::Status;

use crate::common::Lab;

#[test]
fn fifty_branches_with_captured_handles_are_planned_and_come_true() {
    let lab = Lab::new();
    let (planned, _) = lab.holds(
        r#"
        let web = world::host("web");
        let items = [];
        for n in 0..50 { items.push(n) }
        let results = parallel(items, |n| {
            step(`file.${n}`, `file ${n}`, || web.file(#{ path: `/f${n}`, content: `${n}` }));
            n * 2
        });
        if results[49] != 98 { fail("in the order of the items") }
        "#,
    );
    assert_eq!(planned.planned().len(), 50);
    assert_eq!(lab.world.state().files["web"].len(), 50);
}

impl Lab {
    /// `holds` compares in order; branches come in any.
    fn parallel_plan(&self, playbook: &str) -> Vec<String> {
        let mut planned = self.plan(playbook).planned();
        planned.sort();
        planned
    }
}

#[test]
fn a_branch_that_cannot_be_decided_defers_alone() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.vm(#{ name: "n9" }).after.ip;
        let results = parallel([1, 2, 3], |n| {
            if n == 2 && unk.contains("10.0") { web.file(#{ path: "/two", content: "x" }); return "two" }
            web.file(#{ path: `/f${n}`, content: "x" });
            "other"
        });
        step("first", "a slot that is known", || if results[0] == "other" { info("other") });
        step("second", "a slot that is not", || if results[1] == "two" { info("two") });
    "#;
    let planned = lab.plan(playbook);
    planned.ended_well();
    assert_eq!(planned.statuses()["first"], Status::Ok);
    assert_eq!(planned.statuses()["second"], Status::Deferred);
    assert_eq!(lab.parallel_plan(playbook), ["create api:vm:n9", "create web:file:/f1", "create web:file:/f3"]);
    let done = lab.run(playbook);
    done.ended_well();
    assert!(done.fidelity().misses.is_empty(), "{:?}", done.fidelity());
    assert_eq!((done.fidelity().fog, done.fidelity().fog_met), (1, 1));
}

#[test]
fn the_pending_flag_of_one_branch_is_not_anothers() {
    let lab = Lab::new();
    let planned = lab.plan(
        r#"
        let api = world::api();
        let unk = api.vm(#{ name: "n9" }).after.ip;
        let items = [];
        for n in 0..32 { items.push(n) }
        parallel(items, |n| step(`s${n}`, "odd ones decide", || if n % 2 == 1 && unk == "x" { 1 }));
        "#,
    );
    let statuses = planned.statuses();
    for n in 0..32 {
        let expected = if n % 2 == 1 { Status::Deferred } else { Status::Ok };
        assert_eq!(statuses[&format!("s{n}")], expected, "s{n}");
    }
}

#[test]
fn the_host_that_a_deferred_branch_is_given_is_what_lies_in_fog() {
    let planned = Lab::new().plan(
        r#"
        let api = world::api();
        let web = world::host("web");
        let db = world::host("db");
        let unk = api.vm(#{ name: "n9" }).after.ip;
        parallel([web], |h| if unk == "x" { h.file(#{ path: "/x", content: "x" }) });
        web.file(#{ path: "/a", content: "x" });
        db.file(#{ path: "/a", content: "x" });
        "#,
    );
    assert_eq!(planned.planned(), ["create api:vm:n9", "~ create web:file:/a", "create db:file:/a"]);
}

#[test]
fn the_same_want_in_two_branches_is_one_change() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        parallel([1, 2], |n| web.file(#{ path: "/same", content: "x" }));
    "#;
    lab.plan(playbook).ended_well();
    let done = lab.run(playbook);
    assert_eq!(done.done(), ["create web:file:/same"]);
    assert!(done.fidelity().misses.is_empty(), "{:?}", done.fidelity());
}

#[test]
fn two_lines_of_one_file_in_two_branches_are_an_error_that_names_both() {
    let playbook = r#"
        let web = world::host("web");
        parallel(["x", "y"], |k| web.line(#{ path: "/a", key: `${k}=`, line: `${k}=1` }));
    "#;
    let lab = Lab::new();
    lab.plan(playbook).failed_with("web:line:/a x= and web:line:/a y=");
    lab.run(playbook).failed_with("two branches of parallel want different things");
}

#[test]
fn a_branch_that_reads_what_another_writes_is_an_error_that_names_both() {
    let playbook = r#"
        let web = world::host("web");
        parallel([1, 2], |n| if n == 1 { web.file(#{ path: "/a", content: "x" }) } else { web.read("/a") });
    "#;
    let lab = Lab::new();
    lab.plan(playbook).failed_with("one branch of parallel reads (outside any step) what another writes (web:file:/a)");
    lab.run(playbook).failed_with("one branch of parallel reads");
}

#[test]
fn a_cell_is_held_from_read_to_proof() {
    let lab = Lab::new();
    let done = lab.run(
        r#"
        let web = world::host("web");
        let items = [];
        for n in 0..16 { items.push(n) }
        try {
            parallel(items, |n| web.line(#{ path: "/a", key: `k${n}=`, line: `k${n}=1` }));
        } catch { }
        "#,
    );
    done.ended_well();
    assert_eq!(lab.file("web", "/a").map(|text| text.lines().count()), Some(16), "no edit was lost");
    assert_eq!(lab.world.state().writers["web: write /a"], (0, 1), "never two at once");
}

#[test]
fn a_machine_deleted_in_one_branch_stays_deleted_when_the_branches_meet() {
    let lab = Lab::new().with_object("/vms/n1", serde_json::json!({ "name": "n1" })).with_file("n1", "/a", "x");
    let planned = lab.plan(
        r#"
        let api = world::api();
        parallel(["n1", "n2"], |name| {
            if name == "n1" { api.vm(#{ name: name, absent: true, allow_destroy: true }) } else { api.vm(#{ name: name }) }
        });
        world::host("n2").file(#{ path: "/b", content: "x" });
        world::host("n1").read("/a");
        "#,
    );
    planned.failed_with("n1: it does not exist any more");
    assert!(planned.planned().contains(&"create n2:file:/b".to_owned()));
}

#[test]
fn all_branches_run_to_their_end_and_the_first_error_goes_on() {
    let lab = Lab::new();
    let done = lab.run(
        r#"
        let web = world::host("web");
        parallel([1, 2, 3], |n| if n == 2 { fail("two fails") } else { web.file(#{ path: `/f${n}`, content: "x" }) });
        "#,
    );
    done.failed_with("two fails");
    assert_eq!(done.done().len(), 2);
}

#[test]
fn a_panic_in_one_branch_leaves_the_others_alone() {
    let lab = Lab::new();
    let done = lab.run(
        r#"
        let web = world::host("web");
        parallel([1, 2, 3], |n| if n == 2 { world::panic() } else { web.file(#{ path: `/f${n}`, content: "x" }) });
        "#,
    );
    done.failed_with("out of cheese");
    assert_eq!(done.done().len(), 2);
}

#[test]
fn a_deferred_branch_is_named_and_its_step_is_not_whole() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let ip = api.vm(#{ name: "n1" }).after.ip;
        step("1", "many at once", || {
            parallel([1, 2], |n| if n == 2 && ip.contains("10.0") { web.file(#{ path: "/two", content: "x" }) });
            web.file(#{ path: "/after", content: "x" });
            "its value"
        });
        step("2", "another", || web.file(#{ path: "/other", content: "x" }));
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["1"], Status::Deferred);
    assert_eq!(planned.reason("1").as_deref(), Some("a deferred branch of parallel needs api:vm:n1.ip"));
    assert_eq!(planned.messages(), ["deferred: a branch of parallel needs api:vm:n1.ip"]);
    lab.converges(playbook);
}
