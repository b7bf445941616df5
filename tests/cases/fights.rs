//! One owner, one final state: what would change on every run is an error before anything is touched.

use crate::common::Lab;

/// Plan and run both end with the fight; the plan sends nothing.
#[track_caller]
fn fights(lab: Lab, playbook: &str, words: &str) {
    lab.plan(playbook).failed_with(words);
    lab.run(playbook).failed_with(words);
}

#[test]
fn one_address_wanted_in_two_ways_is_a_fight() {
    fights(
        Lab::new(),
        r#"
        let web = world::host("web");
        web.file(#{ path: "/a", content: "one" });
        web.file(#{ path: "/a", content: "two" });
        "#,
        "web:file:/a is wanted in two ways",
    );
}

#[test]
fn deleting_and_creating_the_same_thing_is_a_fight() {
    fights(
        Lab::new().with_file("web", "/a", "old"),
        r#"
        let web = world::host("web");
        web.file(#{ path: "/a", absent: true });
        web.file(#{ path: "/a", content: "new" });
        "#,
        "web:file:/a is wanted in two ways",
    );
}

#[test]
fn a_file_and_a_line_in_it_fight() {
    fights(
        Lab::new(),
        r#"
        let web = world::host("web");
        web.file(#{ path: "/a", content: "x=1\n" });
        web.line(#{ path: "/a", key: "y=", line: "y=2" });
        "#,
        "web:file:/a and web:line:/a y= fight",
    );
}

#[test]
fn two_lines_with_one_key_fight() {
    fights(
        Lab::new(),
        r#"
        let web = world::host("web");
        web.line(#{ path: "/a", key: "x=", line: "x=1" });
        web.line(#{ path: "/a", key: "x=", line: "x=2" });
        "#,
        "web:line:/a x= is wanted in two ways",
    );
}

#[test]
fn a_service_stopped_and_started_around_an_edit_by_two_resources_is_a_fight() {
    fights(
        Lab::new().with_object("/services/nginx", serde_json::json!({ "state": "running" })),
        r#"
        let api = world::api();
        let web = world::host("web");
        fn service(api, state) {
            ensure(#{
                address: "service:nginx",
                read: || api.get("/services/nginx"),
                want: #{ state: state },
                update: |have, want| api.put("/services/nginx", want),
            })
        }
        service(api, "stopped");
        web.file(#{ path: "/etc/nginx.conf", content: "x" });
        service(api, "running");
        "#,
        "service:nginx is wanted in two ways",
    );
}

#[test]
fn what_is_wanted_twice_alike_is_no_fight() {
    let (planned, _) = Lab::new().holds(
        r#"
        let web = world::host("web");
        web.file(#{ path: "/a", content: "x" });
        web.file(#{ path: "/a", content: "x" });
        web.line(#{ path: "/b", key: "x=", line: "x=1" });
        web.line(#{ path: "/b", key: "y=", line: "y=1" });
        "#,
    );
    assert_eq!(planned.planned().len(), 3);
}
