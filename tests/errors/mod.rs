//! What a mistake looks like: the place, plain words, what to do next, and how far the run had got by then.
//!
//! Each test makes a mistake, carries out a real run in the simulated homelab, and keeps what the person sees. The last
//! line is what the simulator's log says of that run: how often a machine had been asked to change by then.

mod certificates;
mod environment;
mod language;
mod machines;
mod modules;
mod network;
mod permissions;
mod storage;
mod tables;
mod values;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::project::Project;

const PHASE: &str = "playbooks/phase3.rhai";

/// Nothing was changed, nor was anything asked to.
const BEFORE: &str = "[found before any write]";

/// Runs what cannot come to a good end, and expects to be told where and what to do.
fn told(project: &Project, line: &str, code: i32, place: &str) -> String {
    let sessions = sessions(project);
    let told = Project::without_times(&project.ends(line, code));
    assert!(told.contains(place), "it names {place}:\n{told}");
    assert!(told.contains("help:"), "it says what to do next:\n{told}");
    let fingerprint = Regex::new("([0-9A-F]{2}:){31}[0-9A-F]{2}").expect("a pattern");
    let told = fingerprint.replace_all(&told, "<fingerprint>");
    format!("{told}{}\n", found(project, sessions, &told))
}

/// How far the run had got, by the simulator's own log. One that ended before it began a session has asked nothing; a
/// change over SSH that was begun and left no trace is told apart, for the log has only commands that changed something.
fn found(project: &Project, sessions_before: usize, told: &str) -> String {
    if sessions(project) == sessions_before {
        return BEFORE.to_owned();
    }
    match project.ends("sim log --mutating --last", 0).lines().count() {
        0 if told.contains("failed to ") => "[found by the first write, which changed nothing]".to_owned(),
        0 => BEFORE.to_owned(),
        1 => "[found after 1 write]".to_owned(),
        writes => format!("[found after {writes} writes]"),
    }
}

fn sessions(project: &Project) -> usize {
    let log = std::fs::read_to_string(project.root().join(".homelab/sim/requests.jsonl")).unwrap_or_default();
    log.lines().filter(|line| line.contains(r#""kind":"session""#)).count()
}

/// Runs a playbook in a project without anything else.
fn script(playbook: &str) -> String {
    told(&Project::with(playbook), "run --sim playbooks/first.rhai", 1, "playbooks/first.rhai:")
}

/// Runs phase 3 in the homelab itself, with its simulated world made and one thing changed in it.
fn phase3(change: impl FnOnce(&Project), code: i32, place: &str) -> String {
    let project = homelab();
    change(&project);
    told(&project, &format!("run --sim -q {PHASE}"), code, place)
}

/// Runs a playbook in the homelab itself, with its simulated world made.
fn in_homelab(project: &Project, playbook: &str, code: i32) -> String {
    project.write("playbooks/first.rhai", playbook);
    told(project, "run --sim -q playbooks/first.rhai", code, "playbooks/first.rhai:")
}

/// The homelab itself, with its simulated world made. That is founded once for all of them.
fn homelab() -> Project {
    let project = Project::homelab_itself();
    let root = project.root().display().to_string();
    for (file, content) in &*FOUNDED {
        let path = project.root().join(file);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        std::fs::write(&path, content).expect("written");
        if file.ends_with("envrc") {
            std::fs::write(&path, String::from_utf8_lossy(content).replace("<root>", &root)).expect("written");
        }
    }
    project
}

static FOUNDED: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let project = Project::homelab_itself();
    project.ends(&format!("plan --sim -q {PHASE}"), 0);
    edit(&project, ".homelab/sim/envrc", |text| {
        let root = std::fs::canonicalize(project.root()).expect("it is there");
        text.replace(&root.display().to_string(), "<root>")
    });
    let mut files = Vec::new();
    collect(&project.root(), Path::new(".homelab/sim"), &mut files);
    files
});

fn collect(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(root.join(folder)).expect("it is there").flatten() {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else if !path.ends_with("requests.jsonl") {
            files.push((path, std::fs::read(entry.path()).expect("readable")));
        }
    }
}

/// Changes a file of a project.
fn edit(project: &Project, file: &str, change: impl FnOnce(&str) -> String) {
    let text = project.read(file);
    let changed = change(&text);
    assert_ne!(text, changed, "{file} is as it was");
    project.write(file, &changed);
}

/// Puts one text in the place of another.
fn replace(project: &Project, file: &str, from: &str, to: &str) {
    edit(project, file, |text| text.replace(from, to));
}

/// Replaces the value of a variable in the simulator's credentials, or takes it out.
fn set(project: &Project, variable: &str, value: Option<&str>) {
    edit(project, ".homelab/sim/envrc", |text| {
        let lines = text.lines().map(|line| match (line.strip_prefix(&*format!("export {variable}=")), value) {
            (None, _) => format!("{line}\n"),
            (Some(_), Some(value)) => format!("export {variable}='{value}'\n"),
            (Some(_), None) => String::new(),
        });
        lines.collect()
    });
}

/// Changes the simulated cluster between two runs.
fn cluster(project: &Project, change: impl FnOnce(&mut Value)) {
    edit(project, ".homelab/sim/world.json", |text| {
        let mut world: Value = serde_json::from_str(text).expect("JSON");
        change(&mut world["clusters"][0]);
        world.to_string()
    });
}

/// What somebody else does in the homelab.
fn by_hand(project: &Project, lines: &str) {
    let playbook = format!("let pve = proxmox::connect();\nstep(\"1\", \"by hand\", || {{\n{lines}\n}});\n");
    project.write("playbooks/by-hand.rhai", &playbook);
    project.ends("run --sim -q playbooks/by-hand.rhai", 0);
}

#[test]
fn sixty_mistakes_are_kept_and_most_are_found_before_any_write() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
    let files = |folder: &Path| std::fs::read_dir(folder).expect("it is there").flatten().map(|entry| entry.path());
    let tests: String = files(&folder).filter(|path| path.is_file()).map(|path| read(&path)).collect();
    let mut before = 0;
    let mut all = 0;
    for path in files(&folder.join("snapshots")) {
        let name =
            path.file_name().and_then(|name| name.to_str()?.strip_prefix("sessions__errors__")?.strip_suffix(".snap"));
        // What is being written at this moment has another name.
        let Some(name) = name.and_then(|name| name.rsplit("__").next()) else { continue };
        assert!(tests.contains(&format!("fn {name}() {{")), "{name} is not tested any more");
        let text = read(&path);
        assert_eq!(text.matches("[found ").count(), 1, "{name} says how far the run had got");
        all += 1;
        before += usize::from(text.trim_end().ends_with(BEFORE));
    }
    println!("{all} mistakes, {before} of them found before any write");
    assert!(all >= 60 && before >= 45, "{all} mistakes, {before} of them found before any write");
}
