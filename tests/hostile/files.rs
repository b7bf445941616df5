//! Files of a project that cannot be read, are no text, or have no end.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::project::Project;

const FIRST: &str = "playbooks/first.rhai";

/// A project whose only playbook is to be made.
fn without_playbook() -> Project {
    let project = Project::new();
    std::fs::remove_file(project.root().join(FIRST)).expect("it was there");
    project
}

/// What the run and the check say about it: the same, and nothing else.
fn told(project: &Project) -> String {
    let arguments = ["run", "--sim", "-q", FIRST];
    let output = project.homelab(&arguments).output().expect("the program starts");
    let told = project.told(&output);
    assert!(matches!(output.status.code(), Some(1 | 64)), "{told}");
    assert!(told.contains("help:"), "it says what to do next:\n{told}");
    assert!(told.len() < 5_000, "it does not quote it all: {} bytes", told.len());
    let check = project.homelab(&["check", FIRST]).output().expect("the program starts");
    let found = project.told(&check);
    let message = told.lines().find(|line| line.contains('×')).unwrap_or_default();
    assert!(found.contains(message) && !check.status.success(), "the check finds it too: {message}\n{found}");
    told
}

#[test]
fn playbooks_that_cannot_be_read() {
    let mut all = String::new();
    for (what, make) in [
        ("a folder", (|path: &Path| std::fs::create_dir(path).expect("made")) as fn(&Path)),
        ("a link to itself", |path| symlink("first.rhai", path).expect("made")),
        ("a link to nowhere", |path| symlink("elsewhere.rhai", path).expect("made")),
        ("a pipe", |path| {
            let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo is there");
            assert!(made.success());
        }),
        // Reading at its beginning fails for everybody, root too.
        ("the memory of a process", |path| symlink("/proc/self/mem", path).expect("made")),
        ("a terabyte", |path| std::fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("made")),
    ] {
        let project = without_playbook();
        make(&project.root().join(FIRST));
        let _ = writeln!(all, "== It is {what}\n\n{}", told(&project));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_playbook_that_others_may_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new();
    std::fs::set_permissions(project.root().join(FIRST), std::fs::Permissions::from_mode(0o000)).expect("changed");
    if std::fs::read(project.root().join(FIRST)).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let told = told(&project);
    assert!(told.contains("playbooks/first.rhai: cannot be read") && told.contains("Permission denied"), "{told}");
    assert!(told.contains("see who may read it: `ls -ld "), "{told}");
}

#[test]
fn playbooks_that_are_no_text() {
    let deep = |open: &str, close: &str| format!("let x = {}1{};\n", open.repeat(20_000), close.repeat(20_000));
    let long = format!(
        "let name = \"{}\";\ninfo(nmae);\nlet other = \"{}\"; info(nmae);\n",
        "x".repeat(3 << 20),
        "y".repeat(9_000)
    );
    let program = [b"\x7fELF\x02\x01\x01\0\0\0".as_slice(), &[0x90; 4000]].concat();
    let mut all = String::new();
    for (what, content) in [
        ("longer than anybody writes", vec![b'/'; 5 << 20]),
        ("a program", program),
        ("text in Latin-1", b"// gr\xfc\xdfe\ninfo(\"x\");\n".to_vec()),
        ("text with a NUL in it", b"info(\"x\");\ninfo(\"\0\");\n".to_vec()),
        ("parentheses without end", deep("(", ")").into_bytes()),
        ("lists without end", deep("[", "]").into_bytes()),
        ("blocks without end", deep("{ ", " }").into_bytes()),
        ("signs without end", deep("!", "").into_bytes()),
        ("texts within texts without end", deep("`${", "}`").into_bytes()),
        ("lines of megabytes", long.into_bytes()),
    ] {
        let project = without_playbook();
        std::fs::write(project.root().join(FIRST), content).expect("written");
        let _ = writeln!(all, "== It is {what}\n\n{}", told(&project));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_mark_of_an_editor_and_its_line_breaks_are_no_mistake() {
    let project = Project::with("\u{feff}step(\"1\", \"a step\", || {\r\n    info(\"hello\");\r\n});\r\n");
    assert!(project.ends("run --sim playbooks/first.rhai", 0).contains("hello"));
}

#[test]
fn tables_and_variables_that_cannot_be_read() {
    let mut all = String::new();
    for (file, what) in [("docs/SOFTWARE.md", "the memory of a process"), (".envrc", "a link to itself")] {
        let project = Project::homelab_itself();
        let path = project.root().join(file);
        let _was_there = std::fs::remove_file(&path);
        // Reading at its beginning fails for everybody, root too.
        let target = if what == "a link to itself" { Path::new(".envrc") } else { Path::new("/proc/self/mem") };
        symlink(target, &path).expect("made");
        let output = project.homelab(&["run", "--sim", "-q", "playbooks/phase3.rhai"]).output().expect("it starts");
        let told = project.told(&output);
        assert!(output.status.code() == Some(1) && told.contains("help:"), "{told}");
        let _ = writeln!(all, "== {file} is {what}\n\n{told}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn an_envrc_with_commands_is_refused_and_none_is_carried_out() {
    let project = Project::new();
    let mark = project.root().join("carried-out");
    let touch = format!("touch {}", mark.display());
    for (line, place) in [
        (format!("export HOMELAB_PVE_URL=$({touch})"), ".envrc:2:24"),
        (format!("export HOMELAB_PVE_URL=`{touch}`"), ".envrc:2:24"),
        (touch.clone(), ".envrc:2:1"),
        (format!("export HOMELAB_PVE_URL=x; {touch}"), ".envrc:2:25"),
        (format!("source_env <({touch})"), ".envrc:2:1"),
    ] {
        project.write(".envrc", &format!("export HOMELAB_JOBS=4\n{line}\n"));
        let told = project.ends("run --sim -q playbooks/first.rhai", 1);
        assert!(told.contains(place) && told.contains("help:"), "{told}");
        assert!(!mark.exists(), "{line} was carried out");
    }
}
