//! Resources written in Rhai: planned, changed, proven and journalled like native ones.

use homelab::run::event::{Status, What};
use homelab::run::journal::ChangeState;

use crate::common::Lab;

const RECORD: &str = r#"
    let api = world::api();
    fn record(api, name, body) {
        ensure(#{
            address: `dns:${name}`,
            read: || api.get(`/dns/${name}`),
            want: body,
            create: |want| api.put(`/dns/${name}`, want),
            update: |have, want| api.put(`/dns/${name}`, want),
            delete: |have| api.remove(`/dns/${name}`),
        })
    }
"#;

#[test]
fn a_scripted_resource_is_planned_changed_proven_and_journalled_like_a_native_one() {
    let lab = Lab::new();
    let playbook = format!(r#"{RECORD} step("1", "a record", || record(api, "www", #{{ ip: "10.0.0.1" }}));"#);
    let (planned, done) = lab.holds(&playbook);
    assert_eq!(planned.planned(), ["create dns:www"]);
    assert_eq!(done.sent, ["api: PUT /dns/www"]);
    let change = &lab.journal.changes(2).expect("readable")[0];
    assert_eq!((change.change.address.as_str(), change.state), ("dns:www", ChangeState::Done));
    assert_eq!(change.step.as_deref(), Some("1"));

    let changed = format!(r#"{RECORD} step("1", "a record", || record(api, "www", #{{ ip: "10.0.0.2" }}));"#);
    let (planned, _) = lab.holds(&changed);
    assert_eq!(planned.changes()[0].diff[0].path, "ip");
    let (planned, _) = lab.holds(&format!(r#"{RECORD} step("1", "no record", || record(api, "www", ()));"#));
    assert_eq!(planned.planned(), ["delete dns:www"]);
}

#[test]
fn a_scripted_change_that_did_not_take_fails() {
    let lab = Lab::new();
    lab.world.state().ignored.insert("api: PUT /dns/www".to_owned());
    lab.run(&format!(r#"{RECORD} record(api, "www", #{{ ip: "10.0.0.1" }});"#))
        .failed_with("dns:www: the change was accepted but did not take");
}

#[test]
fn what_the_api_rewrites_is_compared_in_its_normal_form() {
    let playbook = |normal: &str| {
        format!(
            r#"
            let api = world::api();
            ensure(#{{
                address: "disk",
                read: || api.get("/disk"),
                want: #{{ size: "8GiB" }},
                create: |want| api.put("/disk", want),
                update: |have, want| api.put("/disk", want),
                {normal}
            }});
            "#
        )
    };
    let normal = r#"normal: |state| {
        if type_of(state.size) == "string" { state.size = parse_int(state.size.split("GiB")[0]) * 1024; }
        state
    },"#;
    Lab::new().holds(&playbook(normal));
    Lab::new().run(&playbook("")).failed_with("disk: the change was accepted but did not take");
}

#[test]
fn a_raw_read_of_what_a_scripted_resource_will_create_is_unknown_and_so_is_its_list() {
    let lab = Lab::new().with_object("/dns/old", serde_json::json!({ "ip": "10.0.0.9" }));
    let playbook = format!(
        r#"{RECORD}
        record(api, "www", #{{ ip: "10.0.0.1" }});
        step("object", "the object itself", || if api.get("/dns/www").ip == "10.0.0.1" {{ info("right") }});
        step("list", "the list that it is in", || for name in api.get("/dns/") {{ info(name) }});
        step("other", "something else", || if api.get("/dns/old").ip == "10.0.0.9" {{ info("as it was") }});
        "#
    );
    let planned = lab.plan(&playbook);
    let statuses = planned.statuses();
    assert_eq!(statuses["object"], Status::Deferred);
    assert_eq!(statuses["list"], Status::Deferred);
    let done = lab.run(&playbook);
    done.ended_well();
    assert_eq!(done.messages(), ["right", "old", "www", "as it was"]);
}

#[test]
fn another_object_stays_readable_after_a_planned_creation() {
    let lab = Lab::new().with_object("/dns/old", serde_json::json!({ "ip": "10.0.0.9" }));
    let planned = lab.plan(&format!(
        r#"{RECORD}
        record(api, "www", #{{ ip: "10.0.0.1" }});
        step("other", "something else", || if api.get("/dns/old").ip == "10.0.0.9" {{ info("as it was") }});
        "#
    ));
    assert_eq!(planned.statuses()["other"], Status::Ok);
}

#[test]
fn a_list_after_a_planned_machine_is_not_looped_over() {
    let lab = Lab::new().with_object("/vms/n0", serde_json::json!({ "name": "n0" }));
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        api.vm(#{ name: "n1" });
        step("all", "one file each", || for name in api.get("/vms/") { web.file(#{ path: `/${name}`, content: "x" }) });
    "#;
    assert_eq!(lab.plan(playbook).statuses()["all"], Status::Deferred);
    let (_, done) = lab.converges(playbook);
    assert_eq!(done.done().len(), 3);
    assert_eq!(done.fidelity().fog, 2);
}

#[test]
fn an_ensure_inside_a_change_fails_in_the_plan_already() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        ensure(#{
            address: "thing",
            read: || (),
            want: #{ a: 1 },
            create: |want| web.file(#{ path: "/inside", content: "x" }),
        });
    "#;
    lab.plan(playbook).failed_with("changing web:file:/inside is not allowed inside a rehearsed change");
    lab.run(playbook).failed_with("changing web:file:/inside is not allowed inside a change");
    assert_eq!(lab.file("web", "/inside"), None);
}

#[test]
fn a_step_inside_a_change_is_refused_too() {
    let playbook = r#"ensure(#{ address: "t", read: || (), want: 1, create: |want| step("in", "inside", || 1) });"#;
    Lab::new().plan(playbook).failed_with("step in is not allowed inside a rehearsed change");
}

#[test]
fn a_broken_change_fails_in_the_plan_already() {
    let lab = Lab::new();
    let playbook =
        "ensure(#{\n address: \"thing\",\n read: || (),\n want: #{ a: 1 },\n create: |want| want.a.no_such(),\n});";
    let planned = lab.plan(playbook);
    planned.failed_with("no_such");
    let error = planned.error.as_ref().unwrap();
    let label = &error.labels()[0];
    assert!(label.text[label.span.clone()].starts_with("no_such"), "it points at that line: {label:?}");
}

#[test]
fn a_change_may_read_what_it_made_before() {
    let lab = Lab::new();
    let (planned, _) = lab.holds(
        r#"
        let api = world::api();
        ensure(#{
            address: "thing",
            read: || api.get("/thing"),
            want: #{ a: 1 },
            create: |want| {
                api.put("/thing", want);
                let made = api.get("/thing");
                if made == () { fail("it was just made") }
                if made.a != 1 { fail("it is another one") }
            },
        });
        "#,
    );
    assert_eq!(planned.planned(), ["create thing"]);
}

#[test]
fn a_rehearsed_change_that_waits_for_what_it_made_is_no_error() {
    let lab = Lab::new();
    lab.holds(
        r#"
        let web = world::host("web");
        ensure(#{
            address: "thing",
            read: || web.read("/made"),
            want: "yes",
            create: |want| {
                web.run("set /made yes");
                if web.read("/made") == "no" { fail("it is another one") }
            },
        });
        "#,
    );
}

#[test]
fn a_rehearsed_change_in_fog_does_not_take_the_old_state_for_the_new() {
    let (planned, _) = Lab::new().converges(
        r#"
        let api = world::api();
        let web = world::host("web");
        let ip = api.vm(#{ name: "n1" }).after.ip;
        step("decides", "a decision", || if ip == "10.0.0.1" { web.file(#{ path: "/key", content: "k" }) });
        ensure(#{
            address: "thing",
            read: || web.read("/thing"),
            want: "x",
            create: |want| { if web.read("/key") == () { fail("there is no key") } web.run("set /thing x") },
        });
        "#,
    );
    assert_eq!(planned.planned(), ["create api:vm:n1", "~ create thing"]);
}

#[test]
fn a_mutation_inside_a_read_is_refused_in_both_modes() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        ensure(#{ address: "thing", read: || api.put("/thing", #{ a: 1 }), want: #{ a: 1 } });
    "#;
    lab.plan(playbook).failed_with("api:PUT /thing is not allowed inside `read`");
    let done = lab.run(playbook);
    done.failed_with("api:PUT /thing is not allowed inside `read`");
    assert!(done.sent.is_empty());
}

#[test]
fn a_want_that_is_made_by_a_closure_is_refused() {
    Lab::new().plan(r#"ensure(#{ address: "thing", read: || 1, want: || 2 });"#).failed_with("want");
}

#[test]
fn what_surrounds_a_change_is_run_only_where_there_is_one() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        ensure(#{
            address: "nginx.conf",
            read: || web.read("/nginx.conf"),
            want: "tuned",
            create: |want| web.run(`set /nginx.conf ${want}`),
            around: |change| { web.run("restart stopped"); change.call(); web.run("restart started") },
        });
    "#;
    let (planned, done) = lab.holds(playbook);
    assert_eq!(planned.planned(), ["create nginx.conf"]);
    assert_eq!(done.sent, ["web: $ restart stopped", "web: $ set /nginx.conf tuned", "web: $ restart started"]);
}

#[test]
fn what_surrounds_a_change_must_make_it() {
    let playbook = r#"
        let web = world::host("web");
        ensure(#{
            address: "conf",
            read: || web.read("/conf"),
            want: "x",
            create: |want| web.run("set /conf x"),
            around: |change| web.run("restart nginx"),
        });
    "#;
    Lab::new().plan(playbook).failed_with("conf: its `around` does not make the change");
}

#[test]
fn what_is_shown_once_comes_out_through_what_surrounds_it() {
    let lab = Lab::new();
    let (_, done) = lab.holds(
        r#"
        let api = world::api();
        let web = world::host("web");
        let made = ensure(#{
            address: "key",
            read: || api.get("/key"),
            want: #{ name: "k" },
            create: |want| { api.put("/key", want); #{ secret: world::secret("only-this-once") } },
            once: ["secret"],
            around: |change| { info("before"); change.call(); info("after") },
        });
        web.file(#{ path: "/key", content: made.after.secret });
        "#,
    );
    assert_eq!(lab.file("web", "/key").as_deref(), Some("only-this-once"));
    assert_eq!(done.messages(), ["before", "after"]);
}

#[test]
fn two_scripted_resources_over_one_path_are_warned_of_in_plan_and_run() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        fn both_want(api, name, size) {
            ensure(#{
                address: name,
                read: || api.get("/shared"),
                want: #{ size: size },
                create: |want| api.put("/shared", want),
                update: |have, want| api.put("/shared", want),
            })
        }
        both_want(api, "one", 1);
        both_want(api, "two", 2);
    "#;
    let warning = "two changes something, and one reads /shared as well: they may undo each other";
    assert_eq!(lab.plan(playbook).messages(), [warning]);
    assert!(lab.run(playbook).messages().contains(&warning.to_owned()));
}

#[test]
fn a_caught_failure_of_a_change_labels_what_follows_it() {
    let lab = Lab::new();
    lab.world.state().failing.insert("web: write /a".to_owned());
    let playbook = r#"
        let web = world::host("web");
        step("1", "it may fail", || {
            try { web.file(#{ path: "/a", content: "x" }) } catch { web.file(#{ path: "/instead", content: "y" }) }
        });
    "#;
    assert_eq!(lab.plan(playbook).planned(), ["create web:file:/a"]);
    let done = lab.run(playbook);
    done.ended_well();
    assert_eq!(done.done(), ["~ create web:file:/instead"]);
    assert_eq!(done.changes()[1].because.as_deref(), Some("after failure of web:file:/a"));
    let fidelity = done.fidelity();
    assert_eq!((fidelity.sure, fidelity.sure_met, fidelity.fog), (1, 0, 0), "{fidelity:?}");
    assert_eq!(fidelity.misses, ["web:file:/a was planned and did not come so: it failed"]);
}

#[test]
fn a_script_error_in_a_change_shows_in_the_plan_although_the_script_would_catch_it() {
    let planned = Lab::new().plan(
        r#"
        try {
            ensure(#{ address: "thing", read: || (), want: 1, create: |want| want.no_such() });
        } catch { info("caught") }
        "#,
    );
    assert_eq!(planned.messages(), ["caught"], "as in the run");
    assert!(planned.planned().is_empty());
}

#[test]
fn a_scripted_read_that_must_decide_on_an_unknown_is_unknown() {
    let lab = Lab::new();
    let (planned, _) = lab.converges(
        r#"
        let api = world::api();
        let web = world::host("web");
        let vm = api.vm(#{ name: "n1" });
        ensure(#{
            address: "thing",
            read: || if vm.after.ip == "10.0.0.1" { web.read("/thing") } else { "nothing" },
            want: "x",
            create: |want| web.run("set /thing x"),
            update: |have, want| web.run("set /thing x"),
        });
        "#,
    );
    assert_eq!(planned.planned(), ["create api:vm:n1", "? update thing"]);
}

#[test]
fn a_raw_call_in_a_script_is_a_change_of_its_own_and_its_answer_unknown_in_a_plan() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let answer = api.post("/jobs", #{ kind: "backup" });
        web.file(#{ path: "/answer", content: answer.kind });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.planned(), ["run api:POST /jobs", "create web:file:/answer"]);
    let done = lab.run(playbook);
    done.ended_well();
    assert_eq!((done.fidelity().sure, done.fidelity().sure_met), (2, 2));
    assert_eq!(lab.file("web", "/answer").as_deref(), Some("backup"));
}

#[test]
fn a_rehearsal_is_silent() {
    let planned = Lab::new().plan(
        r#"ensure(#{ address: "thing", read: || (), want: 1, create: |want| { info("never"); warn("heard") } });"#,
    );
    assert!(planned.messages().is_empty(), "{:?}", planned.messages());
    assert!(!planned.events.iter().any(|event| matches!(event.what, What::ChangeStarted { .. })));
}

#[test]
fn what_a_scripted_resource_reads_on_its_way_is_unknown_after_its_change() {
    let lab = Lab::new().with_file("web", "/conf", "old");
    let playbook = r#"
        let web = world::host("web");
        step("sets", "by a command", || ensure(#{
            address: "conf",
            read: || if web.exists("/conf") { #{ text: web.read("/conf") } },
            want: #{ text: "new" },
            update: |have, want| web.run(`set /conf ${want.text}`),
        }));
        step("reads", "it reads it again", || if web.read("/conf") == "old" { web.file(#{ path: "/wrong", content: "x" }) });
        web.file(#{ path: "/copy", content: web.read("/conf") });
    "#;
    let (planned, _) = lab.converges(playbook);
    assert_eq!(planned.statuses()["reads"], homelab::run::event::Status::Deferred);
    assert_eq!(lab.file("web", "/wrong"), None);
    assert_eq!(lab.file("web", "/copy").as_deref(), Some("new"));
}
