//! What is written down about the program is true of it.

use std::path::{Path, PathBuf};

use homelab::error::exit;
use homelab::run::event::{Event, SCHEMA_VERSION};

use super::project::Project;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The contents of the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block.to_owned() + "\n")).collect()
}

fn pages() -> Vec<PathBuf> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
    let entries = std::fs::read_dir(guide).expect("the guide is there");
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    pages.sort();
    pages
}

#[test]
fn the_two_commands_of_the_readme_are_run_in_ci() {
    let readme = read("README.md");
    let commands = blocks(&readme, "sh").first().cloned().expect("the first block has them");
    let ci = read(".ci/run");
    assert_eq!(commands.lines().count(), 2, "{commands}");
    for command in commands.lines() {
        assert!(ci.lines().any(|line| line == format!("step {command}")), ".ci/run does not run: {command}");
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let page = read("docs/guide/dependencies.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let mut known: Vec<&str> = Vec::new();
    for section in ["dependencies", "dev-dependencies"] {
        known.extend(manifest[section].as_table().expect("a table").keys().map(String::as_str));
    }
    for name in &known {
        let row = rows.iter().find(|row| row.starts_with(&format!("| {name} | ")));
        assert!(row.is_some_and(|row| row.len() > name.len() + 8), "no reason for {name}");
    }
    assert_eq!(rows.len(), known.len(), "the page lists something that is no dependency any more");
}

#[test]
fn every_exit_code_is_explained() {
    let page = read("docs/guide/exit-codes.md");
    let codes = [exit::DONE, exit::FAILED, exit::CHANGES, exit::WAITS, exit::LOCKED, exit::USAGE, exit::INTERRUPTED];
    for code in codes {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}

#[test]
fn the_events_of_the_guide_are_events() {
    let page = read("docs/guide/json-events.md");
    let examples = blocks(&page, "jsonl").concat();
    assert!(examples.lines().count() > 5);
    for line in examples.lines() {
        let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(event.schema, SCHEMA_VERSION);
    }
}

#[test]
fn the_events_of_a_run_are_all_in_the_guide() {
    let page = read("docs/guide/json-events.md");
    let project = Project::with(
        r#"phase("1", "First");
step("1.1", "a resource", || ensure(#{ address: "example:a", read: || 1, want: 1 }));
step("1.2", "a word", || info("hello"));
"#,
    );
    let output = project.homelab(&["run", "--sim", "playbooks/first.rhai", "--output", "json"]).output();
    let lines = String::from_utf8(output.expect("it starts").stdout).expect("text");
    assert!(lines.lines().count() > 8, "{lines}");
    for line in lines.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let name = event["event"].as_str().expect("its name");
        assert!(page.contains(&format!("\n| `{name}` | ")), "{name} is not explained");
    }
}

#[test]
fn the_scripts_of_the_guide_pass_the_check() {
    let project = Project::new();
    for file in ["docs/HARDWARE.md", "docs/LINKS.md", "docs/NETWORK.md", "docs/SOFTWARE.md", ".envrc.example"] {
        project.write(file, &read(file));
    }
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("readable");
        let name = page.file_stem().expect("a page has a name").to_string_lossy().into_owned();
        for (index, script) in blocks(&text, "rhai").iter().enumerate() {
            project.write(&file_of(script).unwrap_or(format!("playbooks/{name}-{index}.rhai")), script);
            count += 1;
        }
    }
    assert!(count > 4, "only {count} were found");
    let told = project.session(&["check"]);
    assert!(told.contains(" playbooks: 0 errors, "), "{told}");
}

#[test]
fn the_module_of_the_guide_is_used_as_its_page_says() {
    let project = Project::new();
    let scripts = blocks(&read("docs/guide/writing-a-module.md"), "rhai");
    for script in &scripts {
        project.write(&file_of(script).expect("its first line names its file"), script);
    }
    let told = project.session(&["run --sim playbooks/notes.rhai"]);
    assert!(told.contains("1 change\n"), "{told}");
    assert_eq!(project.read("notes/tables.txt"), "The tables are in docs/.\n");
}

/// The file that a script of the guide belongs into, where its first line says so.
fn file_of(script: &str) -> Option<String> {
    let file = script.lines().next()?.strip_prefix("// ")?;
    file.ends_with(".rhai").then(|| file.to_owned())
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = pages();
    files.extend(["README.md", "CONTRIBUTING.md"].map(|file| root.join(file)));
    let link = regex::Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)").expect("a pattern");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        for target in link.captures_iter(&text) {
            let target = file.parent().expect("a folder").join(&target[1]);
            assert!(target.exists(), "{}: no {}", file.display(), target.display());
        }
    }
}

#[test]
fn the_reference_is_not_stale() {
    let output = Project::new().homelab(&["doc", "--markdown"]).output().expect("it starts");
    let fresh = String::from_utf8(output.stdout).expect("text");
    assert!(
        read("docs/reference.md") == fresh,
        "docs/reference.md is stale: cargo run -- doc --markdown > docs/reference.md"
    );
}

#[test]
fn the_definitions_for_editors_are_not_stale() {
    let output = Project::new().homelab(&["doc", "--definitions"]).output().expect("it starts");
    let fresh = String::from_utf8(output.stdout).expect("text");
    assert!(
        read("docs/homelab.d.rhai") == fresh,
        "docs/homelab.d.rhai is stale: cargo run -- doc --definitions > docs/homelab.d.rhai"
    );
}
