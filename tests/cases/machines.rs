//! Machines that a plan only imagines, and machines that it takes away.

use homelab::run::event::Status;

use crate::common::Lab;

#[test]
fn a_new_machine_is_not_empty() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        api.vm(#{ name: "n1" });
        let n1 = world::host("n1");
        step("stock", "a file that the image brings", || n1.file(#{ path: "/etc/hostname", content: "n1\n" }));
        step("line", "a line in another", || n1.line(#{ path: "/etc/default/grub", key: "TIMEOUT=", line: "TIMEOUT=0" }));
        step("fact", "what the image brings is decided on", || if n1.read("/etc/hostname") == "n1\n" { info("same") });
        step("absent", "what it does not bring is not there", || {
            if !n1.exists("/opt/k3s") { n1.file(#{ path: "/opt/k3s", content: "binary" }) }
        });
    "#;
    let planned = lab.plan(playbook);
    assert_eq!(
        planned.planned(),
        [
            "create api:vm:n1",
            "? update n1:file:/etc/hostname",
            "? update n1:line:/etc/default/grub TIMEOUT=",
            "create n1:file:/opt/k3s",
        ]
    );
    assert_eq!(planned.statuses()["fact"], Status::Ok, "the plan itself set that file");
    let (_, done) = lab.converges(playbook);
    assert_eq!((done.fidelity().maybe, done.fidelity().maybe_done), (2, 2));
}

#[test]
fn what_the_image_of_a_new_machine_brings_cannot_be_decided_on() {
    let lab = Lab::new();
    let planned = lab.plan(
        r#"
        let api = world::api();
        api.vm(#{ name: "n1" });
        let n1 = world::host("n1");
        step("fact", "a fact", || if n1.read("/etc/hostname") == "n1\n" { info("same") });
        step("there", "is it there", || if n1.exists("/etc/hostname") { info("there") });
        "#,
    );
    assert_eq!(planned.statuses()["fact"], Status::Deferred);
    assert_eq!(planned.statuses()["there"], Status::Deferred);
}

#[test]
fn what_the_server_fills_in_is_unknown_and_what_was_asked_for_is_known() {
    let lab = Lab::new();
    let (planned, _) = lab.holds(
        r#"
        let api = world::api();
        let web = world::host("web");
        let vm = api.vm(#{ name: "n1", memory: "8GiB" });
        if vm.after.memory != 8192 { fail("what was asked for is known") }
        web.file(#{ path: "/dhcp", content: `host n1 { ${vm.after.mac} ${vm.after.ip} }` });
        "#,
    );
    let shown = planned.changes()[1].diff[0].after.clone().unwrap();
    assert_eq!(shown, "host n1 { ‹api:vm:n1.mac› ‹api:vm:n1.ip› }");
}

#[test]
fn a_host_whose_address_is_not_known_yet_needs_a_name() {
    let lab = Lab::new();
    let nameless = r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n1" });
        let n1 = world::host(#{ address: vm.after.ip });
    "#;
    lab.plan(nameless).failed_with("it needs a `name`");
    lab.holds(
        r#"
        let api = world::api();
        let vm = api.vm(#{ name: "n1" });
        let n1 = world::host(#{ name: "n1", address: vm.after.ip });
        n1.file(#{ path: "/a", content: "x" });
        "#,
    );
}

#[test]
fn a_machine_that_the_plan_deletes_cannot_be_used_afterwards() {
    let playbook = r#"
        let api = world::api();
        let n1 = world::host("n1");
        step("before", "it is used", || n1.file(#{ path: "/a", content: "y" }));
        step("gone", "it goes", || api.vm(#{ name: "n1", absent: true, allow_destroy: true }));
        step("after", "it is used again", || n1.read("/a"));
    "#;
    let lab = Lab::new()
        .with_object("/vms/n1", serde_json::json!({ "name": "n1" }))
        .with_file("n1", "/a", "x")
        .with(|settings| settings.allow_destroy = vec!["api:vm:n1".to_owned()]);
    lab.plan(playbook).failed_with("n1: it does not exist any more after api:vm:n1 is deleted");
    lab.run(playbook).failed_with("n1: no route to host");
}

#[test]
fn what_the_api_rewrites_is_equal_in_its_canonical_form() {
    Lab::new().holds(r#"world::api().vm(#{ name: "n1", memory: "8GiB" });"#);
}

#[test]
fn a_change_that_did_not_take_is_not_taken_for_done() {
    let lab = Lab::new();
    lab.world.state().ignored.insert("web: write /a".to_owned());
    let done = lab.run(r#"let web = world::host("web"); web.file(#{ path: "/a", content: "x" });"#);
    done.failed_with("web:file:/a: the change was accepted but did not take");
    assert_eq!(done.done(), Vec::<String>::new());
}

#[test]
fn a_machine_that_a_deferred_step_may_bring_is_not_missed() {
    let lab = Lab::new();
    let playbook = r#"
        let api = world::api();
        let n2 = world::host("n2");
        let ip = api.vm(#{ name: "n1" }).after.ip;
        step("brings", "it may bring one", || { if ip == "nowhere" { info("never") } api.vm(#{ name: "n2" }); });
        n2.file(#{ path: "/a", content: "x" });
    "#;
    let (planned, _) = lab.converges(playbook);
    assert_eq!(planned.planned(), ["create api:vm:n1", "? update n2:file:/a"]);
}
