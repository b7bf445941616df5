//! Secrets reach the other system and nobody else.

use crate::common::Lab;

#[test]
fn a_secret_is_written_and_shows_nowhere() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let password = world::secret("hunter-2-hunter");
        step("1", "a password", || {
            print(`it is ${password}`);
            web.file(#{ path: "/pw", content: `password=${password}` });
            password
        });
        step("2", "the same, read back as plain text", || {
            info(web.read("/pw") ?? "none");
            web.read("/pw")
        });
    "#;
    let (planned, done) = lab.holds(playbook);
    assert_eq!(lab.file("web", "/pw").as_deref(), Some("password=hunter-2-hunter"));
    let journal = format!("{:?} {:?}", lab.journal.changes(2).unwrap(), lab.journal.steps(2).unwrap());
    for told in [planned.json(), done.json(), journal] {
        assert!(told.contains("•••") && !told.contains("hunter-2"), "{told}");
    }
}

#[test]
fn a_secret_in_an_error_is_dots() {
    let lab = Lab::new();
    let done = lab.run(
        r#"
        let web = world::host("web");
        let password = world::secret("hunter-2-hunter");
        step("1", "it fails", || web.run(`login ${password}`));
        "#,
    );
    assert_ne!(done.result, "ok");
    assert!(!done.json().contains("hunter-2"), "{}", done.json());
}

#[test]
fn a_step_that_gives_back_a_secret_runs_again_when_resumed() {
    let mut lab = Lab::new();
    let playbook = r#"
        let password = step("1", "a password", || world::secret("hunter-2-hunter"));
        step("2", "it is used", || { world::host("web").file(#{ path: "/pw", content: password }); true });
        fail("the power went");
    "#;
    lab.run(playbook).failed_with("the power went");
    lab.resume = true;
    let done = lab.run(playbook);
    assert_eq!(done.statuses()["1"], homelab::run::event::Status::Ok, "not skipped");
    assert_eq!(done.statuses()["2"], homelab::run::event::Status::Skipped);
}
