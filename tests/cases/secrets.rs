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

#[test]
fn a_panic_is_told_without_the_secrets_in_it() {
    const CHILD: &str = "HOMELAB_TEST_PANICS";
    if std::env::var_os(CHILD).is_some() {
        let redactor = homelab::run::secret::Redactor::default();
        redactor.learn("hunter-2 \"hunter\"");
        homelab::cli::panic::install(redactor);
        let thread = std::thread::spawn(|| panic!("it held {:?}", "hunter-2 \"hunter\""));
        assert!(thread.join().is_err(), "it panicked");
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "secrets::a_panic_is_told_without_the_secrets_in_it", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("started");
    let told = String::from_utf8_lossy(&child.stderr);
    assert!(told.contains("homelab: a defect in thread") && told.contains("it held \"•••"), "{told}");
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn an_error_on_a_narrow_screen_shows_no_part_of_a_secret() {
    use homelab::error::{Class, Error};
    let secret = "correct horse battery staple";
    let redactor = homelab::run::secret::Redactor::default();
    redactor.learn(secret);
    let error = Error::new(Class::Failed, format!("a sentence with {secret} in it")).cause(secret).help(secret);
    for width in 12..60 {
        let shown = homelab::playbook::report::render::render(&error, &redactor, width, false, true);
        assert!(secret.split(' ').all(|word| !shown.contains(word)), "{width}:\n{shown}");
    }
}

#[test]
fn a_plan_is_kept_without_secrets_and_still_foretells_the_run() {
    let lab = Lab::new();
    let playbook = r#"
        let web = world::host("web");
        let password = world::secret("hunter-2-hunter");
        step("1", "it is written plainly", || web.file(#{ path: "/hunter-2-hunter", content: "is hunter-2-hunter" }));
    "#;
    let (_, done) = lab.holds(playbook);
    assert!(!done.json().contains("hunter-2"), "{}", done.json());
}
