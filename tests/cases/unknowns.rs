//! A value that only the real run will know: the address of a machine or the secret of a token
//! that the playbook itself makes.

use homelab::run::event::Status;

use crate::common::Lab;

/// A step that decides on the secret is deferred, the one after it is planned all the same, and everything comes true.
#[track_caller]
fn defers(body: &str) {
    let playbook = format!(
        r#"
        let api = world::api();
        let web = world::host("web");
        let db = world::host("db");
        let vm = step("vm", "a machine", || api.vm(#{{ name: "n1" }}));
        let unk = vm.after.ip;
        step("decides", "a decision", || {{ {body}; web.file(#{{ path: "/decided", content: "yes" }}); }});
        step("later", "something else", || db.file(#{{ path: "/later", content: "x" }}));
        "#
    );
    let lab = Lab::new();
    let planned = lab.plan(&playbook);
    planned.ended_well();
    assert_eq!(planned.statuses()["decides"], Status::Deferred, "{body}");
    assert_eq!(planned.reason("decides").as_deref(), Some("needs api:vm:n1.ip"), "{body}");
    assert_eq!(planned.statuses()["later"], Status::Planned, "{body}");
    let done = lab.run(&playbook);
    done.ended_well();
    assert!(done.fidelity().misses.is_empty(), "{body}: {:?}", done.fidelity());
}

/// The expression is unknown in the plan, and the file that it becomes is planned for sure.
#[track_caller]
fn stays_unknown(expression: &str, content: &str) {
    let playbook = format!(
        r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.token(#{{ name: "ci" }}).after.secret;
        web.file(#{{ path: "/out", content: {expression} }});
        "#
    );
    let lab = Lab::new();
    let (planned, _) = lab.holds(&playbook);
    assert!(planned.changes()[1].diff[0].unknown, "{expression}");
    assert_eq!(lab.file("web", "/out").as_deref(), Some(content), "{expression}");
}

#[test]
fn a_comparison_with_an_unknown_defers_its_step() {
    for body in [
        r#"if unk == "x" { info("x") }"#,
        r#"if unk < "a" { info("x") }"#,
        r#"if unk in ["a", "b"] { info("x") }"#,
        r#"if [unk] == ["x"] { info("x") }"#,
        r#"if ["a"].contains(unk) { info("x") }"#,
        r#"let place = [1, 8].index_of(unk.len())"#,
        r#"if unk == unk { info("x") }"#,
        r#"if `a${unk}` == `b${unk}` { info("x") }"#,
    ] {
        defers(body);
    }
}

#[test]
fn a_condition_on_an_unknown_defers_its_step() {
    for body in [
        r#"if unk.contains("x") { info("x") }"#,
        r#"while unk.len() > 100 { info("x") }"#,
        r#"let n = 0; do { n += 1; } until unk.len() + n > 0"#,
        r#"let both = true && unk.len() > 3"#,
        r#"let not = !unk.contains("x")"#,
        r#"let captured = || if unk.contains("y") { 1 }; captured.call()"#,
        r#"switch unk { "a" => info("a"), _ => info("other") }"#,
    ] {
        defers(body);
    }
}

#[test]
fn an_index_a_range_and_a_loop_over_an_unknown_defer_their_step() {
    for body in [
        r#"let item = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14][unk.len()]"#,
        r#"for n in 0..unk.len() { info(`${n}`) }"#,
        r#"for part in unk.split("-") { info("part") }"#,
    ] {
        defers(body);
    }
}

#[test]
fn lists_that_ask_a_closure_take_no_unknown_for_an_answer() {
    for body in [
        r#"let some = [1, 2].filter(|n| unk.contains("x"))"#,
        r#"let all = [1].all(|n| unk.contains("x"))"#,
        r#"let list = [1]; list.retain(|n| unk.contains("x"))"#,
        r#"let list = ["a", unk]; list.sort()"#,
        r#"let place = [1].index_of(|n| unk.contains("x"))"#,
        r#"let kept = #{ a: 1 }.filter(|key| unk.contains("x"))"#,
    ] {
        defers(body);
    }
}

#[test]
fn nothing_swallows_a_deferral() {
    for body in [
        r#"try { if unk == "x" { info("x") } } catch { info("caught") }"#,
        r#"let check = || unk == "x"; try { check.call() } catch { info("caught") }"#,
        r#"try { retry(#{ times: 3, delay: "1ms" }, || unk == "x") } catch { info("caught") }"#,
        r#"try { parallel([1], |n| n); if unk == "x" { 1 } } catch { }"#,
    ] {
        defers(body);
    }
}

#[test]
fn text_made_of_an_unknown_is_unknown_and_planned_for_sure() {
    stays_unknown("unk", "tiger-lily-42");
    stays_unknown("`secret=${unk}`", "secret=tiger-lily-42");
    stays_unknown(r#"#{ s: unk }.to_json()"#, r#"{"s":"tiger-lily-42"}"#);
    stays_unknown(r#""<" + unk + ">""#, "<tiger-lily-42>");
}

#[test]
fn a_text_that_an_unknown_is_added_to_is_unknown() {
    let lab = Lab::new();
    lab.holds(
        r#"
        let api = world::api();
        let web = world::host("web");
        let text = "secret=";
        text += api.token(#{ name: "ci" }).after.secret;
        web.file(#{ path: "/out", content: text });
        "#,
    );
    assert_eq!(lab.file("web", "/out").as_deref(), Some("secret=tiger-lily-42"));
}

#[test]
fn arithmetic_and_built_ins_over_an_unknown_are_unknown() {
    let lab = Lab::new();
    let (planned, _) = lab.holds(
        r#"
        let api = world::api();
        let web = world::host("web");
        let vm = api.vm(#{ name: "n1", memory: "2GiB" });
        let last = parse_int(vm.after.ip.split(".")[3]);
        web.file(#{ path: "/number", content: `${min(9000, last + 1)} ${vm.after.memory}` });
        "#,
    );
    assert!(planned.changes()[1].diff[0].unknown);
    assert_eq!(lab.file("web", "/number").as_deref(), Some("2 2048"));
}

#[test]
fn absence_is_decided_where_it_is_certain_and_deferred_where_it_is_not() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let token = api.token(#{ name: "ci" });
        step("certain", "it is there", || {
            web.file(#{ path: "/a", content: token.after.secret ?? "none" });
            if token.after.secret == () { fail("it is there") }
        });
        step("opaque", "who knows", || web.run("touch /made", #{ unless: "test /made", provides: ["/made"] }));
        step("uncertain", "it may be there", || web.file(#{ path: "/b", content: web.read("/made") ?? "none" }));
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.statuses()["certain"], Status::Planned);
    assert_eq!(planned.statuses()["uncertain"], Status::Deferred);
    lab.converges(playbook);
}

#[test]
fn a_real_error_after_a_deferred_inner_step_is_caught_as_usual() {
    let lab = Lab::new();
    let planned = lab.plan(
        r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.token(#{ name: "ci" }).after.secret;
        step("outer", "an outer one", || {
            try {
                step("inner", "an inner one", || if unk == "x" { 1 });
                fail("a real error");
            } catch (error) {
                info(`caught ${error.message}`);
            }
        });
        "#,
    );
    planned.ended_well();
    assert_eq!(planned.statuses()["inner"], Status::Deferred);
    assert_eq!(planned.statuses()["outer"], Status::Ok);
    assert_eq!(planned.messages(), ["caught a real error"]);
}

#[test]
fn an_unknown_goes_through_modules_maps_and_step_values_and_defers_where_it_is_compared() {
    let lab = Lab::new().with_module(
        "lib",
        r#"fn is_x(value) { value == "x" } fn wrap(value) { #{ list: [value] } } let check = |v| v == "x"; export check;"#,
    );
    let planned = lab.plan(
        r#"
        import "lib" as lib;
        let api = world::api();
        let unk = step("token", "a token", || api.token(#{ name: "ci" })).after.secret;
        let wrapped = lib::wrap(unk);
        step("function", "compared in a module", || lib::is_x(wrapped.list[0]));
        step("closure", "compared in a module's closure", || lib::check.call(unk));
        let value = step("value", "handed on", || wrapped.list);
        step("of the value", "compared at last", || if value[0] == "x" { 1 });
        "#,
    );
    planned.ended_well();
    let statuses = planned.statuses();
    for id in ["function", "closure", "of the value"] {
        assert_eq!(statuses[id], Status::Deferred, "{id}");
    }
    assert_eq!(statuses["value"], Status::Ok);
}

#[test]
fn the_value_of_a_deferred_inner_step_is_unknown_to_the_outer_one() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.token(#{ name: "ci" }).after.secret;
        step("outer", "an outer one", || {
            let value = step("inner", "an inner one", || if unk == "x" { "one" } else { "two" });
            web.file(#{ path: "/value", content: value });
        });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.planned(), ["create api:token:ci", "~ create web:file:/value"]);
    let done = lab.run(playbook);
    done.ended_well();
    assert_eq!(lab.file("web", "/value").as_deref(), Some("two"));
    assert!(done.fidelity().misses.is_empty(), "{:?}", done.fidelity());
}

#[test]
fn a_deferred_line_outside_any_step_leaves_its_variable_unknown_and_the_rest_is_planned() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let vm = api.vm(#{ name: "n1" });
        let mode = "fast";
        if vm.after.ip == "10.0.0.1" { mode = "slow"; web.file(#{ path: "/slow", content: "x" }); }
        web.file(#{ path: "/mode", content: mode });
    "#;
    let planned = lab.plan(playbook);
    planned.ended_well();
    assert_eq!(planned.planned(), ["create api:vm:n1", "~ create web:file:/mode"]);
    assert!(planned.messages()[0].starts_with("deferred: site.rhai:6 needs api:vm:n1.ip"), "{:?}", planned.messages());
    let (_, done) = lab.converges(playbook);
    assert_eq!(lab.file("web", "/mode").as_deref(), Some("slow"));
    assert_eq!(done.fidelity().fog, 2, "the planned one and the one inside the deferred line");
}

#[test]
fn what_a_deferred_line_declares_is_unknown_and_can_be_used_later() {
    let lab =
        Lab::new().with_module("slow", "export const PORT = 80;").with_module("fast", "export const PORT = 8080;");
    let playbook = r#"
        let api = world::api();
        let ip = api.vm(#{ name: "n1" }).after.ip;
        const IS_FIRST = ip == "10.0.0.1";
        import (if ip == "10.0.0.1" { "slow" } else { "fast" }) as speed;
        step("const", "a constant", || if IS_FIRST { info("the first") });
        let port = speed::PORT;
        step("import", "a module", || if port == 80 { info("slow") });
    "#;
    let planned = lab.plan(playbook);
    planned.ended_well();
    assert_eq!(planned.statuses()["const"], Status::Deferred);
    assert_eq!(planned.statuses()["import"], Status::Deferred);
    assert_eq!(lab.run(playbook).messages(), ["the first", "slow"]);
}

#[test]
fn a_list_made_of_an_unknown_defers_its_loop_and_one_that_holds_an_unknown_does_not() {
    let lab = Lab::new();
    lab.holds(
        r#"
        let api = world::api();
        let web = world::host("web");
        let vm = api.vm(#{ name: "n1" });
        let n = 0;
        for address in ["10.0.0.9", vm.after.ip] {
            n += 1;
            web.file(#{ path: `/peer${n}`, content: address });
        }
        "#,
    );
    assert_eq!(lab.file("web", "/peer2").as_deref(), Some("10.0.0.1"));
}

#[test]
fn an_unknown_that_a_careless_native_turned_into_text_is_never_written() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let unk = api.token(#{ name: "ci" }).after.secret;
        web.file(#{ path: "/out", content: world::careless(unk) });
    "#;
    lab.plan(playbook).failed_with("an unknown value turned into text");
    lab.run(playbook).ended_well();
    // Now the secret is spent, and unknown in a real run too.
    lab.run(playbook).failed_with("an unknown value turned into text");
    lab.plan(playbook).failed_with("an unknown value turned into text");
    assert!(!lab.file("web", "/out").unwrap().contains("unknown"));
}

#[test]
fn a_text_that_names_the_type_of_an_unknown_is_refused_in_a_raw_call_too() {
    let lab = Lab::new().with_object("/tokens/ci", serde_json::json!({ "name": "ci" }));
    let playbook = r#"
        let api = world::api();
        let unk = api.token(#{ name: "ci" }).after.secret;
        ensure(#{
            address: "thing",
            read: || api.get("/thing"),
            want: #{ a: 1 },
            create: |want| api.put("/thing", #{ a: 1, note: world::careless(unk) }),
        });
    "#;
    lab.run(playbook).failed_with("an unknown value turned into text");
    assert!(!lab.world.state().objects.contains_key("/thing"));
}

#[test]
fn a_spent_secret_is_present_and_not_compared() {
    let lab = Lab::new();
    lab.holds(
        r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n1" });
        let token = api.token(#{ name: "ci" });
        let n1 = world::host("n1");
        n1.file(#{ path: "/etc/token", content: `secret=${token.after.secret}` });
        "#,
    );
    assert_eq!(lab.file("n1", "/etc/token").as_deref(), Some("secret=tiger-lily-42"));
}

#[test]
fn a_spent_secret_that_must_be_written_anew_is_an_error_in_plan_and_run_alike() {
    let lab = Lab::new().with_object("/tokens/ci", serde_json::json!({ "name": "ci" }));
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        web.file(#{ path: "/secret", content: api.token(#{ name: "ci" }).after.secret });
    "#;
    lab.plan(playbook).failed_with("web:file:/secret: needs api:token:ci.secret, which is not known");
    lab.run(playbook).failed_with("web:file:/secret: needs api:token:ci.secret, which is not known");
}

#[test]
fn deciding_on_a_spent_secret_in_a_real_run_is_an_error_that_names_it() {
    let lab = Lab::new().with_object("/tokens/ci", serde_json::json!({ "name": "ci" }));
    let playbook = r#"
        let api = world::api();
        let unk = api.token(#{ name: "ci" }).after.secret;
        step("1", "a decision", || if unk == "x" { 1 });
    "#;
    assert_eq!(lab.plan(playbook).statuses()["1"], Status::Deferred);
    lab.run(playbook).failed_with("`==`: needs api:token:ci.secret, which is not known");
}
