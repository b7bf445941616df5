//! How well the plan foretold the run.

use homelab::run::event::Mark;

use crate::common::Lab;

#[test]
fn a_world_that_changed_in_between_is_named_as_the_cause() {
    let lab = Lab::new().with_file("web", "/a", "one").with_file("web", "/b", "one");
    let playbook = r#"
        let web = world::host("web");
        web.file(#{ path: "/a", content: "x" });
        web.file(#{ path: "/b", content: "x" });
    "#;
    lab.plan(playbook).ended_well();
    lab.world.set_file("web", "/b", Some("x")).unwrap();
    let fidelity = lab.run(playbook).fidelity();
    assert_eq!((fidelity.sure, fidelity.sure_met), (2, 1));
    assert_eq!(
        fidelity.misses,
        ["web:file:/b was planned and did not come so: the world changed in between: web:file:/b"]
    );
}

#[test]
fn what_came_unplanned_is_a_miss_with_its_cause() {
    let lab = Lab::new().with_file("web", "/a", "x");
    let playbook = r#"let web = world::host("web"); web.file(#{ path: "/a", content: "x" });"#;
    lab.plan(playbook).ended_well();
    lab.world.set_file("web", "/a", Some("other")).unwrap();
    let fidelity = lab.run(playbook).fidelity();
    assert_eq!(fidelity.misses, ["web:file:/a came and was not planned so: the world changed in between: web:file:/a"]);
}

#[test]
fn a_miss_without_a_changed_cell_is_owned_up_to() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        web.file(#{ path: "/out", content: web.peek("/n") });
    "#;
    lab.plan(playbook).ended_well();
    lab.world.set_file("web", "/n", Some("5")).unwrap();
    let fidelity = lab.run(playbook).fidelity();
    assert!(fidelity.misses[0].contains("this is a defect of homelab"), "{fidelity:?}");
}

#[test]
fn a_miss_after_a_command_saw_something_else_names_the_command() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let n = web.run("cat /n", #{ query: true }).stdout;
        web.file(#{ path: "/out", content: `${n}` });
    "#;
    lab.plan(playbook).ended_well();
    lab.world.set_file("web", "/n", Some("5")).unwrap();
    let fidelity = lab.run(playbook).fidelity();
    assert!(fidelity.misses[0].contains("the world changed in between: web:query:cat /n"), "{fidelity:?}");
}

#[test]
fn sure_maybe_and_fog_are_counted_apart() {
    let lab = Lab::new().with_file("web", "/etc/default/x", "x");
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let db = world::host("db");
        api.vm(#{ name: "n1" });
        let n1 = world::host("n1");
        n1.file(#{ path: "/etc/hostname", content: "new\n" });
        n1.file(#{ path: "/etc/default/grub", content: "other" });
        db.file(#{ path: "/sure", content: "x" });
        web.run("restart nginx", #{ unless: "test /etc/default/x" });
        web.run("set /a b");
        web.file(#{ path: "/a", content: "b" });
        web.file(#{ path: "/c", content: "c" });
    "#;
    let planned = lab.plan(playbook);
    let marks: Vec<Mark> = planned.changes().iter().map(|change| change.mark).collect();
    use Mark::{Fog, Maybe, Sure};
    assert_eq!(marks, [Sure, Maybe, Maybe, Sure, Sure, Fog, Fog], "{:?}", planned.planned());
    let fidelity = lab.run(playbook).fidelity();
    assert_eq!((fidelity.sure, fidelity.sure_met), (3, 3), "{fidelity:?}");
    assert_eq!((fidelity.maybe, fidelity.maybe_done), (2, 1), "the hostname was right already: {fidelity:?}");
    assert_eq!((fidelity.fog, fidelity.fog_met), (2, 1), "{fidelity:?}");
    assert!(fidelity.misses.is_empty(), "{fidelity:?}");
}

#[test]
fn a_plan_foretells_one_run_only_and_only_of_the_same_text() {
    let lab = Lab::new();
    let scored = |told: &crate::common::Told| {
        told.events
            .iter()
            .any(|event| matches!(&event.what, homelab::run::event::What::RunFinished { fidelity: Some(_), .. }))
    };
    let playbook = r#"let web = world::host("web"); web.file(#{ path: "/a", content: "x" });"#;
    lab.plan(playbook).ended_well();
    assert!(!scored(&lab.run(&format!("{playbook} // edited"))));
    assert!(!scored(&lab.run(playbook)), "the plan was dropped with the run that followed it");
    lab.plan(playbook).ended_well();
    assert!(scored(&lab.run(playbook)));
    assert!(!scored(&lab.run(playbook)));
}

#[test]
fn a_plan_that_failed_foretells_nothing() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let flag = web.exists("/flag");
        web.file(#{ path: "/a", content: "x" });
        if !flag { fail("no flag") }
        web.file(#{ path: "/b", content: "x" });
    "#;
    lab.plan(playbook).failed_with("no flag");
    lab.world.set_file("web", "/flag", Some("")).unwrap();
    let done = lab.run(playbook);
    done.ended_well();
    assert!(!done.json().contains("misses"), "{}", done.json());
}

#[test]
fn every_change_of_a_deferred_step_is_listed_as_such() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let ip = api.vm(#{ name: "n1" }).after.ip;
        step("1", "a decision", || {
            web.file(#{ path: "/before", content: "x" });
            if ip == "10.0.0.1" { web.file(#{ path: "/one", content: "x" }); web.file(#{ path: "/two", content: "x" }) }
        });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(planned.planned(), ["create api:vm:n1", "create web:file:/before"]);
    assert_eq!(planned.reason("1").as_deref(), Some("needs api:vm:n1.ip"));
    let fidelity = lab.run(playbook).fidelity();
    assert_eq!((fidelity.sure, fidelity.sure_met, fidelity.fog, fidelity.fog_met), (2, 2, 2, 2), "{fidelity:?}");
}

#[test]
fn a_plan_with_a_deferred_step_and_nothing_else_is_not_empty() {
    let lab = Lab::new().with_object("/tokens/ci", serde_json::json!({ "name": "ci" }));
    let decides = r#"
        let unk = world::api().token(#{ name: "ci" }).after.secret;
        step("1", "a decision", || if unk == "x" { 1 });
    "#;
    assert_eq!(lab.plan(decides).exit_code, 2);
    assert_eq!(lab.plan(r#"step("1", "nothing", || 1);"#).exit_code, 0);
}

#[test]
fn an_unknown_that_turns_out_to_be_a_map_comes_true_field_by_field() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n1" });
        let net = step("1", "a decision", || if vm.after.ip == "10.0.0.1" { #{ ip: "10.0.0.1", gateway: #{ ip: "10.0.0.254" } } });
        ensure(#{ address: "net", read: || api.get("/net"), want: #{ name: "n1", net: net }, create: |want| api.put("/net", want) });
    "#;
    let (planned, done) = lab.converges(playbook);
    assert_eq!(planned.planned(), ["create api:vm:n1", "~ create net"]);
    assert_eq!((done.fidelity().fog, done.fidelity().fog_met), (1, 1));
    let playbook = r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n2" });
        ensure(#{ address: "copy", read: || api.get("/copy"), want: #{ net: api.get("/vms/n2") }, create: |want| api.put("/copy", want) });
    "#;
    let (_, done) = lab.converges(playbook);
    assert_eq!((done.fidelity().sure, done.fidelity().sure_met), (2, 2), "{:?}", done.fidelity());
}

#[test]
fn a_deferred_line_excuses_what_comes_of_it_and_no_more() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let web = world::host("web");
        let n = web.run("cat /n", #{ query: true }).stdout;
        let ip = api.vm(#{ name: "n1" }).after.ip;
        if n == "5" { web.file(#{ path: "/elsewhere", content: "x" }) }
        if ip.contains("10.0") { web.file(#{ path: "/one", content: "x" }); step("1", "inside", || web.file(#{ path: "/two", content: "x" })) }
    "#;
    lab.plan(playbook).ended_well();
    // Nothing that the plan takes note of, but not what its deferred line left open either.
    lab.world.set_file("web", "/n", Some("5")).unwrap();
    let fidelity = lab.run(playbook).fidelity();
    assert_eq!(fidelity.misses.len(), 1, "{fidelity:?}");
    assert!(fidelity.misses[0].starts_with("web:file:/elsewhere came and was not planned so"), "{fidelity:?}");
    assert_eq!((fidelity.fog, fidelity.fog_met), (2, 2), "{fidelity:?}");
}
