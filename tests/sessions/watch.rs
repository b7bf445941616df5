//! `--watch`: what starts the next run, and what does not.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::project::Project;

/// A run that watches, and what it says, line by line.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut child =
            project.homelab(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (sender, lines) = mpsc::channel();
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        for stream in [Box::new(out) as Box<dyn std::io::Read + Send>, Box::new(err)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Watching { child, lines }
    }

    /// Waits for a line that holds this text.
    fn hears(&self, text: &str) {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line.contains(text) => return,
                Ok(_) => {}
                Err(error) => panic!("`{text}` was never said: {error}"),
            }
        }
    }

    /// Whether nothing is said for a while.
    fn is_quiet(&self) -> bool {
        matches!(self.lines.recv_timeout(Duration::from_millis(700)), Err(RecvTimeoutError::Timeout))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PLAYBOOK: &str = r#"
    import "std/greeting" as greeting;
    step("1", "reads", || {
        let row = docs::settings("LAB.md", "lab");
        info(`${greeting::hello()} ${row.name} ${env("HOMELAB_MOOD", "calm")} ${template("note.j2", #{ })}`);
    });
"#;

#[test]
fn whatever_the_run_read_starts_the_next_one_and_nothing_else_does() {
    let project = Project::with(PLAYBOOK);
    std::fs::create_dir_all(project.root().join("stdlib")).expect("a folder");
    project.write("stdlib/greeting.rhai", "fn hello() { \"hello\" }");
    project.write("docs/LAB.md", "# Lab\n\n## lab\n\n| key | value |\n| --- | --- |\n| name | lab |\n");
    project.write("note.j2", "noted");
    let watching = Watching::start(&project, &["run", "--watch", "playbooks/first.rhai"]);
    watching.hears("hello lab calm noted");
    watching.hears("watching");
    for (file, text, said) in [
        ("stdlib/greeting.rhai", "fn hello() { \"hi\" }", "hi lab calm noted"),
        ("docs/LAB.md", "# Lab\n\n## lab\n\n| key | value |\n| --- | --- |\n| name | home |\n", "hi home calm noted"),
        (".envrc", "export HOMELAB_MOOD=merry\n", "hi home merry noted"),
        ("note.j2", "written", "hi home merry written"),
        ("playbooks/first.rhai", &PLAYBOOK.replace("${greeting", "now ${greeting"), "now hi home merry written"),
    ] {
        project.write(file, text);
        watching.hears(said);
        watching.hears("watching");
    }
    project.write("playbooks/other.rhai", "info(\"other\");");
    project.write("docs/OTHER.md", "other");
    project.write("unrelated.txt", "other");
    assert!(watching.is_quiet(), "other files start nothing");
}

#[test]
fn a_playbook_that_comes_into_a_watched_folder_takes_part() {
    let project = Project::with("step(\"1\", \"is there\", || info(\"one\"));");
    let watching = Watching::start(&project, &["run", "--watch", "playbooks"]);
    watching.hears("one");
    watching.hears("watching");
    project.write("playbooks/second.rhai", "step(\"2\", \"has come\", || info(\"two\"));");
    watching.hears("two");
    watching.hears("watching");
    project.write("playbooks/second.rhai", "step(\"2\", \"has come\", || info(\"three\"));");
    watching.hears("three");
}

#[test]
fn an_edit_in_the_middle_of_a_change_waits_for_it() {
    let slow = |text: &str| {
        format!(
            r#"
            step("1", "a change", || {{
                local::run(["sh", "-c", "sleep 1; echo {text} >> log"], #{{ unless: ["grep", "-q", "{text}", "log"] }});
            }});
            step("2", "after it", || info("after {text}"));
            "#
        )
    };
    let project = Project::with(&slow("first"));
    project.write("log", "");
    let watching = Watching::start(&project, &["run", "--watch", "playbooks/first.rhai", "--output", "json"]);
    watching.hears("change-started");
    project.write("playbooks/first.rhai", &slow("second"));
    watching.hears("after second");
    assert_eq!(project.read("log"), "first\nsecond\n", "the change in flight was finished, then the new one made");
}

#[test]
fn a_watched_plan_writes_nothing() {
    let project = Project::with("step(\"1\", \"a file\", || local::file(#{ path: \"made\", content: \"1\" }));");
    let watching = Watching::start(&project, &["plan", "--watch", "playbooks/first.rhai"]);
    watching.hears("watching");
    project
        .write("playbooks/first.rhai", "step(\"1\", \"a file\", || local::file(#{ path: \"made\", content: \"2\" }));");
    watching.hears("1 change planned");
    watching.hears("watching");
    assert!(!project.root().join("made").exists());
}
