//! Waiting and trying again.

use homelab::run::event::{Status, What};

use crate::common::Lab;

#[test]
fn a_plan_looks_once_and_says_what_the_run_will_wait_for() {
    let planned = Lab::new().plan(
        r#"
        let web = world::host("web");
        step("1", "it waits", || wait_until(#{ what: "the flag is up", timeout: "1h", every: "1h" }, || web.exists("/flag")));
        "#,
    );
    planned.ended_well();
    assert_eq!(planned.messages(), ["would wait until the flag is up"]);
    assert_eq!(planned.statuses()["1"], Status::Ok);
}

#[test]
fn a_wait_for_something_unknown_goes_on_in_a_plan_with_an_unknown() {
    let planned = Lab::new().plan(
        r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n1" });
        let answer = wait_until(#{ what: "it has an address" }, || vm.after.ip == "10.0.0.1");
        step("1", "a decision on it", || if answer { 1 });
        "#,
    );
    planned.ended_well();
    assert_eq!(planned.statuses()["1"], Status::Deferred);
}

#[test]
fn a_run_waits_and_tells_what_it_saw() {
    let lab = Lab::new();
    let done = lab.run(
        r#"
        let api = world::api();
        let tries = api.put("/tries", #{ n: 0 });
        let n = 0;
        let got = wait_until(#{ what: "three", timeout: "10s", every: "1ms" }, || { n += 1; if n >= 3 { n } else { false } });
        if got != 3 { fail(`${got}`) }
        "#,
    );
    done.ended_well();
    let waits = done.events.iter().filter(|event| matches!(event.what, What::Waiting { .. })).count();
    assert_eq!(waits, 2);
}

#[test]
fn a_wait_ends_with_what_was_last_seen() {
    let done = Lab::new().run(r#"wait_until(#{ what: "never", timeout: "5ms", every: "1ms" }, || false);"#);
    done.failed_with("never: not within 5ms");
    done.failed_with("last seen: false");
}

#[test]
fn what_is_still_wrong_in_the_end_is_told_all_of_it() {
    let lab = Lab::new();
    let script = r#"
        let left = ["one", "two", "three"];
        step("1", "it clears", || wait_until_clear(#{ what: "the shelf", timeout: "10s", every: "1ms" }, || { left.pop(); left }));
        step("2", "it does not", || wait_until_clear(#{ what: "the desk", timeout: "5ms", every: "1ms" }, || ["a cup", "a pen"]));
    "#;
    let done = lab.run(script);
    assert_eq!(done.statuses()["1"], Status::Ok);
    done.failed_with("the desk: a cup; a pen");
    let planned = lab.plan(script);
    planned.ended_well();
    assert_eq!(
        planned.messages(),
        ["would wait until nothing is wrong with the shelf", "would wait until nothing is wrong with the desk"]
    );
}

#[test]
fn a_failed_change_is_tried_again_and_comes_true_as_planned() {
    let lab = Lab::new();
    lab.world.state().failing.insert("web: write /a".to_owned());
    let playbook = r#"
        let web = world::host("web");
        step("1", "it may fail once", || {
            retry(#{ times: 3, delay: "1ms" }, || web.file(#{ path: "/a", content: "x" }));
        });
    "#;
    lab.plan(playbook).ended_well();
    let done = lab.run(playbook);
    done.ended_well();
    let fidelity = done.fidelity();
    assert_eq!((fidelity.sure, fidelity.sure_met), (1, 1), "{fidelity:?}");
    assert!(fidelity.misses.is_empty(), "{fidelity:?}");
    assert_eq!(done.messages(), ["try 1 of 3 failed: web: write /a: the disk is full"]);
}

#[test]
fn a_step_that_failed_may_be_tried_again_under_its_id() {
    let lab = Lab::new();
    lab.world.state().failing.insert("web: write /a".to_owned());
    let done = lab.run(
        r#"
        let web = world::host("web");
        retry(#{ times: 2, delay: "1ms" }, || step("1", "a file", || web.file(#{ path: "/a", content: "x" })));
        "#,
    );
    done.ended_well();
    assert_eq!(done.statuses()["1"], Status::Changed);
}

#[test]
fn a_mistake_in_the_script_is_not_tried_again() {
    let done = Lab::new().run(r#"retry(#{ times: 5, delay: "1h" }, || #{ a: 1 }.no_such());"#);
    done.failed_with("no_such");
    assert!(done.messages().is_empty(), "{:?}", done.messages());
}
