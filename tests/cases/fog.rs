//! What lies behind a step that the plan could not decide.

use homelab::run::event::Status;

use crate::common::Lab;

const DECIDES_ON_WEB: &str = r#"
    let api = world::api();
    let web = world::host("web");
    let db = world::host("db");
    let unk = api.vm(#{ name: "n9" }).after.ip;
    step("decides", "a decision", || {
        if unk.contains("10.0") { web.file(#{ path: "/etc/a", content: "new" }) }
    });
"#;

#[test]
fn what_a_deferred_step_may_write_cannot_be_read_and_is_planned_in_fog() {
    let lab = Lab::new().with_file("web", "/etc/a", "old");
    let playbook = format!(
        r#"{DECIDES_ON_WEB}
        step("reads", "it reads", || if web.read("/etc/a") == "old" {{ web.file(#{{ path: "/wrong", content: "x" }}) }});
        step("wants", "it wants", || web.file(#{{ path: "/etc/b", content: "b" }}));
        "#
    );
    let planned = lab.plan(&playbook);
    assert_eq!(planned.statuses()["reads"], Status::Deferred);
    assert_eq!(planned.planned(), ["create api:vm:n9", "~ create web:file:/etc/b"]);
    let because = planned.changes()[1].because.clone();
    assert_eq!(because.as_deref(), Some("after the deferred step reads"));
    lab.run(&playbook).ended_well();
    assert_eq!(lab.file("web", "/wrong"), None, "no wrong branch was entered");
}

#[test]
fn fog_is_as_wide_as_the_handles_that_the_deferred_step_captured() {
    let lab = Lab::new();
    let playbook = format!(
        r#"{DECIDES_ON_WEB}
        step("db", "elsewhere", || db.file(#{{ path: "/a", content: "x" }}));
        step("web", "here", || web.file(#{{ path: "/b", content: "x" }}));
        "#
    );
    let planned = lab.plan(&playbook);
    assert_eq!(planned.planned(), ["create api:vm:n9", "create db:file:/a", "~ create web:file:/b"]);
    let done = lab.run(&playbook);
    let fidelity = done.fidelity();
    assert_eq!((fidelity.sure, fidelity.sure_met), (2, 2), "{fidelity:?}");
    assert_eq!((fidelity.fog, fidelity.fog_met), (2, 2), "the planned one and the deferred one: {fidelity:?}");
    assert!(fidelity.misses.is_empty(), "{fidelity:?}");
}

#[test]
fn a_handle_in_a_captured_closure_counts_as_captured() {
    let planned = Lab::new().plan(
        r#"
        let api = world::api();
        let web = world::host("web");
        let db = world::host("db");
        let unk = api.vm(#{ name: "n9" }).after.ip;
        let write = || web.file(#{ path: "/a", content: "x" });
        step("decides", "a decision", || { db.read("/x"); if unk.contains("10.0") { write.call() } });
        step("web", "here", || web.file(#{ path: "/b", content: "x" }));
        "#,
    );
    assert_eq!(planned.planned(), ["create api:vm:n9", "~ create web:file:/b"]);
}

#[test]
fn a_handle_made_inside_a_deferred_step_may_reach_anything() {
    let planned = Lab::new().plan(
        r#"
        let api = world::api();
        let web = world::host("web");
        let db = world::host("db");
        let unk = api.vm(#{ name: "n9" }).after.ip;
        step("decides", "a decision", || { web.read("/x"); let own = world::host("db"); if unk == "x" { own.read("/a") } });
        step("db", "there", || db.file(#{ path: "/b", content: "x" }));
        "#,
    );
    assert_eq!(planned.planned(), ["create api:vm:n9", "~ create db:file:/b"]);
}

#[test]
fn a_thing_found_unchanged_in_fog_is_no_promise() {
    let lab = Lab::new().with_file("web", "/etc/a", "old");
    let playbook = format!(
        r#"{DECIDES_ON_WEB}
        let conf = web.file(#{{ path: "/etc/b", content: "b" }});
        step("branch", "a branch on it", || if conf.changed {{ info("changed") }});
        "#
    );
    let lab = lab.with_file("web", "/etc/b", "b");
    let planned = lab.plan(&playbook);
    assert_eq!(planned.planned(), ["create api:vm:n9"]);
    assert_eq!(planned.statuses()["branch"], Status::Deferred, "what lies in the fog may undo it before");
    let done = lab.run(&playbook);
    assert!(done.fidelity().misses.is_empty(), "{:?}", done.fidelity());
}

#[test]
fn what_comes_unplanned_where_the_plan_looked_through_fog_is_no_miss() {
    let lab = Lab::new().with_file("web", "/etc/a", "settled");
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.vm(#{ name: "n9" }).after.ip;
        step("decides", "a decision", || if unk.contains("10.0") { web.run("set /etc/a other", #{ provides: [] }) });
        web.file(#{ path: "/etc/a", content: "settled" });
    "#;
    assert_eq!(lab.plan(playbook).planned(), ["create api:vm:n9"]);
    let done = lab.run(playbook);
    assert_eq!(done.done().last().map(String::as_str), Some("update web:file:/etc/a"));
    assert!(done.fidelity().misses.is_empty(), "{:?}", done.fidelity());
}

#[test]
fn a_step_inside_a_deferred_step_belongs_to_it() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.vm(#{ name: "n9" }).after.ip;
        step("outer", "a decision", || {
            if unk.contains("10.0") { step("inner", "what comes of it", || web.file(#{ path: "/a", content: "x" })) }
        });
    "#;
    let (_, done) = lab.converges(playbook);
    assert_eq!(done.fidelity().fog, 1);
}

#[test]
fn a_raw_read_of_an_api_in_fog_is_unknown() {
    let planned = Lab::new().with_object("/vms/n1", serde_json::json!({ "name": "n1" })).plan(
        r#"
        let api = world::api();
        let unk = api.vm(#{ name: "n9" }).after.ip;
        step("decides", "a decision", || if unk == "x" { api.remove("/vms/n1") });
        step("reads", "it reads", || if api.get("/vms/n1") == () { info("gone") });
        "#,
    );
    assert_eq!(planned.statuses()["reads"], Status::Deferred);
}

#[test]
fn a_scripted_resource_that_reads_through_fog_is_planned_in_fog() {
    let planned = Lab::new().plan(&format!(
        r#"{DECIDES_ON_WEB}
        step("scripted", "over two hosts", || ensure(#{{
            address: "both",
            read: || if web.exists("/both") && db.exists("/both") {{ "yes" }},
            want: "yes",
            create: |want| {{ web.run("touch /both"); db.run("touch /both"); }},
        }}));
        "#
    ));
    assert_eq!(planned.planned(), ["create api:vm:n9", "~ create both"]);
}
