//! Runs that end early: Ctrl-C, a panic, the power.

use homelab::run::event::{Status, What};
use homelab::run::interrupt::Interrupt;

use crate::common::Lab;
use crate::common::world::Fault;

#[test]
fn ctrl_c_ends_an_endless_loop_in_order_and_the_journal_resumes() {
    let mut lab = Lab::new();
    let playbook = |body: &str| {
        format!(
            r#"
            let web = world::host("web");
            let value = step("1", "done before", || {{ web.file(#{{ path: "/a", content: "x" }}); 42 }});
            step("2", "it never ends", || {{ {body} }});
            "#
        )
    };
    let endless = playbook(
        r#"web.file(#{ path: "/b", content: "1" }); if !web.exists("/go") { let n = value; loop { n += 1; } }"#,
    );
    let interrupt = lab.interrupt.clone();
    let world = lab.world.clone();
    let presser = std::thread::spawn(move || {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while world.file("web", "/b").unwrap().is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        interrupt.press();
    });
    let done = lab.run(&endless);
    presser.join().unwrap();
    assert_eq!((done.result, done.exit_code), ("interrupted", 130), "{:?}", done.error);
    assert!(matches!(&done.events.last().unwrap().what, What::RunFinished { result, .. } if result == "interrupted"));

    lab.interrupt = homelab::run::interrupt::Interrupt::default();
    lab.resume = true;
    lab.world.set_file("web", "/go", Some("")).unwrap();
    let done = lab.run(&endless);
    done.ended_well();
    assert_eq!(done.statuses()["1"], Status::Skipped);
    assert_eq!(done.statuses()["2"], Status::Ok);
    assert!(done.sent.is_empty());
}

#[test]
fn ctrl_c_does_not_tear_a_scripted_change_in_two() {
    let lab = Lab::new();
    let interrupt = lab.interrupt.clone();
    let world = lab.world.clone();
    let presser = std::thread::spawn(move || {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while world.file("web", "/first").unwrap().is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        interrupt.press();
        // What the change waits for: the press comes first.
        world.set_file("web", "/pressed", Some("")).unwrap();
    });
    let done = lab.run(
        r#"
        let web = world::host("web");
        step("1", "two halves", || ensure(#{
            address: "halves",
            read: || if web.exists("/first") && web.exists("/second") { "both" },
            want: "both",
            create: |want| {
                web.run("touch /first");
                while !web.exists("/pressed") { }
                for n in 0..1000 { let x = n * 2; }
                web.run("touch /second");
            },
        }));
        step("2", "not any more", || web.file(#{ path: "/never", content: "x" }));
        "#,
    );
    presser.join().unwrap();
    assert_eq!(done.result, "interrupted");
    assert_eq!(done.done(), ["create halves"], "the change in flight was finished");
    assert_eq!(lab.file("web", "/second").as_deref(), Some(""));
    assert_eq!(lab.file("web", "/never"), None);
    assert!(lab.journal.in_flight("live").unwrap().is_empty());
}

#[test]
fn ctrl_c_pressed_twice_ends_even_a_change_that_never_ends_and_leaves_it_in_doubt() {
    let lab = Lab::new();
    let interrupt = lab.interrupt.clone();
    let world = lab.world.clone();
    let presser = std::thread::spawn(move || {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while world.file("web", "/first").unwrap().is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        interrupt.press();
        interrupt.press();
    });
    let done = lab.run(
        r#"
        let web = world::host("web");
        ensure(#{ address: "endless", read: || (), want: 1, create: |want| { web.run("touch /first"); loop { } } });
        "#,
    );
    presser.join().unwrap();
    assert_eq!(done.result, "interrupted");
    let in_flight = lab.journal.in_flight("live").unwrap();
    assert_eq!(in_flight.iter().map(|change| change.address.as_str()).collect::<Vec<_>>(), ["endless"]);
}

#[test]
fn a_panic_in_a_native_ends_the_run_in_order() {
    let lab = Lab::new();
    let done = lab.run(r#"step("1", "it panics", || world::panic());"#);
    done.failed_with("out of cheese");
    assert_eq!(done.statuses()["1"], Status::Failed);
    assert!(matches!(&done.events.last().unwrap().what, What::RunFinished { result, .. } if result == "failed"));
}

#[test]
fn what_was_under_way_at_a_panic_is_in_flight_until_a_later_run_has_seen_it() {
    let lab = Lab::new();
    let playbook = |body: &str| {
        format!(
            r#"
            let web = world::host("web");
            step("1", "it panics in a change", || ensure(#{{
                address: "thing",
                read: || web.read("/thing"),
                want: "x",
                create: |want| {{ web.run("set /thing x"); {body} }},
            }}));
            "#
        )
    };
    lab.run(&playbook("world::panic()")).failed_with("out of cheese");
    let in_flight = lab.journal.in_flight("live").unwrap();
    assert_eq!(in_flight.len(), 1);
    assert_eq!((in_flight[0].address.as_str(), in_flight[0].step.as_deref()), ("thing", Some("1")));
    lab.run(&playbook("")).ended_well();
    assert!(lab.journal.in_flight("live").unwrap().is_empty());
}

#[test]
fn after_a_panic_that_was_caught_the_gate_is_in_order() {
    let lab = Lab::new();
    let done = lab.run(
        r#"
        let web = world::host("web");
        try {
            step("1", "it panics in a change", || ensure(#{
                address: "thing",
                read: || (),
                want: "x",
                create: |want| world::panic(),
            }));
        } catch { }
        step("2", "another", || web.file(#{ path: "/a", content: "x" }));
        "#,
    );
    done.ended_well();
    assert_eq!(done.statuses()["2"], Status::Changed);
}

#[test]
fn a_step_that_catches_its_interruption_is_not_done() {
    let mut lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        step("1", "careless", || {
            try {
                web.file(#{ path: "/a", content: "a" });
                web.file(#{ path: "/b", content: "b" });
            } catch { }
        });
        step("2", "after it", || web.file(#{ path: "/c", content: "c" }));
    "#;
    lab.world.state().fault = Some((0, Fault::Interrupted(lab.interrupt.clone())));
    let told = lab.run(playbook);
    told.failed_with("interrupted");
    assert_eq!(told.statuses()["1"], Status::Failed);
    lab.world.state().fault = None;
    lab.interrupt = Interrupt::default();
    lab.resume = true;
    let told = lab.run(playbook);
    told.ended_well();
    assert_eq!(told.done(), ["create web:file:/b", "create web:file:/c"]);
}

#[test]
fn a_playbook_that_catches_its_interruption_has_not_ended_well() {
    let mut lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let a = web.file(#{ path: "/a", content: "a" });
        try { on_change([a], || web.run("restart app")); } catch { }
    "#;
    lab.world.state().fault = Some((0, Fault::Interrupted(lab.interrupt.clone())));
    lab.run(playbook).failed_with("interrupted");
    lab.world.state().fault = None;
    lab.interrupt = Interrupt::default();
    lab.resume = true;
    let told = lab.run(playbook);
    told.ended_well();
    assert_eq!(told.done(), ["run web:run:restart app"]);
}
